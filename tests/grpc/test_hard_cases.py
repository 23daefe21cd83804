"""What peers may do to a connection, and what it may not do to the rest."""

import random
import signal

import h2.events
import pytest
import trio
import trio.testing
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import decode_timeout
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from structlog.testing import capture_logs

from echo_wire.echo import Note
from echo_wire.ends import (
    ANSWER,
    OK,
    REQUEST,
    Echo,
    Peer,
    Stub,
    ask,
    body,
    connected,
    fields,
    framed,
    of_type,
    peer_and_channel,
    peer_and_server,
    request,
)
from lep6.beside import beside
from lep6.errors import InvalidAddress, RpcError, RpcRefused, RpcUnanswered
from lep6.grpc import Address, Limits, ReconnectingChannel, Server, open_channel


@pytest.mark.parametrize(
    "headers",
    [
        [("grpc-timeout", "soon"), ("grpc-timeout", "1S")],
        [("grpc-timeout", "9" * 400 + "S")],
        [("grpc-timeout", "9" * 400 + "m")],
        [("raw-bin", "AAAAA"), ("raw-bin", "AAAA")],
    ],
)
async def test_a_request_with_odd_headers_is_refused_and_the_connection_goes_on(headers, autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        peer.h2.send_headers(1, [*REQUEST, *headers])
        peer.h2.send_data(1, framed(Note("x")), end_stream=True)
        assert fields(await peer.take())["grpc-status"] == str(Status.INVALID_ARGUMENT.value)
        peer.call(3, Note("x"))
        assert body(await peer.take()) == framed(Note("x"))


async def test_a_handler_that_fails_while_it_is_cancelled_harms_no_other_call(autojump_clock):
    class Failing(Echo):
        async def say(self, message):
            if message.text:
                return message
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.fail_late)
                nursery.start_soon(trio.sleep_forever)
            return None

        async def fail_late(self):
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError

    async with connected(Failing()) as channel:
        with pytest.raises(RpcUnanswered):
            await Stub(channel).say(Note(), timeout=5)
        await trio.sleep(1)
        assert await Stub(channel).say(Note("x")) == Note("x")


