"""OPTIMADE: pages of the reference server on the loopback, saved pages, JSON lines, and servers that misbehave."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.crystals.formats import optimade
from deepchem_crystalssl.crystals.store import write_records
from deepchem_crystalssl.errors import CrystalInputError, LimitError, NoCrystalsError, ServerError, UnsupportedFileError

ALLOY = Structure(Lattice.hexagonal(3.2, 5.1), [{"Fe": 0.5, "Co": 0.3}, "O"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
SERVER = """
import socket, sys, uvicorn
from optimade.server.config import ServerConfig
from optimade.server.create_app import create_app
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
address = f"http://127.0.0.1:{listening.getsockname()[1]}"
app = create_app(ServerConfig(insert_test_data=False, insert_from_jsonl=sys.argv[1], page_limit=4, base_url=address))
print(address, flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
"""


def resource_of(structure, name):
    """A structure as an OPTIMADE resource, as the specification has it."""
    elements = sorted({element.symbol for element in structure.elements})
    kinds = {}
    for site in structure:
        symbols = [element.symbol for element in site.species]
        shares = [float(share) for share in site.species.values()]
        if sum(shares) < 1 - 1e-9:
            symbols, shares = [*symbols, "vacancy"], [*shares, 1 - sum(shares)]
        kinds.setdefault("".join(symbols), {"chemical_symbols": symbols, "concentration": shares})
    at_sites = [
        "".join([e.symbol for e in s.species] + ["vacancy"] * (s.species.num_atoms < 1 - 1e-9)) for s in structure
    ]
    features = ["disorder"] if not structure.is_ordered else []
    attributes = {
        "last_modified": "2026-01-01T00:00:00Z",
        "immutable_id": f"immutable-{name}",
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [1 / len(elements)] * len(elements),
        "chemical_formula_descriptive": "X",
        "chemical_formula_reduced": "".join(elements),
        "chemical_formula_anonymous": "".join("ABCDEFGH"[: len(elements)]),
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": structure.lattice.matrix.tolist(),
        "cartesian_site_positions": structure.cart_coords.tolist(),
        "nsites": len(structure),
        "species": [{"name": kind, **parts} for kind, parts in kinds.items()],
        "species_at_sites": at_sites,
        "structure_features": features,
    }
    return {"id": name, "type": "structures", "attributes": attributes}


@pytest.fixture(scope="module")
def chosen(structures):
    return [*structures[:9], ALLOY]


@pytest.fixture(scope="module")
def ids(chosen):
    return [f"db/{k}" for k in range(len(chosen))]


@pytest.fixture(scope="module")
def resources(chosen, ids):
    return [resource_of(structure, name) for structure, name in zip(chosen, ids, strict=True)]


@pytest.fixture(scope="module")
def export(resources, tmp_path_factory):
    """JSON lines as OPTIMADE exports are written: a header, an info entry, then the structures."""
    path = tmp_path_factory.mktemp("export") / "optimade.jsonl"
    head = [{"x-optimade": {"meta": {"api_version": "1.2.0"}}}, {"type": "info", "id": "structures", "properties": {}}]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in [*head, *resources]))
    return path


@pytest.fixture(scope="module")
def real_server(export):
    """The reference implementation (optimade-python-tools), with the exported structures."""
    if find_spec("optimade") is None or find_spec("mongomock") is None or find_spec("uvicorn") is None:
        pytest.skip("the server of optimade-python-tools is not installed")
    environment = {**os.environ, "OPTIMADE_CONFIG_FILE": "", "no_proxy": "*"}
    command = [sys.executable, "-W", "ignore", "-c", SERVER, str(export)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        address = next((line.strip() for line in process.stdout if line.startswith("http")), None)  # after its log
        if address is None:
            pytest.skip(f"the server of optimade-python-tools does not start: {process.stderr.read()[-300:]}")
        for _ in range(100):
            try:
                urlopen(f"{address}/v1/info", timeout=5).close()
                break
            except URLError:
                time.sleep(0.1)
        yield f"{address}/v1/structures"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(optimade.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "*")


def read(source, **options):
    return list(read_structures(source, **options))


def assert_same(crystals, structures, ids):
    assert [crystal.material_id for crystal in crystals] == list(ids)
    for crystal, structure in zip(crystals, structures, strict=True):
        again = crystal.to_structure()
        assert [site.species.as_dict() for site in again] == [site.species.as_dict() for site in structure]
        assert np.allclose(again.lattice.matrix, structure.lattice.matrix)
        assert np.allclose(again.distance_matrix, structure.distance_matrix, atol=1e-6)


def test_the_reference_server(real_server, chosen, ids, tmp_path):
    assert_same(read(real_server), chosen, ids)  # three pages
    assert_same(read([real_server, chosen[0]])[:-1], chosen, ids)
    assert [position for position, _ in read_structures(real_server).enumerate()] == list(range(10))
    assert_same(read(f'{real_server}?filter=id="db/3" OR id="db/9"'), [chosen[3], ALLOY], ["db/3", "db/9"])
    assert_same(read(f"{real_server}/{quote('db/4')}"), chosen[4:5], ["db/4"])
    assert_same(read(real_server, id_column="immutable_id"), chosen, [f"immutable-{name}" for name in ids])
    with urlopen(f"{real_server}?page_limit=6") as response:
        (tmp_path / "page.json").write_bytes(response.read())
    assert_same(read(tmp_path / "page.json"), chosen[:6], ids[:6])
    assert write_records(real_server, tmp_path / "store", disorder="average") == 10
    with pytest.raises(NoCrystalsError, match="without structures"):
        read(f'{real_server}?filter=id="none"')
    with pytest.raises(ServerError, match="status 400: Unable to parse filter"):
        read(f"{real_server}?filter=nonsense IS&page_limit=1")
    with pytest.raises(ServerError, match="status 404"):
        read(real_server.replace("structures", "nothing"))
    with pytest.raises(ServerError, match="answer without structures|entries of type"):
        read(real_server.replace("structures", "info"))


def test_exported_lines(export, chosen, ids, tmp_path):
    assert_same(read(export), chosen, ids)
    lines = export.read_text().splitlines()
    (tmp_path / "broken.jsonl").write_text("\n".join([*lines[:3], lines[3][:-9], *lines[4:]]))
    reader = read_structures(tmp_path / "broken.jsonl", on_error="skip")
    assert_same(list(reader), [chosen[0], *chosen[2:]], [ids[0], *ids[2:]])
    assert len(reader.report) == 1 and type(reader.report[0]) is UnsupportedFileError
    (tmp_path / "head.jsonl").write_text("\n".join(lines[:2]))
    with pytest.raises(NoCrystalsError):
        read(tmp_path / "head.jsonl")


def test_pages_in_files(resources, chosen, ids, tmp_path):
    page = {"data": resources, "links": {"next": None}, "meta": {"more_data_available": False}}
    for content in (page, {"meta": page["meta"], **page}, resources):
        (tmp_path / "page.json").write_text(json.dumps(content))
        assert_same(read(tmp_path / "page.json"), chosen, ids)
        assert_same(read(content), chosen, ids)
    assert_same(read({"data": resources[2], "meta": {}}), chosen[2:3], ids[2:3])
    assert_same(read(resources[2]), chosen[2:3], ids[2:3])
    for content, error in (
        ({"errors": [{"title": "Bad Request", "detail": "no such filter"}], "meta": {}}, UnsupportedFileError),
        ({"data": [], "meta": {}}, NoCrystalsError),
        ({"data": None, "meta": {}}, NoCrystalsError),
    ):
        (tmp_path / "page.json").write_text(json.dumps(content))
        with pytest.raises(error):
            read(tmp_path / "page.json")


@pytest.mark.parametrize(
    "change",
    [
        {"lattice_vectors": None},
        {"lattice_vectors": [[1, 0, 0], [0, 1, 0]]},
        {"cartesian_site_positions": [[0, 0, 0]]},
        {"cartesian_site_positions": [[None, 0, 0]] * 3},
        {"species_at_sites": ["X"] * 3},
        {"species": [{"name": "Na", "chemical_symbols": ["Na", "K"], "concentration": [1.0]}]},
        {"species": [{"chemical_symbols": ["Na"]}]},
        {"dimension_types": [1, 1, 0]},
        {"structure_features": ["assemblies"]},
    ],
)
def test_a_broken_entry_costs_itself_alone(resources, chosen, ids, change):
    broken = {**resources[1], "attributes": {**resources[1]["attributes"], **change}}
    with answering({"/": {"data": [resources[0], broken, *resources[2:]]}}) as address:
        reader = read_structures(address, on_error="skip")
        assert_same(list(reader), [chosen[0], *chosen[2:]], [ids[0], *ids[2:]])
    assert reader.report.indices == [1] and ids[1] in reader.report[0].item
    assert type(reader.report[0]) is not CrystalInputError


@contextmanager
def answering(pages, asked=None):
    """A server on the loopback that gives a page, a status, or what a function returns, for each path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            if asked is not None:
                asked.append(self.path)
            answer = pages.get(self.path, 404)
            answer = answer(self) if callable(answer) else answer
            if answer is None:
                return
            status, headers, body = answer if isinstance(answer, tuple) else (200, {}, answer)
            if isinstance(body, int):
                status, body = body, b"nothing"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def chain(resources, length, forms=("text",)):
    """Pages of one structure each, linked to the next."""
    pages = {}
    for k in range(length):
        link = f"/?page={k + 1}" if k + 1 < length else None
        link = {"href": link} if link and k % 2 else link
        pages["/" if not k else f"/?page={k}"] = {"data": resources[k : k + 1], "links": {"next": link}}
    return pages


def test_pages_are_fetched_when_they_are_needed(resources, ids):
    asked = []
    with answering(chain(resources, 5), asked) as address:
        reader = iter(read_structures(address))
        assert next(reader).material_id == ids[0] and asked == ["/"]
        assert next(reader).material_id == ids[1] and asked == ["/", "/?page=1"]
        assert [c.material_id for c in reader] == ids[2:5] and len(asked) == 5


def test_a_busy_server_is_asked_again(resources, ids, monkeypatch):
    waits = []
    monkeypatch.setattr(optimade.time, "sleep", waits.append)
    answers = [(429, {"Retry-After": "7"}, b""), (503, {"Retry-After": "99999"}, b""), {"data": resources[:1]}]
    with answering({"/": lambda handler: answers.pop(0)}) as address:
        assert [c.material_id for c in read(address)] == ids[:1]
    assert waits == [7.0, optimade.MAX_WAIT]
    asked = []
    with answering({"/": 500}, asked) as address:
        with pytest.raises(ServerError, match="no answer after 4 attempts .*500"):
            read(address)
    assert len(asked) == optimade.RETRIES
    with pytest.raises(ServerError, match="no answer after"):
        read(address)  # nobody is there any more


def test_what_came_before_a_fault_is_not_lost(resources, ids):
    pages = chain(resources, 4)
    pages["/?page=2"] = 410
    with answering(pages) as address:
        reader = read_structures(address, on_error="skip")
        assert [c.material_id for c in reader] == ids[:2]
        assert type(reader.report[0]) is ServerError and reader.report.indices == [2]
        reader = read_structures([address + "?page=2", address + "?page=3"], on_error="skip")
        assert [c.material_id for c in reader] == ids[3:4] and reader.report.indices == [0]
        with pytest.raises(ServerError):
            read(address + "?page=2", on_error="skip")


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("http://localhost:1/structures", "next page at http://localhost"),
        ("https://127.0.0.1/structures", "next page at https"),
        ("file:///etc/passwd", "fetched by http or https"),
        ("/", "read before"),
        ("ftp://127.0.0.1/", "fetched by http or https"),
    ],
)
def test_links_stay_on_the_server(resources, link, told):
    with answering({"/": {"data": resources[:1], "links": {"next": link}}}) as address:
        reader = read_structures(address, on_error="skip")
        assert len(list(reader)) == 1 and type(reader.report[0]) is ServerError and told in str(reader.report[0])


