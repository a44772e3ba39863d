"""A real server on a real port: what it answers, and what it survives."""

import contextlib
import gzip
import io
import json
import re
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import quote

import httpx
import numpy as np
import psutil
import pytest
import uvicorn

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.errors import IndexFolderError, OptionError
from deepchem_crystalssl.explorer import server as server_module
from deepchem_crystalssl.explorer.application import HEADERS, make_app
from deepchem_crystalssl.explorer.server import explore, serve
from deepchem_crystalssl.explorer.uploads import Limits
from deepchem_crystalssl.search import EmbeddingIndex, ShardedIndex

pytestmark = pytest.mark.once

GRID = dcs.XRDGrid(wavelength="CuKa1")
LIMITS = Limits(upload_bytes=4_000_000)
PAGE = "<!doctype html><title>map</title>"
CELL = "_cell_length_a {0}\n_cell_length_b {0}\n_cell_length_c {0}\n" + "".join(
    f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma")
)
SITES = "loop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"


def cif_of(frac, edge=10.0, group="P 1"):
    rows = "\n".join("Fe {:.6f} {:.6f} {:.6f}".format(*position) for position in frac)
    return f"data_x\n{CELL.format(edge)}_space_group_name_H-M_alt '{group}'\n{SITES}{rows}\n"


@contextlib.contextmanager
def running(app):
    """Its address; the server runs in a thread."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:  # or a test that fails would leave the server running
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def folder(prototypes, tmp_path_factory):
    index = EmbeddingIndex.from_structures(prototypes, "small", patterns=True, progress=False)
    index.make_map(progress=False)
    path = tmp_path_factory.mktemp("explorer") / "index"
    index.save(path)
    return path


@pytest.fixture(scope="module")
def app(folder):
    return make_app(folder, PAGE, {"positions": b"\x01\x02", "lines:0": b"\x03"}, LIMITS)


@pytest.fixture(scope="module")
def address(app):
    with running(app) as address:
        yield address


@pytest.fixture(scope="module")
def pyrite(prototypes):
    return next(crystal for crystal in prototypes if crystal.material_id == "AB2_cP12_205_a_c")


@pytest.fixture(scope="module")
def good(pyrite):
    """Its CIF."""
    return pyrite.to_structure().to(fmt="cif", symprec=0.01)


def ask(address, body, name="x.cif", headers=None, **query):
    content = body.encode() if isinstance(body, str) else body
    headers = {"X-File-Name": quote(name, safe=""), **(headers or {})}
    return httpx.post(f"{address}/ask", content=content, headers=headers, params=query, timeout=120)


def refused(response, status):
    """Whether an error came as JSON with a sentence; the sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    sentence = response.json()["error"]
    assert list(response.json()) == ["error"] and " " in sentence and len(sentence) < 700
    assert "Traceback" not in sentence and os.path.dirname(dcs.__file__) not in sentence
    return sentence


def lives_on(address, good):
    return ask(address, good).json()["neighbors"][0]["material_id"] == "AB2_cP12_205_a_c"


# Answers


def test_mixed_sites_are_answered_and_said(address, good):
    rows = "Na 0 0 0 0.5\nK 0 0 0 0.5\nCl 0.5 0.5 0.5 1\n"
    mixed = f"data_x\n{CELL.format(3.7)}_space_group_name_H-M_alt 'P 1'\n{SITES}_atom_site_occupancy\n{rows}"
    answer = ask(address, mixed).json()
    assert answer["mixed"] and len(answer["structure"]["numbers"]) == 2 and len(answer["neighbors"]) == 12
    assert not ask(address, good).json()["mixed"]


def test_the_page_its_parts_and_their_headers(address):
    page = httpx.get(address)
    assert page.text == PAGE and page.headers["content-type"].startswith("text/html")
    part = httpx.get(f"{address}/parts/lines:0")
    assert part.content == b"\x03" and part.headers["content-type"] == "application/octet-stream"
    missing = httpx.get(f"{address}/parts/..%2f..%2fetc%2fpasswd")
    for response in (page, part, missing, httpx.get(f"{address}/parts/other")):
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert missing.status_code == 404 and "error" in missing.json()
    assert "no data of this name" in refused(httpx.get(f"{address}/parts/other"), 404)
    for hidden in ("docs", "openapi.json", "redoc"):
        assert httpx.get(f"{address}/{hidden}").status_code == 404


