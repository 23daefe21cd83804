"""What a healer, a verifier or the machine may do to the artefact stream."""

import errno
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from grpclib.const import Cardinality, Status

from artefact_stream.ends import (
    HEALER,
    MIB,
    NARROW,
    OP,
    VERIFIER,
    Encoded,
    Reply,
    Scripted,
    a_node,
    hang,
    replies,
    sending,
    service,
    stage,
)
from lep6.artefact_stream import ArtefactClient
from lep6.artefact_stream.client import PATH
from lep6.cascade.staging import discard_staged
from lep6.errors import ChainUnavailable, FetchFailed, FetchFailure, InvalidAddress, RpcError, RpcRefused
from lep6.grpc import Limits
from lep6.grpc.connection import Connection
from world import BLOCKING, noise


async def fetch(play, **options):
    given = []
    async with a_node(Scripted(play)) as node:
        try:
            async with node.client().open(OP, size_bound=options.pop("size_bound", 1 << 30)) as chunks:
                async for chunk in chunks:
                    given += [chunk]
        except FetchFailed as failed:
            return failed.kind, b"".join(given)
    return None, b"".join(given)


async def ask(call, message):
    """The first reply to a message, or to a request without one."""
    async with call:
        if message is None:
            await call.send_request(end=True)
        else:
            await call.send_message(message)
        return await call.recv_message()


async def test_more_than_the_size_without_an_end_is_no_file(autojump_clock):
    assert await fetch(sending(Reply(b"0123456789a", 10), then=hang)) == (FetchFailure.MALFORMED, b"")
    messages = [Reply(b"01234", 10), Reply(b"56789a"), *[Reply(bytes(MIB))] * 8]
    assert await fetch(sending(*messages)) == (FetchFailure.MALFORMED, b"01234")


@pytest.mark.parametrize("content", [b"\x08\x05\x10\x05", b"\x12\x02ab\x0a\x01x", b"\x0a\x10abc"])
async def test_fields_of_the_wrong_type_are_no_message(content, autojump_clock):
    kind, given = await fetch(sending(Encoded(content), then=hang))
    assert kind in (FetchFailure.MALFORMED, FetchFailure.UNREACHABLE)
    assert given == b""


@pytest.mark.parametrize("content", [b"\x0a\x01a", b"\x10\x05\x08\x05"])
async def test_a_request_with_fields_of_the_wrong_type_does_not_reach_the_chain(tmp_path, content, autojump_clock):
    served = service(tmp_path)
    async with a_node(served) as node, node.connect(HEALER) as channel:
        call = channel.request(PATH, Cardinality.UNARY_STREAM, Encoded, Reply)
        with pytest.raises(RpcError) as refused:
            await ask(call, Encoded(content))
    assert served.heal_ops.inner.asked == []
    assert "handler failed" not in str(refused.value)


class DiscardingAfter:
    """Blocking work after whose n-th piece the staging is discarded."""

    def __init__(self, root, runs):
        self.root, self.runs = root, runs

    async def run(self, work, /, *, cancel=None):
        done = await BLOCKING.run(work)
        self.runs -= 1
        if self.runs == 0:
            await discard_staged(self.root, "5", blocking=BLOCKING)
        return done


async def test_a_staging_that_is_discarded_before_its_file_is_opened_is_not_there(tmp_path, autojump_clock):
    stage(tmp_path / "staging", b"data")
    blocking = DiscardingAfter(tmp_path / "staging", 1)
    async with a_node(service(tmp_path / "staging", blocking=blocking)) as node:
        answer = await node.ask()
    assert answer.status is Status.NOT_FOUND, answer


def raw(content):
    async def play(asked):
        await asked.send_initial_metadata()
        await asked._stream.send_data(content)
        await trio.sleep_forever()

    return play


