"""Pictures of the page for the docs, by headless Chromium.

    python tools/screenshots.py OUT_FOLDER [--index FOLDER] [--crystal ID] [--pattern FILE]

Without an index, the bundled prototypes in the space of the general model. ``map_page.png``: the whole map;
``map_details.png``: a crystal that was searched for; ``map_filters.png``: filters that hold together, with a lasso;
``map_axes.png``: two columns against each other; ``map_phone.png`` and ``map_dark.png``: the page on a telephone and in
the dark; ``map_powder.png``: what a measured pattern is taken for.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.explorer import write_page
from deepchem_crystalssl.search import EmbeddingIndex

WINDOW = {"width": 1280, "height": 800}
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run"]
SPINEL = "A2BC4_cF56_227_d_a_e"
LASSO = [(0.2, 0.3), (0.4, 0.15), (0.6, 0.3), (0.62, 0.6), (0.4, 0.8), (0.22, 0.6), (0.2, 0.3)]


def open_page(browser: Browser, address: str, **options: Any) -> Page:
    """A page with its map drawn, coloured by the class of the anion."""
    page = browser.new_page(**{"viewport": WINDOW} | options)
    page.set_default_timeout(300_000)
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    page.select_option("#color", "anion_class")
    page.wait_for_timeout(300)
    return page


def save(page: Page, path: Path) -> None:
    """The window as it is, once all is drawn."""
    page.wait_for_timeout(1500)
    page.screenshot(path=path)
    print(path)
    page.close()


def find(page: Page, text: str) -> None:
    """Search for something."""
    page.fill("#query", text)
    page.press("#query", "Enter")


def picture_offline(browser: Browser, address: str, crystal: str, output: Path) -> None:
    """Those of the file."""
    save(open_page(browser, address), output / "map_page.png")
    for name, options in (
        ("details", {}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "has_touch": True}),
        ("dark", {"color_scheme": "dark"}),
    ):
        page = open_page(browser, address, **options)
        find(page, crystal)
        page.wait_for_selector(".structure[data-atoms] canvas")
        page.wait_for_selector("svg.pattern")
        save(page, output / f"map_{name}.png")

    page = open_page(browser, address)
    find(page, "O")
    page.click("#filter")
    page.wait_for_selector(".histogram")
    page.click("#lasso")
    box = page.locator("#points").bounding_box()
    assert box is not None
    corners = [(box["x"] + across * box["width"], box["y"] + down * box["height"]) for across, down in LASSO]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=8)
    page.mouse.up()
    page.wait_for_selector(".chip >> nth=1")
    save(page, output / "map_filters.png")

    page = open_page(browser, address)
    numbers = page.eval_on_selector_all("#x option", "(all) => all.map((one) => one.value)")
    page.click("#axes summary")
    across, up = (next((name for name in numbers if word in name), "num_sites") for word in ("density", "gap"))
    page.select_option("#x", across)
    page.select_option("#y", up)
    page.click("#axes summary")
    save(page, output / "map_axes.png")


def picture_powder(browser: Browser, address: str, pattern: tuple[str, bytes], output: Path) -> None:
    """That of the server."""
    page = open_page(browser, address)
    name, content = pattern
    page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": content})
    page.wait_for_selector("#powder[data-state='answer']")
    save(page, output / "map_powder.png")


@contextmanager
def explored(index: Path) -> Iterator[str]:
    """Address of a server of an index."""
    command = [sys.executable, "-m", "deepchem_crystalssl.cli", "explore", str(index), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


def measured(index: EmbeddingIndex, crystal: str) -> bytes:
    """A pattern of a crystal as of a poor day, as text."""
    assert index.structures is not None
    grid = dcs.XRDGrid(wavelength="CuKa1")
    ideal = measure_patterns([index.structures[index.gallery.row_of[crystal]]], HARD, grid, 0)[0].astype(float)
    counts = np.random.default_rng(0).poisson(5000 * ideal + 80 + 100 * np.exp(-grid.two_theta / 30))
    return "\n".join(f"{x:.3f} {y}" for x, y in zip(grid.two_theta, counts, strict=True)).encode()


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--index", type=Path, help="folder written by crystalssl index")
    parser.add_argument("--crystal", default=SPINEL, help="whose details are shown, and whose pattern is dropped")
    parser.add_argument("--pattern", type=Path, help="a measured pattern to drop instead")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = options.index or Path(temporary) / "index"
        if options.index is None:
            index = EmbeddingIndex.from_structures(bundled_prototypes(), patterns=True)
            index.make_map()
            index.save(folder)
        index = EmbeddingIndex.load(folder)
        file = write_page(index, Path(temporary) / "map.html")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        picture_offline(browser, file.as_uri(), options.crystal, options.output)
        with explored(folder) as address:
            pattern = (options.pattern.name, options.pattern.read_bytes()) if options.pattern else (
                "measured.xy", measured(index, options.crystal))  # fmt: skip
            picture_powder(browser, address, pattern, options.output)
        browser.close()


if __name__ == "__main__":
    main()
