"""Order beyond the neighbourhood, read off in reciprocal space."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import mlp
from .message_passing import GraphBatch, shell_sum
from .normalization import BatchRenorm


class StructureFactorReadout(nn.Module):
    r"""What diffraction would see if sites scattered as the network likes.

    Every site gets a few learned scattering lengths :math:`v_i = W x_i`; their structure factors, squared and summed in
    shells of reciprocal space (:func:`~deepchem_crystalssl.nn.message_passing.shell_sum`), are a powder pattern of the
    learned environments. Message passing over neighbours cannot tell how environments are arranged beyond its reach;
    this can, at the cost of the reflections. (Ewald message passing, Kosmala et al. 2023, uses the same sums to pass
    messages.)

    Parameters
    ----------
    width : int
        Size of the site vectors.
    size : int
        Size of the result.
    channels : int
        Scattering lengths per site.
    n_shells : int
        Evenly over the logarithm of g.
    d_max, d_min : float
        Largest and smallest spacing of lattice planes, Å.
    """

    def __init__(
        self,
        width: int,
        size: int = 128,
        channels: int = 8,
        n_shells: int = 256,
        d_max: float = 12.0,
        d_min: float = 1.1,
    ):
        super().__init__()
        self.size, self.n_shells = size, n_shells
        self.range = (1.0 / d_max, 1.0 / d_min)
        self.scatter = nn.Linear(width, channels)
        self.norm = BatchRenorm(channels * n_shells)
        self.encode = mlp([channels * n_shells, 2 * size, size])

    def forward(self, batch: GraphBatch, sites: Tensor) -> Tensor:
        """(A, width) to (B, size)."""
        powers = shell_sum(batch, self.scatter(sites), *self.range, self.n_shells)
        return self.encode(self.norm((powers + 1e-4).sqrt().flatten(1)))
