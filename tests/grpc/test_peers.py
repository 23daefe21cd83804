"""Our client and server with those of grpcio and grpclib, over TCP and on the real clock."""

from contextlib import asynccontextmanager
from hashlib import sha256

import pytest
import trio
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError

from echo_wire.echo import Note
from echo_wire.ends import DEFAULTS, Echo, Method, Stub, ask, collect, request
from lep6.errors import RpcError, RpcRefused, RpcUnanswered, RpcUnsent
from lep6.grpc import Address, Limits, Server, dial, open_channel

PATIENCE = 30.0
TEXT = "straße 100 % ☃"
MIB = 1 << 20
METADATA = [("plain", "a value"), ("raw-bin", bytes(range(256)))]
UNARY = Cardinality.UNARY_UNARY


class Ours(Echo):
    """The echo service, with handlers that fail and handlers that wait."""

    def __init__(self):
        self.waiting = trio.Event()
        self.cancelled = trio.Event()
        self.made = 0

    async def wait(self):
        self.waiting.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    async def say(self, message):
        match message.text.split(":"):
            case ["fail", code, text]:
                raise GRPCError(Status(int(code)), text)
            case ["wait"]:
                await self.wait()
        return message

    async def split(self, message):
        try:
            while message.text == "forever" or self.made < message.number:
                yield Note(data=message.data, number=self.made)
                self.made += 1
        finally:
            self.cancelled.set()


async def mirror(call):
    """Gives back the request's message and metadata, the latter twice."""
    await call.send_initial_metadata(metadata=METADATA)
    message = await call.recv_message()
    if message.text == "cancel":
        await call.cancel()
        return
    await call.send_message(message)
    await call.send_trailing_metadata(metadata={key: call.metadata[key] for key, _ in METADATA})


@asynccontextmanager
async def serving(*services, limits=DEFAULTS, drain_seconds=10):
    """Our server; its port."""
    with trio.fail_after(PATIENCE):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with Server(services, limits=limits).serving(listeners, drain_seconds=drain_seconds):
            yield listeners[0].socket.getsockname()[1]


@asynccontextmanager
async def calling(port, *, limits=DEFAULTS):
    """Our client."""
    with trio.fail_after(PATIENCE):
        async with open_channel(await dial(Address("127.0.0.1", port, tls=False)), limits=limits) as channel:
            yield channel


def in_json(metadata):
    return [[key, value.hex() if isinstance(value, bytes) else value] for key, value in metadata]


# Their clients.


async def test_their_client_makes_every_kind_of_call(caller):
    number, size = 30, 40_000
    async with serving(Ours()) as port:
        result = await caller.ask("kinds", port=port, number=number, size=size)
    bodies = [bytes([n % 256]) * size for n in range(number)]
    assert [part["number"] for part in result["split"]] == list(range(number))
    assert result["join"]["digest"] == sha256(b"".join(bodies)).hexdigest()
    assert result["join"]["text"] == "".join(f"note {n}" for n in range(number))
    assert [part["digest"] for part in result["chat"]] == [sha256(body).hexdigest() for body in bodies]


async def test_their_client_gets_and_gives_metadata(caller):
    async with serving(Method(mirror, UNARY)) as port:
        result = await caller.ask("unary", port=port, path=Method.PATH, text=TEXT, metadata=in_json(METADATA))
    assert result["text"] == TEXT
    assert result["initial"] == result["trailing"] == in_json(METADATA)


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.UNAUTHENTICATED])
async def test_their_client_is_refused_with_our_status(status, caller):
    async with serving(Ours()) as port:
        result = await caller.ask("unary", port=port, text=f"fail:{status.value}:{TEXT}")
        assert result == {"status": status.value, "message": TEXT}
        result = await caller.ask("unary", port=port, path="/echo.Echo/Nothing")
        assert result["status"] == Status.UNIMPLEMENTED.value


async def test_their_client_gives_up_at_its_deadline_and_our_handler_is_cancelled(caller):
    service = Ours()
    async with serving(service) as port:
        result = await caller.ask("unary", port=port, text="wait", seconds=0.2)
        assert result.get("status") == Status.DEADLINE_EXCEEDED.value or result["error"] == "TimeoutError"
        await service.cancelled.wait()


async def test_their_client_cancels_and_our_handler_is_cancelled(caller):
    service = Ours()
    async with serving(service) as port:
        await caller.ask("open", port=port, text="forever", number=0, size=1000)
        assert (await caller.ask("take", number=3))["numbers"] == [0, 1, 2]
        await caller.ask("cancel")
        await service.cancelled.wait()
        await caller.ask("close")


