"""Id files: made byte for byte as in the vectors, and read only as what they are (docs/formats.md, "Id files")."""

import random
from base64 import b64decode

import base58
import pytest
import zstandard
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lep6 import _core
from lep6.cascade.ids import MAX_TEXT, key_from_text, key_text, make_id_files, read_id_file, split_keys
from lep6.errors import InvalidArtefact
from lep6.model import Key
from world import BLOCKING, PROGRESS, VECTORS

EXAMPLE = VECTORS["signed_example_1000B"]
SIGNED = {
    "layout_files": f"{EXAMPLE['layout_b64']}.{EXAMPLE['layout_signature_b64']}".encode(),
    "index_files": EXAMPLE["signatures_field"].encode(),
}


def id_file(content, **options):
    """An id file with any content, from another compressor."""
    frame = zstandard.ZstdCompressor(level=3, **options).compress(content)
    return Key(blake3(frame).digest()), frame


async def made(signed, first, count):
    return await make_id_files(signed, first, count, blocking=BLOCKING, progress=PROGRESS)


@pytest.mark.parametrize("kind", SIGNED)
async def test_the_examples_id_files_are_made_byte_for_byte(kind):
    expected = EXAMPLE[kind]
    files = await made(SIGNED[kind], EXAMPLE["rq_ids_ic"], EXAMPLE["rq_ids_max"])
    assert [file.frame for file in files] == [b64decode(file["zstd_b64"]) for file in expected]
    assert [key_text(file.key) for file in files] == [file["id"] for file in expected]
    assert [len(file.frame) for file in files] == [file["zstd_len"] for file in expected]


@pytest.mark.parametrize("kind", SIGNED)
def test_the_examples_id_files_are_read(kind):
    document, signature = SIGNED[kind].decode().split(".")
    for file in EXAMPLE[kind]:
        text = read_id_file(key_from_text(file["id"]), b64decode(file["zstd_b64"]))
        assert (text.document, text.signature, text.counter) == (document, signature, file["counter"])
        assert text.signed == SIGNED[kind]
        assert file["payload_len"] == len(SIGNED[kind]) + 2


@pytest.mark.parametrize("size", [0, 1, 250, 300, 3000, 60_000, 400_000, 3_000_000])
async def test_frames_are_those_of_the_same_zstd_in_another_package(size):
    assert _core.zstd_version() == 10_507 == int("{}{:02}{:02}".format(*zstandard.ZSTD_VERSION))
    signed = random.Random(size).randbytes(size).hex()[:size].encode() + b".s"
    for counter, file in enumerate(await made(signed, 99, 3), 99):
        key, frame = id_file(signed + b".%d" % counter)
        assert (file.key, file.frame) == (key, frame)


async def test_counters_go_on_from_the_first_one():
    largest = (1 << 64) - 4
    for first, count in ((0, 3), (99, 2), ((1 << 32) - 1, 2), (largest, 3)):
        files = await made(b"d.s", first, count)
        assert [read_id_file(file.key, file.frame).counter for file in files] == list(range(first, first + count))
    assert await made(b"d.s", 7, 0) == []


async def test_counters_beyond_64_bits_are_refused():
    with pytest.raises(InvalidArtefact, match="overflow"):
        await made(b"d.s", (1 << 64) - 2, 3)


@pytest.mark.parametrize("kind", SIGNED)
def test_every_flipped_bit_of_a_frame_is_noticed(kind):
    file = EXAMPLE[kind][0]
    key, frame = key_from_text(file["id"]), b64decode(file["zstd_b64"])
    for position in range(len(frame)):
        for bit in range(8):
            broken = frame[:position] + bytes([frame[position] ^ 1 << bit]) + frame[position + 1 :]
            with pytest.raises(InvalidArtefact, match=file["id"]):
                read_id_file(key, broken)


@pytest.mark.parametrize("length", [0, 1, 4, 100, 391])
def test_a_frame_that_was_cut_short_is_refused_under_either_key(length):
    file = EXAMPLE["index_files"][0]
    frame = b64decode(file["zstd_b64"])[:length]
    for key in (key_from_text(file["id"]), Key(blake3(frame).digest())):
        with pytest.raises(InvalidArtefact):
            read_id_file(key, frame)


