import base64
from array import array

import base58
import blake3 as oracle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lep6._core import Hasher, Job, blake3, hash_file, key_from_text, key_text, key_texts, keys_from_texts
from lep6.errors import InvalidArtefact
from world import VECTORS, noise

KINDS = (bytes, bytearray, memoryview, lambda piece: memoryview(b"<" + piece + b">")[1:-1], lambda p: array("B", p))


def test_digests_of_the_empty_input_and_of_reasons_are_those_of_the_vectors():
    heal = VECTORS["heal"]
    assert base64.b64encode(blake3(b"")).decode() == heal["empty_input_blake3_b64"]
    for reason in ("fetch_failed", "hash_compute_failed", "other"):
        digest = blake3(f"lep6:negative-attestation:reason_{reason}".encode())
        assert base64.b64encode(digest).decode() == heal[f"negative_reason_{reason}"]


@given(st.lists(st.tuples(st.integers(0, 200_000), st.sampled_from(KINDS)), max_size=6))
@example([(1, bytes), (3_000_000, bytearray), (0, memoryview), (70_000, memoryview)])
def test_a_hash_does_not_depend_on_how_the_data_is_cut_and_held(pieces):
    hasher, whole = Hasher(), bytearray()
    for seed, (size, kind) in enumerate(pieces):
        piece = noise(size, seed)
        whole += piece
        hasher.update(kind(piece))
        assert blake3(kind(piece)) == oracle.blake3(piece).digest()
        assert hasher.digest() == oracle.blake3(whole).digest()
    assert hasher.digest() == blake3(whole)


@pytest.mark.parametrize(
    "buffer", [memoryview(bytes(64))[::2], memoryview(bytes(64))[::-1], array("H", [1]), array("b", [1])]
)
def test_a_buffer_that_is_not_bytes_in_a_row_is_refused_and_changes_nothing(buffer):
    hasher = Hasher()
    for refuse in (hasher.update, blake3):
        with pytest.raises(BufferError):
            refuse(buffer)
    assert hasher.digest() == blake3(b"")


@pytest.mark.parametrize("size", [0, 1, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9_000_000])
def test_a_file_has_the_hash_of_its_bytes(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(noise(size))
    assert hash_file(path, Job()) == oracle.blake3(noise(size)).digest()
    assert hash_file(str(path), Job()) == hash_file(path, Job())


@given(st.binary(min_size=32, max_size=32) | st.integers(0, 31).map(lambda n: bytes(n) + b"\xff" * (32 - n)))
@example(bytes(32))
def test_a_key_and_its_text_are_two_forms_of_one_thing(key):
    text = base58.b58encode(key).decode()
    assert key_text(key) == text
    assert key_from_text(text) == key


@given(st.text() | st.binary(max_size=40).map(lambda raw: base58.b58encode(raw).decode()))
@example("1" * 31)
@example("1" * 33)
@example("z" * 44)
@example("0" * 43)
@example("\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 22)
def test_only_the_base58_of_32_bytes_is_a_key(text):
    try:
        raw = base58.b58decode(text) if text == text.strip() else b""
    except ValueError:
        raw = b""
    if len(raw) == 32:
        assert key_from_text(text) == raw
    else:
        with pytest.raises(InvalidArtefact):
            key_from_text(text)


@given(st.lists(st.binary(min_size=32, max_size=32)))
def test_packed_keys_are_keys_in_a_row(keys):
    texts = [key_text(key) for key in keys]
    assert key_texts(b"".join(keys)) == texts
    assert keys_from_texts(texts) == b"".join(keys)


def test_one_false_text_among_many_is_named():
    with pytest.raises(InvalidArtefact, match="not-a-key"):
        keys_from_texts([key_text(bytes(32)), "not-a-key"])
