"""What a test puts in the place of an honest network: wrappers that record or fail, and actions signed by hand."""

import enum
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import trio
import zstandard
from attrs import Factory, define, evolve, field, frozen

from lep6 import _core
from lep6.cascade.commitment import COMMITMENT_KIND, Commitment
from lep6.cascade.index import index_document
from lep6.cascade.layout import Layout
from lep6.cascade.text import to_base64
from lep6.devnet.registration import Registered
from lep6.keys import PrivateKey
from lep6.model import Action, ActionState, Key, Ticket, key_of
from lep6.ports import Network, Placement, PublishJournal, PublishState, Retrieval, Sink
from lep6.wire.lumera.action import v1 as wire
from world import CREATOR, World


class Crash(BaseException):
    """The process ends here; nothing of the product catches it."""


@frozen
class Call:
    """One retrieval, as it was asked for and answered."""

    keys: tuple[Key, ...]
    need: int
    accepted: int
    retrieval: Retrieval

    @property
    def answered(self) -> frozenset[Key]:
        return self.retrieval.found | self.retrieval.missing


@define
class Recording:
    """Passes everything on and notes it."""

    inner: Network
    calls: list[Call] = field(factory=list)
    stores: list[list[tuple[Key, bytes]]] = field(factory=list)

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        accepted = 0

        async def counting(values: Sequence[tuple[Key, bytes]]) -> Collection[Key]:
            nonlocal accepted
            refused = await sink(values)
            accepted += len(values) - len(refused)
            return refused

        retrieval = await self.inner.retrieve(keys, need=need, sink=counting)
        self.calls.append(Call(tuple(keys), need, accepted, retrieval))
        return retrieval

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        self.stores.append(list(items))
        return await self.inner.store(items)

    @property
    def asked(self) -> Counter[Key]:
        """How often each key was asked for and answered."""
        return Counter(key for call in self.calls for key in call.answered)

    @property
    def accepted(self) -> int:
        return sum(call.accepted for call in self.calls)

    @property
    def sent(self) -> list[Key]:
        return [key for batch in self.stores for key, _ in batch]


@define
class Forgetful:
    """Says of some keys that nobody has them: a number of times, and from a number of times on."""

    inner: Network
    hidden: dict[Key, int] = field(factory=dict)
    """How often each key is not found at first."""
    served: dict[Key, int] = field(factory=dict)
    """How often each key is found, before nobody has it any more."""

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        withheld = {key for key in keys if self.hidden.get(key, 0) > 0 or self.served.get(key, 1) == 0}
        for key in withheld & self.hidden.keys():
            self.hidden[key] -= 1
        retrieval = await self.inner.retrieve([key for key in keys if key not in withheld], need=need, sink=sink)
        for key in retrieval.found & self.served.keys():
            self.served[key] -= 1
        return evolve(retrieval, missing=retrieval.missing | withheld, unreachable=retrieval.unreachable | withheld)

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        return await self.inner.store(items)


@define
class Slow:
    """Takes its time for the answer to some keys."""

    inner: Network
    delays: dict[Key, float] = field(factory=dict)
    delay: float = 0.0
    """For every call."""

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        await trio.sleep(max([self.delay, *(self.delays.get(key, 0.0) for key in keys)]))
        return await self.inner.retrieve(keys, need=need, sink=sink)

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        await trio.sleep(max([self.delay, *(self.delays.get(key, 0.0) for key, _ in items)]))
        return await self.inner.store(items)


class Fault(enum.Enum):
    """What goes wrong with one store call."""

    NONE = "nothing"
    NOBODY = "no node takes a value"
    HALF = "every second value finds no node"
    AMNESIA = "all is acknowledged, nothing is kept"
    CRASH_BEFORE = "the process ends before the network has anything"
    CRASH_AFTER = "the process ends when the network has everything"


@define
class Faulty:
    """Has a fault for each store call, and none when the script is over."""

    inner: Network
    script: Iterator[Fault]

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        return await self.inner.retrieve(keys, need=need, sink=sink)

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        fault = next(self.script, Fault.NONE)
        if fault is Fault.CRASH_BEFORE:
            raise Crash
        lost = {
            Fault.NOBODY: {key for key, _ in items},
            Fault.HALF: {key for key, _ in items[::2]},
            Fault.AMNESIA: {key for key, _ in items},
        }.get(fault, set())
        placed = {
            placement.key: placement for placement in await self.inner.store(_those(items, lambda key: key not in lost))
        }
        if fault is Fault.CRASH_AFTER:
            raise Crash
        copies = 1 if fault is Fault.AMNESIA else 0
        return [placed.get(key, Placement(key, copies, 1)) for key, _ in items]


@define
class Fuse:
    """Ends the process at one of the calls that pass it, before or after the call has its effect."""

    at: int
    is_after: bool
    passed: int = 0

    async def call(self, effect: Callable[[], object]) -> object:
        self.passed += 1
        is_here = self.passed == self.at
        if is_here and not self.is_after:
            raise Crash
        result = await effect()
        if is_here:
            raise Crash
        return result


@define
class FusedNetwork:
    """A network behind a fuse."""

    inner: Network
    fuse: Fuse

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        return await self.fuse.call(lambda: self.inner.retrieve(keys, need=need, sink=sink))

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        return await self.fuse.call(lambda: self.inner.store(items))


