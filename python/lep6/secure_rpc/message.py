"""The one message that each side of a handshake sends, as it stands in the stream (secure RPC contract §3.1)."""

from typing import Final, final

from attrs import frozen

from lep6.errors import HandshakeFailed, HandshakeFailure

LENGTH_SIZE: Final = 4
"""Bytes of a length, big-endian."""
LARGEST_INFO: Final = 1024
SIGNATURE_SIZES: Final = (64, 65)
LARGEST_MESSAGE: Final = LENGTH_SIZE + LARGEST_INFO + LENGTH_SIZE + max(SIGNATURE_SIZES)


@final
@frozen
class HandshakeMessage:
    """An info block and the signature over it."""

    info: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """As it is sent."""
        return b"".join(len(part).to_bytes(LENGTH_SIZE, "big") + part for part in (self.info, self.signature))


@final
class MessageReader:
    """Takes a message out of a stream, in whatever pieces that comes. Holds no more than the largest message."""

    def __init__(self) -> None:
        self._data = b""

    @property
    def has_begun(self) -> bool:
        """Whether a byte has come."""
        return bool(self._data)

    @property
    def room(self) -> int:
        """Bytes that the rest of the largest message has: more need not be read at a time."""
        return LARGEST_MESSAGE - len(self._data)

    def feed(self, data: bytes) -> tuple[HandshakeMessage, bytes] | None:
        """Take bytes: the message, and what came behind it, once it is whole.

        Raises:
            HandshakeFailed: MALFORMED, a length that no honest side sends. It is seen before more is taken.
        """
        self._data += data
        info = self._part(0, range(1, LARGEST_INFO + 1))
        if info is None:
            return None
        signature = self._part(LENGTH_SIZE + len(info), SIGNATURE_SIZES)
        if signature is None:
            return None
        message = HandshakeMessage(info, signature)
        return message, self._data[len(message.to_bytes()) :]

    def _part(self, at: int, sizes: range | tuple[int, ...]) -> bytes | None:
        """The part whose length stands at this offset, once it is whole."""
        begin = at + LENGTH_SIZE
        if len(self._data) < begin:
            return None
        size = int.from_bytes(self._data[at:begin], "big")
        if size not in sizes:
            raise HandshakeFailed(
                HandshakeFailure.MALFORMED, f"a part of {size} bytes, where {sizes[0]} to {sizes[-1]} are possible"
            )
        return self._data[begin : begin + size] if len(self._data) >= begin + size else None
