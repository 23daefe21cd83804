"""One HTTP/2 connection over a `trio.abc.Stream`.

h2 speaks the protocol; two tasks move bytes. The reader feeds h2 and hands events to the streams. The writer alone
sends, so that a cancelled caller never leaves half a frame on the wire; whoever has something to send queues it, and
waits while the queue is long.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Final, final

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio
from grpclib.const import Status
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, Frame

from lep6.errors import RpcError, RpcUnanswered, RpcUnsent
from lep6.grpc.goaway import CLIENT_PREFACE, GoAway, GoAwayFilter, goaway_frame
from lep6.grpc.headers import REQUEST, RESPONSE, TRAILERS, Headers, Pseudo, is_well_formed, texts
from lep6.grpc.limits import Limits
from lep6.grpc.statuses import reset_status
from lep6.grpc.stream import H2Stream, Signal
from lep6.observe import get_logger, shown

log = get_logger("grpc")

READ_SIZE: Final = 1 << 20
DEFAULT_WINDOW: Final = 65_535
LAST_STREAM: Final = 0x7FFF_FFFF
CLOSING_SECONDS: Final = 5.0
"""How long the last bytes of a connection have to leave."""


class _Http2(h2.connection.H2Connection):
    """h2 without the text that it makes of each received frame for its log: of all the payload, in hexadecimal."""

    def _receive_frame(self, frame: Frame) -> list[h2.events.Event]:
        stream = self.streams.get(frame.stream_id)
        if not isinstance(frame, DataFrame) or stream is None or not stream.open:
            return super()._receive_frame(frame)
        frames, events = self._receive_data_frame(frame)
        self._prepare_for_sending(frames)
        return events


@final
class Connection:
    """The connection. `run` moves its bytes until it is over; the streams are used meanwhile."""

    def __init__(
        self,
        transport: trio.abc.Stream,
        limits: Limits,
        *,
        accept: Callable[[H2Stream, Headers], None] | None = None,
    ) -> None:
        """`accept` takes the requests of a client, and makes this the server's side."""
        self.transport = transport
        self.limits = limits
        self.went_away: GoAway | None = None
        self._accept = accept
        self._h2 = _Http2(
            # h2's own check of received headers ends the connection where only one call is wrong; ours is in `headers`.
            h2.config.H2Configuration(
                client_side=accept is None,
                header_encoding="latin-1",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
            )
        )
        self._filter = GoAwayFilter(skip=0 if accept is None else CLIENT_PREFACE, largest=limits.max_frame)
        self._streams: dict[int, H2Stream] = {}
        self._new: dict[int, Headers] = {}
        self._queue: list[bytes] = []
        self._queued = 0
        self._changed = Signal()
        self._to_write = trio.Event()
        self._written = Signal()
        self._settled = trio.Event()
        self._failure: RpcError | None = None
        self._is_draining = False
        self._last_received = self._last_call = trio.current_time()
        self._ping_answered = trio.Event()
        self._last_ping = float("-inf")
        self._strikes = 0
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._last_words = trio.CancelScope(shield=True)
        self._start()

    def _start(self) -> None:
        settings = {
            SettingCodes.INITIAL_WINDOW_SIZE: self.limits.stream_window,
            SettingCodes.MAX_FRAME_SIZE: self.limits.max_frame,
            SettingCodes.MAX_HEADER_LIST_SIZE: self.limits.max_header_list,
        }
        if self._accept is None:
            settings[SettingCodes.ENABLE_PUSH] = 0
        else:
            settings[SettingCodes.MAX_CONCURRENT_STREAMS] = self.limits.max_streams
        self._h2.local_settings = h2.settings.Settings(client=self._accept is None, initial_values=settings)
        # Without this h2 refuses large frames until the peer has acknowledged the setting, and some send at once.
        self._h2.max_inbound_frame_size = self.limits.max_frame
        self._h2.decoder.max_header_list_size = self.limits.max_header_list
        self._h2.initiate_connection()
        if self._accept is not None:
            # A client that opens too many before it has heard of the limit is refused those, not the connection.
            self._h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = LAST_STREAM
            self._h2.local_settings.acknowledge()
        if self.limits.connection_window > DEFAULT_WINDOW:
            self._h2.increment_flow_control_window(self.limits.connection_window - DEFAULT_WINDOW)
        self._flush()

    # The life of the connection.

    async def run(self) -> None:
        """Move bytes until either side ends the connection, then fail what is left of its streams."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                try:
                    with self._scope:
                        await self._serve()
                finally:
                    self._end(RpcUnanswered(Status.UNAVAILABLE, "the connection was closed"))
                    self._last_words.deadline = trio.current_time() + CLOSING_SECONDS
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_SECONDS):
                await self.transport.aclose()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_alive)
            if self._accept is not None:
                nursery.start_soon(self._limit_first_call)
                nursery.start_soon(self._limit_idle)
                nursery.start_soon(self._limit_age)
            await self._read()
            nursery.cancel_scope.cancel(reason="the connection is over")

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that ends with the connection at the latest."""
        if self._nursery is not None and self._failure is None:
            self._nursery.start_soon(task)

    def _end(self, failure: RpcError) -> None:
        """From now on nothing can be sent or received."""
        if self._failure is None:
            self._failure = failure
            for stream in list(self._streams.values()):
                stream.fail(failure)
            self._settled.set()
            self._changed.notify()
            self._written.notify()
            self._to_write.set()

    def close(self, reason: str) -> None:
        """End the connection at once."""
        self._end(RpcUnanswered(Status.UNAVAILABLE, reason))
        self._scope.cancel(reason=reason)

    async def _read(self) -> None:
        try:
            while data := await self.transport.receive_some(READ_SIZE):
                self._last_received = trio.current_time()
                self._receive(bytes(data))
                # A peer that asks for answers and does not take them is not read from.
                await self.wait_for_room()
            self._end(RpcUnanswered(Status.UNAVAILABLE, "the other side closed the connection"))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(RpcUnanswered(Status.UNAVAILABLE, f"the connection broke: {error}"))
        except h2.exceptions.ProtocolError as error:
            self._flush()
            log.warning("http2_violation", reason=str(error))
            self._end(RpcUnanswered(Status.INTERNAL, f"the other side broke HTTP/2: {error}"))

    async def _write(self) -> None:
        """Send what is queued, in pieces that are never cut by a cancellation, until the connection is over."""
        try:
            with self._last_words:
                while self._queue or self._failure is None:
                    await self._to_write.wait()
                    self._to_write = trio.Event()
                    data, self._queue, self._queued = b"".join(self._queue), [], 0
                    if data:
                        await self.transport.send_all(data)
                    self._written.notify()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close(f"the connection broke: {error}")

    def _flush(self, extra: bytes = b"") -> None:
        """Queue what h2 has to say, and `extra` behind it."""
        for data in (self._h2.data_to_send(), extra):
            if data:
                self._queue.append(data)
                self._queued += len(data)
                self._to_write.set()

    async def wait_for_room(self) -> None:
        """Wait while too much is queued for the transport."""
        while self._queued > self.limits.backlog and self._failure is None:
            await self._written.wait()

    # What arrives.

    def _receive(self, data: bytes) -> None:
        for piece in self._filter.feed(data):
            if isinstance(piece, GoAway):
                self._on_goaway(piece)
            else:
                for event in self._h2.receive_data(piece):
                    self._on_event(event)
        self._accept_new()
        self._flush()

    def _accept_new(self) -> None:
        """Hand over the requests of one read, but for those that were given up in the same."""
        new, self._new = self._new, {}
        for number, headers in new.items():
            if self._accept is not None:
                self._accept(self._streams[number], headers)

    def _on_event(self, event: h2.events.Event) -> None:  # noqa: C901, PLR0912
        match event:
            case h2.events.DataReceived(data=data, stream_id=number, flow_controlled_length=length):
                if length > len(data):
                    self.acknowledge(number, length - len(data))
                if (stream := self._streams.get(number)) is not None:
                    stream.take_data(data)
                else:
                    self.acknowledge(number, len(data))
            case h2.events.RequestReceived(stream_id=number, headers=headers):
                self._on_request(number, texts(headers))
            case h2.events.ResponseReceived(stream_id=number, headers=headers):
                if (stream := self._streams.get(number)) is not None:
                    self._on_answer(stream, texts(headers), RESPONSE)
            case h2.events.TrailersReceived(stream_id=number, headers=headers):
                if (stream := self._streams.get(number)) is not None:
                    self._on_answer(stream, texts(headers), TRAILERS)
            case h2.events.StreamEnded(stream_id=number):
                if (stream := self._streams.get(number)) is not None:
                    stream.take_end()
            case h2.events.StreamReset(stream_id=number) if self._new.pop(number, None) is not None:
                del self._streams[number]
            case h2.events.StreamReset(stream_id=number, error_code=code):
                if (stream := self._streams.get(number)) is not None:
                    stream.fail(_reset_failure(code))
                    self._changed.notify()
            case h2.events.WindowUpdated(stream_id=0):
                for stream in self._streams.values():
                    stream.window_changed()
            case h2.events.WindowUpdated(stream_id=number):
                if (stream := self._streams.get(number)) is not None:
                    stream.window_changed()
            case h2.events.RemoteSettingsChanged():
                self._settled.set()
                self._changed.notify()
                for stream in self._streams.values():
                    stream.window_changed()
            case h2.events.PingReceived():
                self._on_ping()
            case h2.events.PingAckReceived():
                self._ping_answered.set()
            case h2.events.ConnectionTerminated(error_code=code):
                self.close(f"the other side ended the connection, code {code}")
            case _:
                pass

    def _on_request(self, number: int, headers: Headers) -> None:
        if not is_well_formed(headers, REQUEST):
            self._reset(number, ErrorCodes.PROTOCOL_ERROR)
            return
        # A call that was given up counts until its handler has ended, but not twice: who resets fast is refused.
        live = sum(stream.failure is None for stream in self._streams.values())
        limit = self.limits.max_streams
        if self._is_draining or live >= limit or len(self._streams) >= 2 * limit:
            self._reset(number, ErrorCodes.REFUSED_STREAM)
            return
        stream = self._streams[number] = H2Stream(self, number)
        stream.take_headers(headers)
        self._new[number] = headers

    def _on_answer(self, stream: H2Stream, headers: Headers, kind: Pseudo) -> None:
        if is_well_formed(headers, kind):
            stream.take_headers(headers)
        else:
            stream.fail(RpcUnanswered(Status.INTERNAL, "the other side sent malformed headers"))
            self._reset(stream.number, ErrorCodes.PROTOCOL_ERROR)

    def _reset(self, number: int, code: ErrorCodes) -> None:
        """Reset a stream that is not over on both sides."""
        known = self._h2.streams.get(number)
        if known is not None and not known.closed:
            self._h2.reset_stream(number, code)

    def _on_goaway(self, goaway: GoAway) -> None:
        """The other side takes no new streams; those above the last one it names were not acted on."""
        is_first, self.went_away = self.went_away is None, goaway
        text = f"the other side went away{f' ({goaway.text})' if goaway.text else ''}"
        if self._accept is None:
            for number, stream in list(self._streams.items()):
                if number > goaway.last_stream:
                    stream.fail(RpcUnsent(Status.UNAVAILABLE, text))
        if goaway.code != ErrorCodes.NO_ERROR and is_first:
            log.warning("http2_goaway", code=goaway.code, text=shown(goaway.text))
        self._changed.notify()
        self._close_if_done()

    def _on_ping(self) -> None:
        """A server bears only so many pings while it sends nothing itself."""
        now = trio.current_time()
        if self._accept is not None and now - self._last_ping < self.limits.min_ping_interval:
            self._strikes += 1
            if self._strikes > self.limits.ping_strikes:
                last = self._h2.highest_inbound_stream_id
                self._flush(goaway_frame(last, ErrorCodes.ENHANCE_YOUR_CALM, "too_many_pings"))
                self.close("the other side pinged too often")
        self._last_ping = now

    # What leaves.

    def acknowledge(self, number: int, count: int) -> None:
        """Give the other side back the room of bytes that were consumed or dropped."""
        if self._failure is None and count:
            self._h2.acknowledge_received_data(count, number)
            self._flush()

    def sendable(self, number: int) -> int:
        """Bytes that may be sent on a stream in one frame now."""
        try:
            window = self._h2.local_flow_control_window(number)
        except h2.exceptions.ProtocolError as error:
            raise self._gone(error) from error
        return min(window, self._h2.max_outbound_frame_size)

    def send_data(self, number: int, data: memoryview, *, end: bool) -> None:
        """Queue one frame of data."""
        try:
            self._h2.send_data(number, data, end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise self._gone(error) from error
        self._sent()

    def send_headers(self, number: int, headers: Headers, *, end: bool) -> None:
        """Queue headers."""
        try:
            self._h2.send_headers(number, headers, end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise self._gone(error) from error
        self._sent()

    def _sent(self) -> None:
        # Who is sent something may ping: a sender's bandwidth probes ride on data.
        self._strikes, self._last_ping = 0, float("-inf")
        self._flush()

    def _gone(self, error: h2.exceptions.ProtocolError) -> RpcError:
        return self._failure or RpcUnanswered(Status.UNAVAILABLE, f"the stream is closed: {error}")

    # Streams.

    async def open_stream(self, headers: Headers, *, end: bool) -> H2Stream:
        """Open a stream when the other side takes one more. Cancelled: none was opened.

        Raises:
            RpcUnsent: the connection is over, or the other side takes no more streams on it.
        """
        await self._settled.wait()
        while True:
            if self._failure is not None:
                raise RpcUnsent(self._failure.status, self._failure.message)
            if not self.is_usable():
                raise RpcUnsent(Status.UNAVAILABLE, "the other side takes no new calls on this connection")
            if self._h2.open_outbound_streams < self._h2.remote_settings.max_concurrent_streams:
                if self._queued <= self.limits.backlog:
                    break
                await self.wait_for_room()
            else:
                await self._changed.wait()
        number = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = H2Stream(self, number)
        self._last_call = trio.current_time()
        try:
            stream.send_headers(headers, end=end)
        except RpcError:
            del self._streams[number]
            raise
        return stream

    def release(self, stream: H2Stream, code: ErrorCodes) -> None:
        """Forget a stream, resetting it when it is not over on both sides."""
        if self._streams.pop(stream.number, None) is not None and self._failure is None:
            self._reset(stream.number, code)
            self._flush()
        self._last_call = trio.current_time()
        self._changed.notify()
        self._close_if_done()

    @property
    def is_client(self) -> bool:
        """Whether this is the side that calls."""
        return self._accept is None

    def is_usable(self) -> bool:
        """Whether new streams may be opened."""
        return self._failure is None and self.went_away is None

    async def wait_unusable(self) -> None:
        """Wait until no new streams may be opened."""
        while self.is_usable():
            await self._changed.wait()

    async def wait_settled(self) -> None:
        """Wait for the other side's settings, which is its first word.

        Raises:
            RpcUnsent: it did not say it in time, or the connection is over.
        """
        with trio.move_on_after(self.limits.settings_timeout):
            await self._settled.wait()
        if self._failure is not None:
            raise RpcUnsent(self._failure.status, self._failure.message)
        if not self._settled.is_set():
            raise RpcUnsent(Status.UNAVAILABLE, f"no word of HTTP/2 within {self.limits.settings_timeout:g} s")

    # Endings.

    def drain(self) -> None:
        """Take no new streams, and end when those that are open have ended."""
        if not self._is_draining and self._failure is None:
            self._is_draining = True
            self._flush(goaway_frame(self._h2.highest_inbound_stream_id))
            self._close_if_done()

    def _close_if_done(self) -> None:
        if (self._is_draining or self.went_away is not None) and not self._streams:
            self.close("the connection was drained")

    async def _keep_alive(self) -> None:
        """Ping when nothing was heard for long; end the connection when that is not answered."""
        while True:
            await trio.sleep_until(self._last_received + self.limits.ping_after_idle)
            if trio.current_time() < self._last_received + self.limits.ping_after_idle or self._failure is not None:
                await trio.lowlevel.checkpoint()
                continue
            self._ping_answered = trio.Event()
            self._h2.ping(b"lep6ping")
            self._flush()
            with trio.move_on_after(self.limits.ping_timeout) as scope:
                await self._ping_answered.wait()
            if scope.cancelled_caught:
                self.close(f"a ping was not answered within {self.limits.ping_timeout:g} s")

    async def _limit_first_call(self) -> None:
        await trio.sleep(self.limits.first_call)
        if not self._h2.highest_inbound_stream_id:
            self.close("no call has come")

    async def _limit_idle(self) -> None:
        while True:
            await trio.sleep_until(self._last_call + self.limits.max_idle)
            if self._streams:
                await self._changed.wait()
            elif trio.current_time() >= self._last_call + self.limits.max_idle:
                self.drain()
                return

    async def _limit_age(self) -> None:
        await trio.sleep(self.limits.max_age * random.uniform(0.9, 1.1))  # noqa: S311
        self.drain()
        await trio.sleep(self.limits.grace)
        self.close("the connection has had its time")


def _reset_failure(code: int) -> RpcError:
    status = reset_status(code)
    if code == ErrorCodes.REFUSED_STREAM:
        return RpcUnsent(status, "the other side refused the stream")
    return RpcUnanswered(status, f"the stream was reset with code {code}")
