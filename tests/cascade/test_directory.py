"""Encode directories: written whole or not at all, read with whatever is wrong with them (docs/formats.md, "Encode
directory")."""

import errno
import itertools
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import base58
import pytest
import raptorq
import trio
from blake3 import blake3

from lep6 import _core
from lep6.cascade.directory import BLOCK_DIRECTORY, Directories, Spelling, Undecodable
from lep6.cascade.ids import key_text
from lep6.cascade.layout import COMPACT_LAYOUT_FILE, LAYOUT_FILE, MAX_LAYOUT_FILE, Layout, parse_layout
from lep6.errors import InvalidArtefact, OutputExists
from world import BLOCKING, PROGRESS, VECTORS, noise, pattern

DIRECTORIES = Directories(BLOCKING, PROGRESS)
SIZE = 70_000
"""Two source symbols and six repair symbols."""


def oracle_packets(data):
    """The packets of a file in the order of their ids, from another package."""
    repair = 6 if len(data) <= 65_535 else -(-5 * len(data) // 65_535)
    packets = raptorq.Encoder.with_defaults(data, 65_535).get_encoded_packets(repair)
    return sorted(packets, key=lambda packet: packet[:4])


def name_of(packet):
    return base58.b58encode(blake3(packet).digest()).decode()


def symbol_file(directory, layout, esi):
    return directory / BLOCK_DIRECTORY / key_text(layout.symbols[esi])


def keep(directory, layout, esis):
    """Remove all symbol files but these."""
    for esi in set(range(len(layout.symbols))) - set(esis):
        symbol_file(directory, layout, esi).unlink()


def tree(directory):
    """Everything below a directory, to compare."""
    return {
        path.relative_to(directory): blake3(path.read_bytes()).digest() if path.is_file() else None
        for path in directory.rglob("*")
    }


def tampering(step, tamper):
    """Blocking work that runs inline, with something done to it just before the given piece."""
    pieces = itertools.count(1)

    async def run(work, /, *, cancel=None):
        if next(pieces) == step:
            tamper()
        return await BLOCKING.run(work)

    return SimpleNamespace(run=run, pieces=pieces)


def no_space():
    raise OSError(errno.ENOSPC, "No space left on device")


async def pieces_of(run):
    """Pieces of blocking work that a run takes."""
    blocking = tampering(0, no_space)
    await run(Directories(blocking, PROGRESS))
    return next(blocking.pieces) - 1


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in" / "file"
    path.parent.mkdir()
    path.write_bytes(noise(SIZE))
    return path


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "place"
    path.mkdir()
    return path


@pytest.fixture
async def encoded(source, tmp_path):
    """A directory that holds all symbols of the source, and its layout."""
    directory = tmp_path / "encoded"
    return directory, await DIRECTORIES.encode(source, directory)


@pytest.mark.parametrize("size", [1, 1000, 65_528, 65_529, 70_000, 1_048_576])
async def test_a_directory_is_file_for_file_that_of_another_encoder(size, tmp_path, place):
    data = noise(size, size)
    (tmp_path / "file").write_bytes(data)
    layout = await DIRECTORIES.encode(tmp_path / "file", place / "out")
    packets = oracle_packets(data)
    assert [key_text(key) for key in layout.symbols] == [name_of(packet) for packet in packets]
    expected = {Path(BLOCK_DIRECTORY): None, Path(LAYOUT_FILE): blake3(layout.pretty()).digest()}
    expected |= {Path(BLOCK_DIRECTORY, name_of(packet)): blake3(packet).digest() for packet in packets}
    assert tree(place / "out") == expected


async def test_the_directory_of_another_encoder_is_decoded(place):
    data = pattern(1_048_576)
    packets = oracle_packets(data)
    keys = b"".join(blake3(packet).digest() for packet in packets)
    (place / LAYOUT_FILE).write_bytes(Layout(len(data), blake3(data).digest(), keys).pretty())
    (place / BLOCK_DIRECTORY).mkdir()
    for packet in packets[40:60]:
        (place / BLOCK_DIRECTORY / name_of(packet)).write_bytes(packet)
    await DIRECTORIES.decode(place, place / "output")
    assert (place / "output").read_bytes() == data


@pytest.mark.parametrize(
    ("size", "symbols"),
    [
        (1, 7),
        (65_528, 7),
        (65_529, 8),
        (1_074_774, 99),
        (1_087_881, 100),
        (1_087_882, 101),
        (10_484_481, 961),  # two sub-blocks
    ],
)
async def test_a_file_survives_the_loss_of_all_but_a_few_symbols(size, symbols, tmp_path, place):
    data = noise(size, size)
    (tmp_path / "file").write_bytes(data)
    layout = await DIRECTORIES.encode(tmp_path / "file", place / "out")
    assert len(layout.symbols) == symbols
    assert await DIRECTORIES.decode(place / "out", place / "whole") == layout
    keep(place / "out", layout, random.Random(size).sample(range(symbols), layout.geometry.source_symbols + 2))
    assert await DIRECTORIES.decode(place / "out", place / "rest") == layout
    assert (place / "whole").read_bytes() == (place / "rest").read_bytes() == data


@pytest.mark.parametrize("case", VECTORS["decode_cases_1MiB"]["cases"], ids=["solvable", "singular", "singular too"])
async def test_exactly_k_symbols_are_enough_if_they_are_independent(case, tmp_path, place):
    (tmp_path / "file").write_bytes(pattern(case["size"]))
    layout = await DIRECTORIES.encode(tmp_path / "file", place / "out")
    kept = case["esis"]
    for esi in set(range(98)) - {*kept, case.get("add_esi")}:
        symbol_file(place / "out", layout, esi).unlink()
    if not case["decodes_with_exactly_K"]:
        added = symbol_file(place / "out", layout, case["add_esi"])
        packet = added.read_bytes()
        added.unlink()
        found = await DIRECTORIES.decode(place / "out", place / "file")
        assert found == Undecodable(have=17, needed=17)
        assert str(found) == (
            "cannot decode: the 17 true symbols that are there are not independent enough; 17 are needed"
        )
        assert not (await DIRECTORIES.survey(place / "out"))[1].decodable
        added.write_bytes(packet)
    assert (await DIRECTORIES.survey(place / "out"))[1].decodable
    assert await DIRECTORIES.decode(place / "out", place / "file") == layout
    assert (place / "file").read_bytes() == pattern(case["size"])


async def test_one_symbol_too_few_is_undecodable_and_leaves_the_old_output(encoded, place):
    directory, layout = encoded
    keep(directory, layout, [5])
    (place / "output").write_bytes(b"old")
    found = await DIRECTORIES.decode(directory, place / "output")
    assert found == Undecodable(have=1, needed=2)
    assert str(found) == "cannot decode: the 1 true symbols that are there are not enough; 2 are needed"
    assert tree(place) == {Path("output"): blake3(b"old").digest()}


async def test_symbols_beside_a_compact_layout_are_decoded(encoded, source, place):
    directory, layout = encoded
    (directory / LAYOUT_FILE).unlink()
    (directory / COMPACT_LAYOUT_FILE).write_bytes(layout.compact())
    for path in (directory / BLOCK_DIRECTORY).iterdir():
        path.rename(directory / path.name)
    (directory / BLOCK_DIRECTORY).rmdir()
    assert await DIRECTORIES.decode(directory, place / "output") == layout
    assert (place / "output").read_bytes() == source.read_bytes()
    _, survey = await DIRECTORIES.survey(directory)
    assert (len(survey.present), survey.foreign) == (8, [])


async def test_false_symbol_files_are_passed_over(encoded, source, place):
    directory, layout = encoded
    packets = [symbol_file(directory, layout, esi).read_bytes() for esi in range(8)]
    falsehoods = [packets[1], packets[1][:-1], packets[2] + b"\0", b"", b"\0" * 65_532, packets[5][:3]]
    for esi, content in zip((0, 1, 2, 3, 4, 5), falsehoods, strict=True):
        symbol_file(directory, layout, esi).write_bytes(content)
    _, survey = await DIRECTORIES.survey(directory)
    assert (survey.broken, survey.present, survey.missing) == ([0, 1, 2, 3, 4, 5], [6, 7], [])
    assert await DIRECTORIES.decode(directory, place / "output") == layout
    assert (place / "output").read_bytes() == source.read_bytes()


async def test_a_survey_tells_present_missing_broken_and_foreign_apart(encoded):
    directory, layout = encoded
    symbol_file(directory, layout, 0).unlink()
    symbol_file(directory, layout, 7).unlink()
    symbol_file(directory, layout, 2).write_bytes(b"false")
    for name in ("notes.txt", key_text(layout.digest), "x" * 44, "layout.json"):
        (directory / BLOCK_DIRECTORY / name).write_bytes(b"foreign")
    (directory / BLOCK_DIRECTORY / "a directory").mkdir()
    before = tree(directory)
    found, survey = await DIRECTORIES.survey(directory)
    assert found == layout
    assert (survey.present, survey.missing, survey.broken) == ([1, 3, 4, 5, 6], [0, 7], [2])
    assert survey.foreign == sorted(["a directory", "notes.txt", key_text(layout.digest), "x" * 44])
    assert survey.decodable
    assert tree(directory) == before


async def test_an_empty_directory_of_symbols_is_surveyed_as_missing_them_all(encoded):
    directory, layout = encoded
    keep(directory, layout, [])
    _, survey = await DIRECTORIES.survey(directory)
    assert survey.missing == list(range(8))
    assert not survey.decodable


async def test_a_directory_that_is_not_empty_is_kept(source, place):
    (place / "out").mkdir()
    (place / "out" / ".hidden").write_bytes(b"somebody's")
    before = tree(place)
    with pytest.raises(OutputExists, match="not empty; nothing was written"):
        await DIRECTORIES.encode(source, place / "out")
    assert tree(place) == before


async def test_a_file_where_the_directory_is_to_go_is_kept(source, place):
    (place / "out").write_bytes(b"somebody's")
    before = tree(place)
    with pytest.raises(OutputExists):
        await DIRECTORIES.encode(source, place / "out")
    assert tree(place) == before


async def test_an_empty_directory_is_filled(source, place, monkeypatch):
    (place / "out").mkdir()
    monkeypatch.chdir(place)
    await DIRECTORIES.encode(source, Path("out"))
    assert sorted(path.name for path in place.iterdir()) == ["out"]
    assert len(list((place / "out" / BLOCK_DIRECTORY).iterdir())) == 8


def make_too_large(path):
    path.touch()
    os.truncate(path, _core.MAX_FILE_SIZE + 1)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: path.touch(), InvalidArtefact),
        (lambda path: path.mkdir(), InvalidArtefact),
        (make_too_large, InvalidArtefact),
        (lambda _: None, FileNotFoundError),
    ],
    ids=["empty", "directory", "too large", "missing"],
)
async def test_what_cannot_be_encoded_leaves_nothing_behind(make, error, tmp_path, place):
    make(tmp_path / "source")
    with pytest.raises(error):
        await DIRECTORIES.encode(tmp_path / "source", place / "out")
    assert tree(place) == {}


