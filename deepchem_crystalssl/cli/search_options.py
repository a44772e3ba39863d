"""The options of the command search."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from . import commands
from .arguments import file_to_write, folder_to_write, symbols, wavelength


def add_search(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command."""
    search = add(
        "search",
        commands.search,
        "find crystals similar to others, or the phases of powder patterns",
        "search mp-149 --index index -k 5\n  crystalssl search sample.xy --index index --elements Hg,S\n"
        "  crystalssl search scans/*.xy --index index -o phases.csv --picture series.png",
    )
    search.add_argument(
        "query", nargs="+", help="ids, formulas or crystal files; or measured patterns (.xy, .xrdml, .raw, ...)"
    )
    search.add_argument(
        "--index", type=Path, metavar="FOLDER", required=True, help="folder written by the command index"
    )
    search.add_argument("-k", type=int, metavar="N", default=10, help="number of answers")
    search.add_argument(
        "--unlike",
        nargs="+",
        default=[],
        metavar="ID",
        help="ids of crystals that the answers should not resemble (default: none)",
    )
    search.add_argument(
        "--elements",
        type=symbols,
        default=(),
        metavar="Fe,O",
        help="for crystals: elements that every answer contains; for a pattern: elements that the sample contains, and "
        "no others but those of --only (default: any)",
    )
    search.add_argument(
        "--without", type=symbols, default=(), metavar="Pb,Hg", help="the answers contain none of these (default: none)"
    )
    search.add_argument(
        "--only", type=symbols, metavar="Fe,O", help="the answers contain no other elements than these (default: any)"
    )
    search.add_argument(
        "--space-group", type=int, nargs="+", metavar="N", help="numbers of allowed space groups (default: all)"
    )
    search.add_argument(
        "--sites", type=int, nargs=2, metavar=("FROM", "TO"), help="allowed number of sites in the cell (default: any)"
    )
    search.add_argument(
        "--wavelength",
        type=wavelength,
        metavar="X",
        help="wavelength of the pattern: CuKa, MoKa1, ... or a number in Å (default: that of the file, else CuKa)",
    )
    search.add_argument(
        "--phases",
        type=int,
        metavar="N",
        help="number of phases in the sample of a pattern (default: as many as explain lines of their own)",
    )
    search.add_argument(
        "--picture",
        type=file_to_write(".png", ".svg", ".pdf"),
        metavar="FILE",
        help="for a pattern: draw the measured, calculated and difference curves (default: no)",
    )
    search.add_argument(
        "--report",
        type=file_to_write(".html"),
        metavar="FILE.html",
        help="for a pattern: write a page with figure, phases, R factors and reflections (default: no)",
    )
    search.add_argument(
        "--export",
        type=folder_to_write,
        metavar="FOLDER",
        help="for a pattern: write measured points, phases as CIF files, tables, figure and report (default: no)",
    )
    search.add_argument(
        "-o",
        "--output",
        type=file_to_write(".csv"),
        metavar="FILE.csv",
        help="also write the answers to this file (default: print them only)",
    )
