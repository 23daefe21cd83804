"""Hosts that embed lep6 in a healing world: on the mock clock, with a chain, a network and connections of their own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import trio
from attrs import define, field

from configs import loaded, sections
from healing import HealingWorld, Hook
from lep6 import RunningService, open_service
from lep6.config import Config, own_staging
from lep6.daemon.service import LEDGER
from lep6.devnet.chain import ChainClient
from lep6.devnet.network import node_key
from lep6.heal.events import Event, What
from lep6.heal.ledger import Entries, Ledger
from world import BLOCKING, MockWallClock

STOP = 20.0
"""Seconds that a stop may take."""
TICK = 10.0


@define(eq=False, repr=False)
class HookedChain:
    """All that a node asks the chain, through hooks by the name of the method."""

    inner: Any
    hooks: dict[str, Hook] = field(factory=dict)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.inner, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            hook = self.hooks.get(name)
            if hook is None:
                return await method(*arguments, **options)
            return await hook(arguments[0] if arguments else None, lambda: method(*arguments, **options))

        return call


@define(eq=False, repr=False)
class HookedNetwork:
    """A network, through hooks by the name of the method."""

    inner: Any
    hooks: dict[str, Hook] = field(factory=dict)

    async def retrieve(self, keys: Any, /, **options: Any) -> Any:
        return await self._call("retrieve", keys, lambda: self.inner.retrieve(keys, **options))

    async def store(self, items: Any, /) -> Any:
        return await self._call("store", items, lambda: self.inner.store(items))

    async def _call(self, name: str, argument: Any, call: Callable[[], Any]) -> Any:
        hook = self.hooks.get(name)
        return await (call() if hook is None else hook(argument, call))


@define(eq=False, repr=False)
class Host:
    """A program that embeds lep6 as the node of a number."""

    world: HealingWorld
    number: int
    hooks: dict[str, Hook] = field(factory=dict)
    """Of its chain and its network."""
    events: list[Event] = field(factory=list)
    chain: HookedChain = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chain = HookedChain(ChainClient(self.world.chain, self.account), self.hooks)

    @property
    def account(self) -> str:
        return self.world.accounts[self.number]

    @property
    def directory(self) -> Path:
        return self.world.box.directory / f"host-{self.number}"

    def config(self, *, heals: bool = True, **changed: Any) -> Config:
        """What its operator has set."""
        self.directory.mkdir(exist_ok=True)
        healing = {"enabled": heals, "poll_interval_ms": int(TICK * 1000), **changed.pop("self_healing", {})}
        tree = sections(
            supernode={"identity": self.account, **changed.pop("supernode", {})},
            self_healing=healing,
            lep6={"stop_seconds": STOP, "metrics_listen": "", **changed.pop("lep6", {})},
            **changed,
        )
        return loaded(self.directory, tree)

    def parts(self, **other: Any) -> dict[str, Any]:
        """What it hands in."""
        network = self.world.network
        return {
            "chain": self.chain,
            "network": HookedNetwork(network.seen_from(self.account), self.hooks),
            "survivors": HookedNetwork(network, self.hooks),
            "key": node_key(self.number),
            "listeners": [],
            "connect": partial(self.world.connect, self.account),
            "blocking": BLOCKING,
            "clock": MockWallClock(),
            "random": Random(self.number),
            "watch": self.events.append,
            **other,
        }

    @asynccontextmanager
    async def open(self, config: Config | None = None, **other: Any) -> AsyncIterator[RunningService]:
        """Embed lep6; connections to this node go through its door."""
        async with open_service(config or self.config(), **self.parts(**other)) as service:
            self.world.stand_ins[self.account] = service.door
            try:
                yield service
            finally:
                del self.world.stand_ins[self.account]

    def seen(self, what: What) -> list[Event]:
        return [event for event in self.events if event.what is what]

    async def entries(self) -> Entries:
        """What its ledger says, while it does not run."""
        async with Ledger.open(self.directory / "lep6-data" / LEDGER, self.account, BLOCKING) as ledger:
            return await ledger.entries()

    async def is_clean(self) -> bool:
        entries = await self.entries()
        staging = own_staging(self.directory / "heal-staging", self.account)
        left = {path.name for path in staging.iterdir()} - {".work"} if staging.exists() else set()
        return not (entries.claims or entries.intents or entries.verifications or left)


@define(eq=False, repr=False)
class HostListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener of a host's own, of connections in memory. In the place of a door, it hands them to itself."""

    is_closed: bool = False
    accepted: int = 0
    _given: trio.MemorySendChannel[trio.abc.Stream] = field(init=False)
    _come: trio.MemoryReceiveChannel[trio.abc.Stream] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._given, self._come = trio.open_memory_channel[trio.abc.Stream](100)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        await self._given.send(stream)

    async def accept(self) -> trio.abc.Stream:
        stream = await self._come.receive()
        self.accepted += 1
        return stream

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


async def ready(service: RunningService, seconds: float = 60.0) -> None:
    """Wait until all is well with a service."""
    with trio.fail_after(seconds):
        await service.checks.ready.wait()