@pytest.mark.parametrize("prefix", [b"\0\x40\0\0\0", b"\1\0\0\0\1"], ids=["too large", "compressed"])
async def test_a_message_that_breaks_the_rules_of_the_stream_is_malformed(prefix, autojump_clock):
    assert (await fetch(raw(prefix + b"x"))) == (FetchFailure.MALFORMED, b"")


async def test_a_call_without_a_request_is_refused_and_no_bug_of_ours(tmp_path, capsys, autojump_clock):
    async with a_node(service(tmp_path)) as node, node.connect(HEALER) as channel:
        call = channel.request(PATH, Cardinality.STREAM_STREAM, object, Reply)
        with pytest.raises(RpcRefused) as refused:
            await ask(call, None)
    assert "handler_failed" not in capsys.readouterr().out
    assert refused.value.status is Status.INVALID_ARGUMENT


@pytest.mark.parametrize("error", [InvalidAddress("x is not an address"), ChainUnavailable("no node answered")])
async def test_an_address_that_cannot_be_had_is_a_failed_fetch(error, autojump_clock):
    @asynccontextmanager
    async def connect(_):
        raise error
        yield

    with pytest.raises(FetchFailed) as failed:
        async with ArtefactClient(VERIFIER, connect).open(OP, size_bound=1):
            pass
    assert failed.value.kind is FetchFailure.UNREACHABLE


async def test_a_client_that_is_cancelled_in_the_middle_of_a_chunk_never_gives_wrong_bytes(autojump_clock):
    data = noise(300)

    async def play(asked):
        await asked.send_initial_metadata()
        for message in replies(data, 100):
            body = message.SerializeToString()
            content = b"\0" + len(body).to_bytes(4, "big") + body
            for at in (0, 40):
                await asked._stream.send_data(content[at : at + 40 if not at else None])
                await trio.sleep(10)

    received = []
    async with a_node(Scripted(play)) as node, node.open() as chunks:
        while True:
            with trio.move_on_after(3):
                try:
                    received.append(await anext(chunks))
                except StopAsyncIteration:
                    break
    assert b"".join(received) == data


async def test_a_failed_stream_stays_failed(autojump_clock):
    messages = [Reply(b"01234", 10), Reply(b"xxxxx", 11), Reply(b"56789", 0, True)]
    async with a_node(Scripted(sending(*messages))) as node, node.open() as chunks:
        assert await anext(chunks) == b"01234"
        for _ in range(2):
            with pytest.raises(FetchFailed) as failed:
                await anext(chunks)
            assert failed.value.kind is FetchFailure.MALFORMED


class NoDescriptors:
    """A process that has no file descriptors left."""

    async def run(self, work, /, *, cancel=None):
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EMFILE, "Too many open files")


async def test_a_node_out_of_descriptors_does_not_call_its_file_damaged(tmp_path, autojump_clock):
    stage(tmp_path / "staging", b"data")
    async with a_node(service(tmp_path / "staging", blocking=NoDescriptors())) as node:
        answer = await node.ask()
    assert answer.status in (Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.INTERNAL), answer


async def test_a_reader_that_takes_nothing_loses_its_place_in_the_end(tmp_path, autojump_clock):
    stage(tmp_path / "staging", 8 * MIB)
    async with a_node(service(tmp_path / "staging", streams=1)) as node, node.open(limits=NARROW):
        await trio.sleep(600)
        assert (await node.ask(account=OP.verifiers[1])).status is Status.OK


async def test_the_words_of_a_healer_are_cut_short_in_a_failure(autojump_clock):
    async def refuse(_):
        raise RpcRefused(Status.INTERNAL, "x" * 50_000 + "\n\x1b[31m")

    async with a_node(Scripted(refuse)) as node:
        with pytest.raises(FetchFailed) as failed:
            async with node.open() as chunks:
                await anext(chunks)
    assert len(str(failed.value)) < 2_000
    assert str(failed.value).isprintable()


def test_a_connection_window_of_the_default_size_is_possible():
    async def make():
        Connection(trio.testing.memory_stream_pair()[0], Limits(connection_window=65_535))

    trio.run(make)
