"""The crystals that tests/front_end compares with: their lines are those that pymatgen calculates."""

import json
from pathlib import Path

import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Structure

from deepchem_crystalssl.diffraction.radiation import WAVELENGTHS

CRYSTALS = json.loads((Path(__file__).parents[1] / "front_end" / "crystals.json").read_text(encoding="utf-8"))


def lines_of(crystal, wavelength, last=90):
    """As they are kept: angle, intensity, spacing, indices."""
    structure = Structure(crystal["lattice"], crystal["numbers"], crystal["frac_coords"])
    pattern = XRDCalculator(wavelength).get_pattern(structure, two_theta_range=(5, last))
    return list(zip(pattern.x, pattern.y, pattern.d_hkls, pattern.hkls, strict=True))


def is_among(kept, lines):
    """Whether a line is there, with these indices (those of a hexagonal cell without the third of four)."""
    return any(
        abs(kept["two_theta"] - angle) < 2e-3
        and abs(kept["intensity"] - height) < 0.02
        and abs(kept["d"] - d) < 1e-4
        and kept["hkl"] == [[one["hkl"][0], one["hkl"][1], one["hkl"][-1]] for one in families]
        for angle, height, d, families in lines
    )


@pytest.mark.parametrize("name", CRYSTALS)
def test_lines_are_those_of_pymatgen(name):
    crystal = CRYSTALS[name]
    lines = lines_of(crystal, WAVELENGTHS["CuKa1"])
    assert all(is_among(kept, lines) for kept in crystal["lines"])
    for radiation, others in crystal.get("others", {}).items():
        lines = lines_of(crystal, WAVELENGTHS[f"{radiation}Ka1"], 165)
        assert others and all(is_among(kept, lines) for kept in others)
