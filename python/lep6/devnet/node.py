"""A node of the box: a real heal service with its ledger, its staging, and its artefact server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final, final

from attrs import frozen

from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.artefact_stream.client import Connect
from lep6.artefact_stream.server import CHUNK_SIZE
from lep6.devnet.identity import InsecureResolver
from lep6.heal.disk import Disk
from lep6.heal.events import Watch
from lep6.heal.ledger import Ledger
from lep6.heal.service import HealService
from lep6.heal.settings import Settings
from lep6.observe import Progress
from lep6.ports import Accounts, Blocking, Chain, Clock, Network

LEDGER: Final = "ledger.db"
STAGING: Final = "staging"
STALL_SECONDS: Final = 10.0


@final
@frozen(kw_only=True)
class Surroundings:
    """What a node has around it."""

    chain: Chain
    accounts: Accounts
    network: Network
    """The other nodes."""
    survivors: Network
    """The other nodes, and this one's own store."""
    connect: Connect
    """Connects to the artefact server of an account."""
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


@asynccontextmanager
async def open_node(directory: Path, account: str, around: Surroundings) -> AsyncIterator[Node]:
    """Open the node of an account, whose data lies in a directory of its own.

    Raises:
        StoreDamaged, ForeignLedger: its ledger cannot be used.
    """
    async with Ledger.open(directory / LEDGER, account, around.blocking) as ledger:
        disk = Disk(directory / STAGING, around.blocking, around.progress)
        service = HealService(
            ledger=ledger,
            disk=disk,
            chain=around.chain,
            accounts=around.accounts,
            network=around.network,
            survivors=around.survivors,
            source=ArtefactClient(account, around.connect, STALL_SECONDS),
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
            InsecureResolver(),
            around.blocking,
            chunk_size=around.chunk_size,
            damaged=service.suspect,
        )
        yield Node(account, directory, service, artefacts)
