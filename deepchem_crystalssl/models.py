"""DeepChem models: thin shells over :mod:`deepchem_crystalssl.nn` and :mod:`deepchem_crystalssl.pretext`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.optimizers import AdamW
from deepchem.models.torch_models.modular import ModularTorchModel
from torch import Tensor, nn
from tqdm import tqdm

from .crystals.disorder import Disorder
from .crystals.errors import CheckpointError, GridError, OnError, Report
from .crystals.instrument import Instrument, measure_patterns
from .crystals.neighbors import iterate_graphs
from .crystals.xrd import simulate_xrd
from .crystals.xrd_grid import XRDGrid
from .datasets import with_own_randomness
from .nn.crystal_encoder import CrystalEncoder, mean_and_std
from .nn.message_passing import Engine, GraphBatch, batches_of_sites
from .nn.xrd_encoder import XRDEncoder
from .pretext.objectives import Objective, PretextBatch, resolve_objectives
from .pretext.views import same_crystals

Level = Literal["crystal", "site"]
_SITES_PER_BATCH = 20_000  # when embedding: bounds memory, whatever the cells are
_CONFIG = "config.json"


class CrystalSSLModel(ModularTorchModel):
    """Self-supervised pretraining on crystals and their powder patterns, as a DeepChem model.

    One encoder looks at a crystal's graph, another, where the objectives ask for it, at its powder pattern, simulated
    per batch from the record. The pretext objectives train them without labels; labels and weights of a dataset are
    ignored.

    Parameters
    ----------
    objectives : str or sequence of Objective
        A preset, or the objectives themselves, whose losses are added:

        * ``"suzuki2022"``: crystal and pattern meet, bidirectional triplet loss,
        * ``"kong2024"``: hidden atoms and distances are guessed,
        * ``"kong2024-contrastive"``: two partly hidden views meet, NT-Xent,
        * ``"joint"``: ours, InfoNCE between crystal and pattern, hidden species, computable descriptors.
    encoder : dict, optional
        Arguments of :class:`~deepchem_crystalssl.nn.crystal_encoder.CrystalEncoder` (``width``, ``n_layers``,
        ``hidden``, ``embedding_size``, ``readout``), over those of the preset.
    xrd_encoder : dict, optional
        Arguments of :class:`~deepchem_crystalssl.nn.xrd_encoder.XRDEncoder` (``channels``, ``hidden``), likewise.
    grid : XRDGrid
        How patterns are drawn.
    instrument : Instrument, optional
        Patterns as measured: every batch sees other instruments and samples, drawn from these ranges. By default the
        clean pattern of the grid.
    engine : {"auto", "dgl", "torch", "fused"}
        Who does the message passing.
    max_gradient : float
        Gradients are clipped to this norm.
    seed : int
        Of the initial weights, the shuffling and every draw: each is a function of the seed and the step, so
        that a run resumed at any step goes on as if it had not stopped.
    **kwargs
        DeepChem's: ``batch_size``, ``learning_rate``, ``model_dir``, ``device``, ``log_frequency``, ...

    Examples
    --------
    >>> import deepchem as dc
    >>> from deepchem_crystalssl import CrystalGraphFeaturizer
    >>> from pymatgen.core import Lattice, Structure
    >>> crystals = [
    ...     Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, "O"], [[0, 0, 0], [.5, .5, .5]])
    ...     for metal, a in [("Mg", 4.21), ("Ca", 4.81), ("Mn", 4.44), ("Ni", 4.18)]
    ... ]
    >>> dataset = dc.data.NumpyDataset(CrystalGraphFeaturizer().featurize(crystals))
    >>> model = CrystalSSLModel("joint", encoder=dict(width=16), xrd_encoder=dict(channels=8), batch_size=4)
    >>> loss = model.fit(dataset, nb_epoch=2)
    >>> model.embed(crystals).shape
    (4, 128)
    """

    def __init__(
        self,
        objectives: str | Sequence[Objective] = "joint",
        *,
        encoder: dict[str, Any] | None = None,
        xrd_encoder: dict[str, Any] | None = None,
        grid: XRDGrid = XRDGrid(),
        instrument: Instrument | None = None,
        engine: Engine = "auto",
        max_gradient: float = 5.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        preset = resolve_objectives(objectives)
        self.objectives = preset.objectives
        self.encoder_arguments = {**preset.encoder, **(encoder or {})}
        self.xrd_encoder_arguments = {**preset.xrd_encoder, **(xrd_encoder or {})}
        self.xrd_grid = grid.check()
        self.instrument = instrument and instrument.check()
        self.engine: Engine = engine
        self.max_gradient = max_gradient
        self.seed = seed
        self.last_losses: dict[str, float] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            components = self.build_components()
        self.components = components
        if "optimizer" not in kwargs:
            kwargs["optimizer"] = AdamW(kwargs.pop("learning_rate", 0.001), weight_decay=0.01)
        super().__init__(self.build_model(), components, **kwargs)

    @property
    def crystal_encoder(self) -> CrystalEncoder:
        """The encoder of crystal graphs."""
        return cast(CrystalEncoder, self.components["crystal_encoder"])

    @property
    def xrd_encoder(self) -> XRDEncoder | None:
        """The encoder of patterns, if an objective trains one."""
        return cast("XRDEncoder | None", self.components.get("xrd_encoder"))

    @property
    def needs_patterns(self) -> bool:
        """Whether any objective looks at patterns."""
        return any(objective.needs_patterns for objective in self.objectives)

    def build_components(self) -> dict[str, nn.Module]:
        """Encoders and heads, by the names under which they can be transferred and frozen."""
        crystal_encoder = CrystalEncoder(**self.encoder_arguments)
        components: dict[str, nn.Module] = {"crystal_encoder": crystal_encoder}
        if self.needs_patterns:
            components["xrd_encoder"] = XRDEncoder(
                self.xrd_grid.n_bins, embedding_size=crystal_encoder.embedding_size, **self.xrd_encoder_arguments
            )
        for objective in self.objectives:
            components[f"{objective.name}_head"] = objective.build_head(crystal_encoder)
        return components

    def build_model(self) -> nn.Module:
        """The components as one module."""
        return nn.ModuleDict(self.components)

    def _ensure_built(self) -> None:
        if self._built:
            return
        super()._ensure_built()
        parameters = [p for group in self._pytorch_optimizer.param_groups for p in group["params"]]
        self._pytorch_optimizer.register_step_pre_hook(
            lambda *_: (nn.utils.clip_grad_norm_(parameters, self.max_gradient), None)[1]
        )

    # Training

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int = 10,
        *,
        restore: bool = False,
        progress: bool | None = None,
        **kwargs: Any,
    ) -> float:
        """Train.

        Parameters
        ----------
        dataset : dc.data.Dataset
            Crystal graphs; labels and weights are ignored.
        nb_epoch : int
            Passes over the data. With ``restore=True`` the total, of which the interrupted run has done a part.
        restore : bool
            Go on from the newest checkpoint in ``model_dir``, if there is one.
        progress : bool, optional
            Progress bar with the losses; by default on a terminal only.
        **kwargs
            As DeepChem's ``fit``: ``checkpoint_interval``, ``max_checkpoints_to_keep``, ``callbacks``, ``all_losses``.

        Returns
        -------
        float
            Mean loss over the last logging interval.
        """
        deterministic = kwargs.pop("deterministic", False)
        if restore and self.get_checkpoints():
            self.restore()
        self._ensure_built()
        done = self._global_step if restore else 0
        first = 0 if restore else self._global_step
        batches = self._batches(dataset, nb_epoch, deterministic, done, first)
        bar = tqdm(batches, "pretraining", self._count_batches(dataset) * nb_epoch, initial=done,
                   disable=None if progress is None else not progress, delay=1.0)  # fmt: skip
        return self.fit_generator(self._report_losses(bar), **kwargs)

    def _report_losses(self, bar: tqdm) -> Iterator[tuple[list, list, list]]:
        for batch in bar:
            yield batch
            bar.set_postfix({name: f"{loss:.3f}" for name, loss in self.last_losses.items()}, refresh=False)

    def _count_batches(self, dataset: Dataset) -> int:
        full, rest = divmod(len(dataset), self.batch_size)
        return full + (rest > 1)

    def _batches(
        self, dataset: Dataset, epochs: int, deterministic: bool, done: int, first: int
    ) -> Iterator[tuple[list, list, list]]:
        """Batches without padding; a last batch of one is left out. Starts after the ``done`` first ones."""
        per_epoch = self._count_batches(dataset)
        for epoch in range(epochs):
            if (epoch + 1) * per_epoch <= done:
                continue
            batches = dataset.iterbatches(self.batch_size, deterministic=deterministic, pad_batches=False)
            step = epoch * per_epoch
            for X, _, _, _ in with_own_randomness(batches, self.seed * 1_000_003 + first + epoch):
                if len(X) > 1:
                    if step >= done:
                        yield [X], [], []
                    step += 1

    def default_generator(
        self,
        dataset: Dataset,
        epochs: int = 1,
        mode: str = "fit",
        deterministic: bool = True,
        pad_batches: bool = False,
    ) -> Iterator[tuple[list, list, list]]:
        """Batches without padding: a repeated crystal would be its own negative. A last batch of one is left out."""
        if mode == "fit":
            yield from self._batches(dataset, epochs, deterministic, done=0, first=0)
            return
        for X, _, _, _ in dataset.iterbatches(self.batch_size, epochs, deterministic=True, pad_batches=False):
            yield [X], [], []

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, list, list]:
        graphs = list(batch[0][0])
        patterns = None
        if self.needs_patterns:
            if self.instrument is None:
                drawn = simulate_xrd(graphs, self.xrd_grid, disorder="average", progress=False)
            else:
                drawn = measure_patterns(graphs, self.instrument, self.xrd_grid, seed=self._step_seed)
            patterns = torch.from_numpy(drawn).to(self.device)
        return (GraphBatch.from_graphs(graphs, self.engine).to(self.device), patterns), [], []

    @property
    def _step_seed(self) -> int:
        return self.seed * 1_000_003 + getattr(self, "_global_step", 0)

    def loss_func(self, inputs: Any, labels: Any, weights: Any) -> Tensor:
        """Sum of the objectives' losses; labels and weights play no part."""
        graphs, patterns = inputs
        batch = PretextBatch(
            graphs=graphs,
            patterns=patterns,
            same=same_crystals(graphs),
            crystal_encoder=self.crystal_encoder,
            xrd_encoder=self.xrd_encoder,
            generator=torch.Generator().manual_seed(self._step_seed),
        )
        losses = {o.name: o(batch, self.components[f"{o.name}_head"]) for o in self.objectives}
        self.last_losses = {name: float(loss.detach()) for name, loss in losses.items()}
        return torch.stack(list(losses.values())).sum()

    def fit_generator(self, *args: Any, **kwargs: Any) -> float:
        """DeepChem's training loop."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True")  # DeepChem logs that way
            return super().fit_generator(*args, **kwargs)

    # Checkpoints

    @property
    def config(self) -> dict[str, Any]:
        """What a checkpoint must agree with: objectives, encoders, grid."""
        return {
            "class": type(self).__name__,
            "objectives": [{"class": type(o).__name__, **vars(o)} for o in self.objectives],
            "encoder": self.encoder_arguments,
            "xrd_encoder": self.xrd_encoder_arguments,
            "grid": asdict(self.xrd_grid),
            "instrument": self.instrument and asdict(self.instrument),
        }

    def save_checkpoint(self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None) -> None:
        """Save weights, optimizer, step and configuration; also before the first fit."""
        self._ensure_built()
        super().save_checkpoint(max_checkpoints_to_keep, model_dir)
        Path(model_dir or self.model_dir, _CONFIG).write_text(json.dumps(self.config, indent=2))

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
        folder = Path(model_dir or self.model_dir)
        if checkpoint is None:
            checkpoints = sorted(self.get_checkpoints(str(folder)))
            if not checkpoints:
                raise CheckpointError(str(folder), "no checkpoint", remedy="Train first, or name the folder.")
            checkpoint = checkpoints[0]
        config = Path(checkpoint).parent / _CONFIG
        if components is None and config.exists():
            stored, ours = json.loads(config.read_text()), json.loads(json.dumps(self.config))
            differing = [key for key in ours if stored.get(key) != ours[key]]
            if differing:
                key = differing[0]
                raise CheckpointError(checkpoint, f"{key} = {stored.get(key)}, this model has {ours[key]}")
        self._ensure_built()
        data = torch.load(checkpoint, map_location=self.device, weights_only=True)
        for name in components if components is not None else self.components:
            if name not in data or name not in self.components:
                raise CheckpointError(checkpoint, f"no component {name!r}")
            self.components[name].load_state_dict(data[name])
        if components is None:
            self._pytorch_optimizer.load_state_dict(data["optimizer_state_dict"])
            self._global_step = data["global_step"]
            if self._lr_schedule is not None:
                self._lr_schedule.last_epoch = self._global_step

    # Use

    def embed(
        self,
        structures: Any,
        level: Level = "crystal",
        layers: Sequence[int] | None = None,
        *,
        disorder: Disorder = "refuse",
        on_error: OnError = "raise",
        report: Report | None = None,
        progress: bool | None = None,
    ) -> np.ndarray:
        """Vectors of crystals, or of their sites.

        Parameters
        ----------
        structures
            A DeepChem dataset of crystal graphs, or anything :func:`~deepchem_crystalssl.read_structures` reads.
        level : {"crystal", "site"}
            One vector per crystal, or one per site.
        layers : sequence of int, optional
            Layers whose vectors are joined; 0 knows only the element, k what lies within k hops. By default the
            crystal's vector in the space it shares with patterns, and the last layer for sites. For a crystal, layers
            are pooled by mean and standard deviation over sites.
        disorder, on_error, report, progress
            As in :func:`~deepchem_crystalssl.structures_to_graphs`.

        Returns
        -------
        numpy.ndarray
            float32, in order, bad items left out: (n, F), or for sites (sum of N, F), crystal after crystal.
        """
        if level not in ("crystal", "site"):
            raise ValueError(f"level: {level!r}; must be 'crystal' or 'site'")
        source = structures.X if isinstance(structures, Dataset) else structures
        report = Report() if report is None else report
        graphs = iterate_graphs(source, disorder=disorder, on_error=on_error, report=report, progress=progress)
        self.model.eval()
        vectors = [np.empty((0, self.crystal_encoder.embedding_size), np.float32)]
        with torch.no_grad():
            for records in batches_of_sites(graphs, _SITES_PER_BATCH):
                batch = GraphBatch.from_graphs(records, self.engine).to(self.device)
                vectors.append(self._embed_batch(batch, level, layers).cpu().numpy())
        report.log()
        return np.concatenate(vectors[1:] or vectors)

    def _embed_batch(self, batch: GraphBatch, level: Level, layers: Sequence[int] | None) -> Tensor:
        encoder = self.crystal_encoder
        if level == "crystal" and layers is None:
            return encoder(batch)
        sites = encoder.encode_sites(batch)
        chosen = [sites[k] for k in ([-1] if layers is None else layers)]
        return torch.cat(chosen if level == "site" else [mean_and_std(batch, x) for x in chosen], dim=1)

    def embed_xrd(self, patterns: Any, progress: bool | None = None) -> np.ndarray:
        """Pattern vectors.

        Parameters
        ----------
        patterns : array-like (n, n_bins) or (n_bins,)
            On the model's ``xrd_grid``, normalised to their maximum, as :func:`~deepchem_crystalssl.simulate_xrd`
            and :func:`~deepchem_crystalssl.prepare_measured_pattern` give them.

        Returns
        -------
        numpy.ndarray
            float32 (n, embedding_size).
        """
        encoder = self.xrd_encoder
        if encoder is None:
            raise ValueError("objectives: none of them trains a pattern encoder; use 'joint' or 'suzuki2022'")
        rows = np.atleast_2d(np.asarray(patterns, np.float32))
        if rows.shape[1] != self.xrd_grid.n_bins:
            raise GridError(
                "patterns",
                f"{rows.shape[1]} bins",
                f"the model's grid has {self.xrd_grid.n_bins} bins",
                "Draw or prepare the patterns on model.xrd_grid.",
            )
        self.model.eval()
        vectors = [np.empty((0, self.crystal_encoder.embedding_size), np.float32)]
        disable = None if progress is None else not progress
        with torch.no_grad():
            for start in tqdm(range(0, len(rows), 256), "patterns", disable=disable, delay=1.0):
                batch = torch.from_numpy(rows[start : start + 256]).to(self.device)
                vectors.append(encoder(batch).cpu().numpy())
        return np.concatenate(vectors)
