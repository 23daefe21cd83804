import base64
import os
import threading
from functools import cache
from hashlib import sha256

import blake3
import pytest
import raptorq
from hypothesis import given
from hypothesis import strategies as st

from lep6._core import PACKET_SIZE, SYMBOL_SIZE, Geometry, Job, Spool, encode, key_texts
from lep6.errors import InvalidArtefact
from world import VECTORS, noise, pattern

SIZES = st.one_of(
    st.integers(1, 1_500_000),
    st.builds(lambda symbols, off: symbols * SYMBOL_SIZE + off, st.integers(1, 22), st.integers(-1, 1)),
    st.sampled_from([1, 65_535, 65_536]),
)
# Around the first size whose symbols have two parts, and the first whose symbols have three (K = 306).
SEVERAL_SUB_BLOCKS = [10_484_480, 10_484_481, 305 * SYMBOL_SIZE + 1]


def oracle_packets(data):
    """All packets of a file as another implementation makes them."""
    encoder = raptorq.Encoder.with_defaults(data, 65_535)
    return encoder.get_encoded_packets(Geometry(len(data)).repair_symbols)


@pytest.mark.parametrize("case", VECTORS["encode_cases"], ids=lambda case: case["name"])
def test_a_file_encodes_to_the_symbols_of_the_vectors(tmp_path, case):
    source, pack, index = tmp_path / "source", tmp_path / "pack", tmp_path / "index"
    source.write_bytes(pattern(case["size"]))
    encoded = encode(source, pack, index, 1, Job())
    pack.unlink()
    assert encoded.size == case["size"]
    assert base64.b64encode(encoded.file).decode() == case["data_hash_b64"]
    geometry = Geometry(encoded.size)
    assert geometry.oti.hex() == case["oti_hex"]
    assert geometry.source_symbols == case["K"]
    assert geometry.extended_symbols == case["K_prime"]
    assert geometry.repair_symbols == case["repair_symbols"]
    ids = key_texts(encoded.symbols)
    assert len(ids) == case["total_symbols"]
    sources, repairs = ids[: case["K"]], ids[case["K"] :]
    assert sources[:3] == case["source_ids_first3"]
    assert sources[-1] == case["source_id_last"]
    assert repairs[:3] == case["repair_ids_first3"]
    assert repairs[-1] == case["repair_id_last"]
    assert blake3.blake3("\n".join(ids).encode()).hexdigest() == case["all_ids_blake3_hex"]


@given(SIZES, st.integers(0, 2**32))
def test_symbols_are_byte_for_byte_those_of_another_implementation(coded, size, seed):
    data = noise(size, seed)
    made = coded(data)
    assert made.packets == oracle_packets(data)
    assert made.keys == [blake3.blake3(packet).digest() for packet in made.packets]
    assert made.encoded.file == blake3.blake3(data).digest()


@pytest.mark.parametrize("size", SEVERAL_SUB_BLOCKS)
def test_symbols_of_several_sub_blocks_are_those_of_another_implementation(coded, size):
    data = noise(size)
    assert sha256(coded(data).pack.read_bytes()).digest() == sha256(b"".join(oracle_packets(data))).digest()


@given(SIZES, st.randoms(use_true_random=False))
def test_any_two_symbols_more_than_a_file_has_sources_give_it_back(coded, spool_of, tmp_path, size, rng):
    data = noise(size, size)
    made = coded(data)
    spool = spool_of(made, rng.sample(range(made.geometry.total_symbols), made.geometry.source_symbols + 2))
    decoded = spool.decode(tmp_path / "decoded", Job())
    assert decoded is not None
    assert (tmp_path / "decoded").read_bytes() == data
    assert (decoded.size, decoded.file, decoded.symbols) == (size, made.encoded.file, b"")


@pytest.mark.parametrize("size", SEVERAL_SUB_BLOCKS)
def test_a_file_of_several_sub_blocks_comes_back_from_its_repair_symbols(coded, spool_of, tmp_path, size):
    made = coded(noise(size))
    sources = made.geometry.source_symbols
    spool = spool_of(made, [0, *range(sources + 20, 2 * sources + 21)])
    assert spool.decode(tmp_path / "decoded", Job()).file == made.encoded.file
    assert (tmp_path / "decoded").stat().st_size == size