@pytest.mark.parametrize("name", ["pyrite.cif", "pyrite.txt", "pyrite", "POSCAR_pyrite", "Pyrite.VASP", "pyrite.json"])
def test_a_crystal_is_found_again(address, folder, pyrite, good, name):
    structure = pyrite.to_structure()
    formats = {"POSCAR_pyrite": "poscar", "Pyrite.VASP": "poscar", "pyrite.json": "json"}
    answer = ask(address, structure.to(fmt=formats[name]) if name in formats else good, name).json()
    index = EmbeddingIndex.load(folder)
    nearest = answer["neighbors"][0]
    assert nearest["material_id"] == pyrite.material_id and nearest["distance"] < 1e-3
    assert index.table["material_id"][nearest["row"]] == pyrite.material_id and nearest["formula"] == "FeS2"
    assert len(answer["neighbors"]) == 12 and answer["formula"] == "FeS2" and answer["name"] == name
    assert answer["kind"] == "crystal"
    assert np.abs(np.array(answer["position"]) - index.map.positions[nearest["row"]]).max() < 1e-6
    shape = np.array(answer["structure"]["frac_coords"]).shape
    assert shape == (12, 3) and sorted(answer["structure"]["numbers"]) == [16] * 8 + [26] * 4
    lines = dict(zip(answer["lines"]["two_theta"], answer["lines"]["intensity"], strict=True))
    expected = structure.lattice.d_hkl((3, 1, 1))  # as the powder diffraction file has it
    strongest = max(lines, key=lines.get)
    assert abs(strongest - 2 * np.degrees(np.arcsin(1.54056 / 2 / expected))) < 0.1 and lines[strongest] == 1.0


def test_a_pattern_is_known_again(address, folder, pyrite):
    ideal = measure_patterns([pyrite], HARD, GRID, 0)[0].astype(float)
    counts = np.random.default_rng(0).poisson(5000 * ideal + 80)
    text = "\n".join(f"{x:.3f} {y}" for x, y in zip(GRID.two_theta, counts, strict=True))
    for query in ({"wavelength": "CuKa1"}, {"wavelength": "1.54056", "elements": "Fe, S"}):
        answer = ask(address, text, "pyrite.xy", **query).json()
        best, curve = answer["matches"][0], answer["curve"]
        assert best["material_id"] == pyrite.material_id and best["space_group"] == 205 and best["formula"] == "FeS2"
        assert pyrite.material_id in answer["verdict"] and answer["kind"] == "pattern"
        positions = EmbeddingIndex.load(folder).map.positions
        assert np.abs(np.array(answer["position"]) - positions[best["row"]]).max() < 1e-6
        assert 1_000 < len(curve["two_theta"]) <= 3_000 and max(curve["measured"]) == 1.0
        assert np.corrcoef(curve["measured"], curve["calculated"])[0, 1] > 0.8
        assert len(answer["matches"]) > 1 or "elements" in query
    assert "no crystal is left" in refused(ask(address, text, "a.xy", elements="Og"), 422)
    assert "Kryptonite" in refused(ask(address, text, "a.xy", wavelength="Kryptonite"), 422)
    for number in ("nan", "0", "-1"):
        assert "wavelength" in refused(ask(address, text, "a.xy", wavelength=number), 422)


# Refusals


