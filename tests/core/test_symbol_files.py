import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6._core import Job, Pack, key_texts, survey
from world import noise

SIZE = 200_000
SOURCES = 4
SYMBOLS = 20


@pytest.fixture
def file(coded):
    return coded(noise(SIZE))


@pytest.fixture
def directory(file, tmp_path):
    """All symbols of the file, each in a file of its own."""
    path = tmp_path / "block_0"
    path.mkdir()
    Pack(file.pack, file.index).unpack(path, Job())
    return path


def symbol_paths(file, directory):
    return [directory / name for name in key_texts(file.encoded.symbols)]


def look(file, directory):
    return survey(directory, file.size, file.encoded.symbols, Job())


def test_a_whole_directory_has_every_symbol_and_nothing_else(file, directory):
    found = look(file, directory)
    assert found.present == list(range(SYMBOLS))
    assert (found.missing, found.broken, found.foreign) == ([], [], [])
    assert found.decodable


def test_lost_symbols_broken_ones_and_strangers_are_told_apart(file, directory):
    paths = symbol_paths(file, directory)
    paths[3].unlink()
    paths[4].write_bytes(file.packets[4][:-1])
    paths[5].write_bytes(file.packets[5] + b"\x00")
    paths[6].write_bytes(b"")
    paths[7].write_bytes(file.packets[8])
    paths[8].unlink()
    paths[8].mkdir()
    for name in ("stranger", "layout.json", "_raptorq_layout.json", "another"):
        (directory / name).touch()
    found = look(file, directory)
    assert found.missing == [3]
    assert found.broken == [4, 5, 6, 7, 8]
    assert found.present == [0, 1, 2, *range(9, SYMBOLS)]
    assert found.foreign == ["another", "stranger"]


@given(st.sets(st.integers(0, SYMBOLS - 1), min_size=SOURCES - 1, max_size=SOURCES + 1))
def test_a_directory_decodes_exactly_when_the_survey_says_so(file, directory, spool_of, tmp_path, kept):
    for esi, path in enumerate(symbol_paths(file, directory)):
        path.unlink(missing_ok=True)
        if esi in kept:
            path.write_bytes(file.packets[esi])
    spool = spool_of(file)
    assert spool.fill(directory, SYMBOLS, Job()) == len(kept)
    decoded = spool.decode(tmp_path / "decoded", Job())
    assert look(file, directory).decodable == (decoded is not None)


@pytest.mark.parametrize("enough", [0, 1, SOURCES, SOURCES + 2, SYMBOLS, SYMBOLS + 1])
def test_a_spool_takes_symbols_from_a_directory_sources_first_until_it_has_enough(file, directory, spool_of, enough):
    spool = spool_of(file)
    taken = min(enough, SYMBOLS)
    assert spool.fill(directory, enough, Job()) == taken
    assert spool.held() == list(range(taken))


def test_a_spool_that_has_enough_takes_nothing_from_a_directory(file, directory, spool_of):
    spool = spool_of(file, [8, 9])
    assert spool.fill(directory, 2, Job()) == 2
    assert spool.held() == [8, 9]


def test_a_spool_goes_on_to_symbols_that_it_does_not_have(file, directory, spool_of):
    spool = spool_of(file, [0, 2, 3])
    symbol_paths(file, directory)[1].write_bytes(b"broken")
    assert spool.fill(directory, 5, Job()) == 5
    assert spool.held() == [0, 2, 3, 4, 5]


def test_broken_and_foreign_files_are_not_taken(file, directory, spool_of):
    paths = symbol_paths(file, directory)
    paths[1].write_bytes(b"broken")
    paths[2].unlink()
    (directory / "stranger").write_bytes(file.packets[2])
    spool = spool_of(file)
    assert spool.fill(directory, SYMBOLS, Job()) == SYMBOLS - 2
    assert spool.held() == [0, *range(3, SYMBOLS)]


def test_symbols_far_up_are_found_where_the_first_hundreds_are_lost(coded, spool_of, tmp_path):
    made = coded(noise(3_000_000))
    path = tmp_path / "few"
    path.mkdir()
    Pack(made.pack, made.index).unpack(path, Job())
    for lost in symbol_paths(made, path)[:240]:
        lost.unlink()
    spool = spool_of(made)
    assert spool.fill(path, 30, Job()) == 30
    assert spool.held() == list(range(240, 270))
    survivors = look(made, path)
    assert survivors.present == list(range(240, made.geometry.total_symbols))
    assert not survivors.decodable
