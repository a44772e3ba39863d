"""The powder mode in a real browser: the figure, the candidates, what is known of a sample, files, many patterns."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
import pytest
import test_page
import test_server
from PIL import Image

import deepchem_crystalssl as dcs
from deepchem_crystalssl.explorer.application import make_app

pytestmark = test_page.pytestmark
index, served, browser, visit = test_page.index, test_page.served, test_page.browser, test_page.visit
GRID, PYRITE, IMAGE, RUTILE = (
    dcs.XRDGrid(wavelength="CuKa1", fwhm=0.15),
    test_page.PYRITE,
    test_page.IMAGE,
    "A2B_tP6_136_f_a",
)
SHOWN = "#powder[data-state=answer] .powder-upper .powder-calculated"


@pytest.fixture(scope="module")
def samples(prototypes):
    """Texts of measured patterns: of pyrite, of rutile, and of both."""
    both = [next(crystal for crystal in prototypes if crystal.material_id == name) for name in (PYRITE, RUTILE)]
    pyrite, rutile = np.asarray(dcs.simulate_xrd(both, GRID), float)
    heights = {"pyrite": 6000 * pyrite, "rutile": 5000 * rutile, "both": 6000 * pyrite + 4000 * rutile}
    drawn = {name: np.random.default_rng(0).poisson(one + 80) for name, one in heights.items()}
    return {name: text_of(GRID.two_theta, counts) for name, counts in drawn.items()}


def text_of(angles, counts):
    return "\n".join(f"{x:.4f} {y}" for x, y in zip(angles, counts, strict=True))


def file_of(name, text):
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}


def choose(page, *files):
    page.set_input_files("#file", [file_of(*one) for one in files])


def ask(page, name, text):
    choose(page, (name, text))
    page.wait_for_selector(SHOWN, state="attached", timeout=60_000)
    test_page.settle(page)


def wait_until(page, holds, what=""):
    """Poll from outside: the page allows nobody to make functions of texts."""
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(what or "it did not come to be")


def shown_line(page):
    return page.inner_text(".powder-shown b")


def sheet(page):
    box = page.locator(".powder-sheet").bounding_box()
    return box["x"], box["y"], box["width"], box["height"]


def ticks(page):
    """The range of angles that the axis shows, from two of its ticks and their labels."""
    test_page.settle(page)
    found = page.eval_on_selector_all(
        ".powder-axes > g:first-child .tick",
        "(all) => all.map((one) => [+one.textContent, one.transform.baseVal[0].matrix.e])",
    )
    (low, left), (high, right) = found[0], found[-1]
    per_pixel = (high - low) / (right - left)
    rect = page.locator(".powder-sheet")
    x, width = (float(rect.get_attribute(name)) for name in ("x", "width"))
    return low - (left - x) * per_pixel, low + (x + width - left) * per_pixel


def curve_of(page, kind):
    """Points of a curve in pixels."""
    path = page.locator(f"#powder .powder-upper .{kind}, #powder .powder-lower .{kind}").first.get_attribute("d")
    return np.array(re.findall(r"[ML](-?[\d.]+)[ ,](-?[\d.]+)", path), float)


def candidates(page):
    return page.locator(".powder-candidates tbody tr")


# The figure


def test_the_figure_shows_measured_calculated_difference_and_reflections(visit, served, samples):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    assert page.get_attribute("body", "data-mode") == "powder" and page.locator("#map").is_hidden()
    measured, calculated, difference = (
        curve_of(page, f"powder-{name}") for name in ("measured", "calculated", "difference")
    )
    assert 1_500 < len(measured) <= 3_000 and len(measured) == len(calculated) == len(difference)
    assert (measured[:, 0] == calculated[:, 0]).all() and np.corrcoef(measured[:, 1], calculated[:, 1])[0, 1] > 0.95
    apart = calculated[:, 1] - measured[:, 1]  # heights grow upwards, pixels downwards
    assert np.corrcoef(apart, -(difference[:, 1] - np.median(difference[:, 1])))[0, 1] > 0.98
    rows = page.locator(".powder-ticks path")
    assert rows.count() == 2 and page.locator(".powder-part").count() == 2
    colors = [rows.nth(place).evaluate("(one) => getComputedStyle(one).stroke") for place in range(2)]
    assert colors[0] != colors[1]
    words = page.locator(".powder-figure text").all_text_contents()
    assert "2θ / degrees (Cu Kα" in " ".join(words) and "Intensity / counts" in words and "TiO₂" in words
    low, high = ticks(page)
    assert abs(low - 10) < 0.2 and abs(high - GRID.two_theta_max) < 0.2


def test_ticks_are_where_the_reflections_are(visit, served, samples, index):
    page = visit(served)
    ask(page, "pyrite.xy", samples["pyrite"])
    low, high = ticks(page)
    x, _, width, _ = sheet(page)
    path = page.locator(".powder-ticks path").get_attribute("d")
    left = float(page.locator(".powder-sheet").get_attribute("x"))
    places = np.array(re.findall(r"M([\d.]+)", path), float)
    angles = low + (places - left) / width * (high - low)
    counts = np.array([line.split() for line in samples["pyrite"].splitlines()], float)
    found = index.query_pattern(*counts.T)
    assert np.abs(angles - found.reflections()["two_theta"].to_numpy()).max() < 0.1


def test_wheel_drag_keys_and_buttons_zoom(visit, served, samples):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    whole = ticks(page)
    x, y, width, height = sheet(page)
    at = whole[0] + 0.25 * (whole[1] - whole[0])
    page.mouse.move(x + 0.25 * width, y + 60)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    low, high = ticks(page)
    assert high - low < 0.8 * (whole[1] - whole[0]) and abs(low + 0.25 * (high - low) - at) < 0.3
    page.mouse.dblclick(x + 300, y + 60)
    page.wait_for_timeout(100)
    assert np.allclose(ticks(page), whole, atol=0.05)
    page.mouse.move(x + 0.2 * width, y + 60)
    page.mouse.down()
    page.mouse.move(x + 0.4 * width, y + 90, steps=4)
    assert page.locator(".powder-band").get_attribute("visibility") == "visible"
    page.mouse.up()
    page.wait_for_timeout(100)
    span = whole[1] - whole[0]
    assert np.allclose(ticks(page), (whole[0] + 0.2 * span, whole[0] + 0.4 * span), atol=0.3)
    before = ticks(page)
    page.keyboard.down("Shift")
    page.mouse.move(x + 0.5 * width, y + 60)
    page.mouse.down()
    page.mouse.move(x + 0.6 * width, y + 60, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    moved = np.subtract(ticks(page), before)
    assert np.allclose(moved, -0.1 * (before[1] - before[0]), atol=0.2)
    page.get_by_role("button", name="Whole pattern").click()
    assert np.allclose(ticks(page), whole, atol=0.05)
    page.get_by_role("button", name="Zoom in").click()
    nearer = ticks(page)
    assert nearer[1] - nearer[0] < 0.7 * span
    page.get_by_role("button", name="Zoom out").click()
    assert np.allclose(ticks(page), whole, atol=0.3)


def test_keys_zoom_move_stretch_and_read(visit, served, samples):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    whole = ticks(page)
    page.locator(".powder-figure").focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    low, high = ticks(page)
    assert high - low < 0.5 * (whole[1] - whole[0])
    page.keyboard.press("ArrowRight")
    assert ticks(page)[0] - low == pytest.approx(0.2 * (high - low), abs=0.2)
    tops = curve_of(page, "powder-measured")[:, 1].min()
    page.keyboard.press("ArrowUp")
    test_page.settle(page)
    assert curve_of(page, "powder-measured")[:, 1].min() < tops - 20
    page.keyboard.press("Shift+ArrowRight")
    assert page.locator(".powder-reading").is_visible()
    first = page.inner_text(".powder-reading b")
    page.keyboard.press("Shift+ArrowRight")
    assert page.inner_text(".powder-reading b") != first
    page.keyboard.press("Escape")
    assert page.locator(".powder-reading").is_hidden()
    page.keyboard.press("0")
    assert np.allclose(ticks(page), whole, atol=0.05)


def test_square_roots_show_weak_lines(visit, served, samples):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    before = curve_of(page, "powder-measured")[:, 1]
    page.get_by_role("button", name="√ scale").click()
    test_page.settle(page)
    after = curve_of(page, "powder-measured")[:, 1]
    height = lambda ys: (np.median(ys) - np.quantile(ys, 0.05)) / (np.median(ys) - ys.min())  # noqa: E731
    assert height(after) > 1.5 * height(before)


def test_the_pointer_reads_angle_spacing_counts_and_indices(visit, served, samples, index):
    page = visit(served)
    ask(page, "pyrite.xy", samples["pyrite"])
    counts = np.array([line.split() for line in samples["pyrite"].splitlines()], float)
    table = index.query_pattern(*counts.T).reflections()
    strongest = table.loc[table["intensity_calculated"].idxmax()]
    (low, high), (x, y, width, _) = ticks(page), sheet(page)
    page.mouse.move(x + (strongest.two_theta - low) / (high - low) * width, y + 50)
    said = page.inner_text(".powder-reading")
    angle, d = map(float, re.search(r"([\d.]+)°\s+d = ([\d.]+) Å", said).groups())
    assert abs(angle - strongest.two_theta) < 0.15 and abs(d - strongest.d) < 0.02
    h, k, l = strongest[["h", "k", "l"]].astype(int)
    assert f"FeS₂ ({h} {k} {l}) at {strongest.two_theta:.3f}°, d = {strongest.d:.4f} Å" in said
    assert re.search(r"measured [\d,]+, calculated [\d,]+ counts", said)
    page.mouse.move(x + width / 2, y - 60)
    assert page.locator(".powder-reading").is_hidden()


# Candidates, phases, words


def test_a_candidate_is_shown_by_a_click_and_back_returns(visit, served, samples):
    page = visit(served)
    ask(page, "pyrite.xy", samples["pyrite"])
    best = curve_of(page, "powder-calculated")
    page.mouse.move(*np.add(sheet(page)[:2], (300, 60)))
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    zoomed = ticks(page)
    name = candidates(page).nth(2).locator("td").nth(2).inner_text()
    candidates(page).nth(2).locator("td").nth(4).click()
    assert name in shown_line(page) and shown_line(page).startswith("Shown: candidate 3")
    assert candidates(page).nth(2).get_attribute("aria-current") == "true"
    assert np.allclose(ticks(page), zoomed)  # the same angles stay in view
    candidates(page).nth(4).focus()
    page.keyboard.press("Enter")
    assert shown_line(page).startswith("Shown: candidate 5")
    page.go_back()
    assert shown_line(page).startswith("Shown: candidate 3")
    page.go_back()
    assert shown_line(page) == "Shown: the phase" and page.locator(".powder-candidates [aria-current]").count() == 0
    page.go_forward()
    assert name in shown_line(page)
    page.get_by_role("button", name="Whole pattern").click()
    test_page.settle(page)
    assert np.abs(curve_of(page, "powder-calculated")[:, 1] - best[:, 1]).max() > 20
    page.get_by_role("button", name="Back to all phases").click()
    test_page.settle(page)
    assert np.allclose(curve_of(page, "powder-calculated"), best, atol=0.02)


def test_a_mixture_is_told_in_weights_with_errors(visit, served, samples, index):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    counts = np.array([line.split() for line in samples["both"].splitlines()], float)
    found = index.query_pattern(*counts.T)
    assert len(found.phases) == 2
    first = page.locator(".powder-tables table").first
    shares = [f"{100 * p.weight_fraction:.0f} ± {max(1, 100 * p.weight_fraction_error):.0f} %" for p in found.phases]
    assert first.locator("tbody td:nth-child(4)").all_inner_texts() == shares
    assert first.locator("tbody td:nth-child(2)").all_inner_texts() == [p.material_id for p in found.phases]
    words = page.inner_text(".powder-head")
    assert (
        found.verdict in words and f"probability {found.phases[0].probability:.2f}" in words and "confidence" in words
    )
    others = page.locator(".powder-still tbody tr")
    assert others.count() == len(found.hypotheses) and "FeS2" in others.first.inner_text()


def test_what_cannot_be_told_apart_is_said(visit, served, prototypes, index):
    """Rutile's structure type with other elements: many of the prototypes scatter alike."""
    page = visit(served)
    salt = next(crystal for crystal in prototypes if crystal.material_id == "AB_cF8_225_a_b")
    counts = np.random.default_rng(0).poisson(6000 * np.asarray(dcs.simulate_xrd([salt], GRID), float)[0] + 80)
    found = index.query_pattern(GRID.two_theta, counts.astype(float), "CuKa")
    ask(page, "salt.xy", text_of(GRID.two_theta, counts))
    words = page.inner_text(".powder-head")
    for other in found.group[1:4]:
        assert other.material_id in words
    for element in found.deciding_elements:
        assert element in words
    assert f"probability {found[0].probability:.2f}" in words
    if len(found.group) > 1:
        assert "no" in page.locator(".powder-candidates tbody td:last-child").all_inner_texts()


