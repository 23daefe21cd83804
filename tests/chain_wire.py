"""Scripted nodes of a chain: real gRPC servers over streams in memory, and a mempool that they may share."""

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from random import Random
from typing import Any

import trio
import trio.testing
from attrs import define, field, frozen
from grpclib.const import Handler, Status

from lep6.beside import beside
from lep6.chain.client import LumeraChain
from lep6.chain.nodes import HEIGHT_HEADER, Nodes
from lep6.errors import RpcRefused
from lep6.grpc import Address, Request, Server
from lep6.keys import KeyKind, PrivateKey, PublicKey
from lep6.wire.cosmos.auth import v1beta1 as auth
from lep6.wire.cosmos.bank import v1beta1 as bank
from lep6.wire.cosmos.base.abci import v1beta1 as abci
from lep6.wire.cosmos.base.tendermint import v1beta1 as tendermint
from lep6.wire.cosmos.tx import v1beta1 as tx
from lep6.wire.google import protobuf
from lep6.wire.lumera import evmigration
from lep6.wire.lumera.action import v1 as action
from lep6.wire.lumera.audit import v1 as audit
from lep6.wire.lumera.supernode import v1 as registry

CHAIN_ID = "lumera-devnet-1"
SECRET = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""The vectors' (chain contract §2.8)."""
KEY = PrivateKey(KeyKind.ETHEREUM, SECRET)
ME = KEY.public.address
NUMBER = 12
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
A_DAY = 86_400.0
BASES = (
    audit.QueryBase,
    action.QueryBase,
    auth.QueryBase,
    bank.QueryBase,
    registry.QueryBase,
    tendermint.ServiceBase,
    tx.ServiceBase,
    evmigration.QueryBase,
)


@frozen
class Encoded:
    """An answer of any bytes."""

    content: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802
        return self.content


@frozen
class Mapped:
    """Handlers by their paths, as a service."""

    handlers: dict[str, Handler]

    def __mapping__(self) -> dict[str, Handler]:
        return self.handlers


def refused(status: Status, text: str = "because") -> RpcRefused:
    return RpcRefused(status, text)


async def hang(_: object) -> None:
    await trio.sleep_forever()


async def cut(_: object) -> None:
    """Lose the connection instead of answering."""
    with suppress(trio.Cancelled):
        await trio.aclose_forcefully(Request.current().transport)
    await trio.sleep_forever()


def slowly(seconds: float, answer: Any) -> Callable[[Any], Any]:
    async def wait(request: Any) -> Any:
        await trio.sleep(seconds)
        return await _resolved(answer, request)

    return wait


def in_turn(*answers: Any) -> Callable[[Any], Any]:
    """One after the other; the last one for ever."""
    left = list(answers)
    return lambda request: _resolved(left.pop(0) if len(left) > 1 else left[0], request)


def then(do: Callable[[Any], Any], after: Any) -> Callable[[Any], Any]:
    """Have it done, and answer otherwise: what is lost on the way back."""

    async def both(request: Any) -> Any:
        await _resolved(do, request)
        return await _resolved(after, request)

    return both


async def _resolved(answer: Any, request: Any) -> Any:
    while True:
        if inspect.isawaitable(answer):
            answer = await answer
        elif callable(answer):
            answer = answer(request)
        else:
            return answer


