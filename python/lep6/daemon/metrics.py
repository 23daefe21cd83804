"""What Prometheus sees of a node. Every series is there from the start, and labels have no values but those listed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from math import isfinite
from typing import final

import trio
from attrs import define, field
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from lep6.blocking import WallClock
from lep6.daemon.counted import Counted
from lep6.daemon.families import gauge, gauges
from lep6.daemon.labels import SUCCESSES, Moved, Query, Result, Said, Success, outcome_of
from lep6.daemon.phases import Phases
from lep6.daemon.readings import Readings
from lep6.heal.events import Event, What
from lep6.heal.rows import Role
from lep6.observe import Counter
from lep6.ports import Clock
from lep6.transaction import Refusal

__all__ = ["Metrics", "Readings"]


@final
@define(eq=False)
class Metrics(Collector):
    """The metrics of one node."""

    registry: CollectorRegistry | None = None
    """A host's, which has these metrics until `close`."""
    clock: Clock = field(factory=WallClock)
    chain_lag: Callable[[], float] = field(default=float, init=False)
    """Tells the age of the newest block, in seconds."""
    _readings: Readings = field(factory=Readings, init=False)
    _trio: trio.abc.Clock | None = field(default=None, init=False)
    _counted: Counted = field(factory=Counted, init=False)
    _phases: Phases = field(factory=Phases, init=False)
    _successes: dict[str, float] = field(factory=lambda: dict.fromkeys(SUCCESSES, 0.0), init=False)
    _page: CollectorRegistry = field(factory=CollectorRegistry, init=False)

    def __attrs_post_init__(self) -> None:
        self._page.register(self)
        ProcessCollector(registry=self._page)
        if self.registry is not None:
            self.registry.register(self)

    def close(self) -> None:
        """Take these metrics out of the host's registry, so that another service may have its own there."""
        if self.registry is not None:
            self.registry.unregister(self)
            self.registry = None

    def gauges(self, readings: Readings) -> None:
        """Read these from now on. To be called where Trio runs."""
        self._readings, self._trio = readings, trio.lowlevel.current_clock()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page for a scraper that accepts this, with those of the process, and its content type."""
        if "application/openmetrics-text" in accept:
            page: bytes = openmetrics.generate_latest(self._page)  # type: ignore[no-untyped-call] # its types are open
            return page, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._page), CONTENT_TYPE_PLAIN_0_0_4

    def hears(self, event: Event, role: Role | None) -> None:
        """Count an event. `role`: in which the op is in flight; `None`: it is not."""
        outcome = outcome_of(event, role)
        if outcome is not None:
            self._counted.ops.labels(*outcome).inc()
        if event.what is What.FAILED:
            self._counted.bugs.inc()
        elif event.what is What.ACCEPTED:
            said: Said = "claim" if event.text == "claim" else "vote"
            self.told(said, "accepted")
            self.succeeded(said)
        elif event.what is What.PUBLISHED:
            self.succeeded("publish")
        elif event.what is What.FETCHED:
            self.moved("fetched", event.count)

    def told(self, said: Said, result: Result, why: Refusal | None = None) -> None:
        """Count what became of a transaction. `why`: it was refused."""
        self._counted.transactions.labels(said, result).inc()
        if why is not None:
            self._counted.refusals.labels(why.name.lower()).inc()

    def asked(self, query: Query, seconds: float, *, is_answered: bool) -> None:
        """Count a question to the chain."""
        self._counted.query_seconds.labels(query).observe(seconds)
        if not is_answered:
            self._counted.errors.labels(query).inc()

    def answered(self, height: int) -> None:
        """Note the height of an answer."""
        self._counted.height.set(height)

    def succeeded(self, what: Success) -> None:
        """Note that something has succeeded now."""
        self._successes[what] = self.clock.now()

    def moved(self, what: Moved, count: int) -> None:
        """Count bytes that went over the network."""
        self._counted.moved.labels(what).inc(count)

    def phase(self, name: str, counter: Counter, unit: str) -> AbstractContextManager[None]:
        """Count a step of a heal while the block runs."""
        return self._phases.watch(name, counter, unit)

    def describe(self) -> Iterable[Metric]:
        """The families, for a registry to see that nobody else has their names."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """The families with all of their series."""
        yield from self._counted.collect()
        yield from self._phases.collect()
        yield from self._readings.collect()
        yield gauge(
            "lep6_chain_lag_seconds",
            "Age of the newest block that the chain has told; until it has told one, time since the start. Much more"
            " than the time between blocks: the nodes that are asked are away or behind, or the chain stands still.",
            self.chain_lag(),
        )
        yield gauges(
            "lep6_last_success_timestamp_seconds",
            "When something last succeeded, in Unix seconds; 0: not since the start. An old `tick`: the loop hangs; an"
            " old `chain`: no question was answered. The others are old, too, where there was nothing to do.",
            "what",
            ("tick", *SUCCESSES),
            {"tick": self._last_tick(), **self._successes},
        )

    def _last_tick(self) -> float:
        tick = self._readings.last_tick()
        if self._trio is None or not isfinite(tick):
            return 0.0
        return self.clock.now() - (self._trio.current_time() - tick)
