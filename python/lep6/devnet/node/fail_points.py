"""Points between two side effects of a node at which its process kills itself, once.

They are put around the parts of this process from outside; nothing of them is in the product.
"""

import enum
import functools
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, final

from lep6.cascade.publish import Publisher
from lep6.cascade.reseed import Reseeded, Reseeder
from lep6.chain import LumeraChain
from lep6.devnet.network import EmbeddedNetwork
from lep6.heal.disk import Disk
from lep6.heal.ledger import Ledger
from lep6.heal.rows import ClaimState
from lep6.observe import Unwatched
from lep6.transaction import Claim, Vote

Die = Callable[[], None]
READING_BACK = "reading a sample back"
"""The step of a publish that begins when all is stored, and all of that is journalled."""


@final
class FailPoint(enum.Enum):
    """A point, by what has happened when it is reached."""

    HEALER_STAGED = "healer-staged"
    HEALER_INTENT = "healer-intent"
    HEALER_PREPARED = "healer-prepared"
    """The transaction is in the ledger, and goes out next."""
    HEALER_BROADCAST = "healer-broadcast"
    HEALER_INCLUDED = "healer-included"
    """The chain has the claim, and it is written down next."""
    HEALER_RECORDED = "healer-recorded"
    VERIFIER_DECIDED = "verifier-decided"
    VERIFIER_PREPARED = "verifier-prepared"
    VERIFIER_BROADCAST = "verifier-broadcast"
    VERIFIER_INCLUDED = "verifier-included"
    FINALIZER_BEGINS = "finalizer-begins"
    """The claim is publishing, and nothing is stored."""
    FINALIZER_MIDDLE = "finalizer-middle"
    """A batch is stored, and is journalled next."""
    FINALIZER_STORED = "finalizer-stored"
    """The last batch is stored and journalled."""
    FINALIZER_CLOSING = "finalizer-closing"
    FINALIZER_REMOVED = "finalizer-removed"
    """The directory is gone, and the row goes next."""

    @property
    def is_verifiers(self) -> bool:
        """Whether a verifier comes by; otherwise the healer does, who is the finalizer too."""
        return self.value.startswith("verifier")


def install(point: FailPoint, data: Path) -> None:
    """Let this process die at a point, unless it has done so before; `data`: where it notes that."""
    marker = data / f"fail-point-{point.value}"
    if not marker.exists():
        _put(point, functools.partial(_die, marker))


def _die(marker: Path) -> None:
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def _put(point: FailPoint, die: Die) -> None:  # noqa: C901, PLR0912 # a table
    match point:
        case FailPoint.HEALER_STAGED:
            _after(Reseeder, "reseed", lambda result, *_: isinstance(result, Reseeded), die)
        case FailPoint.HEALER_INTENT:
            _after(Ledger, "journal", lambda _, intent: isinstance(intent.says, Claim), die)
        case FailPoint.HEALER_PREPARED:
            _before(LumeraChain, "broadcast", lambda tx: isinstance(tx.message, Claim), die)
        case FailPoint.HEALER_BROADCAST:
            _after(LumeraChain, "broadcast", lambda _, tx: isinstance(tx.message, Claim), die)
        case FailPoint.HEALER_INCLUDED:
            _before(Ledger, "record_claim", lambda *_: True, die)
        case FailPoint.HEALER_RECORDED:
            _after(Ledger, "record_claim", lambda *_: True, die)
        case FailPoint.VERIFIER_DECIDED:
            _after(Ledger, "journal", lambda _, intent: isinstance(intent.says, Vote), die)
        case FailPoint.VERIFIER_PREPARED:
            _before(LumeraChain, "broadcast", lambda tx: isinstance(tx.message, Vote), die)
        case FailPoint.VERIFIER_BROADCAST:
            _after(LumeraChain, "broadcast", lambda _, tx: isinstance(tx.message, Vote), die)
        case FailPoint.VERIFIER_INCLUDED:
            _before(Ledger, "record_verification", lambda *_: True, die)
        case FailPoint.FINALIZER_BEGINS:
            _before(Publisher, "publish", lambda *_: True, die)
        case FailPoint.FINALIZER_MIDDLE:
            _after(EmbeddedNetwork, "store", lambda *_: True, die)
        case FailPoint.FINALIZER_STORED:
            _at_step(READING_BACK, die)
        case FailPoint.FINALIZER_CLOSING:
            _after(Ledger, "set_claim_state", lambda _, __, state: state is ClaimState.CLOSING, die)
        case FailPoint.FINALIZER_REMOVED:
            _after(Disk, "clear", lambda *_: True, die)


Method = Callable[..., Awaitable[Any]]


def _before(room: type, name: str, is_it: Callable[..., bool], die: Die) -> None:
    """Die before a method of a class, when what it is called with is meant."""
    honest: Method = getattr(room, name)

    @functools.wraps(honest)
    async def deadly(self: object, *arguments: Any, **named: Any) -> Any:
        if is_it(*arguments):
            die()
        return await honest(self, *arguments, **named)

    setattr(room, name, deadly)


def _after(room: type, name: str, is_it: Callable[..., bool], die: Die) -> None:
    """Die after a method of a class, when its result, and what it was called with, is meant."""
    honest: Method = getattr(room, name)

    @functools.wraps(honest)
    async def deadly(self: object, *arguments: Any, **named: Any) -> Any:
        result = await honest(self, *arguments, **named)
        if is_it(result, *arguments):
            die()
        return result

    setattr(room, name, deadly)


def _at_step(step: str, die: Die) -> None:
    """Die when the progress that nobody watches comes to a step."""
    honest = Unwatched.step

    @functools.wraps(honest)
    def deadly(self: Unwatched, name: str, *arguments: Any, **named: Any) -> Any:
        if name == step:
            die()
        return honest(self, name, *arguments, **named)

    setattr(Unwatched, "step", deadly)  # noqa: B010 # for mypy it is a method
