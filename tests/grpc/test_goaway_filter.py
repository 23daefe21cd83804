"""GOAWAY frames are found however the bytes arrive, and what h2 is to refuse reaches it."""

from itertools import pairwise

import pytest
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st

from lep6.grpc.goaway import CLIENT_PREFACE, GoAway, GoAwayFilter, goaway_frame

DATA, HEADERS, SETTINGS, PUSH_PROMISE, PING, GOAWAY, CONTINUATION = 0x0, 0x1, 0x4, 0x5, 0x6, 0x7, 0x9
END_HEADERS = 0x4
LARGEST = 200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, payload=b"", *, flags=0, stream=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def goaway(last=7, code=0, text="", **options):
    return frame(GOAWAY, last.to_bytes(4, "big") + code.to_bytes(4, "big") + text.encode(), **options)


def merged(pieces):
    """Pieces in their order, neighbouring bytes as one."""
    result = []
    for piece in pieces:
        if isinstance(piece, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += piece
        else:
            result.append(piece)
    return result


def filtered(*parts, skip=0):
    """What comes out when the parts arrive one after another."""
    sieve = GoAwayFilter(skip=skip, largest=LARGEST)
    return merged(piece for part in parts for piece in sieve.feed(part))


def split(data, cuts):
    """Data in pieces, cut at these places."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


streams = st.integers(1, 0x7FFF_FFFF)
flags = st.integers(0, 255)
bodies = st.binary(max_size=LARGEST)
goaways = st.builds(
    lambda last, code, text: (goaway(last, code, text), GoAway(last, code, text)),
    st.integers(0, 0x7FFF_FFFF),
    st.integers(0, 0xFFFF_FFFF),
    st.text(st.characters(max_codepoint=0x7F), max_size=LARGEST - 8),
)
"""Graceful or not: the frame, and what it says."""
refused = st.one_of(
    st.builds(lambda body, flag: frame(GOAWAY, body[:7], flags=flag), bodies, flags),
    st.builds(lambda body, stream: frame(GOAWAY, bytes(8) + body[:100], stream=stream), bodies, streams),
    st.builds(lambda body: frame(GOAWAY, bytes(LARGEST + 1) + body), bodies),
)
"""Too short, on a stream, too long."""
others = st.builds(
    lambda kind, body, flag, stream: frame(kind, body, flags=flag, stream=stream),
    st.integers(0, 255).filter(lambda kind: kind not in (HEADERS, PUSH_PROMISE, GOAWAY, CONTINUATION)),
    bodies,
    flags,
    st.integers(0, 0x7FFF_FFFF),
)
blocks = st.builds(
    lambda kind, stream, inside, body: (
        frame(kind, body, stream=stream)
        + b"".join(inside)
        + frame(CONTINUATION, body, flags=END_HEADERS, stream=stream)
    ),
    st.sampled_from([HEADERS, PUSH_PROMISE, CONTINUATION]),
    streams,
    st.lists(goaways.map(lambda pair: pair[0]) | refused | others, max_size=3),
    bodies,
)
"""Whole header blocks, with frames in the middle that do not belong there."""
sequences = st.lists(goaways | (refused | others | blocks).map(lambda data: (data, data)), max_size=12)
cuts = st.lists(st.integers(0, 3000), max_size=40)


@given(sequences, cuts, st.booleans())
def test_what_comes_out_does_not_depend_on_how_the_bytes_arrive(sequence, cuts, is_server):
    start = PREFACE if is_server else b""
    data = start + b"".join(frame for frame, _ in sequence)
    expected = merged([start, *(outcome for _, outcome in sequence)] if start else [outcome for _, outcome in sequence])
    skip = CLIENT_PREFACE if is_server else 0
    assert filtered(data, skip=skip) == expected
    assert filtered(*split(data, cuts), skip=skip) == expected


@given(sequences)
def test_bytes_may_come_one_at_a_time(sequence):
    data = b"".join(frame for frame, _ in sequence)
    assert filtered(*(bytes([byte]) for byte in data)) == merged(outcome for _, outcome in sequence)


@given(st.binary(max_size=2000), cuts)
def test_garbage_comes_out_alike_however_it_arrives(data, cuts):
    assert filtered(*split(data, cuts)) == filtered(data)


@given(sequences)
def test_only_the_beginning_of_a_frame_is_held_back(sequence):
    sieve = GoAwayFilter(skip=0, largest=LARGEST)
    for data, _ in sequence:
        before, after = data[:-1], data[-1:]
        held = len(before) - sum(len(piece) for piece in sieve.feed(before) if isinstance(piece, bytes))
        assert held < 9 + LARGEST
        list(sieve.feed(after))
        assert not sieve._held


@pytest.mark.parametrize(
    "data",
    [
        frame(HEADERS, b"x", stream=1) + goaway() + frame(CONTINUATION, b"y", stream=1, flags=END_HEADERS),
        frame(PUSH_PROMISE, b"x", stream=1) + goaway(),
        frame(HEADERS, b"x", stream=1) + frame(CONTINUATION, b"y", stream=1) + goaway(),
    ],
)
def test_a_goaway_inside_a_header_block_is_left_to_h2(data):
    assert filtered(data) == [data]


def test_a_goaway_after_a_header_block_is_taken_out():
    block = frame(HEADERS, b"x", stream=1) + frame(CONTINUATION, b"y", stream=1, flags=END_HEADERS)
    assert filtered(block + goaway(5, 2, "why")) == [block, GoAway(5, 2, "why")]


@pytest.mark.parametrize("stream", [1, 2, 0x7FFF_FFFF])
def test_a_goaway_with_a_stream_id_is_left_to_h2(stream):
    assert filtered(goaway(stream=stream)) == [goaway(stream=stream)]


@pytest.mark.parametrize("length", range(8))
def test_a_goaway_that_is_too_short_is_left_to_h2(length):
    assert filtered(frame(GOAWAY, bytes(length))) == [frame(GOAWAY, bytes(length))]


def test_a_goaway_that_is_too_long_is_left_to_h2_and_never_held():
    assert filtered(goaway(text="x" * (LARGEST - 8))) == [GoAway(7, 0, "x" * (LARGEST - 8))]
    long = goaway(text="x" * (LARGEST - 7))
    assert filtered(long) == [long]
    assert filtered(long[:100]) == [long[:100]]


def test_reserved_bits_do_not_count():
    assert filtered(goaway(0x8000_0005, stream=0x8000_0000)) == [GoAway(5, 0, "")]


def test_text_that_is_not_utf8_is_read_as_far_as_it_is():
    assert filtered(frame(GOAWAY, bytes(8) + b"a\xffb")) == [GoAway(0, 0, "a\ufffdb")]


def test_a_preface_is_no_frame_even_if_it_looks_like_one():
    looks = goaway(text="x" * 7)
    assert len(looks) == CLIENT_PREFACE
    assert filtered(looks + goaway(), skip=CLIENT_PREFACE) == [looks, GoAway(7, 0, "")]


@given(st.integers(0, 0x7FFF_FFFF), st.sampled_from(ErrorCodes), st.text(max_size=40))
def test_a_goaway_that_is_written_is_read_as_it_was_meant(last, code, text):
    assert filtered(goaway_frame(last, code, text)) == [GoAway(last, code, text)]
