"""How many bytes a second may pass."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from attrs import frozen

from artefact_stream.ends import OP
from lep6.daemon.throttle import Throttle, ThrottledNetwork, ThrottledSource
from lep6.model import Key
from lep6.ports import Placement, Retrieval

KEYS = [Key(bytes([number]) * 32) for number in range(4)]


async def test_without_a_rate_nothing_waits(autojump_clock):
    throttle = Throttle()
    for _ in range(100):
        await throttle.spend(1 << 30)
    assert trio.current_time() == 0


async def test_what_has_passed_is_paid_for_before_more_may(autojump_clock):
    throttle = Throttle(bytes_per_second=1000)
    await throttle.spend(5000)
    assert trio.current_time() == 0
    await throttle.spend(1)
    assert trio.current_time() == pytest.approx(5)


async def test_several_share_the_rate(autojump_clock):
    throttle = Throttle(bytes_per_second=1000)

    async def work():
        for _ in range(10):
            await throttle.spend(100)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(work)
    assert trio.current_time() == pytest.approx(4.9)


async def test_time_in_which_nothing_passed_is_not_saved_up(autojump_clock):
    throttle = Throttle(bytes_per_second=100)
    await trio.sleep(1000)
    await throttle.spend(100)
    await throttle.spend(100)
    assert trio.current_time() == pytest.approx(1001)


async def test_a_new_rate_forgets_the_debts_of_the_old_one(autojump_clock):
    throttle = Throttle(bytes_per_second=1)
    await throttle.spend(1_000_000)
    throttle.set_rate(0)
    await throttle.spend(1)
    assert trio.current_time() == 0


async def test_who_is_cancelled_while_waiting_owes_nothing_and_leaves_the_others_their_turn(autojump_clock):
    throttle = Throttle(bytes_per_second=100)
    await throttle.spend(100)
    for _ in range(5):
        with trio.move_on_after(0.1) as waiting:
            await throttle.spend(1_000_000)
        assert waiting.cancelled_caught
    await throttle.spend(1)
    assert trio.current_time() == pytest.approx(1)


async def test_they_pass_in_the_order_in_which_they_came(autojump_clock):
    throttle, passed = Throttle(bytes_per_second=100), []
    await throttle.spend(100)

    async def work(number, seconds):
        with trio.move_on_after(seconds):
            await throttle.spend(100)
            passed.append((number, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(work, number, 1.5 if number == 1 else 100)
            await trio.testing.wait_all_tasks_blocked()
    assert passed == [(0, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


@pytest.mark.parametrize("rate", [0, 1_000_000])
async def test_a_new_rate_holds_for_those_who_wait_already(autojump_clock, rate):
    throttle = Throttle(bytes_per_second=1)
    await throttle.spend(1_000_000)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(throttle.spend, 1_000_000)
        await trio.sleep(5)
        throttle.set_rate(rate)
    assert trio.current_time() == pytest.approx(7 if rate else 5)


async def test_the_rate_may_change_again_while_one_waits(autojump_clock):
    throttle = Throttle(bytes_per_second=1)
    await throttle.spend(1_000)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(throttle.spend, 1_000)
        for rate in (2, 10):
            await trio.sleep(1)
            throttle.set_rate(rate)
    # The first passes when the rate is 2, at 1 s; its debt goes with that rate, at 2 s.
    assert trio.current_time() == pytest.approx(2)


@frozen
class Values:
    """A network that has these values, and takes any."""

    async def retrieve(self, keys, /, *, need, sink):
        for key in keys:
            await sink([(key, bytes(1000))])
        return Retrieval(frozenset(keys), frozenset(), frozenset(), frozenset())

    async def store(self, items, /):
        await trio.lowlevel.checkpoint()
        return [Placement(key, 1, 1) for key, _ in items]


async def test_values_from_and_to_the_network_pass_the_throttle(autojump_clock):
    network, taken = ThrottledNetwork(Values(), Throttle(bytes_per_second=1000)), []

    async def sink(values):
        taken.extend(values)
        return ()

    assert (await network.retrieve(KEYS, need=4, sink=sink)).found == set(KEYS)
    assert len(taken) == 4
    assert trio.current_time() == pytest.approx(3)
    placements = await network.store([(key, bytes(500)) for key in KEYS])
    assert [placement.key for placement in placements] == KEYS
    assert trio.current_time() == pytest.approx(4)
    await network.throttle.spend(0)
    assert trio.current_time() == pytest.approx(6)


@frozen
class Chunks:
    """A source that gives three chunks, and tells when it was closed."""

    log: list

    @asynccontextmanager
    async def open(self, op, /, *, size_bound):
        async def chunks():
            for number in range(3):
                yield bytes([number]) * 100

        self.log.append((op, size_bound))
        yield chunks()
        self.log.append("closed")


async def test_a_file_from_a_healer_passes_the_throttle(autojump_clock):
    source = ThrottledSource(Chunks([]), Throttle(bytes_per_second=100))
    async with source.open(OP, size_bound=300) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"\0" * 100 + b"\1" * 100 + b"\2" * 100
    assert trio.current_time() == pytest.approx(2)
    assert source.inner.log == [(OP, 300), "closed"]
