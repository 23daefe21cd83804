"""Listening at a port of the configuration."""

import errno
from collections.abc import Sequence

import trio

from lep6.errors import AlreadyRunning


async def listen(host: str, port: int, *, what: str, hint: str = "") -> Sequence[trio.SocketListener]:
    """Listen at a port of all addresses that a host has.

    Args:
        host: a name, or an address.
        port: 0 for any that is free.
        what: the key of the configuration that names the port.
        hint: what to say besides when it is taken, as a sentence.

    Raises:
        AlreadyRunning: the port is taken.
        OSError: the system refused something else.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        # Trio tells of the single addresses in a group.
        if errno.EADDRINUSE not in (error.errno, getattr(error.__cause__, "errno", None)):
            raise
        raise AlreadyRunning(f"port {port} of {host} ({what}) is taken by another program. {hint}".rstrip()) from error
