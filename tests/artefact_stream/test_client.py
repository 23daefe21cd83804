"""What a client makes of a healer: a whole file, or a `FetchFailed` of the right kind and nothing else."""

import gc
import tracemalloc
from contextlib import asynccontextmanager, suppress

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
    OP,
    STRANGER,
    VERIFIER,
    Encoded,
    Reply,
    Scripted,
    a_node,
    hang,
    on_loopback,
    refusing,
    replies,
    sending,
    service,
    stage,
    vanish,
)
from lep6 import _core
from lep6.artefact_stream import ArtefactClient
from lep6.artefact_stream.client import STALL_SECONDS
from lep6.cascade.commitment import commit
from lep6.cascade.metadata import read_metadata
from lep6.errors import FetchFailed, FetchFailure, RpcRefused, RpcUnanswered, RpcUnsent
from lep6.grpc import Limits, open_channel
from world import a_world, noise

DATA = b"0123456789"
WHOLE = [Reply(b"01234", 10), Reply(b"56789", is_last=True)]


@define
class Fetched:
    """How a fetch went: what was given, and how it ended."""

    chunks: list = field(factory=list)
    failure: FetchFailed | None = None
    is_whole: bool = False
    seconds: float = 0.0

    @property
    def kind(self):
        return self.failure and self.failure.kind

    @property
    def data(self):
        return b"".join(self.chunks)


async def fetch_with(client, *, op=OP, size_bound=ANY_SIZE):
    fetched, began = Fetched(), trio.current_time()
    try:
        async with client.open(op, size_bound=size_bound) as chunks:
            async for chunk in chunks:
                fetched.chunks.append(chunk)
            fetched.is_whole = True
    except FetchFailed as error:
        fetched.failure = error
    fetched.seconds = trio.current_time() - began
    return fetched


async def fetch(play, **options):
    """Fetch from a healer that follows a script."""
    async with a_node(Scripted(play)) as node:
        return await fetch_with(node.client(), **options)


def failed(fetched, kind, given=b""):
    return (fetched.kind, fetched.data, fetched.is_whole) == (kind, given, False)


# A whole file.


@pytest.mark.parametrize("size", [1, 3, 9, 10])
async def test_chunks_of_any_size_make_a_file(size, autojump_clock):
    fetched = await fetch(sending(*replies(DATA, size)))
    assert (fetched.data, fetched.failure, fetched.is_whole) == (DATA, None, True)


async def test_the_size_may_be_repeated_in_every_message(autojump_clock):
    fetched = await fetch(sending(*[evolve_reply(reply, 10) for reply in replies(DATA, 3)]))
    assert (fetched.data, fetched.is_whole) == (DATA, True)


def evolve_reply(reply, total_size):
    return Reply(reply.chunk, total_size, reply.is_last)


async def test_fields_that_a_newer_healer_may_send_are_passed_over(autojump_clock):
    newer = [Encoded(reply.SerializeToString() + b"\x22\x03abc\x28\x07") for reply in replies(DATA, 4)]
    fetched = await fetch(sending(*newer))
    assert (fetched.data, fetched.is_whole) == (DATA, True)


@given(data=st.binary(min_size=1, max_size=300), sizes=st.lists(st.integers(1, 60), min_size=300, max_size=300))
def test_any_cut_of_a_file_gives_the_file(data, sizes):
    messages, at = [], 0
    for size in sizes:
        if at < len(data):
            messages.append(Reply(data[at : at + size], 0 if at else len(data), at + size >= len(data)))
            at += size
    clock = trio.testing.MockClock(autojump_threshold=0)
    fetched = trio.run(fetch, sending(*messages), clock=clock)
    assert (fetched.data, fetched.is_whole) == (data, True)


async def test_the_last_chunk_is_given_only_when_the_healer_has_said_that_all_is_well(autojump_clock):
    go_on = trio.Event()

    async def wait(_):
        await go_on.wait()

    async with a_node(Scripted(sending(*WHOLE, then=wait))) as node, node.open() as chunks:
        assert await anext(chunks) == b"01234"
        with trio.move_on_after(30) as scope:
            await chunks.__anext__()
        assert scope.cancelled_caught
        go_on.set()


