"""What files state of their crystals, and the check of a folder."""

import math
import os
import tarfile
import warnings

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals import checking
from deepchem_crystalssl.crystals.checking import check_file, check_files, summary_of, to_table
from deepchem_crystalssl.crystals.cif.statements import Statements, parse_formula, read_statements
from deepchem_crystalssl.crystals.consistency import find_contradictions
from deepchem_crystalssl.crystals.contacts import find_close_pair
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.errors import LimitError, NoCrystalsError, OverlappingAtomsError, StatementError

SALT = """data_salt
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
_chemical_formula_sum 'Cl Na'
_cell_formula_units_Z 4
_cell_volume 179.41(2)
_exptl_crystal_density_diffrn 2.164
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na Na 0 0 0
Cl Cl .5 .5 .5
"""


def checked(tmp_path, text, name="salt.cif"):
    (tmp_path / name).write_text(text)
    return list(check_file(tmp_path / name, "salt"))


@pytest.mark.parametrize(
    "text, formula",
    [
        ("C2 H6 O", {6: 2, 1: 6, 8: 1}),
        ("'Fe0.95 O'".strip("'"), {26: 0.95, 8: 1}),
        ("SiO2", {14: 1, 8: 2}),
        ("C4 D2 H2", {6: 4, 1: 4}),
        ("N O3 1-", {7: 1, 8: 3}),
        ("Al2 O3 Va1", None),  # no element
        ("(C4 H6)n", None),
        ("CO2", None),  # cobalt in capitals, or carbon dioxide
        ("NI1 O1", None),
        ("?", None),
        ("", None),
    ],
)
def test_formula_sums(text, formula):
    assert parse_formula(text) == formula


def test_statements_of_blocks():
    two = SALT + SALT.replace("data_salt", "data_other").replace("179.41(2)", "?")
    stated = read_statements(two, "file")
    assert list(stated) == ["file:salt", "file:other"]
    assert stated["file:salt"] == Statements({17: 1, 11: 1}, 4, 2.164, 179.41)
    assert math.isnan(stated["file:other"].volume)
    assert read_statements(SALT + SALT, "file") == {}  # which of the two is meant is not known
    assert read_statements("no CIF", "file") == {}


def test_a_file_that_agrees_with_itself(tmp_path):
    (one,) = checked(tmp_path, SALT)
    assert (one.outcome, one.formula, one.sites, one.findings) == ("read", "Cl4Na4", 8, [])
    assert one.volume == pytest.approx(179.41, abs=0.01) and one.density == pytest.approx(2.164, abs=0.001)


@pytest.mark.parametrize(
    "old, new, value",
    [
        ("'Cl Na'", "'Cl K'", "Cl4Na4 in the cell, ClK is stated"),
        ("'Cl Na'", "'Cl Na2'", "Cl4Na4 in the cell, ClNa2 is stated"),
        ("'Cl Na'", "'Cl H2 Na'", "8 hydrogen atoms fewer than ClH2Na states"),
        ("Z 4", "Z 8", "4 formula units of ClNa in the cell, Z = 8 is stated"),
        ("2.164", "2.3", "density 2.164 g/cm^3, 2.3 is stated"),
        ("179.41(2)", "185.1", "volume 179.41 Å^3, 185.1 is stated"),
    ],
)
def test_each_statement_is_compared(tmp_path, old, new, value):
    (one,) = checked(tmp_path, SALT.replace(old, new))
    assert one.outcome == "read with remarks"
    assert [type(error) for error in one.findings] == [StatementError] and value in str(one.findings[0])


@pytest.mark.parametrize("old, new", [("Z 4", "Z ?"), ("2.164", "2.17"), ("'Cl Na'", "?"), ("179.41(2)", "179")])
def test_rounded_and_missing_statements_are_no_contradiction(tmp_path, old, new):
    assert [one.outcome for one in checked(tmp_path, SALT.replace(old, new))] == ["read"]


def test_z_may_count_reduced_formulas(tmp_path):
    """As in the files that pymatgen writes."""
    assert [one.outcome for one in checked(tmp_path, SALT.replace("'Cl Na'", "'Cl4 Na4'"))] == ["read"]
    assert len(checked(tmp_path, SALT.replace("'Cl Na'", "'Cl4 Na4'").replace("Z 4", "Z 3"))[0].findings) == 1
    hydrogen = make_crystal(["H"] * 4, [[0, 0, 0.25 * k] for k in range(4)], 8 * np.eye(3), "H4")
    assert find_contradictions(hydrogen, Statements({1: 4.0}, 2)) == []  # two molecules


def test_a_formula_of_a_disordered_crystal():
    alloy = make_crystal([{"Cu": 0.667, "Au": 0.333}, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], 4 * np.eye(3), "alloy")
    assert find_contradictions(alloy, Statements({29: 0.67, 79: 0.33, 8: 1.0}, 1)) == []
    assert len(find_contradictions(alloy, Statements({29: 0.33, 79: 0.67, 8: 1.0}, 1))) == 1