def hostile():
    """Name of the case, content, file name, status, a word of the sentence."""
    rng = np.random.default_rng(0)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.cif", bytes(10_000_000))
    table = "\n".join(f"{20 + k / 25_000:.5f} 1" for k in range(250_000))
    angles = "\n".join(f"{x} 5" for x in range(10, 90))
    poscar = "x\n1.0\n5 0 0\n0 5 0\n0 0 5\nFe\n999999999\ndirect\n0 0 0\n"
    nested = "[" * 200_000
    many = {"lattice_mat": (9 * np.eye(3)).tolist(), "coords": [[0.5, 0, 0]] * 90_000, "elements": ["H"] * 90_000}
    flat = {"lattice_vectors": [[9, 0, 0]] * 3, "cartesian_site_positions": many["coords"], "species_at_sites": ["H"]}
    entity = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    return [
        ("empty", "", "x.cif", 422, "0 characters"),
        ("blank", " \n" * 9, "x.xy", 422, "0 characters"),
        ("broken cif", "data_x\nloop_\n_a\n_b\n1 2 3\n", "x.cif", 422, "x.cif"),
        ("gzip bomb", gzip.compress(bytes(50_000_000)), "x.cif", 415, "compressed"),
        ("zip bomb", zipped.getvalue(), "x.cif", 415, "compressed"),
        ("png", b"\x89PNG\r\n\x1a\n" + rng.bytes(500), "x.png", 415, "binary"),
        ("wrong suffix", "hello", "x.tex", 415, "suffix '.tex'"),
        ("no suffix", "hello", "thesis", 415, "no suffix"),
        ("a path", "/etc/passwd", "x.cif", 422, "x.cif"),
        ("a path as poscar", "/etc/passwd", "POSCAR", 415, "POSCAR"),
        ("a path as pattern", "/etc/passwd", "x.xy", 422, "two numbers"),
        ("many atoms", cif_of(rng.random((100_000, 3))), "x.cif", 413, "100,000"),
        ("many atoms of JARVIS", json.dumps(many), "x.json", 413, "90,000 listed"),
        (
            "many atoms of OPTIMADE",
            json.dumps({"data": [{"id": "a", "attributes": flat}]}),
            "x.json",
            413,
            "90,000 listed",
        ),
        ("symmetry explodes", cif_of(rng.random((60, 3)), 90.0, "F m -3 m"), "x.cif", 413, "sites of one crystal"),
        ("many atoms announced", poscar, "POSCAR", 413, "999,999,999"),
        ("nested", nested, "x.json", 422, "many levels"),
        ("no sites", '{"lattice": {"matrix": 5}, "sites": 5}', "x.json", 422, "x.json"),
        ("entities", entity, "x.xrdml", 415, "document type"),
        ("nan angle", angles + "\nnan 5", "x.xy", 422, "angle nan"),
        ("nan count", angles + "\n90 nan", "x.xy", 422, "count nan"),
        ("too many counts", angles + "\n90 1e308", "x.xy", 422, "1e+308"),
        ("many points", "\n".join(["20 1"] * 800_000), "x.xy", 413, "points"),
        ("some more points", table.replace("\n", "\r"), "x.xy", 413, "250,000 points"),
        ("long sentence", f'data_x\n{CELL.format("5")}{SITES}{"Q" * 9999} 0 0 0\n', "x.cif", 422, "QQQ"),
    ]


@pytest.fixture(scope="module")
def memory(address, app, good):
    """Bytes held by this process and the worker, once all is warm."""
    assert lives_on(address, good)
    return lambda: [psutil.Process(pid).memory_info().rss for pid in (os.getpid(), app.state.worker.pid)]


def test_hostile_uploads_get_a_sentence_and_cost_nothing(address, app, good, memory):
    pid, before = app.state.worker.pid, memory()
    for case, content, name, status, word in hostile():
        assert word in refused(ask(address, content, name), status), case
    assert lives_on(address, good) and app.state.worker.pid == pid
    assert max(np.subtract(memory(), before)) < 300e6


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", None),
        ("/etc/passwd", None),
        ("C:\\Windows\\x.cif", "C:\\Windows\\x.cif"),
        ("../../x.cif", "../../x.cif"),
        ("a\0b\n\u202ex.cif", "abx.cif"),
        ("x" * 3000 + ".cif", "x" * 80),
        ("<script>alert(1)</script>.cif", "<script>alert(1)</script>.cif"),
    ],
)
def test_a_file_name_is_only_shown(address, good, name, shown):
    response = ask(address, good if shown else "hello", name)
    assert response.headers["content-type"] == "application/json"
    if shown is None:
        assert "root:" not in refused(response, 415) and name in response.json()["error"]
    else:
        assert response.json()["name"] == shown


