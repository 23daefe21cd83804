"""A secured connection as a `trio.abc.Stream` (secure RPC contract §5)."""

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn, final

import trio
from attrs import frozen

from lep6 import _core
from lep6.errors import InvalidRecord
from lep6.grpc import Limits
from lep6.observe import get_logger
from lep6.secure_rpc.handshake import Session

log = get_logger("secure_rpc")

READ_SIZE: Final = 1 << 18
PEER_PAYLOAD: Final = 4072
"""Plaintext bytes of a record to a Go peer, whose reader takes larger ones, but slowly."""
OUR_PAYLOAD: Final = (128 << 10) + 9
"""The same to a peer of ours: one HTTP/2 frame fits in, with its head."""
SEAL_SIZE: Final = 2 * OUR_PAYLOAD
"""Most plaintext bytes sealed at a time: the peer has the first of them while the next are sealed, and memory of this
size is used again, where the system would hand out that of a whole chunk anew each time."""
PEER_LIMITS: Final = Limits()
OUR_LIMITS: Final = Limits(max_frame=128 << 10, stream_window=32 << 20)
"""HTTP/2 between two of ours."""


@final
class AltsStream(trio.abc.Stream):
    """A stream whose other end is an account.

    Until the first record of the peer has opened, all that is known is that somebody has its message: that can be
    replayed. From then on the peer is the one that it says it is. A record that is not the peer's ends the connection
    at once, and the error says why. Sealing and opening is done in the task, a quarter of a MiB at a time.
    """

    def __init__(self, transport: trio.abc.Stream, session: Session, *, confirm_by: float = math.inf) -> None:
        """`confirm_by`: when, on Trio's clock, the peer's first record has to have come."""
        self.transport = transport
        self.session = session
        self._confirm_by = confirm_by
        payload = OUR_PAYLOAD if session.peer.is_ours else PEER_PAYLOAD
        self._piece = SEAL_SIZE // payload * payload
        self._sealer = _core.RecordSealer(session.key, from_client=session.is_client, payload=payload)
        self._opener = _core.RecordOpener(session.key, from_client=not session.is_client)
        self._arrived = session.surplus
        self._plain = b""
        self._is_sending = False
        self._is_receiving = False
        self._is_closed = False
        self._failure: str | None = None

    @property
    def peer(self) -> str | None:
        """The account at the other end; `None` until it has proven to be there."""
        return self.session.peer.account if self._opener.opened else None

    @property
    def failure(self) -> str | None:
        """Why it is broken; `None` when it is not, or was lost beneath us."""
        return self._failure

    @property
    def limits(self) -> Limits:
        """What HTTP/2 is best spoken with over this connection."""
        return OUR_LIMITS if self.session.peer.is_ours else PEER_LIMITS

    async def confirm(self) -> None:
        """Wait for the peer's first record. It is not lost: the next `receive_some` gives it.

        Raises:
            trio.BrokenResourceError: what came was not one, or nothing came.
        """
        with self._receiving():
            await self._fill()
            if not self._plain:
                raise trio.BrokenResourceError("the peer closed before its first record; it may have refused us")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`. Cancelled: nothing more can be sent, since half a record may have left."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._check()
        self._is_sending = True
        try:
            with memoryview(data) as view:
                for at in range(0, len(view) or 1, self._piece):
                    await self.transport.send_all(self._sealed(view[at : at + self._piece]))
        except BaseException:
            self._failure = self._failure or "a send was broken off"
            raise
        finally:
            self._is_sending = False

    def _sealed(self, data: memoryview) -> bytes:
        try:
            return self._sealer.seal(data)
        except InvalidRecord as error:
            self._failure = str(error)
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._check()
        self._is_sending = True
        try:
            await self.transport.wait_send_all_might_not_block()
        finally:
            self._is_sending = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving():
            await self._fill()
            plain, self._plain = self._plain, b""
            if max_bytes is not None and len(plain) > max_bytes:
                plain, self._plain = plain[:max_bytes], plain[max_bytes:]
            return plain

    async def _fill(self) -> None:
        """Have plaintext, unless the stream is at its end. Cancelled: nothing is lost."""
        await trio.lowlevel.checkpoint()
        while not self._plain:
            arrived, self._arrived = self._arrived, b""
            try:
                self._plain = self._opener.open(arrived)
            except InvalidRecord as error:
                await self._break(str(error))
            if not self._plain:
                self._arrived = await self._read()
                if not self._arrived:
                    break
        else:
            return
        if self._opener.pending:
            await self._break(self._why_pending())

    def _why_pending(self) -> str:
        """Why the end of the stream is none between records: after good ones, a bad record is told by the next call."""
        try:
            self._opener.open(b"")
        except InvalidRecord as error:
            return str(error)
        return f"the stream ended in the middle of record {self._opener.opened}"

    async def _read(self) -> bytes:
        """What comes next; of the first record, in time."""
        if self._opener.opened:
            return bytes(await self.transport.receive_some(READ_SIZE))
        with trio.move_on_at(self._confirm_by):
            return bytes(await self.transport.receive_some(READ_SIZE))
        return await self._break("the peer's first record did not come in time")

    async def _break(self, why: str) -> NoReturn:
        """Close the connection and say why."""
        self._failure = why
        if self.peer is not None:  # of the others, those who serve and those who dial tell themselves
            log.info("connection_broken", peer=self.peer, reason=why)
        await trio.aclose_forcefully(self.transport)
        raise trio.BrokenResourceError(why)

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        if self._is_receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._check()
        self._is_receiving = True
        try:
            yield
        finally:
            self._is_receiving = False

    def _check(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._failure is not None:
            raise trio.BrokenResourceError(self._failure)

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`. There is no word of farewell in this protocol."""
        self._is_closed = True
        self._plain = b""
        await self.transport.aclose()


@final
@frozen
class HandshakeIdentity:
    """Tells who calls from the handshake of the connection, and from nothing else. An `IdentityResolver`."""

    def resolve(self, transport: trio.abc.Stream, /) -> str | None:
        """See `IdentityResolver.resolve`."""
        return transport.peer if isinstance(transport, AltsStream) else None
