"""The map as a widget: what Python sets and sees, alone and with the page in a real browser."""

import gzip
import json
import os
import shutil
import time
from base64 import b64encode
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import sync_playwright

import deepchem_crystalssl.explorer
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.explorer import MapWidget
from deepchem_crystalssl.search import EmbeddingIndex
from deepchem_crystalssl.search.queries import distinct_names

ipywidgets_comm = pytest.importorskip("ipywidgets.comm")
traitlets = pytest.importorskip("traitlets")
base_comm = pytest.importorskip("comm.base_comm")

CHROMIUM = shutil.which("chromium")
FLAGS = "--no-sandbox --disable-gpu --enable-unsafe-swiftshader --no-first-run --disable-background-networking".split()
WIDGET = Path(deepchem_crystalssl.explorer.__file__).parent / "page" / "widget.js"
SCRIPT = "</script><script>alert(1)</script>"
# The part of anywidget's model that a widget uses. What it sends waits in an outbox.
MODEL = """
import widget from "WIDGET";
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
window.makeModel = (state) => {
  const listeners = new Map(), changed = {};
  const call = (event, ...words) => (listeners.get(event) ?? []).slice().forEach((listener) => listener(...words));
  const model = {
    outbox: [],
    get: (name) => state[name],
    set(name, value) { state[name] = changed[name] = value; call(`change:${name}`); },
    save_changes() {
      model.outbox.push({ method: "update", state: { ...changed } });
      for (const name of Object.keys(changed)) delete changed[name];
    },
    send: (content) => model.outbox.push({ method: "custom", content }),
    on: (event, listener) => listeners.set(event, [...(listeners.get(event) ?? []), listener]),
    off: (event, listener) => listeners.set(event, (listeners.get(event) ?? []).filter((one) => one !== listener)),
    receive({ method, state: news, content }, buffers) {
      if (method === "custom") return call("msg:custom", content, buffers.map(bytes));
      for (const [name, value] of Object.entries(news)) { state[name] = value; call(`change:${name}`); }
    },
    listeners: () => [...listeners.values()].flat().length,
  };
  return model;
};
window.show = (state) => {
  window.model = makeModel(state);
  window.cleanUp = widget.render({ model: window.model, el: document.getElementById("cell") });
};
window.loaded = true;
"""


class Comm(base_comm.BaseComm):
    """Keeps what a widget sends, as messages and their buffers."""

    def __init__(self, *args, **options):
        self.sent = []
        super().__init__(*args, **options)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        self.sent.append((json.loads(json.dumps(data)), buffers or []))

    def deliver(self, data):
        """As if the browser had sent it."""
        self.handle_msg({"content": {"data": data}, "buffers": []})


@pytest.fixture(autouse=True)
def comms(monkeypatch):
    monkeypatch.setattr(ipywidgets_comm, "create_comm", Comm)


@pytest.fixture(scope="module")
def index(prototypes):
    names = distinct_names([crystal.material_id for crystal in prototypes[:80]])
    metadata = pd.DataFrame({"material_id": names, "gap": np.linspace(0, 8, 80), "note": SCRIPT})
    index = EmbeddingIndex.from_structures(prototypes[:80], "small", metadata, progress=False)
    index.make_map(progress=False)
    return index


@pytest.fixture
def widget(index):
    return MapWidget(index)


def last_state(widget):
    """What was sent of each trait last."""
    states = [data["state"] for data, _ in widget.comm.sent if data.get("method") == "update" or "state" in data]
    return {name: value for state in states for name, value in state.items()}


def from_page(widget, **state):
    widget.comm.deliver({"method": "update", "state": state, "buffer_paths": []})


# Python alone


def test_python_has_ids_and_the_page_rows(widget, index):
    ids = index.table["material_id"].tolist()
    widget.highlighted, widget.crystal = [ids[7], ids[2]], ids[5]
    assert last_state(widget)["highlighted"] == [7, 2] and last_state(widget)["crystal"] == 5
    seen = []
    widget.observe(lambda change: seen.append((change["name"], change["new"])), ["selection", "crystal", "color"])
    from_page(widget, selection=[3, 0], crystal=4, color="gap")
    assert sorted(seen) == [("color", "gap"), ("crystal", ids[4]), ("selection", [ids[3], ids[0]])]
    assert widget.selected["material_id"].tolist() == [ids[3], ids[0]]
    from_page(widget, selection=[], crystal=None)
    assert widget.selection == [] and widget.crystal is None and len(widget.selected) == 0
    widget.highlighted = pd.Index(ids[:2])
    assert widget.highlighted == ids[:2]


