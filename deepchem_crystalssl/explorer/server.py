"""The server of the page: it sends the page and its data, and passes uploads to the worker."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import re
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import CrystalInputError, OptionError, QueryError
from ..search.opening import is_sharded
from ..search.sharded_map import kept_sample, sample_folder
from ..search.storage import read_manifest
from .document import open_mapped, render_failure, render_opening, render_page
from .kept_answers import FILES
from .payload import Payload
from .uploads import Limits
from .worker import Worker

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names under which a computer reaches itself."""
BODY_SECONDS = 60.0
"""Time limit for the arrival of an upload, in seconds."""
DROP_SECONDS = 1.0
"""Time for which the rest of an upload that is too large is read and dropped, in seconds."""
ERROR_SECONDS = 10.0
"""If the index cannot be read, the server waits so long, in seconds, for a page that shows the error, and then ends."""
REQUESTS_AT_ONCE, CONNECTIONS = 64, 512
"""Limits on the number of requests that are answered at once, and on connections, which may be idle."""
PORTS_TRIED = 20
"""Number of ports that are tried if the first ones are taken."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_LONGEST_VALUE = 40  # characters of a value in a query, so that a sentence about it stays one
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?")


class Refusal(Exception):
    """An upload that is refused without being read."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


def make_app(
    index_folder: str | Path,
    page: str,
    parts: Mapping[str, bytes] | Future[Mapping[str, bytes]],
    limits: Limits = Limits(),
    hosts: Sequence[str] | None = LOOPBACK,
) -> FastAPI:
    """Make the web application, which sends the page and its data, and answers uploads.

    It answers ``GET /``, ``GET /parts/{name}``, ``POST /ask``, ``GET /answers/{key}/{file}`` and
    ``POST /answers/{key}/rest``.

    The body of a ``POST /ask`` request is the uploaded file. Its header ``X-File-Name`` (percent-encoded UTF-8) gives
    the name of the file. Its query string may hold ``wavelength`` (a name or a number in Å), ``phases`` (their number),
    and ``elements``, ``allowed`` and ``excluded`` (symbols of elements, separated by commas). The last answers to
    patterns are kept under the ``key`` that each states. The files of one are ``phases.cif``, ``reflections.csv``,
    ``report.html`` and ``export.zip``; ``rest`` asks for what its phases leave of the pattern. No part of a request is
    ever used as a path.

    Parameters
    ----------
    index_folder : str or Path
        Folder of an index that has a map. The worker process opens it.
    page : str
        The HTML of the page.
    parts : mapping of str to bytes, or Future of one
        The data that the page fetches, by name. Until a future is done, another page says that the index is being read.
    limits : Limits
        Limits on the size, time and memory of an upload.
    hosts : sequence of str, optional
        Host names that a request may address. Requests to other names are refused, because a foreign page may have
        sent them (DNS rebinding). With None, all names are allowed.

    Returns
    -------
    FastAPI
        The application. Its worker is ``app.state.worker``, and ``app.state.parts`` is the future of the parts.
    """
    worker, turn = Worker(index_folder, limits), asyncio.Lock()
    found, waiting = _future_of(parts), render_opening()
    inside = served = 0  # numbers of uploads, and of all requests, that are arriving, waiting or being answered

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(start_worker())
        yield
        starting.cancel()
        worker.close()

    async def start_worker() -> None:
        result = asyncio.wrap_future(found)
        await asyncio.wait([result])
        async with turn:
            if result.exception() is None and worker.pid is None:  # an upload may have started it
                worker.start()

    def opened() -> Mapping[str, bytes]:
        if not found.done():
            raise Refusal(503, "The index is still being read. Try again in a moment.")
        if (error := found.exception()) is not None:
            raise Refusal(500, _without_place(error, index_folder))
        return found.result()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.worker, app.state.parts, app.state.told = worker, found, threading.Event()

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        nonlocal served
        served += 1
        try:
            if (refusal := _foreign(request, hosts)) is not None:
                response: Response = _error(403, refusal)
            elif served > REQUESTS_AT_ONCE:
                response = _error(503, "Too many requests at once. Try again in a moment.")
            else:
                response = await call_next(request)
        finally:
            served -= 1
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(HTTPException)
    async def say_http(request: Request, error: HTTPException) -> Response:
        known = {404: "There is nothing at this address.", 405: "This address does not take requests of this kind."}
        return _error(error.status_code, known.get(error.status_code, f"{error.detail}."))

    @app.exception_handler(Refusal)
    async def say_refusal(request: Request, refusal: Refusal) -> Response:
        return _error(refusal.status, str(refusal))

    @app.exception_handler(Exception)
    async def say_fault(request: Request, error: Exception) -> Response:
        response = _error(500, "The request could not be answered; the server's log says why.")
        response.headers.update(HEADERS)  # this answer does not pass the guard
        return response

    @app.get("/")
    async def show_page() -> HTMLResponse:
        error = found.exception() if found.done() else None
        if error is not None:
            app.state.told.set()
        shown = (
            waiting
            if not found.done()
            else page if error is None else render_failure(_without_place(error, index_folder))
        )
        return HTMLResponse(shown, 200 if error is None else 500, headers={"Cache-Control": "no-store"})

    @app.get("/parts/{name:path}")
    def give_part(name: str) -> Response:
        try:
            return Response(opened()[name], media_type="application/octet-stream")
        except KeyError:
            raise Refusal(404, "The map has no data of this name.") from None

    async def ask_worker(question: dict[str, Any], request: Request | None = None) -> tuple[int, bytes]:
        """Wait for the worker's answer to a question, and to the body of a request if there is one."""
        nonlocal inside
        opened()
        if inside > limits.waiting:
            raise Refusal(503, "Too many uploads are waiting. Try again in a minute.")
        inside += 1
        try:
            body = b"" if request is None else await _read_body(request, limits.upload_bytes)
            async with turn:
                return await run_in_threadpool(worker.ask, question, body)
        finally:
            inside -= 1

    @app.post("/ask")
    async def ask(request: Request) -> Response:
        name = unquote(request.headers.get("x-file-name", ""), errors="replace")
        status, content = await ask_worker({"name": name, **_question(request)}, request)
        return Response(content, status, media_type="application/json")

    @app.post("/answers/{key}/rest")
    async def ask_rest(key: str, request: Request) -> Response:
        status, content = await ask_worker({"key": key, **_question(request)})
        return Response(content, status, media_type="application/json")

    @app.get("/answers/{key}/{file}")
    async def give_file(key: str, file: str) -> Response:
        if file not in FILES:
            raise Refusal(404, "An answer has no file of this name.")
        status, content = await ask_worker({"key": key, "file": file})
        if status != 200:
            return Response(content, status, media_type="application/json")
        saved = {"Content-Disposition": f'attachment; filename="{file}"'}
        return Response(content, media_type=FILES[file], headers=saved)

    return app