def test_atoms_too_close_unless_they_are_alternatives():
    places, cell = [[0, 0, 0], [0.1, 0, 0]], 6 * np.eye(3)  # 0.6 Å
    (error,) = find_close_pair(make_crystal(["C", "C"], places, cell, "close"))
    assert isinstance(error, OverlappingAtomsError) and "C (site 0) and C (site 1), 0.60 Å apart" in str(error)
    assert find_close_pair(make_crystal([{"C": 0.5}, {"C": 0.5}], places, cell)) == []
    assert len(find_close_pair(make_crystal([{"C": 0.5}, {"C": 0.6}], places, cell))) == 1
    across = make_crystal(["H", "H"], [[0.0, 0, 0], [0.97, 0, 0]], 10 * np.eye(3))  # 0.3 Å, over the face of the cell
    assert len(find_close_pair(across)) == 1
    assert find_close_pair(make_crystal(["H", "H"], [[0, 0, 0], [0.074, 0, 0]], 10 * np.eye(3))) == []  # a molecule


def test_real_crystals_have_no_close_atoms(prototypes):
    close = {error.item for crystal in prototypes for error in find_close_pair(crystal)}
    # Four of the 288 are listed with wrong coordinates: in ullmannite Ni and Sb, bonded at 2.5 Å, are 1.03 Å apart.
    assert close == {"AB_mP4_11_e_e", "AB2_hP24_194_ef_fgh", "sigma_tP30_136_bf2ij", "ABC_cP12_198_a_a_a"}


def test_a_folder(tmp_path):
    (tmp_path / "a.cif").write_text(SALT)
    (tmp_path / "b.cif").write_text(SALT.replace("Z 4", "Z 1"))
    (tmp_path / "c.cif").write_text("")
    (tmp_path / "thesis.tex").write_text("no crystals")
    with tarfile.open(tmp_path / "d.tar.gz", "w:gz") as archive:
        for name, text in (("one.cif", SALT), ("two.cif", SALT.replace("2.164", "5"))):
            (tmp_path / "member.txt").write_text(text)
            archive.add(tmp_path / "member.txt", name)
    found = list(check_files(tmp_path, progress=False))
    assert [(one.crystal, one.outcome) for one in found] == [
        ("a", "read"),
        ("b", "read with remarks"),
        ("c", "refused"),
        ("one", "read"),
        ("two", "read with remarks"),
    ]
    assert found[4].file == str(tmp_path / "d.tar.gz/two.cif") and "5 is stated" in str(found[4].findings[0])
    assert summary_of(found).startswith("5 files: 2 crystals read, 2 read with remarks, 1 refused (StatementError: 2")
    table = to_table(found)
    assert list(table.columns) == checking.COLUMNS and table["error"].tolist()[2] == "EmptyFileError"


def test_limits_cost_one_file_only(tmp_path, monkeypatch):
    (tmp_path / "a.cif").write_text(SALT)
    os.mkfifo(tmp_path / "b.cif")  # opening a pipe that nobody writes to never ends
    (tmp_path / "c.cif").write_text(SALT)
    monkeypatch.setattr(checking, "find_files", lambda folder: sorted(folder.iterdir()))
    found = list(check_files(tmp_path, seconds=5.0, progress=False))
    assert [one.outcome for one in found] == ["read", "refused", "read"]
    (error,) = found[1].findings
    assert isinstance(error, LimitError) and "more than 5 s" in str(error) and "b.cif" in str(error)


def test_what_readers_warn_of_is_a_remark(tmp_path, monkeypatch):
    read = checking.read_structures

    def warning(*arguments, **options):
        warnings.warn("hydrogen atoms are attached to a label", UserWarning, stacklevel=2)
        return read(*arguments, **options)

    monkeypatch.setattr(checking, "read_structures", warning)
    (one,) = checked(tmp_path, SALT)
    assert one.outcome == "read with remarks" and one.warnings == ["hydrogen atoms are attached to a label"]


@pytest.mark.parametrize(
    "old, new", [("179.41(2)", "500"), ("'Cl Na'", "'Cl2 Na'"), ("Cl Cl .5 .5 .5", "Cl Cl .5 .5 .5\nK K .08 .08 .08")]
)
def test_a_finding_is_told_once(tmp_path, old, new):
    (one,) = checked(tmp_path, SALT.replace(old, new).replace("F m -3 m", "P 1"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        list(read_structures(tmp_path / "salt.cif", on_error="skip"))
    assert one.findings and warned and not one.warnings


def test_a_folder_without_crystals(tmp_path):
    with pytest.raises(NoCrystalsError):
        next(check_files(tmp_path))


def test_the_command(tmp_path, capsys):
    (tmp_path / "good.cif").write_text(SALT)
    assert main(["check", str(tmp_path), "-q"]) == 0
    assert capsys.readouterr().out == "1 file: 1 crystal read, 0 read with remarks, 0 refused\n"
    (tmp_path / "doubtful.cif").write_text(SALT.replace("Z 4", "Z 2"))
    (tmp_path / "POSCAR").write_text("nothing")
    table = tmp_path / "report" / "checked.csv"
    table.parent.mkdir()
    assert main(["check", str(tmp_path), "-q", "-o", str(table)]) == 3
    said = capsys.readouterr().out
    assert "Z = 2 is stated" in said and "not a POSCAR" in said and "good" not in said
    assert pd.read_csv(table)["outcome"].tolist() == ["refused", "read with remarks", "read"]
    assert main(["check", str(tmp_path / "missing"), "-q"]) == 2
