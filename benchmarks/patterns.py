"""Measure the speed of powder patterns on the default grid (10-110 degrees, 5,000 bins, Cu K-alpha) against pymatgen's.

python benchmarks/patterns.py DATA/mp_structures.parquet
"""

from __future__ import annotations

import sys

from graphs import sample
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from timing import compare

import deepchem_crystalssl as dcs


def calculator(structures: list) -> None:
    """pymatgen's sticks."""
    calculate = XRDCalculator("CuKa")
    for structure in structures:
        calculate.get_pattern(structure, two_theta_range=(10, 110))


def main() -> None:
    """Print the table."""
    crystals = sample(sys.argv[1])
    structures = [crystal.to_structure() for crystal in crystals[:100]]

    def ours(grid: dcs.XRDGrid):
        return lambda x: dcs.simulate_xrd(x, grid, n_threads=1)

    compare(
        {
            "ours, sticks": (ours(dcs.XRDGrid()), crystals),
            "ours, Gaussian of 0.1 degrees": (ours(dcs.XRDGrid(fwhm=0.1)), crystals),
            "ours, pseudo-Voigt of 0.1 degrees": (ours(dcs.XRDGrid(fwhm=0.1, profile="pseudo-voigt")), crystals),
            "pymatgen XRDCalculator": (calculator, structures),
        },
        "ours, sticks",
        unit="patterns",
    )


if __name__ == "__main__":
    main()