async def test_encoding_that_fails_at_any_step_leaves_nothing_behind(source, place, tmp_path):
    pieces = await pieces_of(lambda directories: directories.encode(source, tmp_path / "whole"))
    for step in range(1, pieces):
        with pytest.raises(OSError, match="No space left"):
            await Directories(tampering(step, no_space), PROGRESS).encode(source, place / "out")
        assert tree(place) == {}, step


async def test_encoding_that_is_cancelled_at_any_step_leaves_nothing_behind(source, place, tmp_path):
    pieces = await pieces_of(lambda directories: directories.encode(source, tmp_path / "whole"))
    for step in range(1, pieces):
        with trio.CancelScope() as scope:
            await Directories(tampering(step, scope.cancel), PROGRESS).encode(source, place / "out")
        assert scope.cancelled_caught
        assert tree(place) == {}, step


async def test_a_directory_that_was_filled_meanwhile_is_kept(source, place, tmp_path):
    pieces = await pieces_of(lambda directories: directories.encode(source, tmp_path / "whole"))

    def fill():
        (place / "out").mkdir()
        (place / "out" / "file").write_bytes(b"somebody's")

    for step in range(2, pieces):
        with pytest.raises((OSError, OutputExists)):
            await Directories(tampering(step, fill), PROGRESS).encode(source, place / "out")
        assert sorted(path.name for path in place.rglob("*")) == ["file", "out"], step
        shutil.rmtree(place / "out")


