import errno
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6._core import (
    PACKET_SIZE,
    Geometry,
    Job,
    Pack,
    PackWriter,
    Spool,
    bech32_decode,
    bech32_encode,
    decompress,
    encode,
    hash_file,
    id_files,
    key_from_text,
    key_text,
    key_texts,
    keys_from_texts,
    lep5_leaves,
    lep5_proof,
    lep5_root,
    secp256k1_point,
    secp256k1_public_key,
    secp256k1_recover,
    secp256k1_sign,
    secp256k1_verify,
    survey,
)
from lep6.errors import InvalidArtefact
from world import noise

SIZE = 1_000
KEYS = b"".join(bytes([n]) * 32 for n in range(7))


@pytest.fixture
def file(coded):
    """A file of one source and six repairs."""
    return coded(noise(SIZE))


@pytest.fixture
def spool(file, spool_of):
    return spool_of(file, [0])


@pytest.fixture
def at(file, spool, tmp_path):
    """Where the calls below find a good file, its pack and spool, and a directory for what they write."""
    return SimpleNamespace(source=file.source, pack=file.pack, index=file.index, spool=spool, out=tmp_path)


READS = {
    "encode": lambda path, at: encode(path, at.out / "pack", at.out / "index", 0, Job()),
    "hash_file": lambda path, _: hash_file(path, Job()),
    "leaves": lambda path, _: lep5_leaves(path, 1_000, Job()),
    "pack": lambda path, at: Pack(path, at.index),
    "index": lambda path, at: Pack(at.pack, path),
    "survey": lambda path, _: survey(path, SIZE, KEYS, Job()),
}
WRITES = {
    "encoded pack": lambda path, at: encode(at.source, path, at.out / "index", 0, Job()),
    "encoded index": lambda path, at: encode(at.source, at.out / "pack", path, 0, Job()),
    "spool": lambda path, _: Spool(path, SIZE, KEYS, Job()),
    "decoded": lambda path, at: at.spool.decode(path, Job()),
    "rebuilt": lambda path, at: at.spool.reencode(path, at.out / "pack", at.out / "index", bytes(7), Job()),
    "rebuilt pack": lambda path, at: at.spool.reencode(at.out / "file", path, at.out / "index", bytes(7), Job()),
    "rebuilt index": lambda path, at: at.spool.reencode(at.out / "file", at.out / "pack", path, bytes(7), Job()),
    "pack": lambda path, _: PackWriter(path),
    "index": lambda path, at: PackWriter(at.out / "pack").finish(path),
}


@pytest.mark.parametrize("name", READS)
def test_a_file_that_is_not_there_is_an_error_of_the_system_that_names_it(name, at, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError) as refused:
        READS[name](missing, at)
    assert refused.value.errno == errno.ENOENT
    assert str(refused.value) == f"[Errno 2] No such file or directory: {str(missing)!r}"


@pytest.mark.parametrize("name", [name for name in READS if name != "survey"])
def test_a_directory_is_no_file_to_read(name, at, tmp_path):
    with pytest.raises((InvalidArtefact, IsADirectoryError)):
        READS[name](tmp_path, at)


@pytest.mark.parametrize("name", WRITES)
def test_a_place_that_cannot_be_written_to_is_an_error_of_the_system_that_names_it(name, at):
    for target, number in ((at.out, errno.EISDIR), (at.source / "inside", errno.ENOTDIR)):
        with pytest.raises(OSError, match="irectory") as refused:
            WRITES[name](target, at)
        assert refused.value.errno == number
        assert refused.value.filename == str(target)
    assert at.spool.held() == [0]


def test_unpacking_into_what_is_no_directory_is_an_error_of_the_system(file, tmp_path):
    with pytest.raises(FileNotFoundError):
        Pack(file.pack, file.index).unpack(tmp_path / "missing", Job())
    with pytest.raises(NotADirectoryError):
        Pack(file.pack, file.index).unpack(file.source, Job())


@pytest.mark.parametrize("name", ["encoded pack", "encoded index", "rebuilt pack", "rebuilt index", "decoded", "index"])
def test_a_device_that_cannot_hold_the_result_is_an_error_of_the_system(name, at):
    with pytest.raises(OSError, match="/dev/full"):
        WRITES[name](Path("/dev/full"), at)


@pytest.mark.parametrize("name", ["encode", "hash_file", "leaves"])
def test_devices_and_pipes_are_no_files_to_read_and_are_not_waited_for(name, at):
    os.mkfifo(at.out / "pipe")
    for path in ("/dev/null", "/dev/zero", at.out / "pipe"):
        with pytest.raises(InvalidArtefact, match="not a regular file"):
            READS[name](path, at)
    assert not (at.out / "pack").exists()


