"""Real spherical harmonics of the directions to neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_DEGREE = 4


def spherical_harmonics(direction: Tensor, max_degree: int = MAX_DEGREE) -> Tensor:
    r"""Real spherical harmonics of degree 1 to ``max_degree``, in Racah's normalisation.

    .. math:: \sum_m Y_{lm}(\hat r) Y_{lm}(\hat s) = P_l(\hat r \cdot \hat s)

    Parameters
    ----------
    direction : Tensor
        (E, 3), unit vectors; a zero vector gives zeros.
    max_degree : int
        1 to 4.

    Returns
    -------
    Tensor
        (E, (max_degree + 1)^2 - 1); degree l takes 2l + 1 columns.

    Examples
    --------
    >>> spherical_harmonics(torch.tensor([[0.0, 0.0, 1.0]]), 2)
    tensor([[0., 0., 1., 0., 0., 1., 0., 0.]])
    """
    if not 1 <= max_degree <= MAX_DEGREE:
        raise ValueError(f"max_degree: {max_degree}; must be 1 to {MAX_DEGREE}")
    x, y, z = direction.unbind(1)
    xx, yy, zz = x * x, y * y, z * z
    rr = xx + yy + zz
    columns = [x, y, z]
    if max_degree >= 2:
        a = 3**0.5
        columns += [a * x * y, a * y * z, zz - (xx + yy) / 2, a * x * z, a / 2 * (xx - yy)]
    if max_degree >= 3:
        b, c, d = (5 / 8) ** 0.5, 15**0.5, (3 / 8) ** 0.5
        ring = 5 * zz - rr
        columns += [
            b * y * (3 * xx - yy),
            c * x * y * z,
            d * y * ring,
            z * (2 * zz - 3 * xx - 3 * yy) / 2,
            d * x * ring,
            c / 2 * z * (xx - yy),
            b * x * (xx - 3 * yy),
        ]
    if max_degree >= 4:
        e, f, g, h = 35**0.5 / 2, (35 / 8) ** 0.5, 5**0.5 / 2, (5 / 8) ** 0.5
        outer, inner = 7 * zz - rr, 7 * zz - 3 * rr
        columns += [
            e * x * y * (xx - yy),
            f * y * z * (3 * xx - yy),
            g * x * y * outer,
            h * y * z * inner,
            (35 * zz * zz - 30 * zz * rr + 3 * rr * rr) / 8,
            h * x * z * inner,
            g / 2 * (xx - yy) * outer,
            f * x * z * (xx - 3 * yy),
            e / 4 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
        ]
    return torch.stack(columns, dim=1)
