"""Telling the service manager how the daemon is (systemd's sd_notify: datagrams to a Unix socket)."""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final, final

import trio
from attrs import frozen

from lep6.observe import get_logger

log = get_logger("daemon.notify")

MOST_BYTES: Final = 4096
"""Of one message: what a status line is cut to."""


@final
@frozen
class Notifier:
    """Tells a service manager, if there is one. What cannot be told is logged and stops nothing."""

    address: str | None
    """A path, or `@` and an abstract name; `None`: nobody listens."""
    watchdog_seconds: float | None
    """The service manager ends us when it hears nothing for so long; `None`: it does not."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Notifier":
        """As the service manager has told it to this process."""
        address = environ.get("NOTIFY_SOCKET") or None
        if address is not None and not address.startswith(("/", "@")):
            log.warning("notify_socket_unusable", address=address)
            address = None
        return cls(address, _watchdog(environ) if address is not None else None)

    def ready(self) -> None:
        """The service is ready."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """One line that says how it is."""
        self._tell("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._tell("STOPPING=1")

    async def run_watchdog(self, is_turning: Callable[[], bool]) -> None:
        """Twice an interval, say that we are alive, as long as that is so. Returns at once where nobody asks."""
        if self.watchdog_seconds is None:
            return
        while True:
            if is_turning():
                self._tell("WATCHDOG=1")
            await trio.sleep(self.watchdog_seconds / 2)

    def _tell(self, message: str) -> None:
        if self.address is None:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        data = message.encode(errors="replace")[:MOST_BYTES]
        try:
            # Sent or not at once: a service manager that does not read must not hold up the loop.
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as sender:
                sender.sendto(data, name)
        except (OSError, ValueError) as error:
            log.warning("not_notified", address=self.address, reason=str(error))


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """The interval, if it is meant for this process and not for one that it was inherited from."""
    interval, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if process and process != str(os.getpid()):
        return None
    if not (interval.isascii() and interval.isdigit()) or int(interval) == 0:
        return None
    return int(interval) / 1e6
