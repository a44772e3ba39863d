"""The web application of the page: it sends the page and its data, and passes uploads to the worker."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import CrystalInputError
from .document import render_failure, render_opening
from .kept_answers import FILES
from .uploads import Limits
from .worker import Worker

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names under which a computer reaches itself."""
BODY_SECONDS = 60.0
"""Time limit for the arrival of an upload, in seconds."""
DROP_SECONDS = 1.0
"""Time for which the rest of an upload that is too large is read and dropped, in seconds."""
REQUESTS_AT_ONCE = 64
"""Limit on the number of requests that are answered at once."""
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
    service = _Service(index_folder, page, parts, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(service.start_worker())
        yield
        starting.cancel()
        service.worker.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.worker, app.state.parts, app.state.told = service.worker, service.parts, service.told
    app.state.asked = service.asked
    _add_guard(app, hosts)
    _add_sentences_for_errors(app)
    _add_addresses(app, service)
    return app


class _Service:
    """The page, its data and the worker, whose answers wait for each other.

    Attributes
    ----------
    worker : Worker
    parts : Future of a mapping of str to bytes
        The data that the page fetches.
    told : threading.Event
        Set when a page has shown why the index cannot be read.
    asked : threading.Event
        Set when somebody has opened the page.
    """

    def __init__(
        self,
        folder: str | Path,
        page: str,
        parts: Mapping[str, bytes] | Future[Mapping[str, bytes]],
        limits: Limits,
    ):
        self.worker, self.parts, self.told = Worker(folder, limits), _future_of(parts), threading.Event()
        self.asked = threading.Event()
        self._folder, self._page, self._waiting, self._limits = folder, page, render_opening(), limits
        self._turn, self._uploads = asyncio.Lock(), 0  # uploads that are arriving, waiting or being answered

    async def start_worker(self) -> None:
        """Start the worker when the index has been read."""
        reading = asyncio.wrap_future(self.parts)
        reading.add_done_callback(_retrieve)  # or asyncio logs what it believes nobody was told of
        await asyncio.wait([reading])
        async with self._turn:
            if self.parts.exception() is None and self.worker.pid is None:  # an upload may have started it
                self.worker.start()

    def shown(self) -> tuple[int, str]:
        """The status and the page: the map, that the index is being read, or why it cannot be."""
        self.asked.set()
        if not self.parts.done():
            return 200, self._waiting
        if (error := self.parts.exception()) is None:
            return 200, self._page
        self.told.set()
        return 500, render_failure(_without_place(error, self._folder))

    def opened(self) -> Mapping[str, bytes]:
        """The data of the page; a refusal while the index is being read, or if it cannot be."""
        if not self.parts.done():
            raise Refusal(503, "The index is still being read. Try again in a moment.")
        if (error := self.parts.exception()) is not None:
            raise Refusal(500, _without_place(error, self._folder))
        return self.parts.result()

    async def ask(self, question: dict[str, Any], request: Request | None = None) -> tuple[int, bytes]:
        """Wait for the worker's answer to a question, and to the body of a request if there is one."""
        self.opened()
        if self._uploads > self._limits.waiting:
            raise Refusal(503, "Too many uploads are waiting. Try again in a minute.")
        self._uploads += 1
        try:
            body = b"" if request is None else await _read_body(request, self._limits.upload_bytes)
            async with self._turn:
                return await run_in_threadpool(self.worker.ask, question, body)
        finally:
            self._uploads -= 1


def _retrieve(reading: asyncio.Future[Any]) -> None:
    """Ask a future for its error, which others have from where it comes."""
    if not reading.cancelled():
        reading.exception()


def _add_guard(app: FastAPI, hosts: Sequence[str] | None) -> None:
    """Refuse requests of other sites, and more of them at once than the limit."""
    served = 0

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


def _add_sentences_for_errors(app: FastAPI) -> None:
    """Answer what goes wrong with a sentence."""

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


def _add_addresses(app: FastAPI, service: _Service) -> None:
    """Answer the requests of the page."""

    @app.get("/")
    async def show_page() -> HTMLResponse:
        status, page = service.shown()
        return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})

    @app.get("/parts/{name:path}")
    def give_part(name: str) -> Response:
        try:
            return Response(service.opened()[name], media_type="application/octet-stream")
        except KeyError:
            raise Refusal(404, "The map has no data of this name.") from None

    @app.post("/ask")
    async def ask(request: Request) -> Response:
        name = unquote(request.headers.get("x-file-name", ""), errors="replace")
        return _json(*await service.ask({"name": name, **_question(request)}, request))

    @app.post("/answers/{key}/rest")
    async def ask_rest(key: str, request: Request) -> Response:
        return _json(*await service.ask({"key": key, **_question(request)}))

    @app.get("/answers/{key}/{file}")
    async def give_file(key: str, file: str) -> Response:
        if file not in FILES:
            raise Refusal(404, "An answer has no file of this name.")
        status, content = await service.ask({"key": key, "file": file})
        if status != 200:
            return _json(status, content)
        saved = {"Content-Disposition": f'attachment; filename="{file}"'}
        return Response(content, media_type=FILES[file], headers=saved)


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


def _json(status: int, content: bytes) -> Response:
    return Response(content, status, media_type="application/json")
