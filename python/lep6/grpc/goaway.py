"""GOAWAY apart from h2.

h2 takes a GOAWAY for the end of the connection, in both directions. HTTP/2 means it as "no new streams": those below
the stated id go on (RFC 9113 §6.8). So frames are followed here by their headers alone: GOAWAY frames are taken out of
what h2 is given, and graceful ones are written beside it.
"""

from collections.abc import Iterator
from typing import Final, final

from attrs import frozen
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

HEADER: Final = 9
CLIENT_PREFACE: Final = 24
GOAWAY: Final = 0x7
OPENS_BLOCK: Final = (0x1, 0x5, 0x9)
"""HEADERS, PUSH_PROMISE, CONTINUATION: until END_HEADERS nothing else may come, GOAWAY neither."""
END_HEADERS: Final = 0x4
SMALLEST: Final = 8
"""Bytes of payload; less is no GOAWAY, which is left to h2 to refuse."""


@final
@frozen
class GoAway:
    """The peer takes no new streams."""

    last_stream: int
    """The highest stream of ours that it has acted on, or will."""
    code: int
    text: str


@final
class GoAwayFilter:
    """Takes GOAWAY frames out of a byte stream, however it is split. What holds none passes as it is."""

    def __init__(self, *, skip: int, largest: int) -> None:
        """`skip`: bytes before the first frame, which a client's preface has. `largest`: bytes of a frame's payload."""
        self._largest = largest
        self._pass = skip
        self._held = b""
        self._in_block = False

    def feed(self, data: bytes) -> Iterator[bytes | GoAway]:
        """What is for h2, and the GOAWAY frames, in their order."""
        if self._held:
            data, self._held = self._held + data, b""
        start = at = 0
        while True:
            step = min(self._pass, len(data) - at)
            at, self._pass = at + step, self._pass - step
            if self._pass or len(data) - at < HEADER:
                break
            length = int.from_bytes(data[at : at + 3], "big")
            if self._is_goaway(data, at, length):
                end = at + HEADER + length
                if end > len(data):
                    break
                if at > start:
                    yield data[start:at]
                yield _goaway(data[at + HEADER : end])
                start = at = end
            else:
                if data[at + 3] in OPENS_BLOCK:
                    self._in_block = not data[at + 4] & END_HEADERS
                at, self._pass = at + HEADER, length
        self._held = data[at:]
        if at > start:
            yield data[start:at]

    def _is_goaway(self, data: bytes, at: int, length: int) -> bool:
        stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFF_FFFF
        return data[at + 3] == GOAWAY and not self._in_block and not stream and SMALLEST <= length <= self._largest


def _goaway(payload: bytes) -> GoAway:
    last_stream = int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
    return GoAway(last_stream, int.from_bytes(payload[4:8], "big"), payload[8:].decode("utf-8", "replace"))


def goaway_frame(last_stream: int, code: ErrorCodes = ErrorCodes.NO_ERROR, text: str = "") -> bytes:
    """The bytes of a GOAWAY frame."""
    frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=code, additional_data=text.encode())
    return frame.serialize()
