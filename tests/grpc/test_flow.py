"""Flow control and limits on streams: nobody is sent more than they take, and what nobody takes holds up nobody."""

import pytest
import trio
import trio.testing
from grpclib.const import Status
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from echo_wire.echo import Note
from echo_wire.ends import (
    Echo,
    Method,
    Stub,
    body,
    connected,
    framed,
    peer_and_channel,
    peer_and_server,
    request,
)
from lep6.errors import RpcUnsent
from lep6.grpc import Limits

PIECE = 10_000
LEAD = 11
"""Messages of that size that may be under way when the window is of 100 000 bytes, one of them half sent."""


def pieces(made, count=1000):
    for number in range(count):
        made.append(number)
        yield Note(data=bytes(PIECE), number=number)


class Source(Echo):
    """Sends as much as it can, and notes how much that was."""

    def __init__(self, count=1000):
        self.count = count
        self.made = []

    async def split(self, _message):
        for piece in pieces(self.made, self.count):
            yield piece


async def test_a_caller_that_reads_slowly_is_sent_no_more_than_its_window_ahead(autojump_clock):
    source = Source()
    async with connected(source, client_limits=Limits(stream_window=100_000)) as channel:
        received = 0
        async for _ in Stub(channel).split(Note()):
            received += 1
            if received % 100 == 1:
                await trio.sleep(100)
                assert len(source.made) - received <= LEAD
        assert received == len(source.made) == 1000


async def test_a_handler_that_reads_slowly_is_sent_no_more_than_its_window_ahead(autojump_clock):
    made, leads = [], []

    class Slow(Echo):
        async def join(self, messages):
            count = 0
            async for _ in messages:
                count += 1
                if count % 100 == 1:
                    await trio.sleep(100)
                    leads.append(len(made) - count)
            return Note(number=count)

    async with connected(Slow(), limits=Limits(stream_window=100_000)) as channel:
        assert (await Stub(channel).join(pieces(made))).number == 1000
    assert len(leads) == 10
    assert max(leads) <= LEAD


async def test_a_caller_whose_transport_stalls_is_sent_no_more_than_the_backlog(autojump_clock):
    source, limits = Source(), Limits(backlog=50_000)
    pair = trio.testing.lockstep_stream_pair
    async with peer_and_server(source, limits=limits, window=1 << 30, pair=pair) as (peer, _):
        peer.h2.increment_flow_control_window(1 << 30)
        peer.call(1, Note(), {":path": "/echo.Echo/Split"})
        await peer.send()
        await trio.sleep(100)
        assert len(source.made) * PIECE <= 2 * (limits.backlog + 16_384 + PIECE)
        assert len(body(await peer.take(100))) == sum(len(framed(piece)) for piece in pieces([]))


@pytest.mark.parametrize("size", [1, 7])
async def test_a_window_of_a_byte_or_a_few_lets_everything_through_in_time(size, autojump_clock):
    limits = Limits(stream_window=size)
    async with connected(Echo(), limits=limits, client_limits=limits) as channel:
        notes = [Note(f"note {number}", bytes(number)) for number in range(5)]
        assert [reply async for reply in Stub(channel).chat(notes)] == notes
        assert await Stub(channel).say(notes[4]) == notes[4]


async def test_a_server_sends_as_the_clients_settings_raise_and_lower_its_windows(autojump_clock):
    total = sum(len(framed(piece)) for piece in pieces([], 10))
    async with peer_and_server(Source(10), window=0) as (peer, _):

        async def sent(window=None, increment=0):
            if window is not None:
                peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
            if increment:
                peer.h2.increment_flow_control_window(increment, 1)
            return len(body(await peer.take()))

        peer.h2.increment_flow_control_window(1 << 20)
        peer.call(1, Note(), {":path": "/echo.Echo/Split"})
        assert await sent() == 0
        assert await sent(window=100) == 100
        assert await sent(window=30_000) == 29_900
        assert await sent(window=10_000) == 0
        assert await sent(increment=20_000) == 0
        assert await sent(increment=7) == 7
        assert 30_007 + await sent(window=1 << 20) == total


