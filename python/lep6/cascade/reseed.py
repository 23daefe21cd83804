"""Reseed: rebuild a file from what the network still has of it, prove it, make all its artefacts again, and stage them.

The order of the steps is that of what they cost: layout, ids of the id files, room on the disk, symbols, then one pass
that decodes and encodes again. Every regenerated id must be the one that the chain or the signed index names; where
only the compressor differs, the original bytes from the network stand in.
"""

import enum
import random
import secrets
from functools import partial
from pathlib import Path
from typing import assert_never, final

from attrs import frozen

from lep6 import _core
from lep6.cascade.ids import key_text
from lep6.cascade.metadata import Metadata, read_metadata
from lep6.cascade.publish import Deferred, Published, Publisher, Rank
from lep6.cascade.regenerate import regenerate_id_files
from lep6.cascade.retrieve import Cannot, Found, Retriever
from lep6.cascade.signatures import Signatures, check_signatures
from lep6.cascade.staging import (
    RECONSTRUCTED,
    SYMBOLS,
    VERSION,
    Draft,
    Manifest,
    Staged,
    begin_staging,
    discard_staged,
    open_staged,
    set_aside_staged,
)
from lep6.cascade.work import WorkArea, clear_work
from lep6.errors import InvalidArtefact
from lep6.model import Action
from lep6.observe import Progress, get_logger
from lep6.ports import Accounts, Blocking, Network

log = get_logger("cascade.reseed")


@final
@frozen
class Stage:
    """Keep the artefacts on disk for what decides later: the heal."""

    op_id: str


@final
@frozen
class Publish:
    """Put the artefacts into the network at once: the operator's republish."""

    publisher: Publisher


Then = Stage | Publish


class Refusal(enum.Enum):
    """Why a file that could be rebuilt is not staged."""

    FALSE_LAYOUT = "the file does not encode to the symbols that its signed layout lists"
    NOT_THE_FILE = "what the symbols decode to is not the file of the action"
    IRREPRODUCIBLE = "no layout file, or no index file, can be made again under its id or fetched"
    SIGNATURES = "the signatures are not the creator's, and strict_signatures is set"


@final
@frozen
class Refused:
    """The file will not be staged; nothing is left but the work area."""

    why: Refusal
    detail: str

    def __str__(self) -> str:
        """One sentence for people."""
        return f"refused: {self.why.value}: {self.detail}"


@final
@frozen
class Reseeded:
    """The artefacts are staged."""

    staged: Staged
    signatures: Signatures
    fetched: int
    """True symbols that were fetched, in this attempt and before."""
    false: int
    """Symbols that some node gave a false value for."""


@final
@frozen
class Republished:
    """The artefacts are in the network, and the staging is gone."""

    published: Published


Outcome = Reseeded | Republished | Deferred | Cannot | Refused


