"""The walk of one file: into the network, through a disaster, and back from what was published after it.

Registered on a network of stores; two nodes and three quarters of the artefacts destroyed; reconstructed from what
survived, proved by its hash, encoded again, staged, published; then every copy of every key that had survived is
deleted, and the file is read back: only what was published can answer.
"""

import random
import shutil
from math import ceil
from pathlib import Path
from typing import Final, final

import trio
from attrs import define, field, frozen

from lep6 import _core
from lep6.blocking import WallClock
from lep6.cascade.metadata import read_metadata
from lep6.cascade.publish import Published, Publisher
from lep6.cascade.reseed import Reseeded, Reseeder, Stage
from lep6.cascade.retrieve import Cannot, Retriever
from lep6.cascade.staging import discard_staged, open_staged
from lep6.cascade.text import to_base64
from lep6.cascade.work import clear_work
from lep6.devnet.disaster import destroy
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.phases import Phases
from lep6.devnet.registration import Client, KnownAccounts, Registered, devnet_creator
from lep6.devnet.store import Behaviour
from lep6.errors import InvalidArtefact
from lep6.heal.ledger import Ledger
from lep6.keys import PrivateKey
from lep6.model import Key, Ticket
from lep6.observe import Progress
from lep6.ports import Blocking

TICKET: Final = Ticket("1")
OP_ID: Final = "1"
PATIENCE_SECONDS: Final = 120.0
"""How long publishing may be deferred in all."""


@final
@frozen
class Disaster:
    """What the walk is to be."""

    nodes: int = 5
    replicas: int = 2
    dead_nodes: int = 2
    surviving: float = 0.25
    """Share of the symbols, and of the id files, that are left after the disaster."""
    seed: int = 1


@final
@define
class Story(Phases):
    """What happened."""

    file: Path = field(kw_only=True)
    digest: bytes = field(kw_only=True)
    size: int = 0
    recovered: bool = False
    """Whether the file came back with the same bytes."""
    ending: str = ""


