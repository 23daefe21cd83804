"""Files that change on disk while they are served: what is not the staged file never gets its last chunk."""

import os
import shutil
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define
from grpclib.const import Status
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artefact_stream.ends import ANY_SIZE, MIB, OP, STRANGER, VERIFIER, KnownOps, a_node, service, stage
from lep6.cascade.staging import FILES, RECONSTRUCTED, discard_staged, sweep
from lep6.errors import FetchFailed, FetchFailure
from world import BLOCKING, noise

CHUNKS = 5
DATA = noise((CHUNKS - 1) * MIB + 1000)


@pytest.fixture
def root(tmp_path):
    stage(tmp_path / "staging", DATA)
    return tmp_path / "staging"


def file_of(root):
    return root / "5" / RECONSTRUCTED


def flip(path, place, mask=0x80):
    with path.open("r+b", buffering=0) as file:
        (byte,) = os.pread(file.fileno(), 1, place)
        os.pwrite(file.fileno(), bytes([byte ^ mask]), place)


@define
class Outcome:
    chunks: list
    failure: FetchFailure | None = None

    @property
    def data(self):
        return b"".join(self.chunks)


async def read_while(node, *, after, happens):
    """Read to the end; something happens once the reader has so many chunks and the server waits with the next."""
    outcome = Outcome([])
    try:
        async with node.open() as chunks:
            while len(outcome.chunks) < after:
                outcome.chunks.append(await anext(chunks))
            await trio.testing.wait_all_tasks_blocked()
            await happens()
            async for chunk in chunks:
                outcome.chunks.append(chunk)
    except FetchFailed as failed:
        outcome.failure = failed.kind
    return outcome


def does(work):
    async def happens():
        work()

    return happens


async def served_while(root, work, *, after=1):
    async with a_node(service(root)) as node:
        return await read_while(node, after=after, happens=does(work))


async def test_a_byte_that_changes_after_it_was_read_changes_nothing(root, autojump_clock):
    outcome = await served_while(root, lambda: flip(file_of(root), MIB + 5), after=1)
    assert (outcome.data, outcome.failure) == (DATA, None)


async def test_a_byte_that_changes_before_it_is_read_withholds_the_last_chunk(root, autojump_clock):
    outcome = await served_while(root, lambda: flip(file_of(root), 2 * MIB), after=1)
    assert outcome.failure is FetchFailure.DAMAGED
    assert len(outcome.chunks) == CHUNKS - 1


async def test_a_byte_of_the_last_chunk_never_leaves_when_it_is_wrong(root, autojump_clock):
    outcome = await served_while(root, lambda: flip(file_of(root), len(DATA) - 1), after=2)
    assert outcome.failure is FetchFailure.DAMAGED
    assert outcome.data == DATA[: (CHUNKS - 1) * MIB]


async def test_a_byte_that_is_right_again_when_it_is_read_does_no_harm(root, autojump_clock):
    flip(file_of(root), 3 * MIB)
    outcome = await served_while(root, lambda: flip(file_of(root), 3 * MIB), after=1)
    assert (outcome.data, outcome.failure) == (DATA, None)


@pytest.mark.parametrize("size", [0, MIB, 2 * MIB, 2 * MIB + 1, 3 * MIB, len(DATA) - 1])
async def test_a_file_that_is_cut_short_while_it_is_served_is_damaged(root, size, autojump_clock):
    outcome = await served_while(root, lambda: os.truncate(file_of(root), size), after=1)
    assert outcome.failure is FetchFailure.DAMAGED
    assert outcome.data == DATA[: max(size, 2 * MIB)]


async def test_a_file_that_is_cut_and_filled_with_zeros_is_damaged(root, autojump_clock):
    def punch():
        os.truncate(file_of(root), 2 * MIB)
        os.truncate(file_of(root), len(DATA))

    outcome = await served_while(root, punch, after=1)
    assert (outcome.failure, len(outcome.chunks)) == (FetchFailure.DAMAGED, CHUNKS - 1)


async def test_a_file_that_grows_while_it_is_served_is_served_as_it_was_staged(root, autojump_clock):
    def grow():
        with file_of(root).open("ab") as file:
            file.write(b"more")

    outcome = await served_while(root, grow, after=1)
    assert (outcome.data, outcome.failure) == (DATA, None)


async def test_another_file_in_the_place_of_the_one_that_is_served_is_not_read(root, tmp_path, autojump_clock):
    def replace():
        other = tmp_path / "other"
        other.write_bytes(noise(len(DATA), "other"))
        other.replace(file_of(root))

    async with a_node(service(root)) as node:
        outcome = await read_while(node, after=1, happens=does(replace))
        assert (outcome.data, outcome.failure) == (DATA, None)
        answer = await node.ask()
        assert (answer.status, answer.is_whole) == (Status.DATA_LOSS, False)


async def test_a_staging_that_is_discarded_while_it_is_served_is_served_to_the_end(root, autojump_clock):
    async with a_node(service(root)) as node:
        outcome = await read_while(node, after=1, happens=partial(discard_staged, root, "5", blocking=BLOCKING))
        assert (outcome.data, outcome.failure) == (DATA, None)
        assert list(root.iterdir()) == []
        assert (await node.ask()).status is Status.NOT_FOUND


async def test_a_sweep_does_not_disturb_what_is_served(root, autojump_clock):
    async with a_node(service(root)) as node:
        outcome = await read_while(node, after=1, happens=partial(sweep, root, blocking=BLOCKING))
    assert (outcome.data, outcome.failure) == (DATA, None)


