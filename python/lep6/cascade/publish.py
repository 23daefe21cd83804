"""Publishing: every value of a staging goes into the network, what the network lacks most first.

It is done only when all values are stored and a sample of them was read back from other nodes. Progress is kept by
value in the journal after each batch, so that an attempt that was cut off goes on where it was. Nothing of the staging
is changed or removed by it. A failed attempt is counted and the next one is due later each time; after some it is
called stuck, in plain sight, and is tried on at the slowest pace.
"""

import enum
import random
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Final, final

import trio
from attrs import evolve, frozen

from lep6.cascade.staging import Staged
from lep6.cascade.text import from_base64
from lep6.model import Key, key_of
from lep6.observe import Progress, Tally, get_logger
from lep6.ports import Blocking, Clock, Network, PublishJournal, PublishState

log = get_logger("cascade.publish")

BATCH_VALUES: Final = 100
BATCH_BYTES: Final = 8 << 20
"""Bounds of one store call: what a Go node takes, and what is held in memory."""
BARREN_BATCHES: Final = 3
"""Batches in a row of which nothing was placed, after which an attempt gives up: the network is away."""
SAMPLE: Final = 16
"""Values read back before a publish counts as done; four times as many after each failed attempt."""
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 900.0
"""Seconds between attempts: doubled each time, half to one and a half of it by chance."""
MOST_JITTER: Final = 1.5
STUCK_AFTER: Final = 8
"""Failed attempts in a row after which a publish is called stuck; by then it has had about four minutes."""


class Rank(enum.IntEnum):
    """The turn of a value: what the network lacks most goes first."""

    MISSING = 0
    """A retrieval asked every holder for it, in vain."""
    UNASKED = 1
    """No retrieval asked for it."""
    FOUND = 2
    """A retrieval found it."""


@final
@frozen
class Published:
    """All values are stored, and the sample was read back."""

    values: int


@final
@frozen
class Deferred:
    """Not done; to be tried again."""

    reason: str
    attempts: int
    """Failed attempts in a row."""
    not_before: float
    """When the next attempt is due, in seconds since the Unix epoch."""
    pending: int
    """Values not stored yet."""

    @property
    def is_stuck(self) -> bool:
        """Whether somebody should look at it."""
        return self.attempts >= STUCK_AFTER


@final
@frozen
class _Value:
    """A value in the publishing order."""

    in_id_files: bool
    position: int
    key: Key
    length: int


