"""What a frozen encoder contributes to a model of labels: vectors of sites, kept in memory, and a kernel regression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..crystals.records import CrystalGraph
from ..evaluation.kernel_ridge import LaplacianRidgeCV
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.links import Engine
from ..nn.message_passing import GraphBatch
from ..nn.negnn import KernelRegression
from .embedding import SITES_PER_BATCH, batches_of_sites, evaluation_mode
from .model_physics import site_physics
from .targets import digest

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
) -> None:
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
    """
    y, known = labels.numpy(), (weights > 0).numpy()
    duals, fits = np.zeros(y.shape), []
    for task in range(y.shape[1]):
        rows = known[:, task]
        fits.append(LaplacianRidgeCV(blocks=blocks).fit(x[rows], y[rows, task], systems[rows]))
        duals[rows, task] = fits[-1].dual_coef_
    gamma, center = (torch.tensor([getattr(fit, name) for fit in fits]) for name in ("gamma_", "intercept_"))
    device = kernel.center.device
    columns = torch.as_tensor(np.stack([fit.column_weights_ for fit in fits]))
    kernel.take(torch.as_tensor(x), torch.as_tensor(duals), gamma, center, share, columns)
    kernel.to(device)
