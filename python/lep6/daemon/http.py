"""The few pages that monitoring asks for, over HTTP/1.1: `/livez`, `/readyz`, `/metrics`, `/status.json`.

One request a connection. Nothing here changes anything, and nothing is secret, but it is not meant for strangers.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, final
from urllib.parse import urlsplit

import h11
import trio
from attrs import define, frozen

from lep6.daemon.checks import Checks
from lep6.observe import get_logger

log = get_logger("daemon.http")

MOST_CONNECTIONS: Final = 32
MOST_HEADER_BYTES: Final = 16384
REQUEST_SECONDS: Final = 5.0
"""For a caller to say what it wants."""
ANSWER_SECONDS: Final = 10.0
"""For us to find it out, and as long again for the caller to read it."""
LINGER_SECONDS: Final = 1.0
"""For the caller to close, so that its system does not throw our last words away."""
READ_BYTES: Final = 4096
VERSION: Final = 1
"""Of the document of `/readyz`."""
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"

Render = Callable[[str], tuple[bytes, str]]
"""From what the caller accepts to a page and its content type."""
Status = Callable[[], Awaitable[Mapping[str, Any]]]


async def serve_http(
    listeners: Sequence[trio.abc.Listener[Any]], *, metrics: Render, checks: Checks, status: Status
) -> None:
    """Serve until cancelled. The listeners are closed then."""
    pages = _Pages(metrics, checks, status)
    await trio.serve_listeners(pages.serve, list(listeners))


@final
@frozen
class _Answer:
    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


def _text(status: int, text: str, *headers: tuple[str, str]) -> _Answer:
    return _Answer(status, f"{text}\n".encode(), TEXT, headers)


def _json(status: int, document: object) -> _Answer:
    return _Answer(status, json.dumps(document, indent=1, default=str).encode() + b"\n", JSON)


@final
@define(eq=False)
class _Pages:
    metrics: Render
    checks: Checks
    status: Status
    _open: int = 0

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer one request; the stream is closed then."""
        if self._open >= MOST_CONNECTIONS:
            log.warning("http_crowded", connections=self._open)
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            # A caller that goes away has what it wanted, or never will.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._serve(stream)
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADER_BYTES)
        request: h11.Request | None = None
        try:
            with trio.fail_after(REQUEST_SECONDS):
                request = await _request(connection, stream)
        except trio.TooSlowError:
            answer = _text(408, f"the request did not come within {REQUEST_SECONDS:g} s")
        except h11.RemoteProtocolError as error:
            answer = _text(error.error_status_hint, str(error))
        else:
            if request is None:
                return
            answer = await self._answer(request)
        with trio.move_on_after(ANSWER_SECONDS):
            await _send(connection, stream, answer, is_head=request is not None and request.method == b"HEAD")
        await _linger(stream)

    async def _answer(self, request: h11.Request) -> _Answer:
        try:
            with trio.fail_after(ANSWER_SECONDS):
                return await self._page(request)
        except trio.TooSlowError:
            return _text(503, f"no answer within {ANSWER_SECONDS:g} s")
        except Exception:  # a bug of one page takes nothing else down
            log.exception("http_failed", target=request.target.decode("ascii", "replace"))
            return _text(500, "a bug of lep6: its log says which")

    async def _page(self, request: h11.Request) -> _Answer:
        try:
            path = urlsplit(request.target.decode("ascii")).path
        except ValueError:
            return _text(400, "the target is no URL")
        pages: dict[str, Callable[[], Awaitable[_Answer]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": partial(self._metrics, _header(request, b"accept")),
            "/status.json": self._status,
        }
        page = pages.get(path)
        if page is None:
            return _text(404, "there are /livez, /readyz, /metrics and /status.json")
        if request.method not in (b"GET", b"HEAD"):
            return _text(405, "GET or HEAD", ("Allow", "GET, HEAD"))
        return await page()

    async def _livez(self) -> _Answer:
        is_alive = self.checks.is_alive
        return _text(200, "ok") if is_alive else _text(503, "the heal service has not ticked for long")

    async def _readyz(self) -> _Answer:
        results = {name: {"ok": ok, "detail": detail} for name, (ok, detail) in self.checks.results().items()}
        is_ready = self.checks.is_ready
        return _json(200 if is_ready else 503, {"version": VERSION, "ready": is_ready, "checks": results})

    async def _metrics(self, accept: str) -> _Answer:
        body, content_type = self.metrics(accept)
        return _Answer(200, body, content_type)

    async def _status(self) -> _Answer:
        return _json(200, await self.status())


async def _request(connection: h11.Connection, stream: trio.abc.ReceiveStream) -> h11.Request | None:
    """The head of the request; `None`: the caller said nothing and went away.

    Raises:
        h11.RemoteProtocolError: what it said is no HTTP.
    """
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if isinstance(event, h11.ConnectionClosed):
            return None
        connection.receive_data(bytes(await stream.receive_some(READ_BYTES)))


async def _send(connection: h11.Connection, stream: trio.abc.SendStream, answer: _Answer, *, is_head: bool) -> None:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
        *answer.headers,
    ]
    data = connection.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    await stream.send_all(data if is_head else data + answer.body)


async def _linger(stream: trio.abc.HalfCloseableStream) -> None:
    with trio.move_on_after(LINGER_SECONDS):
        await stream.send_eof()
        while await stream.receive_some(READ_BYTES):
            pass


def _header(request: h11.Request, name: bytes) -> str:
    """The value of a header, all of them where it stands more than once; empty where there is none."""
    return b",".join(value for key, value in request.headers if key == name).decode("latin-1")