def test_no_file_is_opened(address, good, tmp_path):
    path = tmp_path / "secret.cif"
    path.write_text(good)
    assert ask(address, good, str(path)).json()["name"] == str(path)[:80]
    for content in (str(path), f"{path}\n", json.dumps(str(path)), str(tmp_path)):
        for name in (str(path), "x.json", "POSCAR", "x.txt"):
            response = ask(address, content, name)
            assert response.status_code in (415, 422) and refused(response, response.status_code)


def test_markup_is_data(address):
    script = "<script>alert(1)</script>"
    bad = cif_of([[0, 0, 0]]).replace("Fe 0", f"{script} 0")
    response = ask(address, bad, script + ".cif")
    assert script in refused(response, 422) and response.headers["x-content-type-options"] == "nosniff"


def raw(address, head, chunks):
    """Status line and sentence of an answer to a request sent by hand, perhaps before it is all sent."""
    port = int(address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"POST /ask HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{head}\r\n\r\n".encode())
        for chunk in chunks:
            connection.sendall(chunk)
        return connection.makefile("rb").read().decode()


def test_a_huge_body_is_refused_before_it_is_sent(address, good):
    announced = raw(address, "Content-Length: 99000000000\r\nConnection: close", [])
    assert " 413 " in announced and "larger than the 4 MB" in announced
    # The last chunk, which would end the body, never comes.
    chunks = [b"100000\r\n" + b"a" * 0x100000 + b"\r\n"] * 3 + [b"e0000\r\n" + b"a" * 0xE0000 + b"\r\n"]
    chunked = raw(address, "Transfer-Encoding: chunked\r\nConnection: close", chunks)
    assert " 413 " in chunked and "larger than the 4 MB" in chunked
    assert lives_on(address, good)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "evil@127.0.0.1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_other_sites_are_refused(address, good, headers):
    refused(ask(address, good, headers=headers), 403)
    if "Host" in headers:
        refused(httpx.get(address, headers=headers), 403)


def test_the_own_page_may_ask(address, good):
    local = address.replace("127.0.0.1", "localhost")
    own = {"Origin": local, "Host": local.removeprefix("http://"), "Sec-Fetch-Site": "same-origin"}
    assert ask(address, good, headers=own).status_code == 200


# A worker that hangs, dies or is wanted by many


def test_ten_uploads_at_once_are_all_answered(address, good):
    with ThreadPoolExecutor(10) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda _: ask(address, good), range(10))]
    assert set(statuses) <= {200, 503} and statuses.count(200) >= 9  # one is answered while eight wait


def test_more_than_may_wait_are_told_to_come_back(address, app, good):
    pid = app.state.worker.pid
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(12) as pool:
        uploads = [pool.submit(ask, address, good) for _ in range(12)]
        while sum(upload.done() for upload in uploads) < 3:
            time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)
        answers = [upload.result() for upload in uploads]
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [503] * 3
    assert "Try again" in refused(next(answer for answer in answers if answer.status_code == 503), 503)


def test_a_worker_killed_at_work_is_replaced(address, app, good):
    assert lives_on(address, good)  # it has opened the index
    pid = app.state.worker.pid
    os.kill(pid, signal.SIGSTOP)  # so that it is at work for certain
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(ask, address, good)
        time.sleep(0.5)
        assert not upload.done()
        os.kill(pid, signal.SIGKILL)
        assert "ended by the signal SIGKILL before it had answered" in refused(upload.result(), 503)
    assert lives_on(address, good) and app.state.worker.pid != pid and not psutil.pid_exists(pid)


def test_a_worker_killed_while_it_waits_or_opens_the_index_costs_no_upload(address, app, good):
    assert lives_on(address, good)
    os.kill(app.state.worker.pid, signal.SIGKILL)
    assert gone(app.state.worker.pid, 5)
    assert lives_on(address, good)
    app.state.worker.start()
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(lives_on, address, good)
        time.sleep(0.3)
        assert not upload.done() and not app.state.worker._ready
        os.kill(app.state.worker.pid, signal.SIGKILL)
        assert upload.result()


