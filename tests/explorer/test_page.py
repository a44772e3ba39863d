"""The page in a real browser: what a person sees, finds, draws around, drops, and is never asked for."""

import contextlib
import csv
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from base64 import b64decode
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uvicorn
from matplotlib.path import Path as Polygon
from playwright.sync_api import sync_playwright
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Composition
from pymatgen.io.cif import CifWriter

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.explorer import write_page
from deepchem_crystalssl.explorer.document import render_page
from deepchem_crystalssl.explorer.payload import Payload
from deepchem_crystalssl.explorer.application import make_app
from deepchem_crystalssl.search import EmbeddingIndex, MaterialsMap
from deepchem_crystalssl.search.coloring import coloring
from deepchem_crystalssl.search.queries import distinct_names
from deepchem_crystalssl.search.parts import IndexParts
from deepchem_crystalssl.search.vectors import nearest_to_each

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --enable-unsafe-swiftshader --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-quic"
).split()
GRID = dcs.XRDGrid(wavelength="CuKa1")
PYRITE = "AB2_cP12_205_a_c"
IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>"
BOLD = "<b onmouseover=alert(3)>bold</b>"
SUM, MINUS, SLASH = "=1+1", "-1+cmd|' /C calc'!A0", "gap (eV/atom) 50% <i>"
HOSTILE = (IMAGE, SCRIPT, BOLD, SUM, MINUS, 'a "quoted", name')

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="there is no chromium"),
]


@pytest.fixture(scope="module")
def index(prototypes):
    """With a column of numbers, some of them unknown, and the space group, which the names of prototypes hold."""
    names = [crystal.material_id for crystal in prototypes]
    gaps = np.random.default_rng(0).uniform(-1, 9, len(names)).round(2)
    gaps[::7] = np.nan
    groups = [int(re.search(r"_[a-z][A-Z]\d+_(\d+)_", name)[1]) for name in names]
    metadata = pd.DataFrame({"material_id": distinct_names(names), "band_gap": gaps, "space_group": groups})
    index = EmbeddingIndex.from_structures(prototypes, "small", metadata, patterns=True, progress=False)
    index.make_map(progress=False)
    return index


@pytest.fixture(scope="module")
def hostile(prototypes):
    """Some names are markup, or formulas of a spreadsheet."""
    names = [*HOSTILE, *(f"plain-{place}" for place in range(14))]
    metadata = pd.DataFrame(
        {"material_id": names, "formula": [IMAGE, SCRIPT, BOLD, "=2+2", "Fe2O3", "NaCl"] + 14 * ["Fe3O4"]}
    )
    metadata["chemical_system"], metadata["kind"] = "Fe-O", [IMAGE, SCRIPT, SUM, "iron", "oxide"] * 4
    metadata[SLASH] = np.arange(20) / 7
    built = EmbeddingIndex.build(np.random.default_rng(0).normal(size=(20, 8)), names, metadata=metadata)
    turns = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    map = MaterialsMap(circle, *nearest_to_each(built.vectors, 10))
    return EmbeddingIndex(IndexParts(built.vectors, built.table, map=map))


@pytest.fixture(scope="module")
def offline(index, tmp_path_factory):
    return write_page(index, tmp_path_factory.mktemp("page") / "map.html", "Prototypes").as_uri()


