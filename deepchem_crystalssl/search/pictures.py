"""Answers as pictures."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from .phases import PatternAnswer


def draw_match(answer: PatternAnswer, rank: int = 1) -> Figure:
    """A measured pattern, that of one answer as fitted, and the difference below.

    Parameters
    ----------
    answer : PatternAnswer
    rank : int
        From 1.

    Returns
    -------
    matplotlib.figure.Figure
    """
    match = answer[rank - 1]
    top = answer.measured.max()
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot(answer.two_theta, answer.measured / top, ".", markersize=1.8, color="0.35", label="measured")
    above.plot(answer.two_theta, match.calculated / top, color="C3", linewidth=0.9, label="calculated")
    below.plot(answer.two_theta, (answer.measured - match.calculated) / top, color="C0", linewidth=0.7)
    below.axhline(0.0, color="0.7", linewidth=0.6)
    group = "" if match.space_group is None else f", space group {match.space_group}"
    above.set_title(
        f"{match.formula} ({match.material_id}{group})   score {match.score:.3f}   "
        f"$R_{{wp}}$ {match.r_wp:.2f}   cell × {match.cell_scale:.4f}",
        fontsize=10,
    )
    above.set_ylabel("counts / highest")
    below.set(xlabel=r"$2\theta$ (degrees)", ylabel="difference")
    below.set_ylim(-0.5, 0.5)
    above.legend(frameon=False, fontsize=9)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def as_image(figure: Figure) -> str:
    """The picture within a page."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return f'<img alt="" src="data:image/png;base64,{b64encode(buffer.getvalue()).decode()}">'
