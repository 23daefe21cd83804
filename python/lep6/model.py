"""The words of the system as frozen values. Nothing here does I/O."""

import enum
from typing import NewType

from attrs import field, frozen

from lep6 import _core

Key = NewType("Key", bytes)
"""BLAKE3-256 of a value: where the network keeps it. 32 bytes."""

Ticket = NewType("Ticket", str)
"""The action id of the file that a heal op heals."""


def key_of(value: bytes) -> Key:
    """The key under which the network keeps a value."""
    return Key(_core.blake3(value))


class HealOpStatus(enum.IntEnum):
    """`lumera.audit.v1.HealOpStatus`."""

    UNSPECIFIED = 0
    SCHEDULED = 1
    IN_PROGRESS = 2
    HEALER_REPORTED = 3
    VERIFIED = 4
    FAILED = 5
    EXPIRED = 6


@frozen
class HealOp:
    """A heal op as the chain tells it (LEP-6 §18-§22)."""

    op_id: int
    ticket: Ticket
    healer: str
    """Account of the assigned healer."""
    verifiers: tuple[str, ...]
    """Accounts of the assigned verifiers; never the healer's."""
    status: HealOpStatus
    result_hash: str = ""
    """The manifest hash that the chain has recorded; after FAILED, the deciding vote's hash."""
    scheduled_epoch: int = 0
    deadline_epoch: int = 0
    """The last epoch in which the op is open; 0 for none."""


@frozen
class Supernode:
    """A supernode as the chain registers it."""

    account: str
    address: str
    """The newest that the chain has of it, free text: a host, a host with a port, or a URL. Empty for none."""


class ActionState(enum.IntEnum):
    """`lumera.action.v1.ActionState`."""

    UNSPECIFIED = 0
    PENDING = 1
    PROCESSING = 2
    DONE = 3
    APPROVED = 4
    REJECTED = 5
    FAILED = 6
    EXPIRED = 7


@frozen
class Action:
    """A Cascade action as the chain tells it: the record of one file."""

    ticket: Ticket
    creator: str
    """Bech32 account that asked for the file to be kept."""
    state: ActionState
    metadata: bytes = field(repr=False)
    """Binary CascadeMetadata (docs/formats.md, "Metadata")."""
    app_pubkey: bytes = b""
    """Key of an interchain-account creator: 33 bytes, or empty."""

    @property
    def is_recoverable(self) -> bool:
        """Whether the file of an action in this state is one that the network keeps."""
        return self.state in (ActionState.DONE, ActionState.APPROVED)


class EnforcementMode(enum.IntEnum):
    """`lumera.audit.v1.StorageTruthEnforcementMode`. All but UNSPECIFIED schedule and heal alike."""

    UNSPECIFIED = 0
    SHADOW = 1
    SOFT = 2
    FULL = 3


@frozen
class Parameters:
    """The chain's parameters that a heal depends on."""

    mode: EnforcementMode
    epoch_zero_height: int
    """Height of the first block of epoch 0; never changes."""
    epoch_length: int
    """Blocks of an epoch; never changes."""

    def last_height(self, epoch: int) -> int:
        """The last block of an epoch. Transactions in it still count."""
        return self.epoch_zero_height + (epoch + 1) * self.epoch_length - 1


@frozen
class Block:
    """The newest block that a node of the chain knows."""

    height: int
    time: float
    """Seconds since the Unix epoch, by the chain's clock."""


@frozen
class Page:
    """A page of a listing of heal ops, ascending by id."""

    ops: tuple[HealOp, ...]
    next_page: bytes
    """What to ask with for the next page; empty on the last one."""
