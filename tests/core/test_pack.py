import base64
from contextlib import contextmanager

import blake3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lep6._core import PACKET_SIZE, Job, Pack, PackWriter, key_text
from lep6.errors import InvalidArtefact
from world import VECTORS, noise

FRAMES = [base64.b64decode(file["zstd_b64"]) for file in VECTORS["signed_example_1000B"]["layout_files"]]
VALUES = [noise(300, 1), b"", noise(70_000, 2), b"\x00", noise(1_000, 3)]
VALUE_BYTES = sum(map(len, VALUES))
INDEX_BYTES = 48 + 48 * len(VALUES)


def digest(value):
    return blake3.blake3(value).digest()


def sealed(*entries, magic=b"LEP6PACK", version=1, count=None):
    """An index by hand: (key, offset, length, rank) of each value."""
    body = magic + version.to_bytes(4, "little") + (len(entries) if count is None else count).to_bytes(4, "little")
    for key, offset, length, rank in entries:
        body += key + offset.to_bytes(8, "little") + length.to_bytes(4, "little") + rank.to_bytes(4, "little")
    return body + digest(body)


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "values.pack", tmp_path / "values.idx"


@pytest.fixture
def written(paths):
    """A pack of a few values, one of them empty."""
    path, index = paths
    writer = PackWriter(path)
    assert writer.append([(value, rank) for rank, value in enumerate(VALUES)]) == b"".join(map(digest, VALUES))
    writer.finish(index)
    return paths


@contextmanager
def damaged(path, position, mask):
    whole = path.read_bytes()
    content = bytearray(whole)
    content[position] ^= mask
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(whole)


def test_the_layout_files_of_the_example_make_the_documented_pack(paths):
    """docs/formats.md, "Packs"."""
    path, index = paths
    writer = PackWriter(path)
    writer.append([(frame, 0) for frame in FRAMES])
    writer.finish(index)
    assert path.read_bytes() == b"".join(FRAMES)
    assert index.read_bytes() == bytes.fromhex("""
        4c4550365041434b 01000000 03000000
        858bf765490465ec88ad64419fa93557ff21f39d14f6125d4ee2c78eab4149c6 0000000000000000 62020000 00000000
        92286efeae81e83571a0bf12605f691e4c30dd6d304bf034d69049a8e7074a47 6202000000000000 63020000 00000000
        21e86a555fe23e5b837bac7b5b15fd102f7d10cba4d234d7ac1272fd1c0fea72 c504000000000000 62020000 00000000
        0fd05dce56914b920b88071f1b60687822f57ed3b1619be0f30b0a83d850454c
    """)


@given(
    st.lists(st.tuples(st.binary(max_size=2_000), st.integers(0, 2**32 - 1)), unique_by=lambda pair: pair[0]),
    st.integers(1, 5),
)
@example([], 1)
@example([(b"", 0)], 1)
def test_values_come_back_as_they_were_written(paths, values, at_once):
    path, index = paths
    writer = PackWriter(path)
    keys = b"".join(writer.append(values[at : at + at_once]) for at in range(0, len(values), at_once))
    writer.finish(index)
    pack = Pack(path, index)
    assert len(pack) == len(values)
    assert pack.entries() == [(digest(value), len(value), rank) for value, rank in values]
    assert keys == b"".join(key for key, _, _ in pack.entries())
    assert pack.read(range(len(values))) == [value for value, _ in values]
    assert pack.check(Job()) == []


def test_values_are_read_in_any_order_and_as_often_as_wanted(written):
    assert Pack(*written).read([4, 0, 4, 1]) == [VALUES[4], VALUES[0], VALUES[4], b""]
    with pytest.raises(InvalidArtefact, match="not a value 5"):
        Pack(*written).read([0, 5])


@given(st.integers(0, INDEX_BYTES - 1), st.integers(1, 255))
def test_one_false_byte_anywhere_in_an_index_is_noticed(written, position, mask):
    with damaged(written[1], position, mask), pytest.raises(InvalidArtefact):
        Pack(*written)