def explore(
    index_folder: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    title: str = "Map of materials",
    limits: Limits = Limits(),
    allow_remote: bool = False,
    on_start: Callable[[str], Any] = webbrowser.open,
) -> None:
    """Show the map of an index in the browser. Crystals and patterns can be dropped on the page.

    Parameters
    ----------
    index_folder : str or Path
        Folder that ``crystalssl index`` has written. It is read while the page waits. If it has no map yet, the map is
        laid out and saved there. Of a sharded index a sample is shown. If it cannot be read, the page says why, and the
        server ends with the error.
    host, port, allow_remote
        As in :func:`serve`.
    title : str
        Title of the page.
    limits : Limits
        Limits on the size, time and memory of an upload.
    on_start : callable
        Called with the address when the page can be opened. By default it opens the browser.

    Raises
    ------
    IndexFolderError, QueryError, OptionError
        If there is no index or it cannot be read, if other computers could reach the server and ``allow_remote`` is
        false, or if there is no free port.
    """
    check_host(host, allow_remote)
    sharded = is_sharded(index_folder)
    if not sharded:
        read_manifest(index_folder)

    def read() -> Mapping[str, bytes]:
        folder = kept_sample(index_folder) if sharded else index_folder
        return Payload(open_mapped(folder), upload_bytes=limits.upload_bytes)

    parts, folder = _in_background(read), sample_folder(index_folder) if sharded else index_folder
    everywhere = host in ("0.0.0.0", "::", "")  # then the names under which others reach it are unknown
    app = make_app(folder, render_page(title), parts, limits, None if everywhere else (*LOOPBACK, host))
    serve(app, host, port, allow_remote, on_start)


def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_remote: bool = False,
    on_start: Callable[[str], Any] | None = None,
) -> None:
    """Run the server until it is interrupted.

    Parameters
    ----------
    app : FastAPI
        The application that :func:`make_app` returns.
    host : str
        Address to listen on.
    port : int
        Port to listen on, 0 for any free one. If it is taken, the next free one is used, and the log says so.
    allow_remote : bool
        Whether ``host`` may be an address that other computers can reach. The names that they use must then be in
        ``hosts`` of :func:`make_app`.
    on_start : callable, optional
        Called with the address of the page when it can be opened.

    Raises
    ------
    QueryError
        If other computers could reach the server and ``allow_remote`` is false.
    OptionError
        If the port is no port, or it and those after it are taken.
    CrystalInputError
        What stopped the reading of the index.
    """
    check_host(host, allow_remote)
    listener = _listen(host, port)  # requests that come before the application has started wait
    found = listener.getsockname()[1]
    if port not in (0, found):
        logger.warning("port %d is taken; the page is served on port %d", port, found)
    shown = f"[{host}]" if ":" in host else host
    if on_start is not None:
        on_start(f"http://{shown}:{found}/")
    config = uvicorn.Config(
        app, host, found, log_level="warning", limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)

    def stop_after_an_error() -> None:
        if app.state.parts.exception() is not None:  # waits until the index is read
            app.state.told.wait(ERROR_SECONDS)
            server.should_exit = True

    threading.Thread(target=stop_after_an_error, daemon=True).start()
    server.run(sockets=[listener])
    if app.state.parts.done():
        app.state.parts.result()