@define(eq=False)
class Node:
    """A node that answers each method as it is told; by its name."""

    host: str = "one"
    height: int | Callable[[], int] = 100
    answers: dict[str, Any] = field(factory=dict)
    network: str = CHAIN_ID
    tells: bool = True
    """Whether it tells its height in a header."""
    is_terse: bool = False
    """Whether a refusal is one frame of headers."""
    fault: Exception | None = None
    """What connecting to it fails with."""
    is_mute: bool = False
    """Whether connecting to it takes for ever."""
    calls: list[tuple[float, str, Any]] = field(factory=list)
    dialled: list[float] = field(factory=list)
    streams: list[trio.abc.Stream] = field(factory=list)
    server: Server = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Another process takes its place: connections from now on are its."""
        self.server = Server([self._serving(base) for base in BASES])

    async def cut(self) -> None:
        """Lose every connection."""
        for stream in self.streams:
            await trio.aclose_forcefully(stream)
        self.streams.clear()

    def asked(self, method: str) -> list[Any]:
        """What it was asked by a method."""
        return [request for _, called, request in self.calls if called == method]

    def times(self, method: str) -> list[float]:
        """When it was asked by a method."""
        return [time for time, called, _ in self.calls if called == method]

    @property
    def tip(self) -> int:
        return self.height if isinstance(self.height, int) else self.height()

    def _serving(self, base: type[Any]) -> Any:
        service = base()
        for name in vars(base):
            if not name.startswith("_"):
                method = "".join(part.capitalize() for part in name.split("_"))
                setattr(service, name, partial(self._answer, method))
        return Mapped({path: handler._replace(reply_type=object) for path, handler in service.__mapping__().items()})

    async def _answer(self, method: str, request: Any) -> Any:
        self.calls.append((trio.current_time(), method, request))
        call = Request.current()
        unknown = refused(Status.UNIMPLEMENTED, f"unknown method {method}")
        default = {"GetNodeInfo": self._info, "GetLatestBlock": self._block}.get(method, unknown)
        answer = await _resolved(self.answers.get(method, default), request)
        told = {HEIGHT_HEADER: str(self.tip)} if self.tells else {}
        if isinstance(answer, RpcRefused) and self.is_terse:
            call.answer(answer.status, answer.message, told)
            raise answer
        await call.send_initial_metadata(metadata=told)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _info(self, _: object) -> Any:
        return tendermint.GetNodeInfoResponse(
            default_node_info=tendermint.DefaultNodeInfo(network=self.network, version="0.38.17", moniker=self.host)
        )

    def _block(self, _: object) -> Any:
        return a_block(self.tip)


def a_block(height: int) -> tendermint.GetLatestBlockResponse:
    header = tendermint.Header(chain_id=CHAIN_ID, height=height, time=NOON)
    return tendermint.GetLatestBlockResponse(sdk_block=tendermint.Block(header=header))


def addresses_of(nodes: Sequence[Node]) -> list[Address]:
    return [Address(node.host, 9090, tls=False) for node in nodes]


@asynccontextmanager
async def connecting(nodes: Sequence[Node]) -> AsyncIterator[Callable[[Address], Any]]:
    """What connects to these nodes. Whatever hangs fails after a day of Trio's clock."""
    by_host = {node.host: node for node in nodes}
    with trio.fail_after(A_DAY):
        async with beside(trio.sleep_forever) as nursery:

            async def connect(address: Address) -> trio.abc.Stream:
                node = by_host[address.host]
                node.dialled.append(trio.current_time())
                await trio.lowlevel.checkpoint()
                if node.is_mute:
                    await trio.sleep_forever()
                if node.fault is not None:
                    raise node.fault
                ours, theirs = trio.testing.memory_stream_pair()
                node.streams.append(theirs)
                nursery.start_soon(node.server.serve_stream, theirs)
                return ours

            yield connect


@asynccontextmanager
async def some_nodes(*nodes: Node) -> AsyncIterator[Nodes]:
    async with (
        connecting(nodes) as connect,
        Nodes.open(addresses_of(nodes), CHAIN_ID, random=Random(0), connect=connect) as opened,
    ):
        yield opened


@asynccontextmanager
async def a_chain(*nodes: Node, key: PrivateKey = KEY, **options: Any) -> AsyncIterator[LumeraChain]:
    async with (
        connecting(nodes) as connect,
        LumeraChain.open(addresses_of(nodes), CHAIN_ID, key, random=Random(0), connect=connect, **options) as chain,
    ):
        yield chain


@frozen
class Decoded:
    """A transaction as a node reads it."""

    raw: bytes
    message: protobuf.Any
    sequence: int
    timeout_height: int
    gas_limit: int
    fee: int
    signature: bytes
    is_signed: bool

    @classmethod
    def of(cls, raw: bytes, key: PublicKey) -> "Decoded":
        outer = tx.TxRaw.parse(raw)
        body, info = tx.TxBody.parse(outer.body_bytes), tx.AuthInfo.parse(outer.auth_info_bytes)
        assert info.fee is not None
        document = tx.SignDoc(outer.body_bytes, outer.auth_info_bytes, CHAIN_ID, NUMBER)
        (signature,) = outer.signatures
        return cls(
            raw,
            body.messages[0],
            info.signer_infos[0].sequence,
            body.timeout_height,
            info.fee.gas_limit,
            int(info.fee.amount[0].amount),
            signature,
            key.verify(bytes(document), signature[:64]),
        )

    @property
    def tx_hash(self) -> str:
        return sha256(self.raw).hexdigest().upper()


