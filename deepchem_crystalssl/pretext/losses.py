"""Losses of self-supervision: pure functions."""

from __future__ import annotations

import torch
from torch import Tensor


def bidirectional_triplet_loss(
    crystals: Tensor,
    patterns: Tensor,
    margin: float = 1.0,
    same: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Triplet loss between two views, in both directions (Suzuki et al. 2022).

    .. math::
        L = \tfrac12 \big(\langle [D_{ii} - D_{in(i)} + m]_+ \rangle_i +
                          \langle [D_{ii} - D_{n(i)i} + m]_+ \rangle_i\big),
        \qquad D_{ij} = \lVert x_i - y_j \rVert_2

    with one negative :math:`n(i)` per anchor, drawn uniformly from those that are not easy,
    :math:`D_{in} < D_{ii} + m`. An anchor without such a negative adds nothing; with none at all the loss is 0, with
    zero gradient.

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
    distance = torch.cdist(crystals, patterns, compute_mode="donot_use_mm_for_euclid_dist")
    if same is None:
        same = torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    forward = _triplet_loss(distance, same, margin, generator)
    backward = _triplet_loss(distance.T, same.T, margin, generator)
    return (forward + backward) / 2


def _triplet_loss(distance: Tensor, same: Tensor, margin: float, generator: torch.Generator | None) -> Tensor:
    positive = distance.diagonal()
    allowed = ~same & (distance.detach() < positive.detach()[:, None] + margin)
    anchors = allowed.any(1)
    if not bool(anchors.any()):
        return (distance * 0.0).sum()
    negative = torch.multinomial(allowed[anchors].float(), 1, generator=generator)
    gap = positive[anchors] - distance[anchors].gather(1, negative)[:, 0] + margin
    return gap.clamp(min=0).mean()