def test_a_name_leads_to_the_crystal_on_the_map(visit, served, samples):
    page = visit(served)
    ask(page, "pyrite.xy", samples["pyrite"])
    page.locator(".powder-tables .powder-link").first.click()
    page.wait_for_selector("#panel dl.facts dt")
    assert page.get_attribute("body", "data-mode") == "map" and page.inner_text("#panel h2") == "FeS2"
    page.go_back()
    wait_until(page, lambda: page.get_attribute("body", "data-mode") == "powder")
    assert page.locator(SHOWN).count() == 1


# What is known


def test_radiation_is_said_and_can_be_changed(visit, served, samples):
    page = visit(served)
    ask(page, "pyrite.xy", samples["pyrite"])
    assert "assumed, because the file names none" in page.inner_text(".powder-facts")
    page.select_option("[name=radiation]", "CuKa1")
    page.get_by_role("button", name="Search again").click()
    wait_until(page, lambda: "as you gave it" in page.inner_text(".powder-facts"))
    assert page.locator("[name=wavelength]").is_hidden()
    page.select_option("[name=radiation]", "other")
    page.fill("[name=wavelength]", "1.5406")
    page.press("[name=wavelength]", "Enter")
    wait_until(page, lambda: "λ" in page.inner_text(".powder-facts") and page.locator(SHOWN).count() == 1)
    assert PYRITE in page.inner_text(".powder-verdict")