def test_a_server_that_is_stopped_starts_no_other_worker(folder, good):
    app = make_app(folder, PAGE, {}, LIMITS)
    with running(app) as address, ThreadPoolExecutor(1) as pool:
        assert lives_on(address, good)
        pid = app.state.worker.pid
        os.kill(pid, signal.SIGSTOP)
        upload = pool.submit(ask, address, good)
        time.sleep(0.5)
        app.state.worker.close()
        assert "being stopped" in refused(upload.result(), 503)
        assert not psutil.pid_exists(pid)
    assert not any(
        process.is_running() for process in psutil.Process().children() if "spawn_main" in process.cmdline()[-1]
    )


def test_an_upload_that_takes_too_long_is_ended(address, app, good, monkeypatch):
    assert lives_on(address, good)
    pid = app.state.worker.pid
    with monkeypatch.context() as short:
        short.setattr(app.state.worker, "limits", Limits(seconds=0.002))  # no crystal is answered so quickly
        start = time.monotonic()
        assert "longer than 0.002 s" in refused(ask(address, good), 504)
        assert time.monotonic() - start < 10
    assert lives_on(address, good) and not psutil.pid_exists(pid)


def test_an_upload_that_needs_too_much_memory_is_ended(folder, good):
    app = make_app(folder, PAGE, {}, Limits(memory_bytes=60_000_000))
    with running(app) as address:
        assert lives_on(address, good)
        pid = app.state.worker.pid
        lists = "[" + "[]," * 1_400_000 + "[]]"  # 110 MB once it is read
        assert "memory" in refused(ask(address, lists, "x.json"), 422)
        assert lives_on(address, good) and app.state.worker.pid != pid


def test_the_page_is_for_this_computer_alone(app, monkeypatch):
    started = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: [one.close() for one in sockets])
    for host in ("0.0.0.0", "", "192.168.1.5", "::", "example.org"):
        with pytest.raises(ValueError, match="allow_remote"):
            serve(app, host, on_start=started.append)
    for host in ("127.0.0.1", "localhost"):
        serve(app, host, port=0, on_start=started.append)
    serve(app, "0.0.0.0", port=0, allow_remote=True, on_start=started.append)
    assert [re.sub(r":\d+/", "", one) for one in started] == [
        "http://127.0.0.1", "http://localhost", "http://0.0.0.0",
    ]  # fmt: skip


def test_a_network_one_trusts_may_use_any_name(folder):
    name = {"Host": "lab-computer:8000"}
    with running(make_app(folder, PAGE, {}, LIMITS, None)) as address:
        assert httpx.get(address, headers=name).text == PAGE
        assert httpx.get(address, headers={"Host": "no name/"}).status_code == 403


def test_a_broken_index_is_said_and_not_where_it_is(tmp_path, good, capfd):
    (tmp_path / "index.json").write_text(json.dumps({"format": 1}))
    with running(make_app(tmp_path, PAGE, {})) as address:
        assert str(tmp_path) not in refused(ask(address, good), 500)
        assert httpx.get(address).text == PAGE
    assert "IndexFolderError" in capfd.readouterr().err


# While the index is read, and ports


def test_while_the_index_is_read_a_page_waits(folder, good):
    parts = Future()
    app = make_app(folder, PAGE, parts, LIMITS)
    with running(app) as address:
        waiting = httpx.get(address)
        assert waiting.status_code == 200 and 'http-equiv="refresh"' in waiting.text and PAGE not in waiting.text
        assert waiting.headers["cache-control"] == "no-store"
        for response in (httpx.get(f"{address}/parts/ids"), ask(address, good)):
            assert "still being read" in refused(response, 503)
        assert app.state.worker.pid is None  # the worker would read the index at the same time
        parts.set_result({"ids": b"\x01"})
        assert httpx.get(address).text == PAGE and httpx.get(f"{address}/parts/ids").content == b"\x01"
        assert lives_on(address, good)


@contextlib.contextmanager
def command(*arguments):
    """The command explore in a process of its own, whose lines can be read."""
    whole = [sys.executable, "-m", "deepchem_crystalssl.cli", "explore", *map(str, arguments), "--no-browser"]
    with subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def until_the_map(address):
    """The page, once it is not the one that waits."""
    end = time.monotonic() + 120
    while 'http-equiv="refresh"' in (text := httpx.get(address).text):
        assert time.monotonic() < end
        time.sleep(0.1)
    return text


