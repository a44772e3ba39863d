"""A readout of long-range order, in reciprocal space."""

from __future__ import annotations

from torch import Tensor, nn

from .graph_batch import GraphBatch
from .message_passing import shell_sum


class StructureFactorReadout(nn.Module):
    r"""A readout of long-range order: a powder pattern of learned scattering lengths.

    Each site has a few learned scattering lengths :math:`v_i = W x_i`. Their structure factors, squared and summed over
    shells of reciprocal space (:func:`~deepchem_crystalssl.nn.message_passing.shell_sum`), are a powder pattern of the
    learned environments. Message passing over neighbours cannot distinguish arrangements of environments beyond its
    reach; this readout can, at a cost proportional to the number of reflections. (Ewald message passing, Kosmala et al.
    2023, uses the same sums to pass messages.)

    Parameters
    ----------
    width : int
        Size of the site vectors.
    channels : int
        Number of scattering lengths per site.
    n_shells : int
        Number of shells, evenly spaced in the logarithm of g.
    d_max, d_min : float
        Largest and smallest spacing of lattice planes, Å.
    """

    def __init__(self, width: int, channels: int = 8, n_shells: int = 256, d_max: float = 12.0, d_min: float = 1.2):
        super().__init__()
        self.n_shells = n_shells
        self.size = channels * n_shells
        self.range = (1.0 / d_max, 1.0 / d_min)
        self.scatter = nn.Linear(width, channels)

    def forward(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """Amplitudes of the shells, (A, width) to (B, n_shells * channels)."""
        powers = shell_sum(batch, self.scatter(sites), *self.range, self.n_shells)
        return (powers + 1e-4).sqrt().flatten(1)
