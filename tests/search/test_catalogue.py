import warnings

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import EmbeddingIndex
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.search.catalogue import Facts, Joined, catalogue, describe

IDS = ["NaCl", "KCl", "MgO"]
GAPS = pd.DataFrame({"material_id": ["MgO", "KCl", "NaCl"], "gap": [7.8, 8.4, 8.5]})


def rock_salt(cation, anion, length):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


STRUCTURES = [rock_salt("Na", "Cl", 5.64), rock_salt("K", "Cl", 6.29), rock_salt("Mg", "O", 4.21)]


def build(metadata=None, ids=IDS, structures=STRUCTURES):
    return EmbeddingIndex.build(np.eye(len(ids), 8), ids, structures, metadata=metadata).table


@pytest.mark.parametrize(
    "metadata",
    [
        GAPS,
        GAPS.set_index("material_id"),
        GAPS.rename(columns={"material_id": "id"}),
        GAPS.rename(columns={"material_id": "id"}).set_index("id"),
        GAPS.set_index("material_id").rename_axis(None),
        GAPS.set_index("material_id").assign(name=["periclase", "sylvite", "halite"]),  # names are no ids here
        pd.concat([GAPS, pd.DataFrame({"material_id": ["CaO"], "gap": [7.0]})]),
    ],
)
def test_metadata_goes_to_the_crystals_of_its_ids(metadata):
    before = metadata.copy()
    assert build(metadata)["gap"].tolist() == [8.5, 8.4, 7.8]
    pd.testing.assert_frame_equal(metadata, before)


def test_numbers_and_texts_are_one_id():
    metadata = pd.DataFrame({"id": [9.0, 8.0, 7.0], "gap": [3.0, 2.0, 1.0]})
    assert build(metadata, [7, 8, 9])["gap"].tolist() == [1.0, 2.0, 3.0]
    assert build(metadata, ["7", "8", "9"])["material_id"].tolist() == ["7", "8", "9"]
    with pytest.raises(QueryError, match="none of its ids"):
        build(metadata, ["007", "008", "009"])


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        (GAPS[["gap"]], "material_id"),
        (GAPS[["gap"]].iloc[::-1], "material_id"),
        (GAPS.assign(material_id=["x", "y", "z"]), "none of its ids"),
        (pd.concat([GAPS, GAPS[:1]]), "'MgO' in several rows"),
        (GAPS.assign(odd=[1, "one", None]), "odd"),
        (GAPS.assign(spacegroup=["Fm-3m"] * 3), "Fm-3m"),
        (GAPS.assign(space_group=[225, 231, 225]), "231"),
        ({"gap": [1, 2, 3]}, "an object of type dict.*material_id"),
    ],
)
def test_metadata_that_cannot_be_matched_or_kept_is_refused(metadata, word):
    with pytest.raises(QueryError, match=word):
        build(metadata)


def test_metadata_of_some_crystals_keeps_its_kinds():
    table = build(GAPS[:2].assign(year=[1905, 1912], measured=[True, False]))
    assert table["year"].dtype == "Int64" and table["year"].tolist()[1:] == [1912, 1905] and table["year"].isna()[0]
    assert table["measured"].dtype == "boolean" and table["measured"].tolist()[1:] == [False, True]


@pytest.mark.parametrize(
    ("ids", "structures", "word"),
    [
        (["a", "a", "b"], None, "'a' twice"),
        (["a", None, "b"], None, "row 1"),
        (IDS, [rock_salt("Ag", "Br", 5.77), *STRUCTURES], "4 for 3"),
        (IDS, STRUCTURES[:2], "2 for 3"),
        (IDS, iter(STRUCTURES[:2]), "2 for 3"),
    ],
)
def test_ids_and_structures_that_do_not_match_are_refused(ids, structures, word):
    with pytest.raises(QueryError, match=word):
        build(None, ids, structures)


