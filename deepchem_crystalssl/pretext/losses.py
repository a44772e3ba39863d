"""Losses of self-supervision, as pure functions.

``same`` marks pairs of rows that are the same crystal (duplicates in a batch): they are not negatives of each other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bidirectional_triplet_loss(
    crystals: Tensor,
    patterns: Tensor,
    margin: float = 1.0,
    same: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Triplet loss between two modalities, in both directions (Suzuki et al. 2022).

    .. math::
        L = \tfrac12 \big(\langle [D_{ii} - D_{in(i)} + m]_+ \rangle_i +
                          \langle [D_{ii} - D_{n(i)i} + m]_+ \rangle_i\big),
        \qquad D_{ij} = \lVert x_i - y_j \rVert_2

    Each anchor has one negative :math:`n(i)`, drawn uniformly from those with :math:`D_{in} < D_{ii} + m` (the
    published "non-easy" negatives). An anchor without such a negative adds nothing; if no anchor has one, the loss is 0
    and its gradient is 0.

    Parameters
    ----------
    crystals, patterns : Tensor
        (B, F); row i of both belongs to the same crystal.
    margin : float
        m.
    same : Tensor, optional
        (B, B) bool, symmetric; True where two rows are the same crystal, and so not negatives of each other.
    generator : torch.Generator, optional
        Source of the draws.

    Returns
    -------
    Tensor
        Scalar.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    >>> bidirectional_triplet_loss(x, x)  # partners coincide, and others are farther away than the margin
    tensor(0.)
    """
    distance = _distances(crystals, patterns)
    same = _itself(distance) if same is None else same
    forward = _triplet_loss(distance, same, margin, generator)
    backward = _triplet_loss(distance.T, same.T, margin, generator)
    return (forward + backward) / 2


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances by one matrix product, about a common centre, which keeps cancellation small."""
    center = y.detach().mean(0)
    x, y = x - center, y - center
    squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squared.clamp(min=1e-12).sqrt()


def _triplet_loss(distance: Tensor, same: Tensor, margin: float, generator: torch.Generator | None) -> Tensor:
    """The loss in one direction: rows are anchors."""
    negatives = ~same & (distance.detach() < distance.detach().diagonal()[:, None] + margin)
    anchors = negatives.any(1)
    if not bool(anchors.any()):
        return (distance * 0.0).sum()
    chances = negatives[anchors].to(distance.dtype).cpu()
    negative = torch.multinomial(chances, 1, generator=generator).to(distance.device)
    gap = distance.diagonal()[anchors] - distance[anchors].gather(1, negative)[:, 0] + margin
    return gap.clamp(min=0).mean()


def info_nce_loss(x: Tensor, y: Tensor, temperature: float | Tensor = 0.1, same: Tensor | None = None) -> Tensor:
    r"""Symmetric InfoNCE between two sets of vectors (van den Oord et al. 2018; Radford et al. 2021).

    .. math:: L = -\tfrac12 \langle \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}} +
                                   \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}} \rangle_i,
              \qquad s_{ij} = \cos(x_i, y_j) / \tau

    Parameters
    ----------
    x, y : Tensor
        (B, F); row i of both belongs to the same crystal.
    temperature : float or Tensor
        :math:`\tau`.
    same : Tensor, optional
        (B, B) bool; duplicates, which are left out of the sums.

    Examples
    --------
    >>> x = torch.eye(3)
    >>> round(float(info_nce_loss(x, x, 0.1)), 4)
    0.0001
    """
    similarity = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / temperature
    itself = _itself(similarity)
    if same is not None:
        similarity = similarity.masked_fill(same & ~itself, -torch.inf)
    target = torch.arange(len(x), device=x.device)
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2


def nt_xent_loss(x: Tensor, y: Tensor, temperature: float = 0.1, same: Tensor | None = None) -> Tensor:
    r"""Normalised temperature-scaled cross-entropy between two views (SimCLR, Chen et al. 2020).

    It differs from :func:`info_nce_loss` in that the other rows of the same view are negatives too.

    Parameters
    ----------
    x, y : Tensor
        (B, F); row i of both belongs to the same crystal.
    temperature : float
    same : Tensor, optional
        (B, B) bool; duplicates, which are left out of the sums.
    """
    z = F.normalize(torch.cat([x, y]), dim=1)
    similarity = z @ z.T / temperature
    n = len(x)
    excluded = _itself(similarity)
    if same is not None:
        other = same & ~_itself(same)
        excluded = excluded | other.repeat(2, 2)
    similarity = similarity.masked_fill(excluded, -torch.inf)
    target = torch.arange(2 * n, device=x.device).roll(n)
    return F.cross_entropy(similarity, target)


def barlow_twins_loss(x: Tensor, y: Tensor, off_diagonal: float = 0.005) -> Tensor:
    r"""Loss of redundancy reduction, Barlow Twins (Zbontar et al. 2021).

    .. math:: L = \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \ne l} C_{kl}^2

    where :math:`C` is the cross-correlation, over the batch, of the features of the two views.

    Parameters
    ----------
    x, y : Tensor
        (B, F), B > 1.
    off_diagonal : float
        :math:`\lambda`.
    """
    x, y = ((v - v.mean(0)) / (v.std(0, unbiased=False) + 1e-6) for v in (x, y))
    correlation = x.T @ y / len(x)
    on = (correlation.diagonal() - 1).square().sum()
    off = correlation.square().sum() - correlation.diagonal().square().sum()
    return on + off_diagonal * off


def _itself(matrix: Tensor) -> Tensor:
    return torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
