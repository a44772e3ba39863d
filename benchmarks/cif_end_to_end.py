"""Measure the speed from CIF text to a graph and a 5,000-point pattern.

The peer is pymatgen's parser, the usual neighbour search (``get_all_neighbors``, sort, cut) and ``XRDCalculator``.

    python benchmarks/cif_end_to_end.py DATA/mp_structures.parquet
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from graphs import idiom, sample
from patterns import calculator
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter
from timing import compare

import deepchem_crystalssl as dcs


def ours(texts: list[str]) -> None:
    """Reader, graph kernel, pattern kernel."""
    crystals = list(dcs.read_structures(texts, progress=False))
    dcs.structures_to_graphs(crystals, n_threads=1)
    dcs.simulate_xrd(crystals, n_threads=1)


def theirs(texts: list[str]) -> None:
    """pymatgen throughout, then the histogram of its sticks."""
    structures = [Structure.from_str(text, fmt="cif") for text in texts]
    idiom(structures)
    calculator(structures)
    np.histogram([], bins=5000)


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    texts = [str(CifWriter(crystal.to_structure())) for crystal in sample(sys.argv[1])]
    compare({"ours": (ours, texts), "pymatgen + idiom + XRDCalculator": (theirs, texts[:25])}, "ours", unit="files")


if __name__ == "__main__":
    main()