async def test_a_goaway_with_a_long_text_ends_the_connection_and_nothing_else(autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        await peer.send(GoAwayFrame(0, last_stream_id=0, error_code=0, additional_data=bytes(5000)).serialize())
        await peer.take(4000)
        assert peer.is_over


async def test_a_cancelled_server_closes_its_streams(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server([Echo()]).serve_stream, theirs)
        peer = Peer(ours, client=True)
        await peer.take()
        nursery.cancel_scope.cancel()
    await peer.take(100)
    assert peer.is_over


async def test_a_cancelled_channel_closes_its_stream(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Peer(theirs, client=False)
    await peer.send()
    with trio.move_on_after(5):
        async with open_channel(ours):
            await trio.sleep_forever()
    await peer.take(100)
    assert peer.is_over


async def test_a_reconnecting_channel_that_is_left_closes_its_stream(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()

    async def connect():
        return ours

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server([Echo()]).serve_stream, theirs)
        async with ReconnectingChannel(connect).running() as channel:
            await Stub(channel).say(Note())
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_a_stream_beyond_the_limit_is_refused_and_the_others_go_on(autojump_clock):
    class Slow(Echo):
        async def say(self, message):
            await trio.sleep(10)
            return message

    async with peer_and_server(Slow(), limits=Limits(max_streams=2)) as (peer, _):
        peer.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
        peer.h2.remote_settings.acknowledge()
        for number in (1, 3, 5):
            peer.call(number, Note(number=number))
        events = await peer.take(20)
        assert [(e.stream_id, e.error_code) for e in of_type(events, h2.events.StreamReset)] == [
            (5, ErrorCodes.REFUSED_STREAM)
        ]
        assert {e.stream_id for e in of_type(events, h2.events.StreamEnded)} == {1, 3}


async def test_calls_given_up_at_once_neither_count_nor_end_the_connection(autojump_clock):
    async with peer_and_server(Echo(), limits=Limits(max_streams=1)) as (peer, _):
        for number in (1, 3, 5, 7):
            peer.call(number)
            peer.h2.reset_stream(number, ErrorCodes.CANCEL)
        peer.call(9, Note("x"))
        assert body(await peer.take()) == framed(Note("x"))


async def test_a_draining_server_is_not_upset_by_calls_given_up_at_once(autojump_clock):
    class Slow(Echo):
        async def say(self, message):
            await trio.sleep(10)
            return message

    async with peer_and_server(Slow()) as (peer, server), trio.open_nursery() as nursery:
        peer.call(1, Note("x"))
        await peer.take()
        nursery.start_soon(server.drain, 100)
        await peer.take()
        for number in (3, 5, 7):
            peer.call(number)
            peer.h2.reset_stream(number, ErrorCodes.CANCEL)
        assert body(await peer.take(20)) == framed(Note("x"))


@pytest.mark.parametrize("outcome", ["reply", "refusal", "unknown"])
async def test_an_answer_that_comes_before_the_request_has_ended_counts(outcome, autojump_clock):
    class Hasty(Echo):
        async def join(self, messages):
            async for _ in messages:
                if outcome == "refusal":
                    raise GRPCError(Status.NOT_FOUND, "enough")
                return Note("enough")
            return None

    notes = [Note(data=bytes(30_000)) for _ in range(100)]
    services = [] if outcome == "unknown" else [Hasty()]
    async with connected(*services, limits=Limits(stream_window=70_000)) as channel:
        if outcome == "reply":
            assert await Stub(channel).join(notes) == Note("enough")
        else:
            with pytest.raises(RpcRefused) as refused:
                await Stub(channel).join(notes)
            assert refused.value.status is (Status.NOT_FOUND if outcome == "refusal" else Status.UNIMPLEMENTED)


async def test_a_refused_call_with_a_large_message_is_refused(autojump_clock):
    async with connected(limits=Limits(stream_window=70_000)) as channel:
        with pytest.raises(RpcRefused) as refused:
            await ask(channel, "/echo.Echo/Nothing", Note(data=bytes(300_000)))
        assert refused.value.status is Status.UNIMPLEMENTED


@pytest.mark.parametrize(
    "limits",
    [
        Limits(ping_after_idle=1800, max_idle=1e6, max_age=1e6),
        Limits(ping_after_idle=1e7, max_idle=7200, max_age=1e6),
    ],
)
def test_times_that_are_not_round_are_waited_for_once(limits):
    async def idle(offset):
        await trio.sleep(offset)
        async with peer_and_server(Echo(), limits=limits) as (peer, _):
            await peer.take(10_000)

    def stop(*_):
        raise KeyboardInterrupt

    chance = random.Random(1)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        for _ in range(100):
            signal.setitimer(signal.ITIMER_REAL, 5)
            trio.run(
                idle, chance.random() * 10 ** chance.randrange(6), clock=trio.testing.MockClock(autojump_threshold=0)
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def test_calls_that_wait_for_room_end_with_the_connection(autojump_clock):
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def serve():
        peer = Peer(theirs, client=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send)
            await theirs.receive_some(100)
        await trio.sleep(10)
        await theirs.aclose()

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with open_channel(ours, limits=Limits(backlog=200)) as channel:
                failures = []

                async def call():
                    try:
                        await Stub(channel).say(Note("x" * 100))
                    except RpcUnanswered as error:
                        failures.append(error.status)

                async with trio.open_nursery() as calls:
                    for _ in range(5):
                        calls.start_soon(call)
    assert failures == [Status.UNAVAILABLE] * 5


async def test_an_answer_of_ok_without_a_reply_is_an_error_of_the_server(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def answer():
            await peer.take()
            peer.answer(1)
            await peer.send()

        nursery.start_soon(answer)
        with pytest.raises(RpcError):
            await Stub(channel).say(Note())


@pytest.mark.parametrize("where", ["head", "trailers"])
async def test_a_malformed_binary_header_of_a_server_is_an_error_of_the_server(where, autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def answer():
            await peer.take()
            bad = [("raw-bin", "AAAAA")]
            peer.h2.send_headers(1, ANSWER + bad * (where == "head"))
            peer.h2.send_data(1, framed(Note("x")))
            peer.h2.send_headers(1, OK + bad * (where == "trailers"), end_stream=True)
            await peer.send()

        nursery.start_soon(answer)
        with pytest.raises(RpcError):
            await Stub(channel).say(Note())


async def test_only_a_status_that_ends_the_stream_counts(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def answer():
            await peer.take()
            peer.h2.send_headers(1, ANSWER + OK)
            peer.h2.send_data(1, framed(Note("x")))
            peer.h2.send_headers(1, [("grpc-status", "5")], end_stream=True)
            await peer.send()

        nursery.start_soon(answer)
        with pytest.raises(RpcRefused):
            await Stub(channel).say(Note())


@pytest.mark.parametrize("limit", [1000, 200_000])
async def test_headers_may_be_as_large_as_the_limit_says(limit, autojump_clock):
    async with peer_and_server(Echo(), limits=Limits(max_header_list=limit)) as (peer, _):
        peer.call(1, Note("x"), {"long": "y" * 150_000 if limit > 1000 else "y" * 500})
        assert body(await peer.take()) == framed(Note("x"))
        peer.call(3, Note("x"), {"long": "y" * 300_000 if limit > 1000 else "y" * 5000})
        assert body(await peer.take()) == b""


async def test_the_connection_window_may_be_the_smallest_there_is(autojump_clock):
    async with connected(Echo(), limits=Limits(connection_window=65_535)) as channel:
        assert await Stub(channel).say(Note("x")) == Note("x")


async def test_a_request_without_an_authority_is_served(autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        peer.call(1, Note("x"), {":authority": None})
        assert body(await peer.take()) == framed(Note("x"))


@pytest.mark.parametrize("data", [framed(b"\x0a\x7fcut"), framed(Note("x"))[:-1]])
async def test_a_malformed_request_is_answered_with_a_status(data, autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        peer.call(1)
        peer.h2.send_data(1, data, end_stream=True)
        assert fields(await peer.take())["grpc-status"] == str(Status.INTERNAL.value)


async def test_a_unary_request_without_a_message_is_no_fault_of_the_handler(autojump_clock):

    async with peer_and_server(Echo()) as (peer, _):
        peer.h2.send_headers(1, REQUEST, end_stream=True)
        with capture_logs() as logs:
            assert "grpc-status" in fields(await peer.take())
    assert not logs


async def test_a_call_that_a_stopping_server_breaks_off_is_unavailable(autojump_clock):
    class Waiting(Echo):
        async def say(self, _message):
            await trio.sleep_forever()

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_scope, Server([Waiting()]), theirs)
        async with open_channel(ours) as channel:
            nursery.start_soon(cancel_after, 5, server)
            with pytest.raises(RpcError) as failed:
                await Stub(channel).say(Note())
            assert failed.value.status is Status.UNAVAILABLE


async def serve_scope(server, stream, task_status):
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await server.serve_stream(stream)


async def cancel_after(seconds, scope):
    await trio.sleep(seconds)
    scope.cancel()


async def test_an_error_of_the_block_comes_out_though_all_is_cancelled(autojump_clock):
    async def fail(scope):
        async with beside(trio.sleep_forever):
            scope.cancel()
            raise LookupError

    with trio.CancelScope() as scope, pytest.raises(LookupError):
        await fail(scope)


async def test_requests_that_were_waiting_to_be_sent_are_closed_when_the_call_is_left(autojump_clock):
    closed = []

    class Unread(Echo):
        async def chat(self, _messages):
            yield Note()
            await trio.sleep_forever()

    async def requests():
        try:
            while True:
                yield Note(data=bytes(30_000))
        finally:
            closed.append(True)

    async with connected(Unread(), limits=Limits(stream_window=70_000)) as channel:
        async with request(channel, "/echo.Echo/Chat") as call:
            await call.send_request()
            call.feed(requests())
            await call.recv_message()
            await trio.sleep(1)
            await call.cancel()
        await trio.sleep(1)
        assert closed


async def test_no_timeout_has_more_than_eight_digits(autojump_clock):
    async with peer_and_channel() as (peer, channel):
        async with request(channel, timeout=1e9) as call:
            await call.send_request()
            await call.cancel()
        told = fields(await peer.take())["grpc-timeout"]
    assert len(told) <= 9
    assert decode_timeout(told) <= 1e9


async def test_a_call_ends_at_its_deadline_in_one_way_whatever_its_length(autojump_clock):
    class Waiting(Echo):
        async def say(self, _message):
            await trio.sleep_forever()

    async with connected(Waiting()) as channel:
        for timeout in (5, 15, 15.9):
            started = trio.current_time()
            with pytest.raises(RpcUnanswered):
                await Stub(channel).say(Note(), timeout=timeout)
            assert trio.current_time() - started == pytest.approx(timeout)


async def test_a_message_that_ends_with_a_space_fails_its_call_alone(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def answer():
            await peer.take()
            peer.h2.send_headers(1, [*ANSWER, ("grpc-status", "2"), ("grpc-message", "Exception: ")], end_stream=True)
            await peer.take()
            peer.answer(3, Note("y"))
            await peer.send()

        nursery.start_soon(answer)
        with pytest.raises(RpcRefused, match="Exception:"):
            await Stub(channel).say(Note())
        assert await Stub(channel).say(Note()) == Note("y")


async def test_metadata_that_ends_with_a_space_is_no_end_of_the_connection(autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        peer.call(1, Note("x"), {"plain": "value "})
        assert body(await peer.take()) == framed(Note("x"))


@pytest.mark.parametrize(
    "text", ["h#f", " h", "h ", "a b", "h\n", "h\t:80", "h\0", "h:0", "[::1]x:80", "a" * 70, "a..b"]
)
def test_what_is_no_address_is_refused(text):

    with pytest.raises(InvalidAddress):
        Address.parse(text)


async def test_a_call_that_waits_for_a_stream_goes_to_the_next_connection(autojump_clock):
    class Slow(Echo):
        async def say(self, message):
            await trio.sleep(message.number)
            return message

    async with trio.open_nursery() as nursery:
        servers = [Server([Slow()], limits=Limits(max_streams=1)) for _ in range(2)]
        waiting = list(servers)

        async def connect():
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(waiting.pop(0).serve_stream, theirs)
            return ours

        async with (
            ReconnectingChannel(connect, wait_for_ready=True).running() as channel,
            trio.open_nursery() as calls,
        ):
            calls.start_soon(Stub(channel).say, Note(number=100))
            await trio.sleep(1)
            calls.start_soon(Stub(channel).say, Note(number=1))
            await trio.sleep(1)
            calls.start_soon(servers[0].drain, 1000)
        nursery.cancel_scope.cancel()
