"""Transactions as the chain takes them, and what becomes of them (chain contract §2.4, §2.7)."""

import hashlib
import json
from typing import Any, final

from attrs import field, frozen

from lep6.devnet.chain.signatures import Signed
from lep6.devnet.chain.state import Event
from lep6.errors import InvalidMessage
from lep6.model import Ticket
from lep6.transaction import Claim, Message, Vote

_NUMBERS = 2**64
"""Numbers on the wire are below this."""


@final
@frozen(kw_only=True)
class Tx:
    """A transaction of one message.

    One that came as a `TxRaw` has its bytes and its signature. Any other is taken for its creator's, and its bytes are
    JSON with sorted keys: a stand-in for a signed `TxRaw`.

    Raises:
        InvalidMessage: a number is none that a transaction can have.
    """

    creator: str
    message: Message
    sequence: int
    timeout_height: int = 0
    """The last block that may include it; 0 for any."""
    gas_limit: int
    fee: int
    """In ulume; all of it is taken."""
    memo: str = ""
    details: str = ""
    """What a claim says besides. A vote carries its own."""
    signed: Signed | None = None
    """What proves it to be its creator's; `None` where nothing has to."""
    encoded: bytes | None = field(default=None, repr=False)
    """The `TxRaw` that it came as."""

    def __attrs_post_init__(self) -> None:
        for value in (self.sequence, self.timeout_height, self.gas_limit, self.fee, self.message.op_id):
            if type(value) is not int or not 0 <= value < _NUMBERS:
                raise InvalidMessage(f"not a number of a transaction: {value!r}")

    @property
    def raw(self) -> bytes:
        """Its bytes: equal for equal transactions, different for different ones."""
        if self.encoded is not None:
            return self.encoded
        fields = {
            "creator": self.creator,
            "message": _fields(self.message),
            "sequence": self.sequence,
            "timeout_height": self.timeout_height,
            "gas_limit": self.gas_limit,
            "fee": self.fee,
            "memo": self.memo,
            "details": self.details,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @property
    def tx_hash(self) -> str:
        """Upper-case hexadecimal SHA-256 of its bytes."""
        return hash_of(self.raw)

    def is_late(self, height: int) -> bool:
        """Whether a block of this height must not include it."""
        return 0 < self.timeout_height < height

    @classmethod
    def decode(cls, raw: bytes) -> "Tx":
        """The transaction of these bytes.

        Raises:
            InvalidMessage: they are no transaction's.
        """
        try:
            fields = json.loads(raw)
            tx = cls(**{**fields, "message": _message(*fields["message"])})
            canonical = tx.raw == raw and all(isinstance(fields[name], str) for name in ("creator", "memo", "details"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidMessage(f"not a transaction: {error}") from error
        if not canonical:
            raise InvalidMessage("not a transaction as it would be written")
        return tx


def hash_of(raw: bytes) -> str:
    """The hash of a transaction's bytes: what it is looked up by."""
    return hashlib.sha256(raw).hexdigest().upper()


def _fields(message: Message) -> list[object]:
    match message:
        case Claim(op_id, ticket, manifest_hash):
            return ["claim", op_id, ticket, manifest_hash]
        case Vote(op_id, verified, hash_, details):
            return ["vote", op_id, verified, hash_, details]


def _message(kind: str, op_id: int, *rest: Any) -> Message:
    match kind, rest:
        case "claim", [str(ticket), str(manifest_hash)]:
            return Claim(op_id, Ticket(ticket), manifest_hash)
        case "vote", [bool(verified), str(hash_), str(details)]:
            return Vote(op_id, verified, hash_, details)
        case _:
            raise ValueError(kind)


@final
@frozen
class TxResult:
    """`TxResponse`: what a mempool (height 0) or a block says of a transaction."""

    code: int
    """0 when it was taken, or had its effect."""
    codespace: str
    log: str
    height: int = 0
    """The block that it is in; 0 for none."""
    gas_wanted: int = 0
    gas_used: int = 0
    time: float = 0.0
    """The block's, in seconds since the Unix epoch."""
    tx: Tx | None = field(default=None, repr=False)
    """The transaction, if it is in a block."""
    events: tuple[Event, ...] = ()
    """What it told of."""