def test_what_the_index_does_not_know_is_refused(widget, index):
    for change in ({"highlighted": ["mp-1"]}, {"crystal": "mp-1"}, {"color": "mass"}):
        with pytest.raises(QueryError, match="mp-1|mass"):
            widget.set_trait(*next(iter(change.items())))
    with pytest.raises(QueryError, match="mass"):
        MapWidget(index, color="mass")
    with pytest.raises(traitlets.TraitError, match="read-only"):
        widget.selection = []
    with pytest.raises(QueryError, match="an object of type list.*sample"):
        MapWidget([])
    from_page(widget, selection=[80])  # ipywidgets logs the error
    assert widget.selection == [] and widget.highlighted == [] and widget.crystal is None


def part(widget, name):
    widget.comm.deliver({"method": "custom", "content": {"type": "ask", "part": name}})
    data, buffers = widget.comm.sent[-1]
    assert data["content"]["type"] == "part" and data["content"]["part"] == name
    return data["content"].get("error") or gzip.decompress(buffers[0])


def test_parts_are_sent_when_they_are_asked_for(widget, index):
    assert part(widget, "ids").decode().split("\n") == index.table["material_id"].tolist()
    assert part(widget, "page").startswith(b"<!doctype html>") and b"Map of materials" in part(widget, "page")
    assert len(part(widget, "structures:0")) > 1000
    assert "no data of this name" in part(widget, "../secret") and "no data" in part(widget, "column:mass")
    assert sum(len(json.dumps(data)) for data, _ in widget.comm.sent[:2]) < 20_000  # the page is no part of the state


def test_colours_from_python(widget, index):
    ids, values = index.table["material_id"], np.arange(80.0)
    widget.color_by(values, "mass")
    assert widget.color == "mass" and last_state(widget)["_columns"] == [
        {"name": "mass", "version": 1, "categories": None}
    ]  # fmt: skip
    assert np.array_equal(np.frombuffer(part(widget, "column:mass"), "<f4"), values)
    widget.color_by(pd.Series({ids[4]: 2.0, ids[1]: 1.0}), "mass")
    known = np.frombuffer(part(widget, "column:mass"), "<f4")
    assert known[[1, 4]].tolist() == [1.0, 2.0] and np.isnan(np.delete(known, [1, 4])).all()
    assert last_state(widget)["_columns"][0]["version"] == 2
    widget.color_by(["a", "b", None, "a"] * 20, "kind")
    assert np.frombuffer(part(widget, "column:kind"), "<u2")[:4].tolist() == [0, 1, 65535, 0]
    assert last_state(widget)["_columns"][1]["categories"] == ["a", "b"]
    widget.color = "O"
    assert last_state(widget)["_columns"][2]["categories"] == ["with O"] and widget.color == "O"
    for bad, name in ((values[:5], "x"), (values, "gap"), (values, "material_id"), (list(map(str, values)), "x"),
                      (pd.Series({"mp-1": 1.0}), "x"), (np.zeros((80, 2)), "x"), (3.0, "x")):  # fmt: skip
        with pytest.raises(QueryError):
            widget.color_by(bad, name)
    assert widget.color == "O"


def test_words_in_a_cell(widget):
    bundle = widget._repr_mimebundle_()[0]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert bundle["text/plain"] == "MapWidget(80 crystals)"


# In a browser


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None and "CI" not in os.environ:
        pytest.skip("there is no chromium")
    assert CHROMIUM is not None, "CI needs chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Shown:
    """A widget and the browser that shows it; messages go to and fro while it waits."""

    def __init__(self, widget, page, ready):
        self.widget, self.page, self.done = widget, page, len(widget.comm.sent)
        page.evaluate("(state) => show(state)", last_state(widget))
        self.frame = page.frame_locator("iframe[name=crystalssl-map]")
        self.until(lambda: (self.frame if ready.startswith("html") else page).locator(ready).count() == 1)

    def exchange(self):
        for message in self.page.evaluate("() => model.outbox.splice(0)"):
            self.widget.comm.deliver({**message, "buffer_paths": []})
        for data, buffers in self.widget.comm.sent[self.done :]:
            if data.get("method") != "echo_update":
                texts = [b64encode(buffer).decode() for buffer in buffers]
                self.page.evaluate("([data, buffers]) => model.receive(data, buffers)", [data, texts])
        self.done = len(self.widget.comm.sent)

    def until(self, holds):
        end = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < end, self.page.locator("body").inner_text()
            self.exchange()
            self.page.wait_for_timeout(30)

    def inner(self, script):
        return self.page.frame("crystalssl-map").evaluate(script)


@pytest.fixture
def show(browser):
    context, faults = browser.new_context(offline=True, viewport={"width": 1200, "height": 900}), []
    # The notebook is not there: its address is answered here.
    context.route("http://notebook/", lambda route: route.fulfill(
        body='<!doctype html><div id="cell"></div>', content_type="text/html"))  # fmt: skip

    def open_widget(widget, ready="html[data-ready]"):
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.goto("http://notebook/")
        script = "data:text/javascript;base64," + b64encode(WIDGET.read_bytes()).decode()
        page.add_script_tag(content=MODEL.replace("WIDGET", script), type="module")
        page.wait_for_function("() => window.loaded")
        return Shown(widget, page, ready)

    yield open_widget
    context.close()
    assert faults == []


