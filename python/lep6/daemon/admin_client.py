"""Asks a running daemon, and tells it things, through its admin socket."""

import os
from contextlib import suppress
from pathlib import Path
from pwd import getpwuid
from typing import Any, Final, final

import trio
from attrs import frozen

from lep6.daemon.admin_protocol import (
    MAX_ANSWER,
    REQUEST_SECONDS,
    VERSION,
    Lines,
    LineTooLong,
    line,
    result_of,
    short_name,
)
from lep6.errors import DaemonAway

ANSWER_SECONDS: Final = 2 * REQUEST_SECONDS
"""For a daemon to answer: somewhat longer than it takes to say that it cannot."""


@final
@frozen
class AdminClient:
    """Whoever asks the daemon at a socket. Each request goes over a connection of its own."""

    path: Path
    seconds: float = ANSWER_SECONDS
    """For each answer."""

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The result of a request.

        Raises:
            AdminRefused: the daemon did not carry it out.
            DaemonAway: no daemon answered. Whether it did what it was told is not known.
        """
        try:
            with trio.fail_after(self.seconds):
                answer = await self._ask(line({"version": VERSION, "do": do, **arguments}))
        except trio.TooSlowError as error:
            raise DaemonAway(f"no daemon answers at {self.path}: nothing came within {self.seconds:g} s") from error
        except OSError as error:
            raise DaemonAway(f"no daemon answers at {self.path}: {self._why(error)}") from error
        if answer is None:
            raise DaemonAway(f"the daemon at {self.path} ended before it had answered; what it did is not known")
        result = result_of(answer)
        if result is None:
            raise DaemonAway(f"what answers at {self.path} is no daemon that this lep6 understands: {answer!r:.100}")
        return result

    async def _ask(self, request: bytes) -> bytes | None:
        with short_name(self.path) as name:
            stream = await trio.open_unix_socket(name)
        async with stream:
            with suppress(trio.BrokenResourceError):  # it may have said why, before it closed
                await stream.send_all(request)
            try:
                return await Lines(stream, MAX_ANSWER).next()
            except trio.BrokenResourceError:
                return None
            except LineTooLong as error:
                raise DaemonAway(f"the answer of the daemon at {self.path} is too long: {error}") from error

    def _why(self, error: OSError) -> str:
        """Why nobody could be asked."""
        match error:
            case FileNotFoundError():
                return "there is no socket: it is not running, or has another data directory"
            case ConnectionRefusedError():
                return "it is not running; the socket is left from one that ended"
            case PermissionError():
                return (
                    f"the socket is {self._owner()}'s, and this is {_name_of(os.geteuid())}: become that user, or root"
                )
            case _:
                return error.strerror or str(error)

    def _owner(self) -> str:
        try:
            return _name_of(self.path.stat().st_uid)
        except OSError:
            return "another user"


def _name_of(user: int) -> str:
    try:
        return f"user {getpwuid(user).pw_name}"
    except KeyError:
        return f"user {user}"
