"""Growing pauses after failures, by heal op."""

from random import Random
from typing import final

import trio
from attrs import define, field, frozen

MOST_DOUBLINGS = 16
PAUSES_PER_WINDOW = 8
"""A pause should take at most this part of what is left of an op's window."""


@final
@frozen
class Setback:
    """Something has failed, and is tried again after a pause."""

    failures: int
    """In a row."""
    seconds_left: float
    """Of the pause."""
    reason: str = ""
    """Of the last one, as far as it is kept."""


@final
@define(eq=False)
class Pauses:
    """When what failed may be tried again. Forgotten at a restart: then everything is due."""

    first: float
    """Seconds of the first pause; each is twice the one before, half to one and a half of it by chance."""
    longest: float
    random: Random
    _failures: dict[int, int] = field(factory=dict)
    _due: dict[int, float] = field(factory=dict)

    def is_due(self, op_id: int) -> bool:
        """Whether nothing is to be waited for."""
        return trio.current_time() >= self._due.get(op_id, 0.0)

    def failed(self, op_id: int, *, at_most: float) -> None:
        """Note a failure. The pause will be at most `at_most` seconds, or the first pause, which is always made."""
        failures = self._failures[op_id] = self._failures.get(op_id, 0) + 1
        pause = self.first * 2 ** min(failures - 1, MOST_DOUBLINGS) * self.random.uniform(0.5, 1.5)
        self._due[op_id] = trio.current_time() + min(pause, self.longest, max(at_most, self.first))

    def failures(self, op_id: int) -> int:
        """How often it has failed in a row."""
        return self._failures.get(op_id, 0)

    def setback(self, op_id: int) -> Setback | None:
        """What has failed in a row; `None` when nothing has."""
        failures = self.failures(op_id)
        return Setback(failures, max(0.0, self._due.get(op_id, 0.0) - trio.current_time())) if failures else None

    def pausing(self) -> set[int]:
        """Ops whose pause is not over."""
        return {op_id for op_id in self._due if not self.is_due(op_id)}

    def forget(self, op_id: int) -> None:
        """It succeeded, or is over."""
        self._failures.pop(op_id, None)
        self._due.pop(op_id, None)
