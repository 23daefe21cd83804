"""Who meets in these tests: accounts, a chain that knows some of them, doors, and those who knock."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec

from artefact_stream.ends import Asked, Reply, Scripted, ask_over
from lep6.beside import beside
from lep6.devnet.network import node_key
from lep6.errors import ChainUnavailable, HandshakeFailed, HandshakeFailure
from lep6.grpc import Channel, Server
from lep6.keys import PrivateKey, pack_key
from lep6.model import Supernode
from lep6.secure_rpc import (
    AltsStream,
    Credentials,
    Dialer,
    Door,
    HandshakeIdentity,
    PeerAddress,
    PeerRegistry,
    SeenKeys,
)
from lep6.secure_rpc.handshake import Handshake
from lep6.secure_rpc.introduction import point_bytes
from lep6.secure_rpc.message import LARGEST_MESSAGE, HandshakeMessage
from lep6.wire.lumera.lumeraid import HandshakeInfo

PARTIES = tuple(Credentials(node_key(number)) for number in range(8))
HEALER, VERIFIER, STRANGER, OTHER, *_ = PARTIES
UNKNOWN = Credentials(node_key(99))
"""Whom the chain does not know."""
NOBODY = "nobody"


def who(transport: trio.abc.Stream) -> str | None:
    """Who is at the other end, as a service is told."""
    return HandshakeIdentity().resolve(transport)


@contextmanager
def refused(*why: HandshakeFailure) -> Iterator[None]:
    """What stands in the block is refused, for one of these reasons."""
    with pytest.raises(HandshakeFailed) as found:
        yield
    assert found.value.why in why, found.value


def ephemeral_key(seed: int = 7) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(seed, ec.SECP256R1())


def info_of(credentials: Credentials, **changes: Any) -> HandshakeInfo:
    """What an account says of itself, but for these changes."""
    fields: dict[str, Any] = {
        "address": credentials.account,
        "peer_type": int(credentials.peer_type),
        "public_key": point_bytes(ec.generate_private_key(ec.SECP256R1()).public_key()),
        "account_public_key": bytes(pack_key(credentials.key.public)),
        "curve": "P256",
    }
    return HandshakeInfo(**(fields | changes))


def signed(info: HandshakeInfo | bytes, key: PrivateKey) -> HandshakeMessage:
    return HandshakeMessage(bytes(info), key.sign_in_full(bytes(info)))


def message_of(credentials: Credentials, **changes: Any) -> bytes:
    """The message of an account, with these changes, signed by its key."""
    return signed(info_of(credentials, **changes), credentials.key).to_bytes()


@define
class Chain:
    """A chain that knows these, and notes what it is asked."""

    supernodes: dict[str, str] = field(factory=lambda: {party.account: "127.0.0.1" for party in PARTIES})
    """Their registered addresses."""
    accounts: set[str] = field(factory=set)
    asked: list[str] = field(factory=list)
    is_away: bool = False
    answers_after: float = 0.0
    """Seconds."""
    answered: int = 0

    async def supernode(self, account: str, /) -> Supernode | None:
        await self._asked(account)
        address = self.supernodes.get(account)
        return None if address is None else Supernode(account, address)

    async def is_account(self, address: str, /) -> bool:
        await self._asked(address)
        return address in self.accounts or address in self.supernodes

    async def _asked(self, account: str) -> None:
        self.asked.append(account)
        await trio.sleep(self.answers_after)
        if self.is_away:
            raise ChainUnavailable("no node of the chain can be reached")
        self.answered += 1


async def _tell(asked: Asked) -> None:
    await asked.send_message(Reply((who(asked.transport) or NOBODY).encode(), 0, is_last=True))


def telling_who_calls() -> Scripted:
    """A service that says to its caller who that is."""
    return Scripted(_tell)


async def caller_over(channel: Channel) -> str:
    """As whom the service sees the caller of this channel."""
    return (await ask_over(channel, account="what a request says does not count")).data.decode()


def a_door(credentials: Credentials = HEALER, chain: Chain | None = None, *services: Any, **options: Any) -> Door:
    server = Server(services or [telling_who_calls()])
    return Door(server, credentials, PeerRegistry(chain or Chain()), **options)


@define
class Street:
    """Doors that are reached in memory, each on its host, and how they were."""

    nursery: trio.Nursery
    doors: dict[str, Callable[[trio.abc.Stream], Awaitable[object]]] = field(factory=dict)
    dialled: list[tuple[str, int, float]] = field(factory=list)
    """Host, port, and when, on Trio's clock."""
    transports: list[trio.abc.Stream] = field(factory=list)
    """The clients' ends."""

    async def connect(self, host: str, port: int = 4444) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled.append((host, port, trio.current_time()))
        ours, theirs = trio.testing.memory_stream_pair()
        self.transports.append(ours)
        self.nursery.start_soon(self.doors[host], theirs)
        return ours

    async def are_closed(self) -> bool:
        """Whether all transports were closed by the clients."""
        for transport in self.transports:
            try:
                await transport.send_all(b"x")
            except trio.ClosedResourceError:
                continue
            except trio.BrokenResourceError:
                pass
            return False
        return True


@asynccontextmanager
async def a_street(**doors: Door | Callable[[trio.abc.Stream], Awaitable[object]]) -> AsyncIterator[Street]:
    async with beside(trio.sleep_forever) as nursery:
        serves = {host: door.serve_stream if isinstance(door, Door) else door for host, door in doors.items()}
        yield Street(nursery, serves)


def a_dialer(street: Street | None, credentials: Credentials = VERIFIER, chain: Chain | None = None) -> Dialer:
    chain = chain or Chain()
    options: dict[str, Any] = {} if street is None else {"connect": street.connect}
    return Dialer(credentials, chain, PeerRegistry(chain), Random(5), **options)


def at(credentials: Credentials, host: str = "healer", port: int = 4444) -> PeerAddress:
    return PeerAddress(credentials.account, host, port)


async def met(handshake: Handshake, transport: trio.abc.Stream) -> bool:
    """Read the peer's message; whether it came."""
    while data := await transport.receive_some(handshake.room):
        if handshake.receive(bytes(data)) is not None:
            return True
    return False


async def shaken(transport: trio.abc.Stream, credentials: Credentials, server: Credentials = HEALER) -> AltsStream:
    """A client's secured stream, as soon as its handshake is done: nothing of the server's records was read."""
    handshake = Handshake(credentials, SeenKeys(), expected=server.account)
    await transport.send_all(handshake.start())
    assert await met(handshake, transport), "the server has not answered"
    return AltsStream(transport, handshake.accept()[1])


async def answered(transport: trio.abc.Stream, credentials: Credentials) -> AltsStream | None:
    """A server's secured stream, without any question to the chain; `None` where the client has gone."""
    handshake = Handshake(credentials, SeenKeys(), expected=None)
    if not await met(handshake, transport):
        return None
    answer, session = handshake.accept()
    await transport.send_all(answer)
    return AltsStream(transport, session)


async def all_of(transport: trio.abc.Stream) -> bytes:
    """What comes until the other side closes, or breaks off."""
    data = b""
    try:
        while more := await transport.receive_some(LARGEST_MESSAGE):
            data += more
    except trio.BrokenResourceError:
        pass
    return data


async def until(condition: Callable[[], object]) -> None:
    """Wait until this is so, between tasks that use real sockets."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 # it is looked at from outside
            await trio.sleep(0.005)
