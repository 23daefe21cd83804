"""The phases of a walk, with what came of them: what a person sees at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from attrs import define, field, frozen


@final
@frozen
class Phase:
    """One phase, done."""

    name: str
    seconds: float
    result: str


@define
class Phases:
    """What happened, in order."""

    done: list[Phase] = field(factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """Time a phase; what the block appends to the list is its result."""
        result: list[str] = []
        begun = time.perf_counter()
        try:
            yield result
        except BaseException:
            result.append("broken off")
            raise
        finally:
            self.done.append(Phase(name, time.perf_counter() - begun, "; ".join(result)))

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by the name of the phase."""
        return {phase.name: round(phase.seconds, 3) for phase in self.done}
