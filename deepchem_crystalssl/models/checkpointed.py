"""Models that know their configuration, and load only checkpoints that agree with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, Self, TypeVar

from deepchem.models.torch_models.modular import ModularTorchModel

from ..crystals.neighbors import CUTOFF, MAX_NEIGHBORS
from ..crystals.options import check_count, check_number
from ..crystals.records import CrystalGraph
from ..crystals.work_folders import alone_in, written_to
from ..errors import CheckpointError, UnsupportedObjectError, an_object
from .checkpoints import (
    CONFIG,
    check_config,
    check_own,
    forget_digest,
    newest_checkpoint,
    read_checkpoint,
    read_config,
    write_config,
)
from .inputs import GraphOptions
from .log import LOG, last_line
from .options import check_device, refuse_unknown
from .training_folders import write_made_of

Method = TypeVar("Method", bound=Callable[..., Any])
_UNFINISHED = "temp_checkpoint.pt"  # what DeepChem calls a checkpoint until it is whole


def of_a_model(method: Method) -> Method:
    """A method that says so when it is called on the class, with a folder in the place of a model."""

    @wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self, CheckpointedModel):
            raise UnsupportedObjectError(
                "model",
                an_object(self),
                f"{method.__name__} is called on a model, not on its class",
                "Open a folder by load_pretrained(folder) or CrystalSSLModel.from_folder(folder).",
            )
        return method(self, *args, **kwargs)

    return checked  # type: ignore[return-value]


class CheckpointedModel(ModularTorchModel, ABC):
    """A DeepChem model whose checkpoints come with its configuration, and which keeps to one kind of graphs.

    Parameters
    ----------
    *args, **kwargs
        Of DeepChem's ``ModularTorchModel``; an argument that it does not have is an error.
    cutoff, max_neighbors : float and int, optional
        How the graphs are made; by default as the first ones that are trained on.

    Attributes
    ----------
    graph_options : GraphOptions or None
        How the graphs of the training were made; None before the training.
    card : dict
        What is known of a model that was saved with a card.
    """

    def __init__(self, *args: Any, cutoff: float | None = None, max_neighbors: int | None = None, **kwargs: Any):
        refuse_unknown(type(self), kwargs)
        check_device(kwargs.get("device"))
        if cutoff is not None:
            check_number("cutoff", cutoff, above=0, unit="Å")
        if max_neighbors is not None:
            check_count("max_neighbors", max_neighbors, 1)
        self.card: dict[str, Any] = {}
        self.graph_options: GraphOptions | None = None
        if cutoff is not None or max_neighbors is not None:
            self.graph_options = GraphOptions(cutoff or CUTOFF, max_neighbors or MAX_NEIGHBORS)
        if folder := kwargs.get("model_dir"):
            with written_to(folder, CheckpointError):  # DeepChem's own way fails in one of two processes
                Path(folder).mkdir(parents=True, exist_ok=True)
        super().__init__(*args, **kwargs)

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What a checkpoint must agree with; constructor arguments, as JSON can hold them."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], source: str, **kwargs: Any) -> Self:
        """A model of a configuration, with random weights; ``source`` is what an error names."""

    def check_portable(self, folder: str) -> None:
        """Raise a CheckpointError if the configuration does not describe the whole model."""

    def _graph_config(self) -> dict[str, Any]:
        """The options of the graphs, None as long as no graph has been seen."""
        return dict.fromkeys(("cutoff", "max_neighbors")) if self.graph_options is None else asdict(self.graph_options)

    def check_graphs(self, graphs: Sequence[CrystalGraph]) -> None:
        """Refuse graphs made in another way than those of the training; in training, the first ones decide.

        Raises
        ------
        GraphMismatchError
        """
        if self.graph_options is None and self.model.training:
            self.graph_options = GraphOptions.first_of(graphs)
        if self.graph_options is not None:
            for graph in graphs:
                self.graph_options.check(graph)

    # Checkpoints

    def save_checkpoint(self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None) -> None:
        """Save weights, optimizer, step and configuration; also before the first fit."""
        self.write_checkpoint(max_checkpoints_to_keep, model_dir or self.model_dir)

    def write_checkpoint(self, keep: int, folder: str, made_of: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint, and beside it the configuration and what the training is made of.

        Where there is no checkpoint yet they come first: no checkpoint is ever without them, or with those of another.

        Raises
        ------
        CheckpointError
            If another process trains there, or the disk is full or cannot be written to.
        """
        self._ensure_built()
        with written_to(folder, CheckpointError), alone_in(folder, CheckpointError):
            if newest_checkpoint(folder) is None:
                self._write_notes(folder, made_of)
            else:
                forget_digest(folder, self._global_step)
            if Path(folder, _UNFINISHED).is_symlink():  # PyTorch would write to where it leads
                Path(folder, _UNFINISHED).unlink()
            try:
                super().save_checkpoint(keep, folder)
            except RuntimeError as error:  # PyTorch's writer of archives has no other
                raise CheckpointError(
                    folder,
                    f"a checkpoint cannot be written (PyTorch: {str(error)[:80]})",
                    "the disk must have room for one checkpoint more than are kept",
                    "Make room or raise the limit on the size of files, and go on with fit(restore=True).",
                ) from error
            self._write_notes(folder, made_of)

    def _write_notes(self, folder: str, made_of: Mapping[str, Any] | None) -> None:
        write_config(folder, self.config, self._global_step, last_line(Path(folder, LOG)))
        if made_of is not None:
            write_made_of(folder, made_of)

    def save(self) -> None:
        """Save a checkpoint and the configuration in ``model_dir``, as :meth:`save_checkpoint` does."""
        self.save_checkpoint()

    def reload(self) -> None:
        """Load the newest checkpoint in ``model_dir``, as :meth:`restore` does."""
        self.restore()

    def restore(
        self, components: list[str] | None = None, checkpoint: str | None = None, model_dir: str | None = None
    ) -> None:
        """Load a checkpoint: everything, to go on training, or the weights of some components only.

        Parameters
        ----------
        components : list of str, optional
            Load only these, without the optimizer's state, which belongs to a full restore.
        checkpoint, model_dir : str, optional
            By default the newest checkpoint of this model's folder.

        Raises
        ------
        CheckpointError
            If there is none, or it was written by a model of another configuration.
        """
        path, data = self._read_checkpoint(checkpoint, model_dir)
        if components is not None:
            self.take_over(data, components, path)
            return
        config = check_config(path, self.config)
        check_own(path, data["global_step"], config)
        self._adopt(config)
        self.take_over(data, self.components, path)
        try:
            self._pytorch_optimizer.load_state_dict(data["optimizer_state_dict"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(path, f"the state of another optimizer ({error})") from error
        self._global_step = data["global_step"]
        if self._lr_schedule is not None:
            self._lr_schedule.last_epoch = self._global_step

    def load_from_pretrained(
        self, source_model: Any = None, components: list[str] | None = None, **kwargs: Any
    ) -> None:
        """Take over the weights of another model's components, from the model or from its checkpoint.

        Parameters
        ----------
        source_model : CrystalSSLModel, optional
            Instead of a checkpoint.
        components : list of str, optional
            By default all that both models have.
        **kwargs
            ``checkpoint`` or ``model_dir``, as in :meth:`restore`.

        Raises
        ------
        CheckpointError
            If a component is missing, or built with other arguments.
        """
        if source_model is None:
            source, states = self._read_checkpoint(kwargs.get("checkpoint"), kwargs.get("model_dir"))
            if Path(source).with_name(CONFIG).is_file():
                self._adopt(read_config(Path(source).parent))
        else:
            source = "source_model"
            self._adopt(source_model.config)
            states = {name: component.state_dict() for name, component in source_model.components.items()}
        for name, component in self.components.items():  # objectives may have been added
            if name in states and hasattr(component, "with_own_heads"):
                states[name] = component.with_own_heads(states[name])
        shared = [name for name in self.components if name in states]
        self.take_over(states, shared if components is None else components, source)

    def _read_checkpoint(
        self, checkpoint: str | Path | None, model_dir: str | Path | None
    ) -> tuple[str, dict[str, Any]]:
        """A checkpoint, by default the newest, and what is in it."""
        if checkpoint is None:
            folder = str(model_dir or self.model_dir)
            checkpoint = newest_checkpoint(folder)
            if checkpoint is None:
                raise CheckpointError(
                    folder,
                    "no checkpoint",
                    "the folder of a training holds checkpoints",
                    "Train first, or name another.",
                )
        self._ensure_built()
        return str(checkpoint), read_checkpoint(checkpoint, self.device)

    def _adopt(self, config: Mapping[str, Any]) -> None:
        """Take the graph options of another model, unless this one has its own."""
        if self.graph_options is None and config.get("cutoff") is not None:
            self.graph_options = GraphOptions(config["cutoff"], config["max_neighbors"])

    def take_over(self, states: Mapping[str, Any], names: Iterable[str], source: str) -> None:
        """Load the weights of these components, each a state dict; ``source`` is what an error names."""
        for name in names:
            if name in self.components and not self.components[name].state_dict():
                continue  # a head without weights leaves nothing in a file
            if name not in states or name not in self.components:
                both = ", ".join(known for known in self.components if known in states)
                raise CheckpointError(source, f"no component {name!r}", remedy=f"Both have {both or 'none'}.")
            try:
                self.components[name].load_state_dict(states[name])
            except RuntimeError as error:
                raise CheckpointError(source, f"another {name}: {error}") from error