def test_elements_and_the_number_of_phases_narrow_the_search(visit, served, samples):
    page = visit(served, excuse="status of 4")
    ask(page, "both.xy", samples["both"])
    first = page.locator(".powder-tables table").first
    assert first.locator("tbody tr").count() == 2
    page.select_option("[name=phases]", "1")
    page.get_by_role("button", name="Search again").click()
    wait_until(page, lambda: page.locator(".powder-tables table").first.locator("tbody tr").count() == 1)
    page.fill("[name=excluded]", "Fe")
    page.get_by_role("button", name="Search again").click()
    formulas = lambda: page.locator(".powder-candidates tbody td:nth-child(2)").all_inner_texts()  # noqa: E731
    wait_until(page, lambda: not any("Fe" in one for one in formulas()))
    page.fill("[name=excluded]", "")
    page.fill("[name=elements]", "Fe, S")
    page.fill("[name=allowed]", "Ti O")
    page.select_option("[name=phases]", "")
    page.get_by_role("button", name="Search again").click()
    wait_until(page, lambda: all(set(re.findall("[A-Z][a-z]?", one)) <= {"Fe", "S", "Ti", "O"} for one in formulas()))
    page.fill("[name=elements]", "Xx")
    page.get_by_role("button", name="Search again").click()
    wait_until(page, lambda: "Xx" in page.inner_text(".powder-form .powder-message"))
    assert page.locator(SHOWN).count() == 1 and formulas()  # the answer before stays


