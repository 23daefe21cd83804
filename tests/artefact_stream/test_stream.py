"""The shape of the stream, from a staging to the reader."""

import gc
import hashlib
import tracemalloc
from contextlib import asynccontextmanager

import blake3
import pytest
import trio
from attrs import define, evolve
from grpclib.const import Status

from artefact_stream.ends import (
    ANY_SIZE,
    HEALER,
    MIB,
    OP,
    VERIFIERS,
    KnownOps,
    OneAfterAnother,
    a_node,
    ask_over,
    on_loopback,
    service,
    stage,
)
from lep6.artefact_stream import ArtefactClient
from lep6.blocking import Threads
from lep6.cascade.reseed import Stage
from lep6.errors import FetchFailed, FetchFailure
from lep6.grpc import Limits
from lep6.model import Ticket
from world import BLOCKING, a_world, noise

SIZES = [1, 2, 65_528, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB - 1, 5 * MIB + 12_345]


def cut(size):
    """The chunks that a file of this size has."""
    return [MIB] * (size // MIB) + [size % MIB] * (size % MIB > 0)


@define
class Counting:
    """Blocking work, inline and counted."""

    runs: int = 0

    async def run(self, work, /, *, cancel=None):
        self.runs += 1
        return await BLOCKING.run(work)


@pytest.mark.parametrize("size", SIZES)
async def test_a_file_comes_in_chunks_of_a_mebibyte_with_its_size_first_and_its_end_marked(
    tmp_path, size, autojump_clock
):
    data = noise(size)
    stage(tmp_path / "staging", data)
    async with a_node(service(tmp_path / "staging")) as node:
        answer = await node.ask()
    sizes = cut(size)
    assert [len(message.chunk) for message in answer.messages] == sizes
    assert [message.total_size for message in answer.messages] == [size] + [0] * (len(sizes) - 1)
    assert [message.is_last for message in answer.messages] == [False] * (len(sizes) - 1) + [True]
    assert (answer.data, answer.status, answer.text) == (data, Status.OK, "")


@pytest.mark.parametrize("size", SIZES)
async def test_the_client_gives_the_chunks_as_they_come_and_then_ends(tmp_path, size, autojump_clock):
    data = noise(size)
    stage(tmp_path / "staging", data)
    async with a_node(service(tmp_path / "staging")) as node, node.open(size_bound=size) as chunks:
        received = [chunk async for chunk in chunks]
        assert [chunk async for chunk in chunks] == []
    assert [len(chunk) for chunk in received] == cut(size)
    assert b"".join(received) == data


async def test_a_file_that_was_reseeded_from_the_network_reaches_a_verifier(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(2_500_000)) as world:
        await world.reseeder().reseed(world.registered.action, then=Stage("5"))
        async with a_node(service(world.staging)) as node:
            assert await node.fetch() == world.data
        assert node.dialled == [HEALER]


async def test_two_ops_of_one_healer_are_served_over_one_connection(tmp_path, autojump_clock):
    ops = [OP, evolve(OP, op_id=6, ticket=Ticket("8"))]
    files = [noise(2 * MIB, seed) for seed in ("first", "second")]
    for op, data in zip(ops, files, strict=True):
        stage(tmp_path / "staging", data, op)
    answers = {}
    async with a_node(service(tmp_path / "staging", KnownOps.of(*ops))) as node, node.connect(HEALER) as channel:

        @asynccontextmanager
        async def shared(_):
            yield channel

        async def fetch(op):
            async with ArtefactClient(VERIFIERS[0], shared).open(op, size_bound=ANY_SIZE) as chunks:
                answers[op.op_id] = b"".join([chunk async for chunk in chunks])

        async with trio.open_nursery() as nursery:
            for op in ops:
                nursery.start_soon(fetch, op)
    assert [answers[op.op_id] for op in ops] == files


async def test_a_reader_may_take_minutes_for_each_chunk(tmp_path, autojump_clock):
    data = noise(4 * MIB)
    stage(tmp_path / "staging", data)
    async with a_node(service(tmp_path / "staging")) as node, node.open() as chunks:
        received = []
        async for chunk in chunks:
            await trio.sleep(250)
            received.append(chunk)
    assert b"".join(received) == data


async def test_a_server_that_stops_lets_its_streams_end_and_takes_no_more(tmp_path, autojump_clock):
    data = noise(4 * MIB)
    stage(tmp_path / "staging", data)
    async with a_node(service(tmp_path / "staging")) as node, node.open() as chunks:
        received = [await anext(chunks)]
        node.nursery.start_soon(node.server.drain)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(FetchFailed) as failed:
            await node.fetch()
        assert failed.value.kind is FetchFailure.UNREACHABLE
        received += [chunk async for chunk in chunks]
    assert b"".join(received) == data


async def test_a_server_reads_no_more_than_a_chunk_ahead_of_a_reader_with_a_small_window(tmp_path, autojump_clock):
    stage(tmp_path / "staging", 8 * MIB)
    blocking = Counting()
    async with a_node(service(tmp_path / "staging", blocking=blocking)) as node, node.open() as chunks:
        await trio.testing.wait_all_tasks_blocked()
        before_the_first_chunk = blocking.runs
        ahead = []
        for taken in range(8):
            await trio.testing.wait_all_tasks_blocked()
            ahead.append(blocking.runs - before_the_first_chunk + 1 - taken)
            await anext(chunks)
    assert ahead == [1] * 8


async def test_a_large_file_takes_memory_for_a_few_chunks_only(tmp_path, autojump_clock):
    stage(tmp_path / "staging", 64 * MIB)
    async with a_node(service(tmp_path / "staging")) as node, node.open(limits=Limits()) as chunks:
        first = await anext(chunks)
        gc.collect()
        tracemalloc.start()
        try:
            received = len(first)
            async for chunk in chunks:
                received += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert received == 64 * MIB
    assert peak < 16 * MIB


async def test_readers_that_do_not_read_cost_a_few_chunks_each(tmp_path, autojump_clock):
    stage(tmp_path / "staging", 64 * MIB)
    async with a_node(service(tmp_path / "staging")) as node, trio.open_nursery() as nursery:

        async def hold(account):
            async with node.open(account):
                await trio.sleep_forever()

        await node.fetch()
        gc.collect()
        tracemalloc.start()
        try:
            for account in VERIFIERS[:8]:
                nursery.start_soon(hold, account)
                nursery.start_soon(hold, account)
            await trio.testing.wait_all_tasks_blocked()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert peak < 16 * 4 * MIB


# Over loopback, with threads.


@pytest.mark.parametrize("max_frame", [16_384, MIB + 1024, (1 << 24) - 1])
async def test_a_file_goes_over_sockets_with_frames_of_any_size(tmp_path, max_frame):
    data = noise(20 * MIB + 1)
    stage(tmp_path / "staging", data)
    limits = Limits(max_frame=max_frame)
    with trio.fail_after(20):
        async with on_loopback(service(tmp_path / "staging", blocking=Threads(4)), limits) as host:
            client = ArtefactClient(VERIFIERS[0], lambda healer: host.connect(healer, limits))
            digest = blake3.blake3()
            async with client.open(OP, size_bound=len(data)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
    assert digest.digest() == blake3.blake3(data).digest()


async def test_sixteen_readers_at_once_each_get_all_bytes_over_sockets(tmp_path):
    data = noise(3 * MIB + 7)
    stage(tmp_path / "staging", data)
    expected = hashlib.sha256(data).digest()
    digests = []
    with trio.fail_after(20):
        callers = OneAfterAnother(VERIFIERS[:8] * 2)
        async with on_loopback(service(tmp_path / "staging", identities=callers, blocking=Threads(4))) as host:

            async def fetch(account):
                digest = hashlib.sha256()
                async with ArtefactClient(account, host.connect).open(OP, size_bound=ANY_SIZE) as chunks:
                    async for chunk in chunks:
                        digest.update(chunk)
                digests.append(digest.digest())

            async with trio.open_nursery() as nursery:
                for account in VERIFIERS[:8]:
                    nursery.start_soon(fetch, account)
                    nursery.start_soon(fetch, account)
    assert digests == [expected] * 16


async def test_a_reader_whose_socket_is_torn_gives_its_place_back(tmp_path):
    data = noise(4 * MIB)
    stage(tmp_path / "staging", data)
    with trio.fail_after(20):
        served = service(tmp_path / "staging", blocking=Threads(4), streams_per_caller=1)
        async with on_loopback(served) as host, trio.open_nursery() as nursery:
            client = ArtefactClient(VERIFIERS[0], lambda healer: host.connect(healer, Limits(stream_window=65_535)))
            held = trio.Event()

            async def hold():
                async with client.open(OP, size_bound=ANY_SIZE) as chunks:
                    await anext(chunks)
                    held.set()
                    await trio.sleep_forever()

            nursery.start_soon(hold)
            await held.wait()
            await trio.aclose_forcefully(host.streams[0])
            while True:
                async with host.connect(HEALER) as channel:
                    answer = await ask_over(channel)
                if answer.status is not Status.RESOURCE_EXHAUSTED:
                    break
            assert answer.data == data
            nursery.cancel_scope.cancel()
