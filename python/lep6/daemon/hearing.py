"""Hears what happens to heal ops: for the metrics, for the operator's list of stuck ones, and for the host."""

from collections.abc import Mapping
from typing import final

from attrs import define, field

from lep6.daemon.metrics import Metrics
from lep6.heal.events import Event, Watch, What
from lep6.heal.rows import Role
from lep6.observe import get_logger

log = get_logger("daemon.hearing")

PROGRESS = (What.PUBLISHED, What.CLOSED, What.RECONSTRUCTED, What.ACCEPTED)
"""After these an op is not stuck any more."""


@final
@define(eq=False)
class Hearing:
    """A `Watch`."""

    metrics: Metrics
    others: list[Watch] = field(factory=list)
    """Who hears of it besides."""
    in_flight: Mapping[int, Role] = field(factory=dict)
    """Of the service that is heard."""
    stuck: set[int] = field(factory=set)
    """Ops that have failed so often that somebody should look at them."""

    def __call__(self, event: Event, /) -> None:
        """Hear of an event."""
        self.metrics.hears(event, self.in_flight.get(event.op_id))
        if event.what is What.STUCK:
            self.stuck.add(event.op_id)
        elif event.what in PROGRESS:
            self.stuck.discard(event.op_id)
        for other in self.others:
            try:
                other(event)
            except Exception:  # what a host does with it is not the heal's affair
                log.exception("watch_failed", op_id=event.op_id, what=event.what.value)
