"""How calls end before their answer: deadlines, cancellations from either side, and peers that vanish."""

from collections import Counter

import h2.events
import pytest
import trio
import trio.testing
from grpclib.const import Status
from grpclib.metadata import Deadline, decode_timeout
from h2.errors import ErrorCodes

from echo_wire.echo import Note
from echo_wire.ends import (
    ANSWER,
    Echo,
    Method,
    Stub,
    ask,
    collect,
    connected,
    fields,
    framed,
    of_type,
    peer_and_channel,
    peer_and_server,
    request,
)
from lep6.errors import RpcError, RpcUnanswered, RpcUnsent
from lep6.grpc import Limits, Server, open_channel

HOUR = 3600.0


class Waiting(Echo):
    """Answers nothing, and notes when its calls began and were cancelled."""

    def __init__(self):
        self.began = []
        self.cancelled = []

    async def wait(self):
        self.began.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.append(trio.current_time())

    async def say(self, _message):
        await self.wait()

    async def split(self, message):
        yield message
        await self.wait()

    async def join(self, _messages):
        await self.wait()

    async def chat(self, messages):
        async for message in messages:
            yield message
        await self.wait()


@pytest.mark.parametrize(
    "call",
    [
        lambda stub: stub.say(Note(), timeout=HOUR),
        lambda stub: collect(stub.split(Note(), timeout=HOUR), []),
        lambda stub: stub.join([Note()], timeout=HOUR),
        lambda stub: collect(stub.chat([Note()], timeout=HOUR), []),
        lambda stub: Stub(stub.channel, timeout=HOUR).say(Note()),
    ],
)
async def test_a_call_that_is_not_answered_ends_at_its_deadline_on_both_sides(call, autojump_clock):
    service = Waiting()
    async with connected(service) as channel:
        with pytest.raises(RpcUnanswered) as failed:
            await call(Stub(channel))
        assert failed.value.status is Status.DEADLINE_EXCEEDED
        await trio.testing.wait_all_tasks_blocked()
        assert [trio.current_time() - began for began in service.began] == [pytest.approx(HOUR)]
        assert service.cancelled == [pytest.approx(trio.current_time())]


async def test_a_deadline_bounds_the_sending_of_a_request_that_is_not_taken(autojump_clock):
    async with connected(Waiting(), limits=Limits(stream_window=100_000)) as channel:
        started = trio.current_time()
        with pytest.raises(RpcUnanswered) as failed:
            await Stub(channel).join((Note(data=bytes(10_000)) for _ in range(100)), timeout=HOUR)
        assert failed.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(HOUR)


async def test_a_deadline_of_grpclib_bounds_a_call_as_well_as_a_timeout(autojump_clock):
    async with connected(Waiting()) as channel:
        started = trio.current_time()
        with pytest.raises(RpcError) as failed:
            await Stub(channel).say(Note(), timeout=2 * HOUR, deadline=Deadline.from_timeout(HOUR))
        assert failed.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(HOUR, abs=60)


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_call_whose_deadline_has_passed_is_not_made(seconds, autojump_clock):
    service = Waiting()
    async with connected(service) as channel:
        with pytest.raises(RpcUnanswered) as failed:
            await Stub(channel).say(Note(), timeout=seconds)
        assert failed.value.status is Status.DEADLINE_EXCEEDED
        await trio.sleep(1)
    assert not service.began


async def test_the_server_ends_a_call_at_its_deadline_though_the_client_goes_on_waiting(autojump_clock):
    service = Waiting()
    async with peer_and_server(service) as (peer, _):
        peer.call(1, Note(), {"grpc-timeout": "1H"})
        assert not fields(await peer.take(HOUR - 1))
        assert not service.cancelled
        answer = await peer.take(2)
        assert fields(answer)["grpc-status"] == str(Status.DEADLINE_EXCEEDED.value)
        assert of_type(answer, h2.events.StreamEnded)
        assert service.cancelled == [pytest.approx(service.began[0] + HOUR)]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("2H", 7200), ("3M", 180), ("10S", 10), ("99999999m", 99_999.999), ("1500000u", 1.5), ("99999999n", 0.099999999)],
)
async def test_a_handler_knows_its_deadline_in_whatever_unit_it_was_told(header, seconds, autojump_clock):
    remaining = []

    async def handle(call):
        remaining.append(call.deadline.time_remaining())
        await trio.sleep_forever()

    async with peer_and_server(Method(handle), limits=Limits(max_age=1e6)) as (peer, _):
        peer.call(1, Note(), {":path": Method.PATH, "grpc-timeout": header})
        answer = await peer.take(seconds + 1)
    assert remaining == [pytest.approx(seconds)]
    assert fields(answer)["grpc-status"] == str(Status.DEADLINE_EXCEEDED.value)


async def test_a_handler_whose_caller_waits_for_ever_has_no_deadline(autojump_clock):
    deadlines = []

    async def handle(call):
        deadlines.append(call.deadline)
        await call.send_message(Note())

    async with connected(Method(handle)) as channel:
        await ask(channel, Method.PATH)
    assert deadlines == [None]