@final
@frozen
class Publisher:
    """Publishes stagings of one node."""

    network: Network
    journal: PublishJournal
    blocking: Blocking
    progress: Progress
    random: random.Random
    clock: Clock

    async def publish(self, staged: Staged) -> Published | Deferred:
        """Make one attempt, if one is due. Cancelled: what was stored and journalled counts at the next attempt.

        Raises:
            InvalidArtefact: the staging is damaged. Nothing false was sent.
        """
        seal = from_base64(staged.manifest.seal(), "seal")
        order = _publishing_order(staged)
        state = await self.journal.load(staged.name, seal)
        if state is None:
            state = PublishState(bytes(-(-len(order) // 8)), attempts=0, not_before=0.0, reason="")
        # A time that no pause reaches was written by a clock that went wrong.
        if 0 < state.not_before - self.clock.now() <= MOST_JITTER * LONGEST_PAUSE:
            return _deferred(state, order)
        attempt = _Attempt(self, staged, seal, order, state)
        reason = await attempt.run()
        if reason is None:
            return Published(len(order))
        state = self._after_failure(attempt.state, reason)
        await self.journal.save(staged.name, seal, state)
        deferred = _deferred(state, order)
        log.warning(
            "publish_stuck" if deferred.is_stuck else "publish_deferred",
            ticket=staged.manifest.ticket,
            op_id=staged.name,
            reason=reason,
            attempts=state.attempts,
            pending=deferred.pending,
        )
        return deferred

    async def publish_in_the_end(self, staged: Staged) -> Published:
        """Make attempts, each when it is due, until one succeeds. Bound it by a cancel scope."""
        while True:
            outcome = await self.publish(staged)
            if isinstance(outcome, Published):
                return outcome
            await trio.sleep(max(0.0, outcome.not_before - self.clock.now()))

    def _after_failure(self, state: PublishState, reason: str) -> PublishState:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(state.attempts, 16)) * self.random.uniform(0.5, MOST_JITTER)
        return evolve(state, attempts=state.attempts + 1, not_before=self.clock.now() + pause, reason=reason)


class _Attempt:
    """One pass over what is not confirmed."""

    def __init__(
        self, publisher: Publisher, staged: Staged, seal: bytes, order: Sequence[_Value], state: PublishState
    ) -> None:
        self.state = state
        self._by = publisher
        self._staged = staged
        self._seal = seal
        self._order = order

    async def run(self) -> str | None:
        """Why it did not succeed; `None` when it did."""
        reason = await self._store_pending()
        return reason if reason is not None else await self._read_back()

    async def _store_pending(self) -> str | None:
        pending = _unconfirmed(self.state, self._order)
        tally = Tally(total=len(self._order), done=len(self._order) - len(pending))
        barren, unplaced = 0, 0
        with self._by.progress.step("publishing", tally, unit="values"):
            for batch in _batches(pending, self._order):
                placed = await self._store(batch)
                tally.done += len(placed)
                unplaced += len(batch) - len(placed)
                barren = 0 if placed else barren + 1
                if barren == BARREN_BATCHES:
                    break
        if not unplaced:
            return None
        return f"{unplaced} of {len(self._order)} values could not be placed on as many nodes as they should be"

    async def _store(self, batch: Sequence[int]) -> Collection[int]:
        """Store the values at these places of the order, and journal those that were placed."""
        values = await self._by.blocking.run(partial(self._read, batch))
        keys = [self._order[place].key for place in batch]
        placements = await self._by.network.store(list(zip(keys, values, strict=True)))
        stored = {placement.key for placement in placements if placement.is_placed}
        placed = [place for place in batch if self._order[place].key in stored]
        await self._set_confirmed(placed, confirmed=True)
        return placed

    def _read(self, batch: Sequence[int]) -> Sequence[bytes]:
        """The values at these places, each checked against its key."""
        values: dict[int, bytes] = {}
        for in_id_files, pack in ((True, self._staged.id_files), (False, self._staged.symbols)):
            places = [place for place in batch if self._order[place].in_id_files is in_id_files]
            read = pack.read([self._order[place].position for place in places])
            values.update(zip(places, read, strict=True))
        return [values[place] for place in batch]

    async def _read_back(self) -> str | None:
        """Read a sample of what is stored from other nodes; what cannot be read counts as not stored."""
        size = min(len(self._order), SAMPLE * 4 ** min(self.state.attempts, 12))
        places = set(self._by.random.sample(range(len(self._order)), size)) | self._one_of_each_kind()
        keys = {self._order[place].key: place for place in places}
        witness = _Witness(Tally(total=len(keys)))
        with self._by.progress.step("reading a sample back", witness.tally, unit="values"):
            await self._by.network.retrieve(list(keys), need=len(keys), sink=witness)
        lacking = [place for key, place in keys.items() if key not in witness.seen]
        if not lacking:
            return None
        await self._set_confirmed(lacking, confirmed=False)
        return f"{len(lacking)} of {len(keys)} stored values could not be read back from other nodes"

    def _one_of_each_kind(self) -> set[int]:
        """A layout file, an index file and a symbol: without any one of these kinds nothing else is worth much."""
        layouts = self._staged.manifest.layout_files
        kinds = {
            (value.in_id_files, value.in_id_files and value.position < layouts): place
            for place, value in enumerate(self._order)
        }
        return set(kinds.values())

    async def _set_confirmed(self, places: Collection[int], *, confirmed: bool) -> None:
        if places:
            bits = bytearray(self.state.confirmed)
            for place in places:
                mask = 0x80 >> place % 8
                bits[place // 8] = bits[place // 8] | mask if confirmed else bits[place // 8] & ~mask
            self.state = evolve(self.state, confirmed=bytes(bits))
            await self._by.journal.save(self._staged.name, self._seal, self.state)


@final
class _Witness:
    """Notes which values other nodes really hold."""

    def __init__(self, tally: Tally) -> None:
        self.seen: set[Key] = set()
        self.tally = tally

    async def __call__(self, values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
        true = {key for key, value in values if key_of(value) == key}
        self.seen |= true
        self.tally.done = len(self.seen)
        return [key for key, _ in values if key not in true]


def _publishing_order(staged: Staged) -> Sequence[_Value]:
    """All values: by rank, id files before symbols, then as they lie in their packs."""
    ranked = [
        (rank, not in_id_files, position, _Value(in_id_files, position, Key(key), length))
        for in_id_files, pack in ((True, staged.id_files), (False, staged.symbols))
        for position, (key, length, rank) in enumerate(pack.entries())
    ]
    return [value for *_, value in sorted(ranked, key=lambda entry: entry[:3])]


def _unconfirmed(state: PublishState, order: Sequence[_Value]) -> Sequence[int]:
    return [place for place in range(len(order)) if not state.confirmed[place // 8] & 0x80 >> place % 8]


def _batches(places: Sequence[int], order: Sequence[_Value]) -> Iterator[Sequence[int]]:
    batch: list[int] = []
    size = 0
    for place in places:
        length = order[place].length
        if batch and (len(batch) == BATCH_VALUES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += length
    if batch:
        yield batch


def _deferred(state: PublishState, order: Sequence[_Value]) -> Deferred:
    return Deferred(state.reason, state.attempts, state.not_before, len(_unconfirmed(state, order)))
