"""The stories of a heal in a box: what is to happen, how fast, and what happened."""

import enum
import math
from typing import Any, Final, final

from attrs import define, field, frozen

from lep6.cascade.text import to_base64
from lep6.devnet.node.fail_points import FailPoint
from lep6.devnet.phases import Phases
from lep6.model import Ticket

TICKET: Final = Ticket("1")
"""Of the file that a story is about."""


class Scenario(enum.Enum):
    """What is to happen."""

    VERIFIED = "verified"
    CORRUPT_HEALER = "corrupt-healer"
    UNRECOVERABLE = "unrecoverable"
    NO_QUORUM = "no-quorum"
    HEALER_RESTART = "healer-restart"

    @property
    def ends_verified(self) -> bool:
        """Whether the file comes back in the end."""
        return self not in (Scenario.UNRECOVERABLE, Scenario.NO_QUORUM)


class Talk(enum.Enum):
    """How nodes talk to the chain."""

    INLINE = "inline"
    """By calls."""
    GRPC = "grpc"
    """As to a real one: over gRPC, with signed transactions."""


@final
@frozen
class Pace:
    """How fast the chain of a box goes: fast enough to watch, slow enough for the file."""

    block_seconds: float
    epoch_blocks: int
    deadline_epochs: int = 6

    @classmethod
    def for_size(cls, size: int, *, talk: Talk = Talk.INLINE, processes: bool = False) -> "Pace":
        """The pace for a file of so many bytes: a window of some seconds, and half a second for each MB.

        Over gRPC all takes longer, and more so where each node is a process that may have to begin again.
        """
        block, window = 0.1, 4.0 if talk is Talk.INLINE else 8.0
        if processes:
            block, window = 0.2, 15.0
        return cls(block, max(6, math.ceil((window + size / 2e6) / block / 6)))

    @property
    def window_seconds(self) -> float:
        """How long an op is open."""
        return self.block_seconds * self.epoch_blocks * self.deadline_epochs

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"a block every {self.block_seconds:g} s, epochs of {self.epoch_blocks} blocks,"
            f" {self.deadline_epochs} epochs for a heal op: {self.window_seconds:.1f} s"
        )


@final
@frozen
class Plan:
    """What the heal is to be."""

    scenario: Scenario = Scenario.VERIFIED
    nodes: int = 5
    replicas: int = 2
    surviving: float = 0.25
    """Share of the symbols, and of the id files, that are left."""
    seed: int = 1
    talk: Talk = Talk.INLINE
    processes: bool = False
    """The chain and each node are processes of their own; the talk is then as to a real chain."""
    fail_at: FailPoint | None = None
    """Where the process dies that is to come by there."""
    pace: Pace | None = None
    """How fast the chain goes; `None`: as the file's size asks for."""


@final
@define
class Report(Phases):
    """What happened."""

    plan: Plan = field(kw_only=True)
    digest: bytes = b""
    size: int = 0
    ops: list[dict[str, Any]] = field(factory=list)
    votes: list[dict[str, Any]] = field(factory=list)
    total: int = 0
    needed: int = 0
    surviving: int = 0
    fetched: int = 0
    """Symbols that were handed to decoders, over all ops; where there were too few, those that were had."""
    published: int = 0
    """Symbols that have all their copies in the network after a publish."""
    publishes: int = 0
    """Times that a finalizer has published all of a staging."""
    retrievable: bool = False
    staging_left: int = 0
    ending: str = ""
    complaints: list[str] = field(factory=list)
    """What is not as the scenario says."""

    @property
    def ended_as_expected(self) -> bool:
        """Whether all is as the scenario says."""
        return not self.complaints

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "scenario": self.plan.scenario.value,
            "seed": self.plan.seed,
            "ended_as_expected": self.ended_as_expected,
            "file": {"size": self.size, "blake3_b64": to_base64(self.digest)},
            "ops": self.ops,
            "votes": self.votes,
            "symbols": {
                "total": self.total,
                "needed": self.needed,
                "surviving": self.surviving,
                "fetched": self.fetched,
                "published": self.published,
            },
            "published": self.publishes > 0,
            "retrievable": self.retrievable,
            "staging_left": self.staging_left,
            "timings_s": self.timings,
        }
