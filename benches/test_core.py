"""The core beside the wheels of the same libraries, at the same jobs from file to file."""

import os

import blake3
import raptorq
import zstandard

from lep6 import _core
from lep6.cascade.layout import Layout
from lep6.cascade.text import to_base64

PACKET_LIMIT = 65_535
ID_FILES = 50
FIRST = 7


def wheel_encode(data, repair_symbols):
    return raptorq.Encoder.with_defaults(data, PACKET_LIMIT).get_encoded_packets(repair_symbols)


def wheel_decode(packets, size):
    decoder = raptorq.Decoder.with_defaults(size, PACKET_LIMIT)
    return next(data for data in map(decoder.decode, packets) if data is not None)


def wheel_hash(data):
    return blake3.blake3(data, max_threads=blake3.blake3.AUTO).digest()


def wheel_keys(packets):
    return b"".join(blake3.blake3(packet).digest() for packet in packets)


def read_packets(path):
    content = path.read_bytes()
    return [content[at : at + _core.PACKET_SIZE] for at in range(0, len(content), _core.PACKET_SIZE)]


def write(path, parts, *, synced=False):
    with path.open("wb") as file:
        file.writelines(parts)
        if synced:
            file.flush()
            os.fsync(file.fileno())


ENCODE = "encode: all packets and their ids"


def test_lep6_encodes(measure, material):
    def work(directory):
        return _core.encode(material.source, directory / "pack", directory / "index", 1, _core.Job())

    encoded = measure(ENCODE, "lep6", work)
    assert (encoded.file, encoded.symbols) == (material.digest, material.keys)


def test_the_wheels_encode(measure, material):
    def work(directory):
        data = material.source.read_bytes()
        packets = wheel_encode(data, material.geometry.repair_symbols)
        write(directory / "pack", packets)
        return wheel_hash(data), wheel_keys(packets)

    assert measure(ENCODE, "raptorq, blake3", work) == (material.digest, material.keys)


DECODE = "decode: the file from K+2 random packets"


def test_lep6_decodes(measure, material):
    def work(directory):
        return material.spool.decode(directory / "output", _core.Job())

    assert measure(DECODE, "lep6", work).file == material.digest


def test_the_wheels_decode(measure, material):
    def work(directory):
        data = wheel_decode(read_packets(material.spool_file), len(material.data))
        write(directory / "output", [data])
        return wheel_hash(data)

    assert measure(DECODE, "raptorq, blake3", work) == material.digest


HEAL = "heal: decode, encode again, all ids, synced"


def test_lep6_heals(measure, material):
    def work(directory):
        ranks = bytes(material.geometry.total_symbols)
        return material.spool.reencode(
            directory / "output", directory / "pack", directory / "index", ranks, _core.Job()
        )

    assert measure(HEAL, "lep6", work).symbols == material.keys


def test_the_wheels_heal(measure, material):
    def work(directory):
        data = wheel_decode(read_packets(material.spool_file), len(material.data))
        write(directory / "output", [data], synced=True)
        packets = wheel_encode(data, material.geometry.repair_symbols)
        write(directory / "pack", packets, synced=True)
        return wheel_hash(data), wheel_keys(packets)

    assert measure(HEAL, "raptorq, blake3", work) == (material.digest, material.keys)


HASH = "hash of the file"


def test_lep6_hashes_a_file(measure, material):
    assert measure(HASH, "lep6", lambda _: _core.hash_file(material.source, _core.Job())) == material.digest


def test_blake3_hashes_a_file_on_all_cores(measure, material):
    def work(_):
        return blake3.blake3(max_threads=blake3.blake3.AUTO).update_mmap(material.source).digest()

    assert measure(HASH, "blake3, all cores, mapped", work) == material.digest


def test_blake3_hashes_a_file_on_one_core(measure, material):
    assert measure(HASH, "blake3, one core", lambda _: blake3.blake3(material.source.read_bytes()).digest()) == (
        material.digest
    )


VERIFY = "verify K packets into the spool"


def test_lep6_verifies_packets(measure, material):
    packets = material.packets[: material.geometry.source_symbols]
    offered = [(blake3.blake3(packet).digest(), packet) for packet in packets]

    def work(_, spool):
        return spool.append(offered)

    def prepare(directory):
        return [_core.Spool(directory / "spool", len(material.data), material.keys, _core.Job())]

    verdicts = measure(VERIFY, "lep6", work, prepare)
    assert set(verdicts) == {"accepted"}


def test_blake3_verifies_packets(measure, material):
    packets = material.packets[: material.geometry.source_symbols]
    offered = [(blake3.blake3(packet).digest(), packet) for packet in packets]

    def work(directory):
        accepted = [packet for key, packet in offered if blake3.blake3(packet).digest() == key]
        write(directory / "spool", accepted)
        return len(accepted)

    assert measure(VERIFY, "blake3, one core", work) == len(packets)


COMPRESS = f"compress: {ID_FILES} layout files and their ids"


def signed_layout(material):
    document = to_base64(Layout(len(material.data), material.digest, material.keys).compact())
    return f"{document}.{to_base64(bytes(64))}".encode()


def wheel_id_files(signed):
    compressor = zstandard.ZstdCompressor(level=3)
    frames = [compressor.compress(b"%s.%d" % (signed, counter)) for counter in range(FIRST, FIRST + ID_FILES)]
    return [(blake3.blake3(frame).digest(), frame) for frame in frames]


def test_lep6_compresses_id_files(measure, material):
    signed = signed_layout(material)
    made = measure(COMPRESS, "lep6", lambda _: _core.id_files(signed, FIRST, ID_FILES, _core.Job()))
    assert made == wheel_id_files(signed)


def test_zstandard_compresses_id_files(measure, material):
    signed = signed_layout(material)
    assert len(measure(COMPRESS, "zstandard, blake3, one core", lambda _: wheel_id_files(signed))) == ID_FILES
