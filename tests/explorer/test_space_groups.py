"""The symbols of space groups that the page knows."""

import json
import re
from importlib.resources import files

import pytest
from pymatgen.symmetry.groups import SpaceGroup, sg_symbol_from_int_number

PAGE = files("deepchem_crystalssl.explorer") / "page"
N_GROUPS, MONOCLINIC = 230, range(3, 16)


def array(name):
    text = (PAGE / "space_group_symbols.js").read_text(encoding="utf-8")
    return json.loads(re.search(rf"{name} = (\[.*?),\n\];", text, re.DOTALL)[1] + "]")


def short(number):
    """As pymatgen writes it, without the axes of order one of monoclinic groups, which it writes out."""
    symbol = sg_symbol_from_int_number(number)
    return re.sub(r"^(.)1(.*)1$", r"\1\2", symbol) if number in MONOCLINIC else symbol


def test_all_230_symbols_are_those_of_pymatgen():
    symbols = array("STANDARD_SYMBOLS")
    assert symbols == [short(number) for number in range(1, N_GROUPS + 1)]
    assert [SpaceGroup(symbol).int_number for symbol in symbols] == list(range(1, N_GROUPS + 1))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_symbols_of_other_settings_belong_to_their_groups():
    lines = [line.split() for line in array("OTHER_SETTINGS")]
    known = {symbol: number for number, *symbols in lines for symbol in symbols if symbol in all_symbols()}
    assert len(known) > 200  # pymatgen writes P2_1/n in full only
    assert {symbol: str(SpaceGroup(symbol).int_number) for symbol in known} == known


def all_symbols():
    """As pymatgen takes them: without spaces and underscores."""
    return {re.sub(r"[ _]", "", symbol) for symbol in SpaceGroup.SG_SYMBOLS}
