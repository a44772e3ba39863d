"""Whatever happens to a file of a folder: the right answer or a typed error, never other numbers, never a crash."""

from collections import Counter

import damage
import pytest

CASES = {"index": 40, "sharded index": 40, "model": 40, "training": 30}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    damage.make_folders(root)
    return root


@pytest.mark.parametrize("format", damage.FORMATS)
def test_damage_is_an_error_or_without_effect(format, folders, fuzz):
    found = damage.run_in_processes(format, folders / format, seed=28, count=CASES[format] * fuzz)
    assert len(found) == CASES[format] * fuzz
    wrong = [case for case in found if case["kind"] not in ("same", "typed")]
    assert not wrong, wrong[:5]
    kinds = Counter(case["kind"] for case in found)
    assert kinds["typed"] > len(found) / 2, kinds  # the damage is real
    assert all(damage_names_a_file(case) for case in found), "an error names the file or the folder"


def damage_names_a_file(case):
    return case["kind"] == "same" or "copy" in case["text"]
