"""Batch renormalisation, which normalises in the same way in training and in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ranks import ALONE, Ranks

SLOW = 0.02
"""Momentum of the running statistics in training on labels, where batches are small."""
MAX_SCALE, MAX_SHIFT = 3.0, 5.0
"""Limits of r (and 1 / r) and of d in batch renormalisation."""


class BatchRenorm(nn.Module):
    r"""Batch renormalisation (Ioffe 2017): features normalised by running statistics, in training as in use.

    .. math:: y = \gamma \Big(\frac{x - \mu_B}{\sigma_B} r + d\Big) + \beta,
              \qquad r = \sigma_B / \sigma, \quad d = (\mu_B - \mu) / \sigma

    Without limits on r and d, this equals :math:`\gamma (x - \mu) / \sigma + \beta`: features are normalised by the
    running statistics in training, too. r and d have no gradient and are limited to :math:`1/3 \le r \le 3` and
    :math:`|d| \le 5`, so that the running :math:`\mu, \sigma` cannot drift away. The gradient is that of BatchNorm,
    which trains with the statistics of the batch but is used with the running ones.

    The running statistics are not updated if the weights are frozen (or, without weights, if the input needs no
    gradient), nor by a batch of a single row.

    Parameters
    ----------
    n_features : int
    momentum : float
        Fraction of the running statistics that a batch replaces. It is large, because statistics that lag behind the
        weights shift the inputs of all layers. Each row counts the same, so that a small last batch weighs little.
    affine : bool
        Whether gamma and beta are learned; otherwise they are 1 and 0.

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
        self.ranks = ALONE
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
        if self.training and learns.requires_grad and not self.ranks.alone:
            return self._of_all_ranks(x)
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

    def _of_all_ranks(self, x: Tensor) -> Tensor:
        """The same with the statistics of the whole batch, whose rows the ranks share."""
        with torch.no_grad():
            mean, variance, rows = _moments(x, self.ranks)
            alone = rows < 2.0  # as above; without a branch, which would wait for the device
            mean, variance = torch.where(alone, self.mean, mean), torch.where(alone, self.variance, variance)
            if self.statistics_move:
                n_rows = self.n_rows * (1.0 - self.momentum) + rows
                self.n_rows.copy_(torch.where(alone, self.n_rows, n_rows))
                share = torch.where(alone, 0.0, rows / self.n_rows.clamp(min=1.0))
                self.mean += share * (mean - self.mean)
                self.variance += share * (variance - self.variance)
            std = (self.variance + self.eps).sqrt()
            r = ((variance + self.eps).sqrt() / std).clamp(1 / MAX_SCALE, MAX_SCALE)
            d = ((mean - self.mean) / std).clamp(-MAX_SHIFT, MAX_SHIFT)
            part = torch.where(alone, 0.0, 1.0 / rows.clamp(min=1.0))  # of the running statistics: no gradient
        scale, shift = self.weight * r, self.weight * d + self.bias
        return _NormalizedTogether.apply(x, scale, shift, (mean, variance, part, self.eps, self.ranks))


def _moments(x: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (F,), variance (F,) and number of the rows of all ranks; the same to the last digit on each of them."""
    n, n_features = x.numel() // x.shape[1], x.shape[1]
    own = torch.zeros(2 * n_features + 1, device=x.device)
    if n:
        own[:n_features], own[n_features:-1] = torch.batch_norm_update_stats(x, None, None, 0.0)
        own[-1] = n
    means, variances, counts = ranks.gather_blocks(own).double().split([n_features, n_features, 1], dim=1)
    rows = counts.sum()
    weights = counts / rows.clamp(min=1.0)
    mean = (weights * means).sum(0)
    variance = (weights * (variances + (means - mean).square())).sum(0)
    return mean.float(), variance.float(), rows.float()


class _NormalizedTogether(torch.autograd.Function):
    """Batch normalisation by the statistics of all ranks, whose gradient goes through these statistics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, together: tuple) -> Tensor:
        ctx.together = together
        ctx.save_for_backward(x, scale)
        mean, variance, _, eps, _ = together
        if not x.numel():
            return torch.empty_like(x)
        return F.batch_norm(x, mean, variance, scale, shift, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (x, scale), (mean, variance, part, eps, ranks) = ctx.saved_tensors, ctx.together
        d_y = gradients[0].contiguous()
        d_scale, d_shift = torch.zeros_like(scale), torch.zeros_like(scale)
        if x.numel():
            _, d_scale, d_shift = torch.ops.aten.native_batch_norm_backward(
                d_y, x, scale, mean, variance, None, None, False, eps, [False, True, True]
            )
        sum_scale, sum_shift = ranks.total(torch.stack([d_scale, d_shift]))
        inverse = (variance + eps).rsqrt()
        slope = scale * inverse.square() * part * sum_scale
        offset = scale * inverse * part * sum_shift - slope * mean
        along, slope, offset = (v.view((1, -1) + (1,) * (x.dim() - 2)) for v in (scale * inverse, slope, offset))
        if x.dtype == torch.float32:  # in few passes: these are the largest tensors of a step
            return torch.addcmul(-offset, d_y, along).addcmul_(x, slope, value=-1.0), d_scale, d_shift, None
        return (along * d_y - slope * x - offset).to(x.dtype), d_scale, d_shift, None


@contextmanager
def normalized_together(module: nn.Module, ranks: Ranks) -> Iterator[None]:
    """A context in which the norms of a module, in training, use the statistics of the batches of all ranks."""
    norms = [] if ranks.alone else [part for part in module.modules() if isinstance(part, BatchRenorm)]
    for norm in norms:
        norm.ranks = ranks
    try:
        yield
    finally:
        for norm in norms:
            norm.ranks = ALONE


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """A context in which a module does not update its running statistics.

    Its norms work as in training, also in evaluation: views in which something is masked or displaced are farther from
    the statistics of whole crystals than the limits of r and d, and only what training saw tells how it went.
    """
    norms = [part for part in module.modules() if isinstance(part, BatchRenorm)]
    modes = [norm.training for norm in norms]
    for norm in norms:
        norm.statistics_move, norm.training = False, True
    try:
        yield
    finally:
        for norm, mode in zip(norms, modes, strict=True):
            norm.statistics_move, norm.training = True, mode


def slow_statistics(module: nn.Module) -> None:
    """Let the running statistics of a module be averages over at least fifty batches, for training on labels.

    A batch of 32 crystals has few rows. Averages over only three such batches have a sampling error that would remain
    after the last step, as a common shift of all predictions.
    """
    for part in module.modules():
        if isinstance(part, BatchRenorm):
            part.momentum = min(part.momentum, SLOW)
