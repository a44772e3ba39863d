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
from deepchem_crystalssl.explorer.server import make_app
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

    def open_page(address, excuse=None, viewport=(1280, 800)):
        """A page that is ready; complaints that hold the excuse are none."""
        excused.extend([] if excuse is None else [excuse])
        own = address.split("#")[0]
        context = browser.new_context(
            offline=own.startswith("file:"), viewport=dict(zip(("width", "height"), viewport, strict=True))
        )
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


def lone_rows(spots, apart=14):
    """Crystals with nothing near them, and not below what lies on the map."""
    distances = np.linalg.norm(spots[:, None] - spots[None], axis=2) + np.diag(np.full(len(spots), np.inf))
    free = (spots > [320, 80]).all(axis=1) & (spots < [840, 780]).all(axis=1)
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
    page.evaluate("() => { document.getElementById('key').firstChild.id = 'old'; }")
    page.select_option("#color", name)
    page.wait_for_selector("#old", state="detached")


def ring(page):
    settle(page)
    circle = page.locator("#marks circle")
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
    assert page.inner_text("#count").startswith("288 crystals")
    kinds = coloring(index.table, "anion_class")
    counts = dict(zip(kinds.categories, np.bincount(kinds.values).tolist(), strict=True))
    assert legend(page) == counts and sum(counts.values()) == 288
    assert page.locator("#loading").count() == 0 and page.locator("#upload").is_hidden()
    assert "did not fit" not in page.inner_text("#note") and n_vivid(page) > 2000


def test_every_crystal_is_where_it_belongs_in_the_colour_of_its_kind(page, index):
    spots, shown = places(index, page), picture(page)
    kinds = coloring(index.table, "anion_class")
    dots = page.eval_on_selector_all("#key i", "(all) => all.map((dot) => getComputedStyle(dot).backgroundColor)")
    colors = np.array([[int(value) for value in re.findall(r"\d+", dot)] for dot in dots])
    rows = lone_rows(spots)
    across, down = spots[rows].round().astype(int).T
    expected = 0.75 * colors[kinds.values[rows]] + 0.25 * 255
    assert np.abs(shown[down, across] - expected).max() < 4


def test_the_wheel_zooms_and_a_drag_pans(page, index):
    whole = picture(page)
    find_one(page, PYRITE)
    page.click("#reset")
    start = ring(page)
    assert np.abs(start - places(index, page)[row_of(index, PYRITE)]).max() < 0.1
    assert (picture(page) == whole).all()
    page.mouse.move(400, 150)
    page.mouse.down()
    page.mouse.move(460, 190, steps=4)
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
    low, high = map(float, page.locator("#key .ends").first.inner_text().split())
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


def test_colour_by_crystal_system_and_one_kind_alone(page, index):
    color_by(page, "crystal_system")
    systems = coloring(index.table, "crystal_system")
    counts = dict(zip(systems.categories, np.bincount(systems.values).tolist(), strict=True))
    assert legend(page) == counts and len(counts) == 7
    all_shown = n_vivid(page)
    cubic, tetragonal = (page.locator("#key button", has_text=name) for name in ("cubic", "tetragonal"))
    cubic.click()
    assert cubic.get_attribute("aria-pressed") == "true" and 0 < n_vivid(page) < 0.6 * all_shown
    spots, shown = places(index, page), picture(page)
    rows = lone_rows(spots)
    across, down = spots[rows].round().astype(int).T
    vivid = np.ptp(shown[down, across].astype(int), axis=1) > 60
    assert (vivid == (systems.values[rows] == systems.categories.index("cubic"))).all()
    tetragonal.click()
    assert [button.get_attribute("aria-pressed") for button in (cubic, tetragonal)] == ["false", "true"]
    tetragonal.click()
    assert tetragonal.get_attribute("aria-pressed") == "false" and n_vivid(page) == all_shown


def test_the_card_names_what_the_pointer_is_on_and_a_click_opens_it(page, index):
    spots = places(index, page)
    for row in lone_rows(spots)[:3]:
        page.mouse.move(*spots[row] + 1)
        page.wait_for_selector("#card:visible")
        formula, name, kind = page.inner_text("#card").split("\n")
        assert [formula, name] == index.table.loc[row, ["formula", "material_id"]].tolist()
        assert kind.startswith("anion class: ")
    page.mouse.click(*spots[row] + 1)
    assert page.inner_text("#panel h2") == formula and page.locator("#panel p").first.inner_text() == name
    assert np.abs(ring(page) - spots[row]).max() < 0.1
    shown = picture(page)
    corner = np.argwhere((shown[60:200, 340:600] == 255).all(axis=2))  # white, with nothing in reach
    down, across = next(c for c in corner + [60, 340] if np.linalg.norm(spots - c[::-1], axis=1).min() > 20)
    page.mouse.move(int(across), int(down))
    page.wait_for_selector("#card", state="hidden")