def n_vivid(shown):
    """Pixels of the map that have a colour, and not a pale one."""
    return shown.inner("""() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
        const canvas = document.getElementById("points"), context = canvas.getContext("2d");
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        let vivid = 0;
        for (let i = 0; i < data.length; i += 4) {
            vivid += Math.max(...data.subarray(i, i + 3)) - Math.min(...data.subarray(i, i + 3)) > 60;
        }
        done(vivid);
    })))""")


@pytest.mark.browser
def test_the_user_selects_and_python_sees_it(widget, index, show):
    shown = show(widget)
    frame = shown.frame
    assert "80 crystals" in frame.locator("#count").inner_text()
    frame.locator("#lasso").click()
    box = frame.locator("#points").bounding_box()
    corners = [(0.02, 0.98), (0.02, 0.02), (0.98, 0.02), (0.98, 0.98)]  # the tools are at the top
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    shown.page.mouse.move(*points[0])
    shown.page.mouse.down()
    for point in points[1:]:
        shown.page.mouse.move(*point, steps=3)
    shown.page.mouse.up()
    shown.until(lambda: len(widget.selection) == 80)
    frame.locator(".chip").click()
    shown.until(lambda: widget.selection == [])
    frame.locator("#query").fill("O")
    frame.locator("#query").press("Enter")
    with_oxygen = index.table[index.table["chemical_system"].str.split("-").map(lambda parts: "O" in parts)]
    shown.until(lambda: widget.selection == with_oxygen["material_id"].tolist())
    assert 0 < len(with_oxygen) < 80
    frame.locator("#query").fill(widget.ids_of([3])[0])
    frame.locator("#query").press("Enter")
    shown.until(lambda: widget.crystal == widget.ids_of([3])[0])
    shown.until(lambda: frame.locator(".structure[data-atoms]").count() == 1)  # its structure came from the kernel
    frame.locator("#color").select_option("gap")
    shown.until(lambda: widget.color == "gap")


@pytest.mark.browser
def test_python_changes_the_page(widget, show):
    widget.color = "crystal_system"
    shown = show(widget)
    frame = shown.frame
    shown.until(lambda: frame.locator("#key button", has_text="cubic").count() == 1)
    whole = n_vivid(shown)
    widget.highlighted = widget.ids_of(range(8))
    shown.exchange()
    shown.until(lambda: 0 < n_vivid(shown) < 0.5 * whole)
    widget.highlighted = []
    shown.until(lambda: n_vivid(shown) == whole)
    widget.crystal = widget.ids_of([6])[0]
    shown.until(lambda: frame.locator("#panel p").first.inner_text() == widget.ids_of([6])[0])
    widget.color_by(np.linspace(5, 7, 80), SCRIPT)  # words are words
    shown.until(lambda: frame.locator("#color").input_value() == SCRIPT and frame.locator("#key .bar").count() == 1)
    ends = frame.locator("#key .ends")
    assert ends.all_inner_texts() == ["5", "7"]
    widget.color_by(np.linspace(1, 3, 80), SCRIPT)
    shown.until(lambda: ends.all_inner_texts() == ["1", "3"])
    widget.height = 500
    shown.until(lambda: shown.page.locator("iframe").bounding_box()["height"] == 500)


@pytest.mark.browser
def test_the_page_and_the_notebook_do_not_touch_each_other(widget, show):
    shown = show(widget)
    assert shown.inner("() => { try { return parent.document.title; } catch { return null; } }") is None
    assert shown.inner("() => origin") == "null"
    # Messages of others are not answered.
    shown.page.evaluate("() => { postMessage({ type: 'state', selection: [1] }, '*'); }")
    shown.page.evaluate("""() => { const other = document.createElement("iframe");
        other.srcdoc = '<script>parent.frames[0].postMessage({ type: "set", crystal: 1 }, "*");'
            + 'parent.postMessage({ type: "state", crystal: 1 }, "*");</' + 'script>';
        document.body.append(other); }""")
    for _ in range(30):  # so long that the page could have opened a crystal
        shown.page.wait_for_timeout(50)
        shown.exchange()
    assert (
        widget.selection == []
        and widget.crystal is None
        and "data-row" not in shown.inner("() => document.getElementById('panel').outerHTML")
    )
    shown.page.evaluate("() => cleanUp()")
    assert shown.page.evaluate("() => model.listeners()") == 0


@pytest.mark.browser
def test_a_page_that_cannot_be_made_is_said(widget, show, monkeypatch):
    def broken(title):
        raise QueryError("index", "gone", "the index is there", "Load it again.")

    monkeypatch.setattr("deepchem_crystalssl.explorer.widget.render_page", broken)
    shown = show(widget, ready="#cell p")
    shown.until(lambda: shown.page.inner_text("#cell p") == "index: gone; the index is there. Load it again.")
