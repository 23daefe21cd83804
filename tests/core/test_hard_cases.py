import threading

import bech32 as oracle
import pytest
import zstandard

from lep6._core import Job, Pack, PackWriter, bech32_decode, decompress, encode, hash_file, lep5_root
from lep6.errors import InvalidArtefact
from world import noise

SIZE, SOURCES, SYMBOLS = 200_000, 4, 20


@pytest.fixture
def file(coded):
    return coded(noise(SIZE))


def test_the_hash_is_that_of_the_bytes_that_were_encoded(tmp_path):
    source, other, job = tmp_path / "source", tmp_path / "other", Job()
    with source.open("wb") as f:
        f.truncate(64 << 20)
    other.write_bytes(b"\x01" * 1000)
    zeros = hash_file(source, Job())

    def replace():
        while not job.done:
            pass
        other.replace(source)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        encoded = encode(source, tmp_path / "pack", tmp_path / "index", 0, job)
    except InvalidArtefact:
        return
    finally:
        thread.join()
        (tmp_path / "pack").unlink()
    assert encoded.file == zeros


def test_closing_a_spool_does_not_stop_other_threads(coded, spool_of, tmp_path):
    made = coded(noise(32 << 20))
    spool = spool_of(made, range(1, made.geometry.source_symbols + 3))
    job = Job()
    closing = threading.Event()
    decoding = threading.Thread(target=spool.decode, args=(tmp_path / "decoded", job))
    seen = []

    def watch():
        while decoding.is_alive():
            if closing.is_set() and not closed.is_set():
                seen.append(job.done)

    closed = threading.Event()
    watcher = threading.Thread(target=watch)
    decoding.start()
    while not job.done:
        pass
    watcher.start()
    closing.set()
    spool.close()
    closed.set()
    decoding.join()
    watcher.join()
    assert len(set(seen)) > 2


def test_the_largest_limit_is_no_limit():
    assert decompress(zstandard.ZstdCompressor().compress(b"content"), 2**64 - 1) == b"content"


@pytest.mark.parametrize("extra", ["nonzero", "too much"])
def test_an_address_has_one_text(extra):
    if extra == "nonzero":
        groups = oracle.convertbits(bytes(32), 8, 5)
        groups[-1] |= 1
    else:
        groups = [*oracle.convertbits(bytes(20), 8, 5), 0]
    assert oracle.convertbits(groups, 5, 8, False) is None
    with pytest.raises(InvalidArtefact):
        bech32_decode(oracle.bech32_encode("lumera", groups))


def test_unpacking_counts_the_bytes_of_its_values(tmp_path):
    writer = PackWriter(tmp_path / "pack")
    writer.append([(bytes(100_000), 0), (b"small", 0)])
    writer.finish(tmp_path / "index")
    job = Job()
    Pack(tmp_path / "pack", tmp_path / "index").unpack(tmp_path, job)
    assert job.done == job.total


def test_a_pack_that_was_finished_can_be_opened(tmp_path):
    writer = PackWriter(tmp_path / "pack")
    try:
        writer.append([(b"twice", 0), (b"twice", 0)])
        writer.finish(tmp_path / "index")
    except InvalidArtefact:
        return
    Pack(tmp_path / "pack", tmp_path / "index")


def test_a_tree_without_leaves_is_refused_as_bad_input():
    with pytest.raises(InvalidArtefact):
        lep5_root(b"")


def test_ranks_are_counted_before_the_work(file, spool_of, tmp_path):
    with pytest.raises(InvalidArtefact):
        spool_of(file, range(4)).reencode(tmp_path / "out", tmp_path / "p", tmp_path / "i", b"", Job())
    assert not (tmp_path / "out").exists()


def test_a_source_is_not_destroyed_by_its_own_pack(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(noise(100_000))
    with pytest.raises(InvalidArtefact):
        encode(path, path, tmp_path / "index", 0, Job())
    assert path.read_bytes() == noise(100_000)


def test_a_missing_directory_is_an_error(file, spool_of, tmp_path):
    with pytest.raises(FileNotFoundError):
        spool_of(file).fill(tmp_path / "missing", 3, Job())
