"""How connections begin and end: settings, GOAWAY, drains, pings, and the times that a connection is given."""

import h2.events
import pytest
import trio
import trio.testing
from grpclib.const import Status
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from echo_wire.echo import Note
from echo_wire.ends import (
    DAYS,
    Echo,
    MemoryListener,
    Stub,
    body,
    connected,
    framed,
    of_type,
    peer_and_channel,
    peer_and_server,
)
from lep6.errors import RpcError, RpcUnanswered, RpcUnsent
from lep6.grpc import Limits, Server, open_channel

LASTING = Limits(max_idle=DAYS, max_age=2 * DAYS)
"""Of a connection that is ended by nothing but an unanswered ping."""


class Slow(Echo):
    """Answers after as many seconds as it is told, and notes what it answered and what was cancelled."""

    def __init__(self):
        self.answered = []
        self.cancelled = []

    async def say(self, message):
        try:
            await trio.sleep(message.number)
        except trio.Cancelled:
            self.cancelled.append(message.number)
            raise
        self.answered.append(message.number)
        return message


def goaway(last_stream, code=ErrorCodes.NO_ERROR, text=b""):
    return GoAwayFrame(0, last_stream_id=last_stream, error_code=code, additional_data=text).serialize()


def partings(events):
    """What GOAWAY frames said: the last stream, the code, and the text."""
    return [
        (event.last_stream_id, event.error_code, event.additional_data)
        for event in of_type(events, h2.events.ConnectionTerminated)
    ]


async def all_of(stream):
    """Everything that comes until the other side closes."""
    received = bytearray()
    with trio.fail_after(DAYS):
        while data := await stream.receive_some(1 << 16):
            received += data
    return bytes(received)