async def test_a_staging_that_is_replaced_while_it_is_served_is_served_as_it_was(root, autojump_clock):
    other = noise(2 * MIB, "another try")

    def replace():
        shutil.rmtree(root / "5")
        stage(root, other)

    async with a_node(service(root)) as node:
        outcome = await read_while(node, after=1, happens=does(replace))
        assert outcome.data == DATA
        assert (await node.ask()).data == other


async def test_an_error_of_the_disk_in_the_middle_is_damage(root, monkeypatch, autojump_clock):
    class Failing:
        """A disk that fails after two chunks."""

        async def run(self, work, /, *, cancel=None):
            opened = await BLOCKING.run(work)
            return FailingFile(opened) if hasattr(opened, "readinto") else opened

    class FailingFile:
        def __init__(self, file):
            self.file, self.reads = file, 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def read(self, size):
            self.reads += 1
            if self.reads > 2:
                raise OSError(5, "Input/output error", str(file_of(root)))
            return self.file.read(size)

    async with a_node(service(root, blocking=Failing())) as node:
        answer = await node.ask()
    assert (answer.status, len(answer.messages)) == (Status.DATA_LOSS, 2)
    assert answer.text == "what is staged for heal op 5 is damaged"


async def test_files_that_are_not_served_may_change_while_one_is(root, autojump_clock):
    def remove():
        for name in FILES[1:]:
            (root / "5" / name).unlink()

    outcome = await served_while(root, remove, after=1)
    assert (outcome.data, outcome.failure) == (DATA, None)


async def test_the_op_is_not_looked_at_again_once_the_stream_has_begun(root, autojump_clock):
    ops = KnownOps.of(OP)
    async with a_node(service(root, ops)) as node:
        outcome = await read_while(node, after=1, happens=does(ops.ops.clear))
        assert outcome.data == DATA
        assert ops.asked == [5]


async def test_damage_to_one_staging_leaves_the_streams_of_others_alone(root, autojump_clock):
    async with a_node(service(root)) as node, node.open(VERIFIER) as chunks:
        head = await anext(chunks)
        await trio.testing.wait_all_tasks_blocked()
        file_of(root).rename(root / "kept")
        file_of(root).write_bytes(bytes(len(DATA)))
        assert (await node.ask(account=STRANGER)).status is Status.PERMISSION_DENIED
        assert (await node.ask()).status is Status.DATA_LOSS
        assert head + b"".join([chunk async for chunk in chunks]) == DATA


def open_files():
    return [path for path in Path("/proc/self/fd").iterdir() if path.resolve().name == RECONSTRUCTED]


@pytest.mark.parametrize("how", ["read", "left", "damaged", "cancelled"])
async def test_no_file_stays_open_behind_a_stream(root, how, autojump_clock):
    async with a_node(service(root)) as node:
        if how == "damaged":
            flip(file_of(root), 0)
        with trio.CancelScope() as scope:
            try:
                async with node.open() as chunks:
                    await anext(chunks)
                    assert len(open_files()) == 1
                    if how == "cancelled":
                        scope.cancel()
                    if how != "left":
                        assert b"".join([chunk async for chunk in chunks])
            except FetchFailed:
                assert how == "damaged"
        await trio.testing.wait_all_tasks_blocked()
        assert open_files() == []


# Every byte.


async def test_any_single_changed_byte_of_a_small_file_withholds_its_end(tmp_path, autojump_clock):
    data = noise(200)
    directory = stage(tmp_path / "staging", data)
    async with a_node(service(tmp_path / "staging", chunk_size=64)) as node:
        for place in range(len(data)):
            mask = 1 << place % 8
            flip(directory / RECONSTRUCTED, place, mask)
            answer = await node.ask()
            assert (answer.status, answer.is_whole, len(answer.messages)) == (Status.DATA_LOSS, False, 3)
            flip(directory / RECONSTRUCTED, place, mask)
        assert (await node.ask()).data == data


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A staging that every example leaves as it was."""
    root = tmp_path_factory.mktemp("kept")
    stage(root, DATA)
    return root


@given(place=st.integers(0, len(DATA) - 1), mask=st.integers(1, 255), after=st.integers(0, CHUNKS - 1))
@example(place=0, mask=1, after=0)
@example(place=len(DATA) - 1, mask=0x80, after=CHUNKS - 2)
@settings(max_examples=40)
async def test_a_changed_byte_counts_exactly_when_it_was_not_read_yet(kept, place, mask, after):
    """The server is one chunk ahead of the reader."""
    path = file_of(kept)
    async with a_node(service(kept)) as node:
        try:
            outcome = await read_while(node, after=after, happens=partial(flip_later, path, place, mask))
        finally:
            path.write_bytes(DATA)
    if place < (after + 1) * MIB:
        assert (outcome.data, outcome.failure) == (DATA, None)
    else:
        assert outcome.failure is FetchFailure.DAMAGED
        assert len(outcome.chunks) == CHUNKS - 1


async def flip_later(path, place, mask):
    flip(path, place, mask)


@pytest.mark.parametrize("place", [0, MIB, len(DATA) - 1])
async def test_damage_is_seen_at_every_fetch_until_it_is_repaired(root, place, autojump_clock):
    async with a_node(service(root)) as node:
        flip(file_of(root), place)
        for _ in range(3):
            with pytest.raises(FetchFailed) as failed:
                await node.fetch(size_bound=ANY_SIZE)
            assert failed.value.kind is FetchFailure.DAMAGED
        flip(file_of(root), place)
        assert await node.fetch() == DATA
