"""Normalisation that does the same in training and in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOW = 0.02
"""Momentum of the running statistics in training on labels, where batches are small."""
MAX_SCALE, MAX_SHIFT = 3.0, 5.0
"""Limits of r (and 1 / r) and of d in batch renormalisation."""


class BatchRenorm(nn.Module):
    r"""Batch renormalisation (Ioffe 2017): features normalised by running statistics, in training as in use.

    .. math:: y = \gamma \Big(\frac{x - \mu_B}{\sigma_B} r + d\Big) + \beta,
              \qquad r = \sigma_B / \sigma, \quad d = (\mu_B - \mu) / \sigma

    With r and d free, this is :math:`\gamma (x - \mu) / \sigma + \beta`: what the network sees while it learns is what
    it sees afterwards. They carry no gradient and are clipped, so that a drift of the running :math:`\mu, \sigma`
    cannot run away; the gradient is that of BatchNorm, which itself learns with the batch's statistics and is
    used with the running ones.

    Statistics do not move when the weights are frozen (without weights: when nothing before them learns), nor in a
    batch of one row, which has none.

    Parameters
    ----------
    n_features : int
    momentum : float
        What a batch forgets of those before it. It is large, for while weights move fast, statistics that lag behind
        them shift what every layer sees. Rows count alike: the small last batch of an epoch weighs little.
    affine : bool
        Whether gamma and beta are learned, or 1 and 0.

    Examples
    --------
    >>> BatchRenorm(3)(torch.randn(8, 3)).mean(0).abs().max() < 1e-5
    tensor(True)
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    n_rows: Tensor

    def __init__(
        self,
        n_features: int,
        momentum: float = 0.3,
        affine: bool = True,
    ):
        super().__init__()
        self.momentum = momentum
        self.eps = 1e-5
        self.statistics_move = True
        self.affine = affine
        if affine:
            self.weight = nn.Parameter(torch.ones(n_features))
            self.bias = nn.Parameter(torch.zeros(n_features))
        else:
            self.register_buffer("weight", torch.ones(n_features), persistent=False)
            self.register_buffer("bias", torch.zeros(n_features), persistent=False)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("variance", torch.ones(n_features))
        self.register_buffer("n_rows", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) or (B, F, L) to the same."""
        rows = x.numel() // x.shape[1]
        learns = self.weight if self.affine else x
        if not self.training or not learns.requires_grad or rows < 2:
            return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=self.eps)
        with torch.no_grad():
            mean, variance = (v.float() for v in torch.batch_norm_update_stats(x, None, None, 0.0))  # biased, one pass
            if self.statistics_move:
                self.n_rows.mul_(1.0 - self.momentum).add_(rows)
                share = rows / self.n_rows
                self.mean += share * (mean - self.mean)
                self.variance += share * (variance - self.variance)
            std = (self.variance + self.eps).sqrt()
            r = ((variance + self.eps).sqrt() / std).clamp(1 / MAX_SCALE, MAX_SCALE)
            d = ((mean - self.mean) / std).clamp(-MAX_SHIFT, MAX_SHIFT)
        return F.batch_norm(x, None, None, self.weight * r, self.weight * d + self.bias, training=True, eps=self.eps)


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Within, what passes through a module does not move its running statistics."""
    norms = [part for part in module.modules() if isinstance(part, BatchRenorm)]
    for norm in norms:
        norm.statistics_move = False
    try:
        yield
    finally:
        for norm in norms:
            norm.statistics_move = True


def slow_statistics(module: nn.Module) -> None:
    """For training on labels: the running statistics of a module average over fifty batches at least.

    A batch of 32 crystals has few rows: averaged over three such batches only, the error of the statistics in the last
    step would stay, as a common shift of all predictions.
    """
    for part in module.modules():
        if isinstance(part, BatchRenorm):
            part.momentum = min(part.momentum, SLOW)
