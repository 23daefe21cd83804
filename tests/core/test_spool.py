import errno
import resource
import subprocess
import sys
from contextlib import contextmanager

import blake3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6._core import PACKET_SIZE, Job, Pack, Spool
from lep6.errors import InvalidArtefact, JobCancelled
from world import VECTORS, noise, pattern

SIZE = 200_000
SOURCES = 4
SYMBOLS = 20


@pytest.fixture
def file(coded):
    """A file of four sources and sixteen repairs."""
    made = coded(noise(SIZE))
    assert (made.geometry.source_symbols, made.geometry.total_symbols) == (SOURCES, SYMBOLS)
    return made


def digest(value):
    return blake3.blake3(value).digest()


def swapped(keys, one, other):
    keys = keys.copy()
    keys[one], keys[other] = keys[other], keys[one]
    return keys


@contextmanager
def reopened(tmp_path, file, keys=None):
    spool = Spool(tmp_path / "new.spool", file.size, b"".join(keys or file.keys), Job())
    try:
        yield spool
    finally:
        spool.close()


def test_every_value_that_is_offered_is_judged_and_only_new_symbols_are_kept(file, spool_of, tmp_path):
    keys, packets = swapped(file.keys, 8, 9), file.packets
    short, long = packets[6][:-1], packets[7] + b"\x00"
    keys[6], keys[7] = digest(short), digest(long)
    spool = spool_of(file, [], keys)
    stranger = file.packets[6]
    verdicts = spool.append(
        [
            (keys[5], packets[5]),
            (keys[0], packets[0]),
            (keys[5], packets[5]),
            (keys[1], packets[2]),
            (keys[1], b""),
            (digest(stranger), stranger),
            (digest(b""), b""),
            (keys[6], short),
            (keys[7], long),
            (keys[8], packets[9]),
        ]
    )
    assert verdicts == ["accepted", "accepted", "duplicate"] + ["false"] * 2 + ["foreign"] * 2 + ["malformed"] * 3
    assert spool.append([(keys[0], packets[0])]) == ["duplicate"]
    assert spool.append([]) == []
    assert spool.held() == [0, 5]
    assert (tmp_path / "new.spool").read_bytes() == packets[5] + packets[0]


def test_a_reopened_spool_goes_on_with_what_it_had(file, spool_of, tmp_path):
    spool = spool_of(file, [7, 2, 19])
    assert spool.opened == (0, 0, 0)
    spool.close()
    with reopened(tmp_path, file) as spool:
        assert spool.opened == (3, 0, 0)
        assert spool.held() == [2, 7, 19]
        assert spool.append(file.values([2, 3])) == ["duplicate", "accepted"]
        assert spool.decode(tmp_path / "decoded", Job()).file == file.encoded.file


@given(st.integers(1, PACKET_SIZE - 1))
def test_a_record_that_was_torn_while_it_was_written_is_cut_off(file, spool_of, tmp_path, remainder):
    spool_of(file, [3, 1]).close()
    with (tmp_path / "new.spool").open("ab") as writer:
        writer.write(file.packets[2][:remainder])
    with reopened(tmp_path, file) as spool:
        assert spool.opened == (2, 0, remainder)
        assert (tmp_path / "new.spool").stat().st_size == 2 * PACKET_SIZE
        assert spool.append(file.values([2])) == ["accepted"]
        assert (tmp_path / "new.spool").read_bytes() == b"".join(file.packets[esi] for esi in (3, 1, 2))


@given(st.integers(0, 3 * PACKET_SIZE - 1), st.integers(1, 255))
def test_a_record_that_rotted_is_dropped_and_its_place_used_again(file, spool_of, tmp_path, position, mask):
    symbols = [0, 4, 9]
    spool_of(file, symbols).close()
    content = bytearray((tmp_path / "new.spool").read_bytes())
    content[position] ^= mask
    (tmp_path / "new.spool").write_bytes(content)
    place = position // PACKET_SIZE
    with reopened(tmp_path, file) as spool:
        assert spool.opened == (2, 1, 0)
        assert spool.held() == symbols[:place] + symbols[place + 1 :]
        assert spool.append(file.values([12])) == ["accepted"]
        symbols[place] = 12
        assert (tmp_path / "new.spool").read_bytes() == b"".join(file.packets[esi] for esi in symbols)


def test_records_that_are_no_new_symbol_give_their_places_to_the_next_the_last_first(file, tmp_path):
    packets = file.packets
    keys = swapped(file.keys, 8, 9)
    records = [bytes(PACKET_SIZE), packets[1], packets[1], packets[8], packets[2]]
    (tmp_path / "new.spool").write_bytes(b"".join(records))
    with reopened(tmp_path, file, keys) as spool:
        assert spool.opened == (2, 3, 0)
        assert spool.held() == [1, 2]
        spool.append(file.values([10, 11, 12, 13]))
    expected = [packets[esi] for esi in (12, 1, 11, 10, 2, 13)]
    assert (tmp_path / "new.spool").read_bytes() == b"".join(expected)


