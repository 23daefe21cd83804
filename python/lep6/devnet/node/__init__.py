"""A node of the box: a real heal service with its ledger, its staging, and its artefact server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final, final

from attrs import frozen

from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.artefact_stream.server import CHUNK_SIZE
from lep6.grpc import Server, Service
from lep6.heal.disk import Disk
from lep6.heal.events import Watch
from lep6.heal.ledger import Ledger
from lep6.heal.service import HealService
from lep6.heal.settings import Settings
from lep6.keys import PrivateKey
from lep6.observe import Progress
from lep6.ports import Accounts, Blocking, Chain, Clock, Network, Registrations
from lep6.secure_rpc import Connect, Credentials, Dialer, Door, HandshakeIdentity, PeerRegistry, SeenKeys

LEDGER: Final = "ledger.db"
STAGING: Final = "staging"
STALL_SECONDS: Final = 10.0


@final
@frozen(kw_only=True)
class Surroundings:
    """What a node has around it."""

    key: PrivateKey
    """Of the node's account."""
    chain: Chain
    accounts: Accounts
    registrations: Registrations
    network: Network
    """The other nodes."""
    survivors: Network
    """The other nodes, and this one's own store."""
    connect: Connect
    """Connects to a host and a port."""
    blocking: Blocking
    progress: Progress
    clock: Clock
    random: Random
    settings: Settings
    watch: Watch
    strict_signatures: bool = True
    chunk_size: int = CHUNK_SIZE
    """Of what the node serves."""


@final
@frozen(eq=False)
class Node:
    """A node that is open; it does nothing until its service runs and its artefacts are served."""

    account: str
    directory: Path
    service: HealService
    artefacts: ArtefactService
    dialer: Dialer

    def door(self, served: Service) -> Door:
        """What lets peers in to a service."""
        return Door(Server([served]), self.dialer.credentials, self.dialer.registry, self.dialer.seen)


@asynccontextmanager
async def open_node(directory: Path, around: Surroundings) -> AsyncIterator[Node]:
    """Open a node, whose data lies in a directory of its own.

    Raises:
        StoreDamaged, ForeignLedger: its ledger cannot be used.
    """
    credentials = Credentials(around.key)
    account = credentials.account
    dialer = Dialer(
        credentials,
        around.registrations,
        PeerRegistry(around.registrations),
        around.random,
        seen=SeenKeys(),
        connect=around.connect,
    )
    async with Ledger.open(directory / LEDGER, account, around.blocking) as ledger:
        disk = Disk(directory / STAGING, around.blocking, around.progress)
        service = HealService(
            ledger=ledger,
            disk=disk,
            chain=around.chain,
            accounts=around.accounts,
            network=around.network,
            survivors=around.survivors,
            source=ArtefactClient(account, dialer.channel, STALL_SECONDS),
            blocking=around.blocking,
            progress=around.progress,
            clock=around.clock,
            random=around.random,
            settings=around.settings,
            strict_signatures=around.strict_signatures,
            watch=around.watch,
        )
        artefacts = ArtefactService(
            account,
            disk.root,
            service.sight,
            HandshakeIdentity(),
            around.blocking,
            chunk_size=around.chunk_size,
            damaged=service.suspect,
        )
        yield Node(account, directory, service, artefacts, dialer)