async def test_a_client_sends_as_the_servers_settings_raise_and_lower_its_windows(autojump_clock):
    note = Note(data=bytes(60_000))
    async with peer_and_channel(window=0) as (peer, channel), request(channel) as call, trio.open_nursery() as nursery:

        async def sent(window=None, increment=0):
            if window is not None:
                peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
            if increment:
                peer.h2.increment_flow_control_window(increment, 1)
            return len(body(await peer.take()))

        nursery.start_soon(call.send_message, note)
        assert await sent() == 0
        assert await sent(window=30_000) == 30_000
        assert await sent(window=10_000) == 0
        assert await sent(increment=20_001) == 1
        assert 30_001 + await sent(increment=1 << 20) == len(framed(note))
        await call.cancel()


async def test_all_streams_together_are_sent_no_more_than_the_connections_window(autojump_clock):
    async with peer_and_server(Source(), window=1 << 20) as (peer, _):
        for number in (1, 3, 5):
            peer.call(number, Note(), {":path": "/echo.Echo/Split"})
        assert len(body(await peer.take())) == 65_535
        peer.h2.increment_flow_control_window(10_000)
        assert len(body(await peer.take())) == 10_000


async def test_a_connection_outlives_a_thousand_callers_that_leave_without_reading(autojump_clock):
    limits = Limits(stream_window=20_000, connection_window=70_000)
    async with connected(Source(), client_limits=limits) as channel:
        for _ in range(1000):
            async with request(channel, "/echo.Echo/Split") as call:
                await call.send_message(Note(), end=True)
                await call.recv_message()
                await call.cancel()
        assert await Stub(channel).say(Note(data=bytes(200_000))) == Note(data=bytes(200_000))


async def test_a_connection_outlives_a_thousand_handlers_that_return_without_reading(autojump_clock):
    async def handle(call):
        await call.recv_message()
        await call.send_message(Note("enough"))

    limits = Limits(stream_window=20_100, connection_window=70_000)
    async with connected(Method(handle), Echo(), limits=limits) as channel:
        for _ in range(1000):
            async with request(channel) as call:
                await call.send_message(Note(data=bytes(PIECE)))
                await call.send_message(Note(data=bytes(PIECE)))
                assert await call.recv_message() == Note("enough")
        assert await Stub(channel).say(Note(data=bytes(200_000))) == Note(data=bytes(200_000))


class Counting(Echo):
    """Notes how many calls were open at a time."""

    def __init__(self):
        self.open = self.most = 0

    async def say(self, message):
        self.open += 1
        self.most = max(self.most, self.open)
        await trio.sleep(10)
        self.open -= 1
        return message


async def test_calls_wait_while_the_server_takes_no_more_of_them(autojump_clock):
    service = Counting()
    async with connected(service, limits=Limits(max_streams=3)) as channel:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(Stub(channel).say, Note())
        assert service.most == 3
        assert trio.current_time() - started == pytest.approx(40)


async def test_a_call_that_waits_for_a_stream_waits_no_longer_than_its_deadline(autojump_clock):
    async with connected(Counting(), limits=Limits(max_streams=1)) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(Stub(channel).say, Note())
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        with pytest.raises(Exception, match="deadline") as failed:
            await Stub(channel).say(Note(), timeout=4)
        assert failed.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(4)


async def test_calls_go_out_as_the_server_raises_the_number_that_it_takes(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def requests(allowed):
            peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: allowed})
            return [event.stream_id for event in await peer.take() if hasattr(event, "headers")]

        assert await requests(0) == []
        for _ in range(4):
            nursery.start_soon(Stub(channel).say, Note())
        assert await requests(0) == []
        assert await requests(1) == [1]
        assert await requests(3) == [3, 5]
        assert await requests(2) == []
        peer.answer(1, Note())
        peer.answer(3, Note())
        assert await requests(2) == [7]
        nursery.cancel_scope.cancel()


async def test_a_call_that_the_server_refuses_was_not_sent(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def refuse():
            await peer.take()
            peer.h2.reset_stream(1, ErrorCodes.REFUSED_STREAM)
            await peer.send()

        nursery.start_soon(refuse)
        with pytest.raises(RpcUnsent) as failed:
            await Stub(channel).say(Note())
        assert failed.value.status is Status.UNAVAILABLE
