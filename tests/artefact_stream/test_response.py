from hypothesis import example, given
from hypothesis import strategies as st

from lep6.artefact_stream.response import Response
from lep6.protobuf import parse
from lep6.wire.supernode import ServeReconstructedArtefactsResponse as Generated

CHUNKS = st.binary(max_size=300)
SIZES = st.integers(0, 2**64 - 1)


@given(CHUNKS, SIZES, st.booleans())
def test_the_bytes_are_those_of_the_generated_class(chunk, total_size, is_last):
    assert bytes(Response(chunk, total_size, is_last)) == bytes(Generated(chunk, total_size, is_last))


@given(CHUNKS, SIZES, st.booleans())
@example(b"", 10, False)
@example(b"x", 10, False)  # a size whose byte is the tag of a chunk
@example(b"x" * 128, 0, True)
def test_what_the_generated_class_writes_is_read(chunk, total_size, is_last):
    message = parse(Response, bytes(Generated(chunk, total_size, is_last)))
    assert (message.chunk, message.total_size, message.is_last) == (chunk, total_size, is_last)


UNKNOWN = b"\x22\x01x"
FIELDS = st.builds(Generated, chunk=CHUNKS, total_size=SIZES, is_last=st.booleans()).map(bytes)


@given(st.lists(FIELDS | st.sampled_from([b"\x0a\x00", UNKNOWN]), max_size=4).map(b"".join))
@example(b"\x0a\x01x\x0a\x00")
def test_fields_in_any_order_and_number_are_read_as_the_generated_class_reads_them(data):
    message, expected = parse(Response, data), parse(Generated, data)
    assert (message.chunk, message.total_size, message.is_last) == (
        expected.chunk,
        expected.total_size,
        expected.is_last,
    )
