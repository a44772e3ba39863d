"""Walk the ways of a person through the workbench in a browser, and count clicks and seconds.

    python benchmarks/workbench.py INDEX PATTERN CIF [--rounds 3]

INDEX was made by ``crystalssl index DATA -o INDEX`` and has a map; PATTERN is a measured pattern and CIF a crystal of
the user. ``crystalssl explore INDEX`` is started, and headless Chromium without a graphics processor does what a person
would do. A click is a click, a key that confirms what was typed, or the choice of a file; the seconds are those that
the page takes, without the time of the person. The median of the rounds counts.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run"]
OPEN_SECONDS, ANSWER_SECONDS = 3.0, 2.0


class Person:
    """A person whose clicks are counted."""

    def __init__(self, page: Page):
        self.page, self.clicks = page, 0

    def click(self, selector: str) -> None:
        """Click something."""
        self.clicks += 1
        self.page.click(selector)

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file."""
        self.clicks += 2  # the button, and the file
        self.page.set_input_files(selector, path)

    def confirm(self, selector: str, text: str) -> None:
        """Type a text and press Enter."""
        self.clicks += 1
        self.page.fill(selector, text)
        self.page.press(selector, "Enter")

    def save(self, button: str) -> int:
        """Save a file by a button; its bytes."""
        self.clicks += 1
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=button).click()
        return Path(download.value.path()).stat().st_size


def name_a_powder(person: Person, pattern: Path) -> str:
    """From an unknown pattern to a named phase, its figure and its CIF."""
    person.choose("#file", pattern)
    person.page.wait_for_selector("#powder[data-state='answer']", timeout=120_000)
    assert person.save("Figure (SVG)") > 5_000 and person.save("CIF of the phases") > 500
    return person.page.inner_text(".powder-head")


def find_neighbors(person: Person, cif: Path) -> str:
    """From a CIF to its ten nearest crystals, as CSV."""
    person.choose("#file", cif)
    person.page.wait_for_selector(".novelty", timeout=120_000)
    assert person.save("Save neighbours as CSV") > 200
    return person.page.inner_text(".novelty")


def select_by_property(person: Person) -> str:
    """All oxides of lithium and cobalt with a gap of 1 to 2 eV, as CSV."""
    person.confirm("#query", "Li Co O gap 1..2")
    person.page.wait_for_selector("#results:visible", timeout=60_000)
    assert person.save("Save as CSV") > 50
    return person.page.inner_text("#found")


@contextmanager
def explored(index: Path) -> Iterator[str]:
    """Address of a server of an index."""
    command = [sys.executable, "-m", "deepchem_crystalssl", "explore", str(index), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


def main() -> None:
    """Print clicks and seconds of each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("pattern", type=Path)
    parser.add_argument("cif", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ways: dict[str, Callable[[Person], str]] = {
        "unknown pattern to named phase, figure, CIF": lambda person: name_a_powder(person, options.pattern),
        "own CIF to its nearest crystals, CSV": lambda person: find_neighbors(person, options.cif),
        "Li-Co oxides with a gap of 1 to 2 eV, CSV": select_by_property,
    }
    started = time.perf_counter()
    with explored(options.index) as address, sync_playwright() as playwright:
        print(f"explore says where it listens after {time.perf_counter() - started:.1f} s")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        opening: list[float] = []
        print(f"{'way':45s} clicks  seconds (first)  what the page says")
        for name, way in ways.items():
            times, said, clicks = [], "", 0
            for _ in range(options.rounds):
                page = browser.new_page(viewport={"width": 1440, "height": 900}, accept_downloads=True)
                page.set_default_timeout(120_000)
                started = time.perf_counter()
                page.goto(address)
                page.wait_for_selector("html[data-ready]", state="attached")
                opening.append(time.perf_counter() - started)
                person, started = Person(page), time.perf_counter()
                said = way(person)
                times.append(time.perf_counter() - started)
                clicks = person.clicks
                page.close()
            print(
                f"{name:45s} {clicks:6d}  {statistics.median(times):7.1f} {f'({times[0]:.1f})':>7s}  {said[:90]!r}",
                flush=True,
            )
        print(f"opening the page: {statistics.median(opening):.1f} s in the median; the first, while the server still "
              f"reads, {opening[0]:.1f} s; asked are {OPEN_SECONDS:g} s")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    main()
