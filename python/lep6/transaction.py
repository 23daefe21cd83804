"""Transactions as values: what a node tells the chain, and how that may end. Nothing here does I/O."""

import enum
from typing import final

from attrs import field, frozen

from lep6.model import Ticket


@final
@frozen
class Claim:
    """`MsgClaimHealComplete`: the assigned healer has the file again (LEP-6 §19)."""

    op_id: int
    ticket: Ticket
    manifest_hash: str
    """Base64 of the file's BLAKE3-256."""


@final
@frozen
class Vote:
    """`MsgSubmitHealVerification`: what an assigned verifier found (LEP-6 §20)."""

    op_id: int
    verified: bool
    hash: str
    """On a positive vote the op's `result_hash` as the chain spells it; never empty, on a negative one neither."""
    details: str
    """Reason of a negative vote; stays on the chain for ever."""


Message = Claim | Vote


class Refusal(enum.Enum):
    """Why the chain refuses a transaction."""

    OP_UNKNOWN = "the chain knows no such heal op"
    NOT_ASSIGNED = "the account is not assigned to the heal op"
    WRONG_TICKET = "the heal op has another ticket"
    WRONG_STATUS = "the heal op does not take this in its status"
    VOTE_EXISTS = "the account has voted on the heal op already"
    WRONG_HASH = "the hash is not the heal op's result hash"
    FUNDS = "the account cannot pay"
    FEE = "the fee is too low"
    GAS = "the gas was not enough"
    SEQUENCE = "the account's sequence is another"
    MEMPOOL = "the mempool has no room"
    LATE = "its time-out height has passed"
    KEY = "the account's key cannot be used"
    UNSENT = "no node of the chain could be reached to send it to"
    OTHER = "the chain refuses the transaction as such"

    @property
    def is_about_the_op(self) -> bool:
        """Whether the same message would be refused in any other transaction, too."""
        return self in _ABOUT_THE_OP


_ABOUT_THE_OP = frozenset(
    {
        Refusal.OP_UNKNOWN,
        Refusal.NOT_ASSIGNED,
        Refusal.WRONG_TICKET,
        Refusal.WRONG_STATUS,
        Refusal.VOTE_EXISTS,
        Refusal.WRONG_HASH,
    }
)


@final
@frozen
class Packed:
    """A message of a host that shares the key: lep6 does not know what it says."""

    type_url: str
    value: bytes


@final
@frozen
class Transaction:
    """A signed transaction that was not sent yet."""

    message: Message | Packed
    tx_hash: str
    """Upper-case hexadecimal SHA-256 of its bytes: what it is looked up by."""
    sequence: int
    timeout_height: int
    """The last block that may include it."""
    raw: bytes = field(repr=False)


@final
@frozen
class Refused:
    """Definite: this transaction is in no block and in no mempool, and has no effect."""

    why: Refusal


@final
@frozen
class Indeterminate:
    """No answer, or none that says anything: whether it was sent is for a look-up to find out."""


@final
@frozen
class Pooled:
    """It lies in a mempool. That decides nothing."""


@final
@frozen
class Included:
    """It is in a block."""

    height: int
    refusal: Refusal | None
    """Why it failed there; `None` when it had its effect."""


@final
@frozen
class Absent:
    """The answering node has it in no block that it knows. Somewhere it may lie in a mempool."""


Prepared = Transaction | Refused | Indeterminate
Sent = Pooled | Refused | Indeterminate
Found = Included | Absent
