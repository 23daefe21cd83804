"""Frames written by hand: what breaks HTTP/2 is answered as HTTP/2 demands, and harms no other connection."""

import random
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, RstStreamFrame
from structlog.testing import capture_logs

from echo_wire.echo import Note
from echo_wire.ends import ANSWER, DAYS, DEFAULTS, OK, REQUEST, Echo, Stub, collect, framed
from lep6.errors import RpcError, RpcRefused
from lep6.grpc import Limits, Server, open_channel

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 0x1, 0x4, 0x8, 0x1

PROTOCOL, FLOW, SIZE, COMPRESSION, CALM = (
    ErrorCodes.PROTOCOL_ERROR,
    ErrorCodes.FLOW_CONTROL_ERROR,
    ErrorCodes.FRAME_SIZE_ERROR,
    ErrorCodes.COMPRESSION_ERROR,
    ErrorCodes.ENHANCE_YOUR_CALM,
)


def frame(kind, payload=b"", *, flags=0, stream=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def uint(number):
    return number.to_bytes(4, "big")


def block(headers=REQUEST):
    """A header list, encoded without a trace in the decoder's table."""
    return Encoder().encode([(name, value, True) for name, value in headers])


def opened(stream=1, headers=REQUEST):
    """The headers of a request that goes on."""
    return frame(HEADERS, block(headers), flags=END_HEADERS, stream=stream)


def called(stream=1, headers=REQUEST, note=None):
    """A whole request."""
    data = framed(note or Note("x"))
    return opened(stream, headers) + frame(DATA, data, flags=END_STREAM, stream=stream)


def goaway(last):
    return frame(GOAWAY, uint(last) + uint(0))


def setting(code, value):
    return code.to_bytes(2, "big") + uint(value)


HELLO = PREFACE + frame(SETTINGS)


class Wire:
    """A connection of bytes and frames alone."""

    def __init__(self, stream):
        self.stream = stream
        self._unread = b""
        self.is_over = False

    async def exchange(self, data, seconds=10):
        """What comes back within so many seconds, or until the connection is closed."""
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)
        frames = []
        with trio.move_on_after(seconds):
            while not self.is_over:
                data = await self.stream.receive_some()
                self.is_over = not data
                self._unread += data
                while len(self._unread) >= 9 and len(self._unread) >= (
                    end := 9 + int.from_bytes(self._unread[:3], "big")
                ):
                    received, _ = Frame.parse_frame_header(memoryview(self._unread[:9]))
                    received.parse_body(memoryview(self._unread[9:end]))
                    self._unread = self._unread[end:]
                    frames.append(received)
        return frames


def no_bugs(logs):
    """No connection or call ended by an exception that nobody had foreseen."""
    return not {log["event"] for log in logs} & {"connection_failed", "call_failed", "handler_failed"}


@asynccontextmanager
async def wired(service=None, limits=DEFAULTS):
    """A connection to a server that serves another one all the while, and a third one afterwards."""
    service = service or Echo()
    server = Server([service], limits=limits)
    with trio.fail_after(DAYS), capture_logs() as logs:
        async with trio.open_nursery() as nursery:

            def connect():
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(server.serve_stream, theirs)
                return ours

            async with open_channel(connect()) as other:
                wire = Wire(connect())
                yield wire, server
                assert await Stub(other).join([Note("x")]) == Note("x", number=1)
                await wire.stream.aclose()
            async with open_channel(connect()) as later:
                assert await Stub(later).join([Note("x")]) == Note("x", number=1)
        assert not server._connections
    assert no_bugs(logs)


def ended(frames):
    """The codes of the GOAWAY frames."""
    return [ErrorCodes(each.error_code) for each in frames if isinstance(each, GoAwayFrame)]


def resets(frames):
    """The streams that were reset, and with which codes."""
    return [(each.stream_id, ErrorCodes(each.error_code)) for each in frames if isinstance(each, RstStreamFrame)]


