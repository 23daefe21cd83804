"""Both ends of the artefact stream: a healer with a staging, its clients, and healers that follow a script."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import trio
import trio.testing
from attrs import define, evolve, field, frozen
from grpclib.const import Cardinality, Handler, Status

from lep6 import _core
from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.artefact_stream.client import PATH
from lep6.beside import beside
from lep6.cascade.staging import ID_FILES, MANIFEST, RECONSTRUCTED, SYMBOLS, VERSION, Manifest
from lep6.cascade.text import to_base64
from lep6.devnet.network import node_account
from lep6.errors import ChainUnavailable, RpcRefused
from lep6.grpc import Call, Channel, Limits, Request, Server
from lep6.grpc.channel import open_channel
from lep6.model import HealOp, HealOpStatus, Ticket
from lep6.ports import At, IdentityResolver
from lep6.wire import supernode as wire
from world import BLOCKING

MIB = 1 << 20
ACCOUNTS = tuple(node_account(number) for number in range(12))
HEALER, VERIFIER, STRANGER, *_ = ACCOUNTS
VERIFIERS = (VERIFIER, *ACCOUNTS[3:])
OP = HealOp(5, Ticket("7"), HEALER, VERIFIERS, HealOpStatus.HEALER_REPORTED)
ANY_SIZE = _core.MAX_FILE_SIZE
NARROW = Limits(stream_window=65_535)
"""A client that lets the healer run no more than a chunk ahead of it."""

Reply = wire.ServeReconstructedArtefactsResponse
Asked = Request[wire.ServeReconstructedArtefactsRequest, Any]


@define
class KnownOps:
    """A chain with these ops, which notes what it is asked for."""

    ops: dict[int, HealOp]
    is_away: bool = False
    asked: list[int] = field(factory=list)

    @classmethod
    def of(cls, *ops: HealOp) -> "KnownOps":
        return cls({op.op_id: op for op in ops})

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        self.asked.append(op_id)
        if self.is_away:
            raise ChainUnavailable("10.1.2.3:26657 and 3 more do not answer")
        return At(self.ops.get(op_id), 100)


@frozen
class Claimed:
    """A chain on which the healer has claimed what it has staged, where nothing else is said."""

    root: Path
    inner: KnownOps

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        answer = await self.inner.heal_op(op_id)
        with suppress(OSError, ValueError, KeyError, TypeError):
            if answer.value is not None and not answer.value.result_hash:
                claimed = json.loads((self.root / str(op_id) / MANIFEST).read_bytes())["manifest_hash"]
                return At(evolve(answer.value, result_hash=claimed), answer.height)
        return answer


def sealed_manifest(directory: Path, op: HealOp) -> Manifest:
    """The manifest of what lies in a directory, without symbols and id files."""
    file = directory / RECONSTRUCTED
    digest = to_base64(_core.hash_file(file, _core.Job()))
    return Manifest(VERSION, str(op.op_id), op.ticket, file.stat().st_size, digest, 0, 0, 0, (), "00112233445566ff")


def stage(root: Path, data: bytes | int, op: HealOp = OP) -> Path:
    """A staging of these bytes, or of so many zeros that take no room."""
    directory = root / str(op.op_id)
    directory.mkdir(parents=True)
    with (directory / RECONSTRUCTED).open("wb") as file:
        if isinstance(data, int):
            file.truncate(data)
        else:
            file.write(data)
    for values, index in (SYMBOLS, ID_FILES):
        _core.PackWriter(directory / values).finish(directory / index)
    (directory / MANIFEST).write_bytes(sealed_manifest(directory, op).to_json())
    return directory


def service(
    root: Path, heal_ops: KnownOps | None = None, identities: IdentityResolver | None = None, **options: Any
) -> ArtefactService:
    return ArtefactService(
        HEALER,
        root,
        Claimed(root, heal_ops or KnownOps.of(OP)),
        identities or Introduced(),
        options.pop("blocking", BLOCKING),
        **options,
    )


@frozen
class Introduced:
    """Who calls, as the test has it: what `a_node` was told of a stream in memory; any other comes from `otherwise`."""

    otherwise: str | None = VERIFIER

    def resolve(self, transport: trio.abc.Stream, /) -> str | None:
        return CALLERS.get(transport, self.otherwise)


@define
class OneAfterAnother:
    """Each connection comes from the next of these accounts."""

    accounts: Iterator[str] = field(converter=iter)
    _known: WeakKeyDictionary[trio.abc.Stream, str] = field(factory=WeakKeyDictionary)

    def resolve(self, transport: trio.abc.Stream, /) -> str | None:
        if transport not in self._known:
            self._known[transport] = next(self.accounts)
        return self._known[transport]


CALLERS: WeakKeyDictionary[trio.abc.Stream, str | None] = WeakKeyDictionary()


@frozen
class Answer:
    """All that a server sent to one call."""

    messages: list[Reply]
    status: Status
    text: str = ""

    @property
    def data(self) -> bytes:
        return b"".join(message.chunk for message in self.messages)

    @property
    def is_whole(self) -> bool:
        return any(message.is_last for message in self.messages)


def request(channel: Channel, **options: Any) -> Call[wire.ServeReconstructedArtefactsRequest, Reply]:
    return channel.request(PATH, Cardinality.UNARY_STREAM, wire.ServeReconstructedArtefactsRequest, Reply, **options)


async def ask_over(channel: Channel, op_id: int = OP.op_id, account: str = VERIFIER) -> Answer:
    """Call, without any check of what comes."""
    messages: list[Reply] = []
    try:
        async with request(channel) as call:
            await call.send_message(wire.ServeReconstructedArtefactsRequest(op_id, account))
            async for message in call:
                messages.append(message)  # noqa: PERF401 # what came before an error counts too
    except RpcRefused as error:
        return Answer(messages, error.status, error.message)
    return Answer(messages, Status.OK)


@define
class Node:
    """A server in memory, and who dialled it."""

    server: Server
    nursery: trio.Nursery
    dialled: list[str] = field(factory=list)
    transports: list[trio.abc.Stream] = field(factory=list)
    """The clients' ends of its connections."""

    @asynccontextmanager
    async def connect(
        self,
        account: str,
        limits: Limits = Limits(),  # noqa: B008
        *,
        caller: str = VERIFIER,
    ) -> AsyncIterator[Channel]:
        self.dialled.append(account)
        ours, theirs = trio.testing.memory_stream_pair()
        CALLERS[theirs] = caller or None
        self.transports.append(ours)
        self.nursery.start_soon(self.server.serve_stream, theirs)
        async with open_channel(ours, limits=limits) as channel:
            yield channel

    def client(self, account: str = VERIFIER, *, limits: Limits = Limits(), **options: float) -> ArtefactClient:  # noqa: B008
        return ArtefactClient(account, lambda healer: self.connect(healer, limits, caller=account), **options)

    def open(
        self, account: str = VERIFIER, *, op: HealOp = OP, size_bound: int = ANY_SIZE, limits: Limits = NARROW
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.client(account, limits=limits).open(op, size_bound=size_bound)

    async def ask(self, op_id: int = OP.op_id, account: str = VERIFIER) -> Answer:
        async with self.connect(HEALER, caller=account) as channel:
            return await ask_over(channel, op_id, account)

    async def fetch(self, account: str = VERIFIER, **options: Any) -> bytes:
        async with self.open(account, limits=Limits(), **options) as chunks:
            return b"".join([chunk async for chunk in chunks])


@asynccontextmanager
async def a_node(*services: Any) -> AsyncIterator[Node]:
    """A server of these services while the block runs; its connections outlive their clients."""
    async with beside(trio.sleep_forever) as nursery:
        yield Node(Server(services), nursery)


@define
class Loopback:
    """A server on a port of this machine."""

    port: int
    streams: list[trio.SocketStream] = field(factory=list)
    """The clients' ends of its connections."""

    @asynccontextmanager
    async def connect(self, _: str, limits: Limits = Limits()) -> AsyncIterator[Channel]:  # noqa: B008
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        async with open_channel(stream, limits=limits) as channel:
            yield channel


@asynccontextmanager
async def on_loopback(served: Any, limits: Limits = Limits()) -> AsyncIterator[Loopback]:  # noqa: B008
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with Server([served], limits=limits).serving(listeners, drain_seconds=1):
        yield Loopback(listeners[0].socket.getsockname()[1])


Play = Callable[[Asked], Awaitable[None]]


@define
class Scripted:
    """A healer that does to each call what it is told."""

    play: Play
    heard: list[wire.ServeReconstructedArtefactsRequest] = field(factory=list)

    async def _handle(self, asked: Asked) -> None:
        message = await asked.recv_message()
        assert message is not None
        self.heard.append(message)
        await self.play(asked)

    def __mapping__(self) -> dict[str, Handler]:
        types = (wire.ServeReconstructedArtefactsRequest, object)
        return {PATH: Handler(self._handle, Cardinality.UNARY_STREAM, *types)}


@frozen
class Encoded:
    """A message of any bytes."""

    content: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802
        return self.content


def replies(data: bytes, size: int) -> Iterator[Reply]:
    """An honest stream, in chunks of this size."""
    for at in range(0, len(data), size):
        yield Reply(data[at : at + size], 0 if at else len(data), at + size >= len(data))


def sending(*messages: Any, then: Play | None = None) -> Play:
    """Send these, and then do that or end with OK."""

    async def play(asked: Asked) -> None:
        for message in messages:
            await asked.send_message(message)
        if then is not None:
            await then(asked)

    return play


def refusing(status: Status, text: str = "because") -> Play:
    async def play(_: Asked) -> None:
        raise RpcRefused(status, text)

    return play


async def vanish(asked: Asked) -> None:
    """Lose the connection once what was sent is on its way."""
    await trio.testing.wait_all_tasks_blocked()
    with suppress(trio.Cancelled):
        await trio.aclose_forcefully(asked.transport)
    await trio.sleep_forever()


async def hang(_: Asked) -> None:
    await trio.sleep_forever()
