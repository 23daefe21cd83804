"""A small world for tests: a network of real stores in a directory, accounts, a ledger, and a file in it.

Blocking work runs inline, so that Trio's mock clock does not jump while a thread works.
"""

import json
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import trio
from attrs import define, field

from lep6.blocking import Inline
from lep6.cascade.metadata import read_metadata
from lep6.cascade.publish import Publisher
from lep6.cascade.reseed import Reseeder
from lep6.cascade.retrieve import Retriever
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.registration import Client, KnownAccounts, Registered
from lep6.heal.ledger import Ledger
from lep6.keys import KeyKind, PrivateKey
from lep6.model import Key, Ticket
from lep6.observe import Unwatched

VECTORS = json.loads((Path(__file__).parent / "vectors" / "cascade.json").read_text())
BLOCKING = Inline()
PROGRESS = Unwatched()
CREATOR = PrivateKey(KeyKind.COSMOS, sha256(b"a creator").digest())
SYMBOL_SIZE = 65_528


def pattern(size: int) -> bytes:
    """The input of the vectors: byte i is i mod 251."""
    cycle = bytes(range(251))
    return (cycle * (size // 251 + 1))[:size]


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes without a pattern, the same for the same seed."""
    return random.Random(seed).randbytes(size)


class MockWallClock:
    """Wall-clock time that goes with Trio's mock clock."""

    def now(self) -> float:
        return trio.current_time()


@define
class World:
    """A network with one registered file."""

    directory: Path
    network: EmbeddedNetwork
    ledger: Ledger
    accounts: KnownAccounts
    random: random.Random
    registered: Registered
    data: bytes = field(repr=False)

    @property
    def staging(self) -> Path:
        return self.directory / "staging"

    @property
    def layouts(self) -> list[Key]:
        """Keys of the layout files."""
        return list(self.registered.id_files[: len(self.registered.id_files) // 2])

    @property
    def indexes(self) -> list[Key]:
        """Keys of the index files."""
        return list(self.registered.id_files[len(self.registered.id_files) // 2 :])

    @property
    def symbols(self) -> list[Key]:
        """Keys of the symbols, by encoding symbol id."""
        return list(self.registered.layout.symbols)

    @property
    def needed(self) -> int:
        """K."""
        return self.registered.layout.geometry.source_symbols

    def reseeder(self, network: object = None, **options: bool) -> Reseeder:
        return Reseeder(
            self.staging, network or self.network, self.accounts, BLOCKING, PROGRESS, self.random, **options
        )

    def publisher(self, network: object = None, journal: object = None) -> Publisher:
        return Publisher(
            network or self.network, journal or self.ledger, BLOCKING, PROGRESS, self.random, MockWallClock()
        )

    def retriever(self, network: object = None) -> Retriever:
        return Retriever(
            self.registered.action.ticket,
            read_metadata(self.registered.action),
            network or self.network,
            BLOCKING,
            PROGRESS,
            self.random,
        )

    async def lose(self, keys: Collection[Key]) -> None:
        """Delete every copy of these keys."""
        await self.network.delete(keys)

    async def keep_symbols(self, kept: Collection[int]) -> None:
        """Lose all symbols but those with these encoding symbol ids."""
        kept = set(kept)
        await self.lose([key for esi, key in enumerate(self.symbols) if esi not in kept])

    async def stored(self) -> dict[str, frozenset[Key]]:
        """What each node holds."""
        return {node.account: await node.keys() for node in self.network.nodes}

    async def read_back(self, name: str = "reader") -> bytes:
        """The file as the network gives it now."""
        output = self.directory / f"{name}.bin"
        found = await self.retriever().to_file(self.directory / name, "1", output)
        assert not hasattr(found, "missing") or hasattr(found, "layout"), found
        return output.read_bytes()


@asynccontextmanager
async def a_world(
    directory: Path,
    data: bytes,
    *,
    nodes: int = 5,
    replicas: int = 2,
    id_files: int = 4,
    seed: int = 0,
) -> AsyncIterator[World]:
    """A world in `directory` whose network holds `data` as ticket 7."""
    rng = random.Random(seed)
    accounts = KnownAccounts({CREATOR.public.address: CREATOR.public}, {})
    scratch = directory / "scratch"
    scratch.mkdir(parents=True)
    (directory / "original.bin").write_bytes(data)
    async with (
        EmbeddedNetwork.open(
            directory / "network", blocking=BLOCKING, random=rng, nodes=nodes, replicas=replicas
        ) as network,
        Ledger.open(directory / "ledger.db", CREATOR.public.address, BLOCKING) as ledger,
    ):
        client = Client(CREATOR, network, BLOCKING, PROGRESS, rng)
        registered = await client.register(directory / "original.bin", Ticket("7"), scratch, id_files=id_files)
        yield World(directory, network, ledger, accounts, rng, registered, data)
