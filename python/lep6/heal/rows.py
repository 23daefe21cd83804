"""What a node remembers of its heal ops, as values (LEP-6 §18-§22; docs/formats.md, "Ledger")."""

import enum
from typing import final

from attrs import frozen

from lep6.model import Ticket
from lep6.transaction import Claim, Message, Vote


class Role(enum.Enum):
    """What a node is to a heal op. The finalizer of an op is its healer."""

    HEALER = "healer"
    VERIFIER = "verifier"


class ClaimState(enum.Enum):
    """How far a claim that the chain has accepted is."""

    ACCEPTED = "accepted"
    """The file is served to the verifiers."""
    PUBLISHING = "publishing"
    """VERIFIED was seen; whatever the chain says later, the artefacts are published."""
    CLOSING = "closing"
    """Nothing is left to do but to remove the staging, and then this row."""


@final
@frozen
class ClaimRow:
    """The chain has accepted our claim."""

    op_id: int
    ticket: Ticket
    manifest_hash: str
    staging: str
    """Name of the staging directory, below the staging root."""
    state: ClaimState
    submitted_at: float
    """When acceptance was recorded, in seconds since the Unix epoch."""


@final
@frozen
class VerificationRow:
    """The chain has accepted our vote."""

    op_id: int
    verifier: str
    verified: bool
    hash: str
    submitted_at: float


@final
@frozen
class SentTransaction:
    """What is known of a transaction before it is sent."""

    tx_hash: str
    sequence: int
    timeout_height: int
    """The last block that may include it."""


@final
@frozen
class Intent:
    """What we are about to tell the chain of an op, or have told it without knowing the end. Never taken for a claim.

    What it says never changes; only the transaction that carries it may be replaced, once that is known to be dead.
    """

    op_id: int
    ticket: Ticket
    says: Message
    sent: SentTransaction | None = None

    @property
    def role(self) -> Role:
        """In which role it is told."""
        return role_of(self.says)


def role_of(says: Message) -> Role:
    """In which role a node says this."""
    match says:
        case Claim():
            return Role.HEALER
        case Vote():
            return Role.VERIFIER