async def test_decoding_that_fails_at_any_step_keeps_the_old_output(encoded, place, tmp_path):
    directory, layout = encoded
    keep(directory, layout, [1, 4, 6, 7])
    (place / "output").write_bytes(b"old")
    before = tree(place)
    pieces = await pieces_of(lambda directories: directories.decode(directory, tmp_path / "output"))
    for step in range(1, pieces):
        with pytest.raises(OSError, match="No space left"):
            await Directories(tampering(step, no_space), PROGRESS).decode(directory, place / "output")
        assert tree(place) == before, step
        with trio.CancelScope() as scope:
            await Directories(tampering(step, scope.cancel), PROGRESS).decode(directory, place / "output")
        assert scope.cancelled_caught
        assert tree(place) == before, step


async def test_decoding_replaces_the_output_by_another_file_and_leaves_the_old_to_who_has_it_open(
    encoded, source, place
):
    (place / "output").write_bytes(b"old")
    with (place / "output").open("rb") as reader:
        await DIRECTORIES.decode(encoded[0], place / "output")
        assert reader.read() == b"old"
    assert (place / "output").read_bytes() == source.read_bytes()
    assert sorted(path.name for path in place.iterdir()) == ["output"]


async def test_symbols_that_do_not_decode_to_the_layouts_file_replace_nothing(encoded, place):
    directory, layout = encoded
    other = Layout(layout.size, bytes(31) + b"\x01", layout.packed_symbols)
    (directory / LAYOUT_FILE).write_bytes(other.pretty())
    (place / "output").write_bytes(b"old")
    before = tree(place)
    with pytest.raises(InvalidArtefact, match=f"the hash is not {key_text(other.digest)}"):
        await DIRECTORIES.decode(directory, place / "output")
    assert tree(place) == before


