"""Structured events. Hosts configure structlog; lep6 only emits, and never puts a secret into an event."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Final, cast, final

import structlog
from attrs import frozen

MOST_SHOWN: Final = 200
"""Letters of a stranger's words."""


def about(**fields: object) -> None:
    """What the rest of this task is about: the fields stand on every event from now on, of its children too."""
    structlog.contextvars.bind_contextvars(**fields)


def shown(text: str) -> str:
    """What a stranger has said, for an event: short, and without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:MOST_SHOWN])


_HOST: ContextVar[structlog.typing.BindableLogger | None] = ContextVar("_HOST", default=None)
"""The logger that a host has handed in, for this task and its children."""


@contextmanager
def events_to(logger: structlog.typing.BindableLogger | None) -> Iterator[None]:
    """Give the events of this task, and of the tasks that it starts in the block, to a logger of the host."""
    before = _HOST.get()
    _HOST.set(logger)
    try:
        yield
    finally:
        _HOST.set(before)


@final
@frozen
class _Room:
    """The logger of a room: whatever is configured, or handed in, when something happens.

    An event that cannot be written is lost: a disk that is full, or a host's logger that fails, ends no work.
    """

    name: str

    def __getattr__(self, method: str) -> Callable[..., None]:
        host = _HOST.get()
        lost = (OSError, ValueError) if host is None else (Exception,)  # ValueError: of a stream that is closed

        def emit(*args: object, **fields: object) -> None:
            with suppress(*lost):
                logger = structlog.get_logger() if host is None else host
                getattr(logger.bind(room=self.name), method)(*args, **fields)

        return emit


def get_logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a room; ticket and op id come from structlog's context variables."""
    return cast("structlog.typing.FilteringBoundLogger", _Room(room))
