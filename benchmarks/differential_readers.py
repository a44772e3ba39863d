"""Each program of the differential suite, as a process that reads files: this package, pymatgen, gemmi and ASE.

    python benchmarks/differential_readers.py NAME

answers questions of :class:`~deepchem_crystalssl.crystals.isolation.IsolatedProcess`; see ``differential.py``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_crystalssl.crystals.elements import atomic_number_of
from deepchem_crystalssl.crystals.isolation import answer_questions
from deepchem_crystalssl.crystals.formats.kinds import crystal_kind
from deepchem_crystalssl.errors import CrystalInputError

OURS = "ours"
SAME_PLACE = 0.1  # Å; the species of a mixed site may be listed this far apart


def read_ours(path: str) -> Iterator[dict]:
    """What this package reads, and what it warns of."""
    import deepchem_crystalssl as dcs

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        reader = dcs.read_structures(path, on_error="skip", progress=False)
        crystals = list(reader)
    said = [str(warning.message) for warning in caught]
    for crystal in crystals:
        species = crystal.species
        sites: list[dict[int, float]] = [{} for _ in range(crystal.num_nodes)]
        for site, z, share in zip(species.site, species.atomic_numbers, species.occupancy, strict=True):
            sites[site][int(z)] = float(share)
        told = [text for text in said if text.startswith(f"{crystal.material_id}: ")]
        yield _reading(crystal.material_id, crystal.lattice, sites, crystal.frac_coords) | {"warned": " | ".join(told)}
    for error in reader.report:
        yield {"error": f"{type(error).__name__}: {error.value}", "typed": True, "name": error.item}


def read_pymatgen(path: str) -> Iterator[dict]:
    """What pymatgen reads."""
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifParser
    from pymatgen.io.vasp import Poscar

    if crystal_kind(Path(path).name) == "cif":
        parser = CifParser(path)
        try:
            structures = parser.parse_structures(primitive=False, on_error="raise")
        except Exception as error:
            structures = parser.parse_structures(primitive=False, on_error="ignore")
            if not structures:
                raise error
    elif crystal_kind(Path(path).name) == "poscar":
        structures = [Poscar.from_file(path, check_for_potcar=False).structure]
    else:
        structures = [Structure.from_file(path)]
    for structure in structures:
        sites = [_atomic_numbers({s.symbol: x for s, x in site.species.items()}) for site in structure]
        yield _reading("", structure.lattice.matrix, sites, structure.frac_coords)


def read_gemmi(path: str) -> Iterator[dict]:
    """What gemmi reads; it lists the species of a mixed site apart, which become one site here."""
    import gemmi

    for block in gemmi.cif.read(path):
        if not block.find_values("_atom_site_fract_x"):
            continue
        small = gemmi.make_small_structure_from_block(block)
        if not len(small.sites):
            continue
        if small.spacegroup is None and not small.symops and small.spacegroup_number:
            small.determine_and_set_spacegroup("N")
        lattice = np.array(small.cell.orth.mat.tolist()).T
        found = small.get_all_unit_cell_sites()
        frac = np.array([site.fract.tolist() for site in found]).reshape(-1, 3)
        sites = [{site.element.atomic_number: site.occ} for site in found]
        yield _reading(block.name, lattice, *_joined(sites, frac, lattice))


def read_ase(path: str) -> Iterator[dict]:
    """What ASE reads; the occupancies of a site are in ``atoms.info``."""
    import ase.io

    formats = {"cif": "cif", "poscar": "vasp", "xsf": "xsf"}
    for atoms in ase.io.read(path, index=":", format=formats[crystal_kind(Path(path).name) or ""]):
        occupancy = atoms.info.get("occupancy", {})
        kinds = atoms.arrays.get("spacegroup_kinds", np.zeros(len(atoms), int))
        sites = [
            _atomic_numbers(occupancy.get(str(kind), {symbol: 1.0}))
            for kind, symbol in zip(kinds, atoms.get_chemical_symbols(), strict=True)
        ]
        yield _reading("", np.array(atoms.cell), sites, atoms.get_scaled_positions())


READERS = {OURS: read_ours, "pymatgen": read_pymatgen, "gemmi": read_gemmi, "ase": read_ase}


def _reading(name: str, lattice: np.ndarray, sites: list[dict[int, float]], frac: np.ndarray) -> dict:
    rows = [[{str(z): round(x, 6) for z, x in parts.items()}, *place] for parts, place in zip(sites, frac.tolist())]
    return {"name": name, "lattice": np.asarray(lattice).tolist(), "sites": rows}


def _atomic_numbers(parts: dict[str, float]) -> dict[int, float]:
    found: dict[int, float] = {}
    for symbol, share in parts.items():
        z = atomic_number_of().get(symbol, 0)
        found[z] = found.get(z, 0.0) + share
    return found


def _joined(
    sites: list[dict[int, float]], frac: np.ndarray, lattice: np.ndarray
) -> tuple[list[dict[int, float]], np.ndarray]:
    """Partly occupied sites at one place as one site."""
    if all(sum(parts.values()) >= 1.0 for parts in sites):
        return sites, frac
    joined: list[dict[int, float]] = []
    kept: list[int] = []
    for k, parts in enumerate(sites):
        shift = frac[kept] - frac[k]
        near = np.flatnonzero(np.linalg.norm((shift - np.round(shift)) @ lattice, axis=1) < SAME_PLACE)
        if len(near) and sum(joined[near[0]].values()) + sum(parts.values()) <= 1.001:
            for z, share in parts.items():
                joined[near[0]][z] = joined[near[0]].get(z, 0.0) + share
        else:
            joined.append(dict(parts))
            kept.append(k)
    return joined, frac[kept]


def match(question: list[dict]) -> Iterator[bool]:
    """Whether two readings are one structure for pymatgen's StructureMatcher."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Element, Structure

    one, other = (
        Structure(
            reading["lattice"],
            [{Element.from_Z(int(z)): x for z, x in row[0].items()} for row in reading["sites"]],
            [row[1:] for row in reading["sites"]],
        )
        for reading in question
    )
    yield bool(StructureMatcher(primitive_cell=False, scale=False).fit(one, other))


def serve(name: str) -> None:
    """Answer questions as one of the programs."""
    warnings.filterwarnings("ignore")

    def answer(question: Any) -> Iterator[Any]:
        if name == "match":
            yield from match(question)
            return
        try:
            yield from READERS[name](question)
        except MemoryError:
            raise
        except Exception as error:
            typed = isinstance(error, CrystalInputError)
            yield {"error": f"{type(error).__name__}: {str(error)[:150]}", "typed": typed, "name": ""}

    answer_questions(answer)


if __name__ == "__main__":
    serve(sys.argv[1])