def test_a_spool_belongs_to_one_owner_until_it_is_closed_or_gone(file, spool_of, tmp_path):
    spool = spool_of(file, [1])
    script = f"""
from lep6._core import Job, Spool
print(Spool({str(tmp_path / "new.spool")!r}, {file.size}, {file.encoded.symbols!r}, Job()).opened)
"""
    elsewhere = [sys.executable, "-c", script]
    with pytest.raises(InvalidArtefact, match="in use"), reopened(tmp_path, file):
        pass
    refused = subprocess.run(elsewhere, capture_output=True, text=True, check=False)
    assert "InvalidArtefact" in refused.stderr
    assert spool.held() == [1]
    spool.close()
    taken = subprocess.run(elsewhere, capture_output=True, text=True, check=True)
    assert taken.stdout == "(1, 0, 0)\n"
    dropped = Spool(tmp_path / "new.spool", file.size, file.encoded.symbols, Job())
    del dropped
    with reopened(tmp_path, file) as spool:
        assert spool.held() == [1]


def test_an_opening_that_was_cancelled_does_not_keep_the_lock(file, spool_of, tmp_path):
    spool_of(file, [1]).close()
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        Spool(tmp_path / "new.spool", file.size, file.encoded.symbols, job)
    with reopened(tmp_path, file) as spool:
        assert spool.opened == (1, 0, 0)


def test_a_closed_spool_refuses_everything_but_to_be_closed_again(file, spool_of, tmp_path):
    spool = spool_of(file, [0, 1, 2, 3])
    spool.close()
    spool.close()
    calls = [
        lambda: spool.opened,
        spool.held,
        lambda: spool.append([]),
        lambda: spool.fill(tmp_path, 1, Job()),
        lambda: spool.decodable(Job()),
        lambda: spool.decode(tmp_path / "decoded", Job()),
        lambda: spool.reencode(tmp_path / "decoded", tmp_path / "pack", tmp_path / "index", bytes(SYMBOLS), Job()),
    ]
    for call in calls:
        with pytest.raises(InvalidArtefact, match="closed"):
            call()


@pytest.mark.parametrize("keys", [[], [bytes(32)] * SYMBOLS, [bytes([n]) * 32 for n in range(SYMBOLS + 1)]])
def test_a_list_of_symbols_that_is_not_of_the_size_or_not_distinct_is_refused(tmp_path, keys):
    with pytest.raises(InvalidArtefact):
        Spool(tmp_path / "new.spool", SIZE, b"".join(keys), Job())


def test_one_source_too_few_is_too_few(file, spool_of, tmp_path):
    spool = spool_of(file, range(SOURCES - 1))
    outputs = [tmp_path / name for name in ("decoded", "pack", "index")]
    assert not spool.decodable(Job())
    assert spool.decode(outputs[0], Job()) is None
    assert spool.reencode(*outputs, bytes(SYMBOLS), Job()) is None
    assert not any(path.exists() for path in outputs)
    assert spool.append(file.values([SOURCES - 1])) == ["accepted"]
    assert spool.decodable(Job())
    assert spool.decode(outputs[0], Job()).file == file.encoded.file


@pytest.mark.parametrize("case", VECTORS["decode_cases_1MiB"]["cases"], ids=["full rank", "short by one", "short too"])
def test_as_many_symbols_as_sources_decode_when_they_are_independent(coded, spool_of, tmp_path, case):
    made = coded(pattern(case["size"]))
    spool = spool_of(made, case["esis"])
    assert len(spool.held()) == case["K"] == made.geometry.source_symbols
    output = tmp_path / "decoded"
    if not case["decodes_with_exactly_K"]:
        assert not spool.decodable(Job())
        assert spool.decode(output, Job()) is None
        spool.append(made.values([case["add_esi"]]))
    assert spool.decodable(Job())
    assert spool.decode(output, Job()).file == made.encoded.file
    assert output.read_bytes() == pattern(case["size"])


@given(st.lists(st.integers(0, SYMBOLS - 1), unique=True, min_size=SOURCES, max_size=SOURCES + 1))
def test_a_spool_decodes_exactly_when_it_says_that_it_can(file, spool_of, tmp_path, symbols):
    spool = spool_of(file, symbols)
    assert spool.held() == sorted(symbols)
    decoded = spool.decode(tmp_path / "decoded", Job())
    assert spool.decodable(Job()) == (decoded is not None)
    assert decoded is None or decoded.file == file.encoded.file


