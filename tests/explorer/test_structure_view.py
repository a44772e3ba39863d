"""The structure and the pattern of a crystal in a real browser: by mouse, keys, on a narrow screen and in the dark."""

import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from pymatgen.core import Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.explorer import write_page
from deepchem_crystalssl.explorer.document import StructureView

CHROMIUM = shutil.which("chromium")
FLAGS = "--no-sandbox --disable-gpu --enable-unsafe-swiftshader --no-first-run --disable-background-networking".split()
TESTS = Path(__file__).parents[1]
CRYSTALS = json.loads((TESTS / "front_end" / "crystals.json").read_text(encoding="utf-8"))
AXE = TESTS.parent / "tools" / "front_end" / "node_modules" / "axe-core" / "axe.min.js"
NAMES = ["rutile", "quartz", "calcite", "olivine", "perovskite", "rock salt"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="there is no chromium"),
]


def structure(name):
    return Structure(*(CRYSTALS[name][key] for key in ("lattice", "numbers", "frac_coords")))


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM is not None, "CI needs chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def map_page(tmp_path_factory):
    index = dcs.EmbeddingIndex.from_structures([structure(name) for name in NAMES], "small", progress=False)
    index.make_map(progress=False)
    return write_page(index, tmp_path_factory.mktemp("page") / "map.html", progress=False).as_uri()


