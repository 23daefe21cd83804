"""Metrics that are read off the running service when somebody looks."""

from collections.abc import Callable, Iterator, Mapping
from typing import final

from attrs import field, frozen
from prometheus_client import Metric

from lep6.daemon.checks import NAMES
from lep6.daemon.families import counters, gauge, gauges
from lep6.daemon.labels import ROWS, WAITING
from lep6.errors import HandshakeFailure
from lep6.heal.rows import Role


@final
@frozen(kw_only=True)
class Readings:
    """Where to read them. None of these may wait, and a host's registry may call them in any thread."""

    in_flight: Callable[[], Mapping[Role, int]] = dict
    waiting: Callable[[], Mapping[str, int]] = dict
    stuck: Callable[[], int] = int
    rows: Callable[[], Mapping[str, int]] = dict
    staging_bytes: Callable[[], int] = int
    paused: Callable[[], bool] = bool
    refused: Callable[[], Mapping[HandshakeFailure, int]] = dict
    checks: Callable[[], Mapping[str, bool]] = dict
    last_tick: Callable[[], float] = field(default=lambda: float("-inf"))
    """On Trio's clock; minus infinity before the first."""

    def collect(self) -> Iterator[Metric]:
        """The families with all of their series."""
        yield gauges(
            "lep6_ops_in_flight",
            "Heal ops that are being worked on, by role. Above zero while no outcome is counted: they hang.",
            "role",
            [role.value for role in Role],
            {role.value: count for role, count in self.in_flight().items()},
        )
        yield gauges(
            "lep6_ops_waiting",
            "Heal ops that wait for a place among those of their kind. Above zero for hours: raise the limit if the"
            " machine has room, or ops will miss their deadline.",
            "what",
            WAITING,
            self.waiting(),
        )
        yield gauge(
            "lep6_ops_stuck",
            "Heal ops that have failed so often that somebody should look. Any is bad: a file that the chain counts as"
            " healed is not back in the network. `lep6 ops list` names them.",
            self.stuck(),
        )
        yield gauges(
            "lep6_rows",
            "Rows of the ledger by state, as of the last look. `publishing`, `closing` and the intents should come and"
            " go: one that only grows is work that does not end.",
            "state",
            ROWS,
            self.rows(),
        )
        yield gauge(
            "lep6_staging_bytes",
            "Bytes below the staging directory, as of the last look. Growing while no ops are in flight: something is"
            " left behind; find out what it is before you remove it.",
            self.staging_bytes(),
        )
        yield gauge(
            "lep6_paused",
            "1: an operator has paused this node, and it begins nothing new. For long: it misses ops that are its own.",
            self.paused(),
        )
        yield gauges(
            "lep6_check",
            "Readiness checks: 1 is well, 0 is not, or not checked yet. /readyz says why.",
            "check",
            NAMES,
            self.checks(),
        )
        yield counters(
            "lep6_peers_refused",
            "Connections to this node that were not secured, and why. Many `unregistered` or `unchecked`: the nodes of"
            " the chain that are asked are behind, or do not answer; others: strangers, or a peer that is broken.",
            "why",
            [why.name.lower() for why in HandshakeFailure],
            {why.name.lower(): count for why, count in self.refused().items()},
        )
