"""Calls between our client and our server: what is said reaches the other side, answers and refusals alike."""

from contextlib import suppress

import h2.events
import pytest
import trio
import trio.testing
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError
from structlog.testing import capture_logs

from echo_wire.echo import Note
from echo_wire.ends import (
    ANSWER,
    OK,
    Echo,
    Method,
    Stub,
    ask,
    body,
    collect,
    connected,
    fields,
    framed,
    of_type,
    peer_and_channel,
    peer_and_server,
    request,
)
from lep6.errors import RpcError, RpcRefused, RpcUnanswered
from lep6.grpc import Limits, Request

TEXT = "straße 100 % ☃\nsecond line"


async def test_every_kind_of_call_gives_its_replies(autojump_clock):
    notes = [Note(f"note {number}", bytes([number]) * 1000, number) for number in range(20)]

    async def later():
        for note in notes:
            await trio.sleep(1)
            yield note

    async with connected(Echo()) as channel:
        stub = Stub(channel)
        assert await stub.say(notes[3]) == notes[3]
        assert [part.number async for part in stub.split(Note("x", number=5))] == [0, 1, 2, 3, 4]
        assert [part async for part in stub.split(Note("x", number=0))] == []
        assert (await stub.join(notes)).data == b"".join(note.data for note in notes)
        assert (await stub.join([])).number == 0
        assert [reply async for reply in stub.chat(notes)] == notes
        assert [reply async for reply in stub.chat(later())] == notes


async def test_calls_run_beside_each_other(autojump_clock):
    class Slow(Echo):
        async def say(self, message):
            await trio.sleep(message.number)
            return message

    async with connected(Slow()) as channel:
        ended = []

        async def call(seconds):
            await Stub(channel).say(Note(number=seconds))
            ended.append(seconds)

        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for seconds in (30, 10, 20):
                nursery.start_soon(call, seconds)
        assert ended == [10, 20, 30]
        assert trio.current_time() - started == pytest.approx(30)


async def test_metadata_goes_both_ways_and_trailers_come_last(autojump_clock):
    sent = [("plain", "a value"), ("plain", "another"), ("raw-bin", bytes(range(256))), ("empty-bin", b"")]

    async def handle(call):
        await call.send_initial_metadata(metadata=call.metadata)
        await call.send_message(await call.recv_message())
        await call.send_trailing_metadata(metadata={"last-bin": b"\0\xff", "last": "word"})

    async with connected(Method(handle)) as channel, request(channel, metadata=sent) as call:
        await call.send_message(Note("x"), end=True)
        await call.recv_initial_metadata()
        assert list(call.initial_metadata.items()) == sent
        assert call.trailing_metadata is None
        assert await call.recv_message() == Note("x")
        assert await call.recv_message() is None
        assert dict(call.trailing_metadata) == {"last-bin": b"\0\xff", "last": "word"}


async def test_a_generated_service_finds_the_request_that_its_task_answers(autojump_clock):
    class Named(Echo):
        async def say(self, _message):
            await trio.sleep(1)
            return Note(Request.current().metadata["name"])

    async with connected(Named()) as channel:
        answers = {}

        async def call(name):
            answers[name] = (await Stub(channel).say(Note(), metadata={"name": name})).text

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(call, name)
        assert answers == {name: name for name in "abc"}


@pytest.mark.parametrize("refuse", [GRPCError, RpcRefused])
@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
async def test_a_status_that_a_handler_raises_reaches_the_caller_with_its_message(refuse, status, autojump_clock):
    class Refusing(Echo):
        async def say(self, message):
            raise refuse(status, message.text)

        async def split(self, message):
            yield message
            raise refuse(status, message.text)

    async with connected(Refusing()) as channel:
        for text in (TEXT, ""):
            with pytest.raises(RpcRefused) as refused:
                await Stub(channel).say(Note(text))
            assert (refused.value.status, refused.value.message) == (status, text)
        received = []
        with pytest.raises(RpcRefused) as refused:
            await collect(Stub(channel).split(Note(TEXT)), received)
        assert (refused.value.status, refused.value.message) == (status, TEXT)
        assert received == [Note(TEXT)]


