"""Order beyond the neighbourhood, read off in reciprocal space."""

from __future__ import annotations

from torch import Tensor, nn

from .graph_batch import GraphBatch
from .message_passing import shell_sum


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
    channels : int
        Scattering lengths per site.
    n_shells : int
        Evenly over the logarithm of g.
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
        """(A, width) to (B, n_shells * channels): amplitudes."""
        powers = shell_sum(batch, self.scatter(sites), *self.range, self.n_shells)
        return (powers + 1e-4).sqrt().flatten(1)
