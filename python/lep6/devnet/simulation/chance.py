"""What a seed decides: the sizes, the policies, who is not honest, and how often what goes wrong."""

import enum
import math
from collections import Counter
from random import Random
from typing import Final, TypeVar, final

import trio
from attrs import define, field, frozen

from lep6.heal.settings import UnreachablePolicy

T = TypeVar("T")

BLOCK_SECONDS: Final = 6.0
EPOCH_BLOCKS: Final = 40
DEADLINE_EPOCHS: Final = 3
WINDOW_SECONDS: Final = BLOCK_SECONDS * EPOCH_BLOCKS * DEADLINE_EPOCHS


class Fault(enum.Enum):
    """What can go wrong."""

    LOST = "a question to the chain is lost"
    LOST_ANSWER = "an answer of the chain is lost, after it had its effect"
    LATE = "an answer of the chain comes late, or too late"
    DOUBLED = "a question reaches the chain twice"
    LAGGING = "the answering node of the chain is behind"
    DROPPED = "a transaction is evicted from the mempool"
    HELD = "a transaction is included late"
    FAILED = "a transaction fails in its block"
    REFUSED = "a transaction is refused"
    NO_KEY = "the account's key cannot be used"
    PEER = "a node of the network is away, slow, lossy or lying"
    UNREACHABLE = "a healer cannot be reached"
    CUT_STREAM = "a stream ends in its middle"
    SLOW_STREAM = "a stream is slow, or stalls"
    NO_SPACE = "the disk is full"
    STORE_BUSY = "the ledger cannot be written"
    MODE = "the mode changes"
    CRASH = "a node is cut off, and comes back from its disk"
    LEDGER_GONE = "a ledger is gone"
    STAGING_GONE = "a staging is gone"
    STAGING_DAMAGED = "a byte of a staging changes"


@final
@frozen(kw_only=True)
class Story:
    """What is the case in one run."""

    seed: int
    nodes: int
    replicas: int
    verifiers: int
    sizes: tuple[int, ...]
    """Bytes of each file."""
    surplus: int
    """Symbols that survive beyond those needed; negative: the file is lost."""
    policy: UnreachablePolicy
    strict_signatures: bool
    liars: frozenset[int]
    """Nodes whose artefact server serves other bytes than were claimed."""
    foreigners: frozenset[int]
    """Nodes that claim and serve a file of their own, consistently: a verifier's yes is right. They do not vote."""
    naysayers: frozenset[int]
    """Nodes that vote no, whatever they get."""
    is_calm: bool
    """Whether the faults end at half of the first window; else they go on to its end."""
    rates: dict[Fault, float]
    """How often each fault happens where it can."""
    cuts: int
    """Times that each node is cut off, at most."""
    silent_from: float
    """When the mode becomes UNSPECIFIED for good, in seconds since the beginning; infinite for never."""
    skew: float
    """Seconds by which the nodes' clocks may be off."""

    @classmethod
    def of(cls, seed: int) -> "Story":
        """The story of a seed."""
        rng = Random(seed)  # noqa: S311 # chance that can be repeated
        nodes = rng.choice((5, 5, 6, 7))
        numbers = range(nodes)
        verifiers = rng.choice((1, 2, 2, 3, 4))
        kind = rng.random()
        rates = {fault: rng.choice((0.0, 0.02, 0.1, 0.3)) for fault in Fault}
        # These can only strike when a node comes back with something.
        rates[Fault.LEDGER_GONE] = rng.choice((0.0, 0.0, 0.15))
        rates |= {fault: rng.choice((0.0, 0.2, 0.6)) for fault in (Fault.STAGING_GONE, Fault.STAGING_DAMAGED)}
        # A node sends a few transactions where it asks a hundred questions.
        rates |= {
            fault: rng.choice((0.0, 0.1, 0.3, 0.6))
            for fault in (Fault.DROPPED, Fault.HELD, Fault.FAILED, Fault.REFUSED)
        }
        rates |= {fault: rng.choice((0.0, 0.1, 0.5, 0.9)) for fault in (Fault.UNREACHABLE, Fault.CUT_STREAM)}
        return cls(
            seed=seed,
            nodes=nodes,
            replicas=rng.choice((2, 2, 3)),
            verifiers=verifiers,
            sizes=tuple(rng.randint(1, 260_000) for _ in range(rng.choice((1, 1, 2)))),
            surplus=rng.choice((0, 0, 1, 3)) if rng.random() < 0.9 else -1,  # noqa: PLR2004
            policy=rng.choice(tuple(UnreachablePolicy)),
            strict_signatures=rng.random() < 0.5,  # noqa: PLR2004
            liars=frozenset(rng.sample(numbers, rng.randint(1, 2))) if kind < 0.12 else frozenset(),  # noqa: PLR2004
            foreigners=frozenset(rng.sample(numbers, 1)) if 0.12 <= kind < 0.22 else frozenset(),  # noqa: PLR2004
            naysayers=frozenset(rng.sample(numbers, 1)) if 0.22 <= kind < 0.30 else frozenset(),  # noqa: PLR2004
            is_calm=rng.random() < 0.85,  # noqa: PLR2004
            rates=rates,
            cuts=rng.choice((0, 1, 2, 4)),
            skew=rng.choice((0.0, 0.0, 20.0)),
            silent_from=rng.uniform(30.0, 300.0) if rng.random() < 0.08 else math.inf,  # noqa: PLR2004
        )

    @property
    def is_silent(self) -> bool:
        """Whether no new work may be begun from some time on."""
        return self.silent_from < math.inf

    @property
    def calm_from(self) -> float:
        """When the faults end, in seconds since the beginning."""
        return WINDOW_SECONDS * (0.5 if self.is_calm else 1.0)


@final
@define(eq=False)
class Weather:
    """Decides, each time that something can go wrong, whether it does."""

    story: Story
    random: Random
    counts: Counter[Fault] = field(factory=Counter)
    """Faults that have struck, be it in vain."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return trio.current_time() >= self.story.calm_from

    def strikes(self, fault: Fault, *, factor: float = 1.0) -> bool:
        """Whether a fault happens now; it is counted."""
        is_struck = not self.is_calm and self.random.random() < self.story.rates[fault] * factor
        if is_struck:
            self.counts[fault] += 1
        return is_struck
