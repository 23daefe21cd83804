"""Events as lines: JSON for programs, or text for people; each says what op, role and ticket it is about."""

import logging
import sys
from typing import Final, TextIO, final

import structlog

from lep6.config import LogFormat, LogLevel

_LEVELS: Final = {level: getattr(logging, level.name) for level in LogLevel}
# Without the variables of the frames: nobody can say what these hold.
_TRACEBACKS: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


@final
class _Handler(logging.StreamHandler[TextIO]):
    """What cannot be written is lost, and nothing is said of it: there is nowhere to say it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # as the library calls it
        """See `logging.Handler.handleError`."""


def write_events(format_: LogFormat, level: LogLevel, *, to: TextIO | None = None) -> None:
    """Write events from now on, of this level and worse; to standard error if nothing else is given."""
    to = to or sys.stderr
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if format_ is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=to.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structured: list[structlog.typing.Processor] = [_TRACEBACKS] if format_ is LogFormat.JSON else []
    dated: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*dated, *structured, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(to),
        cache_logger_on_first_use=False,
    )
    # What libraries tell the standard library's logging: lines of the same kind.
    handler = _Handler(to)
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *structured, render]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=dated, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))