async def test_their_client_learns_that_our_handler_has_broken_off(caller):
    async with serving(Method(mirror, UNARY)) as port:
        result = await caller.ask("unary", port=port, path=Method.PATH, text="cancel", metadata=in_json(METADATA))
    assert result.get("status") == Status.CANCELLED.value or result["error"] == "StreamTerminatedError"


async def test_their_client_is_sent_messages_as_large_as_both_sides_allow(caller):
    largest = 16 * MIB - 5  # a tag and a length of four bytes stand before the data
    limit = 32 * MIB
    async with serving(Ours()) as port:
        for size in (4 * MIB - 5, largest):
            result = await caller.ask("unary", port=port, size=size, limit=limit)
            assert result["size"] == size
        result = await caller.ask("unary", port=port, size=largest + 1, limit=limit)
        assert result.get("status") == Status.RESOURCE_EXHAUSTED.value, result


async def test_their_client_that_reads_slowly_is_not_sent_everything(caller):
    service, size = Ours(), 100_000
    async with serving(service) as port:
        await caller.ask("open", port=port, text="", number=1000, size=size)
        for taken in range(1, 6):
            assert (await caller.ask("take", number=1))["numbers"] == [taken - 1]
            # Their buffers, the kernel's and ours; a hundred megabytes were asked for.
            assert (service.made - taken) * size < 40 * MIB
        assert len((await caller.ask("take", number=2000))["numbers"]) == 995
        await caller.ask("close")


async def test_their_client_makes_fifty_calls_at_once_where_twenty_are_taken(caller):
    async with serving(Ours(), limits=Limits(max_streams=20)) as port:
        result = await caller.ask("many", port=port, number=50, size=20_000)
    assert result["texts"] == [str(n) for n in range(50)]


async def test_their_clients_stream_goes_on_while_our_server_drains(start):
    caller = start("grpcio", "call")  # grpclib takes a GOAWAY for the end
    service, number, rest = Ours(), 300, []

    async def take_the_rest():
        rest.extend((await caller.ask("take", number=number))["numbers"])

    async with trio.open_nursery() as nursery, serving(service) as port:
        await caller.ask("open", port=port, text="", number=number, size=100_000)
        await caller.ask("take", number=1)
        assert service.made < number
        nursery.start_soon(take_the_rest)
    assert rest == list(range(1, number))
    await caller.ask("close")


@pytest.mark.parametrize("kind", ["grpcio", "grpclib"])
async def test_our_handler_is_cancelled_when_their_client_is_killed(kind, start):
    service, caller = Ours(), start(kind, "call")
    async with serving(service) as port:
        await caller.ask("open", port=port, text="forever", number=0, size=1000)
        await caller.ask("take", number=3)
        caller.end()
        await service.cancelled.wait()


# Their servers.


async def test_our_client_makes_every_kind_of_call_to_their_server(host):
    notes = [Note(f"note {n}", bytes([n]) * 40_000, n) for n in range(30)]
    async with calling(host.hello["port"]) as channel:
        stub = Stub(channel)
        assert await stub.say(notes[3]) == notes[3]
        assert [part.number async for part in stub.split(Note("x", bytes(40_000), 30))] == list(range(30))
        joined = await stub.join(notes)
        assert joined.data == b"".join(note.data for note in notes)
        assert joined.number == 30
        assert [reply async for reply in stub.chat(notes)] == notes


async def test_our_client_gets_and_gives_metadata_with_their_server(host):
    async with (
        calling(host.hello["port"]) as channel,
        request(channel, "/echo.Echo/Say", UNARY, metadata=METADATA) as call,
    ):
        await call.send_message(Note(TEXT))
        assert await call.recv_message() == Note(TEXT)
        await call.recv_trailing_metadata()
        for metadata in (call.initial_metadata, call.trailing_metadata):
            assert [(key, value) for key, value in metadata.items() if key in dict(METADATA)] == METADATA


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.UNAUTHENTICATED])
async def test_our_client_is_refused_with_their_servers_status(status, host):
    async with calling(host.hello["port"]) as channel:
        with pytest.raises(RpcRefused) as refused:
            await Stub(channel).say(Note(f"fail:{status.value}:{TEXT}"))
        assert (refused.value.status, refused.value.message) == (status, TEXT)
        with pytest.raises(RpcRefused) as refused:
            await ask(channel, "/echo.Echo/Nothing")
        assert refused.value.status is Status.UNIMPLEMENTED
        with pytest.raises(RpcRefused) as refused:
            await Stub(channel).say(Note("raise"))
        assert refused.value.status is Status.UNKNOWN