def test_elements_are_chosen_in_the_periodic_table(visit, served, samples):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    page.get_by_text("Choose elements in the periodic table").click()
    table, value = page.locator(".powder-elements .periodic"), page.input_value
    for symbol, clicks in (("S", 1), ("Fe", 1), ("O", 2), ("Ti", 3)):
        for _ in range(clicks):
            table.get_by_text(symbol, exact=True).click()
    assert [value(f"[name={name}]") for name in ("elements", "allowed", "excluded")] == ["S Fe", "O", "Ti"]
    page.fill("[name=allowed]", "")
    assert table.get_by_role("button", name="O", exact=True).count() == 1  # what is typed is shown in the table
    page.get_by_role("button", name="Search again").click()
    formulas = page.locator(".powder-candidates tbody td:nth-child(2)")
    wait_until(
        page, lambda: all(set(re.findall("[A-Z][a-z]?", one)) <= {"Fe", "S"} for one in formulas.all_inner_texts())
    )
    page.get_by_role("button", name="What is left?").click()
    wait_until(page, lambda: page.locator(".powder-elements").is_hidden())


def test_what_is_left_is_searched(visit, served, samples):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    page.select_option("[name=phases]", "1")
    page.get_by_role("button", name="Search again").click()
    wait_until(page, lambda: page.locator(".powder-tables table").first.locator("tbody tr").count() == 1)
    first = page.inner_text(".powder-verdict")
    [other] = {PYRITE, RUTILE} - {name for name in (PYRITE, RUTILE) if name in first}
    page.get_by_role("button", name="What is left?").click()
    wait_until(page, lambda: page.inner_text(".powder-head h2") == "What is left of both.xy")
    wait_until(page, lambda: page.get_attribute("#powder", "data-state") == "answer")
    assert other in page.inner_text(".powder-verdict") and page.locator("[name=radiation]").is_hidden()
    assert page.locator(".powder-list button").count() == 2
    page.go_back()
    wait_until(page, lambda: page.inner_text(".powder-head h2") == "both.xy")