@final
@frozen
class Rescue:
    """Runs the walk of a file in a directory of its own."""

    directory: Path
    plan: Disaster
    blocking: Blocking
    progress: Progress

    async def run(self, file: Path) -> Story:
        """Walk the file. The story tells whether its bytes came back.

        Raises:
            InvalidArtefact: it is not a file that Cascade keeps.
        """
        rng = random.Random(self.plan.seed)  # noqa: S311
        job = _core.Job()
        with self.progress.step("hashing", job):
            digest = await self.blocking.run(lambda: _core.hash_file(file, job), cancel=job.cancel)
        story = Story(file=file, digest=digest)
        creator = devnet_creator()
        accounts = KnownAccounts({creator.public.address: creator.public}, {})
        async with (
            EmbeddedNetwork.open(
                self.directory, blocking=self.blocking, random=rng, nodes=self.plan.nodes, replicas=self.plan.replicas
            ) as network,
            Ledger.open(self.directory / "lep6" / "ledger.db", creator.public.address, self.blocking) as ledger,
        ):
            registered = await self._register(story, file, network, creator, rng)
            survivors = await self._destroy(story, network, registered, rng)
            reseeder = Reseeder(
                self.directory / "staging",
                network,
                accounts,
                self.blocking,
                self.progress,
                rng,
                strict_signatures=True,
            )
            publisher = Publisher(network, ledger, self.blocking, self.progress, rng, WallClock())
            if not await self._heal(story, reseeder, registered):
                return story
            if not await self._publish(story, reseeder, publisher):
                return story
            await self._delete_survivors(story, network, survivors)
            await self._read_back(story, registered, network, rng)
        return story

    async def _register(
        self, story: Story, file: Path, network: EmbeddedNetwork, creator: PrivateKey, rng: random.Random
    ) -> Registered:
        scratch = self.directory / "scratch"
        scratch.mkdir()
        with story.phase("register") as result:
            client = Client(creator, network, self.blocking, self.progress, rng)
            registered = await client.register(file, TICKET, scratch)
            geometry = registered.layout.geometry
            story.size = geometry.size
            result.append(
                f"{geometry.total_symbols} symbols ({geometry.source_symbols} needed) and {len(registered.id_files)}"
                f" id files on {len(network.nodes)} nodes, {network.replicas} copies each"
            )
        await self.blocking.run(lambda: shutil.rmtree(scratch))
        return registered

    async def _destroy(
        self, story: Story, network: EmbeddedNetwork, registered: Registered, rng: random.Random
    ) -> frozenset[Key]:
        """Lose nodes and values; the keys that survive."""
        with story.phase("disaster") as result:
            for node in rng.sample(network.nodes, self.plan.dead_nodes):
                await node.clear()
                await node.behave(Behaviour(down=True))
            total = len(registered.layout.symbols)
            left = await destroy(
                network,
                registered,
                symbols=max(1, ceil(total * self.plan.surviving)),
                id_files=self.plan.surviving,
                rng=rng,
            )
            half = len(registered.id_files) // 2
            result.append(
                f"{self.plan.dead_nodes} nodes gone; left: {len(left.symbols)} of {total} symbols,"
                f" {len(left.layouts)} of {half} layout files, {len(left.indexes)} of {half} index files"
            )
        return left.keys

    async def _heal(self, story: Story, reseeder: Reseeder, registered: Registered) -> bool:
        with story.phase("reconstruct, prove, encode, stage") as result:
            outcome = await reseeder.reseed(registered.action, then=Stage(OP_ID))
            if not isinstance(outcome, Reseeded):
                story.ending = str(outcome)
                return False
            job = _core.Job()
            with self.progress.step("checking the staging", job):
                await self.blocking.run(lambda: outcome.staged.check(job), cancel=job.cancel)
            manifest = outcome.staged.manifest
            id_files = manifest.layout_files + manifest.index_files
            result.append(f"{outcome.fetched} symbols fetched, {outcome.false} false")
            result.append(f"the hash is the action's; {manifest.symbols} symbols and {id_files} id files staged")
        return True

    async def _publish(self, story: Story, reseeder: Reseeder, publisher: Publisher) -> bool:
        with story.phase("publish") as result:
            staged = await open_staged(reseeder.root, OP_ID, blocking=self.blocking)
            published: Published | None = None
            with trio.move_on_after(PATIENCE_SECONDS):
                published = await publisher.publish_in_the_end(staged)
            if published is None:
                story.ending = f"the artefacts could not be published within {PATIENCE_SECONDS:.0f} s"
                return False
            result.append(f"{published.values} values stored, a sample read back")
            await discard_staged(reseeder.root, OP_ID, blocking=self.blocking)
            await publisher.journal.forget(OP_ID)
            await clear_work(reseeder.root, OP_ID, blocking=self.blocking)
        return True

    async def _delete_survivors(self, story: Story, network: EmbeddedNetwork, survivors: frozenset[Key]) -> None:
        with story.phase("delete all survivors") as result:
            await network.delete(survivors)
            left = sum(map(bool, (await network.holders(survivors)).values()))
            result.append(f"every copy of {len(survivors)} keys deleted, {left} left")

    async def _read_back(
        self, story: Story, registered: Registered, network: EmbeddedNetwork, rng: random.Random
    ) -> None:
        output = self.directory / "healed.bin"
        with story.phase("read back") as result:
            retriever = Retriever(TICKET, read_metadata(registered.action), network, self.blocking, self.progress, rng)
            try:
                found = await retriever.to_file(self.directory / "reader", "1", output)
            except InvalidArtefact as error:
                story.ending = str(error)
                return
            if isinstance(found, Cannot):
                story.ending = str(found)
                return
            job = _core.Job()
            digest = await self.blocking.run(lambda: _core.hash_file(output, job), cancel=job.cancel)
            story.recovered = digest == story.digest
            story.ending = f"the bytes {'are equal' if story.recovered else 'differ'}, BLAKE3 {to_base64(digest)}"
            result.append(f"{found.layout.size} bytes from what was published alone")
