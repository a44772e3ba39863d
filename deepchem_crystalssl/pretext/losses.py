"""Losses of self-supervision, as pure functions.

``same`` marks pairs of rows that are the same crystal (duplicates in a batch): they are not negatives of each other.

If several processes share a batch, ``share`` says which of its K crystals the B rows are. The rows are compared with
those of all processes, and the losses of the processes add up to that of the whole batch. ``same`` is then (B, K).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..nn.ranks import WHOLE, Share


def bidirectional_triplet_loss(
    crystals: Tensor,
    patterns: Tensor,
    margin: float = 1.0,
    same: Tensor | None = None,
    generator: torch.Generator | None = None,
    share: Share = WHOLE,
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
    share : Share
        Which crystals of a larger batch the rows are.

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
    distance = _distances(crystals, share.gather(patterns))
    back = distance.T if share.is_whole else _distances(patterns, share.gather(crystals))
    same = _itself(distance, share) if same is None else same
    forward = _triplet_loss(distance, same, margin, generator, share)
    backward = _triplet_loss(back, same.T if share.is_whole else same, margin, generator, share)
    return (forward + backward) / 2


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances by one matrix product, about a common centre, which keeps cancellation small."""
    center = y.detach().mean(0)
    x, y = x - center, y - center
    squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squared.clamp(min=1e-12).sqrt()


def _triplet_loss(
    distance: Tensor, same: Tensor, margin: float, generator: torch.Generator | None, share: Share
) -> Tensor:
    """The loss in one direction: rows are anchors."""
    positive = distance.diagonal() if share.is_whole else distance.gather(1, share.columns(distance)[:, None])[:, 0]
    negatives = share.gather(~same & (distance.detach() < positive.detach()[:, None] + margin))
    anchors = negatives.any(1)
    if not bool(anchors.any()):
        return (distance * 0.0).sum()
    chances = negatives[anchors].to(distance.dtype).cpu()
    drawn = torch.multinomial(chances, 1, generator=generator).to(distance.device)  # for the anchors of all processes
    negative = drawn.new_zeros(len(anchors), 1).masked_scatter(anchors[:, None], drawn)
    own, negative = share.own(anchors), share.own(negative)
    gap = positive[own] - distance[own].gather(1, negative[own])[:, 0] + margin
    return share.mean_of(gap.clamp(min=0).mean(), len(gap))


def info_nce_loss(
    x: Tensor,
    y: Tensor,
    temperature: float | Tensor = 0.1,
    same: Tensor | None = None,
    share: Share = WHOLE,
) -> Tensor:
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
    share : Share
        Which crystals of a larger batch the rows are.

    Examples
    --------
    >>> x = torch.eye(3)
    >>> round(float(info_nce_loss(x, x, 0.1)), 4)
    0.0001
    """
    x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
    similarity = _without_duplicates(x @ share.gather(y).T / temperature, same, share)
    back = similarity.T
    if not share.is_whole:
        back = _without_duplicates(y @ share.gather(x).T / temperature, same, share)
    target = share.columns(x)
    return share.mean(F.cross_entropy(similarity, target) + F.cross_entropy(back, target), "crystals") / 2


def _without_duplicates(similarity: Tensor, same: Tensor | None, share: Share) -> Tensor:
    if same is None:
        return similarity
    return similarity.masked_fill(same & ~_itself(similarity, share), -torch.inf)


def nt_xent_loss(
    x: Tensor, y: Tensor, temperature: float = 0.1, same: Tensor | None = None, share: Share = WHOLE
) -> Tensor:
    r"""Normalised temperature-scaled cross-entropy between two views (SimCLR, Chen et al. 2020).

    It differs from :func:`info_nce_loss` in that the other rows of the same view are negatives too.

    Parameters
    ----------
    x, y : Tensor
        (B, F); row i of both belongs to the same crystal.
    temperature : float
    same : Tensor, optional
        (B, B) bool; duplicates, which are left out of the sums.
    share : Share
        Which crystals of a larger batch the rows are.
    """
    z = F.normalize(torch.cat([x, y]), dim=1)
    everyone = z if share.is_whole else torch.cat([share.gather(z[: len(x)]), share.gather(z[len(x) :])])
    similarity = z @ everyone.T / temperature
    own, k = share.columns(x), len(everyone) // 2
    excluded = torch.zeros_like(similarity, dtype=torch.bool)
    excluded.scatter_(1, torch.cat([own, own + k])[:, None], True)
    if same is not None:
        other = same & ~_itself(same, share)
        excluded = excluded | other.repeat(2, 2)
    similarity = similarity.masked_fill(excluded, -torch.inf)
    return share.mean(F.cross_entropy(similarity, torch.cat([own + k, own])), "crystals")


def barlow_twins_loss(x: Tensor, y: Tensor, off_diagonal: float = 0.005, share: Share = WHOLE) -> Tensor:
    r"""Loss of redundancy reduction, Barlow Twins (Zbontar et al. 2021).

    .. math:: L = \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \ne l} C_{kl}^2

    where :math:`C` is the cross-correlation, over the batch, of the features of the two views.

    Parameters
    ----------
    x, y : Tensor
        (B, F), B > 1.
    off_diagonal : float
        :math:`\lambda`.
    share : Share
        Which crystals of a larger batch the rows are.
    """
    x, y = share.gather(x), share.gather(y)
    x, y = ((v - v.mean(0)) / (v.std(0, unbiased=False) + 1e-6) for v in (x, y))
    correlation = x.T @ y / len(x)
    on = (correlation.diagonal() - 1).square().sum()
    off = correlation.square().sum() - correlation.diagonal().square().sum()
    return share.equal_part(on + off_diagonal * off)


def _itself(matrix: Tensor, share: Share) -> Tensor:
    """Where a row and a column are the same crystal of the batch, in a matrix of own crystals times all of them."""
    return torch.zeros_like(matrix, dtype=torch.bool).scatter_(1, share.columns(matrix)[:, None], True)
