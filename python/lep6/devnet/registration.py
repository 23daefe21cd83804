"""How a file gets into the network in the first place: what a client and the registering node do, in one."""

import os
import random
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, final

import trio
from attrs import frozen

from lep6 import _core
from lep6.cascade import commitment
from lep6.cascade.ids import IdFile, make_id_files
from lep6.cascade.index import index_document, parse_index
from lep6.cascade.layout import Layout
from lep6.cascade.publish import Rank
from lep6.cascade.text import to_base64
from lep6.keys import KeyKind, PrivateKey, PublicKey
from lep6.model import Action, ActionState, Key, Ticket
from lep6.observe import Progress, Tally
from lep6.ports import Blocking, Network
from lep6.wire.lumera.action import v1 as wire

ID_FILES: Final = 50
"""Layout files and index files of an action; the chain's default."""
BATCH: Final = 100
"""Values given to the network at a time."""


def devnet_creator() -> PrivateKey:
    """The key of who registers the files of a box; anyone can compute it."""
    return PrivateKey(KeyKind.COSMOS, sha256(b"lep6 devnet creator").digest())


@final
@frozen
class KnownAccounts:
    """Accounts as a chain would know them. It is an `Accounts`."""

    keys: dict[str, PublicKey]
    legacy: dict[str, str]
    """Addresses before a migration, by the new ones."""

    async def public_key(self, address: str, /) -> PublicKey | None:
        """See `Accounts.public_key`."""
        await trio.lowlevel.checkpoint()
        return self.keys.get(address)

    async def legacy_address(self, address: str, /) -> str | None:
        """See `Accounts.legacy_address`."""
        await trio.lowlevel.checkpoint()
        return self.legacy.get(address)


@final
@frozen
class Registered:
    """A file in the network."""

    action: Action
    layout: Layout
    id_files: Sequence[Key]
    """Keys of its layout files, then of its index files."""


@final
@frozen
class Client:
    """Registers files for an account."""

    key: PrivateKey
    network: Network
    blocking: Blocking
    progress: Progress
    random: random.Random

    async def register(self, file: Path, ticket: Ticket, scratch: Path, *, id_files: int = ID_FILES) -> Registered:
        """Encode a file, sign its layout and index, and store all its artefacts. `scratch` is an empty directory.

        Raises:
            InvalidArtefact: it is not a file that Cascade keeps.
            ConnectionError: the network did not take a value.
        """
        pack_files = scratch / "symbols.pack", scratch / "symbols.idx"
        job = _core.Job()
        with self.progress.step("encoding", job):
            encode = partial(_core.encode, file, *pack_files, Rank.UNASKED, job)
            encoded = await self.blocking.run(encode, cancel=job.cancel)
        layout = Layout(encoded.size, encoded.file, encoded.symbols)
        first = self.random.randint(1, 100)
        document = to_base64(layout.compact())
        signature = self._signature(document)
        layouts = await self._id_files(f"{document}.{signature}".encode(), first, id_files)
        document = index_document(tuple(file.key for file in layouts), signature)
        index = parse_index(f"{document}.{self._signature(document)}")
        indexes = await self._id_files(index.signed, first, id_files)
        metadata = wire.CascadeMetadata(
            data_hash=to_base64(encoded.file),
            file_name=os.fsencode(file.name).decode(errors="replace"),
            rq_ids_ic=first,
            rq_ids_max=id_files,
            rq_ids_ids=_core.key_texts(b"".join(file.key for file in indexes)),
            signatures=index.signed.decode(),
            availability_commitment=await self._commitment(file, encoded.size),
        )
        await self._store([*layouts, *indexes], _core.Pack(*pack_files))
        action = Action(ticket, self.key.public.address, ActionState.DONE, bytes(metadata))
        return Registered(action, layout, [file.key for file in (*layouts, *indexes)])

    def _signature(self, document: str) -> str:
        return to_base64(self.key.sign(document.encode()))

    async def _id_files(self, signed: bytes, first: int, count: int) -> Sequence[IdFile]:
        return await make_id_files(signed, first, count, blocking=self.blocking, progress=self.progress)

    async def _commitment(self, file: Path, size: int) -> wire.AvailabilityCommitment | None:
        if size < commitment.MIN_SIZE:
            return None
        job = _core.Job()
        made = await self.blocking.run(partial(commitment.commit, file, job), cancel=job.cancel)
        return wire.AvailabilityCommitment(
            commitment_type=commitment.COMMITMENT_KIND,
            hash_algo=wire.HashAlgo.BLAKE3,
            chunk_size=made.chunk_size,
            total_size=made.total_size,
            num_chunks=made.num_chunks,
            root=made.root,
            challenge_indices=list(commitment.challenge_indices(made.root, made.num_chunks)),
        )

    async def _store(self, id_files: Sequence[IdFile], symbols: _core.Pack) -> None:
        keys = [Key(key) for key, _, _ in symbols.entries()]
        tally = Tally(total=len(id_files) + len(keys))
        with self.progress.step("storing in the network", tally, unit="values"):
            await self._offer([(file.key, file.frame) for file in id_files], tally)
            for at in range(0, len(keys), BATCH):
                places = range(at, min(at + BATCH, len(keys)))
                values = await self.blocking.run(partial(symbols.read, places))
                await self._offer([(keys[place], value) for place, value in zip(places, values, strict=True)], tally)

    async def _offer(self, items: Sequence[tuple[Key, bytes]], tally: Tally) -> None:
        for placement in await self.network.store(items):
            if not placement.copies:
                raise ConnectionError("a registration failed: no node took a value")
        tally.done += len(items)