@given(st.sets(st.integers(0, SYMBOLS - 1), min_size=SOURCES + 2), st.binary(min_size=SYMBOLS, max_size=SYMBOLS))
def test_rebuilding_gives_the_same_pack_as_encoding_but_for_the_ranks(file, spool_of, tmp_path, symbols, ranks):
    spool = spool_of(file, symbols)
    output, pack, index = (tmp_path / name for name in ("rebuilt", "rebuilt.pack", "rebuilt.idx"))
    rebuilt = spool.reencode(output, pack, index, ranks, Job())
    assert (rebuilt.size, rebuilt.file) == (file.size, file.encoded.file)
    assert rebuilt.symbols == file.encoded.symbols
    assert output.read_bytes() == file.source.read_bytes()
    assert pack.read_bytes() == file.pack.read_bytes()
    assert Pack(pack, index).entries() == [(key, PACKET_SIZE, rank) for key, rank in zip(file.keys, ranks, strict=True)]
    spool.reencode(output, pack, index, b"\x01" * SYMBOLS, Job())
    assert index.read_bytes() == file.index.read_bytes()


def test_rebuilding_refuses_a_layout_that_the_file_does_not_encode_to(file, spool_of, tmp_path):
    spool = spool_of(file, range(SOURCES + 2), swapped(file.keys, 18, 19))
    assert spool.decode(tmp_path / "rebuilt", Job()).file == file.encoded.file
    with pytest.raises(InvalidArtefact, match="symbol 18 encodes to"):
        spool.reencode(tmp_path / "rebuilt", tmp_path / "pack", tmp_path / "index", bytes(SYMBOLS), Job())
    assert not (tmp_path / "index").exists()


def test_rebuilding_notices_a_packet_that_rots_while_the_spool_is_open(file, spool_of, tmp_path):
    spool = spool_of(file, range(SOURCES))
    with (tmp_path / "new.spool").open("r+b") as writer:
        writer.seek(PACKET_SIZE + 1000)
        writer.write(b"rot")
    with pytest.raises(InvalidArtefact, match="symbol 1 encodes to"):
        spool.reencode(tmp_path / "rebuilt", tmp_path / "pack", tmp_path / "index", bytes(SYMBOLS), Job())


def test_a_spool_that_is_cut_short_while_it_is_open_gives_an_error(file, spool_of, tmp_path):
    spool = spool_of(file, range(SOURCES))
    with (tmp_path / "new.spool").open("r+b") as writer:
        writer.truncate(2 * PACKET_SIZE)
    with pytest.raises(InvalidArtefact, match=r"new\.spool"):
        spool.decode(tmp_path / "decoded", Job())


@pytest.mark.parametrize("symbols", [range(SOURCES), range(SOURCES, 2 * SOURCES + 2)], ids=["sources", "repairs"])
def test_symbols_that_decode_to_more_than_the_file_are_refused(coded, spool_of, tmp_path, symbols):
    """docs/formats.md, "Symbols": padding is zero. The symbols are those of a file that is one byte longer."""
    longer = coded(noise(SIZE) + b"!")
    spool = Spool(tmp_path / "shorter.spool", SIZE, longer.encoded.symbols, Job())
    assert set(spool.append(longer.values(symbols))) == {"accepted"}
    with pytest.raises(InvalidArtefact, match="padding"):
        spool.decode(tmp_path / "decoded", Job())
    spool.close()


@pytest.mark.parametrize("count", [0, SYMBOLS - 1, SYMBOLS + 1])
def test_rebuilding_needs_a_rank_for_every_symbol(file, spool_of, tmp_path, count):
    spool = spool_of(file, range(SOURCES))
    with pytest.raises(InvalidArtefact, match="ranks"):
        spool.reencode(tmp_path / "rebuilt", tmp_path / "pack", tmp_path / "index", bytes(count), Job())


def test_a_write_that_the_system_refuses_costs_only_that_packet(file, spool_of, tmp_path):
    spool = spool_of(file, [0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * PACKET_SIZE + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as refused:
            spool.append(file.values([5, 6, 7]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.value.errno == errno.EFBIG
    assert spool.held() == [0, 5]
    assert spool.append(file.values([5, 6, 7])) == ["duplicate", "accepted", "accepted"]
    assert (tmp_path / "new.spool").read_bytes() == b"".join(file.packets[esi] for esi in (0, 5, 6, 7))


def test_a_full_disk_under_the_output_is_an_error_of_the_system(file, spool_of):
    for symbols in (range(SOURCES), range(SOURCES, 2 * SOURCES + 2)):
        with pytest.raises(OSError, match="No space left") as refused:
            spool_of(file, symbols).decode("/dev/full", Job())
        assert refused.value.errno == errno.ENOSPC


def test_judged_values_are_let_go(file, spool_of):
    spool = spool_of(file)
    values = file.values([0, 1])
    before = [sys.getrefcount(value) for _, value in values]
    spool.append(values)
    assert [sys.getrefcount(value) for _, value in values] == before