@given(st.integers(0, VALUE_BYTES - 1), st.integers(1, 255))
@example(0, 1)
@example(VALUE_BYTES - 1, 128)
def test_one_false_byte_anywhere_in_a_pack_costs_only_the_value_that_it_is_in(written, position, mask):
    ends = [sum(map(len, VALUES[: at + 1])) for at in range(len(VALUES))]
    broken = next(at for at, end in enumerate(ends) if position < end)
    whole = [at for at in range(len(VALUES)) if at != broken]
    with damaged(written[0], position, mask):
        pack = Pack(*written)
        assert pack.check(Job()) == [broken]
        with pytest.raises(InvalidArtefact, match=key_text(digest(VALUES[broken]))):
            pack.read(range(len(VALUES)))
        assert pack.read(whole) == [VALUES[at] for at in whole]


@pytest.mark.parametrize("which", [0, 1], ids=["pack", "index"])
@given(data=st.data())
def test_a_pack_or_index_of_another_length_is_refused(written, which, data):
    path = written[which]
    content = path.read_bytes()
    kept = data.draw(st.integers(0, len(content) - 1))
    try:
        for changed in (content[:kept], content + content[: kept + 1]):
            path.write_bytes(changed)
            with pytest.raises(InvalidArtefact):
                Pack(*written)
    finally:
        path.write_bytes(content)


def test_an_index_of_a_later_version_is_not_called_damaged(paths):
    path, index = paths
    path.write_bytes(b"")
    index.write_bytes(sealed(version=2))
    with pytest.raises(InvalidArtefact, match="version 2"):
        Pack(path, index)


ONE, TWO = digest(b"one"), digest(b"two")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (sealed(magic=b"LEP6PICK"), "not the index"),
        (sealed((ONE, 0, 3, 0), count=2), "count"),
        (sealed((ONE, 0, 3, 0), (TWO, 3, 3, 0), count=1), "count"),
        (sealed((ONE, 0, 3, 0), (ONE, 3, 3, 0)), "twice"),
        (sealed((ONE, 0, 3, 0), (TWO, 4, 3, 0)), "has 6 bytes"),
        (sealed((ONE, 0, 3, 0), (TWO, 2**64 - 1, 7, 0)), "has 6 bytes"),
    ],
    ids=["another magic", "too many counted", "too few counted", "a key twice", "a value outside", "an offset at 2^64"],
)
def test_an_index_that_contradicts_itself_or_its_pack_is_refused_in_spite_of_its_seal(paths, content, why):
    path, index = paths
    path.write_bytes(b"onetwo")
    index.write_bytes(content)
    with pytest.raises(InvalidArtefact, match=why):
        Pack(path, index)


def test_a_new_pack_replaces_what_stood_there(written):
    path, index = written
    writer = PackWriter(path)
    assert path.stat().st_size == 0
    writer.append([(b"new", 9)])
    writer.finish(index)
    assert Pack(path, index).entries() == [(digest(b"new"), 3, 9)]
    assert (path.stat().st_size, index.stat().st_size) == (3, 96)


def test_a_pack_is_no_pack_before_its_index_is_written(paths):
    path, index = paths
    PackWriter(path).append([(b"value", 0)])
    with pytest.raises(FileNotFoundError):
        Pack(path, index)


def test_a_pack_of_symbols_lists_them_by_number_with_their_rank(coded):
    made = coded(noise(70_000), rank=2)
    pack = Pack(made.pack, made.index)
    assert pack.entries() == [(key, PACKET_SIZE, 2) for key in made.keys]
    assert pack.read(range(8)) == made.packets


def test_unpacking_gives_each_value_a_file_that_is_named_by_its_key(written, tmp_path):
    directory = tmp_path / "values"
    directory.mkdir()
    (directory / key_text(digest(VALUES[0]))).write_bytes(bytes(1_000))
    Pack(*written).unpack(directory, Job())
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {
        key_text(digest(value)): value for value in VALUES
    }


def test_unpacking_writes_no_false_value(written, tmp_path):
    with damaged(written[0], 0, 1), pytest.raises(InvalidArtefact):
        Pack(*written).unpack(tmp_path, Job())
    assert not (tmp_path / key_text(digest(VALUES[0]))).exists()
