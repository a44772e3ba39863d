"""Each long command, killed at random moments: it goes on with the same result, and never mixes it with another."""

import pytest
from kills import WORKS, Killer, try_kills


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    made = Killer(tmp_path_factory.mktemp("kills"))
    made.prepare()
    return made


@pytest.mark.once
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "featurize" else pytest.mark.slow) for n in WORKS])
def test_killed_anywhere_it_goes_on_and_mixes_nothing(killer, fuzz, name):
    seen = try_kills(killer, name, 2 * fuzz)
    assert seen["the same"] == seen["killed"] == 2 * fuzz
