"""Structured events. Hosts configure structlog; lep6 only emits, and never puts a secret into an event."""

from typing import Final

import structlog

MOST_SHOWN: Final = 200
"""Letters of a stranger's words."""


def about(**fields: object) -> None:
    """What the rest of this task is about: the fields stand on every event from now on, of its children too."""
    structlog.contextvars.bind_contextvars(**fields)


def shown(text: str) -> str:
    """What a stranger has said, for an event: short, and without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:MOST_SHOWN])


def get_logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a room; ticket and op id come from structlog's context variables."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return logger
