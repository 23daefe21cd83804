"""A channel that lives longer than its connections."""

from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing
from grpclib.const import Status

from echo_wire.echo import Note
from echo_wire.ends import DAYS, Echo, Stub
from lep6.errors import RpcUnanswered, RpcUnsent
from lep6.grpc import Limits, ReconnectingChannel, Server


class Slow(Echo):
    async def say(self, message):
        await trio.sleep(message.number)
        return message


class Host:
    """Where a server is, or is not."""

    def __init__(self, nursery):
        self.nursery = nursery
        self.server = Server([Slow()])
        self.fault = None
        self.attempts = []
        self.streams = []

    async def connect(self):
        self.attempts.append(trio.current_time())
        if self.fault is not None:
            raise self.fault
        ours, theirs = trio.testing.memory_stream_pair()
        self.streams.append(theirs)
        self.nursery.start_soon(self.server.serve_stream, theirs)
        return ours

    async def cut(self):
        """Cut the last connection."""
        await self.streams[-1].aclose()

    async def restart(self):
        """Drain the server; another takes its place."""
        drained, self.server = self.server, Server([Slow()])
        self.nursery.start_soon(drained.drain, DAYS)
        await trio.testing.wait_all_tasks_blocked()

    @property
    def pauses(self):
        """Seconds between attempts."""
        return [after - before for before, after in zip(self.attempts, self.attempts[1:], strict=False)]


@asynccontextmanager
async def host_and_channel(**options):
    with trio.fail_after(DAYS):
        async with trio.open_nursery() as nursery:
            host = Host(nursery)
            async with ReconnectingChannel(host.connect, random=Random(1), **options).running() as channel:
                yield host, channel


async def test_a_channel_connects_with_its_first_call_and_stays_connected(autojump_clock):
    async with host_and_channel() as (host, channel):
        await trio.sleep(100)
        assert not host.attempts
        for _ in range(3):
            assert await Stub(channel).say(Note("x", number=1)) == Note("x", number=1)
        assert len(host.attempts) == 1


async def test_calls_that_come_together_share_one_connection(autojump_clock):
    async with host_and_channel() as (host, channel):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(Stub(channel).say, Note(number=5))
        assert len(host.attempts) == 1


async def test_a_channel_connects_again_when_its_connection_is_lost(autojump_clock):
    async with host_and_channel() as (host, channel):
        for _ in range(5):
            await Stub(channel).say(Note())
            await host.cut()
            await trio.sleep(1)
        assert len(host.attempts) == 5


async def test_a_call_that_is_open_when_the_connection_is_lost_is_unanswered_and_not_repeated(autojump_clock):
    async with host_and_channel(wait_for_ready=True) as (host, channel):
        host.nursery.start_soon(cut_after, host, 5)
        with pytest.raises(RpcUnanswered) as failed:
            await Stub(channel).say(Note(number=10))
        assert type(failed.value) is RpcUnanswered
        await Stub(channel).say(Note())
        assert len(host.attempts) == 2


async def cut_after(host, seconds):
    await trio.sleep(seconds)
    await host.cut()


async def test_calls_in_flight_finish_beside_the_next_connection(autojump_clock):
    async with host_and_channel() as (host, channel):
        ended = []

        async def call(seconds):
            await Stub(channel).say(Note(number=seconds))
            ended.append(seconds)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, 100)
            await trio.sleep(1)
            await host.restart()
            nursery.start_soon(call, 10)
            await trio.sleep(20)
            assert ended == [10]
            assert len(host.attempts) == 2
        assert ended == [10, 100]


async def test_attempts_to_connect_come_ever_less_often(autojump_clock):
    async with host_and_channel(wait_for_ready=True) as (host, channel):
        host.fault = OSError("nobody is there")
        with pytest.raises(RpcUnanswered) as failed:
            await Stub(channel).say(Note(), timeout=2000)
        assert failed.value.status is Status.DEADLINE_EXCEEDED
        expected = [min(120, 1.6**number) for number in range(len(host.pauses))]
        assert len(expected) > 15
        for pause, middle in zip(host.pauses, expected, strict=True):
            assert 0.8 * middle <= pause <= 1.2 * middle
        assert len({pause / middle for pause, middle in zip(host.pauses, expected, strict=True)}) > 10


async def test_a_success_makes_the_pauses_short_again(autojump_clock):
    async with host_and_channel(wait_for_ready=True) as (host, channel):
        for _ in range(2):
            host.fault = OSError("nobody is there")
            host.nursery.start_soon(mend_after, host, 100)
            host.attempts.clear()
            await Stub(channel).say(Note())
            assert host.pauses[0] <= 1.2
            assert host.pauses[-1] > 20
            await host.cut()
            await trio.sleep(1)


async def mend_after(host, seconds):
    await trio.sleep(seconds)
    host.fault = None


@pytest.mark.parametrize(
    "fault", [OSError("nobody is there"), trio.BrokenResourceError("nobody is there"), trio.TooSlowError()]
)
async def test_a_call_that_does_not_wait_fails_at_once_with_what_the_last_attempt_failed_with(fault, autojump_clock):
    async with host_and_channel() as (host, channel):
        host.fault = fault
        started = trio.current_time()
        for _ in range(3):
            with pytest.raises(RpcUnsent, match=str(fault) or type(fault).__name__) as failed:
                await Stub(channel).say(Note())
            assert failed.value.status is Status.UNAVAILABLE
        assert len(host.attempts) == 1
        assert trio.current_time() == pytest.approx(started, abs=0.1)
        host.fault = None
        await trio.sleep(2)
        assert await Stub(channel).say(Note("x")) == Note("x")


async def test_a_connection_that_is_not_made_in_time_has_failed(autojump_clock):
    class Hanging(Host):
        async def connect(self):
            self.attempts.append(trio.current_time())
            if len(self.attempts) == 1:
                await trio.sleep_forever()
            if len(self.attempts) == 2:
                return trio.testing.memory_stream_pair()[0]
            return await super().connect()

    with trio.fail_after(DAYS):
        async with trio.open_nursery() as nursery:
            host = Hanging(nursery)
            channel = ReconnectingChannel(host.connect, limits=Limits(settings_timeout=20), wait_for_ready=True)
            async with channel.running():
                assert await Stub(channel).say(Note("x")) == Note("x")
                first, second = host.pauses[:2]
                assert first == pytest.approx(20 + 1, abs=0.3)
                assert second == pytest.approx(20 + 1.6, abs=0.4)


async def test_leaving_a_channel_fails_the_calls_that_are_open_on_all_its_connections(autojump_clock):
    with trio.fail_after(DAYS):
        async with trio.open_nursery() as nursery:
            host, failures = Host(nursery), []

            async def call(channel):
                try:
                    await Stub(channel).say(Note(number=1000))
                except RpcUnanswered as error:
                    failures.append(error.status)

            async with ReconnectingChannel(host.connect).running() as channel:
                nursery.start_soon(call, channel)
                await trio.sleep(1)
                await host.restart()
                nursery.start_soon(call, channel)
                await trio.sleep(1)
    assert failures == [Status.UNAVAILABLE] * 2
    assert len(host.streams) == 2


async def test_an_error_of_a_channels_block_comes_out_as_itself(autojump_clock):
    async with trio.open_nursery() as nursery:
        host = Host(nursery)
        with pytest.raises(LookupError):
            await fail_within(ReconnectingChannel(host.connect))


async def fail_within(channel):
    async with channel.running():
        await Stub(channel).say(Note())
        raise LookupError
