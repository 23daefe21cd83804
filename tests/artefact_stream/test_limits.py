"""How many streams a server has open, for one caller and for all, and when a place is free again."""

import tempfile
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define, evolve, field
from grpclib.const import Status
from hypothesis import given
from hypothesis import strategies as st

from artefact_stream.ends import (
    ANY_SIZE,
    HEALER,
    MIB,
    NARROW,
    OP,
    STRANGER,
    VERIFIERS,
    KnownOps,
    a_node,
    ask_over,
    request,
    service,
    stage,
)
from lep6.cascade.staging import RECONSTRUCTED
from lep6.devnet.network import node_account
from lep6.errors import FetchFailed, FetchFailure, RpcError
from lep6.model import HealOpStatus
from lep6.wire import supernode as wire
from world import noise

ONE, TWO, THREE, *_ = VERIFIERS
DATA = noise(3 * MIB)


@pytest.fixture
def root(tmp_path):
    stage(tmp_path / "staging", DATA)
    return tmp_path / "staging"


@define
class Reader:
    """A reader that took the first chunk and then waits to be told how to go on."""

    account: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    leave: trio.Event = field(factory=trio.Event)
    transport: trio.abc.Stream | None = None

    async def run(self, node, task_status=trio.TASK_STATUS_IGNORED):
        with self.scope, suppress(FetchFailed):
            async with node.open(self.account) as chunks:
                self.transport = node.transports[-1]
                await anext(chunks)
                task_status.started(self)
                await self.leave.wait()

    async def vanish(self):
        await trio.aclose_forcefully(self.transport)


@asynccontextmanager
async def holding(node, *accounts):
    """Readers of these accounts, each in the middle of the file."""
    async with trio.open_nursery() as nursery:
        yield [await nursery.start(Reader(account).run, node) for account in accounts]
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()


async def is_served(node, account):
    """Whether the account gets the whole file now, or no stream at all."""
    await trio.testing.wait_all_tasks_blocked()
    answer = await node.ask(account=account)
    assert (answer.status, answer.data) in ((Status.OK, DATA), (Status.RESOURCE_EXHAUSTED, b""))
    return answer.status is Status.OK


async def test_a_caller_has_two_streams_and_no_third_while_others_are_served(root, autojump_clock):
    async with a_node(service(root)) as node, holding(node, ONE, ONE):
        answer = await node.ask(account=ONE)
        assert (answer.status, answer.messages) == (Status.RESOURCE_EXHAUSTED, [])
        assert answer.text == "too many streams are open; try again later"
        assert await is_served(node, TWO)
        assert await is_served(node, TWO)
        assert not await is_served(node, ONE)


async def test_a_refused_third_stream_does_not_disturb_the_other_two(root, autojump_clock):
    async with a_node(service(root)) as node, node.open(ONE) as first, node.open(ONE) as second:
        start = [await anext(first), await anext(second)]
        with pytest.raises(FetchFailed) as failed:
            await node.fetch(ONE)
        assert failed.value.kind is FetchFailure.NOT_READY
        for head, chunks in zip(start, (first, second), strict=True):
            assert head + b"".join([chunk async for chunk in chunks]) == DATA
    async with a_node(service(root)) as node, holding(node, ONE):
        assert await is_served(node, ONE)


async def test_sixteen_streams_are_open_in_all(root, autojump_clock):
    async with a_node(service(root)) as node:
        async with holding(node, *VERIFIERS[:8] * 2) as readers:
            assert not await is_served(node, VERIFIERS[8])
            readers[0].leave.set()
            assert await is_served(node, VERIFIERS[8])
            assert await is_served(node, VERIFIERS[0])
        assert await is_served(node, VERIFIERS[8])


async def test_sixteen_readers_at_once_in_lockstep_each_get_all_bytes(root, autojump_clock):
    received = []
    async with a_node(service(root)) as node:

        async def read(account, start):
            async with node.open(account) as chunks:
                parts = []
                async for chunk in chunks:
                    parts.append(chunk)
                    await trio.sleep(start)
            received.append(b"".join(parts))

        async with trio.open_nursery() as nursery:
            for number, account in enumerate(VERIFIERS[:8] * 2):
                nursery.start_soon(read, account, number / 7)
    assert received == [DATA] * 16


