"""Whatever is uploaded, the page's server answers within its time, by an answer or by a sentence."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import psutil
import pytest
import uvicorn
from uploads import CRYSTALS, good_uploads, mutants, specials

import deepchem_crystalssl as dcs
from deepchem_crystalssl.explorer.server import make_app
from deepchem_crystalssl.explorer.uploads import Limits
from deepchem_crystalssl.search import EmbeddingIndex

pytestmark = pytest.mark.once

LIMITS = Limits(upload_bytes=4_000_000, seconds=20.0)
MUTANTS = 30
"""Number of changed uploads, times the factor of the command."""
PLACE = os.path.dirname(dcs.__file__)


@pytest.fixture(scope="module")
def app(prototypes, tmp_path_factory):
    index = EmbeddingIndex.from_structures(prototypes[:40], "small", patterns=True, progress=False)
    index.make_map(progress=False)
    folder = tmp_path_factory.mktemp("hostile") / "index"
    index.save(folder)
    return make_app(folder, "<!doctype html>", {}, LIMITS)


@pytest.fixture(scope="module")
def address(app):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def uploads(prototypes):
    return good_uploads(prototypes[0])


def ask(client, address, name, body, query=None):
    content = body.encode() if isinstance(body, str) else body
    headers = {"X-File-Name": quote(name, safe="", errors="replace")}
    return client.post(f"{address}/ask", content=content, headers=headers, params=query, timeout=120)


def fault(response):
    """What is wrong with an answer, None if nothing is."""
    if response.headers.get("content-type") != "application/json":
        return f"no JSON: {response.text[:200]}"
    found = json.loads(response.text, parse_constant=lambda name: pytest.fail(f"{name} in {response.text[:200]}"))
    if response.status_code == 200:
        return None if found["kind"] in ("crystal", "pattern") else "no kind"
    text = found.get("error", "")
    if response.status_code not in (413, 415, 422, 504) or list(found) != ["error"]:
        return f"{response.status_code}: {text}"
    is_sentence = 20 < len(text) < 700 and text.count(" ") > 3 and "Traceback" not in text and PLACE not in text
    return None if is_sentence else f"no sentence: {text}"


def faults_of(address, cases):
    """Those of many uploads, which all are answered within the time limit."""
    found = []
    with httpx.Client() as client:
        for number, (name, body, query) in enumerate(cases):
            start = time.monotonic()
            wrong = fault(ask(client, address, name, body, query))
            seconds = time.monotonic() - start
            if wrong or seconds > LIMITS.seconds + 20:  # a process that was too slow is replaced
                found.append((number, name[:40], query, wrong or f"{seconds:.0f} s"))
    return found


def test_good_uploads_are_answered(address, uploads):
    with httpx.Client() as client:
        for name, body in [(name, uploads[name]) for name in (*CRYSTALS, "columns.xy")]:
            assert ask(client, address, name, body).status_code == 200, name


def test_changed_uploads_get_an_answer_or_a_sentence(address, uploads, fuzz):
    assert not faults_of(address, mutants(uploads, MUTANTS * fuzz))


def test_uploads_that_are_bad_on_purpose_get_an_answer_or_a_sentence(address, uploads):
    assert not faults_of(address, ((name, body, {}) for name, body in specials(uploads)))


def test_clients_and_killed_workers(address, app, uploads, fuzz):
    """Ten clients ask while the worker is killed again and again; memory comes back."""
    body, clients, requests, kills = uploads["expanded.cif"], 10, 3 + 3 * fuzz, 1 + fuzz // 3
    with httpx.Client() as client:
        assert ask(client, address, "x.cif", body).status_code == 200
        before = psutil.Process().memory_info().rss

        def work(_):
            with httpx.Client() as own:
                return [ask(own, address, "x.cif", body) for _ in range(requests)]

        with ThreadPoolExecutor(clients) as pool:
            answers = [pool.submit(work, number) for number in range(clients)]
            for number in range(kills):
                time.sleep(0.5 + 0.37 * (number % 5))
                with contextlib.suppress(ProcessLookupError):  # it has just been replaced
                    os.kill(app.state.worker.pid, signal.SIGKILL)
            found = [answer for future in answers for answer in future.result()]
        statuses = [answer.status_code for answer in found]
        assert set(statuses) <= {200, 503} and statuses.count(200) >= clients
        for answer in found:
            text = answer.json().get("error")
            assert text is None if answer.status_code == 200 else text.endswith((".", "minute.")) and " " in text
        assert ask(client, address, "x.cif", body).status_code == 200
    assert psutil.Process().memory_info().rss - before < 100e6
    assert len([one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]) == 1
