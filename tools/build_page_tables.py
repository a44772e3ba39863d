"""Write the tables that the page of the map needs besides its data.

    python tools/build_page_tables.py

``space_group_symbols.js``: the 230 standard short symbols are spglib's ``international_short``. Symbols of other
settings, such as P2_1/n and Pbnm, are those of gemmi for the monoclinic and orthorhombic groups; they are written
without the underscore of screw axes, because they only serve to recognise what somebody has typed.

``element_values.js``: covalent radii of Cordero et al., *Dalton Trans.* 2008, 2832, from pymatgen, and the Pauling
electronegativities of the package. A bond is judged by the sum of the radii and the difference of the
electronegativities.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import gemmi
import spglib
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius

PACKAGE = Path(__file__).parents[1] / "deepchem_crystalssl"
PAGE = PACKAGE / "explorer" / "page"
SOURCE = "written by tools/build_page_tables.py."
N_GROUPS = 230
LAST_ORTHORHOMBIC = 74
WIDTH = 118
UNKNOWN_RADIUS, UNKNOWN_ELECTRONEGATIVITY = 1.69, 1.5
"""Of elements that the tables lack: heavy ones and noble gases."""


def standard_symbols() -> list[str]:
    """Short Hermann-Mauguin symbols of the 230 groups, in order."""
    symbols: dict[int, str] = {}
    for hall in range(1, 531):
        group = spglib.get_spacegroup_type(hall)
        symbols.setdefault(group.number, group.international_short)
    return [symbols[number] for number in range(1, N_GROUPS + 1)]


def other_settings(standard: list[str]) -> list[str]:
    """Symbols of other settings, as "62 Pbnm Pmcn", one text for each group that has some."""
    taken = {symbol.replace("_", "") for symbol in standard}
    found: dict[int, list[str]] = {}
    for group in gemmi.spacegroup_table():
        symbol = group.short_name()
        if group.number <= LAST_ORTHORHOMBIC and symbol not in taken and symbol.replace("/", "").isalnum():
            taken.add(symbol)
            found.setdefault(group.number, []).append(symbol)
    return [" ".join([str(number), *symbols]) for number, symbols in sorted(found.items())]


def element_values() -> tuple[list[float], list[float]]:
    """Covalent radii (Å) and electronegativities (Pauling) of the elements, in order."""
    with open(PACKAGE / "crystals" / "data" / "elements.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    radii = [CovalentRadius.radius.get(row["symbol"], UNKNOWN_RADIUS) for row in rows]
    return radii, [float(row["electronegativity_pauling"] or UNKNOWN_ELECTRONEGATIVITY) for row in rows]


def as_array(name: str, values: list[str] | list[float]) -> str:
    """An array of JavaScript with a name."""
    lines, line = [], " "
    for value in values:
        piece = json.dumps(value) + ","
        if len(line) + len(piece) + 1 > WIDTH:
            lines.append(line)
            line = " "
        line += f" {piece}"
    return f"export const {name} = [\n" + "\n".join([*lines, line]) + "\n];\n"


def main() -> None:
    """Write both files."""
    standard = standard_symbols()
    (PAGE / "space_group_symbols.js").write_text(
        f"// Symbols of the space groups, {SOURCE}\n\n"
        "// The short symbol of each group, the first is that of number 1.\n"
        f"{as_array('STANDARD_SYMBOLS', standard)}\n"
        "// Symbols of other settings after the number of their group.\n"
        f"{as_array('OTHER_SETTINGS', other_settings(standard))}",
        encoding="utf-8",
    )
    radii, electronegativities = element_values()
    (PAGE / "element_values.js").write_text(
        f"// Values of the elements in the order of their numbers, {SOURCE}\n\n"
        "// Covalent radii, Å: B. Cordero et al., Dalton Trans. 2008, 2832.\n"
        f"{as_array('COVALENT_RADII', radii)}\n"
        "// Electronegativities of Pauling.\n"
        f"{as_array('ELECTRONEGATIVITIES', electronegativities)}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
