"""What a frozen encoder contributes to a model of labels: vectors of sites, kept in memory, and a kernel regression."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress

import numpy as np
import torch
from torch import Tensor

from ..crystals.records import CrystalGraph
from ..errors import counted
from ..evaluation.kernel_ridge import LaplacianRidgeCV
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.links import Engine
from ..nn.message_passing import GraphBatch
from ..nn.negnn import KernelRegression
from .embedding import SITES_PER_BATCH, batches_of_sites, embed_graphs, evaluation_mode
from .model_physics import CRYSTAL_PHYSICS, SITE_PHYSICS, crystal_physics, descriptor_blocks, site_physics
from .targets import digest

logger = logging.getLogger(__name__)

_FEWEST_FOR_KERNEL = 10


class SiteVectors:
    """Standardised vectors of sites from an encoder that is not trained, computed once for each crystal.

    Parameters
    ----------
    encoder : CrystalEncoder
    layers : sequence of int, optional
        Layers that are joined; by default the whole descriptor of sites.
    engine : {"auto", "dgl", "torch", "fused"}
    physics : bool
        Whether the numbers of springs and tight binding follow, those of the crystal last.
    """

    def __init__(self, encoder: CrystalEncoder, layers: Sequence[int] | None, engine: Engine, physics: bool = False):
        self.encoder, self.layers, self.engine, self.physics = encoder, layers, engine, physics
        self._known: dict[bytes, Tensor] = {}

    def forget(self) -> None:
        """Forget all vectors, after the weights of the encoder have changed."""
        self._known.clear()

    def get(self, graphs: Sequence[CrystalGraph], device: torch.device | str, remember: bool) -> Tensor:
        """Vectors of the sites of some crystals, (A, F), crystal after crystal; remembered in half precision."""
        keys = [digest(graph) for graph in graphs]
        missing = {key: graph for key, graph in zip(keys, graphs, strict=True) if key not in self._known}
        found = dict(zip(missing, self._compute(list(missing.values()), device), strict=True)) if missing else {}
        if remember:
            self._known |= found
        return torch.cat([found[key] if key in found else self._known[key] for key in keys]).float().to(device)

    def _compute(self, graphs: list[CrystalGraph], device: torch.device | str) -> Iterator[Tensor]:
        """(N, F) of each crystal, in half precision."""
        for records in batches_of_sites(graphs, SITES_PER_BATCH):
            with evaluation_mode(self.encoder), torch.no_grad():
                batch = GraphBatch.from_graphs(records, self.engine).to(device)
                vectors = self.encoder.standardized_sites(batch, self.layers)
            if self.physics:
                numbers = torch.from_numpy(np.concatenate(site_physics(records)))
                vectors = torch.cat([vectors, numbers.to(vectors)], dim=1)
            yield from vectors.cpu().half().split(batch.num_sites.tolist())


def columns_of_sites(encoder: CrystalEncoder | None, layers: Sequence[int] | None, physics: bool) -> int:
    """Number of columns of the vectors of sites, 0 without an encoder."""
    if encoder is None:
        return 0
    n_physics = SITE_PHYSICS + CRYSTAL_PHYSICS if physics else 0
    return n_physics + encoder.n_inputs_of_network(layers)


def rows_of_kernel(weights: Tensor, seed: int) -> tuple[np.ndarray, float]:
    """Which crystals a kernel regression is fitted to, in order, and which share of the labelled ones they are.

    Of more labelled crystals than the kernel can hold, some are drawn. There are none if a task has too few labels.
    """
    known = (weights > 0).numpy()
    labelled = np.flatnonzero(known.any(1))
    chosen = np.sort(np.random.RandomState(seed).permutation(labelled)[: LaplacianRidgeCV().max_rows])
    if known[chosen].sum(0).min() < _FEWEST_FOR_KERNEL:
        return chosen[:0], 0.0
    return chosen, len(chosen) / len(labelled)


def fit_kernel(
    kernel: KernelRegression,
    x: np.ndarray,
    systems: np.ndarray,
    labels: Tensor,
    weights: Tensor,
    share: float,
    blocks: Sequence[str] | None = None,
) -> np.ndarray:
    """Fit a kernel ridge regression for each task, on the crystals whose label of that task is known.

    Parameters
    ----------
    kernel : KernelRegression
        It is given the rows and their weights.
    x : numpy.ndarray
        (n, F), descriptors.
    systems : numpy.ndarray
        (n,), chemical systems, kept together in the cross-validation.
    labels, weights : Tensor
        (n, n_tasks).
    share : float
        How much of the prediction the kernel makes.
    blocks : sequence of str, optional
        Block of each column; how much each weighs is then chosen for each task.

    Returns
    -------
    numpy.ndarray
        (n_tasks,), mean absolute errors in the cross-validation.
    """
    y, known = labels.numpy(), (weights > 0).numpy()
    duals, fits, squares = np.zeros(y.shape), [], []
    for task in range(y.shape[1]):
        rows = known[:, task]
        fits.append(LaplacianRidgeCV(blocks=blocks).fit(x[rows], y[rows, task], systems[rows]))
        duals[rows, task] = fits[-1].dual_coef_
        squares.append(np.square(fits[-1].cv_prediction_ - y[rows, task]).mean())
    gamma, center = (torch.tensor([getattr(fit, name) for fit in fits]) for name in ("gamma_", "intercept_"))
    device = kernel.center.device
    columns = torch.as_tensor(np.stack([fit.column_weights_ for fit in fits]))
    error = torch.as_tensor(np.sqrt(squares))
    kernel.take(torch.as_tensor(x), torch.as_tensor(duals), gamma, center, share, columns, error)
    kernel.to(device)
    return np.array([fit.cv_error_ for fit in fits])


def learn_kernel(
    kernel: KernelRegression,
    vectors: SiteVectors,
    graphs: Iterable[CrystalGraph],
    labels: Tensor,
    weights: Tensor,
    share: float,
    seed: int,
) -> None:
    """Fit the kernel regressions of a model to labelled crystals, as many as they can hold, and say so in the log.

    Parameters
    ----------
    kernel : KernelRegression
    vectors : SiteVectors
        Whose encoder describes the crystals, with model physics if it has that.
    graphs : iterable of CrystalGraph
        n crystals.
    labels, weights : Tensor
        (n, n_tasks).
    share : float
        How much of the prediction the kernel makes, if it can hold all labelled crystals.
    seed : int
        Of the crystals that are drawn if there are more.
    """
    chosen, held = rows_of_kernel(weights, seed)
    if not len(chosen):
        rule = f"it needs {_FEWEST_FOR_KERNEL} crystals with a known label of each task"
        logger.info("No kernel ridge was fitted, because %s: the network makes the whole prediction.", rule)
        return
    rows = list(compress(graphs, np.isin(np.arange(len(weights)), chosen)))
    x = embed_graphs(vectors.encoder, rows, "crystal", None, vectors.engine, kernel.center.device, "descriptor")
    systems = np.array([graph.chemical_system for graph in rows])
    if vectors.physics:
        x = np.hstack([x, crystal_physics(rows)])
    blocks = descriptor_blocks(vectors.encoder, vectors.physics)
    errors = fit_kernel(kernel, x, systems, labels[chosen], weights[chosen], share * held, blocks)
    logger.info(
        "A kernel ridge was fitted to %s: its mean absolute error, cross-validated by chemical system, is %s in the "
        "units of the labels, and it makes %.3g %% of the prediction (kernel_share).",
        counted(len(rows), "crystal"),
        ", ".join(f"{error:.3g}" for error in errors),
        100 * share * held,
    )
