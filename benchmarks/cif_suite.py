"""Read every file of a suite of odd and broken CIF files, and compare the structures with those that pymatgen reads.

    python benchmarks/cif_suite.py DATA/cifs.tar.xz [docs/cif_suite.md]

The script prints the table, and writes it as a page if one is named. Its exit status is 1 if a difference has no
explanation in ``REASONS``.
"""

from __future__ import annotations

import logging
import sys
import tarfile
import tempfile
import textwrap
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from pymatgen.io.cif import CifParser
from tqdm import tqdm

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import Report

PAULING = (
    "One block of the file holds the cell and the atoms. pymatgen stops at a further block that has none, or at the "
    "occupancies in the type symbol."
)
REASONS = {
    "B-IncStrDb_Ccmm.cif": "The average structure of a modulated crystal lists Mo beside a mirror plane at full "
    "occupancy, which makes pairs of Mo 0.16 Å apart. We refuse it; pymatgen keeps both.",
    "no42.cif": "SiO2 written with four decimals: O1 at z = 0.8333 lies on the special position 5/6. We move it there "
    "(Si36 O72, the stoichiometry of the compound); pymatgen keeps 4 of its images twice (Si36 O76).",
    "CsCl-manual-oxi-ref.mcif": "The file lists its atoms; pymatgen fails on the missing number of the magnetic group.",
    "magnetic.disordered.example.CuMnO2.mcif": "The file has mixed sites. pymatgen refuses disorder in magnetic files; "
    "we read the nuclear structure.",
    "PF_sd_1011081.cif": PAULING,
    "PF_sd_1500382.cif": PAULING,
    "PF_sd_1601634.cif": PAULING,
    "PF_sd_1615854.cif": PAULING,
    "PF_sd_1622133.cif": PAULING,
    "PF_sd_1811457.cif": PAULING,
    "PF_sd_1908491.cif": PAULING,
    "PF_sd_1928405.cif": PAULING,
}


def read_with_pymatgen(path: Path) -> list[Structure] | str:
    """Structures, or the name of the exception."""
    try:
        structures = CifParser(path).parse_structures(primitive=False, on_error="raise")
    except Exception as error:
        return type(error).__name__
    for structure in structures:
        structure.remove_oxidation_states()
    return structures


def compare(ours: list[dcs.Crystal], theirs: list[Structure]) -> str:
    """'same', or what differs."""
    if len(ours) != len(theirs):
        return f"{len(ours)} structures, pymatgen {len(theirs)}"
    matcher = StructureMatcher(primitive_cell=False, scale=False)
    for crystal, structure in zip(ours, theirs, strict=True):
        mine = crystal.to_structure()
        if len(mine) != len(structure) or not mine.composition.almost_equals(structure.composition, 1e-3, 1e-3):
            return f"{mine.composition} ({len(mine)} sites), pymatgen {structure.composition} ({len(structure)})"
        if not np.allclose(mine.lattice.parameters, structure.lattice.parameters, atol=1e-4):
            return f"cell {mine.lattice.parameters}"
        if not matcher.fit(mine, structure):
            return "no structure match"
    return "same"


def wrap(text: str, indent: str = "") -> list[str]:
    """Lines of at most 120 characters."""
    return textwrap.wrap(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def main() -> int:
    """Read all, count, explain."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    deviations: list[tuple[str, str]] = []
    usable = 0
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sys.argv[1]) as archive:
            archive.extractall(folder, filter="data")
        files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
        for path in tqdm(files):
            report = Report()
            ours = list(dcs.read_structures(path, on_error="skip", report=report, progress=False))
            theirs = read_with_pymatgen(path)
            if isinstance(theirs, list):
                outcome = compare(ours, theirs) if not report else f"{type(report[0]).__name__}: {report[0].value}"
                if outcome == "same":
                    counts["read by both, same composition, sites and structure"] += 1
                else:
                    counts["read by both, but differently, reason below"] += 1
                    deviations.append((path.name, outcome))
            elif ours:
                counts["read by us alone, reason below"] += 1
                deviations.append((path.name, f"{', '.join(c.formula for c in ours)}; pymatgen {theirs}"))
            else:
                counts["refused by both, ours a typed error"] += 1
                errors[type(report[0]).__name__] += 1
            graphs = dcs.structures_to_graphs(ours, disorder="average", isolated_atoms="keep", progress=False)
            dcs.simulate_xrd(ours, disorder="average", progress=False)
            usable += len(graphs)
    named = defaultdict(list)
    for name, what in deviations:
        named[REASONS.get(name, "**Not explained.**")].append(f"* `{name}`: {what}")
    text = [
        "This page is written by `python benchmarks/cif_suite.py DATA/cifs.tar.xz docs/cif_suite.md`. The files are "
        "738 from the Materials Project and the CIF test files of pymatgen, gemmi and parsnip, many of them "
        "deliberately odd or broken. Each was read with `read_structures` and with "
        "{class}`pymatgen.io.cif.CifParser`, and the structures were compared.",
        f"All {usable} structures that were read could be turned into a graph and a powder pattern (with "
        '`disorder="average"`).',
    ]
    lines = [
        "# Odd and broken CIF files",
        "",
        *wrap(text[0]),
        "",
        f"| outcome, of {sum(counts.values())} files | files |",
        "|---|---|",
        *(f"| {name} | {n} |" for name, n in counts.most_common()),
        "",
        *wrap(text[1]),
        "",
        "The refused files, by the type of the error:",
        "",
        "| error | files |",
        "|---|---|",
        *(f"| `{name}` | {n} |" for name, n in errors.most_common()),
        "",
        "## Files that are read differently",
        "",
        "For each file the composition we read is followed by pymatgen's result.",
        "",
    ]
    for reason, files in named.items():
        lines += [*wrap(reason), "", *(line for item in files for line in wrap(item, "  ")), ""]
    print("\n".join(lines))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text("\n".join(lines))
    return int(any(name not in REASONS for name, _ in deviations))


if __name__ == "__main__":
    sys.exit(main())
