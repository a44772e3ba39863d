"""Tables of answers and facts as HTML, as a notebook shows them. Every text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from numbers import Integral, Real
from typing import Any

import pandas as pd

from ..crystals.symmetry import symbol_of_group
from .typesetting import formula_html, space_group_html

_MOST_ROWS, _MOST_COLUMNS = 50, 14
_HEADINGS = {
    "rank": "", "material_id": "id", "formulas": "phases", "r_wp": "R<sub>wp</sub>", "weight_fraction": "weight",
}  # fmt: skip
_FIRST = ("rank", "material_id", "formula", "space_group")


def table_html(table: pd.DataFrame, columns: Sequence[str] | None = None) -> str:
    """A table of crystals: formulas with subscripts, space groups by their symbols, numbers with four digits.

    Of long and wide tables the first part is shown, and the rest is counted.

    Parameters
    ----------
    table : pandas.DataFrame
    columns : sequence of str, optional
        The columns to show, of those that the table has. By default all: rank, id, formula and space group first.

    Returns
    -------
    str

    Examples
    --------
    >>> html = table_html(pd.DataFrame({"formula": ["Fe2O3"], "space_group": [167], "note": ["<b>"]}))
    >>> "Fe<sub>2</sub>O<sub>3</sub>" in html, "(167)" in html, "&lt;b&gt;" in html
    (True, True, True)
    """
    names = [*_FIRST, *(name for name in table if name not in _FIRST)] if columns is None else columns
    found = [name for name in names if name in table]
    shown, rows = found[:_MOST_COLUMNS], table.head(_MOST_ROWS)
    head = "".join(f"<th>{_heading(str(name))}</th>" for name in shown)
    body = "".join(
        "<tr>" + "".join(_cell(str(name), value) for name, value in zip(shown, row, strict=True)) + "</tr>"
        for row in rows[shown].itertuples(index=False, name=None)
    )
    left = [f"{len(table) - len(rows):,} more rows"] if len(table) > len(rows) else []
    left += [f"{len(found) - len(shown):,} more columns"] if len(found) > len(shown) else []
    rest = f"<p>{' and '.join(left)}: to_frame() has all.</p>" if left else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def facts_html(title: str, facts: Mapping[str, str]) -> str:
    """A title, and facts with their names below it.

    Examples
    --------
    >>> facts_html("3 crystals", {"map": "none"})
    '<b>3 crystals</b><table><tbody><tr><th>map</th><td style="text-align:left">none</td></tr></tbody></table>'
    """
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td style="text-align:left">{escape(fact)}</td></tr>'
        for name, fact in facts.items()
    )
    return f"<b>{escape(title)}</b><table><tbody>{rows}</tbody></table>"


def _heading(name: str) -> str:
    return _HEADINGS.get(name, escape(name.replace("_", " ")))


def _cell(name: str, value: Any) -> str:
    if name == "space_group" and isinstance(value, Real) and 1 <= float(value) <= 230:
        number = round(float(value))
        return _left(f"{space_group_html(symbol_of_group(number))} ({number})")
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return _left("yes" if value else "no")
    if isinstance(value, Integral):
        return f"<td>{value}</td>"
    if isinstance(value, Real):
        return f"<td>{value:.4g}</td>" if value == value else "<td></td>"
    if isinstance(value, tuple | list):
        return _left(", ".join(map(_typeset if name == "formulas" else _words, value)))
    if value is None or value is pd.NA or value is pd.NaT:
        return "<td></td>"
    return _left(_typeset(value) if name == "formula" else _words(value))


def _left(html: str) -> str:
    return f'<td style="text-align:left">{html}</td>'


def _typeset(formula: Any) -> str:
    return formula_html(str(formula))


def _words(value: Any) -> str:
    return escape(str(value))