@pytest.fixture(scope="module")
def served(index, tmp_path_factory):
    """The same from a real server, as a person starts it."""
    folder = tmp_path_factory.mktemp("served") / "index"
    index.save(folder)
    command = [sys.executable, "-m", "deepchem_crystalssl.cli", "explore", folder, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().split()[0]
        server.terminate()


@contextlib.contextmanager
def handing_out(page, parts):
    """Address of a server that answers no uploads."""
    app = make_app("", page, parts)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    yield "http://127.0.0.1:{}/".format(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM is not None, "CI needs chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens pages; in the end none may have complained, asked another host or run what is only text."""
    contexts, faults, excused = [], [], []

    def open_page(address, excuse=None, viewport=(1280, 800), **options):
        """A page that is ready; complaints that hold the excuse are none."""
        excused.extend([] if excuse is None else [excuse])
        own = address.split("#")[0]
        size = dict(zip(("width", "height"), viewport, strict=True))
        context = browser.new_context(offline=own.startswith("file:"), viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: None if is_own(request.url, own) else faults.append(request.url))
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not any(excuse in fault for excuse in excused)] == []


def is_own(url, own):
    return url.startswith(("blob:", "data:")) or (url.split("#")[0] == own if own[0] == "f" else url.startswith(own))


@pytest.fixture
def page(visit, offline):
    return visit(offline)


def settle(page):
    """Until what was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page):
    """The canvas, (height, width, 3)."""
    settle(page)
    height, width, numbers = page.evaluate("""() => {
        const canvas = document.getElementById("points"), context = canvas.getContext("2d");
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        let text = "";
        for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
        return [canvas.height, canvas.width, btoa(text)]; }""")
    return np.frombuffer(b64decode(numbers), np.uint8).reshape(height, width, 4)[..., :3]


def n_vivid(page):
    """How many pixels of the canvas have a colour, and not a pale one."""
    settle(page)
    return page.evaluate("""() => {
        const canvas = document.getElementById("points"), context = canvas.getContext("2d");
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        let vivid = 0;
        for (let i = 0; i < data.length; i += 4) {
            const [red, green, blue] = [data[i], data[i + 1], data[i + 2]];
            vivid += Math.max(red, green, blue) - Math.min(red, green, blue) > 60;
        }
        return vivid; }""")


def places(index, page):
    """Where the crystals are on the whole map, in pixels of the window, (n, 2)."""
    width, height = page.evaluate("() => [points.clientWidth, points.clientHeight]")
    return np.array([width, height]) / 2 + index.map.positions * [0.96, -0.96] * min(width, height) / 2


def corner_of(page):
    """Where the map begins in the window."""
    return np.array(
        page.evaluate("() => { const { left, top } = points.getBoundingClientRect(); return [left, top]; }")
    )


def lone_rows(spots, apart=14):
    """Crystals with nothing near them, and not below what lies on the map."""
    distances = np.linalg.norm(spots[:, None] - spots[None], axis=2) + np.diag(np.full(len(spots), np.inf))
    free = (spots > [20, 60]).all(axis=1) & (spots < [840, 660]).all(axis=1)
    rows = np.flatnonzero((distances.min(axis=1) > apart) & free)
    assert len(rows) > 20
    return rows


def find(page, text):
    page.fill("#query", text)
    page.press("#query", "Enter")
    settle(page)


def find_one(page, name):
    """A search by id, until its details are there."""
    find(page, name)
    page.wait_for_function("(name) => document.querySelector('h2 + p')?.firstChild.textContent === name", arg=name)


def color_by(page, name):
    page.evaluate("() => { document.getElementById('key').firstChild.id = 'old'; }")  # it is written anew
    page.select_option("#color", name)
    page.wait_for_selector("#old", state="detached")


def ring(page):
    settle(page)
    circle = page.locator("#marks circle.marked")
    return np.array([float(circle.get_attribute(name)) for name in ("cx", "cy")])


def column(page, place, table="#panel"):
    """Texts of one column of a table."""
    return page.locator(f"{table} tbody td:nth-child({place})").all_inner_texts()


def legend(page):
    rows = page.locator("#key button").all()
    return {row.locator("span").inner_text(): int(row.locator("small").inner_text()) for row in rows}


def row_of(index, name):
    return index.gallery.row_of[name]


# The map


def test_it_opens_with_all_crystals_and_their_kinds(page, index):
    assert page.title() == "Prototypes" == page.inner_text("h1")
    assert page.inner_text("#count") == "288 crystals" and page.locator("#chips").is_hidden()
    kinds = coloring(index.table, "anion_class")
    counts = dict(zip(kinds.categories, np.bincount(kinds.values).tolist(), strict=True))
    assert legend(page) == counts and sum(counts.values()) == 288
    assert page.locator("#loading").count() == 0 and page.locator("#upload").is_hidden()
    assert page.locator("#mode-map").is_hidden()  # there is no other mode in a file
    assert "did not fit" not in page.inner_text("#note") and n_vivid(page) > 2000


def test_every_crystal_is_where_it_belongs_in_the_colour_of_its_kind(page, index):
    page.click("#names")
    spots, shown = places(index, page), picture(page)
    kinds = coloring(index.table, "anion_class")
    colors = legend_colors(page)
    rows = lone_rows(spots)
    across, down = spots[rows].round().astype(int).T
    expected = 0.75 * colors[kinds.values[rows]] + 0.25 * 255
    assert np.abs(shown[down, across] - expected).max() < 4


def legend_colors(page):
    dots = page.eval_on_selector_all("#key i", "(all) => all.map((dot) => getComputedStyle(dot).backgroundColor)")
    return np.array([[int(value) for value in re.findall(r"\d+", dot)] for dot in dots])


def test_the_wheel_zooms_and_a_drag_pans(page, index):
    whole = picture(page)
    find_one(page, PYRITE)
    page.click("#reset")
    start = ring(page)
    assert np.abs(start - places(index, page)[row_of(index, PYRITE)]).max() < 0.1
    assert (picture(page) == whole).all()
    corner = corner_of(page)
    page.mouse.move(*corner + [400, 150])
    page.mouse.down()
    page.mouse.move(*corner + [460, 190], steps=4)
    page.mouse.up()
    assert np.abs(ring(page) - start - [60, 40]).max() < 0.1
    assert (picture(page) != whole).any()
    held = ring(page)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(50)
    moved = (ring(page) - [460, 190]) / (held - [460, 190])  # away from the pointer
    assert moved[0] > 1.3 and abs(moved[0] - moved[1]) < 0.01
    page.click("#reset")
    assert (picture(page) == whole).all()


def test_colour_by_numbers(page, index):
    gaps = index.table["band_gap"].to_numpy()
    color_by(page, "band_gap")
    low, high = (float(page.locator("#key .ends").nth(place).inner_text()) for place in (0, 1))
    known = np.sort(gaps[np.isfinite(gaps)])
    assert low in known[:6].round(2) and high in known[-6:].round(2)
    assert "gradient" in page.locator("#key .bar").evaluate("(bar) => bar.style.background")
    assert page.locator("#key .ends").last.inner_text() == f"{np.isnan(gaps).sum()} unknown, grey"
    spots, shown = places(index, page), picture(page).astype(int)
    rows = lone_rows(spots)
    across, down = spots[rows].round().astype(int).T
    red, green, blue = shown[down, across].T
    assert (np.ptp([red, green, blue], axis=0)[np.isnan(gaps[rows])] < 15).all() and np.isnan(gaps[rows]).any()
    yellow, violet = rows[gaps[rows] > 8], rows[gaps[rows] < 0]
    assert (blue < red)[np.isin(rows, yellow)].all() and (blue > green)[np.isin(rows, violet)].all()
    assert len(yellow) and len(violet)


def shown_rows(page, index):
    """Of the crystals that stand alone, those in full colour, and all of them."""
    spots, shown = places(index, page), picture(page)
    rows = lone_rows(spots)
    across, down = spots[rows].round().astype(int).T
    vivid = np.ptp(shown[down, across].astype(int), axis=1) > 40
    return rows[vivid], rows


def test_colour_by_crystal_system_and_two_kinds(page, index):
    color_by(page, "crystal_system")
    page.click("#names")
    systems = coloring(index.table, "crystal_system")
    counts = dict(zip(systems.categories, np.bincount(systems.values).tolist(), strict=True))
    assert legend(page) == counts and len(counts) == 7
    cubic, tetragonal = (page.locator("#key button", has_text=name) for name in ("cubic", "tetragonal"))
    cubic.click()
    assert cubic.get_attribute("aria-pressed") == "true"
    wait_for_count(page, counts["cubic"])
    kinds = np.array([*systems.categories])[systems.values]
    assert set(found_names(page)) == set(index.table["material_id"][kinds == "cubic"])
    page.click("#clear")
    settle(page)
    full, rows = shown_rows(page, index)
    assert full.tolist() == rows[kinds[rows] == "cubic"].tolist()
    tetragonal.click()
    wait_for_count(page, counts["cubic"] + counts["tetragonal"])
    assert [button.get_attribute("aria-pressed") for button in (cubic, tetragonal)] == ["true", "true"]
    cubic.click()
    wait_for_count(page, counts["tetragonal"])
    tetragonal.click()
    wait_for_count(page, 288)


def wait_for_count(page, count):
    of = "288 crystals" if count == 288 else f"{count} of 288 crystals"
    page.wait_for_function("(text) => document.getElementById('count').textContent === text", arg=of)


def found_names(page):
    return column(page, 1, "#results")


def test_the_card_names_what_the_pointer_is_on_and_a_click_opens_it(page, index):
    spots, corner = places(index, page), corner_of(page)
    for row in lone_rows(spots)[:3]:
        page.mouse.move(*spots[row] + corner + 1)
        page.wait_for_selector("#card:visible")
        formula, name, kind = page.inner_text("#card").split("\n")
        assert [formula, name] == index.table.loc[row, ["formula", "material_id"]].tolist()
        assert kind.startswith("anion class: ")
    page.mouse.click(*spots[row] + corner + 1)
    assert page.inner_text("#panel h2") == formula and page.locator("#panel p").first.inner_text() == name
    assert np.abs(ring(page) - spots[row]).max() < 0.1
    near = [[float(one.get_attribute(name)) for name in ("cx", "cy")] for one in page.locator("#marks .neighbor").all()]
    assert np.abs(near - spots[index.map.neighbors[row][:10]]).max() < 0.1
    shown = picture(page)
    white = np.argwhere((shown[60:200, 340:600] == 255).all(axis=2))  # with nothing in reach
    down, across = next(c for c in white + [60, 340] if np.linalg.norm(spots - c[::-1], axis=1).min() > 20)
    page.mouse.move(*corner + [across, down])
    page.wait_for_selector("#card", state="hidden")


def test_regions_have_names_and_few_crystals_their_formulas(page, index):
    page.wait_for_selector("#marks text.region", state="attached")
    names = page.locator("#marks text.region").all_text_contents()
    assert "O" in names and len(set(names)) > 2
    find_one(page, PYRITE)
    page.wait_for_selector("#marks text.formula", state="attached")
    assert "FeS\u2082" in page.locator("#marks text.formula").all_text_contents()
    page.click("#names")
    settle(page)
    assert page.locator("#marks text").count() == 0


def test_two_columns_as_axes(page, index):
    page.click("#names")
    page.click("#axes summary")
    page.select_option("#x", "num_sites")
    page.wait_for_selector("#axis-y:visible")  # one column alone is no plot
    page.select_option("#y", "band_gap")
    page.wait_for_function("() => document.querySelector('#axis-y b').textContent === 'band gap'")
    settle(page)
    sites, gaps = index.table["num_sites"].to_numpy(float), index.table["band_gap"].to_numpy()
    low, high = np.log10([sites.min(), sites.max()])
    across = 0.94 * (2 * (np.log10(sites) - low) / (high - low) - 1)
    up = 0.94 * (2 * (gaps - np.nanmin(gaps)) / (np.nanmax(gaps) - np.nanmin(gaps)) - 1)
    half = np.array(page.evaluate("() => [points.clientWidth, points.clientHeight]")) / 2
    spots = half * (1 + np.stack([across, -up], axis=1))
    corner = corner_of(page)
    known = np.flatnonzero(np.isfinite(gaps))
    row = next(row for row in lone_rows(np.nan_to_num(spots[known], nan=-99.0)))
    page.mouse.click(*spots[known[row]] + corner)
    assert page.locator("#panel p").first.inner_text() == index.table["material_id"][known[row]]
    assert "x=num_sites" in page.url and "logarithmic" in page.inner_text("#axis-x b")
    page.reload()
    page.wait_for_selector("#axis-x:visible")
    page.click("#axes summary")
    page.select_option("#x", "")
    page.wait_for_selector("#axis-y", state="hidden")
    page.click("#reset")
    settle(page)
    assert np.abs(ring(page) - places(index, page)[known[row]]).max() < 0.1


# Search and details


def test_an_id_opens_all_that_is_known(page, index):
    row = row_of(index, PYRITE)
    find(page, f" {PYRITE} ")
    page.wait_for_selector(".structure[data-atoms]")
    assert page.inner_text("#panel h2") == "FeS2" and f"crystal={PYRITE}" in page.url
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert (
        facts["crystal system"] == "cubic"
        and facts["atoms in the cell"] == "12"
        and facts["space group"] == "Pa-3 (205)"
    )
    assert facts["band gap"] == f"{index.table['band_gap'][row]:g}"
    # 4 Fe on the corners and faces of the cell become 14, of S none lies there.
    assert page.get_attribute(".structure", "data-atoms") == "22"
    neighbors = index.map.neighbors[row][:10]
    assert column(page, 2) == index.table["material_id"][neighbors].tolist()
    assert column(page, 1) == index.table["formula"][neighbors].tolist()
    assert np.abs(np.array(column(page, 3), float) - index.map.distances[row][:10]).max() < 2e-3


def test_the_structure_is_drawn_and_of_many_the_last(page, index):
    find_one(page, PYRITE)
    for _ in range(4):
        page.wait_for_selector(".structure[data-atoms] canvas")
        name = column(page, 2)[0]
        page.locator("#panel tbody tr").first.click()
        page.wait_for_function("(name) => document.querySelector('#panel p').textContent === name", arg=name)
    page.wait_for_selector(".structure[data-atoms] canvas")
    drawn = page.locator(".structure").screenshot()
    assert len(drawn) > 8_000  # white alone takes 2,000 bytes
    assert page.locator(".structure canvas").count() == 1


def test_of_a_small_cell_more_is_drawn(page):
    find_one(page, "AB_cF8_216_c_a")
    page.wait_for_selector(".structure[data-atoms]")
    # Two by two by two cells: of the site on the corners 27, of the other 8.
    assert page.get_attribute(".structure", "data-atoms") == "35"


def test_simulated_lines_are_those_of_pymatgen(page, prototypes):
    crystal = next(crystal for crystal in prototypes if crystal.material_id == PYRITE)
    pattern = XRDCalculator("CuKa1").get_pattern(crystal.to_structure(), two_theta_range=(5, 90))
    find_one(page, PYRITE)
    page.wait_for_selector("svg.pattern")
    ends = page.eval_on_selector_all(
        "svg.pattern line[stroke-width]",
        "(all) => all.map((line) => ['x1', 'x2', 'y1', 'y2'].map((name) => +line.getAttribute(name)))",
    )
    left, right, bottom, top = np.array(ends).T
    angles, heights = 5 + (left - 8) / (372 - 8) * 85, (bottom - top) / 114
    strong = pattern.y > 15
    assert (left == right).all() and strong.sum() > 6 and heights.max() == 1.0
    for angle, height in zip(pattern.x[strong], pattern.y[strong], strict=True):
        nearest = np.abs(angles - angle).argmin()
        assert abs(angles[nearest] - angle) < 0.02 and abs(heights[nearest] - height / 100) < 0.05


def composed_of(*elements):
    return lambda one: set(elements) <= {str(element) for element in one}


COMPOSITIONS = {
    "S2Fe": lambda one: one.reduced_formula == "FeS2",
    "Fe2S4": lambda one: one.reduced_formula == "FeS2",
    "O4Al2Mg": lambda one: one.reduced_formula == "MgAl2O4",
    "Mg(AlO2)2": lambda one: one.reduced_formula == "MgAl2O4",
    "Mg(Al(O)2)2": lambda one: one.reduced_formula == "MgAl2O4",
    "Si-O": lambda one: one.chemical_system == "O-Si",
    "O\u2013Si": lambda one: one.chemical_system == "O-Si",
    "Si O": composed_of("Si", "O"),
    "O, Ca": composed_of("Ca", "O"),
    "O": composed_of("O"),
}


def test_search_by_composition(page, index):
    before = n_vivid(page)
    for query, wanted in COMPOSITIONS.items():
        rows = [row for row, formula in enumerate(index.table["formula"]) if wanted(Composition(formula))]
        names = index.table["material_id"][rows].tolist()
        find(page, query)
        assert page.get_attribute("#message", "class") != "error", page.inner_text("#message")
        if len(rows) == 1:
            page.wait_for_selector("dl.facts")
            assert page.locator("#panel p").first.inner_text() == names[0], query
        else:
            wait_for_count(page, len(rows))
            assert page.inner_text("#message").startswith(f"{len(rows)} found: "), query
            assert (
                found_names(page) == names and page.locator(".chip").inner_text() == f"\u201c{query}\u201d\u00d7"
            ), query
            page.click(".chip")
            wait_for_count(page, 288)
            assert page.input_value("#query") == ""
        page.click("#reset")
        assert page.locator("#message").is_hidden() or len(rows) == 1
    page.wait_for_timeout(300)
    assert n_vivid(page) > 0.8 * before


@pytest.mark.parametrize(
    "query, wanted",
    [
        ("Fm-3m", [225]),
        ("fm3m", [225]),
        ("sg F m -3 m", [225]),
        ("space group 225", [225]),
        ("space_group=225", [225]),
        ("P-1", [2]),
        ("P121/c1", [14]),
        ("sg 195..230", range(195, 231)),
    ],
)
def test_search_by_space_group(page, index, query, wanted):
    names = index.table["material_id"][index.table["space_group"].isin(list(wanted))].tolist()
    find(page, query)
    if len(names) == 1:
        page.wait_for_selector("dl.facts")
        assert page.locator("#panel p").first.inner_text() == names[0]
    else:
        wait_for_count(page, len(names))
        assert found_names(page) == names


def test_what_is_in_the_middle_stays_there_when_the_map_becomes_smaller(page, index):
    find_one(page, PYRITE)
    page.wait_for_function("() => location.hash.includes('view=')")
    view = lambda: np.array(re.search("view=([^&]+)", page.url)[1].split("+"), float)  # noqa: E731
    before, height = view(), page.evaluate("() => points.clientHeight")
    find(page, "O")
    page.wait_for_selector("#results tbody tr")
    assert page.evaluate("() => points.clientHeight") < height - 50
    page.wait_for_timeout(600)  # longer than the map takes to tell its view
    assert np.abs(view() - before).max() < 1e-3
    find(page, "unobtainium!")
    page.wait_for_timeout(600)
    assert page.get_attribute("#message", "class") == "error" and "Type an id" in page.inner_text("#message")


def test_what_is_not_there_is_said(page):
    explained = dict.fromkeys(("unobtainium!", "((", "constructor"), "Type an id, a formula")
    for query, sentence in explained.items():
        find(page, query)
        page.wait_for_selector("#message:visible")
        assert page.get_attribute("#message", "class") == "error" and len(page.inner_text("#message")) > 30, sentence
        assert page.locator("#panel dl").count() == 0 and page.inner_text("#count") == "288 crystals"
    for query in ("mp-999999999", "OgTs2", "Og-Ts", "Og Ts"):
        find(page, query)
        page.wait_for_selector("#message:visible")
        assert page.inner_text("#message").strip() and page.inner_text("#count") == "288 crystals", query


def test_the_address_names_the_crystal(visit, offline, index):
    page = visit(f"{offline}#{PYRITE}")
    assert page.inner_text("#panel h2") == "FeS2" and page.locator("#marks .marked").count() == 1
    name = column(page, 2)[3]
    page.locator("#panel tbody tr").nth(3).click()
    page.wait_for_url(f"**crystal={name}*")
    assert page.locator("#panel p").first.inner_text() == name
    page.evaluate("(name) => { location.hash = name; }", PYRITE)
    page.wait_for_function("() => document.querySelector('#panel h2').textContent === 'FeS2'")


@pytest.mark.parametrize(
    "address", ["nothing", "%", "%E0%A4", "crystal=%E0%A4%A", "lasso=1 2 x", "range:gap=2..1&is:=a"]
)
def test_an_address_of_nothing_opens_the_map(visit, offline, address):
    page = visit(f"{offline}#{address}")
    assert "Click a point" in page.inner_text("#panel") and n_vivid(page) > 2000
    assert page.inner_text("#count") == "288 crystals"


# Filters hold together


def test_filters_intersect_and_each_is_removed_by_its_chip(page, index):
    table, classes = index.table, coloring(index.table, "anion_class")
    oxides = classes.values == classes.categories.index("oxide")
    gaps = table["band_gap"].to_numpy()
    find(page, "O")
    wait_for_count(page, sum("O" in one.split("-") for one in table["chemical_system"]))
    color_by(page, "band_gap")  # a colour takes no filter away
    assert page.locator(".chip").count() == 1
    page.click("#filter")
    page.fill("[aria-label='band gap at least']", "2")
    page.press("[aria-label='band gap at least']", "Enter")
    page.get_by_role("button", name="Si", exact=True).click()  # must, may, must not
    page.get_by_role("button", name="Si: must be contained").click()
    page.get_by_role("button", name="Si: may be contained").click()
    has = lambda symbol: np.array([symbol in one.split("-") for one in table["chemical_system"]])  # noqa: E731
    wanted = has("O") & (gaps >= 2) & ~has("Si")
    wait_for_count(page, int(wanted.sum()))
    assert found_names(page) == table["material_id"][wanted].tolist()
    draw_lasso(page, [(2, 2), (300, 2), (300, 300), (2, 300)])
    inside = Polygon([(2, 2), (300, 2), (300, 300), (2, 300)]).contains_points(places(index, page))
    assert [chip.split("\u00d7")[0] for chip in page.locator(".chip").all_inner_texts()] == [
        "\u201cO\u201d", "without Si", "band gap at least 2", "inside the lasso", "Remove all"]  # fmt: skip
    address = page.url
    page.locator(".chip", has_text="without Si").click()
    page.locator(".chip", has_text="lasso").click()
    wait_for_count(page, int((has("O") & (gaps >= 2)).sum()))
    page.go_back()
    page.go_back()
    assert page.url == address and page.locator(".chip").count() == 5
    page.click(".chip.all")
    wait_for_count(page, 288)
    assert oxides.sum() == 45 and inside.sum() < 288


def test_filters_that_no_crystal_passes_are_said(page):
    find(page, "Si")
    page.wait_for_selector("#results tbody tr")
    assert page.locator("#none").is_hidden() and page.locator("#csv").is_visible()
    page.click("#filter")
    page.fill("[aria-label='band gap at least']", "1e6")
    page.press("[aria-label='band gap at least']", "Enter")
    wait_for_count(page, 0)
    page.wait_for_selector("#none:visible")
    assert page.locator("#results table").is_hidden() and page.locator("#csv").is_hidden()
    page.locator(".chip", has_text="band gap").click()
    page.wait_for_selector("#results tbody tr")
    assert page.locator("#none").is_hidden()


def test_the_cross_of_the_field_ends_the_search_alone(page):
    page.locator("#key button", has_text="oxide").click()
    wait_for_count(page, 45)
    find(page, "Si")
    page.wait_for_selector(".chip >> nth=1")
    box = page.locator("#query").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 17, box["y"] + box["height"] / 2)
    wait_for_count(page, 45)
    assert page.input_value("#query") == "" and page.locator(".chip").all_inner_texts() == ["anion class: oxide\u00d7"]


def test_details_are_there_before_what_takes_longer(visit, served, index):
    page = visit(served)
    page.route("**/parts/structures*", lambda route: None)  # they never come
    find(page, PYRITE)
    page.wait_for_selector("dl.facts", timeout=2_000)
    assert page.inner_text("#panel h2") == "FeS2" and len(column(page, 2)) == 10
    assert page.locator("#marks .neighbor").count() == 10
    page.unroute("**/parts/structures*")


def test_an_unknown_crystal_in_the_address_is_said(visit, offline):
    page = visit(f"{offline}#crystal=mp-0&must=O")
    assert page.inner_text("#message") == "There is no crystal mp-0 here." and page.locator(".chip").count() == 1


def test_the_questions_of_the_first_visit_have_answers(page):
    for k in range(3):
        page.locator(".questions button").nth(k).click()
        page.wait_for_function("() => document.querySelector('dl.facts') || document.querySelector('.chip')")
        page.go_back()
        page.wait_for_selector(".questions")


def test_a_link_reproduces_what_is_seen(visit, offline, index):
    page = visit(
        f"{offline}#search=O&is%3Aanion_class=oxide&range%3Aband_gap=2..5&must=O&color=crystal_system&crystal={PYRITE}"
    )
    gaps = index.table["band_gap"].to_numpy()
    oxides = np.array(["O" in one.split("-") for one in index.table["chemical_system"]])
    wait_for_count(page, int((oxides & (gaps >= 2) & (gaps <= 5)).sum()))
    assert page.input_value("#query") == "O" and page.input_value("#color") == "crystal_system"
    assert page.inner_text("#panel h2") == "FeS2" and page.locator(".chip").count() == 5


def test_a_range_is_dragged_in_a_histogram(page, index):
    page.click("#filter")
    figure = page.locator(".histogram", has_text="band gap").locator("svg")
    box = figure.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 20, steps=5)
    page.mouse.up()
    gaps = index.table["band_gap"].to_numpy()
    low, high = np.nanmin(gaps), np.nanmax(gaps)
    page.wait_for_selector(".chip")
    count = int(page.inner_text("#count").split()[0])
    assert abs(count - (gaps > (low + high) / 2).sum()) <= 3


# The lasso and its table


def draw_lasso(page, corners, finger=None):
    """Corners are those of the map; with a finger, by touch."""
    page.click("#lasso")
    assert page.get_attribute("#lasso", "aria-pressed") == "true"
    at = [(corner_of(page) + corner).tolist() for corner in [*corners, corners[0]]]
    if finger is not None:
        steps = [np.linspace(a, b, 6) for a, b in zip(at, at[1:], strict=False)]
        for kind, points in (
            ("touchStart", [at[0]]),
            *(("touchMove", [p]) for step in steps for p in step),
            ("touchEnd", []),
        ):
            touches = [{"x": float(x), "y": float(y)} for x, y in points]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    else:
        page.mouse.move(*at[0])
        page.mouse.down()
        for corner in at[1:]:
            page.mouse.move(*corner, steps=6)
        page.mouse.up()
    settle(page)


def all_around(page):
    width, height = page.evaluate("() => [points.clientWidth - 2, points.clientHeight - 2]")
    return [(2, 2), (width, 2), (width, height), (2, height)]


def saved_table(page, folder):
    with page.expect_download() as download:
        page.click("#csv")
    assert download.value.suggested_filename.endswith(".csv")
    download.value.save_as(folder / "saved.csv")
    with open(folder / "saved.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_lasso_around_all_and_its_end(page, index):
    draw_lasso(page, all_around(page))
    page.wait_for_selector("#results:visible")
    assert page.inner_text("#found") == "288 crystals, 200 are shown" and page.locator("#marks path").count() == 1
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Escape")
    page.wait_for_selector("#results", state="hidden")
    settle(page)
    assert page.locator("#marks path").count() == 0


def test_a_lasso_holds_what_it_is_drawn_around(page, index, tmp_path):
    spots = places(index, page)
    corners = [(330, 120), (600, 90), (560, 400), (800, 520), (500, 600)]
    rows = np.flatnonzero(Polygon([*corners, corners[0]]).contains_points(spots))
    assert 10 < len(rows) < 200
    draw_lasso(page, corners)
    page.wait_for_selector("#results:visible")
    names = index.table["material_id"][rows].tolist()
    assert page.inner_text("#found") == f"{len(rows)} crystals"
    assert found_names(page) == names
    assert column(page, 2, "#results") == index.table["formula"][rows].tolist()
    table = saved_table(page, tmp_path)
    assert [line["material_id"] for line in table] == names
    gaps = [line["band_gap"] for line in table]
    assert gaps == ["" if np.isnan(gap) else f"{gap:g}" for gap in index.table["band_gap"][rows]]
    assert [line["formula"] for line in table] == index.table["formula"][rows].tolist()
    assert {line["crystal_system"] for line in table} <= set(coloring(index.table, "crystal_system").categories)
    page.locator("#results tbody tr").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel dl")
    assert page.locator("#panel p").first.inner_text() == names[2]


def test_a_table_is_sorted_and_its_columns_are_chosen(page, index):
    find(page, "O")
    page.wait_for_selector("#results:visible")
    page.get_by_role("button", name="atoms in the cell").click()
    numbers = [int(text) for text in column(page, 6, "#results")]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) > 3
    page.get_by_role("button", name="atoms in the cell").click()
    assert [int(text) for text in column(page, 6, "#results")] == sorted(numbers)
    assert page.get_attribute("#results th:nth-child(6)", "aria-sort") == "ascending"
    page.get_by_role("button", name="formula", exact=True).click()
    formulas = column(page, 2, "#results")
    assert formulas[0].startswith("Al") and formulas[-1].startswith("Z")
    page.click("#results summary")
    page.get_by_label("band gap", exact=True).uncheck()
    page.wait_for_function(
        "() => ![...document.querySelectorAll('#results th')].some((one) => one.textContent === 'band gap')"
    )


def test_the_slash_leads_to_the_search(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query" and page.input_value("#query") == ""
    page.keyboard.type("Fe/S")
    assert page.input_value("#query") == "Fe/S"


# What does not fit, and what is hostile


def test_a_small_file_says_what_it_lacks(visit, index, offline, tmp_path):
    whole = os.path.getsize(offline.removeprefix("file://")) / 1e6
    for megabytes, lacks in ((0.1, ["structures", "patterns"]), (whole - 0.004, ["patterns"])):
        path = write_page(index, tmp_path / "small.html", megabytes=megabytes)
        page = visit(path.as_uri())
        note = page.inner_text("#note")
        assert [kind for kind in ("structures", "patterns") if f"{kind} did not fit" in note] == lacks
        find_one(page, PYRITE)
        assert column(page, 2) and f"{lacks[-1]} did not fit" in page.inner_text("#panel").replace("\n", " ")
        assert page.locator(".structure").count() == 2 - len(lacks) and page.locator("svg.pattern").count() == 0
    assert path.stat().st_size < megabytes * 1e6


@pytest.mark.parametrize("way", ["offline", "served"])
def test_markup_is_shown_and_not_run(visit, hostile, tmp_path, way):
    title = f"</title>{SCRIPT}{{{{script}}}}"
    with contextlib.ExitStack() as stack:
        if way == "served":
            address = stack.enter_context(handing_out(render_page(title), Payload(hostile)))
        else:
            address = write_page(hostile, tmp_path / "map.html", title).as_uri()
        see_markup(visit(address), title, hostile, tmp_path)


def see_markup(page, title, hostile, tmp_path):
    assert page.inner_text("h1") == page.title() == title
    for name, formula in zip(HOSTILE, hostile.table["formula"], strict=False):
        find_one(page, name)
        assert page.inner_text("#panel h2") == formula
        page.mouse.move(*ring(page) + corner_of(page))
        page.wait_for_selector("#card:visible")
        assert page.inner_text("#card").split("\n")[:2] == [formula, name]
    for name in (SLASH, "kind"):
        color_by(page, name)
    assert legend(page) == dict.fromkeys((IMAGE, SCRIPT, SUM, "iron", "oxide"), 4)
    page.click("#reset")
    draw_lasso(page, all_around(page))
    page.wait_for_selector("#results:visible")
    page.locator("#results td", has_text="bold").first.hover()
    assert found_names(page) == hostile.table["material_id"].tolist()
    saved = [line["material_id"] for line in saved_table(page, tmp_path)]
    assert saved[:6] == [IMAGE, SCRIPT, BOLD, f"'{SUM}", f"'{MINUS}", 'a "quoted", name']
    assert page.evaluate("document.querySelectorAll('body img, body b:not(#card b), h1 *').length") == 0


@pytest.mark.parametrize("viewport", [(500, 900), (1000, 500)])
def test_nothing_is_cut_off_in_a_small_window(visit, offline, viewport):
    page = visit(f"{offline}#{PYRITE}", viewport=viewport)
    wide, room = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= room and n_vivid(page) > 100
    assert page.evaluate("points.clientWidth") >= 0.9 * min(viewport[0], 600)  # narrow, it has a row of its own
    assert page.locator("#panel tbody tr").count() == 10


# By touch, by keyboard, in the dark, on a telephone


def test_a_lasso_by_finger(visit, offline, index):
    page = visit(offline, viewport=(390, 844), has_touch=True)
    corners = [(60, 110), (330, 110), (330, 400), (60, 400)]
    rows = np.flatnonzero(Polygon([*corners, corners[0]]).contains_points(places(index, page)))
    draw_lasso(page, corners, finger=page.context.new_cdp_session(page))
    page.wait_for_selector("#results:visible")
    assert page.inner_text("#found").split(",")[0] == f"{len(rows)} crystals" and 10 < len(rows) < 288


@pytest.mark.parametrize("viewport", [(390, 844), (860, 600), (1280, 800)])
def test_nothing_lies_on_the_tools_or_on_the_map(visit, offline, viewport):
    page = visit(offline, viewport=viewport)
    boxes = page.evaluate("""() => ["#tools", "#count", "#legend", "#search", "#top h1", "#filter"].map((name) => {
        const { left, top, right, bottom } = document.querySelector(name).getBoundingClientRect();
        return [left, top, right, bottom]; })""")
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= viewport[0] + 0.5
        for other in boxes[:i]:
            assert left >= other[2] or right <= other[0] or top >= other[3] or bottom <= other[1], (boxes[i], other)
    bottom_of_map = page.evaluate("points.getBoundingClientRect().bottom")
    assert boxes[2][1] >= bottom_of_map - 0.5  # the legend is beside the points


def test_the_keyboard_reaches_everything(page, index):
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"query", "filter", "points", "pan", "lasso", "names", "reset", "color"} <= reached
    assert {f"{name}{count}" for name, count in legend(page).items()} <= reached
    page.focus("#points")
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**view=1.5*")
    page.keyboard.press("0")
    page.wait_for_url(lambda address: "view=" not in address)
    find(page, "O")
    page.wait_for_selector("#results:visible")
    page.locator("#results tbody tr").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dl.facts")


def test_the_page_is_dark_where_the_system_is(visit, offline, index):
    page = visit(offline, color_scheme="dark")
    page.click("#names")
    shown = picture(page)
    assert shown[2, 2].tolist() == [0x12, 0x18, 0x1F]
    colors, rows = legend_colors(page), lone_rows(places(index, page))
    across, down = places(index, page)[rows].round().astype(int).T
    kinds = coloring(index.table, "anion_class")
    expected = 0.75 * colors[kinds.values[rows]] + 0.25 * np.array([0x12, 0x18, 0x1F])
    assert np.abs(shown[down, across] - expected).max() < 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_is_found(visit, offline, scheme):
    axe = Path(__file__).parents[2] / "tools/front_end/node_modules/axe-core/axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core is not installed: npm ci in tools/front_end")
    page = visit(f"{offline}#crystal={PYRITE}&search=O", color_scheme=scheme)
    page.click("#filter")
    page.wait_for_selector(".histogram")
    page.wait_for_selector(".structure[data-atoms]")
    page.evaluate(axe.read_text())
    found = page.evaluate(
        "async () => (await axe.run()).violations.map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 120))])"
    )
    assert found == []


# Uploads


@pytest.fixture(scope="module")
def pyrite(prototypes):
    return next(crystal for crystal in prototypes if crystal.material_id == PYRITE)


@pytest.fixture(scope="module")
def measured(pyrite):
    """Its pattern, as .xy."""
    counts = np.random.default_rng(0).poisson(5000 * measure_patterns([pyrite], HARD, GRID, 0)[0].astype(float) + 80)
    return "\n".join(f"{x:.3f} {y}" for x, y in zip(GRID.two_theta, counts, strict=True))


def drop(page, name, text):
    """A file from outside, dragged over the page and let go."""
    files = page.evaluate_handle(
        "([name, text]) => { const all = new DataTransfer(); all.items.add(new File([text], name)); return all; }",
        [name, text],
    )
    page.dispatch_event("#points", "dragenter", {"dataTransfer": files})
    assert page.locator("#drop").is_visible()
    page.dispatch_event("#points", "dragover", {"dataTransfer": files})
    page.dispatch_event("#points", "drop", {"dataTransfer": files})
    assert page.locator("#drop").is_hidden()


def test_a_dropped_crystal_is_placed_beside_its_like(visit, served, index, pyrite, tmp_path):
    page = visit(served)
    drop(page, f"{IMAGE}.cif", str(CifWriter(pyrite.to_structure(), symprec=0.01)))
    page.wait_for_selector(".structure[data-atoms] canvas", timeout=60_000)
    assert page.inner_text("#panel h2") == "FeS2" and page.locator("#panel p").first.inner_text() == f"{IMAGE}.cif"
    assert page.get_attribute(".structure", "data-atoms") == "22"
    assert column(page, 2)[0] == PYRITE and column(page, 4)[0] == "0.000" and len(column(page, 1)) == 12
    assert page.locator("svg.pattern line[stroke-width]").count() > 10
    page.click("#reset")
    assert np.abs(ring(page) - places(index, page)[row_of(index, PYRITE)]).max() < 0.1
    assert "has a close relative here: for 100 %" in page.inner_text(".novelty") or "for 99 %" in page.inner_text(
        ".novelty"
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Save neighbours as CSV").click()
    download.value.save_as(tmp_path / "neighbours.csv")
    assert pd.read_csv(tmp_path / "neighbours.csv")["id"].tolist() == column(page, 2)
    page.locator("#panel tbody tr").first.click()
    page.wait_for_selector("dl.facts dt")
    assert f"crystal={PYRITE}" in page.url


def test_a_chosen_file_and_a_broken_one(visit, served, pyrite):
    page = visit(served, excuse="status of 4")
    content = {"name": "broken.cif", "mimeType": "text/plain", "buffer": b"data_x\nloop_\n_a\n_b\n1 2 3\n"}
    page.set_input_files("#file", content)
    page.wait_for_selector("#message.error", timeout=60_000)
    assert "broken.cif" in page.inner_text("#message") and page.locator("#panel dl").count() == 0
    drop(page, "thesis.tex", "hello")
    page.wait_for_function("() => document.getElementById('message').textContent.includes('thesis.tex')")
    good = str(CifWriter(pyrite.to_structure(), symprec=0.01)).encode()
    page.set_input_files("#file", content | {"name": "pyrite.cif", "buffer": good})
    page.wait_for_selector(".novelty")
    assert page.inner_text("#panel h2") == "FeS2" and page.locator("#message").is_hidden()
    drop(page, "large.cif", "x" * 9_000_000)
    page.wait_for_selector("#message.error")
    assert "large.cif is larger" in page.inner_text("#message")
    find(page, "Si-O")
    assert "found" in page.inner_text("#message") and page.locator("#message.error").count() == 0


def test_a_dropped_pattern_opens_the_powder_mode_and_a_candidate_leads_to_the_map(visit, served, index, measured):
    page = visit(served)
    drop(page, "measured.xy", measured)
    page.wait_for_selector("#powder[data-state='answer']", timeout=60_000)
    assert page.get_attribute("#mode-powder", "aria-pressed") == "true" and "mode=powder" in page.url
    assert page.locator("#map").is_hidden()
    page.click("#mode-map")
    page.wait_for_selector("#map:visible")
    assert page.locator("#powder").is_hidden()
    page.go_back()
    page.wait_for_selector("#powder:visible")


def test_a_server_that_is_gone_is_said(visit, served, pyrite):
    page = visit(served, excuse="ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    drop(page, "pyrite.cif", "data_x")
    page.wait_for_selector("#message.error")
    assert page.inner_text("#message") == "The server does not answer."