async def test_our_client_gives_up_at_its_deadline_and_their_handler_is_cancelled(host):
    async with calling(host.hello["port"]) as channel:
        before = (await host.ask("wait", what="cancelled", number=0))["counts"].get("cancelled", 0)
        with pytest.raises(RpcError) as failed:
            await Stub(channel).say(Note("wait"), timeout=0.2)
        assert failed.value.status is Status.DEADLINE_EXCEEDED
        assert (await host.ask("wait", what="cancelled", number=before + 1))["reached"]


async def test_our_client_cancels_and_their_handler_is_cancelled(host):
    async with calling(host.hello["port"]) as channel:
        before = (await host.ask("wait", what="cancelled", number=0))["counts"].get("cancelled", 0)
        async with request(channel, "/echo.Echo/Split") as call:
            await call.send_message(Note("forever", bytes(1000)), end=True)
            assert [(await call.recv_message()).number for _ in range(3)] == [0, 1, 2]
            await call.cancel()
        assert (await host.ask("wait", what="cancelled", number=before + 1))["reached"]
        assert await Stub(channel).say(Note("x")) == Note("x")


async def test_our_client_learns_that_their_handler_has_broken_off(host):
    async with calling(host.hello["port"]) as channel:
        with pytest.raises(RpcError) as failed:
            await Stub(channel).say(Note("cancel"))
        # grpclib resets with NO_ERROR.
        assert failed.value.status is {"grpcio": Status.CANCELLED, "grpclib": Status.INTERNAL}[host.kind]


async def test_our_client_sends_messages_as_large_as_their_server_takes(host):
    async with calling(host.hello["port"]) as channel:
        largest = Note(data=bytes(4 * MIB - 5))  # a tag and a length of four bytes stand before the data
        assert await Stub(channel).say(largest) == largest
        with pytest.raises(RpcRefused) as refused:
            await Stub(channel).say(Note(data=bytes(16 * MIB + 1)))
        assert refused.value.status is Status.RESOURCE_EXHAUSTED
        assert await Stub(channel).say(Note("x")) == Note("x")


async def test_our_client_that_reads_slowly_is_not_sent_everything_by_their_server(host):
    limits, size = Limits(stream_window=200_000, connection_window=400_000), 10_000
    async with calling(host.hello["port"], limits=limits) as channel:
        before = (await host.ask("wait", what="made", number=0))["counts"].get("made", 0)
        async with request(channel, "/echo.Echo/Split") as call:
            await call.send_message(Note("x", bytes(size), 2000), end=True)
            for taken in range(1, 6):
                await call.recv_message()
                made = (await host.ask("wait", what="made", number=before + taken))["counts"]["made"] - before
                assert made * size < 5 * MIB
            assert len(await collect(call, [])) == 1995


async def test_our_client_makes_fifty_calls_at_once_to_their_server(host):
    replies = []

    async def say(channel, number):
        replies.append((await Stub(channel).say(Note(str(number), bytes(20_000)))).text)

    async with calling(host.hello["port"]) as channel, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(say, channel, number)
    assert sorted(replies, key=int) == [str(number) for number in range(50)]


async def test_our_clients_stream_goes_on_while_their_server_stops(start):
    host = start("grpcio", "serve")
    async with calling(host.hello["port"], limits=Limits(stream_window=200_000)) as channel:
        replies = Stub(channel).split(Note("x", bytes(10_000), 500))
        assert (await anext(replies)).number == 0
        await host.ask("stop", grace=PATIENCE)
        while channel.connection.is_usable():
            await anext(replies)
        with pytest.raises(RpcUnsent):
            await Stub(channel).say(Note())
        assert (await collect(replies, []))[-1].number == 499


@pytest.mark.parametrize("kind", ["grpcio", "grpclib"])
async def test_calls_are_unanswered_when_their_server_is_killed(kind, start):
    host = start(kind, "serve")
    async with calling(host.hello["port"]) as channel:
        replies = Stub(channel).split(Note("forever", bytes(1000)))
        assert (await anext(replies)).number == 0
        host.end()
        with pytest.raises(RpcUnanswered) as failed:
            await collect(replies, [])
        assert failed.value.status is Status.UNAVAILABLE
        with pytest.raises(RpcUnsent):
            await Stub(channel).say(Note())
