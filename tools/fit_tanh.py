"""Fit the quotient of polynomials that stands for tanh in ``nn/fused_convolution.py``, and print it.

tanh(y) = y P(y^2) / Q(y^2) on [-8.5, 8.5], by least squares of y P - tanh Q, reweighted towards the largest error.
"""

import numpy as np

REACH, DEGREE, POINTS = 8.5, 4, 4000


def fit():
    """Coefficients of P and Q by rising power, and the largest error."""
    y = REACH * 0.5 * (1 - np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS))
    scaled, target, weight = (y / REACH) ** 2, np.tanh(y), np.ones_like(y)
    best = (np.inf, None, None)
    for step in range(60):
        numerator = (y / REACH * weight)[:, None] * scaled[:, None] ** np.arange(DEGREE + 1)
        denominator = -(target * weight)[:, None] * scaled[:, None] ** np.arange(1, DEGREE + 1)
        c = np.linalg.lstsq(np.hstack([numerator, denominator]), target * weight, rcond=None)[0]
        p, q = c[: DEGREE + 1], np.append(1.0, c[DEGREE + 1 :])
        bottom = np.polyval(q[::-1], scaled)
        error = np.abs(y / REACH * np.polyval(p[::-1], scaled) / bottom - target)
        if error.max() < best[0]:
            best = (error.max(), p, q)
        weight = (1 + 3 * error / error.max()) ** min(step, 8) / np.abs(bottom)
        weight /= weight.max()
    powers = 2 * np.arange(DEGREE + 1)
    return best[1] / REACH ** (powers + 1), best[2] / REACH**powers, best[0]


if __name__ == "__main__":
    p, q, error = fit()
    print("P", *(f"{x:.9e}" for x in p))
    print("Q", *(f"{x:.9e}" for x in q))
    print("largest error", error)
