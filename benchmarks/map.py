"""Measure the map of an index, and its page in a browser, against the limits that were set for them.

    python benchmarks/map.py INDEX [--keep-map] [--peer] [--page map.html]

INDEX was made before: ``crystalssl index DATA/mp_structures.parquet -o INDEX --metadata ...``.

The script measures the layout of all crystals (with ``--peer`` also by umap-learn, on the same vectors in the same
run, if it is installed), and how near to their positions 600 crystals are placed that were taken off the map. Then
it measures the offline page: the seconds to write it, its size, and, in headless Chromium without a graphics
processor and a window of 1440 x 900, the seconds from the address to the coloured map and the frames per second
while the mouse pans with all points in sight and while its wheel zooms in and out. A frame is counted when the page
draws it onto its canvas.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from deepchem_crystalssl.explorer import write_page
from deepchem_crystalssl.search import EmbeddingIndex
from deepchem_crystalssl.search.vectors import nearest_rows

LAYOUT_MINUTES, MEGABYTES, OPEN_SECONDS, PANNING, ZOOMING = 10.0, 60.0, 3.0, 30.0, 15.0
MOVING_SECONDS = 3.0
WINDOW = {"width": 1440, "height": 900}
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run"]
COUNTING = """
const put = CanvasRenderingContext2D.prototype.putImageData;
window.framesPut = 0;
CanvasRenderingContext2D.prototype.putImageData = function (...given) {
  window.framesPut++;
  return put.apply(this, given);
};
"""


def tell(name: str, value: float, unit: str, bar: float, at_most: bool = True) -> None:
    """One line: a number, its bar, and whether it is kept."""
    kept = value <= bar if at_most else value >= bar
    print(f"{name:34s} {value:8.1f} {unit:8s} bar: {'at most' if at_most else 'at least'} {bar:g}, "
          f"{'kept' if kept else 'MISSED'}", flush=True)  # fmt: skip


def lay_out(index: EmbeddingIndex, peer: bool) -> None:
    """Minutes of the layout, and how many times as long the peer takes."""
    started = time.perf_counter()
    index.make_map(progress=False)
    ours = time.perf_counter() - started
    tell("layout", ours / 60, "minutes", LAYOUT_MINUTES)
    if not peer:
        return
    if importlib.util.find_spec("umap") is None:
        print("peer: umap-learn is not installed")
        return
    from umap import UMAP

    started = time.perf_counter()
    UMAP(n_neighbors=15, metric="cosine", random_state=None).fit_transform(np.asarray(index.vectors))
    theirs = time.perf_counter() - started
    print(f"umap-learn: {theirs / 60:.1f} minutes, {theirs / ours:.2f} x ours")


def place_again(index: EmbeddingIndex, n: int = 600) -> None:
    """How far from their place crystals come back that were taken off the map."""
    generator, known = np.random.default_rng(0), np.ones(len(index), bool)
    chosen = np.sort(generator.choice(len(index), n, replace=False))
    known[chosen] = False
    rows, products = nearest_rows(index.vectors, np.asarray(index.vectors[chosen]), 15, known)
    placed = np.stack([index.map.place(*one) for one in zip(rows, 1.0 - products, strict=True)])
    positions = index.map.positions
    apart = np.linalg.norm(placed - positions[chosen], axis=1)
    by_chance = np.linalg.norm(positions[chosen] - positions[generator.permutation(len(index))[:n]], axis=1)
    print(f"placed again, of a map 2 wide: median {np.median(apart):.4f}, within .02 {np.mean(apart < 0.02):.1%}; "
          f"two by chance {np.median(by_chance):.2f}")  # fmt: skip


def frames_per_second(page: Page, move: Callable[[float], None]) -> float:
    """Frames the page draws while the mouse does something, told the seconds since it began."""
    before, started = page.evaluate("framesPut"), time.perf_counter()
    while (since := time.perf_counter() - started) < MOVING_SECONDS:
        move(since)
    drawn = page.evaluate("framesPut") - before
    return drawn / (time.perf_counter() - started)


def try_page(path: Path) -> None:
    """Seconds to open it, and frames per second."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(120_000)
        page.add_init_script(COUNTING)
        started = time.perf_counter()
        page.goto(path.absolute().as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-ready]", state="attached")
        tell("opening the page", time.perf_counter() - started, "seconds", OPEN_SECONDS)
        page.wait_for_timeout(500)

        across, down = 520, 300
        page.mouse.move(across, down)
        page.mouse.down()
        panning = frames_per_second(
            page, lambda t: page.mouse.move(across + 60 * math.sin(4 * t), down + 60 * math.sin(3 * t))
        )
        page.mouse.up()
        tell("panning with all points", panning, "frames/s", PANNING, at_most=False)
        page.click("#reset")
        page.mouse.move(across, down)
        zooming = frames_per_second(page, lambda t: page.mouse.wheel(0, -40 if t < MOVING_SECONDS / 2 else 40))
        tell("zooming by the wheel", zooming, "frames/s", ZOOMING, at_most=False)
        browser.close()


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("index", type=Path)
    parser.add_argument("--keep-map", action="store_true", help="take the map kept in the index; lay out none")
    parser.add_argument("--peer", action="store_true", help="lay out by umap-learn, too")
    parser.add_argument("--page", type=Path, help="where to write the page; by default it is not kept")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    index = EmbeddingIndex.load(options.index)
    print(f"{len(index):,} crystals")
    if options.keep_map:
        assert index.has_map, f"{options.index} has no map; leave out --keep-map"
    else:
        lay_out(index, options.peer)
    place_again(index)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        path = write_page(index, options.page or Path(folder) / "map.html", megabytes=MEGABYTES, progress=False)
        print(f"page written in {time.perf_counter() - started:.1f} s")
        tell("size of the page", path.stat().st_size / 1e6, "MB", MEGABYTES)
        try_page(path)


if __name__ == "__main__":
    main()