def mismatch(expected: int, got: int) -> str:
    return f"account sequence mismatch, expected {expected}, got {got}: incorrect account sequence"


def simulated(text: str) -> RpcRefused:
    """How a simulation tells of a failure."""
    return refused(
        Status.UNKNOWN, f"{text} [cosmos/cosmos-sdk@v0.53.6/x/auth/ante/sigverify.go:290] with gas used: '35369'"
    )


def answer_to_broadcast(code: int = 0, codespace: str = "", raw_log: str = "") -> tx.BroadcastTxResponse:
    return tx.BroadcastTxResponse(tx_response=abci.TxResponse(code=code, codespace=codespace, raw_log=raw_log))


def gas(used: int) -> tx.SimulateResponse:
    return tx.SimulateResponse(gas_info=abci.GasInfo(gas_wanted=0, gas_used=used))


@define(eq=False)
class Pool:
    """One account on a chain with a mempool, as a Cosmos chain treats it: simulations and CheckTx want the sequence
    after that of the last transaction in the mempool; one that is lost takes those after it along."""

    key: PublicKey = KEY.public
    height: int = 100
    committed: int = 7
    """The account's sequence after the last block."""
    gas_used: int = 100_000
    is_lenient: bool = False
    """Whether simulations take any sequence."""
    mempool: list[Decoded | None] = field(factory=list)
    """`None`: another one's transaction from the same key."""
    included: list[tuple[int, Decoded]] = field(factory=list)
    """With the height of the block."""
    failing: dict[str, tuple[str, int]] = field(factory=dict)
    """Codespace and code in the block, by hash."""
    simulated: list[Decoded] = field(factory=list)
    received: list[Decoded] = field(factory=list)

    @property
    def next(self) -> int:
        return self.committed + len(self.mempool)

    def node(self, host: str = "one", **options: Any) -> Node:
        answers = {
            "AccountInfo": self.account_info,
            "Simulate": self.simulate,
            "BroadcastTx": self.broadcast,
            "GetTx": self.get_tx,
        }
        return Node(host, lambda: self.height, answers, **options)

    def account_info(self, _: Any = None) -> Any:
        return auth.QueryAccountInfoResponse(auth.BaseAccount("", None, NUMBER, self.committed))

    def simulate(self, request: Any) -> Any:
        asked = Decoded.of(request.tx_bytes, self.key)
        self.simulated.append(asked)
        if asked.sequence != self.next and not self.is_lenient:
            return simulated(mismatch(self.next, asked.sequence))
        return gas(self.gas_used)

    def broadcast(self, request: Any) -> Any:
        sent = Decoded.of(request.tx_bytes, self.key)
        assert request.mode == tx.BroadcastMode.SYNC
        assert sent.is_signed
        self.received.append(sent)
        if sent in self.mempool or any(sent == done for _, done in self.included):
            return answer_to_broadcast(19, "sdk", "tx already in mempool")
        if self.height > sent.timeout_height:
            return answer_to_broadcast(30, "sdk", f"block height: {self.height}: tx timeout height")
        if sent.sequence != self.next:
            return answer_to_broadcast(32, "sdk", mismatch(self.next, sent.sequence))
        self.mempool.append(sent)
        return answer_to_broadcast()

    def get_tx(self, request: Any) -> Any:
        for height, done in self.included:
            if done.tx_hash == request.hash:
                codespace, code = self.failing.get(request.hash, ("", 0))
                answer = abci.TxResponse(height=height, txhash=request.hash, codespace=codespace, code=code)
                return tx.GetTxResponse(tx_response=answer)
        return refused(Status.NOT_FOUND, f"tx not found: {request.hash}")

    def mine(self, blocks: int = 1, most: int = 1_000) -> None:
        """Blocks of so many transactions at most; what is too late for one is thrown out, and what comes after it."""
        for _ in range(blocks):
            self.height += 1
            for sent in self.mempool[:most]:
                if sent is not None and sent.timeout_height < self.height:
                    self.mempool.clear()
                    break
                self.mempool.pop(0)
                self.committed += 1
                if sent is not None:
                    self.included.append((self.height, sent))

    def evict(self, at: int = 0) -> None:
        """Lose a transaction; those after it no longer fit."""
        del self.mempool[at:]

    def intrude(self) -> None:
        """Somebody else sends from the same key."""
        self.mempool.append(None)