@define
class FusedJournal:
    """A journal behind a fuse."""

    inner: PublishJournal
    fuse: Fuse

    async def load(self, staging: str, seal: bytes, /) -> PublishState | None:
        return await self.fuse.call(lambda: self.inner.load(staging, seal))

    async def save(self, staging: str, seal: bytes, state: PublishState, /) -> None:
        await self.fuse.call(lambda: self.inner.save(staging, seal, state))

    async def forget(self, staging: str, /) -> None:
        await self.fuse.call(lambda: self.inner.forget(staging))


@define
class MemoryJournal:
    """A journal that outlives a crash of the process, and no power cut."""

    states: dict[tuple[str, bytes], PublishState] = field(factory=dict)

    async def load(self, staging: str, seal: bytes, /) -> PublishState | None:
        await trio.lowlevel.checkpoint()
        return self.states.get((staging, seal))

    async def save(self, staging: str, seal: bytes, state: PublishState, /) -> None:
        await trio.lowlevel.checkpoint()
        self.states[staging, seal] = state

    async def forget(self, staging: str, /) -> None:
        await trio.lowlevel.checkpoint()
        self.states = {key: state for key, state in self.states.items() if key[0] != staging}


@define
class Collector:
    """A sink that keeps what is true to its key, and counts."""

    values: dict[Key, bytes] = field(factory=dict)
    accepted: int = 0
    refused: list[Key] = field(factory=list)

    async def __call__(self, values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
        await trio.lowlevel.checkpoint()
        true = {key: value for key, value in values if key_of(value) == key}
        self.values |= true
        self.accepted += len(true)
        refused = [key for key, _ in values if key not in true]
        self.refused += refused
        return refused


def _those(items: Sequence[tuple[Key, bytes]], chosen: Callable[[Key], bool]) -> Sequence[tuple[Key, bytes]]:
    return [(key, value) for key, value in items if chosen(key)]


def compressed(text: bytes) -> bytes:
    """As the network's own nodes compress."""
    return zstandard.ZstdCompressor(level=3).compress(text)


def compressed_otherwise(text: bytes) -> bytes:
    """As another compressor does it: the same text under another key."""
    return zstandard.ZstdCompressor(level=19, write_checksum=True).compress(text)


@frozen
class Handmade:
    """A signed action for any layout, true or not, and the id files that belong to it. Nothing of it is stored."""

    registered: Registered
    layouts: dict[Key, bytes]
    indexes: dict[Key, bytes]


@define
class Forger:
    """Signs an action as a client does, with anything wrong that is asked for."""

    layout: Layout
    digest: bytes = Factory(lambda self: self.layout.digest, takes_self=True)
    """The file's hash that the action states."""
    document: bytes = Factory(lambda self: self.layout.compact(), takes_self=True)
    """The layout JSON."""
    commitment: Commitment | None = None
    first: int = 7
    count: int = 4
    counters: Sequence[int] = Factory(lambda self: range(self.first, self.first + self.count), takes_self=True)
    """What the layout files say, by place."""
    compress_layouts: Callable[[bytes], bytes] = compressed
    compress_indexes: Callable[[bytes], bytes] = compressed
    layout_frames: Sequence[bytes] | None = None
    """The layout files, when they are not to be made from the layout."""
    index_names_signature: str | None = None
    """The layout signature in the index, when it is not that of the layout files."""

    layout_signer: PrivateKey = CREATOR

    def forge(self) -> Handmade:
        document = to_base64(self.document)
        signature = _signature(self.layout_signer, document)
        frames = self.layout_frames or [
            self.compress_layouts(f"{document}.{signature}.{counter}".encode()) for counter in self.counters
        ]
        keys = tuple(map(key_of, frames))
        index = index_document(keys, self.index_names_signature or signature)
        signatures = f"{index}.{_signature(CREATOR, index)}"
        index_frames = [
            self.compress_indexes(f"{signatures}.{counter}".encode())
            for counter in range(self.first, self.first + len(frames))
        ]
        index_keys = [key_of(frame) for frame in index_frames]
        metadata = wire.CascadeMetadata(
            data_hash=to_base64(self.digest),
            rq_ids_ic=self.first,
            rq_ids_max=len(frames),
            rq_ids_ids=_core.key_texts(b"".join(index_keys)),
            signatures=signatures,
            availability_commitment=self._commitment(),
        )
        action = Action(Ticket("7"), CREATOR.public.address, ActionState.DONE, bytes(metadata))
        return Handmade(
            Registered(action, self.layout, [*keys, *index_keys]),
            dict(zip(keys, frames, strict=True)),
            dict(zip(index_keys, index_frames, strict=True)),
        )

    def _commitment(self) -> wire.AvailabilityCommitment | None:
        made = self.commitment
        return made and wire.AvailabilityCommitment(
            commitment_type=COMMITMENT_KIND,
            hash_algo=wire.HashAlgo.BLAKE3,
            chunk_size=made.chunk_size,
            total_size=made.total_size,
            num_chunks=made.num_chunks,
            root=made.root,
        )


async def replace_action(world: World, made: Handmade) -> None:
    """Make this the world's action: its id files come into the network in the place of the old ones."""
    await world.lose(world.registered.id_files)
    await world.network.store([*made.layouts.items(), *made.indexes.items()])
    world.registered = made.registered


def _signature(key: PrivateKey, document: str) -> str:
    return to_base64(key.sign(document.encode()))
