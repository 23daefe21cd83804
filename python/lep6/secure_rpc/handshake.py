"""One side of one handshake, without I/O: bytes in, bytes and events out (secure RPC contract §3.4).

```
 client: start() ──▶ bytes ─────────────────▶ receive(...) :server
                                                   │ Introduction: the caller asks the chain
 receive(...) ◀──────────────── bytes ◀── accept() ┘ and a Session
      │ Introduction: the caller asks the chain
      └ accept() ──▶ a Session
```

A server checks first and answers afterwards, so that a stranger is signed nothing.
"""

import enum
from typing import final

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ec

from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.secure_rpc.identity import Credentials, PeerType
from lep6.secure_rpc.introduction import Introduction, check, introduce, point_bytes
from lep6.secure_rpc.key_schedule import record_key
from lep6.secure_rpc.message import MessageReader
from lep6.secure_rpc.seen import SeenKeys


@final
@frozen
class Session:
    """What a handshake came to."""

    peer: Introduction
    is_client: bool
    key: bytes = field(repr=False)
    """Of the records, expanded."""
    surplus: bytes = field(repr=False)
    """What has come of the peer's records already."""


class _State(enum.Enum):
    NEW = enum.auto()
    WAITING = enum.auto()
    INTRODUCED = enum.auto()
    OVER = enum.auto()


@final
class Handshake:
    """One side of one handshake. Its ephemeral key is made when it has to be shown, and dropped once it was used."""

    def __init__(
        self,
        credentials: Credentials,
        seen: SeenKeys,
        *,
        expected: str | None,
        as_ours: bool = True,
        ephemeral: ec.EllipticCurvePrivateKey | None = None,
    ) -> None:
        """`expected` is the account that a client has dialled; a server expects nobody in particular."""
        self._credentials = credentials
        self._seen = seen
        self._expected = expected
        self._as_ours = as_ours
        self._ephemeral = ephemeral
        self._reader = MessageReader()
        self._peer: Introduction | None = None
        self._surplus = b""
        self._state = _State.NEW if self.is_client else _State.WAITING

    @property
    def is_client(self) -> bool:
        """Whether this is the side that has dialled."""
        return self._expected is not None

    @property
    def has_begun(self) -> bool:
        """Whether the peer has sent a byte."""
        return self._reader.has_begun

    @property
    def room(self) -> int:
        """How many bytes need to be read at a time, at most."""
        return self._reader.room

    def start(self) -> bytes:
        """What a client sends first."""
        self._go(_State.NEW, _State.WAITING)
        return self._introduced()

    def receive(self, data: bytes) -> Introduction | None:
        """Take bytes of the peer; what it says of itself once its message is whole, proven as far as it proves itself.

        Raises:
            HandshakeFailed: it is refused. The handshake is over.
        """
        self._go(_State.WAITING, _State.WAITING)
        try:
            found = self._reader.feed(data)
            if found is None:
                return None
            message, self._surplus = found
            self._peer = check(message)
            self._check(self._peer)
        except HandshakeFailed:
            self._drop()
            raise
        self._state = _State.INTRODUCED
        return self._peer

    def _check(self, peer: Introduction) -> None:
        """Whether the peer is one for this handshake."""
        if self._expected is not None and peer.account != self._expected:
            raise HandshakeFailed(
                HandshakeFailure.UNEXPECTED, f"{self._expected} was called, {peer.account} has answered"
            )
        if self._expected is not None and peer.peer_type is not PeerType.SUPERNODE:
            raise HandshakeFailed(HandshakeFailure.NOT_A_SUPERNODE, peer.account)
        if peer.ephemeral_bytes in self._seen:
            raise _replayed(peer)

    def accept(self) -> tuple[bytes, Session]:
        """Go on with the peer, whom the chain knows: what to send to it, and what has come of the handshake.

        Only now is its key remembered, so that keys of nobody push none of a peer's out of memory.

        Raises:
            HandshakeFailed: the key was used meanwhile. The handshake is over.
        """
        self._go(_State.INTRODUCED, _State.OVER)
        own, peer = self._credentials.account, self._peer
        if peer is None:
            raise RuntimeError("there is no peer to go on with")
        if not self._seen.add(peer.ephemeral_bytes):
            self._drop()
            raise _replayed(peer)
        answer = b"" if self.is_client else self._introduced()
        if self._ephemeral is None:
            raise RuntimeError("a client has not started")
        client, server = (own, peer.account) if self.is_client else (peer.account, own)
        key = record_key(self._ephemeral, peer.ephemeral, client=client, server=server)
        session = Session(peer, self.is_client, key, self._surplus)
        self._drop()
        return answer, session

    def _introduced(self) -> bytes:
        """The message of this side, with an ephemeral key made for it."""
        self._ephemeral = self._ephemeral or ec.generate_private_key(ec.SECP256R1())
        public = self._ephemeral.public_key()
        # Nobody else has this key: a message of ours that is sent back to us is a replay, too.
        self._seen.add(point_bytes(public))
        return introduce(self._credentials, public, as_ours=self._as_ours).to_bytes()

    def _go(self, before: _State, after: _State) -> None:
        if self._state is not before:
            raise RuntimeError(f"the handshake is {self._state.name}, not {before.name}")
        self._state = after

    def _drop(self) -> None:
        """Let the ephemeral key go; the library wipes it then."""
        self._state = _State.OVER
        self._ephemeral = None
        self._surplus = b""


def _replayed(peer: Introduction) -> HandshakeFailed:
    return HandshakeFailed(HandshakeFailure.REPLAYED, f"it names {peer.account}")