# Files


def saved(page, name):
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name=name).click()
    with open(download.value.path(), "rb") as file:
        return download.value.suggested_filename, file.read()


def test_the_figure_is_saved_as_it_is_shown_black_on_white(visit, served, samples):
    page = visit(served)
    page.emulate_media(color_scheme="dark")
    ask(page, "my pattern.xy", samples["both"])
    page.locator(".powder-figure").focus()
    page.keyboard.press("+")
    test_page.settle(page)
    name, content = saved(page, "Figure (SVG)")
    root = ElementTree.fromstring(content)
    texts = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert name == "my_pattern.svg" and texts[0] == "my pattern.xy" and PYRITE in texts[1] and "TiO₂" in texts
    assert b"var(" not in content and b"color-mix" not in content and b"class=" not in content
    assert b"color(" not in content and len(texts) > 10
    fills = [one.get("fill") for one in root.iter("{http://www.w3.org/2000/svg}text") if one.get("fill") != "#000"]
    assert fills and min(contrast(fill, "rgb(255, 255, 255)") for fill in fills) > 4.5  # though the page is dark
    shown = [one.get_attribute("d") for one in page.locator(".powder-calculated").all()]
    assert shown[-1] in content.decode()
    name, content = saved(page, "Figure (PNG)")
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert name == "my_pattern.png" and picture.shape[1] > 1_500
    assert (picture[:5] == 255).all() and (picture[-3:] == 255).all() and (picture.sum(axis=2) < 150).sum() > 500
    vivid = np.ptp(picture, axis=2) > 100
    assert vivid.sum() > 1_000