@final
@frozen
class Reseeder:
    """Reseeds files of one node."""

    root: Path
    """Where stagings and work areas lie."""
    network: Network
    accounts: Accounts
    blocking: Blocking
    progress: Progress
    random: random.Random
    strict_signatures: bool = False

    async def reseed(self, action: Action, *, then: Then) -> Outcome:
        """Rebuild and stage the file of an action; `then` says what follows.

        An attempt that is repeated goes on where the last one stopped: what was fetched, staged or published stays.

        Raises:
            InvalidAction: the action cannot be healed from.
            InvalidArtefact: the network's own files contradict the action.
            NoSpace: the disk has not the room.
            OSError: the disk failed.
        """
        metadata = read_metadata(action)
        match then:
            case Stage(op_id):
                return await self._stage(action, metadata, op_id)
            case Publish(publisher):
                return await self._republish(action, metadata, publisher)
            case _ as never:
                assert_never(never)

    async def _republish(self, action: Action, metadata: Metadata, publisher: Publisher) -> Outcome:
        name = f"ticket-{action.ticket}"
        published = await self._publish_earlier(name, publisher)
        if published is None:
            outcome = await self._stage(action, metadata, name)
            if not isinstance(outcome, Reseeded):
                return outcome
            published = await publisher.publish(outcome.staged)
        if isinstance(published, Deferred):
            return published
        await discard_staged(self.root, name, blocking=self.blocking)
        await publisher.journal.forget(name)
        await clear_work(self.root, name, blocking=self.blocking)
        return Republished(published)

    async def _publish_earlier(self, name: str, publisher: Publisher) -> Published | Deferred | None:
        """Go on with what an earlier attempt has staged; `None` where there is nothing sound to go on with."""
        try:
            return await publisher.publish(await open_staged(self.root, name, blocking=self.blocking))
        except FileNotFoundError:
            return None
        except InvalidArtefact as error:
            aside = await set_aside_staged(self.root, name, blocking=self.blocking)
            log.warning("staging_set_aside", staging=name, aside=str(aside), reason=str(error))
            return None

    async def _stage(self, action: Action, metadata: Metadata, name: str) -> Outcome:
        retriever = Retriever(action.ticket, metadata, self.network, self.blocking, self.progress, self.random)
        found = await retriever.layout()
        if isinstance(found, Cannot):
            return found
        signatures = await self._signatures(action, metadata, found)
        if self.strict_signatures and not signatures.are_good:
            return Refused(
                Refusal.SIGNATURES, f"index by {signatures.index.value}, layout by {signatures.layout.value}"
            )
        id_files = await regenerate_id_files(retriever, found)
        if not id_files.layouts or not id_files.indexes:
            return Refused(
                Refusal.IRREPRODUCIBLE, f"{len(id_files.layouts)} layout files and {len(id_files.indexes)} index files"
            )
        geometry = found.layout.geometry
        beside = geometry.source_symbols * _core.PACKET_SIZE + id_files.size
        async with (
            begin_staging(self.root, name, geometry, beside=beside, blocking=self.blocking) as draft,
            WorkArea.open(self.root, name, found.layout, blocking=self.blocking, progress=self.progress) as work,
        ):
            gathered = await retriever.symbols(work)
            if isinstance(gathered, Cannot):
                return gathered
            refused = await self._rebuild(draft, work, metadata)
            if refused is not None:
                return refused
            await self.blocking.run(partial(id_files.write, draft))
            manifest = Manifest(
                version=VERSION,
                op_id=name,
                ticket=action.ticket,
                size=found.layout.size,
                manifest_hash=metadata.data_hash,
                symbols=geometry.total_symbols,
                layout_files=len(id_files.layouts),
                index_files=len(id_files.indexes),
                irreproducible=tuple(key_text(key) for key in id_files.lost),
                nonce=secrets.token_hex(8),
            )
            staged = await draft.complete(manifest)
        return Reseeded(staged, signatures, fetched=gathered.held, false=len(gathered.false))

    async def _signatures(self, action: Action, metadata: Metadata, found: Found) -> Signatures:
        index = metadata.index
        signatures = await check_signatures(
            action,
            index=(index.document, index.signature),
            layout=(found.text.document, found.text.signature),
            accounts=self.accounts,
        )
        if not signatures.are_good:
            log.warning(
                "signatures_not_the_creators",
                ticket=action.ticket,
                index=signatures.index.name,
                layout=signatures.layout.name,
            )
        return signatures

    async def _rebuild(self, draft: Draft, work: WorkArea, metadata: Metadata) -> Refused | None:
        held = set(work.spool.held())
        ranks = bytes(
            Rank.MISSING if key in work.missing else Rank.FOUND if esi in held else Rank.UNASKED
            for esi, key in enumerate(work.layout.symbols)
        )
        job = _core.Job()
        rebuild = partial(
            work.spool.reencode,
            draft.path(RECONSTRUCTED),
            draft.path(SYMBOLS[0]),
            draft.path(SYMBOLS[1]),
            ranks,
            job,
        )
        with self.progress.step("decoding and encoding again", job):
            try:
                encoded = await self.blocking.run(rebuild, cancel=job.cancel)
            except InvalidArtefact as error:
                return Refused(Refusal.FALSE_LAYOUT, str(error))
        if encoded is None or encoded.file != metadata.digest:
            return Refused(Refusal.NOT_THE_FILE, f"its hash is not {metadata.data_hash}")
        if metadata.commitment is not None:
            job = _core.Job()
            check = partial(metadata.commitment.check, draft.path(RECONSTRUCTED), job)
            with self.progress.step("checking the availability commitment", job):
                try:
                    await self.blocking.run(check, cancel=job.cancel)
                except InvalidArtefact as error:
                    return Refused(Refusal.NOT_THE_FILE, str(error))
        return None