async def test_the_numbers_are_settings_of_the_service(root, autojump_clock):
    async with a_node(service(root, streams_per_caller=1, streams=2)) as node, holding(node, ONE):
        assert not await is_served(node, ONE)
        async with holding(node, TWO):
            assert not await is_served(node, THREE)


async def test_streams_over_one_connection_count_like_those_over_many(root, autojump_clock):
    async with a_node(service(root)) as node, holding(node, ONE), node.connect(HEALER, NARROW) as channel:
        async with request(channel) as call:
            await call.send_message(wire.ServeReconstructedArtefactsRequest(5, ONE))
            await call.recv_message()
            assert (await ask_over(channel, account=ONE)).status is Status.RESOURCE_EXHAUSTED
            await call.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask_over(channel, account=ONE)).status is Status.OK


# A place is given back.


@asynccontextmanager
async def with_one_place(root, **options):
    """A node that lets a caller have one stream; after the block it has to be free."""
    async with a_node(service(root, streams_per_caller=1, **options)) as node:
        yield node
        assert await is_served(node, ONE)


async def test_after_the_end_the_place_is_free(root, autojump_clock):
    async with with_one_place(root) as node:
        for _ in range(3):
            assert await node.fetch(ONE) == DATA


async def test_a_whole_file_whose_reader_lingers_holds_no_place(root, autojump_clock):
    async with with_one_place(root) as node, node.open(ONE) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == DATA
        assert await is_served(node, ONE)


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_after_the_reader_leaves_early_the_place_is_free(root, taken, autojump_clock):
    async with with_one_place(root) as node, node.open(ONE) as chunks:
        for _ in range(taken):
            await anext(chunks)
        assert not await is_served(node, ONE)


async def test_after_the_reader_is_cancelled_the_place_is_free(root, autojump_clock):
    async with with_one_place(root) as node:
        with trio.move_on_after(5) as scope:
            async with node.open(ONE) as chunks:
                await anext(chunks)
                await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_after_the_reader_fails_the_place_is_free(root, autojump_clock):
    async with with_one_place(root) as node:
        with pytest.raises(ZeroDivisionError):
            async with node.open(ONE):
                raise ZeroDivisionError


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_after_the_reader_vanishes_the_place_is_free(root, taken, autojump_clock):
    async with with_one_place(root) as node:
        with suppress(FetchFailed):
            async with node.open(ONE) as chunks:
                for _ in range(taken):
                    await anext(chunks)
                await trio.aclose_forcefully(node.transports[-1])
        assert await is_served(node, ONE)


async def test_after_the_deadline_of_the_call_the_place_is_free(root, autojump_clock):
    async with with_one_place(root) as node, node.connect(HEALER, NARROW) as channel:
        async with request(channel, timeout=60) as call:
            await call.send_message(wire.ServeReconstructedArtefactsRequest(5, ONE))
            await trio.sleep(59)
            assert not await is_served(node, ONE)
            await trio.sleep(2)
            assert await is_served(node, ONE)
            with pytest.raises(RpcError) as failed:
                await call.recv_trailing_metadata()
        assert failed.value.status is Status.DEADLINE_EXCEEDED


async def test_a_reader_that_never_reads_keeps_its_own_place_for_minutes_and_no_other(root, autojump_clock):
    async with a_node(service(root, streams_per_caller=1)) as node, holding(node, ONE):
        await trio.sleep(200)
        assert not await is_served(node, ONE)
        assert await is_served(node, TWO)
        await trio.sleep(200)
        assert await is_served(node, ONE)


REFUSED = {
    "unknown op": lambda ops, _: ops.ops.clear(),
    "chain away": lambda ops, _: setattr(ops, "is_away", True),
    "other status": lambda ops, _: ops.ops.update({5: evolve(OP, status=HealOpStatus.FAILED)}),
    "no verifier": lambda ops, _: ops.ops.update({5: evolve(OP, verifiers=(STRANGER,))}),
    "damaged file": lambda _, root: (root / "5" / RECONSTRUCTED).write_bytes(bytes(len(DATA))),
    "shorter file": lambda _, root: (root / "5" / RECONSTRUCTED).write_bytes(b""),
}


@pytest.mark.parametrize("spoil", REFUSED.values(), ids=REFUSED)
async def test_after_a_refusal_the_place_is_free(root, spoil, autojump_clock):
    ops = KnownOps.of(OP)
    async with with_one_place(root, heal_ops=ops) as node:
        spoil(ops, root)
        for _ in range(3):
            assert (await node.ask(account=ONE)).status not in (Status.OK, Status.RESOURCE_EXHAUSTED)
        ops.ops, ops.is_away = {5: OP}, False
        (root / "5" / RECONSTRUCTED).write_bytes(DATA)


