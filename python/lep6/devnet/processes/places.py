"""Places on loopback for processes to listen at."""

import socket
from random import SystemRandom
from typing import Final

LOOPBACK: Final = "127.0.0.1"
PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, so that a place stays free while its node is away."""


def free_places(count: int) -> list[str]:
    """So many places, `host:port`, at which nobody listens now.

    Raises:
        OSError: there are not so many.
    """
    places: list[str] = []
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        if len(places) == count:
            return places
        if _is_free(port):
            places.append(f"{LOOPBACK}:{port}")
    raise OSError(f"{LOOPBACK} has no {count} free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
