"""The differential suite: what counts as a difference, and who is right."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl.crystals.cif.statements import Statements


def load(name):
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


differential, readers = load("differential"), load("differential_readers")

CELL = "data_a\n_cell_length_a 3.9\n_cell_length_b 3.9\n_cell_length_c 3.9\n"
CELL += "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n_chemical_formula_sum 'Cl Na'\n"
LOOP = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
SALT = {"11": (0, 0, 0), "17": (0.5, 0.5, 0.5)}
STATED = Statements({11: 1.0, 17: 1.0}, 1.0)


def reading(sites=SALT, edge=3.9, stated=STATED):
    rows = [[{z: 1.0}, *place] for z, place in sites.items()]
    return differential.Reading({"name": "salt", "lattice": (edge * np.eye(3)).tolist(), "sites": rows}, stated)


def refused(typed=True):
    return differential.Reading({"error": "SymmetryError: unknown", "typed": typed, "name": "salt"}, STATED)


class Matcher:
    """A matcher that finds no match, and says that it was asked."""

    asked = 0

    def ask(self, question):
        self.asked += 1
        yield False


@pytest.mark.parametrize(
    "theirs, what",
    [
        (reading(), ""),
        (reading({"17": (-0.5, 1.5, 0.5), "11": (1e-4, 1.0, 0)}), ""),  # in another order, and in other cells
        (reading({"19": (0, 0, 0), "17": (0.5, 0.5, 0.5)}), "composition"),
        (reading(edge=4.2), "cell"),
        (reading({"11": (0, 0, 0), "17": (0.5, 0.5, 0.3)}), "structure"),
        (refused(), "refused by them"),
    ],
)
def test_differences(theirs, what):
    matcher = Matcher()
    assert differential.difference(reading(), theirs, matcher) == what
    assert matcher.asked == (what == "structure")


def test_a_site_may_be_listed_twice_for_its_species():
    sites, frac = readers._joined(
        [{29: 0.5}, {79: 0.5}, {8: 1.0}], np.array([[0, 0, 0], [1, 0, 0], [0.5] * 3]), np.eye(3)
    )
    assert sites == [{29: 0.5, 79: 0.5}, {8: 1.0}] and len(frac) == 2


POTASSIUM = reading({"19": (0, 0, 0), "17": (0.5, 0.5, 0.5)})
CLOSE = reading({"11": (0, 0, 0), "17": (0.1, 0, 0)})
SILENT = reading(stated=Statements())


@pytest.mark.parametrize(
    "ours, theirs, others, fits, who",
    [
        (reading(), POTASSIUM, [], None, "we are right: ours agrees"),
        (POTASSIUM, reading(), [], None, "we are wrong: theirs agrees"),
        (reading(), CLOSE, [], None, "we are right: ours agrees"),
        (refused(), reading(), [], None, "we refuse what they read in agreement"),
        (refused(), reading(), [], False, "we are right to refuse: the operations do not fit"),
        (refused(), CLOSE, [], None, "we are right to refuse"),
        (refused(), SILENT, [], None, "undecided: we refuse it, and the file states nothing"),
        (refused(typed=False), reading(), [], None, "we are wrong: an error that is not ours"),
        (reading(), refused(), [], None, "we are right: ours agrees"),
        (POTASSIUM, refused(), [], None, "we are wrong or the file is"),
        (SILENT, SILENT, [""], None, "the file does not tell, others read as we do"),
        (SILENT, SILENT, ["cell"], None, "the file does not tell, no other program"),
    ],
)
def test_who_is_right(ours, theirs, others, fits, who):
    assert differential.verdict(ours, theirs, others, fits).startswith(who)


@pytest.mark.parametrize(
    "symmetry, fits",
    [
        ("_symmetry_space_group_name_H-M 'F m -3 m'", True),
        ("_symmetry_space_group_name_H-M 'P 63'", False),  # hexagonal, in a cubic cell
        ("loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,-z", True),
        ("loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\ny,z,x", False),  # without the third turn
        ("_cell_volume 59", None),
    ],
)
def test_operations_that_fit(tmp_path, symmetry, fits):
    (tmp_path / "a.cif").write_text(f"{CELL}{symmetry}\n{LOOP}Na1 0 0 0\n")
    assert differential.operations_fit(tmp_path / "a.cif") is fits


@pytest.mark.once
def test_the_suite_on_a_folder(tmp_path, monkeypatch, capsys):
    """pymatgen, gemmi and ASE read with us: one file alike, one that only we and gemmi understand."""
    (tmp_path / "alike.cif").write_text(CELL + LOOP + "Na1 0 0 0\nCl1 .5 .5 .5\n")
    (tmp_path / "lost.cif").write_text(CELL + LOOP + "Na1 0 0 ?\nCl1 .5 .5 .5\n")
    (tmp_path / "POSCAR").write_text("salt\n3.9\n1 0 0\n0 1 0\n0 0 1\nNa Cl\n1 1\ndirect\n0 0 0\n.5 .5 .5\n")
    arguments = [str(tmp_path), "-o", str(tmp_path / "d.csv"), "--answers", str(tmp_path / "answers.jsonl")]
    arguments += ["--page", str(tmp_path / "page.md")]
    monkeypatch.setattr("sys.argv", ["differential.py", *arguments])
    assert differential.main() == 0
    assert "3 files, " in capsys.readouterr().out
    page = (tmp_path / "page.md").read_text()
    assert "Its 3 files" in page.replace("\n", " ") and "| same, or refused by both | 3 | 1 | 3 |" in page
    table = pd.read_csv(tmp_path / "d.csv")
    assert set(table["file"]) == {str(tmp_path / "lost.cif")} and set(table["difference"]) == {"refused by us"}
    assert table["verdict"].str.startswith("we are right to refuse").all()
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 8  # of three programs; gemmi reads no POSCAR
