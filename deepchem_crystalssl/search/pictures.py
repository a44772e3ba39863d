"""Pictures of fitted patterns and of the map."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .coloring import Coloring

_UNKNOWN = "0.88"
_CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
"""Colours that people with any colour vision can tell apart (Okabe and Ito 2008)."""
_POINTS_PER_SQUARE_INCH = 60.0


class Picture(Figure):
    """A matplotlib figure that a notebook displays without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()


def draw_match(two_theta: np.ndarray, measured: np.ndarray, calculated: np.ndarray, title: str) -> Picture:
    """Draw a measured pattern and a pattern that was fitted to it, and below them their difference.

    All heights are relative to the highest measured count.

    Parameters
    ----------
    two_theta, measured, calculated : numpy.ndarray
        Angles in degrees, and measured and calculated counts above the background, (n,) each.
    title : str
        Title of the picture.

    Returns
    -------
    Picture
    """
    top = measured.max()
    figure = Picture(figsize=(9, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot(two_theta, measured / top, ".", markersize=1.8, color="0.35", label="measured")
    above.plot(two_theta, calculated / top, color="C3", linewidth=0.9, label="calculated")
    below.plot(two_theta, (measured - calculated) / top, color="C0", linewidth=0.7)
    below.axhline(0.0, color="0.7", linewidth=0.6)
    above.set_title(title, fontsize=10)
    above.set_ylabel("counts / highest")
    below.set(xlabel=r"$2\theta$ (degrees)", ylabel="difference")
    below.set_ylim(-0.5, 0.5)
    above.legend(frameon=False, fontsize=9)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
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


def as_image(figure: Picture) -> str:
    """Return a picture as an ``img`` element of an HTML page."""
    return f'<img alt="" src="data:image/png;base64,{b64encode(figure._repr_png_()).decode()}">'
