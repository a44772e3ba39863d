"""Walk from the map in JupyterLab to a selection in Python, and count clicks and seconds.

    python benchmarks/notebook.py INDEX [--jupyter-lab jupyter-lab] [--rounds 3]

INDEX was made by ``crystalssl index DATA -o INDEX --metadata ...`` with the crystals and the gaps of the Materials
Project, and has a map. JupyterLab must have ipywidgets and anywidget, and may be installed in another environment:
the kernel is that of the Python which runs this script. A notebook that shows the map is run in headless Chromium
without a graphics processor; all oxides of lithium and cobalt with a gap of 1 to 2 eV are searched in the map, and the
next cell prints what Python has of them. A click is a click, a key that confirms what was typed, or a cell that is
run; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run"]
SHOW = """from deepchem_crystalssl import EmbeddingIndex
from deepchem_crystalssl.explorer import MapWidget
widget = MapWidget(EmbeddingIndex.load({index!r}))
widget"""
USE = "print(len(widget.selection), 'crystals, gaps', *widget.selected['band_gap (eV)'].agg(['min', 'max']))"
QUERY = "Li Co O gap 1..2"


def write_notebook(folder: Path, index: Path) -> None:
    """Write a notebook of two cells, and the description of this script's Python as its kernel."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in (SHOW.format(index=str(index)), USE)]
    notebook.metadata["kernelspec"] = {"name": "here", "display_name": "here", "language": "python"}
    nbformat.write(notebook, folder / "map.ipynb")
    kernel = folder / "share" / "jupyter" / "kernels" / "here"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "here", "language": "python"}))


@contextmanager
def jupyter_lab(program: str, folder: Path) -> Iterator[str]:
    """Address of JupyterLab, which shows a folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "--no-browser", f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    places = os.environ | {"JUPYTER_PATH": str(folder / "share" / "jupyter")}
    root = ["--allow-root"] if os.geteuid() == 0 else []
    with subprocess.Popen([*command, *root], env=places, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"{address}/api")
                    break
                except urllib.error.URLError:
                    time.sleep(0.5)
            yield f"{address}/lab/tree/map.ipynb?reset"
        finally:
            server.terminate()


def walk(browser: Browser, address: str) -> tuple[float, float, float, str]:
    """Seconds to the map, to the answer on it, and to the selection in Python; and what Python prints."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(address)
    page.click(".jp-CodeCell >> nth=0")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    started = time.perf_counter()
    page.keyboard.press("Shift+Enter")
    frame = page.frame_locator("iframe[name='crystalssl-map']")
    frame.locator("html[data-ready]").wait_for(state="attached")
    shown = time.perf_counter()
    frame.locator("#query").fill(QUERY)
    frame.locator("#query").press("Enter")
    frame.locator("#results").wait_for()
    found = time.perf_counter()
    page.click(".jp-CodeCell >> nth=1")
    page.keyboard.press("Shift+Enter")
    said = page.locator(".jp-CodeCell >> nth=1").locator(".jp-OutputArea-output").inner_text()
    used = time.perf_counter()
    page.close()
    return shown - started, found - shown, used - found, said.strip()


def main() -> None:
    """Print clicks and seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--jupyter-lab", default="jupyter-lab", help="the program; by default that on the path")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        write_notebook(Path(name), options.index.resolve())
        with jupyter_lab(options.jupyter_lab, Path(name)) as address:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            rounds = [walk(browser, address) for _ in range(options.rounds)]
            browser.close()
    for says, column in zip(
        ("the cell with the map", "search in the map", "selection in Python"), zip(*rounds), strict=True
    ):
        print(f"{says:25s} {statistics.median(column):5.1f} s (first {column[0]:.1f})")
    print(f"4 clicks (a cell, Enter, and a cell that is chosen and run); Python says {rounds[-1][3]!r}")


if __name__ == "__main__":
    main()
