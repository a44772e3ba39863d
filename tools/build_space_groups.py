"""Write the symbols of the space groups for the page of the map, from spglib and gemmi.

    python tools/build_space_groups.py

The 230 standard short symbols are spglib's ``international_short``. Symbols of other settings, such as P2_1/n and Pbnm,
are those of gemmi for the monoclinic and orthorhombic groups. They are written without the underscore of screw axes,
because they only serve to recognise what somebody has typed.
"""

from __future__ import annotations

import json
from pathlib import Path

import gemmi
import spglib

OUTPUT = Path(__file__).parent.parent / "deepchem_crystalssl/explorer/page/space_group_symbols.js"
N_GROUPS = 230
LAST_ORTHORHOMBIC = 74
WIDTH = 118


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


def as_lines(words: list[str]) -> str:
    """Words as the lines of an array of JavaScript."""
    lines, line = [], ""
    for word in words:
        piece = json.dumps(word) + ","
        if len(line) + len(piece) + 1 > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {piece}" if line else f"  {piece}"
    return "\n".join([*lines, line])


def main() -> None:
    """Write the file."""
    standard = standard_symbols()
    OUTPUT.write_text(
        "// Symbols of the space groups, written by tools/build_space_groups.py.\n\n"
        "// The short symbol of each group, the first is that of number 1.\n"
        f"export const STANDARD_SYMBOLS = [\n{as_lines(standard)}\n];\n\n"
        "// Symbols of other settings after the number of their group.\n"
        f"export const OTHER_SETTINGS = [\n{as_lines(other_settings(standard))}\n];\n",
        encoding="utf-8",
    )
    print(OUTPUT)


if __name__ == "__main__":
    main()