def test_an_empty_file_is_not_encoded(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(InvalidArtefact, match="empty"):
        encode(tmp_path / "empty", tmp_path / "pack", tmp_path / "index", 0, Job())


@pytest.mark.parametrize("name", READS)
def test_a_path_that_no_system_has_is_refused(name, at, tmp_path):
    with pytest.raises((InvalidArtefact, OSError)):
        READS[name]("nul\0byte", at)
    with pytest.raises(OSError, match="too long"):
        READS[name](tmp_path / ("x" * 300), at)


@pytest.mark.parametrize("size", [0, 2**40, 2**64 - 1, 2**64, -1, -(2**70)])
def test_a_size_that_no_file_has_is_refused_wherever_it_is_given(size, tmp_path):
    tasks = [
        lambda: Geometry(size),
        lambda: Spool(tmp_path / "spool", size, KEYS, Job()),
        lambda: survey(tmp_path, size, KEYS, Job()),
    ]
    for task in tasks:
        with pytest.raises((InvalidArtefact, OverflowError)):
            task()
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_keys_and_digests_of_another_length_are_refused(length, spool, tmp_path):
    value = bytes(length)
    tasks = [
        lambda: key_text(value),
        lambda: spool.append([(bytes(32), b""), (value, b"")]),
        lambda: secp256k1_public_key(value),
        lambda: secp256k1_sign(value, bytes(32)),
        lambda: secp256k1_sign(b"\x01" * 32, value),
        lambda: secp256k1_recover(value, bytes(64)),
        lambda: secp256k1_recover(bytes(32), value + b"\x00"),
        lambda: secp256k1_verify(secp256k1_public_key(b"\x01" * 32), bytes(32), value + b"\x00"),
        lambda: Spool(tmp_path / "other", SIZE, value, Job()),
    ]
    if length % 32:
        tasks += [
            lambda: key_texts(value),
            lambda: lep5_root(value),
            lambda: lep5_proof(value, 0),
            lambda: survey(tmp_path, SIZE, value, Job()),
        ]
    for task in tasks:
        with pytest.raises(InvalidArtefact):
            task()


def test_a_call_with_one_bad_key_keeps_nothing_of_its_values(file, spool):
    with pytest.raises(InvalidArtefact):
        spool.append([*file.values([1, 2]), (b"short", b"")])
    assert spool.held() == [0]


@pytest.mark.parametrize("leaf", [0, 7, 2**64, -1])
def test_a_tree_without_such_a_leaf_has_no_proof_of_it(leaf):
    with pytest.raises((InvalidArtefact, ValueError, OverflowError)):
        lep5_proof(KEYS if leaf else b"", leaf)
    with pytest.raises((InvalidArtefact, ValueError)):
        lep5_root(b"")


@pytest.mark.parametrize("number", [-1, 2**64])
def test_a_number_out_of_range_is_refused(number, file, spool, tmp_path):
    writer = PackWriter(tmp_path / "writer")
    tasks = [
        lambda: encode(file.source, tmp_path / "pack", tmp_path / "index", number, Job()),
        lambda: spool.fill(tmp_path, number, Job()),
        lambda: Pack(file.pack, file.index).read([0, number]),
        lambda: writer.append([(b"value", number)]),
        lambda: id_files(b"text", number, 1, Job()),
        lambda: id_files(b"text", 0, number, Job()),
        lambda: decompress(b"frame", number),
        lambda: lep5_leaves(file.source, number, Job()),
    ]
    for task in tasks:
        with pytest.raises(OverflowError):
            task()


def test_values_of_another_type_are_refused(file, spool, tmp_path):
    tasks = [
        lambda: Geometry("1000"),
        lambda: Geometry(1e3),
        lambda: hash_file(b"path", Job()),
        lambda: hash_file(file.source, None),
        lambda: spool.append([("key", b"value")]),
        lambda: spool.append(b"values"),
        lambda: keys_from_texts("1" * 32),
        lambda: PackWriter(tmp_path / "writer").append([b"value"]),
        lambda: decompress("frame", 10),
    ]
    for task in tasks:
        with pytest.raises(TypeError):
            task()


@pytest.mark.parametrize("make", [bytes, noise], ids=["zeros", "noise"])
def test_a_file_that_was_never_a_spool_holds_no_packets(file, tmp_path, make):
    (tmp_path / "spool").write_bytes(make(3 * PACKET_SIZE + 5))
    spool = Spool(tmp_path / "spool", SIZE, file.encoded.symbols, Job())
    assert spool.opened == (0, 3, 5)
    assert spool.held() == []
    spool.close()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_an_error_of_ours(tmp_path, data):
    (tmp_path / "values").write_bytes(b"")
    (tmp_path / "index").write_bytes(data)
    with pytest.raises(InvalidArtefact):
        Pack(tmp_path / "values", tmp_path / "index")
    for parse in (lambda: decompress(data, 1_000), lambda: secp256k1_point(data)):
        with suppress(InvalidArtefact):
            parse()


@given(st.text(max_size=100))
def test_arbitrary_text_is_refused_with_an_error_of_ours(text):
    for parse in (key_from_text, bech32_decode, lambda prefix: bech32_encode(prefix, b"data")):
        with suppress(InvalidArtefact):
            parse(text)
