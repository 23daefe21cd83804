"""Structured events. Hosts configure structlog; lep6 only emits, and never puts a secret into an event."""

import structlog


def get_logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a room; ticket and op id come from structlog's context variables."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return logger
