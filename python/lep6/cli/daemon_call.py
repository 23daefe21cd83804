"""What the commands share that talk to a running daemon: where its socket is, and how it ends when nobody answers."""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from lep6.cli import EXIT_BAD_INPUT, EXIT_NO
from lep6.cli.terminal import errors_as_lines, fail
from lep6.config import load
from lep6.daemon.admin_client import AdminClient
from lep6.daemon.admin_protocol import ADMIN_SOCKET
from lep6.errors import AdminRefusal, AdminRefused, DaemonAway

T = TypeVar("T")

JSON_VERSION: Final = 1
"""Version of the JSON that these commands print; fields may be added to it freely."""


def ask(path: Path, do: str, **arguments: Any) -> dict[str, Any]:
    """What the daemon of a configuration file answers. Ends the process with a line when it does not, or refuses."""
    return talk(path, partial(_ask, do, arguments))


def talk(path: Path, talking: Callable[[AdminClient], Awaitable[T]]) -> T:
    """Talk to the daemon of a configuration file. Ends the process with a line when that does not succeed."""
    with errors_as_lines():
        client = AdminClient(load(path, os.environ).data_dir / ADMIN_SOCKET)
        try:
            return trio.run(talking, client)
        except DaemonAway as error:
            fail(f"{error}. To see more: lep6 doctor --config {path}", EXIT_BAD_INPUT)
        except AdminRefused as error:
            fail(str(error), EXIT_NO if error.why is AdminRefusal.NOT_FOUND else EXIT_BAD_INPUT)


async def _ask(do: str, arguments: dict[str, Any], client: AdminClient) -> dict[str, Any]:
    return await client.ask(do, **arguments)
