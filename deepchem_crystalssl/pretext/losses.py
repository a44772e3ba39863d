"""Losses of self-supervision: pure functions.

``same`` marks pairs of rows that are one crystal (a duplicate in the batch): they are no negatives of each other.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

SamplingPolicy = Literal["non-easy", "semi-hard", "hard", "random", "distance-weighted"]
SAMPLING_POLICIES: tuple[SamplingPolicy, ...] = ("non-easy", "semi-hard", "hard", "random", "distance-weighted")


def bidirectional_triplet_loss(
    crystals: Tensor,
    patterns: Tensor,
    margin: float = 1.0,
    same: Tensor | None = None,
    generator: torch.Generator | None = None,
    policy: SamplingPolicy = "non-easy",
) -> Tensor:
    r"""Triplet loss between two views, in both directions (Suzuki et al. 2022).

    .. math::
        L = \tfrac12 \big(\langle [D_{ii} - D_{in(i)} + m]_+ \rangle_i +
                          \langle [D_{ii} - D_{n(i)i} + m]_+ \rangle_i\big),
        \qquad D_{ij} = \lVert x_i - y_j \rVert_2

    with one negative :math:`n(i)` per anchor. An anchor without a negative the policy allows adds nothing; with none at
    all the loss is 0, with zero gradient.

    Parameters
    ----------
    crystals, patterns : Tensor
        (B, F); row i of both belongs to one crystal.
    margin : float
        m.
    same : Tensor, optional
        (B, B) bool, symmetric; True where two rows are the same crystal and so no negatives of each other.
    generator : torch.Generator, optional
        Source of the draws.
    policy : str
        Which negative: drawn uniformly from those with :math:`D_{in} < D_{ii} + m` ("non-easy", the published
        default), from those with :math:`D_{ii} < D_{in} < D_{ii} + m` ("semi-hard"), or from all ("random"); the
        nearest ("hard"); or drawn with a probability falling as the density of distances on a sphere rises
        ("distance-weighted", Wu et al. 2017).

    Returns
    -------
    Tensor
        Scalar.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    >>> bidirectional_triplet_loss(x, x)  # both pairs meet, and are farther apart than the margin
    tensor(0.)
    """
    if policy not in SAMPLING_POLICIES:
        raise ValueError(f"policy: {policy!r}; must be one of {', '.join(SAMPLING_POLICIES)}")
    distance = _distances(crystals, patterns)
    same = _itself(distance) if same is None else same
    n_dims = crystals.shape[1]
    forward = _triplet_loss(distance, same, margin, generator, policy, n_dims)
    backward = _triplet_loss(distance.T, same.T, margin, generator, policy, n_dims)
    return (forward + backward) / 2


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances by one matrix product, about a common centre, where less cancels."""
    center = y.detach().mean(0)
    x, y = x - center, y - center
    squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squared.clamp(min=1e-12).sqrt()


def _triplet_loss(
    distance: Tensor,
    same: Tensor,
    margin: float,
    generator: torch.Generator | None,
    policy: SamplingPolicy,
    n_dims: int,
) -> Tensor:
    chance = _negative_chances(distance.detach(), same, margin, policy, n_dims)
    anchors = chance.sum(1) > 0
    if not bool(anchors.any()):
        return (distance * 0.0).sum()
    if policy == "hard":
        negative = chance[anchors].argmax(1, keepdim=True)
    else:
        negative = torch.multinomial(chance[anchors].cpu(), 1, generator=generator).to(distance.device)
    gap = distance.diagonal()[anchors] - distance[anchors].gather(1, negative)[:, 0] + margin
    return gap.clamp(min=0).mean()


def _negative_chances(distance: Tensor, same: Tensor, margin: float, policy: SamplingPolicy, n_dims: int) -> Tensor:
    """Unnormalised chance of each column to be the row's negative, (B, B)."""
    positive = distance.diagonal()[:, None]
    allowed = ~same
    if policy == "non-easy":
        allowed &= distance < positive + margin
    elif policy == "semi-hard":
        allowed &= (distance > positive) & (distance < positive + margin)
    elif policy == "hard":
        return torch.where(allowed, 1.0 / (1.0 + distance), 0.0)
    elif policy == "distance-weighted":
        # Density of distances between random points of a unit sphere, d^(n-2) (1 - d^2/4)^((n-3)/2), inverted; the
        # distances are brought onto the sphere's scale by their mean, sqrt(2) there.
        d = (
            (distance / distance[allowed].mean().clamp(min=1e-12) * 2**0.5).clamp(0.5, 1.4)
            if allowed.any()
            else distance
        )
        log_density = (n_dims - 2) * d.log() + (n_dims - 3) / 2 * (1 - d * d / 4).log()
        weight = torch.exp(-(log_density - log_density.max(1, keepdim=True).values).clamp(min=-30.0))
        return torch.where(allowed, weight / weight.max(1, keepdim=True).values, 0.0)
    return allowed.to(distance.dtype)


def info_nce_loss(x: Tensor, y: Tensor, temperature: float | Tensor = 0.1, same: Tensor | None = None) -> Tensor:
    r"""Symmetric InfoNCE between two views (Oord et al. 2018; CLIP).

    .. math:: L = -\tfrac12 \langle \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}} +
                                   \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}} \rangle_i,
              \qquad s_{ij} = \cos(x_i, y_j) / \tau

    Parameters
    ----------
    x, y : Tensor
        (B, F); row i of both belongs to one crystal.
    temperature : float or Tensor
        :math:`\tau`.
    same : Tensor, optional
        (B, B) bool; duplicates left out of the sums.

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
    r"""Normalised temperature-scaled cross-entropy of two views of one kind (SimCLR, Chen et al. 2020).

    As :func:`info_nce_loss`, but the other rows of the same view are negatives too.

    Parameters
    ----------
    x, y : Tensor
        (B, F); row i of both is one crystal.
    temperature : float
    same : Tensor, optional
        (B, B) bool; duplicates left out of the sums.
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
    r"""Redundancy reduction (Zbontar et al. 2021).

    .. math:: L = \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \ne l} C_{kl}^2

    with :math:`C` the cross-correlation of the two views' features over the batch.

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