@pytest.fixture
def visit(browser):
    """Opens pages; in the end none may have complained."""
    contexts, faults = [], []

    def open_page(address, size=(520, 460), **options):
        context = browser.new_context(
            viewport=dict(zip(("width", "height"), size, strict=True)), offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def view(visit, tmp_path):
    """Shows one crystal alone."""

    def show(name, **options):
        file = tmp_path / "structure.html"
        file.write_text(StructureView(structure(name)).html, encoding="utf-8")
        page = visit(file.as_uri(), **options)
        page.wait_for_selector(".structure[data-atoms] canvas")
        return page

    return show


def picture(page):
    """The structure as it is seen, (height, width, 3)."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(
        Image.open(io.BytesIO(page.locator(".structure-picture canvas").screenshot())).convert("RGB")
    ).astype(int)


def colored(shown, color, within=60):
    """How many pixels are of a colour."""
    return int((np.abs(shown - color).max(axis=2) < within).sum())


def grey(shown):
    """How many pixels are neither white nor of a colour."""
    return int(((np.ptp(shown, axis=2) < 20) & (shown.max(axis=2) < 240)).sum())


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def atoms(page):
    return int(page.get_attribute(".structure", "data-atoms"))


# The structure


def test_it_shows_the_elements_and_the_cell(view):
    page = view("quartz")
    assert page.locator(".structure-facts li").all_inner_texts() == ["Si\n3", "O\n6"]
    facts = page.inner_text(".structure-facts").replace("\u00a0", " ")
    for words in ("a 4.913 Å, b 4.913 Å, c 5.405 Å", "α 90°, β 90°, γ 120°", "V 113.0 Å³"):
        assert words in facts
    dots = page.eval_on_selector_all(
        ".structure-facts li i", "(all) => all.map((dot) => getComputedStyle(dot).backgroundColor)"
    )
    assert dots == ["rgb(240, 200, 160)", "rgb(255, 13, 13)"]  # of Jmol
    assert colored(picture(page), [255, 13, 13], 90) > 500


def test_cells_bonds_and_polyhedra(view):
    page = view("perovskite")
    assert atoms(page) == 27 + 8 + 36  # two cells along each axis, for the cell is small
    page.select_option(".structure-tools select", "1")
    assert atoms(page) == 8 + 1 + 6
    page.select_option(".structure-tools select", "3")
    assert atoms(page) == 64 + 27 + 108
    page.select_option(".structure-tools select", "1")
    with_bonds = picture(page)
    press(page, "Bonds")
    assert page.get_by_role("button", name="Bonds").get_attribute("aria-pressed") == "false"
    without = picture(page)
    background = without[2, 2]
    drawn = [(np.abs(shown - background).max(axis=2) > 20).sum() for shown in (with_bonds, without)]
    assert drawn[1] < 0.9 * drawn[0]
    press(page, "Polyhedra")
    assert atoms(page) == 15  # the octahedron around titanium has its corners in the cell
    assert grey(picture(page)) > 1.5 * grey(without)  # as titanium is
    press(page, "Polyhedra")
    assert np.abs(picture(page) - without).max(axis=2).mean() < 2


def test_polyhedra_are_whole_at_the_faces_of_the_cell(view):
    page = view("rutile")
    page.select_option(".structure-tools select", "1")
    assert atoms(page) == 9 + 6  # titanium on the corners and in the middle; 2 oxygen within, 2 x 2 on faces
    press(page, "Polyhedra")
    assert atoms(page) > 30


def test_without_polyhedra_there_is_no_button_for_them(visit, tmp_path):
    file = tmp_path / "copper.html"
    file.write_text(StructureView(structure("copper")).html, encoding="utf-8")
    page = visit(file.as_uri())
    page.wait_for_selector(".structure[data-atoms] canvas")
    assert page.get_by_role("button", name="Polyhedra").is_disabled()


def test_views_along_the_axes_and_back(view):
    page = view("olivine")
    first = picture(page)
    shown = []
    for axis in "abc":
        press(page, f"Look along {axis}")
        shown.append(picture(page))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(shown[one] - shown[other]).mean() > 2
    press(page, "Reset")
    assert np.abs(picture(page) - first).mean() < 1


def test_it_is_turned_and_zoomed_by_keys(view):
    page = view("rutile")
    first = picture(page)
    page.focus(".structure-picture")
    for there, back in (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"), ("+", "-")):
        page.keyboard.press(there)
        assert np.abs(picture(page) - first).mean() > 2, there
        page.keyboard.press(back)
        assert np.abs(picture(page) - first).mean() < 1, back
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    assert np.abs(picture(page) - first).mean() < 1
    order = []
    for _ in range(9):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        )
    along = [f"Look along {axis}" for axis in "abc"]
    assert order[:8] == ["Cells", "Bonds", "Polyhedra", *along, "Reset", "PNG"]


def test_it_is_turned_by_the_mouse_and_the_wheel_waits_for_a_click(view):
    page = view("rutile")
    first = picture(page)
    page.mouse.move(250, 150)
    page.mouse.wheel(0, -300)
    assert np.abs(picture(page) - first).mean() < 1
    page.mouse.down()
    page.mouse.move(320, 160, steps=4)
    page.mouse.up()
    turned = picture(page)
    assert np.abs(turned - first).mean() > 2
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    assert np.abs(picture(page) - turned).mean() > 2


def test_the_picture_is_saved(view, tmp_path):
    page = view("rutile")
    with page.expect_download() as download:
        press(page, "PNG")
    assert download.value.suggested_filename == "Ti2O4.png"
    download.value.save_as(tmp_path / "saved.png")
    saved = np.asarray(Image.open(tmp_path / "saved.png").convert("RGBA"))
    assert saved[1, 1, 3] == 0 and colored(saved[..., :3].astype(int), [255, 13, 13], 90) > 500


def test_in_the_dark_lines_are_light(view):
    light, dark = picture(view("quartz")), picture(view("quartz", color_scheme="dark"))
    assert light[9, 9].min() > 240 and dark[9, 9].max() < 60
    assert colored(dark, [163, 177, 191], 40) > 100 and colored(light, [91, 107, 123], 40) > 100


@pytest.mark.parametrize("size", [(390, 640), (320, 320), (900, 500)])
def test_all_of_it_fits(view, size):
    page = view("olivine", size=size, has_touch=size[0] == 390)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for button in page.locator(".structure-tools button, .structure-tools select").all():
        box = button.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= size[0]
    assert page.locator(".structure-picture").bounding_box()["height"] >= 150


def test_many_structures_one_after_the_other(visit, map_page):
    """More than a browser has contexts for."""
    page = visit(map_page, size=(1280, 800))
    page.wait_for_selector("html[data-ready]", state="attached")
    page.evaluate("""async () => {
        const [{ showStructure }, { structureOf, n }] = await Promise.all([import("#structure"), import("#data")]);
        for (let i = 0; i < 24; i++) {
            const box = document.createElement("div");
            box.className = "structure";
            document.getElementById("panel").replaceChildren(box);
            await showStructure(box, await structureOf(i % n));
        } }""")
    assert page.locator(".structure canvas").count() == 1
    page.locator(".structure-picture").scroll_into_view_if_needed()
    assert colored(picture(page), picture(page)[2, 2], 10) < 0.95 * picture(page)[..., 0].size


# The pattern


@pytest.fixture
def pattern(visit, map_page):
    """Shows the pattern of one crystal in the panel."""

    def show(name, known="structure", **options):
        page = visit(map_page, **({"size": (1280, 800)} | options))
        page.wait_for_selector("html[data-ready]", state="attached")
        page.evaluate(
            """async ([row, known]) => {
            const { drawPattern } = await import("#pattern"), { linesOf, structureOf } = await import("#data");
            const structure = await structureOf(row), lines = await linesOf(row);
            const drawn = drawPattern({ lines, [known]: structure[known] ?? structure });
            document.getElementById("panel").replaceChildren(drawn); }""",
            [NAMES.index(name), known],
        )
        page.locator(".pattern-frame").scroll_into_view_if_needed()
        return page

    return show


def labels(page):
    return page.locator("svg.pattern text.indices").all_text_contents()


def sticks(page):
    """x and height of the lines in units of the figure."""
    return np.array(
        page.eval_on_selector_all(
            "svg.pattern line.reflection",
            "(all) => all.map((line) => [+line.getAttribute('x1'), 122 - line.getAttribute('y2')])",
        )
    )


def ticks(page):
    return [
        float(text) for text in page.locator("svg.pattern text[text-anchor=middle]:not(.indices)").all_text_contents()
    ]


def test_lines_have_indices(pattern):
    page = pattern("rutile")
    shown = labels(page)
    assert {"110", "101", "211"} <= set(shown) and len(shown) <= 12
    assert set(labels(pattern("calcite"))) >= {"104", "012", "113"}
    assert "102" in labels(pattern("calcite", known="lattice"))  # which the sites extinguish
    assert labels(pattern("rutile", known="nothing")) == []


def test_lines_are_read_by_keys(pattern):
    page = pattern("rutile")
    page.focus(".pattern-frame")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"110  2θ 27\.4\d°  d 3\.248\d Å  100 %", page.inner_text(".pattern-readout"))
    assert page.locator("svg.pattern line.chosen").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".pattern-readout").startswith("101  2θ 36.0")
    for _ in range(4):
        page.keyboard.press("+")
    places = sticks(page)
    chosen = float(page.get_attribute("svg.pattern line.chosen", "x1"))
    assert 8 <= chosen <= 372 and len(places) < 8
    for _ in range(6):
        page.keyboard.press("ArrowRight")
        assert 8 <= float(page.get_attribute("svg.pattern line.chosen", "x1")) <= 372
    page.keyboard.press("0")
    assert len(sticks(page)) > 8
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    assert page.inner_text(".pattern-readout").startswith("110")


def test_lines_are_read_by_the_pointer(pattern):
    page = pattern("quartz")
    box = page.locator("svg.pattern").bounding_box()
    scale = box["width"] / 380
    strongest = sticks(page)[sticks(page)[:, 1].argmax()]
    page.mouse.move(box["x"] + strongest[0] * scale + 1, box["y"] + 80 * scale)
    assert "d 3.34" in page.inner_text(".pattern-readout") and "100 %" in page.inner_text(".pattern-readout")
    assert page.inner_text(".pattern-readout").startswith("011, 101") or page.inner_text(".pattern-readout").startswith(
        "101, 011"
    )
    page.mouse.move(box["x"] + 10, box["y"] + 80 * scale)
    assert page.inner_text(".pattern-readout") == ""


def test_other_radiations(pattern):
    page = pattern("rutile")
    copper = sticks(page)
    for radiation, others in CRYSTALS["rutile"]["others"].items():
        page.select_option("select[aria-label=Radiation]", radiation)
        assert "anomalous scattering is ignored" in page.inner_text(".pattern-caption")
        page.focus(".pattern-frame")
        page.keyboard.press("ArrowRight")
        first = others[0]
        assert re.match(rf"110  2θ {first['two_theta']:.2f}°  d 3\.24", page.inner_text(".pattern-readout")), radiation
        heights = sticks(page)[:, 1] / 114
        wanted = sorted((one["intensity"] / 100 for one in others), reverse=True)[:5]
        assert np.abs(np.sort(heights)[::-1][:5] - wanted).max() < 0.02, radiation
    page.select_option("select[aria-label=Radiation]", "other")
    page.fill("input[aria-label='Wavelength in Å']", "1.54056")
    assert np.abs(sticks(page) - copper).max() < 0.1
    page.fill("input[aria-label='Wavelength in Å']", "6")
    assert np.abs(sticks(page) - copper).max() < 0.1  # what is no wavelength changes nothing
    page.fill("input[aria-label='Wavelength in Å']", "2.5")
    assert "out of reach" in page.inner_text(".pattern-caption") and len(sticks(page)) < len(copper)


def test_axes(pattern):
    page = pattern("rutile")
    assert ticks(page)[0] == 10 and ticks(page)[-1] == 90
    page.select_option("select[aria-label=Axis]", "q")
    assert ticks(page)[-1] == 5 and page.locator("svg.pattern text").last.text_content() != ""
    order = sticks(page)[:, 0]
    assert (np.diff(order) > 0).all()
    page.select_option("select[aria-label=Axis]", "d")
    values = ticks(page)
    assert values == sorted(values, reverse=True) and 3 <= values[0] <= 4
    assert (np.diff(sticks(page)[:, 0]) > 0).all()


def test_the_wheel_zooms_once_the_pattern_has_been_clicked(pattern):
    page = pattern("olivine")
    whole = sticks(page)
    box = page.locator("svg.pattern").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.wheel(0, -200)
    page.wait_for_timeout(100)
    assert np.array_equal(sticks(page), whole)
    page.locator(".pattern-frame").scroll_into_view_if_needed()
    box = page.locator("svg.pattern").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.wheel(0, -500)
    page.wait_for_timeout(100)
    near = sticks(page)
    assert len(near) < len(whole) and ticks(page)[-1] - ticks(page)[0] < 80
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + 60, steps=3)
    page.mouse.up()
    assert np.abs(sticks(page)[:3, 0] - near[:3, 0]).max() > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pattern_and_structure_are_accessible_and_narrow(pattern, scheme):
    if not AXE.exists() and "CI" not in os.environ:
        pytest.skip("axe-core is not installed: make front-end")
    page = pattern("calcite", size=(390, 844), color_scheme=scheme, has_touch=True)
    page.evaluate("""async () => {
        const [{ showStructure }, { structureOf }] = await Promise.all([import("#structure"), import("#data")]);
        const box = document.createElement("div");
        box.className = "structure";
        document.getElementById("panel").append(box);
        await showStructure(box, await structureOf(2)); }""")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "async () => (await axe.run('#panel')).violations.map((one) => [one.id, one.nodes.map((node) => node.html)])"
    )
    assert found == []