@given(st.binary(max_size=100))
def test_bytes_that_are_no_frame_are_refused_under_their_own_key(content):
    for frame in (content, b"\x28\xb5\x2f\xfd" + content):
        with pytest.raises(InvalidArtefact):
            read_id_file(Key(blake3(frame).digest()), frame)


@pytest.mark.parametrize(
    "text",
    [b"", b".", b"..", b"d", b"d.7", b"d.s", b"d.s.", b"d.s.7.", b".d.s.7", b"d.s.t.7", b"d..s.7", b"d.s 7", b"...7"],
)
def test_other_than_three_parts_is_refused(text):
    with pytest.raises(InvalidArtefact, match=r"document\.signature\.counter"):
        read_id_file(*id_file(text))


@pytest.mark.parametrize("counter", ["", "07", "00", "+7", "-7", " 7", "7 ", "7\n", "0x7", "7e0", "1_000", "x", "7\0"])
def test_a_counter_is_decimal_without_leading_zeros(counter):
    with pytest.raises(InvalidArtefact, match=r"document\.signature\.counter"):
        read_id_file(*id_file(f"d.s.{counter}".encode()))


@pytest.mark.parametrize("counter", ["\u0667", "\uff17", "\u00b2", "7\u200b"])
def test_digits_of_other_scripts_are_not_ascii_text(counter):
    with pytest.raises(InvalidArtefact, match="not ASCII"):
        read_id_file(*id_file(f"d.s.{counter}".encode()))


@pytest.mark.parametrize("text", [b"\xff.s.7", b"d.\x80.7", "dö.s.7".encode(), b"d.s.7\xc3"])
def test_text_beyond_ascii_is_refused(text):
    with pytest.raises(InvalidArtefact, match="not ASCII"):
        read_id_file(*id_file(text))


def test_content_is_bounded_whatever_the_frame_states():
    longest = b"d" * (MAX_TEXT - len(".s.7")) + b".s.7"
    assert len(read_id_file(*id_file(longest)).document) == MAX_TEXT - 4
    for states_its_size in (True, False):
        with pytest.raises(InvalidArtefact, match="more than"):
            read_id_file(*id_file(b"d" + longest, write_content_size=states_its_size))


def test_a_bomb_costs_no_more_than_the_bound():
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    pieces = [compressor.compress(bytes(1 << 20)) for _ in range(256)]
    frame = b"".join([*pieces, compressor.flush()])
    assert len(frame) < 100_000
    with pytest.raises(InvalidArtefact, match="more than"):
        read_id_file(Key(blake3(frame).digest()), frame)


@given(
    st.binary(min_size=32, max_size=32) | st.integers(0, 32).map(lambda zeros: bytes(zeros) + b"\xff" * (32 - zeros))
)
def test_the_text_of_a_key_is_base58_and_reads_back(key):
    assert key_text(key) == base58.b58encode(key).decode()
    assert key_from_text(key_text(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1" * 31,
        "1" * 33,
        base58.b58encode(b"\xff" * 31).decode(),
        base58.b58encode(b"\xff" * 33).decode(),
        *(f"{wrong}{'1' * 31}" for wrong in "0OIl +/ü\0"),
        "1" * 31 + " ",
        "1" * 1_000_000,
    ],
)
def test_what_is_not_base58_of_32_bytes_is_no_key(text):
    with pytest.raises(InvalidArtefact, match="base58") as refusal:
        key_from_text(text)
    assert len(str(refusal.value)) < 200


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_key_in_one_spelling_or_none(text):
    try:
        key = key_from_text(text)
    except InvalidArtefact:
        return
    assert key_text(key) == text


def test_packed_keys_come_apart_in_their_order():
    keys = tuple(bytes([number]) * 32 for number in range(5))
    assert split_keys(b"".join(keys)) == keys
    assert split_keys(b"") == ()


def test_a_counter_of_more_digits_than_python_converts_is_refused():
    with pytest.raises(InvalidArtefact, match=r"document\.signature\.counter"):
        read_id_file(*id_file(b"d.s." + b"1" * 5000))
