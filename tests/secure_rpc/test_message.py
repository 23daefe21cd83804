"""The message reader: whatever the pieces, the same message; whatever the bytes, bounded and refused in one way."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.secure_rpc.message import LARGEST_INFO, LARGEST_MESSAGE, SIGNATURE_SIZES, HandshakeMessage, MessageReader
from secure_rpc.parties import refused
from world import noise

MESSAGES = st.builds(
    HandshakeMessage,
    st.binary(min_size=1, max_size=60) | st.integers(1, LARGEST_INFO).map(noise),
    st.sampled_from(SIGNATURE_SIZES).map(noise),
)
PLACES = st.lists(st.integers(0, LARGEST_MESSAGE), max_size=8)


def cut(stream, places):
    ends = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(ends)]


def read(pieces):
    """The message, and all that came behind it; or why there is none."""
    reader = MessageReader()
    try:
        for number, piece in enumerate(pieces):
            if (found := reader.feed(piece)) is not None:
                message, surplus = found
                return message, surplus + b"".join(pieces[number + 1 :])
    except HandshakeFailed as error:
        return error.why, str(error)
    return None


@given(MESSAGES, st.binary(max_size=50), PLACES)
def test_a_message_is_the_same_in_whatever_pieces_it_comes_and_nothing_behind_it_is_lost(message, behind, places):
    stream = message.to_bytes() + behind
    assert read([stream]) == (message, behind)
    assert read(cut(stream, places)) == (message, behind)
    assert read([bytes([byte]) for byte in stream]) == (message, behind)


@given(MESSAGES, PLACES)
def test_a_message_that_is_cut_off_is_waited_for(message, places):
    stream = message.to_bytes()
    for size in {place % len(stream) for place in places} | {0, 3, 4, len(stream) - 1}:
        reader = MessageReader()
        assert reader.feed(stream[:size]) is None
        assert reader.has_begun == (size > 0)
        assert reader.room >= len(stream) - size
        assert reader.feed(stream[size:]) == (message, b"")


def test_no_beginning_of_a_message_is_one():
    stream = HandshakeMessage(noise(204), noise(65)).to_bytes()
    for size in range(len(stream)):
        assert read([stream[:size]]) is None


LENGTHS = st.sampled_from([0, 1, 63, 64, 65, 66, 204, 1024, 1025, 1 << 31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@st.composite
def streams(draw):
    """Bytes that look like a message from afar."""
    pieces = []
    for _ in range(2):
        length = draw(LENGTHS)
        pieces.append(length.to_bytes(4, "big") + draw(st.sampled_from([b"", noise(min(length, 1100))])))
    return b"".join(pieces) + draw(st.binary(max_size=80))


@given(st.binary(max_size=200) | streams(), PLACES)
def test_bytes_at_random_are_read_alike_in_all_pieces_and_refused_in_one_way(stream, places):
    whole = read([stream])
    assert read([stream[at : at + 1] for at in range(len(stream))]) == whole
    assert read(cut(stream, places)) == whole
    if whole is not None and isinstance(whole[0], HandshakeFailure):
        assert whole[0] is HandshakeFailure.MALFORMED


@pytest.mark.parametrize("size", [0, LARGEST_INFO + 1, 1 << 16, 1 << 31, 2**32 - 1])
def test_an_info_block_of_a_size_that_none_has_is_refused_with_the_last_byte_of_its_length(size):
    reader = MessageReader()
    length = size.to_bytes(4, "big")
    assert reader.feed(length[:3]) is None
    with refused(HandshakeFailure.MALFORMED):
        reader.feed(length[3:])


@pytest.mark.parametrize("size", [0, 1, 63, 66, 1 << 31, 2**32 - 1])
def test_a_signature_of_a_size_that_none_has_is_refused_with_the_last_byte_of_its_length(size):
    reader = MessageReader()
    assert reader.feed(b"\0\0\0\x0ahas 10 byt" + size.to_bytes(4, "big")[:3]) is None
    with refused(HandshakeFailure.MALFORMED):
        reader.feed(size.to_bytes(4, "big")[3:])


def test_lengths_are_big_endian():
    with refused(HandshakeFailure.MALFORMED):
        MessageReader().feed((204).to_bytes(4, "little"))


def test_the_smallest_and_the_largest_message_are_read():
    for info in (1, LARGEST_INFO):
        for signature in SIGNATURE_SIZES:
            message = HandshakeMessage(noise(info), noise(signature))
            assert read([message.to_bytes()]) == (message, b"")
    assert len(HandshakeMessage(noise(LARGEST_INFO), noise(65)).to_bytes()) == LARGEST_MESSAGE


def test_a_reader_always_has_room_for_what_it_waits_for():
    stream = HandshakeMessage(noise(LARGEST_INFO), noise(65)).to_bytes()
    reader = MessageReader()
    for size in range(len(stream)):
        assert reader.room == LARGEST_MESSAGE - size
        reader.feed(stream[size : size + 1])


def test_memory_is_not_reserved_for_what_a_length_claims():
    tracemalloc.start()
    try:
        for claimed in (1 << 28, 2**32 - 1):
            with refused(HandshakeFailure.MALFORMED):
                MessageReader().feed(claimed.to_bytes(4, "big"))
            with refused(HandshakeFailure.MALFORMED):
                MessageReader().feed(b"\0\0\0\1a" + claimed.to_bytes(4, "big"))
        assert tracemalloc.get_traced_memory()[1] < 1 << 18
    finally:
        tracemalloc.stop()