def test_the_command_takes_the_next_port_and_says_so(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with command(folder, "--port", port) as process:
            address = process.stdout.readline().split()[0]
            found = int(re.fullmatch(r"http://127.0.0.1:(\d+)/", address)[1])
            assert port < found < port + 20
            assert "Map of materials" in until_the_map(address)
            process.terminate()
            said = process.stderr.read()
    assert f"port {port} is taken; the page is served on port {found}" in said


def test_ports_that_are_none_and_ports_that_are_taken(app, monkeypatch):
    for port in (-1, 65_536):
        with pytest.raises(OptionError, match="from 0 to 65535"):
            serve(app, port=port)
    monkeypatch.setattr(server_module, "PORTS_TRIED", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=f"the ports {port} to {port} are taken"):
            serve(app, port=port, on_start=lambda address: pytest.fail(address))


def test_an_index_without_a_map_and_a_sharded_one_are_laid_out_behind_the_page(prototypes, tmp_path):
    EmbeddingIndex.from_structures(prototypes[:40], "small", progress=False).save(tmp_path / "index")
    ShardedIndex.build(prototypes[:40], tmp_path / "sharded", "small", engine="serial", progress=False)
    for name in ("index", "sharded"):
        with command(tmp_path / name, "--port", 0) as process:
            lines = iter(process.stdout.readline, "")
            address = next(line for line in lines if line.startswith("http")).split()[0]
            assert "Map of materials" in until_the_map(address)
            ids = gzip.decompress(httpx.get(f"{address}parts/ids").content).decode().split("\n")
            assert len(ids) == 40


def test_no_index_is_said_at_once_and_a_broken_one_stops_the_server(folder, tmp_path):
    with pytest.raises(IndexFolderError, match="index.json is missing"):
        explore(tmp_path, on_start=lambda address: pytest.fail(address))
    shutil.copytree(folder, tmp_path / "index")
    (tmp_path / "index" / "catalogue.parquet").write_bytes(b"")
    pages = Future()

    def watch(address):
        threading.Thread(target=lambda: pages.set_result(page_of_the_error(address))).start()

    with pytest.raises(IndexFolderError, match="catalogue.parquet: 0 bytes"):
        explore(tmp_path / "index", port=0, on_start=watch)
    page = pages.result(10)
    assert page.status_code == 500 and "catalogue.parquet: 0 bytes" in page.text
    assert str(tmp_path) not in page.text and "refresh" not in page.text


def page_of_the_error(address):
    """The page that takes the place of the one that waits."""
    while 'http-equiv="refresh"' in (page := httpx.get(address)).text:
        time.sleep(0.05)
    return page


def test_an_index_that_cannot_be_read_is_said_to_every_request_and_ends_the_command(folder, tmp_path, good):
    shutil.copytree(folder, tmp_path / "index")
    (tmp_path / "index" / "catalogue.parquet").write_bytes(b"")
    parts = Future()
    with running(make_app(tmp_path / "index", PAGE, parts, LIMITS)) as address:
        parts.set_exception(KeyError("no sentence for a user"))
        for response in (httpx.get(f"{address}/parts/ids"), ask(address, good)):
            assert "log says why" in refused(response, 500)
        assert "log says why" in httpx.get(address).text
    with command(tmp_path / "index", "--port", 0) as process:
        assert "catalogue.parquet: 0 bytes" in page_of_the_error(process.stdout.readline().split()[0]).text
        assert process.wait(20) == 2 and "catalogue.parquet: 0 bytes" in process.stderr.read()


def gone(pid, seconds):
    """Whether a process ends within a time."""
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("is_at_work", [False, True])
def test_a_worker_ends_with_its_server_whatever_ends_it(folder, good, is_at_work):
    endless = cif_of([[0, 0, 0], [0.002, 0, 0]], edge=1000.0)
    with command(folder, "--port", 0) as process, ThreadPoolExecutor(1) as pool:
        address = process.stdout.readline().split()[0].rstrip("/")
        until_the_map(address)
        assert lives_on(address, good)
        (worker,) = [one.pid for one in psutil.Process(process.pid).children() if "spawn_main" in one.cmdline()[-2]]
        if is_at_work:
            pool.submit(ask, address, endless)
            time.sleep(1)
        process.kill()
        assert gone(worker, 5)