async def test_the_request_names_the_op_and_the_account_of_the_verifier(autojump_clock):
    healer = Scripted(sending(*WHOLE))
    async with a_node(healer) as node:
        await fetch_with(node.client("lumera1me"), op=evolve(OP, op_id=77))
    ((heal_op_id, verifier_account),) = [(asked.heal_op_id, asked.verifier_account) for asked in healer.heard]
    assert (heal_op_id, verifier_account) == (77, "lumera1me")


# Streams that are not that of a file.

WRONG = {
    "no message at all": ([], FetchFailure.TRUNCATED, b""),
    "no size": ([Reply(b"01234")], FetchFailure.MALFORMED, b""),
    "no size and the end": ([Reply(b"01234", is_last=True)], FetchFailure.MALFORMED, b""),
    "an empty file": ([Reply(b"", 0, is_last=True)], FetchFailure.MALFORMED, b""),
    "the size in the second message": ([Reply(b"01234"), Reply(b"56789", 10, True)], FetchFailure.MALFORMED, b""),
    "the size in a message of its own": ([Reply(b"", 10), *WHOLE], FetchFailure.MALFORMED, b""),
    "another size later": ([Reply(b"01234", 10), Reply(b"56789", 11, True)], FetchFailure.MALFORMED, b"01234"),
    "an empty chunk": ([Reply(b"01234", 10), Reply(b""), Reply(b"56789", 0, True)], FetchFailure.MALFORMED, b"01234"),
    "an empty end": ([Reply(b"01234", 10), Reply(b"56789"), Reply(b"", 0, True)], FetchFailure.MALFORMED, b"01234"),
    "the end too early": ([Reply(b"01234", 10), Reply(b"5678", 0, True)], FetchFailure.MALFORMED, b"01234"),
    "the end at once": ([Reply(b"01234", 10, True)], FetchFailure.MALFORMED, b""),
    "more than the size, and the end": (
        [Reply(b"01234", 10), Reply(b"56789a", 0, True)],
        FetchFailure.MALFORMED,
        b"01234",
    ),
    "more than the size at once, and the end": ([Reply(b"0123456789a", 10, True)], FetchFailure.MALFORMED, b""),
    "no mark at the end": ([Reply(b"01234", 10), Reply(b"56789")], FetchFailure.MALFORMED, b"01234"),
    "more after the end": ([*WHOLE, Reply(b"a")], FetchFailure.MALFORMED, b"01234"),
    "the end twice": ([*WHOLE, WHOLE[1]], FetchFailure.MALFORMED, b"01234"),
    "an empty message after the end": ([*WHOLE, Reply()], FetchFailure.MALFORMED, b"01234"),
    "OK before the end": ([Reply(b"01234", 10)], FetchFailure.TRUNCATED, b"01234"),
    "OK before the last byte": ([Reply(b"012345678", 10)], FetchFailure.TRUNCATED, b"012345678"),
}


@pytest.mark.parametrize(("messages", "kind", "given"), WRONG.values(), ids=WRONG)
async def test_a_stream_that_is_wrong_is_no_file(messages, kind, given, autojump_clock):
    assert failed(await fetch(sending(*messages)), kind, given)


@pytest.mark.parametrize(("messages", "kind", "given"), WRONG.values(), ids=WRONG)
async def test_a_stream_that_is_wrong_and_goes_on_is_left_at_once(messages, kind, given, autojump_clock):
    left = trio.Event()

    async def hold(_):
        try:
            await trio.sleep_forever()
        finally:
            left.set()

    fetched = await fetch(sending(*messages, then=hold))
    if kind is FetchFailure.TRUNCATED:
        kind = FetchFailure.STALLED
    else:
        assert fetched.seconds < 1
    assert failed(fetched, kind, given)
    assert left.is_set()


