"""Nodes of the chain: several may be named, and the one that is silent, behind or wrong is left for a while."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Final, Generic, TypeVar, final

import betterproto2
import trio
from attrs import define, frozen
from grpclib.const import Cardinality

from lep6.chain.classify import TRANSIENT, UNSERVED
from lep6.errors import ChainUnavailable, RpcError, RpcRefused, RpcUnsent, WrongChain
from lep6.grpc import Address, ReconnectingChannel, dial
from lep6.observe import get_logger
from lep6.wire.cosmos.base.tendermint import v1beta1 as tendermint

log = get_logger("chain.nodes")

M = TypeVar("M", bound=betterproto2.Message)

HEIGHT_HEADER: Final = "x-cosmos-block-height"
EACH_SECONDS: Final = 4.0
"""How long one node has for an answer, where there is another one to ask."""
FIRST_LEAVE: Final = 5.0
LONGEST_LEAVE: Final = 120.0
"""How long a node is left that did not answer: doubled each time."""
BEHIND_BLOCKS: Final = 5
"""A node that is further behind the others than this is left for a while."""
BEHIND_LEAVE: Final = 30.0
"""How long, in seconds."""
MAD_BLOCKS: Final = 1000
"""Further apart than this, nobody can tell which node is right; what the heal does with their answers is careful."""
NODE_INFO: Final = "/cosmos.base.tendermint.v1beta1.Service/GetNodeInfo"
LATEST_BLOCK: Final = "/cosmos.base.tendermint.v1beta1.Service/GetLatestBlock"

Connect = Callable[[Address], Awaitable[trio.abc.Stream]]


@final
@frozen
class Reply(Generic[M]):
    """An answer, and the height of the node that gave it."""

    message: M
    height: int


@final
class QueryRefused(RpcRefused):
    """A node has decided not to give what was asked for."""

    def __init__(self, error: RpcRefused, height: int) -> None:
        super().__init__(error.status, error.message)
        self.height = height
        """Of the node."""


@final
@define(eq=False)
class Node:
    """One node."""

    address: Address
    channel: ReconnectingChannel
    height: int = 0
    """That of its last answer."""
    left_until: float = -math.inf
    failures: int = 0
    is_checked: bool = False
    tells_heights: bool = True


@final
@define(eq=False)
class Nodes:
    """All nodes that may be asked."""

    chain_id: str
    nodes: tuple[Node, ...]

    @classmethod
    @asynccontextmanager
    async def open(
        cls, addresses: Sequence[Address], chain_id: str, *, random: Random, connect: Connect = dial
    ) -> "AsyncIterator[Nodes]":
        """Be ready to ask these nodes, the first of them first. Connections are made when they are needed."""
        async with AsyncExitStack() as stack:
            nodes = []
            for address in addresses:
                channel = ReconnectingChannel(
                    partial(connect, address),
                    authority=address.authority,
                    scheme="https" if address.tls else "http",
                    random=random,
                )
                nodes.append(Node(address, await stack.enter_async_context(channel.running())))
            yield cls(chain_id, tuple(nodes))

    @property
    def height(self) -> int:
        """The greatest height of all nodes' last answers, but for one that is far beyond what others tell."""
        told = [node.height for node in self.nodes if node.height]
        return max((height for height in told if height <= min(told) + MAD_BLOCKS), default=0)

    async def ask(self, path: str, request: betterproto2.Message, reply_type: type[M]) -> Reply[M]:
        """Ask until a node answers.

        Raises:
            QueryRefused: a node decided, with a status that says something.
            ChainUnavailable: none answered.
            WrongChain: they are all nodes of another chain.
        """
        reasons: list[str] = []
        wrong: list[WrongChain] = []
        for node in self._by_worth():
            try:
                reply = await self._bounded(node, path, request, reply_type)
            except QueryRefused as error:
                if error.status not in TRANSIENT | UNSERVED:
                    self._heard(node, error.height)
                    raise
                self._leave(node, str(error), reasons)
            except (RpcError, trio.TooSlowError) as error:
                self._leave(node, str(error) or type(error).__name__, reasons)
            except WrongChain as error:
                wrong.append(error)
                self._leave(node, str(error), reasons)
            else:
                self._heard(node, reply.height)
                return reply
        raise self._none_answered(wrong, reasons)

    def _none_answered(self, wrong: Sequence[WrongChain], reasons: Sequence[str]) -> ChainUnavailable:
        """Why nobody did: all are of another chain, for certain, or they are away."""
        return WrongChain("; ".join(reasons)) if len(wrong) == len(self.nodes) else ChainUnavailable("; ".join(reasons))

    async def newest(self, path: str, request: betterproto2.Message, reply_type: type[M]) -> Reply[M]:
        """The answer of the node that is furthest. All are asked: the one that is named first may be behind for ever.

        Raises as `ask` does.
        """
        if len(self.nodes) == 1:
            return await self.ask(path, request, reply_type)
        heard: list[tuple[Node, Reply[M]]] = []
        reasons: list[str] = []
        wrong: list[WrongChain] = []

        async def hear(node: Node) -> None:
            try:
                heard.append((node, await self._bounded(node, path, request, reply_type)))
            except (RpcError, trio.TooSlowError, ChainUnavailable) as error:
                wrong.extend([error] if isinstance(error, WrongChain) else [])
                self._leave(node, str(error) or type(error).__name__, reasons)

        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            for node in [node for node in self.nodes if node.left_until <= now] or self.nodes:
                nursery.start_soon(hear, node)
        if not heard:
            raise self._none_answered(wrong, reasons)
        for node, reply in heard:
            node.height = reply.height
        for node, reply in heard:
            self._heard(node, reply.height)
        return max((reply for _, reply in heard), key=lambda reply: reply.height)

    async def send(self, path: str, request: betterproto2.Message, reply_type: type[M]) -> "tuple[M | None, bool]":
        """Send what must not be acted on twice in different ways; the answer, and whether it is the only one.

        The next node is asked only where the one before has not answered. `None`: none has; the second value then
        says whether it certainly reached no node at all.
        """
        is_unsent = True
        for node in self._by_worth():
            try:
                reply = await self._bounded(node, path, request, reply_type)
            except RpcUnsent as error:
                self._leave(node, str(error), [])
            except (RpcError, trio.TooSlowError, WrongChain) as error:
                is_unsent = is_unsent and isinstance(error, WrongChain)
                self._leave(node, str(error) or type(error).__name__, [])
            else:
                self._heard(node, reply.height)
                return reply.message, is_unsent
        return None, is_unsent

    def _by_worth(self) -> list[Node]:
        """The nodes: those that are not left, in the order of their naming; then those that are left the shortest."""
        now = trio.current_time()
        return sorted(self.nodes, key=lambda node: node.left_until if node.left_until > now else -math.inf)

    def _leave(self, node: Node, reason: str, reasons: list[str]) -> None:
        node.failures += 1
        pause = min(FIRST_LEAVE * 2.0 ** (node.failures - 1), LONGEST_LEAVE)
        node.left_until = trio.current_time() + pause
        reasons.append(f"{node.address.authority}: {reason}")
        log.warning("chain_node_left", node=node.address.authority, seconds=pause, reason=reason)

    def _heard(self, node: Node, height: int) -> None:
        node.failures = 0
        node.height = height
        if len(self.nodes) > 1 and height < self.height - BEHIND_BLOCKS:
            node.left_until = trio.current_time() + BEHIND_LEAVE
            log.warning("chain_node_behind", node=node.address.authority, height=height, newest=self.height)

    async def _bounded(self, node: Node, path: str, request: betterproto2.Message, reply_type: type[M]) -> Reply[M]:
        seconds = EACH_SECONDS if len(self.nodes) > 1 else math.inf
        with trio.fail_after(seconds):
            if not node.is_checked:
                await self._check(node)
            if not node.tells_heights and path != LATEST_BLOCK:
                # It is at least this far when it answers the question.
                latest = await _call(
                    node, LATEST_BLOCK, tendermint.GetLatestBlockRequest(), tendermint.GetLatestBlockResponse
                )
                node.height = max(node.height, _height_of(latest.message) or 0)
            return await _call(node, path, request, reply_type)

    async def _check(self, node: Node) -> None:
        """Make sure once that a node is one of this chain."""
        try:
            reply = await _call(node, NODE_INFO, tendermint.GetNodeInfoRequest(), tendermint.GetNodeInfoResponse)
        except QueryRefused as error:
            # Nothing was asked yet, so this is no answer to what is to be asked.
            raise RpcUnsent(error.status, f"it does not tell its chain: {error.message}") from error
        info = reply.message.default_node_info
        if info is not None and info.network and info.network != self.chain_id:
            raise WrongChain(
                f"{node.address.authority} is a node of {info.network!r:.60}, not of {self.chain_id}: check chain_id"
            )
        node.is_checked = True


async def _call(node: Node, path: str, request: betterproto2.Message, reply_type: type[M]) -> Reply[M]:
    call = node.channel.request(path, Cardinality.UNARY_UNARY, type(request), reply_type)
    try:
        async with call:
            await call.send_message(request, end=True)
            message = await call.recv_message()
    except RpcRefused as error:
        # Where it says nothing of its height: it is at least as far as it was.
        told = _header_height(call.initial_metadata) or _header_height(call.trailing_metadata)
        raise QueryRefused(error, told or node.height) from error
    if message is None:
        raise ChainUnavailable(f"{node.address.authority} gave no reply")
    height = _header_height(call.initial_metadata) or _height_of(message)
    node.tells_heights = height is not None
    return Reply(message, node.height if height is None else height)


def _header_height(metadata: Any) -> int | None:
    text = metadata.get(HEIGHT_HEADER) if metadata is not None else None
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004


def _height_of(message: object) -> int | None:
    """The height in the answer itself, where it is the newest block."""
    if isinstance(message, tendermint.GetLatestBlockResponse) and message.sdk_block and message.sdk_block.header:
        return message.sdk_block.header.height
    return None
