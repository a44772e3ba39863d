"""Views of crystals in a notebook: a real kernel makes them, a real browser shows them."""

import os
import re
import shutil
from html import unescape

import pytest
from playwright.sync_api import sync_playwright

from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.explorer import StructureView

CHROMIUM = shutil.which("chromium")
FLAGS = "--no-sandbox --disable-gpu --enable-unsafe-swiftshader --no-first-run --disable-background-networking".split()
VIEW = """
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.explorer import StructureView
StructureView(bundled_prototypes()[{}]{})
"""

pytestmark = [
    pytest.mark.once,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="there is no chromium"),
]


class Notebook:
    """Runs code in a kernel as a notebook does, which tells the id of the cell."""

    def __init__(self, client):
        self.client = client

    def run(self, code, cell=None):
        """HTML that the cell shows."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        shown = None
        while True:
            answer = self.client.get_iopub_msg(timeout=120)
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            assert answer["msg_type"] != "error", answer["content"]
            if answer["msg_type"] == "execute_result":
                shown = answer["content"]["data"]["text/html"]
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return shown


@pytest.fixture
def notebook():
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    kernel, client = manager.start_new_kernel()
    yield Notebook(client)
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def show(browser):
    """Opens a page with outputs of cells; it may ask nothing of the network and complain of nothing."""
    context, faults = browser.new_context(offline=True), []

    def open_page(*outputs):
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
        page.set_content("".join(f'<div class="cell">{output}</div>' for output in outputs))
        return page

    yield open_page
    context.close()
    assert faults == []


def atoms(page, number):
    """How many spheres a view has drawn."""
    frame = page.frame_locator("iframe").nth(number)
    frame.locator(".structure[data-atoms]").wait_for()
    assert frame.locator("canvas").count() == 1
    return int(frame.locator(".structure").get_attribute("data-atoms"))


def holds_viewer(output):
    return len(output) > 100_000


def expected_atoms(browser, number):
    """What the page with this crystal alone draws."""
    page = browser.new_page()
    page.set_content(StructureView(bundled_prototypes()[number]).html)
    page.wait_for_selector(".structure[data-atoms]")
    count = int(page.locator(".structure").get_attribute("data-atoms"))
    page.close()
    return count


def test_the_first_view_holds_the_viewer_and_the_others_find_it(notebook, show, browser):
    first, second, third = (notebook.run(VIEW.format(number, ""), f"cell-{number}") for number in (3, 40, 7))
    assert len(first) < 330_000 and max(len(second), len(third)) < 12_000
    page = show(second, first, third)  # the order on the page does not matter
    counts = [expected_atoms(browser, number) for number in (40, 3, 7)]
    assert [atoms(page, place) for place in range(3)] == counts and len(set(counts)) == 3


def test_a_view_goes_on_when_the_first_one_is_deleted(notebook, show):
    first, second, third = (notebook.run(VIEW.format(number, ""), f"cell-{number}") for number in (3, 40, 7))
    page = show(first, second)
    atoms(page, 1)
    page.eval_on_selector(".cell", "(cell) => cell.remove()")
    page.evaluate("(output) => { document.body.insertAdjacentHTML('beforeend', output); }", third)
    assert atoms(page, 0) > 0 and atoms(page, 1) > 0  # the second one gives the viewer to the third


def test_a_view_alone_says_what_it_lacks_and_draws_once_that_is_there(notebook, show):
    first, second = (notebook.run(VIEW.format(number, ""), f"cell-{number}") for number in (3, 40))
    page = show(second)
    message = page.frame_locator("iframe").locator("#message")
    message.get_by_text("self_contained=True").wait_for()
    page.evaluate("(output) => { document.body.insertAdjacentHTML('beforeend', output); }", first)
    assert atoms(page, 0) > 0 and message.count() == 0


def test_which_cell_holds_the_viewer(notebook):
    assert holds_viewer(notebook.run(VIEW.format(3, ""), "a"))
    assert not holds_viewer(notebook.run(VIEW.format(3, ""), "b"))
    assert holds_viewer(notebook.run(VIEW.format(5, ""), "a"))  # its old output is gone
    assert holds_viewer(notebook.run(VIEW.format(3, ", self_contained=True"), "b"))
    assert not holds_viewer(notebook.run(VIEW.format(3, "")))  # a notebook that tells no ids
    assert not holds_viewer(notebook.run(VIEW.format(3, "")))


def test_without_a_notebook_every_view_stands_alone(prototypes, show):
    output = StructureView(prototypes[3])._repr_html_()
    assert all(holds_viewer(one) for one in (output, StructureView(prototypes[4])._repr_html_()))
    assert atoms(show(output), 0) > 0


def test_words_of_a_view_are_words():
    output = StructureView(bundled_prototypes()[0])._repr_html_()
    [structure] = re.findall(r'data-structure="([^"]*)"', output)
    assert unescape(structure).startswith('{"lattice"') and "<script" not in output