@define
class SlowChain:
    """A chain that takes its time."""

    seconds: float = 5
    asked: int = 0

    async def heal_op(self, op_id, /):
        self.asked += 1
        await trio.sleep(self.seconds)
        return await KnownOps.of(OP).heal_op(op_id)


async def test_who_waits_for_the_chain_has_no_place_yet(root, autojump_clock):
    served = service(root, SlowChain())
    async with a_node(served) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.ask, 5, ONE)
        await trio.sleep(2)
        assert not served._open
        nursery.cancel_scope.cancel()


async def test_who_is_no_verifier_keeps_no_verifier_out(root, autojump_clock):
    """Any account may ask, as often as it likes, while the chain takes its time."""
    async with a_node(service(root, SlowChain())) as node, trio.open_nursery() as nursery:

        async def knock(account):
            while True:
                await node.ask(account=account)
                await trio.sleep(0.01)

        for number in range(40, 52):
            for _ in range(3):
                nursery.start_soon(knock, node_account(number))
        await trio.sleep(30)
        assert (await node.ask(account=ONE)).is_whole
        nursery.cancel_scope.cancel()


async def test_the_chain_is_asked_about_each_op_once_at_a_time_and_about_none_that_is_not_here(root, autojump_clock):
    ops = SlowChain()
    async with a_node(service(root, ops)) as node, trio.open_nursery() as nursery:
        for number in range(40, 60):
            nursery.start_soon(node.ask, 5, node_account(number))
            nursery.start_soon(node.ask, number, node_account(number))
    assert ops.asked == 1


async def test_a_caller_that_leaves_while_the_chain_is_asked_gives_its_place_back(root, autojump_clock):
    async with with_one_place(root, heal_ops=SlowChain()) as node:
        with trio.move_on_after(2):
            await node.ask(account=ONE)
        await trio.testing.wait_all_tasks_blocked()


async def test_who_is_not_identified_takes_no_place(root, autojump_clock):
    async with a_node(service(root, streams=1)) as node, holding(node, ONE):
        assert (await node.ask(account="")).status is Status.UNAUTHENTICATED
        assert (await node.ask(op_id=0, account=ONE)).status is Status.INVALID_ARGUMENT


class Play:
    """Any sequence of readers that come, leave, vanish and are cancelled, against a count."""

    def __init__(self, per_caller, in_all):
        self.limits = (per_caller, in_all)
        self.readers = []

    def has_room(self, account):
        counts = Counter(reader.account for reader in self.readers)
        return counts[account] < self.limits[0] and counts.total() < self.limits[1]

    async def run(self, root, steps):
        stage(root, 2 * MIB + 1)
        per_caller, in_all = self.limits
        served = service(root, streams_per_caller=per_caller, streams=in_all)
        async with a_node(served) as node, trio.open_nursery() as nursery:
            for step, number in steps:
                await trio.testing.wait_all_tasks_blocked()
                if step == "come":
                    await self.come(nursery, node, VERIFIERS[number % 4])
                elif self.readers:
                    await self.go(self.readers.pop(number % len(self.readers)), step)
            nursery.cancel_scope.cancel()

    async def come(self, nursery, node, account):
        if self.has_room(account):
            self.readers.append(await nursery.start(Reader(account).run, node))
        else:
            with pytest.raises(FetchFailed):
                async with node.client(account).open(OP, size_bound=ANY_SIZE) as chunks:
                    await anext(chunks)

    async def go(self, reader, step):
        if step == "leave":
            reader.leave.set()
        elif step == "cancel":
            reader.scope.cancel()
        else:
            await reader.vanish()
            reader.leave.set()


@given(
    per_caller=st.integers(1, 3),
    in_all=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.sampled_from(["come", "come", "come", "leave", "cancel", "vanish"]), st.integers(0, 11)),
        max_size=25,
    ),
)
def test_a_stream_is_admitted_exactly_when_there_is_room_for_it(per_caller, in_all, steps):
    with tempfile.TemporaryDirectory() as directory:
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(Play(per_caller, in_all).run, Path(directory) / "staging", steps, clock=clock)
