"""The door of a server: lets in who proves to be somebody that the chain knows (secure RPC contract §3.4, S1 to S7)."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, final

import trio
from attrs import define, evolve, field

from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.grpc import Limits, Server
from lep6.grpc.server import DRAIN_SECONDS
from lep6.observe import get_logger
from lep6.secure_rpc.handshake import Handshake
from lep6.secure_rpc.identity import Credentials
from lep6.secure_rpc.introduction import Introduction
from lep6.secure_rpc.places import Lobby, Places, source_of
from lep6.secure_rpc.registry import PeerRegistry
from lep6.secure_rpc.seen import SeenKeys
from lep6.secure_rpc.stream import AltsStream

log = get_logger("secure_rpc")

MESSAGE_SECONDS: Final = 5.0
"""How long a peer's message may take to come."""
HANDSHAKE_SECONDS: Final = 10.0
"""From the first byte of a connection's life to our answer; a Go client waits for 12."""
CONFIRM_SECONDS: Final = 10.0
"""From our answer to the peer's first record."""

LARGEST_REQUEST: Final = 64 << 10
FIRST_CALL_SECONDS: Final = 60.0
"""What is called here is called soon, with small requests; anything else only costs memory and places."""
QUIET_SECONDS: Final = 1.0
"""Between two lines of the log about refusals for one reason."""


@final
@define(eq=False)
class Door:
    """Secures connections and hands them to a server.

    A connection costs a socket and a buffer of 1.1 KiB until its whole message is there; only then it takes one of the
    handshake slots, and keeps its place in the lobby until there is one. Whom the chain does not know is not answered.
    """

    server: Server
    credentials: Credentials
    registry: PeerRegistry
    seen: SeenKeys = field(factory=SeenKeys)
    as_ours: bool = True
    """Whether to tell peers that this is a lep6."""
    lobby: Lobby = field(factory=lambda: Lobby(in_all=1024, from_one=64))
    slots: Places = field(factory=lambda: Places(in_all=100, from_one=32))
    connections: Places = field(factory=lambda: Places(in_all=1024, from_one=256))
    accounts: Places = field(factory=lambda: Places(in_all=1024, from_one=16))
    """Open connections again, by the account at their other end."""
    refused: Counter[HandshakeFailure] = field(factory=Counter)
    """How many connections were refused, and why."""
    _quiet_until: dict[HandshakeFailure, float] = field(init=False, factory=dict)

    async def serve_stream(self, transport: trio.abc.Stream) -> None:
        """Secure one accepted connection, and serve it until it is over. The stream is closed then."""
        source = source_of(transport)
        try:
            stream = await self._secured(transport, source)
            if stream is not None:
                with self.connections.taken(source), self.accounts.taken(stream.session.peer.account):
                    await self.server.serve_stream(stream, limits=_limits(stream))
                if stream.peer is None and stream.failure is not None:
                    self._refuse(source, HandshakeFailed(HandshakeFailure.BROKEN, stream.failure))
        except HandshakeFailed as error:
            self._refuse(source, error)
        except Exception:  # a bug on one connection ends that one
            log.exception("connection_failed", source=source)
        finally:
            await trio.aclose_forcefully(transport)

    @asynccontextmanager
    async def serving(
        self, listeners: Sequence[trio.abc.Listener[Any]], *, drain_seconds: float = DRAIN_SECONDS
    ) -> AsyncIterator[None]:
        """Serve what the listeners accept while the block runs. See `Server.serving`."""
        async with self.server.serving(listeners, serve=self.serve_stream, drain_seconds=drain_seconds):
            yield

    async def _secured(self, transport: trio.abc.Stream, source: str) -> AltsStream | None:
        """The connection, secured; `None` where nobody has said a word: ports are probed that way.

        Raises:
            HandshakeFailed: the peer is refused.
        """
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                handshake = Handshake(self.credentials, self.seen, expected=None, as_ours=self.as_ours)
                peer = await self._met(handshake, transport, source)
                if peer is None:
                    return None
                with self.slots.kept(source):
                    await self.registry.check(peer.account, peer.peer_type)
                    answer, session = handshake.accept()
                    await transport.send_all(answer)
        except trio.TooSlowError as error:
            raise HandshakeFailed(HandshakeFailure.LATE, f"{HANDSHAKE_SECONDS:g} s have passed") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise HandshakeFailed(HandshakeFailure.CLOSED, "in the middle of the handshake") from error
        return AltsStream(transport, session, confirm_by=trio.current_time() + CONFIRM_SECONDS)

    async def _met(self, handshake: Handshake, transport: trio.abc.Stream, source: str) -> Introduction | None:
        """What the peer says of itself, for whom a slot is taken then; `None` where it says nothing at all."""
        peer: Introduction | None = None
        with self.lobby.waiting(source) as place:
            peer = await _heard(handshake, transport)
            if peer is not None:
                await self.slots.take(source)
        if place.cancelled_caught:
            raise HandshakeFailed(HandshakeFailure.CROWDED, source or "this machine")
        return peer

    def _refuse(self, source: str, error: HandshakeFailed) -> None:
        self.refused[error.why] += 1
        # Who is refused may come again a thousand times a second: all are counted, and some are told.
        if trio.current_time() >= self._quiet_until.get(error.why, 0.0):
            self._quiet_until[error.why] = trio.current_time() + QUIET_SECONDS
            count = self.refused[error.why]
            log.info("peer_refused", source=source, why=error.why.name, reason=str(error), so_far=count)


async def _heard(handshake: Handshake, transport: trio.abc.Stream) -> Introduction | None:
    """What the peer says of itself, in time; `None` where it says nothing at all."""
    try:
        with trio.fail_after(MESSAGE_SECONDS):
            while data := await transport.receive_some(handshake.room):
                peer = handshake.receive(bytes(data))
                if peer is not None:
                    return peer
    except trio.TooSlowError as error:
        raise HandshakeFailed(HandshakeFailure.SILENT, f"{MESSAGE_SECONDS:g} s have passed") from error
    except trio.BrokenResourceError:
        if handshake.has_begun:
            raise
    if handshake.has_begun:
        raise HandshakeFailed(HandshakeFailure.CLOSED, "in the middle of its message")
    return None


def _limits(stream: AltsStream) -> Limits:
    """For callers over a connection."""
    return evolve(stream.limits, max_request=LARGEST_REQUEST, first_call=FIRST_CALL_SECONDS)
