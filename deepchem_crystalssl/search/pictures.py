"""Pictures of fitted patterns and of the map."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .coloring import Coloring

_UNKNOWN = "0.88"
_CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
"""Colours that people with any colour vision can tell apart (Okabe and Ito 2008)."""
_POINTS_PER_SQUARE_INCH = 60.0
_CALCULATED, _DIFFERENCE = "#C84A00", "#0072B2"
_TICKS = ("#00785A", "#A6478A", "#1F6FA8", "#A86E00")
"""Colours that are told apart with any kind of colour vision, dark enough for text (after Okabe and Ito)."""


class Picture(Figure):
    """A matplotlib figure that a notebook displays without pyplot."""

    def as_bytes(self, format: str, dpi: int = 150) -> bytes:
        """The picture as the content of a file: "png", "pdf" or "svg". Texts stay texts in the latter two."""
        buffer = BytesIO()
        with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
            self.savefig(buffer, format=format, dpi=dpi)
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        return self.as_bytes("png", 90)


@dataclass(frozen=True)
class Ticks:
    """The places of the reflections of a phase, and the name that stands beside them.

    Attributes
    ----------
    label : str
    places : numpy.ndarray
        Degrees, (r,).
    """

    label: str
    places: np.ndarray


def draw_fit(
    two_theta: np.ndarray,
    measured: np.ndarray,
    calculated: np.ndarray,
    phases: Sequence[Ticks],
    radiation: str,
    title: str = "",
    unit: str = "counts",
) -> Picture:
    """Draw a measured pattern, the pattern that was fitted to it, the reflections of its phases, and the difference.

    Parameters
    ----------
    two_theta, measured, calculated : numpy.ndarray
        Angles in degrees, and measured and calculated intensities above the background, (n,) each.
    phases : sequence of Ticks
        One row of ticks for each.
    radiation : str
        Named beside the angles.
    title : str
    unit : str
        Of the intensities.

    Returns
    -------
    Picture
        Measured intensities and differences have the same scale.
    """
    top, low = float(max(measured.max(), calculated.max())), float(min(measured.min(), 0.0))
    difference = measured - calculated
    reach = float(np.clip(1.1 * np.abs(difference).max() / top, 0.06, 0.5)) * top
    span = 1.04 * top - low
    rows = max(len(phases), 1)
    heights = [3.0, 0.2 * rows + 0.06, max(3.0 * 2 * reach / span, 0.5)]
    layout = ConstrainedLayoutEngine(h_pad=0.03, hspace=0.0)
    figure = Picture(figsize=(9, 1.1 + 0.95 * sum(heights)), layout=layout)
    above, ticks, below = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    marks = {"markersize": 2.6, "markeredgewidth": 0.5, "fillstyle": "none", "color": "0.35"}
    above.plot(two_theta, measured, "o", label="measured", **marks)
    above.plot(two_theta, calculated, color=_CALCULATED, linewidth=1.0, label="calculated")
    below.plot(two_theta, difference, color=_DIFFERENCE, linewidth=0.7)
    below.axhline(0.0, color="0.6", linewidth=0.6)
    for row, phase in enumerate(phases):
        color = _TICKS[row % len(_TICKS)]
        ticks.vlines(phase.places, row - 0.36, row + 0.36, color=color, linewidth=0.7)
        ticks.annotate(phase.label, (1.0, row), (6, 0), ("axes fraction", "data"), "offset points", color=color,
                       fontsize=9, va="center", annotation_clip=False)  # fmt: skip
    ticks.set(ylim=(rows - 0.35, -0.65), yticks=[])
    above.set(xlim=(two_theta[0], two_theta[-1]), ylim=(low - 0.01 * span, low + span))
    above.set_ylabel(f"Intensity above background ({unit})" if unit else "Intensity above background")
    above.set_title(title, fontsize=10)
    above.legend(frameon=False, fontsize=9, markerscale=1.6)
    below.set(xlabel=rf"$2\theta$ (degrees), {radiation}", ylabel="Difference", ylim=(-reach, reach))
    for axes in (above, ticks, below):
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (above, ticks):
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(bottom=False)
    ticks.spines["left"].set_visible(False)
    figure.align_ylabels([above, below])
    return figure


def draw_series(
    patterns: Sequence[tuple[np.ndarray, np.ndarray]], places: np.ndarray, fractions: pd.DataFrame
) -> Picture:
    """Draw measured patterns over their number, and the weight fractions of the phases in them.

    Parameters
    ----------
    patterns : sequence of (numpy.ndarray, numpy.ndarray)
        Angles in degrees and heights relative to the highest, of the q patterns that could be used.
    places : numpy.ndarray
        Their numbers in the series, from 0, (q,).
    fractions : pandas.DataFrame
        One row for each pattern of the series, one column for each compound; the first ten are drawn.
    """
    number = np.arange(1, len(fractions) + 1)
    figure = Picture(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
    low = min((angles[0] for angles, _ in patterns), default=0.0)
    high = max((angles[-1] for angles, _ in patterns), default=90.0)
    axis = np.linspace(low, high, 1200)
    image = np.full((len(axis), len(fractions)), np.nan)
    for place, (angles, heights) in zip(places, patterns, strict=True):
        image[:, place] = np.sqrt(np.clip(np.interp(axis, angles, heights, np.nan, np.nan), 0.0, None))
    above.imshow(
        image, aspect="auto", origin="lower", extent=(0.5, len(fractions) + 0.5, low, high), cmap="magma", vmax=1.0,
        interpolation="nearest",
    )  # fmt: skip
    above.set_ylabel(r"$2\theta$ (degrees)")
    above.set_title("square root of counts, relative to the highest", fontsize=10)
    styles = ["-", "--"]
    for at, name in enumerate(fractions.columns[:10]):
        values = 100 * fractions[name].to_numpy(float)
        below.plot(number, values, styles[at // 8], marker="o", markersize=3.5, color=_CURVES[at % 8], label=name)
    below.set(xlabel="pattern", ylabel="weight fraction (%)", ylim=(-3, 103))
    below.locator_params(axis="x", integer=True)
    below.spines[["top", "right"]].set_visible(False)
    below.legend(frameon=False, fontsize=9, title="formula, space group", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_map(positions: np.ndarray, coloring: Coloring) -> Picture:
    """Draw the crystals of a map in colours. Crystals without a value are grey and lie below the others.

    The colours of numbers range from their 1st to their 99th percentile. The ten most frequent categories have colours
    of their own; all others are shown as "other".

    Parameters
    ----------
    positions : numpy.ndarray
        Positions on the map, (n, 2).
    coloring : Coloring
        Name, values and categories of the crystals.

    Returns
    -------
    Picture
    """
    width, height = np.ptp(positions, axis=0)
    figure = Picture(figsize=(8, 0.8 + 8 * float(np.clip(height / max(width, 1e-9), 0.4, 1.5))), layout="constrained")
    axes = figure.subplots()
    size = float(np.clip(_POINTS_PER_SQUARE_INCH * 128 / len(positions), 0.7, 24.0))
    marks: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
    known = np.isfinite(coloring.values) & (coloring.values >= 0 if coloring.categories is not None else True)
    axes.scatter(*positions[~known].T, color=_UNKNOWN, **marks)
    # Later points cover earlier ones. In a random order the most frequent colours show, not the last ones.
    shown = np.random.default_rng(0).permutation(np.flatnonzero(known))
    if coloring.categories is None:
        low, high = np.percentile(coloring.values[known], [1, 99]) if known.any() else (0.0, 1.0)
        x, y = positions[shown].T
        drawn = axes.scatter(x, y, c=coloring.values[shown], vmin=low, vmax=high, cmap="viridis", **marks)
        figure.colorbar(drawn, ax=axes, shrink=0.5, label=coloring.name, location="bottom", extend="both")
    else:
        _draw_kinds(figure, axes, positions, coloring, shown, marks)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure


def draw_density(positions: np.ndarray, unit: str = "crystals") -> Picture:
    """Draw how many crystals lie where on a map, for more of them than single points can show.

    Parameters
    ----------
    positions : numpy.ndarray
        (n, 2); those that are not finite are left out.
    unit : str
        What is counted.
    """
    shown = positions[np.isfinite(positions).all(axis=1)]
    figure = Picture(figsize=(8, 8.6), layout="constrained")
    axes = figure.subplots()
    drawn = axes.hexbin(*shown.T, gridsize=300, bins="log", mincnt=1, cmap="viridis", linewidths=0)
    figure.colorbar(drawn, ax=axes, shrink=0.5, label=f"{unit} in a cell, of {len(shown):,}", location="bottom")
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure


def _draw_kinds(
    figure: Figure, axes: Axes, positions: np.ndarray, coloring: Coloring, shown: np.ndarray, marks: dict[str, Any]
) -> None:
    categories = coloring.categories or ()
    counts = np.bincount(coloring.values[shown], minlength=len(categories))
    named = np.sort(np.argsort(-counts, kind="stable")[:10])
    colors = np.tile([0.7, 0.7, 0.7, 1.0], (len(categories), 1))
    for place, kind in enumerate(named):
        colors[kind] = colormaps["tab10"](place)
    axes.scatter(*positions[shown].T, color=colors[coloring.values[shown]], **marks)
    for kind in named:
        axes.scatter([], [], s=30, color=colors[kind], label=f"{categories[kind]} ({counts[kind]:,})")
    if len(categories) > len(named):
        others = int(counts.sum() - counts[named].sum())
        axes.scatter([], [], s=30, color="0.7", label=f"other ({others:,})")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, title=coloring.name)


def as_image(figure: Picture, description: str = "", dpi: int = 90) -> str:
    """Return a picture as an ``img`` element of an HTML page, with a description for those who do not see it."""
    data = b64encode(figure.as_bytes("png", dpi)).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'
