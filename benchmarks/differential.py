"""Read every file of crystals in a folder with this package, pymatgen, gemmi and ASE, and explain where they differ.

    python benchmarks/differential.py FOLDER [-o differences.csv] [--answers answers.jsonl] [--page PAGE.md]

Each program reads in a process of its own, with limits on time and memory. For each crystal the composition, the
number of sites, the volume of the cell and the structure (site by site, otherwise pymatgen's StructureMatcher) are
compared. Who is right is decided by what the file itself states (formula sum, Z, density, volume), by the shortest
distance, by whether the listed operations leave the metric of the cell unchanged, and last by the other programs.

The table has a row for each difference; the exit status is 1 if in one of them this package is wrong. ``--answers``
keeps what the other programs answered, so that a second run asks only this package again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepchem_crystalssl.crystals.cif.statements import Statements, read_statements
from deepchem_crystalssl.crystals.consistency import find_contradictions, formula_text
from deepchem_crystalssl.crystals.contacts import find_close_pair
from deepchem_crystalssl.crystals.formats.contents import Content
from deepchem_crystalssl.crystals.formats.files import find_files
from deepchem_crystalssl.crystals.isolation import AnswerLost, IsolatedProcess
from deepchem_crystalssl.crystals.formats.kinds import crystal_kind
from deepchem_crystalssl.crystals.records import Crystal
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.errors import CrystalInputError

OURS, PEERS = "ours", ("pymatgen", "gemmi", "ase")
READERS = Path(__file__).with_name("differential_readers.py")
KINDS = ("cif", "poscar", "xsf")
GIBIBYTES = 3
SAME_PLACE = 0.1  # Å; sites of two programs nearer than this are one


@dataclass
class Reading:
    """One crystal as one program reads it, and what speaks against it."""

    answer: dict
    stated: Statements = field(default_factory=Statements)

    @property
    def error(self) -> str:
        """Why there is no crystal; empty if there is one."""
        return self.answer.get("error", "")

    @property
    def is_untyped(self) -> bool:
        """Whether the program failed with an error that is not its own."""
        return bool(self.error) and not self.answer.get("typed", False)

    @cached_property
    def lattice(self) -> np.ndarray:
        """Cell vectors as rows."""
        return np.array(self.answer["lattice"])

    @cached_property
    def amounts(self) -> dict[int, float]:
        """Atoms of each atomic number in the cell."""
        found: Counter[int] = Counter()
        for parts, *_ in self.answer["sites"]:
            for z, share in parts.items():
                found[int(z)] += share
        return {z: x for z, x in sorted(found.items()) if x}

    @cached_property
    def crystal(self) -> Crystal | CrystalInputError:
        """The crystal, or what makes it none: atoms at one place, a species that is no element."""
        rows = self.answer["sites"]
        try:
            species = [{int(z): x for z, x in parts.items()} for parts, *_ in rows]
            return make_crystal(species, [row[1:] for row in rows], self.lattice, self.answer["name"])
        except CrystalInputError as error:
            return error

    @cached_property
    def against(self) -> list[str]:
        """What speaks against this reading."""
        if isinstance(self.crystal, CrystalInputError):
            return [f"{type(self.crystal).__name__}: {self.crystal.value}"]
        found = find_contradictions(self.crystal, self.stated) + find_close_pair(self.crystal)
        return [str(error.value) for error in found]

    @property
    def warned(self) -> str:
        """What the program warned of while it read it."""
        return self.answer.get("warned", "")

    @property
    def confirmed(self) -> bool:
        """Whether the file states a formula, Z or a density, and this reading agrees with all it states."""
        says = self.stated.formula is not None or self.stated.density > 0
        return says and not self.against

    @property
    def lacks_hydrogen_only(self) -> bool:
        """Whether nothing speaks against it but hydrogen that the file states and does not list."""
        return bool(self.against) and all("hydrogen atoms fewer" in text for text in self.against)

    def __str__(self) -> str:
        return self.error or f"{formula_text(self.amounts)}, {len(self.answer['sites'])} sites"


def difference(ours: Reading, theirs: Reading, matcher: IsolatedProcess) -> str:
    """What differs between two readings; empty if nothing does."""
    if ours.error or theirs.error:
        return "" if ours.error and theirs.error else "refused by us" if ours.error else "refused by them"
    for z in {*ours.amounts, *theirs.amounts}:
        n, m = ours.amounts.get(z, 0.0), theirs.amounts.get(z, 0.0)
        if abs(n - m) > 0.01 * max(n, m) + 0.02:
            return "composition"
    if len(ours.answer["sites"]) != len(theirs.answer["sites"]):
        return "sites"
    volumes = [abs(np.linalg.det(reading.lattice)) for reading in (ours, theirs)]
    if abs(volumes[0] - volumes[1]) > 0.005 * volumes[0]:
        return "cell"
    if _same_places(ours, theirs):
        return ""
    try:
        return "" if next(matcher.ask([ours.answer, theirs.answer])) else "structure"
    except AnswerLost:
        return "structure (StructureMatcher did not end)"


def _same_places(ours: Reading, theirs: Reading) -> bool:
    """Whether both have the same cell, and an atom of the same kind at each place."""
    from scipy.spatial import cKDTree

    metric, other = (reading.lattice @ reading.lattice.T for reading in (ours, theirs))
    if not np.allclose(metric, other, rtol=1e-3, atol=1e-2):
        return False
    (kinds, frac), (other_kinds, other_frac) = (_kinds_and_places(reading) for reading in (ours, theirs))
    if not (np.isfinite(other_frac).all() and len(frac)):
        return False
    _, nearest = cKDTree(other_frac, boxsize=1.0).query(frac)
    shift = frac - other_frac[nearest]
    distance = np.linalg.norm((shift - np.round(shift)) @ ours.lattice, axis=1)
    is_one_to_one = len(set(nearest.tolist())) == len(frac)
    return is_one_to_one and distance.max() < SAME_PLACE and bool((kinds == other_kinds[nearest]).all())


def _kinds_and_places(reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    rows = reading.answer["sites"]
    kinds = np.array([max(parts, key=lambda z: (round(parts[z], 2), z)) if parts else "" for parts, *_ in rows])
    frac = np.array([row[1:] for row in rows], float).reshape(-1, 3) % 1.0
    frac[frac >= 1.0] = 0.0
    return kinds, frac


def operations_fit(path: Path) -> bool | None:
    """Whether the operations of a CIF, listed or named, are a group that leaves the metric of the cell unchanged.

    None if that cannot be said.
    """
    import gemmi

    try:
        block = next(b for b in gemmi.cif.read(str(path)) if b.find_values("_atom_site_fract_x"))
        small = gemmi.make_small_structure_from_block(block)
        if small.spacegroup is None and not small.symops and small.spacegroup_number:
            small.determine_and_set_spacegroup("N")
        operations = [gemmi.Op(text) for text in small.symops] or list(small.spacegroup.operations())
        rotations = np.array([np.array(operation.rot) / gemmi.Op.DEN for operation in operations])
    except Exception:
        return None
    lattice = np.array(small.cell.orth.mat.tolist()).T
    metric = lattice @ lattice.T
    if not len(rotations) or not np.isfinite(metric).all():
        return None
    moved = np.swapaxes(rotations, 1, 2) @ metric @ rotations
    products = (rotations[:, None] @ rotations[None]).round(3).reshape(-1, 9)
    is_closed = {*map(tuple, products.tolist())} <= {*map(tuple, rotations.round(3).reshape(-1, 9).tolist())}
    return is_closed and bool(np.abs(moved - metric).max() < 0.02 * np.abs(metric).max())


EXPLAINED = {
    "without element names": "we are right to refuse: no elements named; pymatgen invents them, ASE takes the comment",
    "incommensurately modulated": "we are right to refuse: a modulated structure is not periodic in three dimensions",
    "pbc [": "we are right to refuse: a slab or a molecule is not periodic in three dimensions",
}
"""Why we refuse by design what others read, by a part of our error."""


def verdict(ours: Reading, theirs: Reading, others: list[str], fits: bool | None) -> str:
    """Who is right, by the evidence; ``others`` are the differences of the remaining programs from us."""
    if ours.is_untyped:
        return "we are wrong: an error that is not ours"
    if ours.error:
        if explained := [why for part, why in EXPLAINED.items() if part in ours.error]:
            return explained[0]
        if fits is False:
            return "we are right to refuse: the operations do not fit the cell, or are no group"
        if theirs.against:
            return "we are right to refuse: theirs contradicts the file or has atoms too close"
        if theirs.confirmed:
            return "we refuse what they read in agreement with the file"
        return "undecided: we refuse it, and the file states nothing"
    if ours.warned and ours.against:
        return "we warn: the file contradicts itself"
    if theirs.error:
        if ours.against and not ours.lacks_hydrogen_only:
            return "we are wrong or the file is: what we read contradicts it, they refuse"
        is_confirmed = ours.confirmed or ours.lacks_hydrogen_only
        if is_confirmed:
            return "we are right: ours agrees with the file"
        return "undecided: they refuse it, and the file states nothing"
    if bool(ours.against) != bool(theirs.against):
        return (
            "we are wrong: theirs agrees with the file" if ours.against else "we are right: ours agrees with the file"
        )
    if ours.against and len(ours.against) != len(theirs.against):
        return f"the file contradicts both, {'them' if len(ours.against) < len(theirs.against) else 'us'} more"
    alike = others.count("")
    if ours.against and ours.against == theirs.against:
        return "both lack what the file states, or it contradicts itself"
    support = "others read as we do" if alike else "no other program reads as we do"
    return f"the file contradicts both, {support}" if ours.against else f"the file does not tell, {support}"


class Programs:
    """The processes of all programs, and the answers that are kept of the others."""

    def __init__(self, kept: Path | None, seconds: float):
        command = [sys.executable, str(READERS)]
        self.processes = {
            name: IsolatedProcess([*command, name], seconds, GIBIBYTES * 2**30) for name in (OURS, *PEERS, "match")
        }
        self.kept_file = kept
        self.kept: dict[str, list[dict]] = {}
        if kept and kept.exists():
            with kept.open() as lines:
                self.kept = dict(json.loads(line) for line in lines)

    def read(self, name: str, path: Path) -> list[dict]:
        """The answer of a program."""
        key = f"{name} {hashlib.sha1(path.read_bytes()).hexdigest()}"
        if name != OURS and key in self.kept:
            return self.kept[key]
        found: list[dict] = []
        try:
            found += self.processes[name].ask(str(path))
        except AnswerLost as lost:
            found.append({"error": f"lost: {lost}", "typed": False, "name": ""})
        if name != OURS and self.kept_file:
            with self.kept_file.open("a") as lines:
                lines.write(json.dumps([key, found]) + "\n")
        return found


def pairs(ours: list[Reading], theirs: list[Reading]) -> list[tuple[Reading, Reading]]:
    """Our crystals with theirs: in their order, or by volume if there are not as many."""
    nothing = Reading({"error": "no crystal", "typed": True, "name": ""})
    if len(ours) == len(theirs):
        return list(zip(ours, theirs, strict=True))
    left = list(theirs)
    found = []
    for one in ours:
        near = [other for other in left if not one.error and not other.error and _same_volume(one, other)]
        partner = near[0] if near else next((other for other in left if other.error), nothing)
        if partner in left and not partner.error:
            left.remove(partner)
        found.append((one, partner))
    return found + [(nothing, other) for other in left if not other.error]


def _same_volume(one: Reading, other: Reading) -> bool:
    volume, another = (abs(np.linalg.det(reading.lattice)) for reading in (one, other))
    return bool(abs(volume - another) < 0.01 * volume)


def compare_file(path: Path, programs: Programs) -> Iterator[dict[str, Any]]:
    """A row for each crystal and each other program."""
    is_cif = crystal_kind(path.name) == "cif"
    stated: dict[str, Statements] = {}
    if is_cif:
        try:
            stated = read_statements(Content.of(path).text(), path.stem)
        except Exception:
            pass
    only = next(iter(stated.values()), Statements()) if len(stated) == 1 else Statements()

    def readings(name: str) -> list[Reading]:
        return [
            Reading(answer, only if len(stated) == 1 else stated.get(answer["name"], Statements()))
            for answer in programs.read(name, path)
        ]

    ours = readings(OURS)
    fits = operations_fit(path) if is_cif else None
    peers = [name for name in PEERS if is_cif or name != "gemmi"]
    theirs = {name: pairs(ours, readings(name)) for name in peers}
    matcher = programs.processes["match"]
    found = {name: [difference(one, other, matcher) for one, other in theirs[name]] for name in peers}
    for name in peers:
        for k, ((one, other), what) in enumerate(zip(theirs[name], found[name], strict=True)):
            others = [found[peer][k] for peer in peers if peer != name and k < len(found[peer])]
            other.stated = one.stated if not one.error else other.stated or only
            other.__dict__.pop("against", None)
            yield {
                "file": str(path), "crystal": one.answer["name"], "program": name, "difference": what,
                "ours": str(one), "theirs": str(other),
                "against ours": " | ".join([] if one.error else one.against),
                "against theirs": " | ".join([] if other.error else other.against),
                "we warned": one.warned, "operations fit": fits, "untyped": one.is_untyped,
                "verdict": verdict(one, other, others, fits) if what or one.is_untyped else "",
            }  # fmt: skip


def totals(table: pd.DataFrame) -> pd.DataFrame:
    """How often each verdict was reached, for each program."""
    named = table["verdict"].where(table["verdict"] != "", "same, or refused by both")
    return pd.crosstab(named, table["program"]).sort_values("pymatgen", ascending=False)


def page_of(table: pd.DataFrame) -> str:
    """The totals as a page of the documentation."""
    counts = totals(table)
    intro = (
        "This page is written by `python benchmarks/differential.py FOLDER --page docs/differential.md`. Its "
        f"{table['file'].nunique():,} files come from the test suites of other programs (packages of PyPI and Debian), "
        "and are not part of this repository. Each was read by this package, pymatgen, gemmi and ASE, each in a "
        "process of its own. For each crystal the composition, the number of sites, the volume of the cell and the "
        "structure were compared. Who is right follows from what the file states (formula sum, Z, density, volume), "
        "from the shortest distance, from whether the operations leave the metric of the cell unchanged, and last from "
        "the other programs."
    )
    below = (
        "A row counts the crystals for which this verdict was reached, a column is the program we are compared with; "
        "gemmi reads CIF only. *We are right* in most rows means that the other program contradicts the file; "
        "*undecided* that the file states nothing by which to decide."
    )
    rows = [f"| {name} | {' | '.join(f'{counts.loc[name, peer]:,}' for peer in counts)} |" for name in counts.index]
    lines = ["# The same files, read by four programs", "", *_wrapped(intro), "", *_wrapped(below), ""]
    lines += [f"| verdict | {' | '.join(counts)} |", "|---" * (1 + len(counts.columns)) + "|", *rows, ""]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def main() -> int:
    """Compare all files, write the table, print the totals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("differences.csv"))
    parser.add_argument("--answers", type=Path, help="file that keeps the answers of the other programs")
    parser.add_argument("--page", type=Path, help="write the totals to this page of the documentation")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit for each answer of each program")
    options = parser.parse_args()
    programs = Programs(options.answers, options.seconds)
    rows: list[dict[str, Any]] = []
    try:
        paths = [path for path in find_files(options.folder) if crystal_kind(path.name) in KINDS]
        for path in tqdm(paths, unit=" files"):
            rows += compare_file(path, programs)
    finally:
        for process in programs.processes.values():
            process.stop()
    table = pd.DataFrame(rows)
    differing = table[(table["difference"] != "") | table["untyped"]]
    differing.to_csv(options.output, index=False)
    print(f"{table['file'].nunique()} files, {len(differing)} differences in {options.output}\n")
    print(totals(table).to_string())
    if options.page:
        options.page.write_text(page_of(table))
    against = table[(table["against ours"] != "") & ~table["file"].isin(differing["file"])]
    silent = against[against["we warned"] == ""]
    print(
        f"\n{against['file'].nunique()} files are read alike by all, and contradict themselves or have close atoms; "
        f"of {silent['file'].nunique()} of them we do not warn"
    )
    against.drop_duplicates(["file", "crystal"]).to_csv(options.output.with_suffix(".alike.csv"), index=False)
    return int(differing["verdict"].str.startswith("we are wrong").any())


if __name__ == "__main__":
    sys.exit(main())