# Search and details


def test_an_id_opens_all_that_is_known(page, index):
    row = row_of(index, PYRITE)
    find(page, f" {PYRITE} ")
    page.wait_for_selector(".structure[data-atoms]")
    assert page.inner_text("#panel h2") == "FeS2" and page.url.endswith(f"#{PYRITE}")
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert facts["crystal system"] == "cubic" and facts["atoms in the cell"] == "12" and facts["space group"] == "205"
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
            assert page.inner_text("#message").startswith(f"{len(rows)} found: "), query
            assert column(page, 2) == names and 0 < n_vivid(page) < before, query
        find(page, "")
        page.click("#reset")
        assert n_vivid(page) == before and page.locator("#message").is_hidden()


def test_what_is_not_there_is_said(page):
    before = n_vivid(page)
    explained = dict.fromkeys(("unobtainium!", "((", "constructor"), "Type an id, a formula")
    named = ("mp-999999999", "id mp-999999999"), ("XyQ2", "XyQ2"), ("OgTs2", "formula OgTs2")
    several = ("Og-Ts", "system Og-Ts"), ("Og Ts", "Og and Ts")
    for query, sentence in (*explained.items(), *named, *several):
        find(page, "Si-O")
        find(page, query)
        assert page.get_attribute("#message", "class") == "error" and sentence in page.inner_text("#message"), query
        assert page.locator("#panel h2").count() == 0
    page.click("#reset")
    assert n_vivid(page) == before


def test_the_address_names_the_crystal(visit, offline, index):
    page = visit(f"{offline}#{PYRITE}")
    assert page.inner_text("#panel h2") == "FeS2" and page.locator("#marks circle").count() == 1
    name = column(page, 2)[3]
    page.locator("#panel tbody tr").nth(3).click()
    page.wait_for_url(f"**#{name}")
    assert page.locator("#panel p").first.inner_text() == name
    page.evaluate("(name) => { location.hash = name; }", PYRITE)
    page.wait_for_function("document.querySelector('#panel h2').textContent === 'FeS2'")


@pytest.mark.parametrize("address", ["nothing", "%", "%E0%A4"])
def test_an_address_of_nothing_opens_the_map(visit, offline, address):
    page = visit(f"{offline}#{address}")
    assert "Click a point" in page.inner_text("#panel") and n_vivid(page) > 2000


# The lasso and its table


def draw_lasso(page, corners):
    page.click("#lasso")
    assert page.get_attribute("#lasso", "aria-pressed") == "true"
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*corner, steps=6)
    page.mouse.up()
    settle(page)


