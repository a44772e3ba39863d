import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition, Element

from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.search.formulas import formula_type, parse_formula, read_formula, same_compound

SYMBOLS = [element.symbol for element in Element if element.Z <= 103 and element.symbol not in "DT"]
COMPOSITIONS = st.dictionaries(st.sampled_from(SYMBOLS), st.integers(1, 24), min_size=1, max_size=5)


@given(COMPOSITIONS)
def test_compositions_are_those_of_pymatgen(amounts):
    expected = Composition(amounts)
    assert parse_formula(expected.formula) == expected.get_el_amt_dict()
    assert formula_type(expected.reduced_formula) == expected.anonymized_formula
    assert same_compound(parse_formula(expected.reduced_formula), parse_formula(expected.formula))


def test_the_prototypes():
    for crystal in bundled_prototypes():
        assert formula_type(crystal.reduced_formula) == Composition(crystal.reduced_formula).anonymized_formula
        assert same_compound(parse_formula(crystal.formula), parse_formula(crystal.reduced_formula))


@pytest.mark.parametrize(
    ("text", "written"),
    [("TiO₂", "TiO2"), ("Ca (OH)2", "CaO2H2"), (" Na Cl ", "NaCl"), ("CuSO4·5H2O", "CuSO9H10"), ("Fe0.95O", "Fe19O20"),
     ("K4[Fe(CN)6]", "K4FeC6N6"), ("{[(Si)]}O2", "SiO2"), ("Ti2O4", "O2Ti")],
)  # fmt: skip
def test_ways_of_writing(text, written):
    assert same_compound(parse_formula(text), parse_formula(written))


@pytest.mark.parametrize("text", ["", "quartz", "Ca(OH", "OH)2", "2", "TiO0", "mp-149", "Xx2", "(2)Ti", "·", "Å"])
def test_what_is_no_formula(text):
    assert parse_formula(text) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [("tio2", ["TiO2"]), ("NACL", ["NaCl"]), ("caco3", ["CaCO3", "CaCo3", "CAcO3"]), ("CO", ["CO"]),
     ("co", ["CO", "Co"]), ("quartz", []), ("a" * 500, []), ("cocococococococococo", [])],
)  # fmt: skip
def test_capital_letters_left_out(text, meant):
    found = read_formula(text)
    assert len(found) == len(meant)
    for formula in meant:
        assert any(same_compound(parse_formula(formula), amounts) for amounts in found)