async def test_padding_other_than_zero_is_refused_even_if_the_layout_lists_it(place):
    data = pattern(1000)
    packet = b"\0\0\0\0" + data + bytes(64_527) + b"\x01"
    keys = blake3(packet).digest() + noise(6 * 32)
    layout = Layout(1000, blake3(data).digest(), keys)
    (place / COMPACT_LAYOUT_FILE).write_bytes(layout.compact())
    (place / name_of(packet)).write_bytes(packet)
    with pytest.raises(InvalidArtefact, match="padding"):
        await DIRECTORIES.decode(place, place / "output")
    assert not (place / "output").exists()


@pytest.mark.parametrize(
    "header", [b"\0\0\0\x01", b"\x01\0\0\0", b"\xff\xff\xff\xff"], ids=["another id", "another block", "both"]
)
async def test_a_packet_that_says_it_is_another_symbol_is_no_symbol(header, place):
    data = pattern(1000)
    packet = header + data + bytes(64_528)
    layout = Layout(1000, blake3(data).digest(), blake3(packet).digest() + noise(6 * 32))
    (place / COMPACT_LAYOUT_FILE).write_bytes(layout.compact())
    (place / name_of(packet)).write_bytes(packet)
    assert await DIRECTORIES.decode(place, place / "output") == Undecodable(have=0, needed=1)


async def test_an_output_in_no_directory_is_the_systems_error(encoded, place):
    with pytest.raises(FileNotFoundError):
        await DIRECTORIES.decode(encoded[0], place / "missing" / "output")
    assert tree(place) == {}