async def test_a_handler_that_fails_ends_its_own_call_and_no_other(autojump_clock):
    class Failing(Echo):
        async def say(self, message):
            await trio.sleep(10)
            if message.text:
                return message
            raise ZeroDivisionError("a secret")

    async with connected(Failing()) as channel:

        async def other():
            assert await Stub(channel).say(Note("x")) == Note("x")

        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other)
                await trio.sleep(5)
                with pytest.raises(RpcRefused) as refused:
                    await Stub(channel).say(Note())
        assert refused.value.status is Status.INTERNAL
        assert "secret" not in refused.value.message
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [("handler_failed", "error")]
        assert await Stub(channel).say(Note("x")) == Note("x")


async def test_a_handler_that_gives_no_reply_where_one_is_due_is_internal(autojump_clock):
    async def handle(call):
        await call.recv_message()

    async with connected(Method(handle, Cardinality.UNARY_UNARY)) as channel:
        with pytest.raises(RpcRefused, match="no reply") as refused:
            await ask(channel, Method.PATH)
        assert refused.value.status is Status.INTERNAL


async def test_an_unknown_method_is_unimplemented(autojump_clock):
    async with connected(Echo()) as channel:
        with pytest.raises(RpcRefused) as refused:
            await ask(channel, "/echo.Echo/Nothing")
        assert refused.value.status is Status.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("changed", "http", "status"),
    [
        ({":method": "GET"}, "405", None),
        ({"content-type": "application/json"}, "415", None),
        ({"content-type": None}, "415", None),
        ({"content-type": "application/grpc+json"}, "415", None),
        ({"te": None}, "200", Status.INVALID_ARGUMENT),
        ({"grpc-encoding": "gzip"}, "200", Status.UNIMPLEMENTED),
        ({"grpc-timeout": "soon"}, "200", Status.INVALID_ARGUMENT),
        ({"grpc-timeout": "-1S"}, "200", Status.INVALID_ARGUMENT),
        ({"raw-bin": "AAAAA"}, "200", Status.INVALID_ARGUMENT),
        ({":path": "/"}, "200", Status.UNIMPLEMENTED),
    ],
)
async def test_a_request_that_is_not_grpc_as_it_should_be_is_refused(changed, http, status, autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        peer.call(1, Note("x"), changed)
        answer = fields(await peer.take())
        assert answer[":status"] == http
        assert answer.get("grpc-status") == (None if status is None else str(status.value))
        peer.call(3, Note("x"))
        assert body(await peer.take()) == framed(Note("x"))


@pytest.mark.parametrize("cut", [b"\0", framed(Note("x"))[:4], framed(Note("x"))[:-1]])
async def test_a_request_that_is_cut_off_in_its_message_never_reaches_the_handler(cut, autojump_clock):
    received = []

    async def handle(call):
        received.append(await call.recv_message())

    async with peer_and_server(Method(handle), Echo()) as (peer, _):
        peer.call(1, None, {":path": Method.PATH})
        peer.h2.send_data(1, cut, end_stream=True)
        assert of_type(await peer.take(), h2.events.StreamReset, h2.events.StreamEnded)
        peer.call(3, Note("x"))
        assert body(await peer.take()) == framed(Note("x"))
    assert not received


async def test_a_compressed_request_is_unimplemented(autojump_clock):
    async with peer_and_server(Echo()) as (peer, _):
        peer.call(1)
        peer.h2.send_data(1, framed(Note("x"), flag=1), end_stream=True)
        assert fields(await peer.take())["grpc-status"] == str(Status.UNIMPLEMENTED.value)


async def test_a_request_that_announces_too_much_is_refused_before_it_has_come(autojump_clock):
    async with peer_and_server(Echo(), limits=Limits(max_message=1000)) as (peer, _):
        peer.call(1)
        peer.h2.send_data(1, b"\0" + (1001).to_bytes(4, "big"))
        assert fields(await peer.take())["grpc-status"] == str(Status.RESOURCE_EXHAUSTED.value)
        peer.call(3)
        peer.h2.send_data(3, b"\0\xff\xff\xff\xff")
        assert fields(await peer.take())["grpc-status"] == str(Status.RESOURCE_EXHAUSTED.value)


async def test_a_message_may_be_as_large_as_the_limit_and_no_larger_either_way(autojump_clock):
    def sized(size):
        note = Note(data=bytes(size))
        return Note(data=bytes(2 * size - len(bytes(note))))

    small, large = Limits(max_message=100_000), Limits(max_message=200_000)
    largest, larger = sized(100_000), sized(100_001)
    assert (len(bytes(largest)), len(bytes(larger))) == (100_000, 100_001)

    class Growing(Echo):
        async def say(self, message):
            return larger if message.text else message

    for limits, client_limits in ((small, large), (large, small)):
        async with connected(Growing(), limits=limits, client_limits=client_limits) as channel:
            assert await Stub(channel).say(largest) == largest
            for message in (larger, Note("grow")):
                with pytest.raises(RpcError) as refused:
                    await Stub(channel).say(message)
                assert refused.value.status is Status.RESOURCE_EXHAUSTED
            assert await Stub(channel).say(largest) == largest


@pytest.mark.parametrize(
    ("head", "data", "trailers", "failure"),
    [
        ([(":status", "404"), ("content-type", "text/html")], b"<p>", None, (RpcRefused, Status.UNIMPLEMENTED)),
        ([(":status", "401")], b"", None, (RpcRefused, Status.UNAUTHENTICATED)),
        ([(":status", "503"), ("content-type", "text/html")], b"", None, (RpcRefused, Status.UNAVAILABLE)),
        ([(":status", "418")], b"", None, (RpcRefused, Status.UNKNOWN)),
        ([(":status", "200"), ("content-type", "text/html")], b"<p>", None, (RpcRefused, Status.UNKNOWN)),
        (ANSWER, framed(Note("x")), [("grpc-status", "5")], (RpcRefused, Status.NOT_FOUND)),
        (ANSWER, framed(Note("x")), [("grpc-status", "99")], (RpcRefused, Status.UNKNOWN)),
        (ANSWER, framed(Note("x")), [("grpc-status", "no")], (RpcRefused, Status.UNKNOWN)),
        (ANSWER, framed(Note("x")), [("other", "1")], (RpcRefused, Status.UNKNOWN)),
        (ANSWER, framed(Note("x")), None, (RpcUnanswered, Status.UNKNOWN)),
        (ANSWER, b"", None, (RpcUnanswered, Status.UNKNOWN)),
        (ANSWER, framed(Note("x"))[:-1], OK, (RpcUnanswered, Status.INTERNAL)),
        (ANSWER, framed(Note("x"))[:3], OK, (RpcUnanswered, Status.INTERNAL)),
        (ANSWER, framed(Note("x"))[:3], [("grpc-status", "5")], (RpcRefused, Status.NOT_FOUND)),
        (ANSWER, framed(Note("x"), flag=1), OK, (RpcUnanswered, Status.UNIMPLEMENTED)),
        (ANSWER, framed(b"\x0a\x7fcut"), OK, (RpcUnanswered, Status.INTERNAL)),
        (ANSWER, framed(b"\x0a\x01\xff"), OK, (RpcUnanswered, Status.INTERNAL)),
        (ANSWER, b"\0\xff\xff\xff\xff", OK, (RpcUnanswered, Status.RESOURCE_EXHAUSTED)),
        ([*ANSWER, ("grpc-status", "7"), ("grpc-message", "%zz%C3%A9%FF")], b"", None, (RpcRefused, Status(7))),
    ],
)
async def test_an_answer_that_is_no_answer_fails_the_call_and_leaves_the_connection(
    head, data, trailers, failure, autojump_clock
):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def answer():
            await peer.take()
            peer.h2.send_headers(1, head, end_stream=not data and trailers is None)
            if data:
                peer.h2.send_data(1, data, end_stream=trailers is None)
            if trailers is not None:
                peer.h2.send_headers(1, trailers, end_stream=True)
            await peer.take()
            peer.answer(3, Note("y"))
            await peer.take()

        nursery.start_soon(answer)
        with pytest.raises(RpcError) as failed:
            await Stub(channel).say(Note("x"))
        assert (type(failed.value), failed.value.status) == failure
        assert await Stub(channel).say(Note("x")) == Note("y")


async def test_a_message_of_broken_percent_encoding_is_shown_as_far_as_it_can_be(autojump_clock):
    async with peer_and_channel() as (peer, channel), trio.open_nursery() as nursery:

        async def answer():
            await peer.take()
            peer.h2.send_headers(1, [*ANSWER, ("grpc-status", "7"), ("grpc-message", "%zz%C3%A9%FF")], end_stream=True)
            await peer.send()

        nursery.start_soon(answer)
        with pytest.raises(RpcRefused) as refused:
            await Stub(channel).say(Note("x"))
        assert refused.value.message == "%zzé\N{REPLACEMENT CHARACTER}"


async def test_an_error_of_the_requests_iterator_comes_out_of_the_call_and_gives_it_up(autojump_clock):
    ended = trio.Event()

    class Watching(Echo):
        async def chat(self, messages):
            try:
                async for message in messages:
                    yield message
            finally:
                ended.set()

    async def requests():
        yield Note("first")
        await trio.sleep(1)
        raise LookupError("no more")

    async with connected(Watching()) as channel:
        received = []
        with pytest.raises(LookupError, match="no more"):
            await collect(Stub(channel).chat(requests()), received)
        assert received == [Note("first")]
        await ended.wait()
        assert await Stub(channel).say(Note("x")) == Note("x")


async def test_requests_are_no_longer_made_once_the_call_is_left(autojump_clock):
    stopped = trio.Event()

    async def requests():
        try:
            for number in range(1_000_000):
                yield Note(number=number)
                await trio.sleep(1)
        finally:
            stopped.set()

    async with connected(Echo()) as channel:
        async with request(channel, "/echo.Echo/Chat") as call:
            await call.send_request()
            call.feed(requests())
            assert [(await call.recv_message()).number for _ in range(3)] == [0, 1, 2]
            await call.cancel()
        with trio.fail_after(1):
            await stopped.wait()


async def test_requests_are_no_longer_made_once_the_server_has_refused(autojump_clock):
    made = []

    class Refusing(Echo):
        async def chat(self, messages):
            async for message in messages:
                if message.number == 2:
                    raise GRPCError(Status.OUT_OF_RANGE, "enough")
                yield message

    async def requests():
        for number in range(1_000_000):
            made.append(number)
            yield Note(number=number)
            await trio.sleep(1)

    async with connected(Refusing()) as channel:
        with pytest.raises(RpcRefused, match="enough"):
            await collect(Stub(channel).chat(requests()), [])
        await trio.sleep(10)
        assert made == [0, 1, 2]


async def test_replies_are_closed_as_soon_as_the_caller_has_gone(autojump_clock):
    ended = []

    class Watching(Echo):
        async def split(self, message):
            try:
                while True:
                    yield message
                    await trio.sleep(1)
            finally:
                ended.append(trio.current_time())

    async with connected(Watching()) as channel:
        started = trio.current_time()
        with trio.move_on_after(9.5):
            async for _ in Stub(channel).split(Note("x")):
                pass
        await trio.testing.wait_all_tasks_blocked()
        assert ended == [pytest.approx(started + 9.5)]


async def test_leaving_a_channel_ends_its_open_calls(autojump_clock):
    outcome = []

    class Waiting(Echo):
        async def say(self, _message):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery, connected(Waiting()) as channel:

        async def call():
            with suppress(RpcUnanswered):
                await Stub(channel).say(Note())
            outcome.append("ended")

        nursery.start_soon(call)
        await trio.sleep(1)
    assert outcome == ["ended"]
