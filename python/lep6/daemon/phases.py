"""How much of which work is done, and how long it takes, also while it is being done."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, final

import trio
from attrs import define, field, frozen
from prometheus_client import Metric

from lep6.daemon.families import counters
from lep6.observe import Counter

BYTES: Final = "B"
OTHER: Final = "other"


@final
@frozen
class Phase:
    """A kind of work."""

    name: str
    unit: str = BYTES
    """`B`, else what its counter counts."""


PHASES: Final[Mapping[str, Phase]] = {
    "fetching the layout": Phase("fetching_layout", "files"),
    "checking the symbols at hand": Phase("checking_symbols"),
    "fetching symbols": Phase("fetching_symbols", "symbols"),
    "decoding": Phase("decoding"),
    "decoding and encoding again": Phase("regenerating"),
    "compressing id files": Phase("compressing_ids"),
    "checking the availability commitment": Phase("checking_commitment"),
    "checking the staging": Phase("checking_staging"),
    "publishing": Phase("publishing", "values"),
    "reading a sample back": Phase("reading_back", "values"),
}
"""By the names of the steps of a heal."""

_ALL: Final = (*(phase.name for phase in PHASES.values()), OTHER)
_BYTES: Final = (*(phase.name for phase in PHASES.values() if phase.unit == BYTES), OTHER)
_ITEMS: Final = (*(phase.name for phase in PHASES.values() if phase.unit != BYTES), OTHER)


@final
@define(eq=False)
class _Step:
    """A step that goes on, and how far it has been counted."""

    phase: str
    counter: Counter
    unit: str
    clock: trio.abc.Clock
    done: int
    at: float


@final
@define(eq=False)
class Phases:
    """The totals. They may be read from another thread, as hosts do."""

    _seconds: dict[str, float] = field(factory=lambda: defaultdict(float))
    _bytes: dict[str, float] = field(factory=lambda: defaultdict(float))
    _items: dict[str, float] = field(factory=lambda: defaultdict(float))
    _going: set[_Step] = field(factory=set)

    @contextmanager
    def watch(self, name: str, counter: Counter, unit: str) -> Iterator[None]:
        """Count a step while the block runs."""
        # Who watches several gives the names of the steps a prefix.
        phase = PHASES.get(name) or PHASES.get(name.rpartition(": ")[2])
        clock = trio.lowlevel.current_clock()
        step = _Step(phase.name if phase else OTHER, counter, unit, clock, counter.done, clock.current_time())
        self._going.add(step)
        try:
            yield
        finally:
            self._count(step)
            self._going.discard(step)

    def collect(self) -> Iterator[Metric]:
        """The totals, up to this moment."""
        for step in tuple(self._going):
            self._count(step)
        yield counters(
            "lep6_phase_seconds",
            "Time spent in each phase of a heal, summed over ops. A phase whose share grows has become the slow one:"
            " fetching and publishing wait for other nodes, the others for this machine's cores and disk.",
            "phase",
            _ALL,
            self._seconds,
        )
        yield counters(
            "lep6_phase_bytes",
            "Bytes worked off in each phase that works on bytes. Much less a second than before: the disk or the cores"
            " are busy with something else.",
            "phase",
            _BYTES,
            self._bytes,
        )
        yield counters(
            "lep6_phase_items",
            "Symbols, values and files worked off in each phase that waits for other nodes. Flat while ops are in"
            " flight: the network gives or takes nothing.",
            "phase",
            _ITEMS,
            self._items,
        )

    def _count(self, step: _Step) -> None:
        """Add what came since the last time. A total never falls, whatever a counter does."""
        done, now = step.counter.done, step.clock.current_time()
        amounts = self._bytes if step.unit == BYTES else self._items
        amounts[step.phase] += max(0, done - step.done)
        self._seconds[step.phase] += max(0.0, now - step.at)
        step.done, step.at = done, now
