"""The server of the page: it reads an index in the background, and runs the web application."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import threading
import webbrowser
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import uvicorn

from ..errors import OptionError, QueryError
from ..search.opening import check_is_index, is_sharded
from ..search.saving import link_parts
from ..search.sharded_map import sample_folder, sample_of
from ..search.storage import read_manifest
from .application import LOOPBACK, make_app
from .document import open_mapped, render_page
from .payload import Payload
from .uploads import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..search import EmbeddingIndex

logger = logging.getLogger(__name__)

ERROR_SECONDS = 10.0
"""If the index cannot be read, the server waits so long, in seconds, until an open page has shown the error."""
MOMENT_SECONDS = 2.0
"""If no page is open then, the server waits so long, in seconds, for one to be opened, and ends."""
CONNECTIONS = 512
"""Limit on the number of connections, which may be idle."""
PORTS_TRIED = 20
"""Number of ports that are tried if the first ones are taken."""


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
        laid out and saved there; where nothing can be written, it is laid out for this time. Of a sharded index a
        sample is shown. If it cannot be read, the page says why, and the server ends with the error.
    host, port, allow_remote
        As in :func:`serve`.
    title : str
        Title of the page.
    limits : Limits
        Limits on the size, time and memory of an upload.
    on_start : callable
        Called with the address when the page can be opened, and returns whether it has opened a page. By default it
        opens the browser.

    Raises
    ------
    IndexFolderError, QueryError, OptionError
        If there is no index or it cannot be read, if other computers could reach the server and ``allow_remote`` is
        false, or if there is no free port.
    """
    check_host(host, allow_remote)
    check_is_index(index_folder)
    sharded = is_sharded(index_folder)
    if not sharded:
        read_manifest(index_folder)

    folder, may_write = sample_folder(index_folder) if sharded else index_folder, os.access(index_folder, os.W_OK)
    everywhere = host in ("0.0.0.0", "::", "")  # then the names under which others reach it are unknown
    with nullcontext() if may_write else TemporaryDirectory() as place:

        def read() -> Mapping[str, bytes]:
            index = sample_of(index_folder) if sharded else open_mapped(index_folder)
            if place is not None:
                _keep_elsewhere(index, None if sharded else Path(index_folder), Path(place))
            return Payload(index, upload_bytes=limits.upload_bytes)

        app = make_app(
            folder, render_page(title), _in_background(read), limits, None if everywhere else (*LOOPBACK, host)
        )
        if place is not None:  # where the worker finds the map, while sentences name the folder of the index
            app.state.worker.index_folder = place
        serve(app, host, port, allow_remote, on_start)


def _keep_elsewhere(index: EmbeddingIndex, folder: Path | None, place: Path) -> None:
    """Keep an index in another folder, with its map; of one in a folder the other parts are links to that."""
    if folder is None:
        index.save(place)
        return
    link_parts(folder, place)
    index.keep_map(place)


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
        Called with the address of the page when it can be opened; returns whether it has opened a page.

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
    is_opened = on_start is not None and bool(on_start(f"http://{shown}:{found}/"))
    config = uvicorn.Config(
        app, host, found, log_level="warning", limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)

    def stop_after_an_error() -> None:
        if app.state.parts.exception() is not None:  # waits until the index is read
            if is_opened or app.state.asked.wait(MOMENT_SECONDS):
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
