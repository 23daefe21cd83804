"""What the doctor finds."""

import enum
from typing import final

from attrs import define, field, frozen


class Level(enum.Enum):
    """How much it matters."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing has to be done."""
    WARN = "warn"
    """It works, and something should be done about it."""
    BAD = "bad"
    """The node cannot heal, or not safely, until something is done about it."""


@final
@frozen
class Finding:
    """One thing that was found. It shows no secret."""

    name: str
    """Of the check."""
    level: Level
    what: str
    remedy: str
    """One line; empty where there is nothing to do."""


@final
@define(eq=False)
class Findings:
    """Where a check tells what it finds, as it goes: what it has told stands, even if it then fails."""

    name: str
    told: list[Finding] = field(factory=list)

    def ok(self, what: str) -> None:
        """It is as it should be."""
        self._tell(Level.OK, what, "")

    def note(self, what: str, remedy: str) -> None:
        """See `Level.NOTE`."""
        self._tell(Level.NOTE, what, remedy)

    def warn(self, what: str, remedy: str) -> None:
        """See `Level.WARN`."""
        self._tell(Level.WARN, what, remedy)

    def bad(self, what: str, remedy: str) -> None:
        """See `Level.BAD`."""
        self._tell(Level.BAD, what, remedy)

    def _tell(self, level: Level, what: str, remedy: str) -> None:
        self.told.append(Finding(self.name, level, " ".join(what.split()), " ".join(remedy.split())))