def saved_table(page, folder):
    with page.expect_download() as download:
        page.click("#csv")
    assert download.value.suggested_filename.endswith(".csv")
    download.value.save_as(folder / "saved.csv")
    with open(folder / "saved.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_lasso_around_all_and_its_end(page, index):
    draw_lasso(page, [(2, 2), (878, 2), (878, 798), (2, 798)])
    page.wait_for_selector("#selection:visible")
    assert page.inner_text("#selected").startswith("288 crystals selected") and page.locator("#marks path").count() == 1
    page.press("body", "Escape")
    settle(page)
    assert page.locator("#selection").is_hidden() and page.locator("#marks path").count() == 0


def test_a_lasso_holds_what_it_is_drawn_around(page, index, tmp_path):
    spots = places(index, page)
    corners = [(330, 120), (600, 90), (560, 400), (800, 520), (500, 600)]
    rows = np.flatnonzero(Polygon([*corners, corners[0]]).contains_points(spots))
    assert 10 < len(rows) < 200
    draw_lasso(page, corners)
    page.wait_for_selector("#selection:visible")
    names = index.table["material_id"][rows].tolist()
    assert page.inner_text("#selected") == f"{len(rows)} crystals selected"
    assert column(page, 1, "#selection") == names
    assert column(page, 2, "#selection") == index.table["formula"][rows].tolist()
    table = saved_table(page, tmp_path)
    assert [line["material_id"] for line in table] == names
    gaps = [line["band_gap"] for line in table]
    assert gaps == ["" if np.isnan(gap) else f"{gap:g}" for gap in index.table["band_gap"][rows]]
    assert [line["formula"] for line in table] == index.table["formula"][rows].tolist()
    assert {line["crystal_system"] for line in table} <= set(coloring(index.table, "crystal_system").categories)
    page.locator("#selection tbody tr").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel h2")
    assert page.locator("#panel p").first.inner_text() == names[2]


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
        page.mouse.move(*ring(page))
        page.wait_for_selector("#card:visible")
        assert page.inner_text("#card").split("\n")[:2] == [formula, name]
    for name in (SLASH, "kind"):
        color_by(page, name)
    assert legend(page) == dict.fromkeys((IMAGE, SCRIPT, SUM, "iron", "oxide"), 4)
    page.click("#reset")
    draw_lasso(page, [(2, 2), (878, 2), (878, 798), (2, 798)])
    page.wait_for_selector("#selection:visible")
    page.locator("#selection td", has_text="bold").first.hover()
    assert column(page, 1, "#selection") == hostile.table["material_id"].tolist()
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


def test_a_dropped_crystal_is_placed_beside_its_like(visit, served, index, pyrite):
    page = visit(served)
    drop(page, f"{IMAGE}.cif", str(CifWriter(pyrite.to_structure(), symprec=0.01)))
    page.wait_for_selector(".structure[data-atoms] canvas", timeout=60_000)
    assert page.inner_text("#panel h2") == "FeS2" and page.locator("#panel p").first.inner_text() == f"{IMAGE}.cif"
    assert page.get_attribute(".structure", "data-atoms") == "22"
    assert column(page, 2)[0] == PYRITE and column(page, 4)[0] == "0.000" and len(column(page, 1)) == 12
    assert page.locator("svg.pattern line[stroke-width]").count() > 10
    page.click("#reset")
    assert np.abs(ring(page) - places(index, page)[row_of(index, PYRITE)]).max() < 0.1
    page.locator("#panel tbody tr").first.click()
    page.wait_for_selector("dl.facts dt")
    assert page.url.endswith(f"#{PYRITE}")


def test_a_chosen_file_and_a_broken_one(visit, served, pyrite):
    page = visit(served, excuse="status of 4")
    content = {"name": "broken.cif", "mimeType": "text/plain", "buffer": b"data_x\nloop_\n_a\n_b\n1 2 3\n"}
    page.set_input_files("#file", content)
    page.wait_for_selector("#message.error", timeout=60_000)
    assert "broken.cif" in page.inner_text("#message") and page.locator("#panel h2").count() == 0
    drop(page, "thesis.tex", "hello")
    page.wait_for_function("document.getElementById('message').textContent.includes('thesis.tex')")
    good = str(CifWriter(pyrite.to_structure(), symprec=0.01)).encode()
    page.set_input_files("#file", content | {"name": "pyrite.cif", "buffer": good})
    page.wait_for_selector("#panel h2")
    assert page.inner_text("#panel h2") == "FeS2" and page.locator("#message").is_hidden()
    drop(page, "large.cif", "x" * 9_000_000)
    page.wait_for_selector("#message.error")
    assert "large.cif is larger" in page.inner_text("#message")
    find(page, "Si-O")
    assert "found" in page.inner_text("#message") and page.locator("#message.error").count() == 0


@pytest.mark.parametrize("wavelength", ["", "MoKa"])
def test_a_dropped_pattern_is_known_again(visit, served, index, measured, wavelength):
    page = visit(served)
    text = measured
    if wavelength:  # the same, measured with a shorter wavelength
        page.select_option("#wavelength", wavelength)
        angles, counts = np.array([line.split() for line in measured.splitlines()], float).T
        angles = 2 * np.degrees(np.arcsin(np.sin(np.radians(angles / 2)) * 0.7107 / 1.54056))
        text = "\n".join(f"{x:.4f} {y:g}" for x, y in zip(angles, counts, strict=True))
    drop(page, "measured.xy", text)
    page.wait_for_selector("svg.pattern path", timeout=60_000)
    assert page.inner_text("#panel h2") == "measured.xy" and PYRITE in page.locator("#panel p").first.inner_text()
    assert column(page, 2)[0] == PYRITE and column(page, 1)[0] == "FeS2" and column(page, 3)[0] == "205"
    assert column(page, 5)[0] in ("high", "fair")
    assert page.evaluate("document.querySelector('aside').scrollWidth <= document.querySelector('aside').clientWidth")
    curves = page.locator("svg.pattern path")
    drawn = [len(curves.nth(place).get_attribute("d").split("L")) for place in range(curves.count())]
    assert len(drawn) == 2 and min(drawn) > 1_000
    page.click("#reset")
    assert np.abs(ring(page) - places(index, page)[row_of(index, PYRITE)]).max() < 0.1


def test_a_server_that_is_gone_is_said(visit, served, pyrite):
    page = visit(served, excuse="ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    drop(page, "pyrite.cif", "data_x")
    page.wait_for_selector("#message.error")
    assert page.inner_text("#message") == "The server does not answer."
