r"""How probable it is that an answer to a measured pattern is right.

The probability is a logistic function of two numbers: the score of the answer, and its lead over the best answer of
another compound (negative if that one is better),

.. math:: \ln \frac{p}{1 - p} = a + b\,\text{score} + c\,\text{lead}.

Its constants were fitted to measured patterns of minerals, with the right compound in the index and with it removed, in
equal numbers, with and without the elements given: ``benchmarks/confidence.py``. So the odds that the compound is in
the index at all are taken as even.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

CONSTANT, PER_SCORE, PER_LEAD = -8.8, 8.5, 36.0
MOST_LEAD = 0.1
"""A larger lead says no more: the rivals may have been excluded by filters."""
PHASE_CONSTANT, PER_PHASE_SCORE = -8.0, 12.8
"""The same for a phase of a mixture."""
HIGH, FAIR, LOW = 0.92, 0.5, 0.1
"""Least probability of an answer of high, fair and low confidence."""
GROUP = 0.035
"""Answers whose scores are lower by at most this much cannot be told from the best one."""


def probabilities(scores: Sequence[float], compounds: Sequence[str]) -> np.ndarray:
    """Probability that each answer is right, (n,).

    Parameters
    ----------
    scores : sequence of float
        (n,).
    compounds : sequence of str
        Names of the compounds, (n,); answers of one compound are no rivals of each other.

    Examples
    --------
    >>> p = probabilities([0.95, 0.80], ["MgO", "CaO"])
    >>> bool(p[0] > 0.9 > 0.1 > p[1])
    True
    """
    values, names = np.asarray(scores, float), np.asarray(compounds, object)
    best_other = [
        max(values[names != name], default=value - MOST_LEAD) for value, name in zip(values, names, strict=True)
    ]
    lead = np.clip(values - best_other, -MOST_LEAD, MOST_LEAD)
    return 1.0 / (1.0 + np.exp(-(CONSTANT + PER_SCORE * values + PER_LEAD * lead)))


def phase_probability(score: float) -> float:
    """Probability that a phase of a mixture is right, from its score for what the other phases leave.

    The constants were fitted to the phases that are found in weighed mixtures: ``benchmarks/confidence.py``.

    Examples
    --------
    >>> phase_probability(0.8) > 0.8 > 0.3 > phase_probability(0.5)
    True
    """
    return float(1.0 / (1.0 + np.exp(-(PHASE_CONSTANT + PER_PHASE_SCORE * score))))


def in_words(probability: float) -> str:
    """A probability as "high", "fair", "low" or "none".

    Examples
    --------
    >>> [in_words(p) for p in (0.95, 0.6, 0.2, 0.01)]
    ['high', 'fair', 'low', 'none']
    """
    limits = {"high": HIGH, "fair": FAIR, "low": LOW}
    return next((word for word, least in limits.items() if probability >= least), "none")


def deciding_elements(scores: Sequence[float], formulas: Sequence[str], systems: Sequence[str]) -> tuple[str, ...]:
    """The fewest elements of the first answer that make its confidence high if the sample is known to contain them.

    Parameters
    ----------
    scores, formulas, systems : sequence
        Of the answers, best first: scores, formulas and chemical systems such as "Mn-O", (n,) each.

    Returns
    -------
    tuple of str
        Empty if the confidence is high already, or if no elements would do.

    Examples
    --------
    >>> deciding_elements([0.95, 0.945], ["MnO", "ScO"], ["Mn-O", "O-Sc"])
    ('Mn',)
    """
    elements = [set(system.split("-")) for system in systems]
    for number in range(len(elements[0]) + 1):
        for chosen in combinations(sorted(elements[0]), number):
            left = [k for k, contained in enumerate(elements) if contained >= set(chosen)]
            if probabilities([scores[k] for k in left], [formulas[k] for k in left])[0] >= HIGH:
                return chosen
    return ()