@cache
def keys_of_zeros(symbols):
    """Keys of the source packets of a file of zeros."""
    zeros = bytes(SYMBOL_SIZE)
    return [blake3.blake3(esi.to_bytes(4) + zeros).digest() for esi in range(symbols)]


# Those in files of 1 GiB are tested where no file has to be written: rust/src/columns.rs.
POSITIONS = [position for position in VECTORS["interleaving_positions"] if position["size"] < 1 << 30]


@pytest.mark.parametrize("position", POSITIONS, ids=lambda at: f"{at['size']}-{at['symbol']}-{at['byte_in_symbol']}")
def test_each_byte_of_a_symbol_has_its_place_in_the_file(tmp_path, position):
    """docs/formats.md, "Symbols": the sources of a file of zeros, where one byte of one symbol is 7."""
    geometry = Geometry(position["size"])
    sources = geometry.source_symbols
    marked = bytearray(position["symbol"].to_bytes(4) + bytes(SYMBOL_SIZE))
    marked[4 + position["byte_in_symbol"]] = 7
    keys = keys_of_zeros(sources).copy()
    keys[position["symbol"]] = blake3.blake3(marked).digest()
    keys += [esi.to_bytes(32) for esi in range(sources, geometry.total_symbols)]
    path, output = tmp_path / "symbols.spool", tmp_path / "output"
    with path.open("wb") as file:
        file.truncate(sources * PACKET_SIZE)
        for esi in range(sources):
            file.seek(esi * PACKET_SIZE)
            file.write(esi.to_bytes(4))
        file.seek(position["symbol"] * PACKET_SIZE)
        file.write(marked)
    spool = Spool(path, position["size"], b"".join(keys), Job())
    assert spool.opened == (sources, 0, 0)
    try:
        if position["is_padding"]:
            assert position["file_offset"] >= position["size"]
            with pytest.raises(InvalidArtefact, match="padding"):
                spool.decode(output, Job())
        else:
            assert spool.decode(output, Job()) is not None
            with output.open("rb") as file:
                file.seek(position["file_offset"])
                assert file.read(2) == b"\x07\x00"
    finally:
        spool.close()
        path.unlink()
        output.unlink(missing_ok=True)


def test_a_file_that_changes_while_it_is_encoded_is_refused(tmp_path):
    source, job, ended = tmp_path / "source", Job(), threading.Event()
    with source.open("wb") as file:
        file.truncate(64 << 20)
    os.utime(source, (0, 0))

    def change_when_begun():
        while not job.done and not ended.is_set():
            pass
        with source.open("r+b") as file:
            file.write(b"new")

    changer = threading.Thread(target=change_when_begun)
    changer.start()
    try:
        with pytest.raises(InvalidArtefact, match="changed"):
            encode(source, tmp_path / "pack", tmp_path / "index", 0, job)
    finally:
        ended.set()
        changer.join()
        (tmp_path / "pack").unlink()
    assert not (tmp_path / "index").exists()


def test_larger_files_that_stood_in_the_way_leave_nothing_behind(coded, spool_of, tmp_path):
    large = coded(noise(300_000))
    (tmp_path / "decoded").write_bytes(noise(200_000))
    small = coded(b"small")
    assert small.pack == large.pack
    assert small.packets == oracle_packets(b"small")
    assert small.index.stat().st_size == 48 + 48 * 7
    spool_of(small, [3]).decode(tmp_path / "decoded", Job())
    assert (tmp_path / "decoded").read_bytes() == b"small"


def test_files_that_the_core_makes_are_private_to_their_owner(coded, spool_of, tmp_path):
    made = coded(b"private")
    spool_of(made, [0]).decode(tmp_path / "decoded", Job())
    for path in (made.pack, made.index, tmp_path / "new.spool", tmp_path / "decoded"):
        assert path.stat().st_mode & 0o777 == 0o600