def test_redirections_stay_on_the_server(resources, ids):
    pages = {
        "/": (302, {"Location": "/there"}, b""),
        "/there": {"data": resources[:1]},
        "/away": (302, {"Location": "http://localhost:1/"}, b""),
        "/file": (302, {"Location": "file:///etc/passwd"}, b""),
    }
    with answering(pages) as address:
        assert [c.material_id for c in read(address)] == ids[:1]
        for path in ("away", "file"):
            with pytest.raises(CrystalInputError):
                read(address + path)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[1, 2]",
        b'{"data": 3}',
        b'{"data": [{"type": "references", "id": "a"}]}',
        b"[" * 200_000,
        b'{"meta"',
    ],
)
def test_answers_of_something_else(body):
    with answering({"/": body}) as address:
        with pytest.raises(ServerError, match="127.0.0.1"):
            read(address)


def test_more_structures_without_a_link_are_told(resources):
    with answering({"/": {"data": resources[:2], "meta": {"more_data_available": True}}}) as address:
        reader = read_structures(address, on_error="skip")
        assert len(list(reader)) == 2 and "no link to them" in str(reader.report[0])


def test_limits(resources, monkeypatch):
    size = len(json.dumps(resources[0]))
    for name, value, told in (
        ("MAX_PAGES", 2, "at most 2 pages"),
        ("MAX_PAGE_BYTES", 100, "at most 100 bytes"),
        ("MAX_ANSWER_BYTES", size + 300, f"at most {size + 300:,} bytes"),
    ):
        with monkeypatch.context() as patch, answering(chain(resources, 4)) as address:
            patch.setattr(optimade, name, value)
            with pytest.raises(LimitError, match=told):
                read(address)

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(10**6):
                handler.wfile.write(b" " * 2**16)
        except OSError:
            pass

    monkeypatch.setattr(optimade, "MAX_PAGE_BYTES", 10**6)
    with answering({"/": endless}) as address:
        with pytest.raises(LimitError, match="1,000,000 bytes"):
            read(address)


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(optimade, "TIMEOUT", 0.2)
    with answering({"/": lambda handler: time.monotonic() and threading.Event().wait(0.6) or 404}) as address:
        with pytest.raises(ServerError, match="timed out|no answer"):
            read(address)


@pytest.mark.parametrize("source", ["ftp://example.org/a", "file:///etc/passwd", "https:///structures", "s3://a/b"])
def test_other_addresses(source):
    with pytest.raises(ServerError, match="http or https"):
        read(source)
