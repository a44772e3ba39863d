"""Measure what is found in measured powder patterns: single phases, mixtures, and their weight fractions.

    python benchmarks/powder.py DATA --index INDEX [--parts minerals known mixtures brute] [--elements-only]

INDEX holds all crystals: ``crystalssl index DATA/mp_structures.parquet -o INDEX``.

Minerals: the patterns of ``rruff_measured.json.gz`` whose structure is in the index are looked up without any
condition, and with the elements of the mineral given. A hit is a crystal that the file lists as the right one, or one
of the same formula and space group. The table has the shares of minerals whose hit is first, or within three or ten
answers, with 95 % intervals by bootstrap over minerals, and the share that is taken for a mixture.

Brute: the same minerals if the measured pattern is compared with that of every crystal, at 21 scales of the cell within
2 %, by the cosine of square roots of counts; takes some minutes.

Known: the same for the single-phase examples of ``xrd_measured_examples.json.gz`` whose compound is in the index; here
the formula must be right.

Mixtures: weighed mixtures of that file whose phases are all in the index, with the elements that were weighed in given,
and without. All phases must be found, by formula, and none else. Then the mean absolute error of their weight
fractions.

The stop rule of mixtures was chosen on these mixtures, and the subtraction of noise on these minerals: the numbers
flatter both.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition
from tqdm import tqdm

from deepchem_crystalssl import XRDGrid
from deepchem_crystalssl.diffraction.conditions import try_patterns
from deepchem_crystalssl.diffraction.measurement import Measurement
from deepchem_crystalssl.diffraction.radiation import resolve_wavelength
from deepchem_crystalssl.evaluation.probes import interval_of_mean
from deepchem_crystalssl.search import EmbeddingIndex

BRUTE_SCALES = np.linspace(-0.02, 0.02, 21)
"""Relative changes of the cell lengths at which brute force compares."""
NOT_IN_INDEX = ("TiO2", "La(OH)3")
"""Compounds in the mixtures that no crystal of the index is."""


def read(path: Path) -> Any:
    """Rows of a compressed file."""
    return json.loads(gzip.open(path).read())


def elements_of(*formulas: str) -> list[str]:
    """Symbols."""
    return sorted({str(element) for formula in formulas for element in Composition(formula).elements})


def minerals(index: EmbeddingIndex, data: Path, elements: bool) -> None:
    """Hits of single phases."""
    ranks, mixed, seconds = [], [], []
    table = index.table.set_index("material_id")
    kinds = dict(zip(table.index, zip(table["formula"], table["space_group"], strict=True), strict=True))
    for row in read(data / "rruff_measured.json.gz"):
        if not row["material_ids"]:
            continue
        right = {kinds[name] for name in row["material_ids"] if name in kinds}
        angles = row["two_theta_start"] + row["two_theta_step"] * np.arange(len(row["intensity"]))
        given = elements_of(row["formula"]) if elements else None
        started = time.perf_counter()
        found = index.query_pattern(angles, row["intensity"], row["wavelength"], k=10, elements=given)
        seconds.append(time.perf_counter() - started)
        hits = [(answer.formula, answer.space_group) in right for answer in found]
        ranks.append(hits.index(True) if any(hits) else 99)
        mixed.append(len(found.phases) > 1)
    at = {n: np.array(ranks) < n for n in (1, 3, 10)}
    shares = ", ".join(f"@{n} {show(hit)}" for n, hit in at.items())
    given_or_not = "given" if elements else "not given"
    print(f"{len(ranks)} minerals, elements {given_or_not}: {shares}; taken for mixtures {np.mean(mixed):.3f}; "
          f"{np.median(seconds):.2f} s a query, the slowest {max(seconds):.2f} s", flush=True)  # fmt: skip


def brute_force(index: EmbeddingIndex, data: Path) -> None:
    """Hits of single phases if every simulated pattern is compared with the measured one at 21 scales of the cell."""
    grid = XRDGrid(10.0, 90.0, 4000, "CuKa1", profile="pseudo-voigt", fwhm=0.15)
    angles, rows = grid.two_theta, []
    for row in read(data / "rruff_measured.json.gz"):
        if row["material_ids"]:
            rows.append(row)
    shifted, windows = np.zeros((2, len(rows), len(BRUTE_SCALES), len(angles)), np.float32)
    for k, row in enumerate(rows):
        x = row["two_theta_start"] + row["two_theta_step"] * np.arange(len(row["intensity"]))
        measurement = Measurement.of(x, np.asarray(row["intensity"], float), resolve_wavelength(row["wavelength"]))
        ratio = measurement.grid.wavelength_angstrom / grid.wavelength_angstrom
        for j, scale in enumerate(BRUTE_SCALES):  # of a cell that is larger by the scale, seen where the crystal's is
            sines = np.clip(np.sin(np.radians(angles / 2)) * ratio / (1.0 + scale), 0.0, 1.0)
            places = 2 * np.degrees(np.arcsin(sines))
            shifted[k, j] = np.interp(places, measurement.grid.two_theta, measurement.roots, 0.0, 0.0)
            windows[k, j] = (places > x[0]) & (places < x[-1])
    shifted /= np.linalg.norm(shifted, axis=2, keepdims=True)
    ours, seen = (array.reshape(-1, len(angles)) for array in (shifted, windows))
    best = np.zeros((len(rows), len(index)), np.float32)
    for start in tqdm(range(0, len(index), 256), mininterval=30):
        crystals = [index.structures[k] for k in range(start, min(start + 256, len(index)))]
        roots = np.sqrt(np.nan_to_num(try_patterns(crystals, grid)[0]))
        lengths = np.sqrt(np.maximum(seen @ (roots**2).T, 1e-9))
        cosines = (ours @ roots.T / lengths).reshape(len(rows), len(BRUTE_SCALES), -1)
        best[:, start : start + len(crystals)] = cosines.max(axis=1)
    table = index.table
    kinds = list(zip(table["formula"], table["space_group"], strict=True))
    row_of = {name: k for k, name in enumerate(table["material_id"])}
    systems = [set(system.split("-")) for system in table["chemical_system"]]
    for given in (True, False):
        ranks = []
        for row, scores in zip(rows, best, strict=True):
            right = {kinds[row_of[name]] for name in row["material_ids"] if name in row_of}
            contained = set(elements_of(row["formula"]))
            ordered: dict[Any, None] = {}
            for k in np.argsort(-scores):
                if not given or systems[k] <= contained:
                    ordered.setdefault(kinds[k])
                if len(ordered) > 10:
                    break
            ranks.append(next((n for n, kind in enumerate(ordered) if kind in right), 99))
        shares = ", ".join(f"@{n} {show(np.array(ranks) < n)}" for n in (1, 3, 10))
        print(f"brute force, elements {'given' if given else 'not given'}: {shares}", flush=True)


def show(hits: np.ndarray) -> str:
    """A share with its interval."""
    low, high = interval_of_mean(hits.astype(float), np.arange(len(hits)))
    return f"{hits.mean():.3f} ({low:.2f}-{high:.2f})"


def known(index: EmbeddingIndex, data: Path) -> None:
    """The examples of one known compound."""
    formulas = set(index.table["formula"])
    for row in read(data / "xrd_measured_examples.json.gz"):
        if not row["formula"] or "+" in row["formula"]:
            continue
        formula = Composition(row["formula"]).reduced_formula
        if formula not in formulas:
            continue
        found = index.query_pattern(row["two_theta"], row["intensity"], row["wavelength"])
        names = [answer.formula for answer in found]
        rank = names.index(formula) + 1 if formula in names else "-"
        print(f"{row['name']}: rank {rank}; {found.verdict}", flush=True)


def mixtures(index: EmbeddingIndex, data: Path, elements: bool) -> None:
    """Weighed mixtures."""
    whole, errors, seconds = [], [], []
    for row in read(data / "xrd_measured_examples.json.gz"):
        weighed = re.findall(r"([A-Za-z0-9()]+)_0p(\d+)", row["name"])
        if row["formula"] or not weighed or any(name in NOT_IN_INDEX for name, _ in weighed):
            continue
        weights = {Composition(name).reduced_formula: float(f"0.{digits}") for name, digits in weighed}
        given = elements_of(*weights) if elements else None
        started = time.perf_counter()
        found = index.query_pattern(row["two_theta"], row["intensity"], row["wavelength"], elements=given)
        seconds.append(time.perf_counter() - started)
        fractions = {phase.formula: phase.weight_fraction for phase in found.phases}
        whole.append(set(fractions) == set(weights))
        if whole[-1]:
            total = sum(weights.values())
            errors += [abs(fractions[name] - weight / total) for name, weight in weights.items()]
        print(f"  {row['name']}: {found.verdict}", flush=True)
    given_or_not = "given" if elements else "not given"
    print(f"{len(whole)} mixtures, elements {given_or_not}: all phases and none else {show(np.array(whole))}, "
          f"mean absolute error of weight fractions {100 * np.mean(errors or [np.nan]):.1f} %; "
          f"{np.median(seconds):.2f} s a query, the slowest {max(seconds):.2f} s", flush=True)  # fmt: skip


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=["minerals", "known", "mixtures"],
                        choices=["minerals", "known", "mixtures", "brute"])  # fmt: skip
    parser.add_argument("--elements-only", action="store_true", help="only with the elements given")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    index = EmbeddingIndex.load(options.index)
    for elements in (True,) if options.elements_only else (True, False):
        if "minerals" in options.parts:
            minerals(index, options.data, elements)
        if "mixtures" in options.parts:
            mixtures(index, options.data, elements)
    if "brute" in options.parts:
        brute_force(index, options.data)
    if "known" in options.parts:
        known(index, options.data)


if __name__ == "__main__":
    main()
