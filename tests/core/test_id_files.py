import base64
import subprocess
import sys

import blake3
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from lep6._core import ZSTD_VERSION, Job, decompress, id_files, key_from_text, zstd_version
from lep6.errors import InvalidArtefact
from world import VECTORS, noise

SIGNED = VECTORS["signed_example_1000B"]
LEVEL_3 = zstandard.ZstdCompressor(level=3)
MAX_COUNTER = 2**64 - 1


def repeated_zeros(blocks):
    """A frame of so many blocks of 128 KiB zeros, which does not state its size."""
    block = (1 << 1 | 131_072 << 3).to_bytes(3, "little") + b"\x00"
    return b"\x28\xb5\x2f\xfd\x00\x38" + block * blocks + b"\x01\x00\x00"


def test_the_compressor_is_the_one_that_the_format_fixes():
    assert zstd_version() == ZSTD_VERSION == 10_507
    assert zstandard.ZSTD_VERSION == (1, 5, 7)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{SIGNED['layout_b64']}.{SIGNED['layout_signature_b64']}", "layout_files"),
        (SIGNED["signatures_field"], "index_files"),
    ],
    ids=["layout", "index"],
)
def test_id_files_of_the_example_are_those_of_the_vectors(text, name):
    made = id_files(text.encode(), SIGNED["rq_ids_ic"], SIGNED["rq_ids_max"], Job())
    assert made == [(key_from_text(file["id"]), base64.b64decode(file["zstd_b64"])) for file in SIGNED[name]]
    for (_, frame), file in zip(made, SIGNED[name], strict=True):
        payload = f"{text}.{file['counter']}".encode()
        assert len(payload) == file["payload_len"]
        assert decompress(frame, len(payload)) == payload


@given(st.binary(max_size=3_000), st.integers(0, MAX_COUNTER - 3), st.integers(0, 3))
@example(b"text", 9, 3)
@example(b"text", MAX_COUNTER - 3, 3)
def test_id_files_are_numbered_and_compressed_as_another_implementation_does(text, first, count):
    frames = [LEVEL_3.compress(text + b".%d" % counter) for counter in range(first, first + count)]
    assert id_files(text, first, count, Job()) == [(blake3.blake3(frame).digest(), frame) for frame in frames]


@pytest.mark.parametrize(("size", "descriptor"), [(100_000, 0xA0), (3_000_000, 0x80)])
def test_layouts_of_large_files_are_compressed_as_another_implementation_does(size, descriptor):
    text = base64.b64encode(noise(size))
    [(_, frame)] = id_files(text, 7, 1, Job())
    assert frame == LEVEL_3.compress(text + b".7")
    assert frame[4] == descriptor


def test_counters_that_do_not_fit_64_bits_are_refused():
    with pytest.raises(InvalidArtefact, match="overflow"):
        id_files(b"text", MAX_COUNTER, 2, Job())


@given(st.binary(max_size=5_000))
def test_a_frame_may_hold_exactly_as_much_as_the_limit_says(content):
    frame = LEVEL_3.compress(content)
    assert decompress(frame, len(content)) == content
    if content:
        with pytest.raises(InvalidArtefact, match="holds more"):
            decompress(frame, len(content) - 1)


def test_a_frame_that_does_not_state_its_size_is_read():
    content = noise(400_000)
    compressor = LEVEL_3.compressobj()
    frame = compressor.compress(content) + compressor.flush()
    assert zstandard.frame_content_size(frame) == -1
    assert decompress(frame, len(content)) == content
    assert decompress(repeated_zeros(2), 1 << 20) == bytes(1 << 18)


@pytest.mark.parametrize("stated", [0, 999, 1_001, 2**62])
def test_a_frame_that_states_another_size_than_it_has_is_refused(stated):
    single_segment = b"\x28\xb5\x2f\xfd\xe0" + stated.to_bytes(8, "little")
    block = (1 | 1 << 1 | 1_000 << 3).to_bytes(3, "little") + b"\x07"
    honest = single_segment[:5] + (1_000).to_bytes(8, "little") + block
    assert decompress(honest, 5_000) == b"\x07" * 1_000
    with pytest.raises(InvalidArtefact):
        decompress(single_segment + block, 5_000)


def test_a_bomb_takes_no_more_memory_than_the_limit_allows():
    """64 GiB in 2 MB. It runs in a process of its own, which has less memory than the bomb needs."""
    script = """
import re, resource, sys
from pathlib import Path
from lep6._core import decompress
from lep6.errors import InvalidArtefact

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

frame = sys.stdin.buffer.read()
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
before = peak()
try:
    decompress(frame, 1_000_000)
except InvalidArtefact:
    print(peak() - before)
"""
    bomb = repeated_zeros(64 << 13)
    ran = subprocess.run([sys.executable, "-c", script], input=bomb, capture_output=True, check=True)
    assert int(ran.stdout) < 16_000


@pytest.mark.parametrize(
    "frame", [b"", b"\x28\xb5\x2f\xfd", b"not a frame at all", LEVEL_3.compress(b"content") + b"more"]
)
def test_what_is_not_a_frame_is_refused(frame):
    with pytest.raises(InvalidArtefact, match="zstd frame"):
        decompress(frame, 1_000)


@given(st.data())
def test_a_frame_that_is_cut_short_is_refused(data):
    frame = base64.b64decode(SIGNED["layout_files"][0]["zstd_b64"])
    kept = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(InvalidArtefact):
        decompress(frame[:kept], 1_000)


@given(st.integers(0, 609), st.integers(1, 255))
def test_a_frame_that_rotted_is_refused_or_within_the_limit(position, mask):
    frame = bytearray(base64.b64decode(SIGNED["layout_files"][0]["zstd_b64"]))
    frame[position] ^= mask
    try:
        content = decompress(bytes(frame), 767)
    except InvalidArtefact:
        return
    assert len(content) <= 767
