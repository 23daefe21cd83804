"""What has to be well for a node to be ready, and what it takes to be alive."""

from collections.abc import Mapping
from typing import Final, final

import trio
from attrs import define, field, frozen

from lep6.observe import get_logger

log = get_logger("daemon.checks")

NAMES: Final = ("ledger", "chain", "registration", "listener", "loop", "disk")
HANGING_SECONDS: Final = 300.0
"""How long the loop check may fail before the process counts as dead: a machine that slept needs time to catch up."""


@final
@frozen
class _Result:
    is_ok: bool
    detail: str
    since: float
    """When it became so, on Trio's clock."""


@final
@define(eq=False)
class Checks:
    """The readiness checks, by name. What was not checked yet is not well."""

    ready: trio.Event = field(factory=trio.Event, init=False)
    """Set when all were well for the first time."""
    _results: dict[str, _Result | None] = field(factory=lambda: dict.fromkeys(NAMES), init=False)

    def set(self, name: str, ok: bool, detail: str) -> None:
        """Note how a check went. `detail`: what was found, for people.

        Raises:
            KeyError: there is no such check.
        """
        before = self._results[name]
        if before is not None and before.is_ok == ok:
            self._results[name] = _Result(ok, detail, before.since)
            return
        self._results[name] = _Result(ok, detail, trio.current_time())
        if not ok:
            log.warning("check_failed", check=name, reason=detail)
        elif before is not None:
            log.info("check_well_again", check=name, detail=detail)
        if self.is_ready:
            self.ready.set()

    def results(self) -> dict[str, tuple[bool, str]]:
        """How each check stands, and why."""
        return {
            name: (False, "not checked yet") if result is None else (result.is_ok, result.detail)
            for name, result in self._results.items()
        }

    def well(self) -> Mapping[str, bool]:
        """Which checks are well."""
        return {name: ok for name, (ok, _) in self.results().items()}

    @property
    def is_ready(self) -> bool:
        """Whether all of them are well."""
        return all(self.well().values())

    @property
    def is_alive(self) -> bool:
        """Whether the loop turns, or may turn again soon. Before it was first looked at it does."""
        loop = self._results["loop"]
        return loop is None or loop.is_ok or trio.current_time() - loop.since < HANGING_SECONDS
