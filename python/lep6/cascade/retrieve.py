"""Retrieval: a file's layout and symbols from the network, each value checked when it arrives.

It ends when the file can be solved for, or when it is certain that it cannot. Sources are asked for first, then
repairs; never more at a time than are still needed. Only after every key was asked for twice is the answer "cannot".
What was fetched stays in the work area.
"""

import random
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import final

from attrs import define, field, frozen

from lep6 import _core
from lep6.cascade.ids import IdText, key_text, read_id_file
from lep6.cascade.layout import Layout, parse_layout
from lep6.cascade.metadata import Metadata
from lep6.cascade.text import from_base64
from lep6.cascade.work import WorkArea, clear_work
from lep6.errors import InvalidArtefact
from lep6.model import Key, Ticket
from lep6.observe import Progress, Tally, get_logger
from lep6.ports import Blocking, Network, Retrieval

log = get_logger("cascade.retrieve")

PASSES = 2
"""How often every key is asked for before it is believed that nobody has it."""
LAYOUT_WAVE = 2
"""Layout files asked for at a time; one is enough, and they are up to 5 MiB."""
SURPLUS = 2
"""Symbols beyond K that are fetched where a source is missing: then one set in ten million does not decode."""
LEAST_YIELD = 0.05
"""Share of a wave that is counted on at least, so that a wave has a bound where next to nothing is found."""


@frozen
class Cannot:
    """The file cannot be had from the network now. What was fetched is kept."""

    what: str
    """`layout` or `symbols`."""
    have: int
    """Symbols that were had, true ones."""
    needed: int
    """K; 0 where the layout is what is missing."""
    missing: tuple[Key, ...]
    """Keys that no node gave a true value for, asked twice."""
    unreachable: int
    """How many of them a node may still have that did not answer."""
    false: tuple[Key, ...]
    """Keys that some node gave a false value for."""

    def __str__(self) -> str:
        """One sentence for people."""
        had = f"{self.have} symbols of {self.needed} needed" if self.needed else "no layout file"
        names = ", ".join(key_text(key) for key in self.missing[:3])
        more = f" and {len(self.missing) - 3} more" if len(self.missing) > 3 else ""  # noqa: PLR2004
        return (
            f"cannot rebuild: {had} could be had; {len(self.missing)} {self.what} keys are missing"
            f" ({self.unreachable} with nodes that did not answer), {len(self.false)} had false values"
            + (f"; missing: {names}{more}" if names else "")
        )


@frozen
class Found:
    """The layout of a file, from the network."""

    layout: Layout
    text: IdText
    """The layout file that it came from."""
    missing: frozenset[Key]
    """Layout files that were asked for and not found."""
    had: frozenset[Key]
    """Layout files that were found."""


@final
@frozen
class Gathered:
    """The work area has symbols that determine the file."""

    held: int
    """Symbols in the work area."""
    received: int
    """True symbols that this attempt received."""
    false: frozenset[Key]
    """Keys that some node gave a false value for."""


