"""Training that can be interrupted: what the DeepChem models of this package share."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset, NumpyDataset
from deepchem.models.optimizers import LearningRateSchedule
from torch import Tensor, nn

from ..crystals.options import check_count, check_number, check_seed
from ..data.datasets import UnreadBatch, digest_of_data, iterate_unread, records_of, with_own_randomness
from ..errors import NoCrystalsError, OptionError, counted
from ..nn.ranks import ALONE, Ranks
from .allocation import freed_memory_kept
from .checkpointed import CheckpointedModel, of_a_model
from .embedding import evaluation_mode
from .inputs import GraphOptions, check_datapoints, check_dataset
from .log import LOG, EarlyStopping, TrainingLog
from .processes import add_gradients, agreed_folder, join_processes, launched_size, local_device, make_equal
from .progress import Progress, SaveTimes, Stop, how_it_starts, stopping_after_a_step
from .training_folders import alone_in_its_folder, check_made_of, warn_of_earlier_run

_BEST = "best"
SEED_STRIDE = 1_000_003
"""Between the seeds of two runs lie those of all steps of one."""


class ResumableModel(CheckpointedModel):
    """A DeepChem model whose training can be resumed, validated and stopped early, and which keeps a log of it.

    A subclass calls ``super().__init__(seed=..., max_gradient=..., **deepchem)`` after its components are built, and
    has ``config``, ``from_config``, ``validate``, ``loss_func`` and ``_prepare_batch``. If it draws only from
    generators seeded by ``step_seed``, a training that is resumed at any step gives the result of an uninterrupted one.

    Attributes
    ----------
    min_batch : int
        A smaller last batch is left out.
    needs_labels : bool
        Whether labels and weights go with the batches.
    is_shared : bool
        Whether processes can train it together: its losses are parts of that of the whole batch.
    """

    min_batch = 1
    needs_labels = True
    is_shared = False
    model_dir: str
    model_dir_is_temp: bool

    def __init__(self, *args: Any, seed: int = 0, max_gradient: float = 5.0, **kwargs: Any):
        self.seed = seed
        self.max_gradient = max_gradient
        self._losses: dict[str, Tensor] = {}
        self._saves: SaveTimes | None = None  # of a fit
        self._folder_is_own = False
        self._made_of: dict[str, Any] | None = None  # what the training under way, or the last one, is made of
        self._ranks: Ranks = ALONE  # those of a fit under way
        self._stop = Stop()
        if launched_size() > 1:
            kwargs["device"] = local_device(kwargs.get("device"))
        check_number("max_gradient", max_gradient, above=0)
        check_seed("seed", seed)
        check_count("batch_size", kwargs.get("batch_size", 100), max(1, self.min_batch))
        super().__init__(*args, **kwargs)

    @abstractmethod
    def validate(self, dataset: Dataset) -> dict[str, float]:
        """Numbers on data not trained on: ``recall@1``, the more the better, or ``loss``, the less the better."""

    def parameter_groups(self) -> list[dict[str, Any]] | None:
        """Parameters by learning rate, as torch's optimizers take them; None if all have the optimizer's."""
        return None

    def clipped_groups(self) -> list[list[nn.Parameter]]:
        """Parameters whose gradients are clipped together, by their common norm; by default all that are trained."""
        return [[p for group in self._pytorch_optimizer.param_groups for p in group["params"]]]

    @property
    def last_losses(self) -> dict[str, float]:
        """The losses of the last step, by name."""
        return {name: float(loss) for name, loss in self._losses.items()}

    @property
    def training_log(self) -> TrainingLog:
        """What training wrote down, in ``model_dir``."""
        return TrainingLog(Path(self.model_dir, LOG))

    @property
    def step_seed(self) -> int:
        """Seed of everything drawn in the step to come."""
        return self.seed * SEED_STRIDE + getattr(self, "_global_step", 0)

    def _ensure_built(self) -> None:
        if self._built:
            return
        super()._ensure_built()
        groups = self.parameter_groups()
        if groups is not None:
            self._pytorch_optimizer = self.optimizer._create_pytorch_optimizer(groups)
            if isinstance(self.optimizer.learning_rate, LearningRateSchedule):
                self._lr_schedule = self.optimizer.learning_rate._create_pytorch_schedule(self._pytorch_optimizer)
        groups_to_clip = self.clipped_groups()

        def clip(*_: Any) -> None:
            add_gradients((p for parameters in groups_to_clip for p in parameters), self._ranks)
            for parameters in groups_to_clip:
                nn.utils.clip_grad_norm_(parameters, self.max_gradient)

        self._pytorch_optimizer.register_step_pre_hook(clip)

    # Training

    @alone_in_its_folder
    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int = 10,
        *,
        restore: bool = False,
        validation: Dataset | None = None,
        patience: int | None = None,
        progress: bool | None = None,
        callbacks: Callable | Sequence[Callable] = (),
        checkpoint_minutes: float = 10.0,
        **kwargs: Any,
    ) -> float:
        """Train.

        Losses go to ``training_log.jsonl`` in ``model_dir`` every ``log_frequency`` steps and at the end of each epoch,
        the numbers of a validation once per epoch; :attr:`training_log` reads them and
        :func:`~deepchem_crystalssl.plot_training` draws them. Ctrl-C and SIGTERM end the training after the step under
        way, with a checkpoint; a second Ctrl-C ends it at once.

        In a process group of PyTorch, and in a program that ``torchrun`` has started, all processes call ``fit`` with
        the same arguments and train one model: ``batch_size`` is that of all of them together, and the result that of
        one process, to rounding. The first process writes checkpoints and log into its ``model_dir``, which all must be
        able to read, and validates. A stop that one of them is asked for stops all after the same step.

        Parameters
        ----------
        dataset : dc.data.Dataset
            Crystal graphs; labels and weights are ignored in pretraining.
        nb_epoch : int
            Passes over the data. With ``restore=True`` the total, of which the interrupted run has done a part.
        restore : bool
            Go on from the newest checkpoint in ``model_dir``, if there is one.
        validation : dc.data.Dataset, optional
            Crystals to measure on after each epoch, as :func:`~deepchem_crystalssl.models.log.validation_metrics`
            does: a few thousand, of chemical systems not trained on.
        patience : int, optional
            Stop after this many epochs without a better recall@1 (or, without patterns or with labels, a lower loss)
            on the validation crystals, and return to the best weights. They lie in ``model_dir/best`` whenever there
            is a validation; at the end they are the newest checkpoint too.
        progress : bool, optional
            Show a progress bar with the losses; by default on a terminal, and elsewhere a line in the log each minute.
        callbacks : callable or sequence of callable
            Called as ``f(model, step)`` after every step.
        checkpoint_minutes : float
            A checkpoint is also written whenever this time has passed since the last one; the first one after 2 minutes
            at the latest.
        **kwargs
            As DeepChem's ``fit``: ``checkpoint_interval`` (in steps; 0 for no checkpoints at all),
            ``max_checkpoints_to_keep``, ``all_losses``, ``deterministic``, ``variables`` (for one process).

        Returns
        -------
        float
            Mean loss over the last logging interval.

        Raises
        ------
        UnsupportedObjectError
            If the data are not a DeepChem data set of crystal graphs; a datapoint is named by its position.
        NoCrystalsError, LabelError, OptionError
            If there are too few crystals, the labels do not fit, or an option cannot be used.
        CheckpointError
            If ``restore`` is given and the run was begun with other data or another order of them; if another process
            trains in ``model_dir``, or the disk is full or cannot be written to.
        """
        self._check_fit(dataset, nb_epoch, validation, patience)
        deterministic = kwargs.pop("deterministic", False)
        ranks = self._join(dataset, kwargs)
        is_restored = self._restore_or_begin(dataset, restore, deterministic, ranks)
        done = self._global_step if restore else 0
        first = self._global_step - done
        self.prepare_fit(dataset, first, nb_epoch)
        log = TrainingLog(self.training_log.path, writes=ranks.rank == 0)
        log.rewind(self._global_step)
        stopping = EarlyStopping(log, patience, since=first)
        epochs = self._epochs(dataset, nb_epoch, deterministic, done, first)
        saves = self._saves = SaveTimes.of(kwargs, checkpoint_minutes)
        total = self.count_batches(dataset) * nb_epoch
        given = [callbacks] if callable(callbacks) else list(callbacks)
        shown = progress if ranks.rank == 0 else False
        with Progress(total, done, shown, ranks.rank == 0) as bar, stopping_after_a_step(not ranks.alone) as stop:
            if restore:
                bar.say(f"{self.model_dir}: {how_it_starts(is_restored, done, total, nb_epoch)}")

            def after_step(model: Any, step: int, **_: Any) -> None:
                log.add(self._losses)
                bar.step(self._losses)
                if step % self.log_frequency == 0:
                    self._write_means(log)

            def save_in_time(model: Any, step: int, **_: Any) -> None:
                if saves.is_due():
                    self.save_checkpoint(saves.keep)
                stop.raise_if_asked()

            self._ranks, self._stop = ranks, stop
            batches = self._validated(epochs, dataset, validation, log, stopping)
            try:
                loss = self.fit_generator(batches, callbacks=[after_step, *given, save_in_time], **kwargs)
            except KeyboardInterrupt:
                if saves.wanted and not stop.at_once:
                    self.save_checkpoint(saves.keep)
                    bar.say(f"{self.model_dir}: stopped at step {self._global_step}; fit(restore=True) goes on there")
                if stop.agreed:
                    ranks.wait()  # a process that ends is a failure to the launcher, which ends the others
                raise
            finally:
                batches.close()
                self._ranks = ALONE
        if patience is not None and ranks.agree(lambda: stopping.best_step not in (None, self._global_step)):
            self.restore(components=list(self.components), model_dir=str(Path(self.model_dir, _BEST)))
            ranks.wait()
            self.save_checkpoint(saves.keep)
        self.end_fit(ranks)
        ranks.wait()
        return loss

    def _check_fit(self, dataset: Dataset, nb_epoch: int, validation: Dataset | None, patience: int | None) -> None:
        """Refuse options and data with which training cannot begin."""
        if patience is not None and validation is None:
            raise OptionError("patience", patience, "stopping early needs validation=, the crystals to measure on",
                              "Give validation=, or leave patience out.")  # fmt: skip
        check_count("nb_epoch", nb_epoch, 0)
        self.check_data(dataset, "dataset", self.min_batch)
        if validation is not None:
            self.check_data(validation, "validation", self.min_batch)

    def _restore_or_begin(self, dataset: Dataset, restore: bool, deterministic: bool, ranks: Ranks) -> bool:
        """Build the model, equal on all ranks, with the newest checkpoint if asked for; whether there was one.

        Raises
        ------
        CheckpointError
            If the run was begun with other data or another order of them.
        """
        is_restored = restore and ranks.agree(lambda: bool(self.get_checkpoints()))
        if ranks.rank == 0:
            order = {"batch_size": self.batch_size, "seed": self.seed, "deterministic": deterministic}
            self._made_of = {"data": digest_of_data(dataset, self.needs_labels), **order}
        if is_restored:
            ranks.agree(lambda: check_made_of(self.model_dir, self._made_of or {}))
            self.restore()
        elif ranks.rank == 0 and not self._folder_is_own:
            warn_of_earlier_run(self.model_dir, getattr(self, "_global_step", 0))
        self._ensure_built()
        make_equal(self.model, ranks)
        return is_restored

    def _join(self, dataset: Dataset, options: dict[str, Any]) -> Ranks:
        """The processes that train this model together.

        Raises
        ------
        OptionError
            If the model, or an option, is for one process.
        """
        if launched_size() == 1 and Ranks.here().alone:
            return ALONE
        if not self.is_shared:
            name = type(self).__name__
            raise OptionError(name, f"{max(launched_size(), Ranks.here().size)} processes", "its training takes one",
                              "Train it without torchrun.")  # fmt: skip
        if options.get("variables") is not None:
            raise OptionError("variables", "given", "processes train all weights together",
                              "Leave out components that are not to be trained by freeze_components.")  # fmt: skip
        ranks = join_processes(self.device)
        folder, is_temporary = self.model_dir, self.model_dir_is_temp
        self.model_dir = agreed_folder(folder, is_temporary, ranks)
        self.model_dir_is_temp = is_temporary and ranks.rank == 0  # who removes it at the end
        if self.graph_options is None:  # as of the first crystal, on all ranks
            self.graph_options = GraphOptions.first_of(records_of(dataset.select([0])))
        return ranks

    def _whole_losses(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of the whole batch, of the parts that the ranks have; a request to stop goes along."""
        if self._ranks.alone:
            return parts
        values = [part.float() for part in parts.values()]
        asked = torch.full_like(values[0], float(self._stop.asked))
        *sums, asked = self._ranks.total(torch.stack([*values, asked]))
        self._stop.agreed = bool(asked)
        return dict(zip(parts, sums, strict=True))

    def check_data(self, dataset: Dataset, item: str, least: int) -> None:
        """Refuse data that the model cannot train on, before it does; ``least`` is the number of crystals needed.

        Raises
        ------
        UnsupportedObjectError, NoCrystalsError, LabelError
        """
        check_dataset(dataset, item)
        if len(dataset) < least:
            raise NoCrystalsError(
                item, counted(len(dataset), "crystal"), f"training needs at least {least}", "Give it more crystals."
            )

    def prepare_fit(self, dataset: Dataset, first_step: int, nb_epoch: int) -> None:
        """Called before the first step of a training that began, or will begin, at ``first_step``."""

    def end_fit(self, ranks: Ranks) -> None:
        """Called after the last step of a training that was not stopped."""

    def _validated(
        self,
        epochs: Iterable[Iterator[UnreadBatch]],
        dataset: Dataset,
        validation: Dataset | None,
        log: TrainingLog,
        stopping: EarlyStopping,
    ) -> Generator[Any, None, None]:
        """The batches of the epochs, measuring after each on unseen crystals, until it is enough."""
        ranks = self._ranks
        for epoch in epochs:
            if ranks.agree(lambda: stopping.is_over):
                return
            yield from self._steps(epoch, dataset)
            self._write_means(log)
            if validation is not None and ranks.rank == 0:  # the others wait for it in their next step
                log.write_validation(self._global_step, self.validate(validation))
                if stopping.best_step == self._global_step:
                    self.save_checkpoint(1, str(Path(self.model_dir, _BEST)))

    def _write_means(self, log: TrainingLog) -> None:
        log.write_means(self._global_step, learning_rate=self._pytorch_optimizer.param_groups[0]["lr"])

    def count_batches(self, dataset: Dataset) -> int:
        """Number of steps in an epoch."""
        full, rest = divmod(len(dataset), self.batch_size)
        return full + (rest >= max(1, self.min_batch))

    def _steps(self, epoch: Iterator[UnreadBatch], dataset: Dataset) -> Iterator[Any]:
        """What ``_prepare_batch`` takes, for each batch of an epoch."""
        return (self._read(batch, dataset) for batch in epoch)

    def _epochs(
        self, dataset: Dataset, epochs: int, deterministic: bool, done: int, first: int
    ) -> Iterator[Iterator[UnreadBatch]]:
        """The batches of each epoch, without padding; the ``done`` first ones are passed over."""
        per_epoch = self.count_batches(dataset)
        for epoch in range(epochs):
            if (epoch + 1) * per_epoch > done:
                batches = iterate_unread(dataset, self.batch_size, deterministic)
                own = with_own_randomness(batches, self.seed * SEED_STRIDE + first + epoch)
                yield self._large_enough(own, max(0, done - epoch * per_epoch))

    def _large_enough(self, batches: Iterator[UnreadBatch], done: int = 0) -> Iterator[UnreadBatch]:
        return (batch for k, batch in enumerate(batches) if k >= done and batch.size >= self.min_batch)

    def _read(self, batch: UnreadBatch, dataset: Dataset, rows: slice = slice(None)) -> tuple[list, list, list]:
        X, y, w, ids = batch.read(rows)
        check_datapoints(X, dataset, ids)
        return [X], [y] if self.needs_labels else [], [w] if self.needs_labels else []

    def _in_order(self, dataset: Dataset) -> Iterator[tuple[list, list, list]]:
        """All batches in the order of a data set, without padding."""
        batches = iterate_unread(dataset, self.batch_size, deterministic=True)
        return (self._read(batch, dataset) for batch in self._large_enough(batches))

    def default_generator(
        self,
        dataset: Dataset,
        epochs: int = 1,
        mode: str = "fit",
        deterministic: bool = True,
        pad_batches: bool = False,
    ) -> Iterator[tuple[list, list, list]]:
        """Batches without padding."""
        if mode == "fit":
            for epoch in self._epochs(dataset, epochs, deterministic, done=0, first=0):
                yield from (self._read(batch, dataset) for batch in epoch)
            return
        check_dataset(dataset)
        if len(dataset):
            for X, y, w, ids in dataset.iterbatches(self.batch_size, epochs, deterministic=True, pad_batches=False):
                check_datapoints(X, dataset, ids)
                yield [X], [y], [w]

    def predict_on_batch(self, X: Any, transformers: Sequence[Any] = ()) -> Any:
        """Predictions for some crystal graphs, as ``predict`` gives them for a data set.

        Parameters
        ----------
        X : sequence of CrystalGraph
        transformers : sequence of dc.trans.Transformer
            Those that were applied to the labels; they are undone.

        Raises
        ------
        UnsupportedObjectError
            If one of them is not a CrystalGraph.
        """
        graphs = np.fromiter(X, object)  # NumPy would look inside structures and graphs
        return self.predict(NumpyDataset(graphs), list(transformers))

    def fit_generator(self, *args: Any, **kwargs: Any) -> float:
        """DeepChem's training loop."""
        with warnings.catch_warnings(), freed_memory_kept():
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True")  # DeepChem logs that way
            return super().fit_generator(*args, **kwargs)

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        with evaluation_mode(self.model):
            return super()._predict(*args, **kwargs)

    def save_checkpoint(self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None) -> None:
        """Save weights, optimizer, step and configuration; also before the first fit.

        Parameters
        ----------
        max_checkpoints_to_keep : int
            Older ones are deleted.
        model_dir : str, optional
            Another folder than that of the model. In a process group the first process writes.
        """
        if Ranks.here().rank == 0:
            notes = self._made_of if model_dir in (None, self.model_dir) else None
            self.write_checkpoint(max_checkpoints_to_keep, model_dir or self.model_dir, notes)
        if self._saves is not None:
            self._saves.restart()
        self._folder_is_own |= model_dir in (None, self.model_dir)

    @of_a_model
    def restore(
        self, components: list[str] | None = None, checkpoint: str | None = None, model_dir: str | None = None
    ) -> None:
        """Load a checkpoint, as ``CheckpointedModel.restore`` does, and remember whether the folder is this run's."""
        super().restore(components, checkpoint, model_dir)
        self._folder_is_own |= components is None and checkpoint is None and model_dir in (None, self.model_dir)
