"""The message that carries a chunk, as the network has it, at a copy a side.

The generated class makes several of a chunk, on either side, which is a good part of all the work of a stream.
"""

from typing import Final, Self, final

import betterproto2

from lep6.wire import supernode as wire

CHUNK_TAG: Final = b"\x0a"
"""In front of a chunk and its length."""


@final
class Response(wire.ServeReconstructedArtefactsResponse):
    """A message of the stream. The bytes are those of the generated class, and so is what is read from them."""

    def __bytes__(self) -> bytes:
        rest = bytes(wire.ServeReconstructedArtefactsResponse(total_size=self.total_size, is_last=self.is_last))
        if not self.chunk:
            return rest
        return b"".join((CHUNK_TAG, betterproto2.encode_varint(len(self.chunk)), self.chunk, rest))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message of these bytes, which are known to be one (`lep6.protobuf.parse`)."""
        if not data.startswith(CHUNK_TAG):
            return super().parse(data)
        size, begin = betterproto2.decode_varint(data, 1)
        end = begin + size
        if data.find(CHUNK_TAG, end) != -1:  # perhaps a second chunk, which replaces the first
            return super().parse(data)
        message = super().parse(data[end:])
        message.chunk = data[begin:end]
        return message
