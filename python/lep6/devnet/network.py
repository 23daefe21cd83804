"""The embedded network: a directory of node stores behind the `Network` port.

A value belongs on the `replicas` nodes whose positions are closest to its key by XOR; a node that does not answer is
passed over for the next closest, and a reader asks the nodes in that order. One directory holds all nodes, and several
processes may have it open at once.
"""

import json
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, final

import trio
from attrs import define, evolve, field

from lep6.devnet.store import Behaviour, NodeStore
from lep6.errors import StoreDamaged, StoreUnavailable
from lep6.keys import KeyKind, PrivateKey
from lep6.model import Key
from lep6.ports import Blocking, Placement, Retrieval, Sink

SETTINGS_FILE: Final = "network.json"
REQUEST_SECONDS: Final = 10.0
"""How long a node has for one answer."""
ROUND_VALUES: Final = 256
"""Most values asked for at a time, over all nodes; bounds what is held in memory."""


def node_account(number: int) -> str:
    """The account of a devnet node: that of a key which anyone can compute."""
    return node_key(number).public.address


def node_key(number: int) -> PrivateKey:
    """The key of a devnet node: anyone can compute it."""
    return PrivateKey(KeyKind.ETHEREUM, node_secret(number))


def node_secret(number: int) -> bytes:
    """That key's bytes, which are no secret at all."""
    return sha256(f"lep6 devnet node {number}".encode()).digest()


@final
@define(eq=False)
class EmbeddedNetwork:
    """All nodes of a network in one directory, as one of them (or a client) sees the others."""

    directory: Path
    replicas: int
    nodes: tuple[NodeStore, ...]
    _random: random.Random
    _account: str | None = None
    """The account that uses the network; its own store is not part of it."""
    request_seconds: float = field(default=REQUEST_SECONDS, kw_only=True)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        directory: Path,
        *,
        blocking: Blocking,
        random: random.Random,
        nodes: int = 5,
        replicas: int = 2,
        self_account: str | None = None,
    ) -> "AsyncIterator[EmbeddedNetwork]":
        """Open a network, or create one of `nodes` nodes; an existing one keeps the numbers it was created with."""
        nodes, replicas = await blocking.run(lambda: _settings(directory, nodes, replicas))
        async with AsyncExitStack() as stack:
            stores = [
                await stack.enter_async_context(
                    NodeStore.open(directory / "nodes" / str(number) / "network.db", node_account(number), blocking)
                )
                for number in range(nodes)
            ]
            yield cls(directory, replicas, tuple(stores), random, self_account)

    def seen_from(self, account: str) -> "EmbeddedNetwork":
        """The same network as this node sees it."""
        return evolve(self, account=account)

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        """See `Network.retrieve`."""
        return await _Retrieving(self, keys, need, sink).run()

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        """See `Network.store`."""
        values = dict(items)
        copies = dict.fromkeys(values, 0)
        order = {key: deque(self.by_distance(key)) for key in values}
        while True:
            requests: dict[str, list[Key]] = {}
            for key, nodes in order.items():
                for _ in range(min(self.replicas - copies[key], len(nodes))):
                    requests.setdefault(nodes.popleft().account, []).append(key)
            if not requests:
                return [Placement(key, copies[key], self.replicas) for key in values]
            async with trio.open_nursery() as nursery:
                for account, wanted in requests.items():
                    nursery.start_soon(self._offer, account, {key: values[key] for key in wanted}, copies)

    async def _offer(self, account: str, values: dict[Key, bytes], copies: dict[Key, int]) -> None:
        node = self.node(account)
        with suppress(StoreDamaged, StoreUnavailable), trio.move_on_after(self.request_seconds):
            behaviour = await node.behaviour()
            if behaviour.down:
                return
            await trio.sleep(behaviour.delay)
            kept = [item for item in values.items() if self._random.random() >= behaviour.lossy]
            await node.put(kept)
            for key in values:
                copies[key] += 1

    async def ask(self, node: NodeStore, keys: Sequence[Key]) -> dict[Key, bytes] | None:
        """One request to one node: what it gives, or `None` when it does not answer in time, or cannot."""
        with suppress(StoreDamaged, StoreUnavailable), trio.move_on_after(self.request_seconds):
            behaviour = await node.behaviour()
            if behaviour.down:
                return None
            await trio.sleep(behaviour.delay)
            held = await node.get(keys)
            return {
                key: self._as_given(value, behaviour)
                for key, value in held.items()
                if self._random.random() >= behaviour.lossy
            }
        return None

    def _as_given(self, value: bytes, behaviour: Behaviour) -> bytes:
        if self._random.random() >= behaviour.lying:
            return value
        false = bytearray(value)
        false[self._random.randrange(len(false))] ^= 1 << self._random.randrange(8)
        return bytes(false)

    def by_distance(self, key: Key) -> Sequence[NodeStore]:
        """The other nodes, closest to the key first."""
        target = int.from_bytes(key, "big")
        others = [node for node in self.nodes if node.account != self._account]
        return sorted(others, key=lambda node: int.from_bytes(node.position, "big") ^ target)

    def node(self, account: str) -> NodeStore:
        """The node of an account."""
        return next(node for node in self.nodes if node.account == account)

    async def holders(self, keys: Collection[Key]) -> dict[Key, int]:
        """How many nodes hold each key, whether they would answer or not."""
        held = [await node.keys() for node in self.nodes if node.is_sound]
        return {key: sum(key in store for store in held) for key in keys}

    async def delete(self, keys: Collection[Key]) -> None:
        """Delete every copy of these keys."""
        for node in self.nodes:
            if node.is_sound:
                await node.delete(keys)