def test_files_of_the_answer_are_saved(visit, served, samples):
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    name, content = saved(page, "CIF of the phases")
    assert name == "both_phases.cif" and content.count(b"\ndata_") + content.startswith(b"data_") == 2
    name, content = saved(page, "Reflections (CSV)")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert name == "both_reflections.csv" and {row["material_id"] for row in rows} == {PYRITE, RUTILE}
    name, content = saved(page, "Report (HTML)")
    assert name == "both_report.html" and b"both.xy" in content
    name, content = saved(page, "All files (ZIP)")
    assert name == "both_export.zip" and "measured.xye" in zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_what_the_server_has_forgotten_is_asked_again(visit, index, samples, tmp_path):
    index.save(tmp_path / "index")
    page_text = test_page.render_page("map")
    app = make_app(tmp_path / "index", page_text, test_page.Payload(index, upload_bytes=8_000_000))
    with test_server.running(app) as address:
        page = visit(f"{address}/", excuse="status of 410")
        ask(page, "both.xy", samples["both"])
        app.state.worker.start()  # a new process, which keeps no answer
        name, content = saved(page, "CIF of the phases")
        assert name == "both_phases.cif" and b"data_" in content
        app.state.worker.start()
        page.select_option("[name=phases]", "1")
        page.get_by_role("button", name="Search again").click()
        wait_until(page, lambda: page.locator(".powder-tables table").first.locator("tbody tr").count() == 1)
        app.state.worker.start()
        page.get_by_role("button", name="What is left?").click()
        wait_until(page, lambda: page.locator(".powder-list button").count() == 2)
        wait_until(page, lambda: page.get_attribute("#powder", "data-state") == "answer")


# Several patterns


def test_several_files_make_a_list_and_a_bad_one_costs_itself_alone(visit, served, samples):
    page = visit(served, excuse="status of 4")
    choose(page, ("pyrite.xy", samples["pyrite"]), ("broken.xy", "no numbers"), ("rutile.xy", samples["rutile"]))
    entries = page.locator(".powder-list button")
    states = entries.locator("span:last-child").all_inner_texts()
    assert states[0] in ("waiting", "reading …") or "FeS" in states[0]
    assert states[2] == "waiting"
    wait_until(page, lambda: "TiO" in entries.nth(2).inner_text())
    texts = [entries.nth(place).inner_text().replace("\n", " ") for place in range(3)]
    assert texts[0].startswith("pyrite.xy FeS") and re.search(r"· [01]\.\d\d$", texts[0])
    assert "broken.xy" in texts[1] and "two numbers" in texts[1]
    assert page.inner_text(".powder-head h2") == "pyrite.xy" and entries.first.get_attribute("aria-current") == "true"
    entries.nth(2).click()
    assert page.inner_text(".powder-head h2") == "rutile.xy" and RUTILE in page.inner_text(".powder-verdict")
    entries.nth(1).focus()
    page.keyboard.press("Enter")
    assert "two numbers" in page.inner_text(".powder-head") and page.locator(".powder-stage").is_hidden()
    page.go_back()
    assert page.inner_text(".powder-head h2") == "rutile.xy" and page.locator(".powder-stage").is_visible()
    page.select_option("[name=radiation]", "CuKa1")
    page.get_by_role("button", name="Search all patterns again").click()
    wait_until(page, lambda: "as you gave it" in page.inner_text(".powder-facts"))
    entries.first.click()
    wait_until(
        page, lambda: page.locator(".powder-facts").count() and "as you gave it" in page.inner_text(".powder-facts")
    )


def test_a_drop_of_several_files(visit, served, samples):
    page = visit(served)
    files = page.evaluate_handle(
        """(given) => { const all = new DataTransfer();
        for (const [name, text] of given) all.items.add(new File([text], name)); return all; }""",
        [["pyrite.xy", samples["pyrite"]], ["rutile.xy", samples["rutile"]]],
    )
    page.dispatch_event("#points", "drop", {"dataTransfer": files})
    wait_until(page, lambda: page.locator(".powder-list button").count() == 2)
    wait_until(page, lambda: "TiO" in page.locator(".powder-list button").nth(1).inner_text())


