"""The admin socket: through it whoever runs the daemon, or is root, may ask it and tell it things while it runs.

A Unix socket of mode 0600; besides, the system says who calls. What a caller sends or leaves out costs nobody else
anything but its connection.
"""

import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import trio
from attrs import field, frozen

from lep6.beside import beside
from lep6.daemon.admin_commands import Administered, Asked, understood
from lep6.daemon.admin_protocol import (
    ADMIN_SOCKET,
    MAX_REQUEST,
    REQUEST_SECONDS,
    Lines,
    LineTooLong,
    answer_of,
    refusal_of,
    request_of,
    short_name,
)
from lep6.errors import AdminRefusal, AdminRefused, Lep6Error
from lep6.observe import get_logger

__all__ = ["ADMIN_SOCKET", "Administered", "admin_socket"]

log = get_logger("daemon.admin")

MOST_CONNECTIONS: Final = 16
BACKLOG: Final = 64
ROOT: Final = 0

_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group, as SO_PEERCRED gives them."""


@asynccontextmanager
async def admin_socket(path: Path, service: Administered) -> AsyncIterator[None]:
    """Take requests at `path` while the block runs. What an earlier daemon left there goes.

    Raises:
        OSError: the socket cannot be made there, or something else is there; that is kept.
    """
    desk = _Desk(service)
    with _listening(path) as listening:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with beside(partial(trio.serve_listeners, desk.serve, [listener])):
            yield


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """Listen at a path, which is gone when the block has ended."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is no socket: it is kept; move it away")
        path.unlink()  # the lock of the data directory says that nobody listens there
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_UNIX, kind) as listening, short_name(path) as name:
        os.fchmod(listening.fileno(), 0o600)  # before there is a name; the process' umask stays as it is
        listening.bind(name)
        made = path.lstat()
        try:
            listening.listen(BACKLOG)
            yield listening
        finally:
            with suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), made):
                    path.unlink()


@final
@frozen(eq=False)
class _Desk:
    """Takes requests for a service."""

    service: Administered
    places: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(MOST_CONNECTIONS))
    changing: trio.Lock = field(factory=trio.Lock)
    """Held by a request that changes something: two do not get between one another."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Take the requests of one connection."""
        # The other side is gone, or does not take its answers.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                refused = self._refused(stream)
                if refused is not None:
                    await _send(stream, refusal_of(refused))
                    return
                try:
                    await self._serve_requests(stream)
                finally:
                    self.places.release()

    def _refused(self, stream: trio.SocketStream) -> AdminRefused | None:
        """Why a connection is not taken; else it has a place."""
        raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(raw)
        if user not in (ROOT, os.geteuid()):
            log.warning("admin_caller_refused", user=user)
            return AdminRefused(AdminRefusal.FOREIGN, f"user {user} may not: run it as user {os.geteuid()}, or as root")
        try:
            self.places.acquire_nowait()
        except trio.WouldBlock:
            return AdminRefused(AdminRefusal.BUSY, f"{MOST_CONNECTIONS} others are connected already")
        return None

    async def _serve_requests(self, stream: trio.SocketStream) -> None:
        lines = Lines(stream, MAX_REQUEST)
        while True:
            request: bytes | None = None
            try:
                with trio.move_on_after(REQUEST_SECONDS) as coming:
                    request = await lines.next()
            except LineTooLong as error:
                await _send(stream, refusal_of(AdminRefused(AdminRefusal.INVALID, str(error))))
                return
            if coming.cancelled_caught and lines.has_begun:
                late = AdminRefused(AdminRefusal.INVALID, f"the request did not come within {REQUEST_SECONDS:g} s")
                await _send(stream, refusal_of(late))
            if request is None or not await _send(stream, await self._answer(request)):
                return

    async def _answer(self, request: bytes) -> bytes:
        try:
            with trio.fail_after(REQUEST_SECONDS):
                return answer_of(await self._carry_out(understood(request_of(request))))
        except trio.TooSlowError:
            late = f"it was not done within {REQUEST_SECONDS:g} s; look how it is, and ask again"
            return refusal_of(AdminRefused(AdminRefusal.BUSY, late))
        except AdminRefused as error:
            return refusal_of(error)
        except (Lep6Error, OSError) as error:
            log.warning("admin_request_failed", reason=str(error))
            return refusal_of(AdminRefused(AdminRefusal.FAILED, str(error)))
        except Exception as error:  # a bug with one request leaves the daemon at work
            log.exception("admin_request_broke")
            return refusal_of(AdminRefused(AdminRefusal.FAILED, f"a bug of lep6: {error!r}"))

    async def _carry_out(self, asked: Asked) -> dict[str, Any]:
        if not asked.changes:
            return await asked.carry_out(self.service)
        async with self.changing:
            # The names of the arguments might be those of fields that lines have of their own.
            log.info("admin_request", do=asked.do, arguments=dict(asked.arguments))
            return await asked.carry_out(self.service)


async def _send(stream: trio.SocketStream, answer: bytes) -> bool:
    """Send an answer; whether it was taken in time."""
    with trio.move_on_after(REQUEST_SECONDS):
        await stream.send_all(answer)
        return True
    return False
