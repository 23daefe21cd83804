"""Records that were changed on their way. All text comes out that stands before the first change, and no other."""

from typing import Final

from fuzz.pieces import Script, cut
from lep6 import _core
from lep6.errors import InvalidRecord

KEY: Final = bytes(range(56))
OVERHEAD: Final = 24
"""Bytes of a record beside its text."""
LARGEST: Final = 4 + (1 << 20)
CHANGES: Final = 8
"""At most."""


def fuzz(data: bytes) -> None:
    """One direction of a connection: the size of its records, how it is cut and changed, and then its text."""
    script = Script(data)
    from_client = bool(script.number() & 1)
    payload = script.number() + 1
    sizes = script.numbers(7)
    changes = [
        (script.number(), script.number() << 8 | script.number(), script.number())
        for _ in range(script.number() % (CHANGES + 1))
    ]
    text = script.data
    wire = _core.RecordSealer(KEY, from_client=from_client, payload=payload).seal(text)
    back = _core.RecordSealer(KEY, from_client=not from_client, payload=payload).seal(text)
    changed = wire
    for change in changes:
        changed = _changed(changed, back, *change)

    opened, failure = _opened(changed, sizes, wire, from_client=from_client)
    assert (opened, failure) == _opened(changed, [], wire, from_client=from_client), "it depends on the pieces"
    same = _same(wire, changed)
    ends = _ends(len(text), payload)
    whole = max(number for number, end in enumerate(ends) if end <= same)
    assert opened == text[: whole * payload]
    if failure is None:
        # What is left is the beginning of a record, and looks like one.
        assert len(changed) - ends[whole] < LARGEST


def _ends(size: int, payload: int) -> list[int]:
    """Where the stream ends that has 0, 1, 2, ... records of a text of this size."""
    ends = [0]
    for start in range(0, size, payload):
        ends.append(ends[-1] + OVERHEAD + min(payload, size - start))
    return ends


def _same(one: bytes, other: bytes) -> int:
    """How many bytes the two have in common at their beginning."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))


def _changed(wire: bytes, back: bytes, how: int, where: int, value: int) -> bytes:
    """One change: a byte flips, comes, or some go; an end; a piece comes again, or from the other way; zeros."""
    at = where % (len(wire) + 1)
    before, behind = wire[:at], wire[at:]
    changes = (
        before + bytes([byte ^ value for byte in behind[:1]]) + behind[1:],
        before + bytes([value]) + behind,
        before + behind[value:],
        before,
        before + wire[max(0, at - value) : at] + behind,
        before + back[at : at + value] + behind[value:],
        before + bytes(value) + behind,
    )
    return changes[how % len(changes)]


def _opened(stream: bytes, sizes: list[int], good: bytes, *, from_client: bool) -> tuple[bytes, str | None]:
    """All text that comes out, and why no more does."""
    opener = _core.RecordOpener(KEY, from_client=from_client)
    text, failure = b"", None
    for piece in [*cut(stream, sizes), b""]:
        more, why = _open(opener, piece)
        assert failure is None or (more, why) == (b"", failure), "it goes on behind a failure"
        text, failure = text + more, why
        assert opener.pending < LARGEST
    if failure is not None:
        opened = opener.opened
        assert _open(opener, good) == (b"", failure)
        assert opener.opened == opened
        assert opener.pending, "a failure looks like an end"
    return text, failure


def _open(opener: _core.RecordOpener, piece: bytes) -> tuple[bytes, str | None]:
    """What comes out, or why nothing does."""
    try:
        return opener.open(piece), None
    except InvalidRecord as error:
        return b"", str(error)


def seeds() -> list[bytes]:
    """Where a fuzzer starts: a stream as it is and with one change of each kind, in either direction."""
    text = b"a text of more than one record"
    starts = [bytes([side, payload, *cuts]) for side in (0, 1) for payload in (9, 255) for cuts in ([0], [2, 1, 30])]
    changes = [b"\0", *(bytes([1, how, 0, 40, 25]) for how in range(7))]
    return [start + change + text for start in starts for change in changes]
