"""Pictures of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError
from .log import LOG, TrainingLog
from .resumable import ResumableModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_training(training: str | Path | ResumableModel) -> Figure:
    """Draw the log of a training: its losses, and what the validation found.

    Parameters
    ----------
    training : str, Path, CrystalSSLModel or NEGNNModel
        The model, or the folder it was trained in (``model_dir``).

    Returns
    -------
    matplotlib.figure.Figure
        One panel for the losses, on a logarithmic axis if they are all positive, and one for each kind of validation
        number: losses, recall, and the spread and uniformity of the vectors, which are 0 if all vectors are alike.

    Raises
    ------
    CheckpointError
        If the folder holds no log, or an empty one.

    Examples
    --------
    >>> import tempfile
    >>> log = TrainingLog(Path(tempfile.mkdtemp(), "training_log.jsonl"))
    >>> for step, loss in [(1, 0.9), (2, 0.5)]:
    ...     log.add({"descriptors": loss})
    ...     log.write_means(step)
    >>> [axes.get_title() for axes in plot_training(log.path.parent).axes]
    ['losses']
    """
    from matplotlib.figure import Figure

    folder = Path(training.model_dir if isinstance(training, ResumableModel) else training)
    frame = TrainingLog(folder / LOG).to_frame()
    if frame.empty:
        raise CheckpointError(
            str(folder), f"no {LOG}, or an empty one", "a folder of a training holds its log", "Name its model_dir."
        )
    columns = [str(name) for name in frame]
    losses = [name for name in columns if name not in ("step", "learning_rate") and not name.startswith("validation ")]
    seen = [name for name in columns if name.startswith("validation ")]
    panels = {
        "losses": losses,
        "validation loss": [name for name in seen if name.endswith(" loss")],
        "validation recall": [name for name in seen if "@" in name],
        "spread of the vectors": [name for name in seen if name.split()[-1] in ("spread", "uniformity", "alignment")],
    }
    panels = {title: names for title, names in panels.items() if names}
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name in names:
            rows = frame.dropna(subset=name)
            axes.plot(rows["step"], rows[name], marker="." if len(rows) < 50 else None, label=name)
        axes.set(title=title, xlabel="step")
        if "loss" in title and (frame[names].min() > 0).all():
            axes.set_yscale("log")
        axes.legend(frameon=False, fontsize="small")
    return figure
