"""Structured events. Hosts configure structlog; lep6 only emits, and never puts a secret into an event."""

import structlog


def about(**fields: object) -> None:
    """What the rest of this task is about: the fields stand on every event from now on, of its children too."""
    structlog.contextvars.bind_contextvars(**fields)


def get_logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a room; ticket and op id come from structlog's context variables."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return logger