class _Retrieving:
    """One retrieval. Each round asks for at most as many values as are still needed."""

    def __init__(self, network: EmbeddedNetwork, keys: Sequence[Key], need: int, sink: Sink) -> None:
        self._network = network
        self._need = need
        self._sink = sink
        self._queue = deque(dict.fromkeys(keys))
        self._left = {key: deque(network.by_distance(key)) for key in self._queue}
        self._silent: set[str] = set()
        self._found: set[Key] = set()
        self._missing: set[Key] = set()
        self._unreachable: set[Key] = set()
        self._false: set[Key] = set()

    async def run(self) -> Retrieval:
        while self._queue and len(self._found) < self._need:
            size = min(self._need - len(self._found), len(self._queue), ROUND_VALUES)
            await self._round([self._queue.popleft() for _ in range(size)])
        return Retrieval(
            found=frozenset(self._found),
            missing=frozenset(self._missing),
            unreachable=frozenset(self._unreachable & self._missing),
            false=frozenset(self._false),
        )

    async def _round(self, asked: Sequence[Key]) -> None:
        """Ask for each key at the closest node that was not asked for it yet."""
        requests: dict[str, list[Key]] = {}
        for key in asked:
            requests.setdefault(self._left[key].popleft().account, []).append(key)
        given: list[dict[Key, bytes]] = []
        async with trio.open_nursery() as nursery:
            for account, keys in requests.items():
                nursery.start_soon(self._ask, account, keys, given)
        for values in given:
            refused = set(await self._sink(list(values.items())))
            self._false |= refused
            self._found |= values.keys() - refused
        unsettled = [key for key in asked if key not in self._found]
        self._missing.update(key for key in unsettled if not self._left[key])
        self._queue.extendleft(key for key in reversed(unsettled) if self._left[key])

    async def _ask(self, account: str, keys: Sequence[Key], given: list[dict[Key, bytes]]) -> None:
        # A node that did not answer in time is not waited for again.
        values = None if account in self._silent else await self._network.ask(self._network.node(account), keys)
        if values is None:
            self._silent.add(account)
            self._unreachable.update(keys)
        elif values:
            given.append(values)


def _settings(directory: Path, nodes: int, replicas: int) -> tuple[int, int]:
    path = directory / SETTINGS_FILE
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whole from its first moment: another process may be creating the same network.
    own = directory / f".{SETTINGS_FILE}-{secrets.token_hex(4)}"
    own.write_text(json.dumps({"version": 1, "nodes": nodes, "replicas": replicas}))
    with suppress(FileExistsError):
        path.hardlink_to(own)
    own.unlink()
    try:
        settings = json.loads(path.read_text())
        return int(settings["nodes"]), int(settings["replicas"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(f"{path} is not the settings of a devnet network") from error