@final
@frozen(eq=False)
class Retriever:
    """Fetches the artefacts of one action."""

    ticket: Ticket
    metadata: Metadata
    network: Network
    blocking: Blocking
    progress: Progress
    random: random.Random

    async def layout(self) -> Found | Cannot:
        """Find a layout file and check it: its key, its signature, its place, its geometry, and the file's hash.

        Raises:
            InvalidArtefact: a true layout file contradicts its action. The network has nothing better.
        """
        keys = self.metadata.index.layout_keys
        judge = _LayoutJudge(self.metadata)
        asked = _Asked()
        with self.progress.step("fetching the layout", judge.tally, unit="files"):
            for _ in range(PASSES):
                order = [key for key in keys if key not in judge.had]
                self.random.shuffle(order)
                for at in range(0, len(order), LAYOUT_WAVE):
                    wave = order[at : at + LAYOUT_WAVE]
                    # All of the wave: a file that comes may be true to its key and yet not what its action says.
                    asked.note(await self.network.retrieve(wave, need=len(wave), sink=judge))
                    if judge.found is not None:
                        layout, text = judge.found
                        return Found(layout, text, frozenset(asked.missing), frozenset(judge.had))
        if judge.contradiction is not None:
            raise judge.contradiction
        return Cannot("layout", 0, 0, tuple(keys), len(asked.unreachable), tuple(sorted(asked.false)))

    async def symbols(self, work: WorkArea) -> Gathered | Cannot:
        """Fetch symbols into the work area until they determine the file.

        Cancelled: what was fetched is kept.
        """
        return await _SymbolHunt(self, work).run()

    async def to_file(self, root: Path, name: str, output: Path) -> Found | Cannot:
        """Read the file back: fetch, decode to `output`, and prove it by its hash. The work area is removed then.

        Raises:
            InvalidArtefact: what the network has is not the file of the action. `output` is not to be used.
        """
        found = await self.layout()
        if isinstance(found, Cannot):
            return found
        async with WorkArea.open(root, name, found.layout, blocking=self.blocking, progress=self.progress) as work:
            gathered = await self.symbols(work)
            if isinstance(gathered, Cannot):
                return gathered
            job = _core.Job()
            with self.progress.step("decoding", job):
                decoded = await self.blocking.run(partial(work.spool.decode, output, job), cancel=job.cancel)
        if decoded is None or decoded.file != self.metadata.digest:
            raise InvalidArtefact(f"action {self.ticket}: what was decoded is not the file; its hash differs")
        await clear_work(root, name, blocking=self.blocking)
        return found

    async def originals(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """The original bytes of id files, as far as the network has them."""
        judge = _OriginalsJudge()
        for _ in range(PASSES):
            lacking = [key for key in keys if key not in judge.frames]
            if lacking:
                await self.network.retrieve(lacking, need=len(lacking), sink=judge)
        return judge.frames


@define
class _Asked:
    """What a series of retrievals has shown."""

    missing: set[Key] = field(factory=set)
    unreachable: set[Key] = field(factory=set)
    false: set[Key] = field(factory=set)

    def note(self, retrieval: Retrieval) -> None:
        self.missing = (self.missing | retrieval.missing) - retrieval.found
        self.unreachable = (self.unreachable | retrieval.unreachable) - retrieval.found
        self.unreachable -= retrieval.missing - retrieval.unreachable
        self.false |= retrieval.false


class _OriginalsJudge:
    """Takes id files by their key alone."""

    def __init__(self) -> None:
        self.frames: dict[Key, bytes] = {}

    async def __call__(self, values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
        refused = []
        for key, frame in values:
            try:
                read_id_file(key, frame)
            except InvalidArtefact:
                refused.append(key)
            else:
                self.frames[key] = frame
        return refused


class _LayoutJudge:
    """Takes the first layout file that is what its action says."""

    def __init__(self, metadata: Metadata) -> None:
        self.found: tuple[Layout, IdText] | None = None
        self.contradiction: InvalidArtefact | None = None
        self.had: set[Key] = set()
        self.tally = Tally(total=1)
        self._metadata = metadata

    async def __call__(self, values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
        refused = []
        for key, frame in values:
            try:
                text = read_id_file(key, frame)
            except InvalidArtefact as error:
                log.warning("layout_file_refused", reason=str(error))
                refused.append(key)
                continue
            self.had.add(key)
            try:
                self.found = self.found or (self._checked(key, text), text)
                self.tally.done = 1
            except InvalidArtefact as error:
                # The value is true to its key, so no other node has a better one: the action's own files disagree.
                log.warning("layout_contradicts_action", key=key_text(key), reason=str(error))
                self.contradiction = error
        return refused

    def _checked(self, key: Key, text: IdText) -> Layout:
        index = self._metadata.index
        if text.signature != index.layout_signature:
            raise InvalidArtefact(f"layout file {key_text(key)} has not the signature that the index names")
        if text.counter != self._metadata.first_counter + index.layout_keys.index(key):
            raise InvalidArtefact(f"layout file {key_text(key)} has counter {text.counter}, which is not its place's")
        layout = parse_layout(from_base64(text.document, "layout"))
        if layout.digest != self._metadata.digest:
            raise InvalidArtefact("the layout is that of another file: its hash is not the action's data hash")
        if layout.size > self._metadata.size_bound:
            raise InvalidArtefact(
                f"the layout states {layout.size} bytes, the action's commitment allows {self._metadata.size_bound}"
            )
        return layout


class _SymbolHunt:
    """One attempt to fetch enough symbols."""

    def __init__(self, retriever: Retriever, work: WorkArea) -> None:
        self._to = retriever
        self._work = work
        self._symbols = work.layout.symbols
        self._sources = work.layout.geometry.source_symbols
        self._esi = {key: esi for esi, key in enumerate(self._symbols)}
        self._asked = _Asked()
        self._held: set[Key] = set()
        self._received = 0
        self._tally = Tally()

    async def run(self) -> Gathered | Cannot:
        self._held = {self._symbols[esi] for esi in self._work.spool.held()}
        self._tally.total, self._tally.done = self._sources, len(self._held)
        with self._to.progress.step("fetching symbols", self._tally, unit="symbols"):
            try:
                for _ in range(PASSES):
                    if await self._ask_once():
                        return Gathered(len(self._held), self._received, frozenset(self._asked.false))
            finally:
                self._work.missing |= self._asked.missing
                self._work.missing -= self._held
                await self._work.save_missing()
        return Cannot(
            "symbols",
            have=len(self._held),
            needed=self._sources,
            missing=tuple(key for key in self._symbols if key not in self._held),
            unreachable=len(self._asked.unreachable),
            false=tuple(sorted(self._asked.false)),
        )

    async def _ask_once(self) -> bool:
        """Ask for every symbol that is not held, sources first, until the file is determined."""
        sources = [key for key in self._symbols[: self._sources] if key not in self._held]
        repairs = [key for key in self._symbols[self._sources :] if key not in self._held]
        self._to.random.shuffle(repairs)
        pending = deque([*sources, *repairs])
        wave_size, rate = len(sources), 1.0
        while not await self._is_determined():
            if not pending:
                return False
            lacking = max(1, self._sources + SURPLUS - len(self._held))
            wave_size = wave_size or int(lacking / max(rate, LEAST_YIELD)) + 1
            wave = [pending.popleft() for _ in range(min(wave_size, len(pending)))]
            retrieval = await self._to.network.retrieve(wave, need=lacking, sink=self._take)
            self._asked.note(retrieval)
            answered = retrieval.found | retrieval.missing
            pending.extendleft(key for key in reversed(wave) if key not in answered)
            wave_size, rate = 0, (rate + len(retrieval.found) / len(wave)) / 2
        return True

    async def _is_determined(self) -> bool:
        if len(self._held) < self._sources:
            return False
        if all(key in self._held for key in self._symbols[: self._sources]):
            return True
        if len(self._held) < self._sources + SURPLUS and not self._everything_asked():
            return False
        job = _core.Job()
        return await self._to.blocking.run(partial(self._work.spool.decodable, job), cancel=job.cancel)

    def _everything_asked(self) -> bool:
        return len(self._held) + len(self._asked.missing - self._held) >= len(self._symbols)

    async def _take(self, values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
        verdicts = await self._to.blocking.run(partial(self._work.spool.append, values))
        refused = []
        for (key, _), verdict in zip(values, verdicts, strict=True):
            if verdict in ("accepted", "duplicate"):
                self._held.add(key)
                self._received += 1
            else:
                log.warning("symbol_refused", key=key_text(key), verdict=verdict, symbol=self._esi.get(key))
                refused.append(key)
        self._tally.done = len(self._held)
        return refused
