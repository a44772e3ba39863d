"""Probabilities of answers to measured patterns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepchem_crystalssl.search.confidence import FAIR, HIGH, LOW, MOST_LEAD, in_words, probabilities

scores = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8)


@given(scores)
def test_probabilities_fall_with_the_score(values):
    values = sorted(values, reverse=True)
    found = probabilities(values, [f"X{n}" for n in range(len(values))])
    assert ((found >= 0.0) & (found <= 1.0)).all() and (np.diff(found) <= 1e-12).all()


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_answers_plays_no_part(values, random):
    names = [f"X{n}" for n in range(len(values))]
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = probabilities([values[k] for k in order], [names[k] for k in order])
    assert np.allclose(shuffled, probabilities(values, names)[order])


def test_polymorphs_are_no_rivals_and_rivals_make_unsure():
    alone = probabilities([0.9], ["TiO2"])[0]
    assert probabilities([0.9, 0.9], ["TiO2", "TiO2"])[0] == alone
    assert probabilities([0.9, 0.9], ["TiO2", "SnO2"])[0] < 0.5 < alone
    assert probabilities([0.9, 0.9 - MOST_LEAD], ["TiO2", "SnO2"])[0] == pytest.approx(alone)


@pytest.mark.parametrize(("p", "word"), [(HIGH, "high"), (FAIR, "fair"), (LOW, "low"), (0.0, "none"), (1.0, "high")])
def test_words_begin_at_their_limits(p, word):
    assert in_words(p) == word
    assert p in (0.0, 1.0) or in_words(p - 1e-9) != word
