"""A page of HTML about the answer of a measured pattern. It has no script and needs no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from .. import __version__
from ..crystals.cif.writing import cell_angles
from ..crystals.symmetry import StandardSetting
from .fitted import Candidate, FittedAnswer, FittedPhase
from .typesetting import formula_html, percent, space_group_html

_STRONGEST = 15
_STYLE = """
*{box-sizing:border-box}
body{font:15px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:1000px;margin:0 auto;padding:16px}
h1{font-size:1.5em;line-height:1.2;margin:0 0 .3em}h2{font-size:1em;margin:1.2em 0 .3em}
p{margin:.3em 0}.verdict{font-size:1.1em}.quiet{color:#555;font-size:.88em}
img{display:block;width:100%;height:auto;margin:.6em 0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88em;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:2px 8px 2px 0;white-space:nowrap}
th{font-weight:600;border-bottom:1px solid #888;vertical-align:bottom}
tr+tr td{border-top:1px solid #e4e4e4}
.left{text-align:left}td.text{white-space:normal;text-align:left}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,280px),1fr));gap:0 28px}
.two{display:grid;grid-template-columns:4fr 5fr;gap:0 28px}
.columns>*,.two>*{min-width:0}
@media(max-width:760px){.two{grid-template-columns:1fr}}
@media print{
@page{size:A4;margin:10mm}
body{font-size:7.5pt;line-height:1.2;max-width:none;padding:0}
h2{margin:.6em 0 .1em}img{max-height:98mm;object-fit:contain;margin:.2em 0}
.wide{overflow:visible}th,td{padding:0 5px 0 0}
.columns{gap:0 5mm;grid-template-columns:repeat(auto-fit,minmax(42mm,1fr))}
.two{gap:0 5mm;grid-template-columns:4fr 5fr}
section{break-inside:avoid}
}
"""
_ASSUMED = (
    "Absorption is the same in all phases (no microabsorption).",
    "The sample is crystalline: glass and phases that were not found take no part in the weight fractions.",
    "Atoms are where the database has them, without thermal motion; only cell, zero shift, width and shape of the "
    "peaks, and scale were fitted.",
    "Errors are standard errors of the fit alone; no less than 1 % is shown.",
)


def render_report(answer: FittedAnswer) -> str:
    """The page; see :meth:`.PatternAnswer.report`."""
    from .pictures import as_image

    names = ", ".join(phase.formula for phase in answer.phases)
    figure = as_image(answer.plot(), f"Measured and calculated pattern of {names}, and their difference", 180)
    where = "Measured points" if answer.scan.item == "pattern" else answer.scan.item
    assumed = " ".join(map(escape, [*_ASSUMED, _texture(answer.phases)]))
    candidates = _section("Candidates for the strongest phase", _candidates(answer))
    parts = [
        "<h1>Phases in a powder pattern</h1>",
        f'<p class="verdict">{escape(answer.verdict)}</p>',
        f'<p class="quiet">{escape(where)}, {answer.scan.angles[0]:g}–{answer.scan.angles[-1]:g}°, '
        f"{len(answer.scan.angles):,} points. {escape(answer.radiation_label)}; the wavelength is "
        f"{escape(str(answer.radiation))}.</p>",
        figure,
        _section("Phases", _phases(answer.phases)),
        f'<div class="two">{_section("Agreement", _agreement(answer))}{candidates}</div>',
        _section(f"The {_STRONGEST} strongest reflections of each phase", _reflections(answer)),
        _section("What was assumed", f"<p>{assumed}</p>"),
        f'<p class="quiet">deepchem_crystalssl {escape(__version__)}</p>',
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    title = f"<title>{escape(names)}: phases in a powder pattern</title>"
    head = f'<!DOCTYPE html>\n<html lang="en"><head>{head}{title}<style>{_STYLE}</style></head>'
    return "\n".join([head, "<body>", *parts, "</body></html>\n"])


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A table of cells that are HTML already; columns of texts are aligned to the left."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="left"' if place in left else "" for place in range(len(cells))]
        return (
            "<tr>" + "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"
        )

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _phases(phases: Sequence[FittedPhase]) -> str:
    """Formula, id, space group, weight fraction and refined cell of each phase."""
    head = ["Phase", "Id", "Space group", "Weight", "Probability", "<i>a</i> (Å)", "<i>b</i> (Å)", "<i>c</i> (Å)",
            "α (°)", "β (°)", "γ (°)", "<i>V</i> (Å³)", "Change of <i>a</i>, <i>b</i>, <i>c</i> (%)"]  # fmt: skip
    rows = []
    for phase in phases:
        setting, known = phase.setting, StandardSetting.of(phase.crystal)
        lengths, before = (np.linalg.norm(one.crystal.lattice, axis=1) for one in (setting, known))
        changes = ", ".join(f"{100 * change:+.2f}".replace("-", "−") for change in lengths / before - 1.0)
        weight = percent(phase.weight_fraction, phase.weight_fraction_error) if len(phases) > 1 else "–"
        angles = [f"{angle:.2f}" for angle in cell_angles(setting.crystal.lattice)]
        rows.append(
            [f"<b>{formula_html(phase.formula)}</b>", escape(phase.material_id), _group(setting), weight,
             f"{phase.probability:.2f}", *(f"{length:.4f}" for length in lengths), *angles,
             f"{setting.crystal.volume:.2f}", changes]
        )  # fmt: skip
    note = "The cell is refined; its change is that against the database. Cells are conventional ones."
    return _table(head, rows, (0, 1, 2)) + f'<p class="quiet">{note}</p>'


def _texture(phases: Sequence[FittedPhase]) -> str:
    """Which phases were fitted with a preferred orientation."""
    oriented = []
    for phase in phases:
        texture = phase.refined.texture
        if texture is not None:
            axis = " ".join(map(str, texture.axis))
            place = f"along ({axis}) of the database's cell"
            oriented.append(f"{phase.formula} {place}, March coefficient {texture.march:g}")
    if not oriented:
        return "Grains have no preferred orientation."
    return f"Grains have no preferred orientation except {'; '.join(oriented)}; the table of reflections is without it."


def _group(setting: StandardSetting) -> str:
    return f"{space_group_html(setting.symbol)} ({setting.number})"


def _agreement(answer: FittedAnswer) -> str:
    """R factors with their meaning in a few words, and what no phase explains."""
    found = answer.agreement
    why = "; unknown here, because the intensities are no counts" if found.r_exp is None else ""
    expected = "–" if found.r_exp is None else f"{100 * found.r_exp:.1f} %"
    goodness = "–" if found.goodness_of_fit is None else f"{found.goodness_of_fit:.2f}"
    rows = [
        ("<i>R</i><sub>wp</sub>", f"{100 * found.r_wp:.1f} %", "weighted misfit, background included; 0 is perfect"),
        ("<i>R</i><sub>wp</sub> above background", f"{100 * found.r_wp_above_background:.1f} %",
         "the same, relative to the intensities above the background"),
        ("<i>R</i><sub>exp</sub>", expected, "what counting noise alone would leave" + why),
        ("Goodness of fit", goodness, "<i>R</i><sub>wp</sub> / <i>R</i><sub>exp</sub>; 1 is perfect" + why),
        ("Unexplained", f"{100 * answer.unexplained:.0f} %", "of the measured peaks, where no phase has one"),
    ]  # fmt: skip
    cells = "".join(
        f'<tr><td class="left">{name}</td><td class="left">{value}</td><td class="text quiet">{text}</td></tr>'
        for name, value, text in rows
    )
    note = (
        f'<p class="quiet">{found.n_points:,} points, {found.n_parameters} parameters; weights '
        "1/intensity (Toby, Powder Diffr. 21, 67, 2006).</p>"
    )
    return f"<table><tbody>{cells}</tbody></table>{note}"


def _candidates(answer: FittedAnswer) -> str:
    """The answers, which are candidates for the strongest phase."""

    is_mixture = len(answer.phases) > 1  # beside other phases the probability to be the whole sample says nothing

    def row(match: Candidate) -> list[str]:
        change = f"{100 * (match.cell_scale - 1):+.2f}".replace("-", "−")
        return [str(match.rank), formula_html(match.formula), escape(match.material_id), _group(match.setting),
                f"{match.score:.3f}", *([] if is_mixture else [escape(match.confidence)]), change]  # fmt: skip

    head = ["", "Formula", "Id", "Space group", "Score", *([] if is_mixture else ["Confidence"]), "Cell (%)"]
    return _table(head, map(row, answer), (1, 2, 3))


def _reflections(answer: FittedAnswer) -> str:
    """The strongest reflections of each phase, side by side."""
    table, parts = answer.reflections(), []
    head = [
        "<i>h k l</i>",
        "<i>m</i>",
        "<i>d</i> (Å)",
        "2<i>θ</i> (°)",
        "<i>I</i><sub>calc</sub>",
        "<i>I</i><sub>obs</sub>",
    ]
    for number, phase in enumerate(answer.phases, start=1):
        own = table[table["phase"] == number]
        top = max(own["intensity_calculated"].max(), 1e-300) if len(own) else 1.0
        strongest = own.nlargest(_STRONGEST, "intensity_calculated").sort_values("two_theta")
        columns = "h k l multiplicity d two_theta intensity_calculated intensity_observed".split()
        values = zip(*(strongest[name] for name in columns), strict=True)
        rows = [
            [_indices(h, k, l), str(multiplicity), f"{d:.4f}", f"{angle:.3f}", f"{100 * calculated / top:.1f}",
             f"{100 * observed / top:.1f}"]
            for h, k, l, multiplicity, d, angle, calculated, observed in values
        ]  # fmt: skip
        height = _STRONGEST if len(answer.phases) > 1 else _STRONGEST // 3  # those of one phase fill the page's width
        for start in range(0, max(len(rows), 1), height):
            title = f"<b>{formula_html(phase.formula)}</b>" if len(answer.phases) > 1 else ""
            parts.append(f"<div>{title}{_table(head, rows[start : start + height])}</div>")
    note = (
        "Areas relative to the strongest calculated reflection of the phase, 100. Where reflections overlap, measured "
        "counts are divided in proportion to the calculated profiles. <i>m</i> is the multiplicity."
    )
    return f'<div class="columns">{"".join(parts)}</div><p class="quiet">{note}</p>'


def _indices(*hkl: int) -> str:
    return " ".join(f"{index}".replace("-", "−") for index in hkl)
