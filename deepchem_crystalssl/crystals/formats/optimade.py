"""Structures that an OPTIMADE server answers, page by page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .database_entries import is_entry
from ...errors import CrystalInputError, LimitError, NoCrystalsError, ServerError
from .json_documents import Document, Piece
from .json_entries import is_other_type
from ..limits import LIMITS, check_text
from .texts import Item, read_json

MAX_PAGES = 100_000
"""Pages of one query."""
MAX_PAGE_BYTES = 2**26
"""Bytes of one page."""
MAX_ANSWER_BYTES = 2**36
"""Bytes of all pages."""
TIMEOUT = 60.0
"""Seconds to wait for a server."""
RETRIES = 4
"""How often a page is asked for if a server is busy or does not answer."""
MAX_WAIT = 60.0
"""Seconds between two attempts, also if a server asks for more."""

_BUSY = {408, 425, 429, 500, 502, 503, 504}


def read_optimade(url: str, id_column: str | None = None) -> Iterator[tuple[int, Item]]:
    """The structures of a query, each with its position in the answer.

    The pages are fetched one after the other, each when it is needed. Links to the next page are followed on the same
    server only.

    Parameters
    ----------
    url : str
        Such as ``https://optimade.materialsproject.org/v1/structures?filter=elements HAS "Si"``.

    Yields
    ------
    (int, Crystal or CrystalInputError)
        Called by its OPTIMADE ``id``.

    Raises
    ------
    ServerError
        If a page cannot be fetched, is no answer of OPTIMADE, or leads to another server.
    LimitError
        If there are more pages or bytes than the limits of this module.
    NoCrystalsError
        If there is no structure.
    """
    server = _server_of(url, url)
    seen: set[str] = set()
    position = total = 0
    page: str | None = url
    while page is not None:
        if len(seen) == MAX_PAGES:
            raise LimitError(url, f"more than {MAX_PAGES:,} pages", f"at most {MAX_PAGES:,} pages are fetched")
        seen.add(page)
        body = _fetch(page, server)
        if (total := total + len(body)) > MAX_ANSWER_BYTES:
            raise LimitError(url, f"{total:,} bytes", f"an answer may have at most {MAX_ANSWER_BYTES:,} bytes")
        answer = _parsed(body, page)
        entries = answer["data"] if isinstance(answer["data"], list) else [answer["data"]]
        for entry in entries:
            pieces: list[Piece] = [("item", None, entry)]
            for item in read_json([Document(0, True, iter(pieces))], f"{url} {position}", id_column=id_column):
                yield position, item
            position += 1
        page = _next_page(answer, page)
        if page is not None and (page in seen or _server_of(page, url) != server):
            told = "a page that was read before" if page in seen else f"the next page at {page}"
            raise ServerError(
                url, told, "every page leads to another one on the same server", "Ask this server's host."
            )
    if not position:
        raise NoCrystalsError(url, "an answer without structures", remedy="Check the filter.")


def _server_of(url: str, item: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerError(
            item,
            f"the address {url[:200]}",
            "structures are fetched by http or https",
            "Download the file and read it.",
        )
    return parts.scheme, parts.netloc


def _next_page(answer: dict, page: str) -> str | None:
    links = answer.get("links")
    link = links.get("next") if isinstance(links, dict) else None
    link = link.get("href") if isinstance(link, dict) else link
    if link:
        return urljoin(page, str(link))
    meta = answer.get("meta")
    if isinstance(meta, dict) and meta.get("more_data_available") is True and isinstance(answer["data"], list):
        raise ServerError(
            page, "more structures, and no link to them", "links.next leads to the next page", "Ask again."
        )
    return None


class _SameServer(HTTPRedirectHandler):
    """Follows redirections within a server."""

    def __init__(self, server: tuple[str, str]):
        self.server = server

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if _server_of(newurl, req.full_url) != self.server:
            raise ServerError(
                req.full_url, f"a redirection to {newurl[:200]}", "pages come from one server", "Ask there."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, server: tuple[str, str]) -> bytes:
    """The body of a page; a server that is busy is asked again."""
    request = Request(
        quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers={"Accept": "application/vnd.api+json, application/json"}
    )
    opener = build_opener(_SameServer(server))
    for attempt in range(RETRIES):
        wait = 2.0**attempt / 2
        try:
            with opener.open(request, timeout=TIMEOUT) as response:
                body = response.read(MAX_PAGE_BYTES + 1)
            if len(body) > MAX_PAGE_BYTES:
                raise LimitError(url, "a longer page", f"a page may have at most {MAX_PAGE_BYTES:,} bytes")
            return body
        except HTTPError as error:
            failed: Exception = error
            if error.code not in _BUSY:
                raise ServerError(url, _told(error)) from error
            asked = error.headers.get("Retry-After", "")
            wait = max(wait, float(asked) if asked.isdecimal() else 0.0)
        except (URLError, HTTPException, OSError) as error:
            failed = error
        if attempt + 1 < RETRIES:
            time.sleep(min(wait, MAX_WAIT))
    raise ServerError(url, f"no answer after {RETRIES} attempts ({_told(failed)})") from failed


def _told(error: Exception) -> str:
    """What a server, or the network, says is wrong."""
    if not isinstance(error, HTTPError):
        return f"{type(error).__name__}: {getattr(error, 'reason', error)}"
    try:
        errors = json.loads(error.read(2**16))["errors"]
        told = str(errors[0].get("detail") or errors[0].get("title"))
        return f"status {error.code}: {' '.join(told.split())[:400]}"
    except Exception:  # not in the form of OPTIMADE
        return f"status {error.code}: {error.reason}"


def _parsed(body: bytes, url: str) -> dict:
    rule, remedy = (
        "a page is an answer of OPTIMADE's endpoint structures",
        "Check the address: .../v1/structures?filter=...",
    )
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ServerError(url, f"no text ({str(error)[:100]})", rule, remedy) from error
    check_text(text, url, LIMITS)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ServerError(url, f"no JSON ({str(error)[:100]})", rule, remedy) from error
    data = answer.get("data") if isinstance(answer, dict) else None
    entries = data if isinstance(data, list) else [data]
    if data is None or not all(isinstance(entry, dict) for entry in entries):
        raise ServerError(url, "an answer without structures", rule, remedy)
    if entries and not any(is_entry(entry) and not is_other_type(entry) for entry in entries):
        raise ServerError(url, f"entries of type {(entries[0] or {}).get('type')!r}", rule, remedy)
    return answer


def read_pages(url: str, id_column: str | None = None) -> Iterator[tuple[int, Item]]:
    """As :func:`read_optimade`, but what goes wrong after the first structures is the last item."""
    position = -1
    try:
        for position, item in read_optimade(url, id_column):
            yield position, item
    except CrystalInputError as error:
        if position < 0:
            raise
        yield position + 1, error
