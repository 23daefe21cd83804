"""What goes over the admin socket: a JSON object on a line for each request, and one for each answer.

Request: `{"version": 1, "do": "ops.show", "op": 5}`. Answer: `{"version": 1, "ok": true, "result": {...}}`, or
`{"version": 1, "ok": false, "code": "not_found", "error": "..."}`. Requests on one connection are answered in turn.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

import trio
from attrs import define, field

from lep6.cascade.text import parse_json
from lep6.errors import AdminRefusal, AdminRefused, InvalidArtefact, Lep6Error

ADMIN_SOCKET: Final = "admin.sock"
"""Name of the socket in the daemon's data directory."""
VERSION: Final = 1
MAX_REQUEST: Final = 64 << 10
"""Most bytes of a request, and of its line."""
MAX_ANSWER: Final = 16 << 20
"""Most bytes of an answer that are read."""
REQUEST_SECONDS: Final = 10.0
"""For a request to come, to be carried out, and for its answer to be taken: this long for each of them."""

_READ: Final = 16 << 10
_LONGEST_NAME: Final = 100
"""Bytes of a path that the address of a Unix socket surely has room for."""


class LineTooLong(Lep6Error):
    """A line has more bytes than it may have; what comes after it cannot be made out."""


@final
@define(eq=False)
class Lines:
    """The lines of a stream."""

    stream: trio.abc.ReceiveStream
    most: int
    """Most bytes of a line."""
    _rest: bytearray = field(init=False, factory=bytearray)
    _searched: int = field(init=False, default=0)
    """Bytes of the rest in which there is no end of a line."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of the next line is here."""
        return bool(self._rest)

    async def next(self) -> bytes | None:
        """The next line; `None` at the end of the stream. A last line that was not ended is none.

        Raises:
            LineTooLong: it has no end so far.
            trio.BrokenResourceError: the connection was lost.
        """
        while (end := self._rest.find(b"\n", self._searched)) < 0:
            self._searched = len(self._rest)
            if self._searched > self.most:
                break
            if not (read := await self.stream.receive_some(_READ)):
                return None
            self._rest += read
        if not 0 <= end <= self.most:
            raise LineTooLong(f"a line may have {self.most} bytes, and this one has more")
        line, self._searched = bytes(self._rest[:end]), 0
        del self._rest[: end + 1]
        return line


def line(document: dict[str, Any]) -> bytes:
    """A document as it goes over the socket."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def request_of(text: bytes) -> dict[str, Any]:
    """The request that a line holds.

    Raises:
        AdminRefused: it holds none.
    """
    try:
        return parse_json(text, "request")
    except InvalidArtefact as error:
        raise AdminRefused(AdminRefusal.INVALID, str(error)) from error


def answer_of(result: dict[str, Any]) -> bytes:
    """The answer to a request that was carried out."""
    return line({"version": VERSION, "ok": True, "result": result})


def refusal_of(error: AdminRefused) -> bytes:
    """The answer to a request that was not."""
    return line({"version": VERSION, "ok": False, "code": error.why.name.lower(), "error": str(error)})


def result_of(text: bytes) -> dict[str, Any] | None:
    """What an answer holds; `None` when it is none that this lep6 knows.

    Raises:
        AdminRefused: the request was not carried out.
    """
    try:
        document = parse_json(text, "answer")
    except InvalidArtefact:
        return None
    if document.get("version") != VERSION:
        return None
    if document.get("ok") is True:
        result = document.get("result")
        return result if isinstance(result, dict) else None
    if document.get("ok") is not False:
        return None
    reasons = {why.name.lower(): why for why in AdminRefusal}
    raise AdminRefused(reasons.get(str(document.get("code")), AdminRefusal.FAILED), str(document.get("error") or ""))


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name for a socket's path, while the block runs, that fits into an address, however deep the directory is.

    Raises:
        OSError: there is no such directory, or it is closed to us.
    """
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