@pytest.mark.parametrize("seconds", [1e-6, 0.001, 0.3, 1, 9.5, 59, HOUR, 7.3 * 86_400, 9e7])
async def test_the_server_is_told_nearly_all_the_time_that_there_is_and_no_more(seconds, autojump_clock):
    async with peer_and_channel() as (peer, channel):
        async with request(channel, timeout=seconds) as call:
            await call.send_request()
            await call.cancel()
        told = fields(await peer.take())["grpc-timeout"]
    assert len(told) <= 9
    assert 0.9 * seconds <= decode_timeout(told) <= seconds


async def test_cancelling_a_call_resets_its_stream_and_cancels_its_handler_alone(autojump_clock):
    service = Waiting()
    async with connected(service) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(Stub(channel).say, Note())
        await trio.sleep(1)
        with trio.move_on_after(5):
            await Stub(channel).say(Note())
        await trio.testing.wait_all_tasks_blocked()
        assert service.cancelled == [pytest.approx(service.began[1] + 5)]
        nursery.cancel_scope.cancel()


async def test_the_reset_of_a_cancelled_call_says_so(autojump_clock):
    async with peer_and_channel() as (peer, channel):
        with trio.move_on_after(5):
            await Stub(channel).say(Note())
        resets = of_type(await peer.take(), h2.events.StreamReset)
        assert [event.error_code for event in resets] == [ErrorCodes.CANCEL]


async def test_a_handler_may_break_its_call_off(autojump_clock):
    async def handle(call):
        await call.cancel()

    async with connected(Method(handle)) as channel:
        with pytest.raises(RpcUnanswered) as failed:
            await ask(channel, Method.PATH)
        assert failed.value.status is Status.CANCELLED


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCodes.CANCEL, Status.CANCELLED),
        (ErrorCodes.ENHANCE_YOUR_CALM, Status.RESOURCE_EXHAUSTED),
        (ErrorCodes.INADEQUATE_SECURITY, Status.PERMISSION_DENIED),
        (ErrorCodes.INTERNAL_ERROR, Status.INTERNAL),
        (0xBEEF, Status.INTERNAL),
    ],
)
async def test_a_stream_that_the_server_resets_is_not_answered(code, status, autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def reset():
            await peer.take()
            peer.h2.send_headers(1, ANSWER)
            peer.h2.send_data(1, framed(Note("x"))[:-1])
            peer.h2.reset_stream(1, code)
            await peer.send()

        nursery.start_soon(reset)
        with pytest.raises(RpcUnanswered) as failed:
            await Stub(channel).say(Note())
        assert (type(failed.value), failed.value.status) == (RpcUnanswered, status)


async def test_a_client_that_vanishes_has_its_handlers_cancelled(autojump_clock):
    service = Waiting()
    ours, theirs = trio.testing.memory_stream_pair()

    async def vanish():
        async with open_channel(ours) as channel, trio.open_nursery() as calls:
            for kind in (Stub(channel).say(Note()), Stub(channel).join([Note()])):
                calls.start_soon(outcome_of, kind)
            await trio.sleep(10)
            await ours.aclose()

    with trio.fail_after(HOUR):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(vanish)
            await Server([service]).serve_stream(theirs)
    assert len(service.began) == 2
    assert service.cancelled == [pytest.approx(service.began[0] + 10)] * 2


async def outcome_of(call):
    """What a call failed with."""
    try:
        await call
    except RpcError as error:
        return error


async def test_a_server_that_vanishes_leaves_calls_unanswered_and_new_ones_unsent(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def vanish():
            await peer.take()
            peer.h2.send_headers(1, ANSWER)
            peer.h2.send_data(1, framed(Note("x")) + framed(Note("y"))[:-1])
            await peer.send()
            await trio.sleep(10)
            await peer.stream.aclose()

        nursery.start_soon(vanish)
        received, started = [], trio.current_time()
        with pytest.raises(RpcUnanswered) as failed:
            await collect(Stub(channel).split(Note()), received)
        assert (type(failed.value), failed.value.status) == (RpcUnanswered, Status.UNAVAILABLE)
        assert received == [Note("x")]
        assert trio.current_time() - started < 15
        with pytest.raises(RpcUnsent) as failed:
            await Stub(channel).say(Note())
        assert failed.value.status is Status.UNAVAILABLE


async def test_every_call_waiting_for_a_stream_is_unsent_when_the_server_vanishes(autojump_clock):
    service = Waiting()
    ours, theirs = trio.testing.memory_stream_pair()
    failures = []

    async def call(channel):
        failures.append(await outcome_of(Stub(channel).say(Note())))

    with trio.fail_after(HOUR):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server([service], limits=Limits(max_streams=1)).serve_stream, theirs)
            async with open_channel(ours) as channel, trio.open_nursery() as calls:
                for _ in range(3):
                    calls.start_soon(call, channel)
                await trio.sleep(10)
                assert len(service.began) == 1
                await theirs.aclose()
    assert Counter(map(type, failures)) == {RpcUnanswered: 1, RpcUnsent: 2}


async def test_a_unary_call_that_is_left_unanswered_holds_no_stream(autojump_clock):
    service = Waiting()
    async with connected(service, Method(answer), limits=Limits(max_streams=1)) as channel:
        for _ in range(3):
            with trio.move_on_after(1):
                await Stub(channel).say(Note())
            await trio.sleep(1)
        assert await ask(channel, Method.PATH) == Note("x")
    assert len(service.cancelled) == 3


async def answer(call):
    await call.send_message(Note("x"))
