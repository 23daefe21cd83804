"""Dials peers: finds out where they are, shakes hands, and makes sure who has answered (contract §3.4, C1 to C8)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final, final
from weakref import WeakValueDictionary

import trio
from attrs import define, field

from lep6.errors import ChainUnavailable, HandshakeFailed, HandshakeFailure
from lep6.grpc import Channel, open_channel
from lep6.observe import get_logger
from lep6.ports import Registrations
from lep6.secure_rpc.handshake import Handshake
from lep6.secure_rpc.identity import DEFAULT_PORT, Credentials, PeerAddress, PeerType
from lep6.secure_rpc.introduction import Introduction
from lep6.secure_rpc.registry import PeerRegistry
from lep6.secure_rpc.seen import SeenKeys
from lep6.secure_rpc.stream import AltsStream

log = get_logger("secure_rpc")

CONNECT_SECONDS: Final = 20.0
"""For one attempt: connecting, the handshake, and the peer's first record."""
QUERY_SECONDS: Final = 5.0
REST_SECONDS: Final = 5.0
"""After a handshake that we gave up: so long a Go server may still be at it, which asks its chain meanwhile."""
PAUSES: Final = (0.2, 1.0)
"""Seconds, from and to, before the second attempt."""

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Connects to a host and a port."""

_RACES: Final = (HandshakeFailure.CLOSED, HandshakeFailure.BROKEN)
"""How a handshake ends that another one between the same two has disturbed (§3.5)."""


@final
@define(eq=False)
class Dialer:
    """Connects as one account to the servers of others. All that dials as an account in a process uses one of these.

    A Go peer confuses two handshakes of one account that overlap. So there is only one at a time to each account.
    """

    credentials: Credentials
    chain: Registrations
    registry: PeerRegistry
    random: Random
    port: int = DEFAULT_PORT
    """Of a peer whose registered address has none: the one that this node itself has."""
    seen: SeenKeys = field(factory=SeenKeys)
    as_ours: bool = True
    """Whether to tell peers that this is a lep6."""
    connect: Connect = trio.open_tcp_stream
    _resting: dict[str, float] = field(factory=dict)
    """Accounts that are left alone, and until when on Trio's clock."""
    _turns: WeakValueDictionary[str, trio.Lock] = field(factory=WeakValueDictionary)

    @asynccontextmanager
    async def channel(self, account: str) -> AsyncIterator[Channel]:
        """A channel to the server of a supernode. Leaving the block closes its connection.

        Raises:
            HandshakeFailed, InvalidAddress, ChainUnavailable, OSError, trio.TooSlowError, RpcUnsent: there is none.
        """
        address = await self.locate(account)
        stream = await self.dial(address)
        async with open_channel(stream, authority=address.place, limits=stream.limits) as channel:
            yield channel

    async def locate(self, account: str) -> PeerAddress:
        """Where the chain says that a supernode is.

        Raises:
            HandshakeFailed: UNREGISTERED.
            InvalidAddress: what the chain has is no address.
            ChainUnavailable: it did not answer.
        """
        try:
            with trio.fail_after(QUERY_SECONDS):
                supernode = await self.chain.supernode(account)
        except trio.TooSlowError as error:
            raise ChainUnavailable(f"no answer within {QUERY_SECONDS:g} s") from error
        if supernode is None:
            raise HandshakeFailed(HandshakeFailure.UNREGISTERED, f"{account} as a supernode")
        self.registry.remember(account, PeerType.SUPERNODE)
        return PeerAddress.registered(account, supernode.address, self.port)

    async def dial(self, address: PeerAddress) -> AltsStream:
        """A connection to a server that has proven to be the account of this address, and speaks first.

        Raises:
            HandshakeFailed: it has not.
            OSError, trio.TooSlowError: it cannot be reached.
        """
        turn = self._turns.setdefault(address.identity, trio.Lock())
        async with turn:
            await trio.sleep_until(self._resting.get(address.identity, 0.0))
            try:
                return await self._attempt(address)
            except HandshakeFailed as error:
                if error.why not in _RACES:
                    raise
                log.info("handshake_repeated", peer=str(address), reason=str(error))
            # What else looks like this (a refusal, above all) does so again.
            await trio.sleep(self.random.uniform(*PAUSES))
            return await self._attempt(address)

    async def _attempt(self, address: PeerAddress) -> AltsStream:
        with trio.fail_after(CONNECT_SECONDS):
            transport = await self.connect(address.host, address.port)
            try:
                return await self._secured(transport, address.identity)
            except BaseException as error:
                if isinstance(error, trio.Cancelled):
                    self._rest(address.identity)
                await trio.aclose_forcefully(transport)
                raise

    def _rest(self, identity: str) -> None:
        """Leave an account alone for a while: it may not know yet that we gave up."""
        now = trio.current_time()
        self._resting = {other: until for other, until in self._resting.items() if until > now}
        self._resting[identity] = now + REST_SECONDS

    async def _secured(self, transport: trio.abc.Stream, identity: str) -> AltsStream:
        handshake = Handshake(self.credentials, self.seen, expected=identity, as_ours=self.as_ours)
        try:
            await transport.send_all(handshake.start())
            peer = await _met(handshake, transport)
        except trio.BrokenResourceError as error:
            raise _closed(identity) from error
        await self.registry.check(peer.account, peer.peer_type)
        _, session = handshake.accept()
        stream = AltsStream(transport, session)
        try:
            await stream.confirm()
        except trio.BrokenResourceError as error:
            raise HandshakeFailed(HandshakeFailure.BROKEN, f"{identity}: {error}") from error
        return stream


async def _met(handshake: Handshake, transport: trio.abc.Stream) -> Introduction:
    """What the server says of itself."""
    while data := await transport.receive_some(handshake.room):
        peer = handshake.receive(bytes(data))
        if peer is not None:
            return peer
    raise trio.BrokenResourceError("the stream has ended")


def _closed(identity: str) -> HandshakeFailed:
    return HandshakeFailed(HandshakeFailure.CLOSED, f"{identity} has not answered; it may have refused us")
