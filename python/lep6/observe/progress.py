"""Progress of long work: the work counts, whoever watches polls."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, final

from attrs import define, frozen


class Counter(Protocol):
    """How far a piece of work is; a core `Job` is one."""

    @property
    def done(self) -> int:
        """Units done."""

    @property
    def total(self) -> int:
        """Units in all; 0 when that is not known."""


@final
@define
class Tally:
    """A counter for work that Python does."""

    total: int = 0
    done: int = 0


class Progress(Protocol):
    """A watcher of long work."""

    def step(self, name: str, counter: Counter, /, *, unit: str = "B") -> AbstractContextManager[None]:
        """Watch a counter while the block runs. `unit` is `B` for bytes, else what is counted."""


@final
class Unwatched:
    """Nobody watches."""

    def step(self, name: str, counter: Counter, /, *, unit: str = "B") -> AbstractContextManager[None]:  # noqa: ARG002
        """See `Progress.step`."""
        return nullcontext()


@final
@frozen
class NamedProgress:
    """Tells of whom the steps are, where several work beside one another."""

    inner: Progress
    name: str

    def step(self, name: str, counter: Counter, /, *, unit: str = "B") -> AbstractContextManager[None]:
        """See `Progress.step`."""
        return self.inner.step(f"{self.name}: {name}", counter, unit=unit)