async def test_the_detail_of_a_failure_says_how_far_it_came(autojump_clock):
    fetched = await fetch(sending(Reply(b"01234", 10)))
    assert str(fetched.failure) == (
        "the stream ended before the file did: heal op 5, 5 of 10 bytes: the stream ended without its last chunk"
    )


# The bound.


@pytest.mark.parametrize(("size_bound", "kind"), [(9, FetchFailure.MALFORMED), (10, None), (11, None)])
async def test_a_file_has_at_most_the_bytes_of_the_bound(size_bound, kind, autojump_clock):
    fetched = await fetch(sending(*WHOLE), size_bound=size_bound)
    assert fetched.kind is kind
    assert fetched.data == (b"" if kind else DATA)


@pytest.mark.parametrize("total_size", [_core.MAX_FILE_SIZE + 1, 4 << 30, (1 << 64) - 1])
async def test_no_size_is_believed_that_no_file_can_have(total_size, autojump_clock):
    fetched = await fetch(sending(Reply(b"0", total_size), then=hang))
    assert failed(fetched, FetchFailure.MALFORMED)


async def test_a_size_at_the_bound_reserves_no_memory(autojump_clock):
    async with a_node(Scripted(sending(Reply(b"0", _core.MAX_FILE_SIZE)))) as node:
        gc.collect()
        tracemalloc.start()
        try:
            fetched = await fetch_with(node.client(), size_bound=_core.MAX_FILE_SIZE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert failed(fetched, FetchFailure.TRUNCATED, b"0")
    assert peak < 4 * MIB


async def test_a_commitment_bounds_the_file(tmp_path, autojump_clock):
    """4 chunks of 256 bytes: a file of 1000 has at most 1024."""
    path = tmp_path / "file"
    path.write_bytes(noise(1000))
    bound = commit(path, _core.Job()).size_bound
    for size, kind in ((1024, None), (1025, FetchFailure.MALFORMED)):
        assert (await fetch(sending(*replies(noise(size), 600)), size_bound=bound)).kind is kind


async def test_the_bound_of_a_registered_action_lets_its_file_through(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(70_000)) as world:
        bound = read_metadata(world.registered.action).size_bound
        assert bound == 81_920
        for size, is_whole in ((70_000, True), (81_920, True), (81_921, False)):
            stage(tmp_path / str(size), noise(size))
            async with a_node(service(tmp_path / str(size))) as node:
                fetched = await fetch_with(node.client(), size_bound=bound)
            assert (fetched.is_whole, fetched.kind) == (is_whole, None if is_whole else FetchFailure.MALFORMED)


# Statuses.

KINDS = {
    Status.FAILED_PRECONDITION: FetchFailure.NOT_READY,
    Status.NOT_FOUND: FetchFailure.NOT_READY,
    Status.RESOURCE_EXHAUSTED: FetchFailure.NOT_READY,
    Status.UNAVAILABLE: FetchFailure.UNREACHABLE,
    Status.DATA_LOSS: FetchFailure.DAMAGED,
    **dict.fromkeys(
        [
            Status.CANCELLED,
            Status.UNKNOWN,
            Status.INVALID_ARGUMENT,
            Status.DEADLINE_EXCEEDED,
            Status.ALREADY_EXISTS,
            Status.PERMISSION_DENIED,
            Status.ABORTED,
            Status.OUT_OF_RANGE,
            Status.UNIMPLEMENTED,
            Status.INTERNAL,
            Status.UNAUTHENTICATED,
        ],
        FetchFailure.REFUSED,
    ),
}


def test_every_status_but_ok_has_its_kind():
    assert KINDS.keys() | {Status.OK} == set(Status)


@pytest.mark.parametrize(("status", "kind"), KINDS.items(), ids=lambda value: value.name)
@pytest.mark.parametrize(("messages", "given"), [([], b""), (WHOLE[:1], b"01234"), (WHOLE, b"01234")])
async def test_each_status_of_a_healer_is_told_as_its_kind(status, kind, messages, given, autojump_clock):
    fetched = await fetch(sending(*messages, then=refusing(status)))
    assert failed(fetched, kind, given)
    assert status.name in str(fetched.failure)
    assert fetched.seconds < 1


async def test_a_healer_without_the_service_refuses(autojump_clock):
    async with a_node() as node:
        fetched = await fetch_with(node.client())
    assert failed(fetched, FetchFailure.REFUSED)


# Lost connections.


@pytest.mark.parametrize(
    ("messages", "kind", "given"),
    [
        ([], FetchFailure.UNREACHABLE, b""),
        (WHOLE[:1], FetchFailure.TRUNCATED, b"01234"),
        (WHOLE, FetchFailure.TRUNCATED, b"01234"),
    ],
    ids=["before the first byte", "in the middle", "before the status"],
)
async def test_a_connection_that_is_lost_gives_no_file(messages, kind, given, autojump_clock):
    fetched = await fetch(sending(*messages, then=vanish))
    assert failed(fetched, kind, given)
    assert fetched.seconds < 10


async def reset(asked):
    await asked.cancel()


@pytest.mark.parametrize(
    ("messages", "kind", "given"),
    [([], FetchFailure.UNREACHABLE, b""), (WHOLE[:1], FetchFailure.TRUNCATED, b"01234")],
)
async def test_a_stream_that_the_healer_resets_gives_no_file(messages, kind, given, autojump_clock):
    assert failed(await fetch(sending(*messages, then=reset)), kind, given)


def raw(content, then):
    """Bytes in the place of messages."""

    async def play(asked):
        await asked.send_initial_metadata()
        await asked._stream.send_data(content)
        await then(asked)

    return play


async def end(_):
    pass


HALF = b"\0" + (100).to_bytes(4, "big") + b"half a message"


@pytest.mark.parametrize("then", [vanish, reset, end], ids=["vanish", "reset", "end"])
@pytest.mark.parametrize("content", [b"\0", b"\0\0\0\0", HALF])
async def test_a_message_that_breaks_off_gives_no_file(content, then, autojump_clock):
    assert failed(await fetch(raw(content, then)), FetchFailure.UNREACHABLE)


async def test_a_message_that_breaks_off_in_the_middle_of_a_file_gives_no_file(autojump_clock):
    for then in (vanish, reset, end):
        fetched = await fetch(sending(WHOLE[0], then=raw_after(HALF, then)))
        assert failed(fetched, FetchFailure.TRUNCATED, b"01234")


def raw_after(content, then):
    async def play(asked):
        await asked._stream.send_data(content)
        await then(asked)

    return play


GARBAGE = [b"\x0a", b"\x0a\x81", b"\xff" * 40, b"\x10" + b"\xff" * 20, b"\x07\x07\x07", noise(500)]


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: content[:4].hex())
@pytest.mark.parametrize(("messages", "given"), [([], b""), (WHOLE[:1], b"01234")])
async def test_bytes_that_are_no_message_give_no_file(content, messages, given, autojump_clock):
    fetched = await fetch(sending(*messages, Encoded(content), then=hang))
    assert isinstance(fetched.failure, FetchFailed)
    assert (fetched.data, fetched.is_whole) == (given, False)


