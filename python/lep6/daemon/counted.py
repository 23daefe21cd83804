"""Metrics that are counted as things happen."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric

from lep6.daemon.labels import MOVED, OUTCOMES, QUERIES, RESULTS, SAID
from lep6.transaction import Refusal

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of chain queries; by default one is given up after 10 s."""


@final
class Counted:
    """Their series, each of them there from the start."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self.ops = Counter(
            "lep6_ops",
            "What became of heal ops, by role; one op may have many outcomes. `failed` is a bug of lep6; `deferred` is"
            " tried again, and publishing that is deferred is told by the healer; `stuck` has failed too often in a"
            " row; many `voted_no` mean a healer that lies, or that cannot be reached from here.",
            ["role", "outcome"],
            registry=own,
        )
        self.bugs = Counter(
            "lep6_bugs",
            "Failures that should never be, with an op or without. Any is bad: report it with what the log says.",
            registry=own,
        )
        self.transactions = Counter(
            "lep6_transactions",
            "What became of transactions: in a mempool, refused, not known since no answer came, accepted by a block,"
            " or dead: failed in a block, or too late for any. If none is accepted, no work of this node counts.",
            ["message", "result"],
            registry=own,
        )
        self.refusals = Counter(
            "lep6_transactions_refused_by_reason",
            "Why transactions were refused. `funds`, `fee`, `gas` and `key` are for the operator to mend; `unsent`: no"
            " node of the chain was reached; what is about the op itself comes of races, and a few are harmless.",
            ["why"],
            registry=own,
        )
        self.query_seconds = Histogram(
            "lep6_chain_query_seconds",
            "How long questions to the chain took, answered or not. Seconds where it was milliseconds: the configured"
            " nodes are far away or overloaded.",
            ["query"],
            registry=own,
            buckets=SECONDS,
        )
        self.errors = Counter(
            "lep6_chain_errors",
            "Questions to the chain that were not answered, or given up. All the time: no configured node is of use.",
            ["query"],
            registry=own,
        )
        self.height = Gauge(
            "lep6_chain_height",
            "Height of the chain's last answer; 0: there was none yet. Not rising: the chain or its nodes stand still.",
            registry=own,
        )
        self.moved = Counter(
            "lep6_moved_bytes",
            "Bytes of artefacts over the network: retrieved from and stored on other nodes, fetched from a healer to be"
            " verified, served to verifiers. Flat while ops are in flight: nothing comes through.",
            ["what"],
            registry=own,
        )
        Info("lep6_build", "What runs here.", registry=own).info(
            {"version": version("lep6"), "python": platform.python_version(), "trio": version("trio")}
        )
        self._begin()

    def _begin(self) -> None:
        for outcome in OUTCOMES:
            self.ops.labels(*outcome)
        for said in SAID:
            for result in RESULTS:
                self.transactions.labels(said, result)
        for refusal in Refusal:
            self.refusals.labels(refusal.name.lower())
        for query in QUERIES:
            self.query_seconds.labels(query)
            self.errors.labels(query)
        for moved in MOVED:
            self.moved.labels(moved)

    def collect(self) -> Iterator[Metric]:
        """The families, without the times of creation: these double the series, and nobody asks for them."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