def _listen(host: str, port: int) -> socket.socket:
    """Listen on a port, or on the next one that is free."""
    if not 0 <= port <= 65535:
        raise OptionError("port", repr(port), "a port is a number from 0 to 65535", "Use 8000, or 0 for any free one.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    last = min(port + PORTS_TRIED, 65536) - 1 if port else 0
    for number in range(port, last + 1):
        try:
            return socket.create_server((host, number), family=family, backlog=2048, dualstack_ipv6=both)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OptionError("port", repr(port), f"the ports {port} to {last} are taken", "Use 0 for any free one.")


def _in_background(read: Callable[[], Mapping[str, bytes]]) -> Future[Mapping[str, bytes]]:
    """Call a function in a thread that ends with the process."""
    found: Future[Mapping[str, bytes]] = Future()
    found.set_running_or_notify_cancel()  # so that it cannot be cancelled

    def run() -> None:
        try:
            found.set_result(read())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found


def _future_of(parts: Mapping[str, bytes] | Future[Mapping[str, bytes]]) -> Future[Mapping[str, bytes]]:
    if isinstance(parts, Future):
        return parts
    found: Future[Mapping[str, bytes]] = Future()
    found.set_result(parts)
    return found


def _without_place(error: BaseException, folder: str | Path) -> str:
    """The sentence that says why the index cannot be read, with the name of its folder but not where it is."""
    if not isinstance(error, CrystalInputError):
        return "The index cannot be read; the server's log says why."
    sentence, whole = str(error), Path(folder).absolute()
    for place in (str(whole.parent), str(Path(folder).parent)):
        sentence = sentence.replace(place.rstrip("/\\") + os.sep, "") if place not in ("", ".") else sentence
    return f"The index cannot be read. {sentence}"


def check_host(host: str, allow_remote: bool) -> None:
    """Raise a QueryError if other computers could reach the server and ``allow_remote`` is false."""
    if not allow_remote and not _is_loopback(host):
        raise QueryError("host", repr(host), "by default the page is served only to this computer",
                         "Use 127.0.0.1, or allow_remote=True (--allow-remote) on a network you trust: there are no "
                         "passwords.")  # fmt: skip


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _foreign(request: Request, hosts: Sequence[str] | None) -> str | None:
    """Return the reason for refusing a request that seems to come from another site, or None if it is accepted."""
    host = request.headers.get("host", "").lower()
    name = _HOST.fullmatch(host)
    if name is None or hosts is not None and (name[1] or name[2]) not in hosts:
        return "This server is not reachable under that name."
    if request.method not in ("GET", "HEAD"):
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or origin is not None and urlsplit(origin).netloc.lower() != host:
            return "Uploads are accepted only from the page of this server."
    return None


async def _read_body(request: Request, most: int) -> bytes:
    announced, body, stream = request.headers.get("content-length", "0"), bytearray(), request.stream()
    is_large = not announced.isdecimal() or int(announced[:20]) > most
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while not is_large and (chunk := await anext(stream, None)) is not None:
                body += chunk
                is_large = len(body) > most
    except TimeoutError:
        raise Refusal(408, f"The upload did not arrive within {BODY_SECONDS:g} s.") from None
    except ClientDisconnect:
        raise Refusal(400, "The upload was interrupted.") from None
    if is_large:
        with suppress(TimeoutError, ClientDisconnect):  # who is cut off while sending may not receive the answer
            async with asyncio.timeout(DROP_SECONDS):
                async for _ in stream:
                    body.clear()
        raise Refusal(413, f"The upload is larger than the {most / 1e6:g} MB allowed.")
    return bytes(body)


def _question(request: Request) -> dict[str, Any]:
    """Return the wavelength, the elements and the number of phases that a request gives for its pattern."""
    given = request.query_params
    wavelength: str | float | None = given.get("wavelength", "")[:_LONGEST_VALUE] or None
    phases: str | int | None = given.get("phases", "")[:_LONGEST_VALUE] or None
    with suppress(ValueError):  # the wavelength is given by name
        wavelength = None if wavelength is None else float(wavelength)
    with suppress(ValueError):  # the search says what a number of phases is
        phases = None if phases is None else int(phases)
    elements = {
        name: [one.strip() for one in given.get(name, "").split(",") if one.strip()]
        for name in ("elements", "allowed", "excluded")
    }
    return {"wavelength": wavelength, "phases": phases, **elements}


def _error(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
