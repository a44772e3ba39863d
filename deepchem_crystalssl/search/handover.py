"""Files that hand the answer of a measured pattern over: to refinement programs, spreadsheets and readers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path

import numpy as np

from .. import __version__
from .agreement import are_counts, variance_ratio
from ..crystals.cif.writing import write_cif_text
from ..crystals.work_folders import writing, written_to
from ..errors import QueryError, counted
from .fitted import FittedAnswer, FittedPhase
from .reports import render_report

_SMALLEST_ERROR = 1e-4  # of the highest intensity
_README = """What is in this folder
======================

{verdict}

measured.xye
    The measured points: angle 2 theta in degrees, intensity, and its standard error, {errors}.
    GSAS-II: import it as powder data. Profex: open it as a diffraction pattern. Set the wavelength to {wavelength}.
{cifs}
    The phases with the cells that were refined here, one file each. Atoms are where the database has them.
    GSAS-II and Profex: import each as a phase from CIF.
reflections.csv
    For each phase Miller indices, multiplicity, spacing d (angstrom), 2 theta (degrees), squared structure factor
    (electrons squared), and calculated and measured areas (counts times degrees). Open it in a spreadsheet.
candidates.csv
    The crystals that the strongest phase may be, best first, with their scores. Open it in a spreadsheet.
figure.pdf
    The measured and calculated pattern, the reflections of each phase, and the difference.
report.html
    All of it on one page. Open it in a browser; it needs no network.

The wavelength is {radiation}. Written by deepchem_crystalssl {version}.
"""


def find_phase(phases: Sequence[FittedPhase], wanted: int | str | None) -> list[FittedPhase]:
    """The phase of a number, from 1, or of a material_id; all for None.

    Raises
    ------
    QueryError
        If there is none.
    """
    if wanted is None:
        return list(phases)
    if isinstance(wanted, Integral) and not isinstance(wanted, bool) and 1 <= wanted <= len(phases):
        return [phases[wanted - 1]]
    named = [phase for phase in phases if isinstance(wanted, str) and phase.material_id == wanted]
    if not named:
        ids = ", ".join(phase.material_id for phase in phases)
        raise QueryError("phase", repr(wanted), f"the answer has {counted(len(phases), 'phase')}: {ids}",
                         "Pass a number from 1, one of these ids, or None for all phases.")  # fmt: skip
    return named


def write_cif(answer: FittedAnswer, path: str | Path, phase: int | str | None = None) -> None:
    """Write phases as CIF; see :meth:`.PatternAnswer.write_cif`."""
    _write(Path(path), _cif(answer, find_phase(answer.phases, phase)))


def write_report(answer: FittedAnswer, path: str | Path) -> None:
    """Write a page of HTML; see :meth:`.PatternAnswer.report`."""
    _write(Path(path), render_report(answer))


def export(answer: FittedAnswer, folder: str | Path) -> list[Path]:
    """Write all files into a folder; see :meth:`.PatternAnswer.export`."""
    folder = Path(folder)
    cifs = {f"phase_{number}.cif": _cif(answer, [phase]) for number, phase in enumerate(answer.phases, start=1)}
    contents: dict[str, str | bytes] = {
        "README.txt": _readme(answer, list(cifs)),  # first: it tells that the others are ours
        "measured.xye": _measured(answer),
        **cifs,
        "reflections.csv": answer.reflections().to_csv(index=False, float_format="%.6g"),
        "candidates.csv": answer.to_frame().to_csv(index=False),
        "figure.pdf": answer.plot().as_bytes("pdf"),
        "report.html": render_report(answer),
    }
    with written_to(folder, QueryError):
        folder.mkdir(parents=True, exist_ok=True)
        _make_way(folder, contents)
    for name, content in contents.items():
        _write(folder / name, content)
    return [folder / name for name in contents]


def _make_way(folder: Path, names: Iterable[str]) -> None:
    """Remove the phases of an earlier answer from a folder; files of others by these names are an error."""
    there = [name for name in names if os.path.lexists(folder / name)]
    readme = folder / "README.txt"
    if there and not (readme.is_file() and readme.read_bytes().startswith(_README[:40].encode())):
        raise QueryError(str(folder), f"a folder that holds {there[0]}", "files of others are not replaced",
                         "Name a new folder, or remove this file.")  # fmt: skip
    if there:
        for path in folder.glob("phase_*.cif"):
            path.unlink()


def _write(path: Path, content: str | bytes) -> None:
    with writing(path, QueryError) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def _cif(answer: FittedAnswer, phases: Sequence[FittedPhase]) -> str:
    facts = {
        "_audit_creation_method": f"deepchem_crystalssl {__version__}",
        "_pd_proc_ls_special_details": "cell refined against a powder pattern; atoms as in the database",
        "_diffrn_radiation_wavelength": f"{answer.measurement.grid.wavelength_angstrom:.6g}",
    }
    return write_cif_text([(phase.material_id, phase.setting) for phase in phases], facts)


def _measured(answer: FittedAnswer) -> str:
    """Angles, intensities and their standard errors as columns.

    The variance of counts is their mean. That of other intensities is their mean times a factor, which their scatter
    shows.
    """
    scan, counted = answer.scan, are_counts(answer.scan.counts)
    ratio = 1.0 if counted else variance_ratio(scan.counts)
    smallest = 1.0 if counted else _SMALLEST_ERROR * scan.counts.max()
    errors = np.maximum(np.sqrt(ratio * scan.counts), smallest)
    rows = zip(scan.angles, scan.counts, errors, strict=True)
    return "".join(f"{angle:.5f} {count:.10g} {error:.6g}\n" for angle, count, error in rows)


def _readme(answer: FittedAnswer, cifs: Sequence[str]) -> str:
    errors = "the square root of the counts"
    if not are_counts(answer.scan.counts):
        errors = (
            "estimated from its\n    scatter, because the intensities are no counts: goodness of fit means little then"
        )
    first = answer.measurement.grid.wavelength_angstrom
    wavelength = f"{first:.6g} angstrom"
    if answer.measurement.second_line != 1.0:
        second = first * answer.measurement.second_line
        wavelength += f"\n    (K-alpha 1) and {second:.6g} angstrom (K-alpha 2, half as intense)"
    return _README.format(
        verdict=answer.verdict, errors=errors, wavelength=wavelength, cifs=", ".join(cifs),
        radiation=answer.radiation, version=__version__,
    )  # fmt: skip