def answer_on(frames, stream):
    """The data that came on a stream."""
    return b"".join(each.data for each in frames if isinstance(each, DataFrame) and each.stream_id == stream)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS),
        PREFACE.lower() + frame(SETTINGS),
        frame(SETTINGS) + called(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506),
        bytes(100),
        b"\xff" * 10_000,
        b"X",
    ],
)
async def test_what_does_not_begin_with_the_preface_ends_the_connection(data, autojump_clock):
    async with wired() as (wire, _):
        started = trio.current_time()
        frames = await wire.exchange(data)
        assert wire.is_over
        assert trio.current_time() - started < 10
        # The GOAWAY may be left out: whoever sends this does not speak HTTP/2.
        assert set(ended(frames)) <= {PROTOCOL}


async def test_a_preface_that_comes_byte_by_byte_is_a_preface(autojump_clock):
    async with wired() as (wire, _):
        data = HELLO + called()
        for at in range(len(data)):
            await wire.exchange(data[at : at + 1], seconds=0.01)
            if at < len(data) - 1:
                await trio.testing.wait_all_tasks_blocked()
        assert answer_on(await wire.exchange(called(3)), 3) == framed(Note("x"))


LARGE = DEFAULTS.max_frame + 1
BROKEN = {
    "a frame larger than announced": (frame(0xBE, bytes(LARGE)), {SIZE}),
    "data larger than announced": (opened() + frame(DATA, bytes(LARGE), stream=1), {SIZE}),
    "headers larger than announced": (frame(HEADERS, bytes(LARGE), stream=1), {SIZE}),
    "data on stream 0": (frame(DATA, b"x"), {PROTOCOL}),
    "data on an idle stream": (frame(DATA, b"x", stream=1), {PROTOCOL}),
    "data on an idle stream of ours": (frame(DATA, b"x", stream=2), {PROTOCOL}),
    "data with more padding than there is": (
        opened() + frame(DATA, b"\x05abc", flags=PADDED, stream=1),
        {PROTOCOL},
    ),
    "headers on stream 0": (frame(HEADERS, block(), flags=END_HEADERS), {PROTOCOL}),
    "headers on an even stream": (opened(2), {PROTOCOL}),
    "headers on a stream below the last": (called(5) + opened(3), {PROTOCOL}),
    "headers with more padding than there is": (
        frame(HEADERS, b"\xff" + block(), flags=END_HEADERS | PADDED, stream=1),
        {PROTOCOL},
    ),
    "an index that no table has": (frame(HEADERS, b"\xfe", flags=END_HEADERS, stream=1), {COMPRESSION, PROTOCOL}),
    "an index of zero": (frame(HEADERS, b"\x80", flags=END_HEADERS, stream=1), {COMPRESSION, PROTOCOL}),
    "a string that is cut": (frame(HEADERS, b"\x00\x0aabc", flags=END_HEADERS, stream=1), {COMPRESSION, PROTOCOL}),
    "an integer without an end": (
        frame(HEADERS, b"\xff" + b"\xff" * 100, flags=END_HEADERS, stream=1),
        {COMPRESSION, PROTOCOL},
    ),
    "a table larger than allowed": (
        frame(HEADERS, b"\x3f\xff\xff\x7f" + block(), flags=END_HEADERS, stream=1),
        {COMPRESSION, PROTOCOL},
    ),
    "Huffman code without an end": (
        frame(HEADERS, b"\x00\x84\xff\xff\xff\xff\x01x", flags=END_HEADERS, stream=1),
        {COMPRESSION, PROTOCOL},
    ),
    "a naked continuation": (frame(CONTINUATION, block(), flags=END_HEADERS, stream=1), {PROTOCOL}),
    "a continuation of a whole block": (
        opened() + frame(CONTINUATION, b"", flags=END_HEADERS, stream=1),
        {PROTOCOL},
    ),
    "a continuation on another stream": (
        frame(HEADERS, block(), stream=1) + frame(CONTINUATION, b"", flags=END_HEADERS, stream=3),
        {PROTOCOL},
    ),
    "another frame within a block": (frame(HEADERS, block(), stream=1) + frame(PING, bytes(8)), {PROTOCOL}),
    "a goaway within a block": (frame(HEADERS, block(), stream=1) + frame(GOAWAY, bytes(8)), {PROTOCOL}),
    "an unknown frame within a block": (frame(HEADERS, block(), stream=1) + frame(0xBE, b"x"), {PROTOCOL}),
    "a flood of continuations": (
        frame(HEADERS, block(), stream=1) + frame(CONTINUATION, b"", stream=1) * 10_000,
        {PROTOCOL, CALM},
    ),
    "a flood of large continuations": (
        frame(HEADERS, block(), stream=1) + frame(CONTINUATION, bytes(16_384), stream=1) * 100,
        {PROTOCOL, CALM},
    ),
    "a window opened by 0": (frame(WINDOW_UPDATE, uint(0)), {PROTOCOL}),
    "a window opened by 0 on an idle stream": (frame(WINDOW_UPDATE, uint(0), stream=1), {PROTOCOL}),
    "a window opened too far": (frame(WINDOW_UPDATE, uint(0x7FFF_FFFF)), {FLOW}),
    "a window opened on an idle stream": (frame(WINDOW_UPDATE, uint(1), stream=1), {PROTOCOL}),
    "a window update of 3 bytes": (frame(WINDOW_UPDATE, bytes(3)), {SIZE}),
    "a window update of 5 bytes": (frame(WINDOW_UPDATE, b"\0\0\0\1\0"), {SIZE}),
    "push neither on nor off": (frame(SETTINGS, setting(2, 2)), {PROTOCOL}),
    "windows too large": (frame(SETTINGS, setting(4, 0x8000_0000)), {FLOW}),
    "frames too small": (frame(SETTINGS, setting(5, 16_383)), {PROTOCOL}),
    "frames too large": (frame(SETTINGS, setting(5, 0x0100_0000)), {PROTOCOL}),
    "settings of 5 bytes": (frame(SETTINGS, bytes(5)), {SIZE}),
    "settings on a stream": (frame(SETTINGS, setting(3, 1), stream=1), {PROTOCOL}),
    # To h2 its content is wrong, and not its size.
    "settings acknowledged with more": (frame(SETTINGS, setting(3, 1), flags=ACK), {SIZE, PROTOCOL}),
    "settings that make an open window too large": (
        opened() + frame(WINDOW_UPDATE, uint(0x7FFF_0000), stream=1) + frame(SETTINGS, setting(4, 0x7FFF_FFFF)),
        {FLOW},
    ),
    "a ping of 7 bytes": (frame(PING, bytes(7)), {SIZE}),
    "a ping of 9 bytes": (frame(PING, bytes(9)), {SIZE}),
    "a ping on a stream": (frame(PING, bytes(8), stream=1), {PROTOCOL}),
    "a reset of an idle stream": (frame(RST_STREAM, uint(8), stream=1), {PROTOCOL}),
    "a reset of stream 0": (frame(RST_STREAM, uint(8)), {PROTOCOL}),
    "a reset of 3 bytes": (opened() + frame(RST_STREAM, bytes(3), stream=1), {SIZE}),
    "a goaway of 7 bytes": (frame(GOAWAY, bytes(7)), {SIZE}),
    "a goaway on a stream": (frame(GOAWAY, bytes(8), stream=1), {PROTOCOL}),
    "a push by a client": (opened() + frame(PUSH_PROMISE, uint(2) + block(), flags=END_HEADERS, stream=1), {PROTOCOL}),
    "priority on stream 0": (frame(PRIORITY, uint(1) + b"\x10"), {PROTOCOL}),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_client_that_breaks_http2_is_told_so_and_sent_away(case, autojump_clock):
    data, codes = BROKEN[case]
    async with wired() as (wire, _):
        started = trio.current_time()
        frames = await wire.exchange(HELLO + data)
        assert len(ended(frames)) == 1
        assert set(ended(frames)) <= codes
        assert wire.is_over
        assert trio.current_time() - started < 10


@pytest.mark.parametrize("case", BROKEN)
async def test_it_makes_no_difference_how_a_breach_is_split(case, autojump_clock):
    data, codes = BROKEN[case]
    async with wired() as (wire, _):
        frames = await wire.exchange(HELLO, seconds=1)
        size = max(1, len(data) // 7)
        for at in range(0, len(data), size):
            frames += await wire.exchange(data[at : at + size], seconds=1)
        assert len(ended(frames)) == 1
        assert set(ended(frames)) <= codes
        assert wire.is_over


async def test_data_beyond_the_connections_window_ends_the_connection(autojump_clock):
    limits = Limits(stream_window=1 << 20, connection_window=65_535)
    async with wired(limits=limits) as (wire, _):
        data = frame(DATA, bytes(16_384), stream=1) * 4
        frames = await wire.exchange(HELLO + opened() + data)
        assert ended(frames) == [FLOW]
        assert wire.is_over


async def test_data_beyond_a_streams_window_ends_no_more_than_the_connection(autojump_clock):
    async with wired(limits=Limits(stream_window=1000)) as (wire, _):
        frames = await wire.exchange(HELLO + opened() + frame(DATA, bytes(1001), stream=1))
        assert ended(frames) == [FLOW] or resets(frames) == [(1, FLOW)]


async def test_a_streams_window_opened_too_far_ends_the_stream_alone(autojump_clock):
    async with wired() as (wire, _):
        frames = await wire.exchange(HELLO + opened() + frame(WINDOW_UPDATE, uint(0x7FFF_FFFF), stream=1))
        assert resets(frames) == [(1, FLOW)]
        assert not ended(frames)
        assert answer_on(await wire.exchange(called(3)), 3) == framed(Note("x"))


async def test_a_streams_window_opened_by_0_ends_no_more_than_the_connection(autojump_clock):
    async with wired() as (wire, _):
        frames = await wire.exchange(HELLO + opened() + frame(WINDOW_UPDATE, uint(0), stream=1))
        assert ended(frames) == [PROTOCOL] or resets(frames) == [(1, PROTOCOL)]


@pytest.mark.parametrize(
    "data",
    [
        frame(PRIORITY, uint(0) + b"\x10", stream=1),
        frame(PRIORITY, uint(3) + b"\xff", stream=101),
        frame(PRIORITY, uint(0x8000_0001) + b"\x00", stream=2),
        frame(0xBE, b"anything", flags=0xFF, stream=77),
        frame(0xFF),
        frame(0xA, b"\0\0h2=:1"),
        frame(0x10, uint(1) + b"u=1"),
        frame(SETTINGS, setting(0xBEEF, 0xFFFF_FFFF)),
        frame(SETTINGS, setting(8, 1)),
        frame(PING, bytes(8), flags=ACK),
        frame(PING, bytes(8), flags=0xFE),
        frame(SETTINGS, flags=ACK),
        frame(0xBE, bytes(16_384)) * 100,
        frame(0xBE) * 10_000,
    ],
)
async def test_what_http2_ignores_is_ignored(data, autojump_clock):
    async with wired() as (wire, _):
        frames = await wire.exchange(HELLO + data + called(3))
        assert answer_on(frames, 3) == framed(Note("x"))
        assert not ended(frames)
        assert not resets(frames)
        assert not wire.is_over


async def test_a_header_block_may_come_in_several_frames(autojump_clock):
    async with wired() as (wire, _):
        whole = block()
        pieces = frame(HEADERS, whole[:5], stream=1) + frame(CONTINUATION, b"", stream=1)
        pieces += frame(CONTINUATION, whole[5:], flags=END_HEADERS, stream=1)
        data = frame(DATA, b"\x03" + framed(Note("x")) + bytes(3), flags=END_STREAM | PADDED, stream=1)
        assert answer_on(await wire.exchange(HELLO + pieces + data), 1) == framed(Note("x"))


def without(name):
    return [(key, value) for key, value in REQUEST if key != name]


MALFORMED = {
    "an upper-case name": [*REQUEST, ("Plain", "x")],
    "no path": without(":path"),
    "no method": without(":method"),
    "no scheme": without(":scheme"),
    "no headers": [],
    "a path after others": [*without(":path"), (":path", "/echo.Echo/Say")],
    "two paths": [(":path", "/echo.Echo/Say"), *REQUEST],
    "a status": [(":status", "200"), *REQUEST],
    "an unknown pseudo-header": [(":colour", "red"), *REQUEST],
    "a protocol": [(":protocol", "websocket"), *REQUEST],
    "a connection header": [*REQUEST, ("connection", "keep-alive")],
    "a transfer-encoding": [*REQUEST, ("transfer-encoding", "chunked")],
    "an upgrade": [*REQUEST, ("upgrade", "h2c")],
    "an empty name": [*REQUEST, ("", "x")],
    "a name with a blank": [*REQUEST, ("pl ain", "x")],
    "a name with a colon": [*REQUEST, ("pl:ain", "x")],
    "a name beyond ASCII": [*REQUEST, (b"pl\xe4in", b"x")],
    "a value with a line's end": [*REQUEST, ("plain", "x\r\ny: z")],
    "a value with a zero": [*REQUEST, ("plain", "x\0")],
}


@pytest.mark.parametrize("rest", ["ended", "followed"])
@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_ends_its_stream_and_no_other(case, rest, autojump_clock):
    headers = MALFORMED[case]
    if rest == "ended":
        request = frame(HEADERS, block(headers), flags=END_HEADERS | END_STREAM, stream=1)
    else:
        request = called(1, headers)
    async with wired() as (wire, _):
        frames = await wire.exchange(HELLO + request + called(3))
        assert (1, PROTOCOL) in resets(frames)
        assert {number for number, _ in resets(frames)} == {1}
        assert answer_on(frames, 3) == framed(Note("x"))
        assert not answer_on(frames, 1)
        assert not ended(frames)
        assert not wire.is_over


class Stubborn(Echo):
    """Takes a while to give a call up, and counts those that are under way."""

    def __init__(self):
        self.live = self.most = 0

    async def say(self, _message):
        self.live += 1
        self.most = max(self.most, self.live)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.live -= 1


@pytest.mark.parametrize("split", ["together", "apart"])
@pytest.mark.parametrize("stubborn", [True, False])
async def test_thousands_of_streams_reset_at_once_are_bounded_and_leave_the_server_serving(
    split, stubborn, autojump_clock
):
    service = Stubborn() if stubborn else Echo()
    limits = Limits(max_streams=20)
    async with wired(service, limits) as (wire, server):
        await wire.exchange(HELLO, seconds=1)
        most = 0
        for first in range(1, 6001, 100):
            numbers = range(first, first + 100, 2)
            calls = [called(number) for number in numbers]
            gone = [frame(RST_STREAM, uint(ErrorCodes.CANCEL), stream=number) for number in numbers]
            if split == "together":
                await wire.stream.send_all(b"".join(a + b for a, b in zip(calls, gone, strict=True)))
            else:
                for call, reset in zip(calls, gone, strict=True):
                    await wire.stream.send_all(call)
                    await trio.testing.wait_all_tasks_blocked()
                    most = max(most, *(len(connection._streams) for connection in server._connections))
                    await wire.stream.send_all(reset)
            await trio.testing.wait_all_tasks_blocked()
            most = max(most, *(len(connection._streams) for connection in server._connections))
        await wire.exchange(b"")
        assert most <= 2 * limits.max_streams
        if stubborn:
            assert service.most <= 2 * limits.max_streams
            assert service.live == 0
        assert not any(connection._streams for connection in server._connections)
        assert not wire.is_over
        join = [(name, "/echo.Echo/Join" if name == ":path" else value) for name, value in REQUEST]
        assert answer_on(await wire.exchange(called(9001, join)), 9001) == framed(Note("x", number=1))


class Chance:
    """Frames and bytes as chance has them, some of which make sense."""

    def __init__(self, seed, *, client):
        self.random = random.Random(seed)
        self.client = client
        self.wildness = self.random.choice([0.01, 0.05, 1])
        self.last = -1
        self.answered = set()

    def stream(self):
        return self.random.choice([0, 1, 1, 1, 2, 3, 3, 5, 7, 9, 0x7FFF_FFFF, self.random.getrandbits(32)])

    def headers(self):
        if self.client:
            headers = list(REQUEST)
        else:
            headers = [*self.random.choice([ANSWER, OK, ANSWER + OK, [(":status", "100")]])]
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            odd = [("Odd", "x"), ("x-bin", "?"), ("grpc-timeout", "1n"), ("grpc-status", "-1"), ("grpc-message", "%%")]
            headers.insert(self.random.randrange(len(headers) + 1), self.random.choice(odd))
        if self.random.random() < 0.1:
            self.random.shuffle(headers)
        return block(headers)

    def tame(self):  # noqa: C901, PLR0911
        """A frame that is allowed, more or less: most sessions are to get somewhere before they break down."""
        choose = self.random.choice
        stream = choose(range(1, max(8, self.last + 1), 2)) if not self.client else choose([1, max(1, self.last)])
        match choose(["open", "open", "data", "data", "end", "reset", "window", "connection", "settings", "ignored"]):
            case "open" if self.client:
                self.last += 2
                note = Note("x" * self.random.randrange(50), number=self.random.randrange(3))
                path = choose(["Say", "Say", "Split", "Join", "Chat", "None"])
                headers = [(key, f"/echo.Echo/{path}" if key == ":path" else value) for key, value in REQUEST]
                return choose([opened(self.last, headers), called(self.last, headers, note)])
            case "open" | "data" if not self.client and stream not in self.answered:
                self.answered.add(stream)
                return frame(HEADERS, block(ANSWER), flags=END_HEADERS, stream=stream)
            case "end" if not self.client and stream not in self.answered:
                headers = block([*ANSWER, ("grpc-status", "5")])
                return frame(HEADERS, headers, flags=END_HEADERS | END_STREAM, stream=stream)
            case "data" if self.last > 0 or not self.client:
                return frame(DATA, framed(Note("x"))[: choose([3, 100])], stream=stream)
            case "end" if self.last > 0 and self.client:
                return frame(DATA, framed(Note("x")), flags=END_STREAM, stream=stream)
            case "end" if not self.client:
                return frame(HEADERS, block(OK), flags=END_HEADERS | END_STREAM, stream=stream)
            case "reset" if self.last > 0 or not self.client:
                return frame(RST_STREAM, uint(self.random.randrange(16)), stream=stream)
            case "window" if self.last > 0 or not self.client:
                return frame(WINDOW_UPDATE, uint(self.random.randrange(1, 1000)), stream=stream)
            case "connection":
                return choose([frame(PING, bytes(8)), frame(WINDOW_UPDATE, uint(1)), goaway(choose([0, 3, 1000]))])
            case "settings":
                return frame(SETTINGS, choose([setting(4, choose([0, 1, 70_000])), setting(5, 20_000), setting(1, 0)]))
            case _:
                return choose(
                    [frame(PRIORITY, uint(0) + b"x", stream=101), frame(0xBE, b"x"), frame(SETTINGS, flags=ACK)]
                )

    def frame(self):
        if self.random.random() >= self.wildness:
            return self.tame()
        draw = self.random.random
        kind = self.random.choice([DATA, DATA, HEADERS, HEADERS, *range(10), self.random.randrange(256)])
        payload = self.random.randbytes(self.random.choice([0, 4, 4, 5, 6, 8, 8, 12, 100]))
        if kind == DATA and draw() < 0.7:
            payload = framed(Note("x" * self.random.randrange(50)))
        if kind in (HEADERS, CONTINUATION) and draw() < 0.8:
            payload = self.headers()
        if kind == PUSH_PROMISE and draw() < 0.8:
            payload = uint(self.random.choice([2, 4, 6])) + self.headers()
        if kind == SETTINGS and draw() < 0.8:
            code = self.random.randrange(9)
            payload = setting(code, self.random.choice([0, 1, 100, 20_000, 0x7FFF_FFFF, self.random.getrandbits(32)]))
        if kind == WINDOW_UPDATE and draw() < 0.8:
            payload = uint(self.random.choice([1, 1000, 0x7FFF_FFFF]))
        if kind == RST_STREAM:
            payload = uint(self.random.randrange(16))
        if kind == PING:
            payload = bytes(8)
        flags = self.random.choice([0, 0, ACK, END_HEADERS, END_HEADERS, END_HEADERS | END_STREAM])
        if draw() < 0.1:
            flags = self.random.randrange(256)
        on_connection = kind in (SETTINGS, PING, GOAWAY) and draw() < 0.9
        return frame(kind, payload, flags=flags, stream=0 if on_connection else self.stream())

    def session(self):
        """What one peer sends, in pieces."""
        start = HELLO if self.client else frame(SETTINGS)
        is_wild = self.wildness == 1
        if is_wild and self.random.random() < 0.05:
            start = self.random.randbytes(30)
        yield start
        frames = [
            self.random.randbytes(10) if is_wild and self.random.random() < 0.03 else self.frame()
            for _ in range(self.random.randrange(1, 40))
        ]
        data = bytearray(b"".join(frames))
        if is_wild and self.random.random() < 0.2:
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        while data:
            size = self.random.choice([1, 5, 9, 50, 1000, 100_000])
            yield bytes(data[:size])
            del data[:size]


async def play(chance, stream):
    """Send a session with pauses here and there, and hang up a while later."""
    likelihood = 1.0
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        for piece in chance.session():
            await stream.send_all(piece)
            # The first time always, so that a client has made its calls.
            if chance.random.random() < likelihood:
                await trio.sleep(chance.random.random())
            likelihood = 0.3
        await trio.sleep(chance.random.choice([0, 5]))
    await stream.aclose()


async def test_no_chance_sequence_of_frames_makes_a_server_fail_or_hang(autojump_clock):
    said = []

    class Counting(Echo):
        async def say(self, message):
            said.append(message)
            return message

    with capture_logs() as logs:
        for seed in range(200):
            server = Server([Counting()], limits=Limits(max_streams=3))
            ours, theirs = trio.testing.memory_stream_pair()
            with trio.fail_after(100):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.serve_stream, theirs)
                    nursery.start_soon(play, Chance(seed, client=True), ours)
            assert no_bugs(logs), f"seed {seed}"
    assert sum(log["event"] == "http2_violation" for log in logs) > 20
    assert len(said) > 20


async def test_no_chance_sequence_of_frames_makes_a_client_fail_or_hang(autojump_clock):
    outcomes, replies = [], []

    async def outcome(call):
        try:
            outcomes.append(await call)
        except RpcError as error:
            outcomes.append(error)

    async def calls(stream):
        async with open_channel(stream) as channel, trio.open_nursery() as nursery:
            stub = Stub(channel)
            nursery.start_soon(outcome, stub.say(Note("x"), timeout=50))
            nursery.start_soon(outcome, collect(stub.split(Note("x"), timeout=50), replies))
            nursery.start_soon(outcome, stub.join([Note("x")] * 3, timeout=50))
            nursery.start_soon(outcome, collect(stub.chat([Note("x")] * 3, timeout=50), replies))

    for seed in range(200):
        ours, theirs = trio.testing.memory_stream_pair()
        with trio.fail_after(200):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outcome, calls(ours))
                nursery.start_soon(play, Chance(seed, client=False), theirs)
    assert len(outcomes) >= 200
    assert sum(isinstance(each, RpcError) for each in outcomes) > 100
    assert any(isinstance(each, RpcRefused) for each in outcomes)
    assert replies