async def test_a_directory_where_the_output_is_to_go_is_kept(encoded, place):
    (place / "output").mkdir()
    with pytest.raises(IsADirectoryError):
        await DIRECTORIES.decode(encoded[0], place / "output")
    assert tree(place) == {Path("output"): None}


@pytest.mark.parametrize("act", [DIRECTORIES.survey, DIRECTORIES.layout, lambda path: DIRECTORIES.decode(path, path)])
async def test_a_directory_without_a_layout_is_refused(act, place):
    with pytest.raises(InvalidArtefact, match=f"neither {LAYOUT_FILE} nor {COMPACT_LAYOUT_FILE}"):
        await act(place)
    assert tree(place) == {}


async def test_a_layout_is_told_by_its_spelling(encoded, place):
    directory, layout = encoded
    path = place / "any name"
    for text, spelling in (
        (layout.pretty(), Spelling.PRETTY),
        (layout.compact(), Spelling.COMPACT),
        (layout.pretty() + b"\n", Spelling.OTHER),
        (b" " + layout.compact(), Spelling.OTHER),
    ):
        path.write_bytes(text)
        read = await DIRECTORIES.layout(path)
        assert (read.path, read.layout, read.spelling) == (path, layout, spelling)
    read = await DIRECTORIES.layout(directory)
    assert (read.path, read.spelling) == (directory / LAYOUT_FILE, Spelling.PRETTY)


async def test_of_two_layouts_that_of_the_encoder_counts(encoded):
    directory, layout = encoded
    (directory / COMPACT_LAYOUT_FILE).write_bytes(b"not a layout")
    assert (await DIRECTORIES.layout(directory)).layout == layout


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff" * 100, b"[" * 100_000])
async def test_a_file_that_is_no_layout_is_named(text, place):
    (place / LAYOUT_FILE).write_bytes(text)
    with pytest.raises(InvalidArtefact, match=str(place / LAYOUT_FILE)):
        await DIRECTORIES.survey(place)


async def test_a_layout_file_of_any_size_is_read_only_in_part(place):
    (place / LAYOUT_FILE).touch()
    os.truncate(place / LAYOUT_FILE, 1 << 40)
    with pytest.raises(InvalidArtefact, match=f"more than {MAX_LAYOUT_FILE} bytes"):
        await DIRECTORIES.layout(place)


async def test_the_layout_on_disk_is_the_one_returned(encoded):
    directory, layout = encoded
    assert parse_layout((directory / LAYOUT_FILE).read_bytes()) == layout


async def test_true_symbols_behind_false_ones_are_found(encoded, source, place):
    directory, layout = encoded
    for esi in range(1, 7):
        symbol_file(directory, layout, esi).write_bytes(b"false")
    assert (await DIRECTORIES.survey(directory))[1].decodable
    assert await DIRECTORIES.decode(directory, place / "output") == layout
    assert (place / "output").read_bytes() == source.read_bytes()


async def test_a_directory_under_a_symbols_name_is_a_broken_symbol(encoded, source, place):
    directory, layout = encoded
    symbol_file(directory, layout, 0).unlink()
    symbol_file(directory, layout, 0).mkdir()
    assert (await DIRECTORIES.survey(directory))[1].broken == [0]
    assert await DIRECTORIES.decode(directory, place / "output") == layout
    assert (place / "output").read_bytes() == source.read_bytes()


async def test_an_encode_directory_in_no_directory_is_the_systems_error(source, place):
    with pytest.raises(FileNotFoundError):
        await DIRECTORIES.encode(source, place / "missing" / "out")
    assert tree(place) == {}


async def test_an_encoding_that_fails_makes_no_parent_directory_either(tmp_path, place):
    (tmp_path / "empty").touch()
    with pytest.raises((InvalidArtefact, FileNotFoundError)):
        await DIRECTORIES.encode(tmp_path / "empty", place / "missing" / "out")
    assert tree(place) == {}