# Healers that cannot be reached.


def connecting(error):
    @asynccontextmanager
    async def connect(_):
        raise error
        yield

    return connect


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError(),
        OSError("all attempts to connect to 10.0.0.9:4444 failed"),
        trio.TooSlowError(),
        trio.BrokenResourceError(),
        RpcUnsent(Status.UNAVAILABLE, "no word of HTTP/2 within 20 s"),
        RpcUnanswered(Status.UNAVAILABLE, "the connection broke"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_healer_that_cannot_be_reached_is_told_so(error, autojump_clock):
    fetched = await fetch_with(ArtefactClient(VERIFIER, connecting(error)))
    assert failed(fetched, FetchFailure.UNREACHABLE)
    assert fetched.failure.__cause__ is error


async def test_a_port_that_nobody_listens_on_is_unreachable():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()

    @asynccontextmanager
    async def connect(_):
        async with open_channel(await trio.open_tcp_stream("127.0.0.1", port)) as channel:
            yield channel

    with trio.fail_after(10):
        assert failed(await fetch_with(ArtefactClient(VERIFIER, connect)), FetchFailure.UNREACHABLE)


async def test_something_else_than_a_healer_is_unreachable(autojump_clock):
    async def speak_http(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    assert failed(await fetch_from(speak_http), FetchFailure.UNREACHABLE)


async def test_a_healer_that_never_says_a_word_is_unreachable(autojump_clock):
    fetched = await fetch_from(hang)
    assert failed(fetched, FetchFailure.UNREACHABLE)
    assert fetched.seconds < STALL_SECONDS


async def fetch_from(peer):
    """Fetch from something at the other end of a stream."""

    @asynccontextmanager
    async def connect(_):
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(peer, theirs)
        async with open_channel(ours) as channel:
            yield channel

    async with trio.open_nursery() as nursery:
        fetched = await fetch_with(ArtefactClient(VERIFIER, connect))
        nursery.cancel_scope.cancel()
    return fetched


async def test_a_healer_that_takes_no_call_is_given_up(autojump_clock):
    async with a_node(Scripted(sending(*WHOLE))) as node:
        node.server.limits = Limits(max_streams=0)
        fetched = await fetch_with(node.client())
    assert failed(fetched, FetchFailure.UNREACHABLE)
    assert fetched.seconds == pytest.approx(STALL_SECONDS, abs=1)


async def test_only_the_assigned_healer_is_dialled_and_once_for_each_fetch(autojump_clock):
    other = evolve(OP, healer=STRANGER)
    async with a_node(Scripted(refusing(Status.UNAVAILABLE))) as node:
        for _ in range(3):
            await fetch_with(node.client())
        assert node.dialled == [HEALER] * 3
        await fetch_with(node.client(), op=other)
        assert node.dialled == [HEALER] * 3 + [STRANGER]


async def test_the_connection_is_closed_after_each_fetch(autojump_clock):
    for play in (sending(*WHOLE), refusing(Status.NOT_FOUND), sending(WHOLE[0]), sending(*WHOLE, WHOLE[1])):
        async with a_node(Scripted(play)) as node:
            await fetch_with(node.client())
            with pytest.raises(trio.ClosedResourceError):
                await node.transports[0].send_all(b"x")


# Stalls.


def ticking(seconds, count):
    async def play(asked):
        for tick in range(count):
            await trio.sleep(seconds)
            await asked.send_message(Reply(b"x", 0 if tick else count, tick == count - 1))

    return play


async def test_a_file_may_take_an_hour_while_chunks_keep_coming(autojump_clock):
    fetched = await fetch(ticking(59, 61))
    assert (fetched.data, fetched.is_whole) == (b"x" * 61, True)
    assert fetched.seconds == pytest.approx(59 * 61, abs=1)


async def test_a_minute_and_a_second_without_a_chunk_is_a_stall(autojump_clock):
    async def pause(asked):
        await trio.sleep(61)
        await asked.send_message(WHOLE[1])

    fetched = await fetch(sending(WHOLE[0], then=pause))
    assert failed(fetched, FetchFailure.STALLED, b"01234")
    assert fetched.seconds == pytest.approx(60, abs=1)
    assert "60 s without a chunk" in str(fetched.failure)


@pytest.mark.parametrize("messages", [[], WHOLE[:1], WHOLE], ids=["before headers", "in the middle", "before OK"])
async def test_a_healer_that_goes_silent_is_given_up_after_a_minute(messages, autojump_clock):
    fetched = await fetch(sending(*messages, then=hang))
    assert failed(fetched, FetchFailure.STALLED, b"01234" if messages else b"")
    assert fetched.seconds == pytest.approx(60, abs=1)


async def test_headers_alone_do_not_count_as_a_chunk(autojump_clock):
    async def headers_late(asked):
        await trio.sleep(40)
        await asked.send_initial_metadata()
        await trio.sleep(40)

    fetched = await fetch(headers_late)
    assert failed(fetched, FetchFailure.STALLED)
    assert fetched.seconds == pytest.approx(60, abs=1)


async def test_half_a_chunk_does_not_count_as_one(autojump_clock):
    async def trickle(asked):
        await asked.send_initial_metadata()
        for byte in HALF * 5:
            await asked._stream.send_data(bytes([byte]))
            await trio.sleep(20)

    assert failed(await fetch(trickle), FetchFailure.STALLED)


async def test_the_patience_of_a_client_is_a_setting(autojump_clock):
    async with a_node(Scripted(hang)) as node:
        fetched = await fetch_with(node.client(stall_seconds=7))
    assert failed(fetched, FetchFailure.STALLED)
    assert fetched.seconds == pytest.approx(7, abs=1)


async def test_the_time_that_the_reader_takes_is_no_stall(autojump_clock):
    async with a_node(Scripted(sending(*replies(DATA, 1)))) as node, node.open() as chunks:
        received = []
        async for chunk in chunks:
            await trio.sleep(3600)
            received.append(chunk)
    assert b"".join(received) == DATA


# The caller's block.


@define
class Watched:
    """A script that notes how the call ended for the healer."""

    ended: str = "not yet"

    async def play(self, asked):
        try:
            for message in replies(noise(4 * MIB), MIB):
                await asked.send_message(message)
            await trio.sleep_forever()
        finally:
            self.ended = "given up"


class OfTheCaller(BaseException):
    """Nothing that lep6 knows."""


ERRORS = [ValueError("x"), OSError(28, "No space left on device"), trio.TooSlowError(), OfTheCaller()]
ERRORS += [RpcRefused(Status.NOT_FOUND, "of another call"), RpcUnanswered(Status.UNAVAILABLE, "of another call")]
ERRORS += [FetchFailed(FetchFailure.DAMAGED, "of another file"), StopAsyncIteration(), StopIteration()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("taken", [0, 1])
async def test_an_error_of_the_callers_block_comes_out_as_itself(error, taken, autojump_clock):
    healer = Watched()
    async with a_node(Scripted(healer.play)) as node:
        with pytest.raises(type(error)) as caught:  # noqa: PT012
            async with node.open() as chunks:
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(taken):
                    await anext(chunks)
                raise error
        await trio.testing.wait_all_tasks_blocked()
        assert healer.ended in ("given up", "not yet")
    assert caught.value is error


async def test_an_error_of_the_callers_block_after_the_whole_file_comes_out_as_itself(autojump_clock):
    for error in ERRORS[:4]:
        async with a_node(Scripted(sending(*WHOLE))) as node:
            with pytest.raises(type(error)) as caught:  # noqa: PT012
                async with node.open() as chunks:
                    assert b"".join([chunk async for chunk in chunks]) == DATA
                    raise error
        assert caught.value is error


async def test_leaving_the_block_early_ends_the_call_at_once(autojump_clock):
    for taken in (0, 1):
        healer, began = Watched(), trio.current_time()
        async with a_node(Scripted(healer.play)) as node:
            async with node.open() as chunks:
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(taken):
                    await anext(chunks)
            assert trio.current_time() - began < 1
            await trio.testing.wait_all_tasks_blocked()
            assert healer.ended in ("given up", "not yet")


async def test_breaking_off_the_loop_ends_the_call_at_once(autojump_clock):
    healer = Watched()
    async with a_node(Scripted(healer.play)) as node:
        async with node.open() as chunks:
            async for _ in chunks:
                break
        await trio.testing.wait_all_tasks_blocked()
        assert healer.ended in ("given up", "not yet")


async def test_a_failure_that_the_caller_swallows_leaves_the_block_in_peace(autojump_clock):
    async with a_node(Scripted(sending(WHOLE[0]))) as node, node.open() as chunks:
        with suppress(FetchFailed):
            async for _ in chunks:
                pass


async def test_a_scope_around_the_block_ends_the_call_and_nothing_else(autojump_clock):
    healer = Watched()
    async with a_node(Scripted(healer.play)) as node:
        with trio.move_on_after(100) as outer:
            with trio.move_on_after(5) as inner:
                async with node.open() as chunks:
                    async for _ in chunks:
                        await trio.sleep(3)
            assert inner.cancelled_caught
            await trio.testing.wait_all_tasks_blocked()
            assert healer.ended in ("given up", "not yet")
            assert trio.current_time() == pytest.approx(5, abs=1)
        assert not outer.cancelled_caught


async def test_a_scope_inside_the_block_leaves_the_stream_usable_between_chunks(autojump_clock):
    async with a_node(Scripted(ticking(10, 3))) as node, node.open() as chunks:
        assert await anext(chunks) == b"x"
        with trio.move_on_after(1) as scope:
            await anext(chunks)
        assert scope.cancelled_caught
        assert [chunk async for chunk in chunks] == [b"x", b"x"]


@pytest.mark.parametrize("seconds", [0, 1, 30])
async def test_a_client_that_is_cancelled_while_it_connects_ends(seconds, autojump_clock):
    closed = []

    @asynccontextmanager
    async def connect(_):
        try:
            await trio.sleep_forever()
            yield
        finally:
            closed.append(trio.current_time())

    with trio.move_on_after(seconds) as scope:
        await fetch_with(ArtefactClient(VERIFIER, connect))
    assert scope.cancelled_caught
    assert closed == [pytest.approx(seconds, abs=1)]


async def test_a_nursery_around_several_fetches_is_cancelled_as_a_whole(autojump_clock):
    healers = [Watched() for _ in range(3)]
    async with trio.open_nursery() as outer:
        nodes = [await outer.start(hold_node, healer) for healer in healers]
        with trio.move_on_after(5) as scope:
            async with trio.open_nursery() as nursery:
                for node in nodes:
                    nursery.start_soon(fetch_with, node.client())
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert [healer.ended for healer in healers] == ["given up"] * 3
        outer.cancel_scope.cancel()


async def hold_node(healer, task_status):
    async with a_node(Scripted(healer.play)) as node:
        task_status.started(node)
        await trio.sleep_forever()


async def test_two_fetches_at_once_do_not_mix(autojump_clock):
    files = {op_id: noise(2 * MIB + op_id, op_id) for op_id in (5, 6, 7)}

    class Healer(Scripted):
        async def play_for(self, asked):
            for message in replies(files[self.heard[-1].heal_op_id], 100_000):
                await asked.send_message(message)
                await trio.sleep(1)

    healer = Healer(None)
    healer.play = healer.play_for
    received = {}
    async with a_node(healer) as node, trio.open_nursery() as nursery:
        client = node.client()

        async def run(op_id):
            fetched = await fetch_with(client, op=evolve(OP, op_id=op_id))
            received[op_id] = fetched.data

        for op_id in files:
            nursery.start_soon(run, op_id)
    assert received == files


# Over sockets.


@pytest.mark.parametrize("kind", [None, FetchFailure.TRUNCATED], ids=["whole", "torn"])
async def test_over_sockets_a_torn_connection_gives_no_file(kind):
    data = noise(3 * MIB)

    async def play(asked):
        for message in replies(data, MIB):
            if message.is_last and kind is not None:
                await trio.aclose_forcefully(asked.transport)
            await asked.send_message(message)

    with trio.fail_after(20):
        async with on_loopback(Scripted(play)) as host:
            fetched = await fetch_with(ArtefactClient(VERIFIER, host.connect))
    assert fetched.kind is kind
    assert fetched.is_whole is (kind is None)
