"""Formulas, space groups and numbers as they are printed: in HTML and in the labels of figures."""

from __future__ import annotations

import re
from html import escape

_NUMBERS = re.compile(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?|\.\d+)")
_SCREW = re.compile(r"(\d)_(\d)")
_BAR = re.compile(r"-(\d)")


def formula_html(formula: str) -> str:
    """A formula with subscripts.

    Examples
    --------
    >>> formula_html("Ca(OH)2")
    'Ca(OH)<sub>2</sub>'
    """
    return _NUMBERS.sub(r"<sub>\1</sub>", escape(formula))


def formula_label(formula: str) -> str:
    """The same in the mathematical notation of matplotlib.

    Examples
    --------
    >>> formula_label("Li0.5CoO2")
    'Li$_{0.5}$CoO$_{2}$'
    """
    return _NUMBERS.sub(r"$_{\1}$", plain_label(formula))


def plain_label(text: str) -> str:
    """A text as a label of matplotlib, which would read what stands between two dollar signs as mathematics.

    Examples
    --------
    >>> plain_label("$x$")
    '\\\\$x\\\\$'
    """
    return text.replace("$", r"\$")


def space_group_html(symbol: str) -> str:
    """A Hermann-Mauguin symbol with letters in italics, screw axes as subscripts and inversion axes as overlines.

    Examples
    --------
    >>> space_group_html("P6_3/mmc")
    '<i>P</i>6<sub>3</sub>/<i>mmc</i>'
    """
    text = re.sub(r"([A-Za-z]+)", r"<i>\1</i>", escape(symbol))
    text = _SCREW.sub(r"\1<sub>\2</sub>", text)
    return _BAR.sub(r'<span style="text-decoration:overline">\1</span>', text)


def space_group_label(symbol: str) -> str:
    r"""The same in the mathematical notation of matplotlib.

    Examples
    --------
    >>> space_group_label("Fm-3m"), space_group_label("P2_1/c")
    ('$Fm\\bar{3}m$', '$P2_{1}/c$')
    """
    return "$" + _BAR.sub(r"\\bar{\1}", _SCREW.sub(r"\1_{\2}", symbol)) + "$"


def percent(fraction: float, error: float) -> str:
    """A weight fraction and its standard error, no less than 1 %, in percent.

    Examples
    --------
    >>> percent(0.5234, 0.004)
    '52 ± 1 %'
    """
    return f"{100 * fraction:.0f} ± {max(1.0, 100 * error):.0f} %"