def test_structures_that_carry_the_ids_of_other_rows_are_refused():
    crystals = bundled_prototypes()[:3]
    names = [crystal.material_id for crystal in crystals]
    assert build(None, names, crystals)["formula"].tolist() == [crystal.reduced_formula for crystal in crystals]
    with pytest.raises(QueryError, match="structure 0 carries the id"):
        build(None, names, crystals[::-1])


def test_pattern_vectors_must_be_as_many():
    with pytest.raises(QueryError, match="pattern_embeddings"):
        EmbeddingIndex.build(np.eye(3), IDS, pattern_embeddings=np.eye(2))


def test_a_catalogue_joins_structures_and_metadata():
    crystals = bundled_prototypes()[:4]
    ids = [crystal.material_id for crystal in crystals]
    known = pd.DataFrame({"material_id": ids[::-1], "spacegroup": [4, 3, 2, 1], "chemsys": ["wrong"] * 4})
    table = catalogue(ids, crystals, known)
    assert table["space_group"].tolist() == [1, 2, 3, 4]  # by id, under its own name
    assert table["chemical_system"].tolist() == [crystal.chemical_system for crystal in crystals]  # structures go first
    assert table["formula"].tolist() == [crystal.reduced_formula for crystal in crystals]


def test_without_structures_formulas_tell_the_chemical_system():
    metadata = pd.DataFrame({"id": ["a", "b"], "formula": ["Ca(OH)2", None]})
    assert catalogue(["a", "b"], None, metadata)["chemical_system"].tolist() == ["Ca-H-O", None]
    metadata = pd.DataFrame({"id": ["a", "b"], "chemsys": ["O-Fe", "Fe, Cl"]})
    assert catalogue(["a", "b"], None, metadata)["chemical_system"].tolist() == ["Fe-O", "Cl-Fe"]
    with pytest.raises(QueryError, match="Rust"):
        catalogue(["a", "b"], None, metadata.assign(chemsys="Rust"))


def test_joined_lists_are_one_list():
    a, b = bundled_prototypes()[:3], bundled_prototypes()[3:5]
    joined = Joined.of(a, b).select(np.array([4, 0, 3]))
    assert [joined[k] for k in range(len(joined))] == [b[1], a[0], b[0]]
    assert len(Joined.of(joined, a)) == 6 and Joined.of(joined, a)[3] is a[0]
    assert describe([a[0]])["num_sites"].tolist() == [a[0].num_nodes]


def test_what_two_crystals_share():
    rutile = Facts(frozenset({"Ti", "O"}), "AB2", 136)
    assert rutile.shared(Facts(frozenset({"Sn", "O"}), "AB2", 136)) == "O, AB2, space group 136"
    assert rutile.shared(Facts(frozenset({"Na", "Cl"}), "AB", 225)) == ""
    assert Facts.of_row({"formula": None, "space_group": np.nan}) == Facts(frozenset(), "", None)
    assert Facts.of_row({"formula": "Ti2O4", "chemical_system": "O-Ti", "space_group": 136}) == rutile


def test_crystals_without_metadata_are_counted():
    metadata = pd.DataFrame({"id": ["007", "8", "009", "x"], "gap": [1.0, 2.0, 3.0, 4.0]})
    message = "no row for 2 of 3 crystals, such as '7', and no crystal has the id of 3 rows, such as '007'"
    with pytest.warns(UserWarning, match=message) as caught:
        assert np.isnan(build(metadata, [7, 8, 9])["gap"]).tolist() == [True, False, True]
    assert [warning.filename for warning in caught if warning.category is UserWarning] == [__file__]
    with warnings.catch_warnings():  # a table of more crystals than the index is usual
        warnings.simplefilter("error", UserWarning)
        build(metadata, ["x", "8", "009"])


def test_a_series_is_metadata():
    gaps = GAPS.set_index("material_id")["gap"]
    assert build(gaps)["gap"].tolist() == build(gaps.rename(None))["value"].tolist() == [8.5, 8.4, 7.8]
    with pytest.raises(QueryError, match="never by position"):
        build(GAPS["gap"])
