"""The heal service with all around it, from one configuration: what the daemon runs, and what hosts embed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random, SystemRandom
from typing import Any, Final

import structlog
import trio
from prometheus_client import CollectorRegistry

from lep6.beside import beside
from lep6.blocking import Threads, WallClock
from lep6.chain import LumeraChain
from lep6.config import Config, open_key
from lep6.daemon.guard import Guard
from lep6.daemon.listening import listen
from lep6.daemon.lock import only_one, only_one_for, only_user
from lep6.daemon.measured import WholeChain
from lep6.daemon.metrics import Metrics
from lep6.daemon.running import RunningService
from lep6.daemon.wiring import ARTEFACTS, Parts, wire
from lep6.errors import NoNetwork, NotWanted
from lep6.heal.events import Watch
from lep6.heal.ledger import Ledger
from lep6.keys import PrivateKey
from lep6.observe import Progress, Unwatched, events_to, get_logger
from lep6.ports import Blocking, Clock, Network
from lep6.secure_rpc import Connect, Door

log = get_logger("daemon")

LEDGER: Final = "ledger.db"
PORT_HINT: Final = (
    "Does a Go supernode run from this file? Verifiers dial this port, so lep6 has to own it, or a host has to hand in"
    " its connections"
)
FAREWELL_PART: Final = 0.25
"""Of the time that a stop may take, what callers have to read what they are reading, after the heal has drained."""


@asynccontextmanager
async def open_service(
    config: Config,
    *,
    chain: WholeChain | None = None,
    network: Network | None = None,
    survivors: Network | None = None,
    key: PrivateKey | None = None,
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
    connect: Connect = trio.open_tcp_stream,
    registry: CollectorRegistry | None = None,
    blocking: Blocking | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    watch: Watch | None = None,
    logger: structlog.typing.BindableLogger | None = None,
) -> AsyncIterator[RunningService]:
    """Heal while the block runs, as a configuration says; what a host has of its own it hands in.

    Args:
        config: from `lep6.config.load`.
        chain: in place of a connection to the configured nodes. It sends as the key's account.
        network: where published artefacts go: the other nodes.
        survivors: where what survives is fetched from; `network` if it is not given.
        key: in place of the one in the configured keyring.
        listeners: in place of one on the configured port. Empty: the host gives accepted connections to
            `door.serve_stream`, or mounts `artefacts` on a server of its own.
        connect: how peers are reached.
        registry: where the metrics are registered; a new one if none is given.
        blocking: runs blocking work; threads if none is given.
        progress: watches long work.
        clock: the time of day.
        random: chance; the system's if none is given.
        watch: hears what happens to heal ops.
        logger: takes the events of the service; structlog's, as it is configured, if none is given.

    Raises:
        AlreadyRunning: another lep6 heals with this data or this key, or the port is taken.
        NoNetwork: no network was handed in.
        KeyNotOpened: the key was not had.
        StoreDamaged, StoreUnavailable, ForeignLedger: the ledger cannot be used.
        NotWanted: the chain is another one, or does not know this node; raised out of the block.
        OSError: the system refused something else.
    """
    if network is None:
        raise NoNetwork("no network was handed in, and this lep6 has no client of the Kademlia network")
    blocking = blocking or Threads(config.lep6.threads)
    clock, random = clock or WallClock(), random or SystemRandom()
    stop = config.lep6.stop_seconds
    async with AsyncExitStack() as stack:
        stack.enter_context(events_to(logger))
        stack.enter_context(only_one(config.data_dir))
        if key is None:
            key = await blocking.run(partial(open_key, config))
            stack.enter_context(only_user(config.keyring_source().file_of(config.supernode.key_name)))
        account = key.public.address
        stack.enter_context(only_one_for(account, config.lumera.chain_id, config.lumera.grpc_addr))
        if chain is None:
            chain = await stack.enter_async_context(_configured_chain(config, key, random))
        metrics = Metrics(registry, clock)
        stack.callback(metrics.close)
        ledger = await stack.enter_async_context(Ledger.open(config.data_dir / LEDGER, account, blocking))
        service = wire(
            Parts(
                config=config,
                key=key,
                chain=chain,
                network=network,
                survivors=survivors or network,
                ledger=ledger,
                metrics=metrics,
                connect=connect,
                blocking=blocking,
                progress=progress or Unwatched(),
                clock=clock,
                random=random,
                watch=watch,
            )
        )
        await service.controls.load()
        if listeners is None:
            listeners = await listen(config.listen_host, config.listen_port, what="supernode.port", hint=PORT_HINT)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        service.checks.set("listener", True, f"port {config.listen_port}" if listeners else "the host's")
        for advisory in config.advisories:
            log.warning("advisory", key=advisory.key, what=advisory.what, mend=advisory.mend)
        log.info("started", account=account, healing=config.healing.name.lower(), chain_id=config.lumera.chain_id)
        async with (
            _guarded(service.guard),
            _served(service.door, listeners, drain_seconds=stop * FAREWELL_PART),
            service.heal.running(),
        ):
            try:
                yield service
            finally:
                service.health.set(ARTEFACTS, serving=False)
        log.info("stopped", account=account)


def _configured_chain(config: Config, key: PrivateKey, random: Random) -> AbstractAsyncContextManager[LumeraChain]:
    return LumeraChain.open(config.chain_addresses, config.lumera.chain_id, key, random=random, gas=config.gas_policy())


@asynccontextmanager
async def _served(
    door: Door, listeners: Sequence[trio.abc.Listener[Any]], *, drain_seconds: float
) -> AsyncIterator[None]:
    """Let callers in while the block runs, then let those end who are in. The host's connections it ends itself."""
    if listeners:
        async with door.serving(listeners, drain_seconds=drain_seconds):
            yield
    else:
        try:
            yield
        finally:
            await door.server.drain(drain_seconds)


@asynccontextmanager
async def _guarded(guard: Guard) -> AsyncIterator[None]:
    """Let the guard look after the block, and end it when the guard finds that it has no business to run."""
    refusal: NotWanted | None = None

    async def look() -> None:
        nonlocal refusal
        try:
            await guard.run()
        except NotWanted as error:
            refusal = error
            scope.cancel(reason="the chain does not want this node")

    with trio.CancelScope() as scope:
        async with beside(look):
            yield
    if refusal is not None:
        raise refusal