def test_hostile_words_remain_text(visit, served, samples):
    page = visit(served, excuse="status of 4")
    choose(page, (f"{IMAGE}.xy", samples["pyrite"]), (f"{IMAGE}<b>.xy", "no numbers"))
    page.wait_for_selector(SHOWN, state="attached", timeout=60_000)
    wait_until(page, lambda: "two numbers" in page.locator(".powder-list button").nth(1).inner_text())
    assert page.inner_text(".powder-head h2") == f"{IMAGE}.xy"
    name, content = saved(page, "Figure (SVG)")
    assert "<" not in name and [one for one in ElementTree.fromstring(content).iter() if one.tag.endswith("img")] == []
    _, content = saved(page, "Report (HTML)")
    assert b"<img src=x" not in content and b"&lt;img" in content
    page.fill("[name=elements]", IMAGE)
    page.get_by_role("button", name="Search again").click()
    wait_until(page, lambda: "img" in page.inner_text(".powder-form .powder-message"))
    assert page.locator("#powder img, #powder .powder-list b b").count() == 0


# Narrow, dark, by touch


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_shows_all_of_it(visit, served, samples, scheme):
    page = visit(served, viewport=(390, 844))
    page.emulate_media(color_scheme=scheme)
    ask(page, "both.xy", samples["both"])
    wide = page.evaluate(
        "(() => [document.documentElement.scrollWidth, document.querySelector('#powder').scrollWidth])()"
    )
    assert max(wide) <= 390
    for part in (".powder-figure", ".powder-candidates", ".powder-list", ".powder-form", ".powder-files"):
        page.locator(part).scroll_into_view_if_needed()
        assert page.locator(part).is_visible(), part
    assert page.locator(".powder-box").bounding_box()["width"] > 340


def contrast(one, other):
    def light(color):
        parts = np.array(re.findall(r"[\d.]+", color)[:3], float)
        parts = parts if color.startswith("color(") else parts / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out_in_light_and_in_the_dark(visit, served, samples, scheme):
    page = visit(served)
    page.emulate_media(color_scheme=scheme)
    ask(page, "both.xy", samples["both"])

    def style(part, name):
        return page.locator(part).first.evaluate(f"(one) => getComputedStyle(one)['{name}']")

    paper = style("#powder", "backgroundColor")
    assert (contrast(paper, "rgb(0, 0, 0)") < 2) == (scheme == "dark")
    for part in (".powder-calculated", ".powder-measured", ".powder-difference", ".powder-ticks path"):
        assert contrast(style(part, "stroke"), paper) > 3, part
    for part in (".powder-axes text", ".powder-legend text"):
        assert contrast(style(part, "fill"), paper) > 4.5, part


def test_two_fingers_zoom_and_a_tap_reads(browser, served, samples):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(served)
    page.wait_for_selector("html[data-ready]", state="attached")
    ask(page, "both.xy", samples["both"])
    page.locator(".powder-sheet").scroll_into_view_if_needed()
    whole = ticks(page)
    x, y, width, height = sheet(page)
    page.touchscreen.tap(x + 0.4 * width, y + 80)
    assert page.locator(".powder-reading").is_visible()
    client = context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": x + place * width, "y": y + 80, "id": number} for number, place in enumerate(places)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.4, 0.6)
    for step in range(1, 6):
        touch("touchMove", 0.4 - 0.05 * step, 0.6 + 0.05 * step)
    touch("touchEnd")
    page.wait_for_timeout(100)
    near = ticks(page)
    assert near[1] - near[0] < 0.5 * (whole[1] - whole[0])
    touch("touchStart", 0.5)
    for step in range(1, 6):
        touch("touchMove", 0.5 - 0.05 * step)
    touch("touchEnd")
    page.wait_for_timeout(100)
    assert ticks(page)[0] - near[0] == pytest.approx(0.25 * (near[1] - near[0]), rel=0.2)
    context.close()


def test_the_mode_is_without_faults_of_accessibility(visit, served, samples):
    script = Path(__file__).parents[2] / "tools/front_end/node_modules/axe-core/axe.min.js"
    if not script.exists():
        pytest.skip("axe-core is not installed: npm ci in tools/front_end")
    page = visit(served)
    ask(page, "both.xy", samples["both"])
    page.evaluate(script.read_text())
    faults = page.evaluate("() => axe.run('#powder').then((found) => found.violations)")
    assert faults == [], json.dumps(
        [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in faults], indent=1
    )
