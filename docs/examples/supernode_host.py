# ruff: noqa: INP001 # a program of its own
"""A supernode host in small: a program on Trio with a network, a port and a health of its own, in which lep6 heals.

    python supernode_host.py CONFIG NETWORK

CONFIG: a supernode's configuration. NETWORK: the directory of a devnet's network, in the place of the host's Kademlia.
It prints a line for whatever happens, and stops in order at SIGTERM or SIGINT.
"""

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import SystemRandom

import trio
from attrs import define

import lep6
from lep6.blocking import Threads
from lep6.devnet.network import EmbeddedNetwork
from lep6.grpc import Health, Server
from lep6.heal.events import Event
from lep6.model import Key
from lep6.ports import Network, Placement, Retrieval, Sink
from lep6.secure_rpc import Door

ARTEFACTS = "supernode.SelfHealingService"
"""What the host's health tells of."""


@define
class HostNetwork:
    """The host's network. Any object with these two methods will do (`lep6.ports.Network`)."""

    inner: Network
    stored: int = 0

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        """Ask other nodes for values, until the sink has taken as many as are needed."""
        return await self.inner.retrieve(keys, need=need, sink=sink)

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        """Give values to the nodes that should hold them."""
        self.stored += len(items)
        return await self.inner.store(items)


def tell(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def hear(event: Event) -> None:
    """What lep6 tells of heal ops, as it happens. This runs on the loop: it must not wait."""
    tell(f"op {event.op_id}: {event.what.value} {event.text}".rstrip())


async def main(config_file: Path, network_directory: Path) -> None:
    """Be a supernode until told to stop."""
    config = lep6.load_config(config_file, os.environ)
    network = EmbeddedNetwork.open(network_directory, blocking=Threads(2), random=SystemRandom())
    async with network as everybody:
        others = HostNetwork(everybody.seen_from(config.supernode.identity))
        # The port is the host's: it takes it before lep6 begins, and lets go of it itself.
        listeners = await trio.open_tcp_listeners(config.listen_port, host=config.listen_host)
        healing = lep6.open_service(config, network=others, survivors=everybody, listeners=[], watch=hear)
        async with healing as service, trio.open_nursery() as nursery:
            health = Health({ARTEFACTS: False})
            # The host's own server: its services and lep6's, behind the handshake of the network.
            server = Server([service.artefacts, health])
            dialer = service.dialer
            door = Door(server, dialer.credentials, dialer.registry, dialer.seen)
            nursery.start_soon(partial(tell_health, service, health))
            async with door.serving(listeners, drain_seconds=2):
                tell(f"{service.account} listens at {config.listen_host}:{config.listen_port}")
                await told_to_stop()
            nursery.cancel_scope.cancel()
        tell(f"stopped; {others.stored} values were stored")


async def tell_health(service: lep6.RunningService, health: Health) -> None:
    """Let the host's health follow that of lep6."""
    while True:
        health.set(ARTEFACTS, serving=service.checks.is_ready)
        await trio.sleep(0.2)


async def told_to_stop() -> None:
    """Wait for a signal."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