async def test_a_client_waits_so_long_for_the_servers_settings_and_no_longer(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    started = trio.current_time()
    with pytest.raises(RpcUnsent) as failed:
        async with open_channel(ours, limits=Limits(settings_timeout=20)):
            pytest.fail("there is no server")
    assert failed.value.status is Status.UNAVAILABLE
    assert trio.current_time() - started == pytest.approx(20)
    assert (await all_of(theirs)).startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


@pytest.mark.parametrize("word", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\6\0\0\0\0\0" + bytes(8), b""])
async def test_a_client_gives_up_at_once_on_a_server_that_speaks_something_else(word, autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(word)
    await theirs.send_eof()
    started = trio.current_time()
    with pytest.raises(RpcUnsent):
        async with open_channel(ours):
            pytest.fail("there is no server")
    assert trio.current_time() == pytest.approx(started, abs=0.1)


async def test_calls_wait_for_the_servers_settings(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    started = trio.current_time()

    async def serve_late():
        await trio.sleep(15)
        await Server([Echo()]).serve_stream(theirs)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_late)
        async with open_channel(ours) as channel:
            assert await Stub(channel).say(Note("x")) == Note("x")
    assert trio.current_time() - started < 20


async def test_a_draining_server_ends_what_is_open_takes_nothing_new_and_closes(autojump_clock):
    service = Slow()
    async with peer_and_server(service) as (peer, server), trio.open_nursery() as nursery:
        peer.call(1, Note(number=30))
        await peer.take()
        nursery.start_soon(server.drain, 100)
        assert partings(await peer.take()) == [(1, ErrorCodes.NO_ERROR, None)]
        peer.call(3, Note())
        refused = await peer.take()
        assert [(event.stream_id, event.error_code) for event in of_type(refused, h2.events.StreamReset)] == [
            (3, ErrorCodes.REFUSED_STREAM)
        ]
        assert body(await peer.take(40)) == framed(Note(number=30))
        assert peer.is_over
    assert service.answered == [30]


async def test_our_client_sends_nothing_new_to_a_draining_server(autojump_clock):
    service, server = Slow(), None
    ours, theirs = trio.testing.memory_stream_pair()
    server = Server([service])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        async with open_channel(ours) as channel, trio.open_nursery() as calls:
            calls.start_soon(Stub(channel).say, Note(number=30))
            await trio.sleep(1)
            calls.start_soon(server.drain, 100)
            await trio.sleep(1)
            with pytest.raises(RpcUnsent):
                await Stub(channel).say(Note())
    assert (service.answered, service.cancelled) == ([30], [])


async def test_a_server_that_drains_tells_those_who_come_later(autojump_clock):
    server = Server([Echo()])
    await server.drain(1)
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(DAYS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_stream, theirs)
            with pytest.raises(RpcUnsent):
                async with open_channel(ours):
                    pytest.fail("the server takes no calls")


async def test_leaving_a_servers_block_drains_its_connections_and_breaks_off_what_takes_too_long(autojump_clock):
    service, listener = Slow(), MemoryListener()
    failures, started = [], trio.current_time()

    async def call(channel, seconds):
        try:
            await Stub(channel).say(Note(number=seconds))
        except RpcError as error:
            failures.append((seconds, error.status))

    async with trio.open_nursery() as nursery:
        async with Server([service]).serving([listener], drain_seconds=50):
            first, second, third = [await listener.connect() for _ in range(3)]
            channel = await nursery.start(hold_channel, first)
            for seconds in (10, 40, 1000):
                nursery.start_soon(call, channel, seconds)
            nursery.start_soon(call, await nursery.start(hold_channel, second), 20)
            await nursery.start(hold_channel, third)
            await trio.sleep(1)
            left = trio.current_time()
        assert trio.current_time() - left == pytest.approx(50)
        with pytest.raises(trio.BrokenResourceError):
            await listener.connect()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sorted(service.answered) == [10, 20, 40]
    assert service.cancelled == [1000]
    assert failures == [(1000, Status.UNAVAILABLE)]
    assert trio.current_time() - started < 60


async def hold_channel(stream, task_status):
    async with open_channel(stream) as channel:
        task_status.started(channel)
        await trio.sleep_forever()


async def test_leaving_a_servers_block_ends_at_once_when_nothing_is_open(autojump_clock):
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        async with Server([Echo()]).serving([listener], drain_seconds=50):
            await nursery.start(hold_channel, await listener.connect())
            left = trio.current_time()
        assert trio.current_time() == pytest.approx(left, abs=0.1)
        nursery.cancel_scope.cancel()


async def test_an_error_of_a_servers_block_comes_out_as_itself_after_the_drain(autojump_clock):
    service, listener = Slow(), MemoryListener()
    async with trio.open_nursery() as nursery:

        async def fail():
            async with Server([service]).serving([listener]):
                channel = await nursery.start(hold_channel, await listener.connect())
                nursery.start_soon(Stub(channel).say, Note(number=5))
                await trio.sleep(1)
                raise LookupError

        with pytest.raises(LookupError):
            await fail()
        assert service.answered == [5]
        nursery.cancel_scope.cancel()


async def test_streams_that_the_server_still_acts_on_finish_after_its_goaway(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def serve():
            await peer.take()
            peer.h2.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
            peer.h2.send_data(1, framed(Note("first")))
            await peer.send(goaway(1))
            await trio.sleep(100)
            peer.h2.send_data(1, framed(Note("second")))
            peer.h2.send_headers(1, [("grpc-status", "0")], end_stream=True)
            await peer.take()

        nursery.start_soon(serve)
        replies = Stub(channel).split(Note())
        assert (await anext(replies)).text == "first"
        await trio.sleep(10)
        with pytest.raises(RpcUnsent):
            await Stub(channel).say(Note())
        assert [reply.text async for reply in replies] == ["second"]
        await trio.sleep(200)
        assert peer.is_over


async def test_streams_that_the_server_never_acted_on_are_unsent(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:
        outcomes = {}

        async def call(number):
            await trio.sleep(number)
            try:
                outcomes[number] = await Stub(channel).say(Note(number=number))
            except RpcUnanswered as error:
                outcomes[number] = type(error), error.status

        for number in range(4):
            nursery.start_soon(call, number)
        await peer.take(10)
        # As Go's servers do: a warning first, then the last stream that counts.
        await peer.send(goaway(0x7FFF_FFFF) + goaway(3, text=b"bye"))
        await peer.take()
        assert outcomes == {2: (RpcUnsent, Status.UNAVAILABLE), 3: (RpcUnsent, Status.UNAVAILABLE)}
        peer.answer(1, Note("a"))
        peer.answer(3, Note("b"))
        await peer.take()
        assert (outcomes[0], outcomes[1]) == (Note("a"), Note("b"))
        assert peer.is_over


async def test_a_call_that_waits_for_a_stream_is_unsent_when_the_server_goes_away(autojump_clock):
    service = Slow()
    ours, theirs = trio.testing.memory_stream_pair()
    server = Server([service], limits=Limits(max_streams=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        async with open_channel(ours) as channel, trio.open_nursery() as calls:
            calls.start_soon(Stub(channel).say, Note(number=30))
            await trio.sleep(1)
            calls.start_soon(drain_after, 10, server)
            with pytest.raises(RpcUnsent):
                await Stub(channel).say(Note(number=1))
    assert service.answered == [30]


async def drain_after(seconds, server):
    await trio.sleep(seconds)
    await server.drain(100)


async def test_a_client_that_goes_away_has_its_open_calls_answered(autojump_clock):
    async with peer_and_server(Slow()) as (peer, _):
        peer.call(1, Note(number=10))
        await peer.send(goaway(0))
        assert body(await peer.take(20)) == framed(Note(number=10))
        assert peer.is_over


async def test_pings_are_answered(autojump_clock):
    async with peer_and_server(Echo()) as (peer, _), peer_and_channel() as (other, _channel):
        for side in (peer, other):
            side.h2.ping(b"01234567")
            (answer,) = of_type(await side.take(), h2.events.PingAckReceived)
            assert answer.ping_data == b"01234567"


async def test_a_client_that_pings_too_often_is_sent_away(autojump_clock):
    limits = Limits(min_ping_interval=300, ping_strikes=2)
    async with peer_and_server(Slow(), limits=limits) as (peer, _):
        peer.call(1, Note(number=10_000))
        for interval in (0, 301, 301, 299, 299):
            await trio.sleep(interval)
            peer.h2.ping(bytes(8))
            assert of_type(await peer.take(0.01), h2.events.PingAckReceived)
        await trio.sleep(299)
        peer.h2.ping(bytes(8))
        assert partings(await peer.take()) == [(1, ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings")]
        assert peer.is_over


async def test_a_client_may_ping_for_all_that_it_is_sent(autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        for number in range(1, 100, 2):
            peer.call(number, Note())
            peer.h2.ping(bytes(8))
            await peer.take(0.5)
            peer.h2.ping(bytes(8))
            assert not partings(await peer.take(0.5))
        assert not peer.is_over


async def test_a_server_may_ping_as_it_likes(autojump_clock):
    async with peer_and_channel() as (peer, channel):
        for _ in range(100):
            peer.h2.ping(bytes(8))
            assert of_type(await peer.take(0.01), h2.events.PingAckReceived)
        assert channel.connection.is_usable()


async def test_a_silent_server_is_pinged_and_kept_while_it_answers(autojump_clock):
    async with peer_and_channel(limits=Limits(ping_after_idle=600, ping_timeout=20)) as (peer, channel):
        pings = []
        for _ in range(10):
            pings += of_type(await peer.take(601), h2.events.PingReceived)
        assert len(pings) == 10
        assert channel.connection.is_usable()


@pytest.mark.parametrize("heard_of", [0, 500])
async def test_calls_of_a_server_that_answers_no_ping_are_unanswered(heard_of, autojump_clock):
    async with peer_and_channel(limits=Limits(ping_after_idle=600, ping_timeout=20)) as (peer, channel):
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            if heard_of:
                nursery.start_soon(ping_after, peer, heard_of)
            with pytest.raises(RpcUnanswered, match="ping") as failed:
                await Stub(channel).say(Note())
        assert failed.value.status is Status.UNAVAILABLE
        assert trio.current_time() - started == pytest.approx(heard_of + 620, abs=2)
        with pytest.raises(RpcUnsent):
            await Stub(channel).say(Note())


async def ping_after(peer, seconds):
    await trio.sleep(seconds)
    peer.h2.ping(bytes(8))
    await peer.send()


async def test_a_client_that_answers_no_ping_has_its_handlers_cancelled(autojump_clock):
    service = Slow()
    async with peer_and_server(service, limits=Limits(ping_after_idle=600, ping_timeout=20)) as (peer, _):
        peer.call(1, Note(number=5000))
        await peer.send()
        await trio.sleep(610)
        assert not service.cancelled
        await trio.sleep(20)
        assert service.cancelled == [5000]
        await peer.take()
        assert peer.is_over


async def test_a_connection_without_calls_is_ended_and_one_with_calls_is_not(autojump_clock):
    service = Slow()
    async with peer_and_server(service, limits=Limits(max_idle=7200, max_age=DAYS)) as (peer, _):
        await peer.take(5000)
        peer.call(1, Note(number=20_000))
        assert not partings(await peer.take(20_001))
        assert service.answered == [20_000]
        assert not partings(await peer.take(7190))
        assert partings(await peer.take(20)) == [(1, ErrorCodes.NO_ERROR, None)]
        assert peer.is_over


async def test_a_connection_that_never_had_a_call_is_ended_too(autojump_clock):
    async with peer_and_server(Echo(), limits=Limits(max_idle=7200, max_age=DAYS)) as (peer, _):
        assert not partings(await peer.take(7190))
        assert partings(await peer.take(20)) == [(0, ErrorCodes.NO_ERROR, None)]
        assert peer.is_over


@pytest.mark.parametrize("seconds", [10_000, 100_000])
async def test_a_connection_of_age_takes_no_more_calls_and_gives_the_open_ones_some_grace(seconds, autojump_clock):
    service = Slow()
    limits = Limits(max_age=7200, grace=3600, ping_after_idle=DAYS)
    async with peer_and_server(service, limits=limits) as (peer, _):
        started = trio.current_time()
        peer.call(1, Note(number=seconds))
        parted = []
        while not parted:
            parted = partings(await peer.take(10))
        aged = trio.current_time()
        assert 0.9 * 7200 - 1 <= aged - started <= 1.1 * 7200 + 11
        assert parted == [(1, ErrorCodes.NO_ERROR, None)]
        while not peer.is_over:
            await peer.take(10)
        assert trio.current_time() - started <= min(seconds, 1.1 * 7200 + 3600) + 11
        assert (service.answered, service.cancelled) == (([seconds], []) if seconds == 10_000 else ([], [seconds]))


async def test_ages_differ_so_that_clients_do_not_all_come_back_at_once(autojump_clock):
    ages = set()
    for _ in range(5):
        async with peer_and_server(Echo(), limits=Limits(max_idle=DAYS, max_age=7200)) as (peer, _):
            started = trio.current_time()
            while not peer.is_over:
                await peer.take(10)
            ages.add(round(trio.current_time() - started))
    assert len(ages) > 1


async def test_connections_without_an_end_live_for_days(autojump_clock):
    async with connected(Echo(), limits=LASTING, client_limits=LASTING) as channel:
        for _ in range(20):
            await trio.sleep(40_000)
            assert await Stub(channel).say(Note("x")) == Note("x")
