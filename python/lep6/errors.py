"""The exception family of lep6.

An expected bad ending (a file that cannot be rebuilt, a peer that is away) is a value, not an exception: see the
outcome classes of each step. An exception says that something handed in is wrong, that the system refused a read or a
write (`OSError` as it is), or that lep6 has a bug.
"""

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import final

from attrs import frozen
from grpclib.const import Status


class Lep6Error(Exception):
    """The base of everything that lep6 raises itself."""


class InvalidArtefact(Lep6Error):
    """A layout, symbol, id file, manifest, pack or size is not what the format says. Nothing was lost by it."""


class InvalidMessage(Lep6Error):
    """Bytes are not the protobuf message that they should be."""


class InvalidRecord(Lep6Error):
    """A record of a secured connection is not what the other side can have sent. The connection is over."""


class InvalidAction(Lep6Error):
    """The chain's record of an action cannot be healed from: its state, metadata or index is not that of a file."""


class InvalidKey(Lep6Error):
    """An address, key or signature is malformed."""


class KeyNotOpened(Lep6Error):
    """A private key was not had from where it is kept; nothing was changed.

    There is none, or it is damaged, foreign, open to others, elsewhere, or under another passphrase.
    """


class InvalidAddress(Lep6Error):
    """A text is not the address of a server."""


@final
@frozen
class Problem:
    """Something about a configuration that an operator has to know. It never shows a secret."""

    key: str
    """Dotted path in the file; empty: the file as a whole."""
    what: str
    """What is wrong with it."""
    mend: str
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.key} {self.what}: {self.mend}".lstrip()


class InvalidConfig(Lep6Error):
    """A configuration cannot be used. All that is wrong with it is named at once."""

    def __init__(self, path: Path, problems: Sequence[Problem], advisories: Sequence[Problem] = ()) -> None:
        super().__init__("\n  ".join([f"{path} cannot be used:", *map(str, problems)]))
        self.path = path
        self.problems = tuple(problems)
        self.advisories = tuple(advisories)
        """What is worth knowing, but stops nothing."""


class NoSpace(Lep6Error):
    """The disk has not the room that the work needs. Nothing was begun; free space and try again."""


class OutputExists(Lep6Error):
    """There is something already where output was to go; it is kept."""


class StagingExists(Lep6Error):
    """A complete staging of this op is there already; it is kept."""


class StoreDamaged(Lep6Error):
    """A database of ours is damaged, newer than this lep6, or someone else's. It was not changed."""


class StoreUnavailable(Lep6Error):
    """A database of ours cannot be used now: busy, no room, no permission. It was not changed; try again."""


class ForeignLedger(Lep6Error):
    """The ledger belongs to another account. It was not changed."""


class ClaimAlreadyRecorded(Lep6Error):
    """The ledger has the claim on this heal op already. What it says of it stands."""


class VerificationAlreadyRecorded(Lep6Error):
    """The ledger has this verifier's vote on the heal op already. What it says of it stands."""


class IntentAlreadyJournalled(Lep6Error):
    """What this node tells the chain of the heal op is written down already, and is not changed any more."""


class JobCancelled(Lep6Error):
    """A job of the core was cancelled by its owner."""


class CoreBug(Lep6Error):
    """The core failed in a way that it never should. Please report it with the message."""


class AlreadyRunning(Lep6Error):
    """Another process heals with this data or this key, or has the port. Nothing was begun."""


class NotRunning(Lep6Error):
    """The heal service does not run, or not any more. Nothing was done."""


class NotDropped(Lep6Error):
    """A heal op cannot be dropped yet: a transaction about it may still be included. Nothing was removed."""


class InvalidLimit(Lep6Error):
    """There is no such limit, or it cannot have this value. Nothing was changed."""


class NotWanted(Lep6Error):
    """The chain has said for certain that this node cannot heal: it is another chain, or does not know the node."""


class NoNetwork(Lep6Error):
    """Nothing says where the network is whose files are to be healed. Nothing was begun."""


class ChainUnavailable(Lep6Error):
    """No node of the chain answered. Nothing is known; ask again."""


class WrongChain(ChainUnavailable):
    """A node is one of another chain than was configured. Nothing was sent to it; of ours nothing is known."""


class FetchFailure(enum.Enum):
    """Why the rebuilt file of an op did not come whole."""

    UNREACHABLE = "the healer could not be reached, or the connection was lost"
    NOT_READY = "the healer does not serve the op now"
    REFUSED = "the healer refused"
    DAMAGED = "the healer found its own file damaged"
    TRUNCATED = "the stream ended before the file did"
    STALLED = "nothing came for too long"
    MALFORMED = "the stream is not that of a file"


class FetchFailed(Lep6Error):
    """The rebuilt file of an op did not come whole. A fact about the transport, never evidence about the file."""

    def __init__(self, kind: FetchFailure, detail: str) -> None:
        super().__init__(f"{kind.value}: {detail}")
        self.kind = kind


class HandshakeFailure(enum.Enum):
    """Why a connection was not secured."""

    SILENT = "its first message did not come in time"
    CLOSED = "the other side closed the connection"
    MALFORMED = "its message is not one of a handshake"
    FOREIGN_KEY = "the account key is not that of the address it names"
    FORGED = "the signature is not that of the account"
    REPLAYED = "its ephemeral key was used before"
    UNEXPECTED = "it is another account than was called"
    NOT_A_SUPERNODE = "a server is a supernode, and this one says that it is none"
    UNREGISTERED = "the chain does not know it as what it says it is"
    UNCHECKED = "the chain did not say whether it knows it"
    CROWDED = "too many connections wait, or are open, from its address"
    LATE = "the handshake took too long"
    BROKEN = "its first record is not one of this connection"


class HandshakeFailed(Lep6Error):
    """A connection was not secured; nothing was told over it."""

    def __init__(self, why: HandshakeFailure, detail: str) -> None:
        super().__init__(f"{why.value}: {detail}")
        self.why = why


class RpcError(Lep6Error):
    """A call did not give its answer."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}" if message else status.name)
        self.status = status
        self.message = message


class RpcRefused(RpcError):
    """The other side answered, with this status. It is there, and it has decided."""


class RpcUnanswered(RpcError):
    """The other side did not answer: it is away, silent, broken off, or spoke nonsense. Whether it acted is unknown."""


class RpcUnsent(RpcUnanswered):
    """As `RpcUnanswered`, but the call certainly never reached a handler: it may be made again."""


class AdminRefusal(enum.Enum):
    """Why a running daemon did not do what it was told."""

    INVALID = "the request is not one that it knows"
    NOT_FOUND = "it has nothing of that name"
    BUSY = "it has too much to do now"
    FOREIGN = "it takes no requests from another user"
    FAILED = "it could not do it"


class AdminRefused(Lep6Error):
    """A running daemon did not do what it was told."""

    def __init__(self, why: AdminRefusal, detail: str) -> None:
        super().__init__(detail or why.value)
        self.why = why


class DaemonAway(Lep6Error):
    """No daemon answers at its admin socket. Whether a request that had gone out was carried out is not known."""
