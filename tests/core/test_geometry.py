from bisect import bisect_right

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lep6._core import MAX_FILE_SIZE, PACKET_SIZE, SYMBOL_SIZE, Geometry
from lep6.errors import InvalidArtefact
from world import VECTORS

THRESHOLDS = VECTORS["n_thresholds_first_K_with_N"]


@pytest.mark.parametrize("row", VECTORS["parameter_table"], ids=lambda row: row["name"])
def test_the_parameters_of_a_file_follow_from_its_size(row):
    geometry = Geometry(row["size"])
    assert geometry.size == row["size"]
    assert geometry.source_symbols == row["K"]
    assert geometry.extended_symbols == row["K_prime"]
    assert geometry.repair_symbols == row["repair"]
    assert geometry.total_symbols == row["total"]
    assert geometry.sub_blocks == row["N"]
    assert geometry.oti.hex() == row["oti_hex"]


def test_the_sizes_of_symbols_and_the_largest_file_are_those_of_the_format():
    parameters = VECTORS["parameters"]
    assert parameters["effective_T"] == SYMBOL_SIZE
    assert parameters["packet_bytes"] == PACKET_SIZE
    assert parameters["block_size"] == MAX_FILE_SIZE
    assert parameters["max_K_single_block"] == Geometry(MAX_FILE_SIZE).source_symbols


def test_sub_blocks_change_at_exactly_the_listed_symbol_counts():
    assert len(THRESHOLDS) == 118
    before = 0
    for first_symbols, sub_blocks in THRESHOLDS:
        largest_before = (first_symbols - 1) * SYMBOL_SIZE
        assert Geometry(largest_before + 1).source_symbols == first_symbols
        assert Geometry(largest_before + 1).sub_blocks == sub_blocks
        if before:
            assert Geometry(largest_before).sub_blocks == before
        before = sub_blocks


@given(st.integers(1, MAX_FILE_SIZE))
@example(65_535)
@example(65_536)
def test_every_size_agrees_with_the_rules_of_the_format(size):
    """docs/formats.md, "Geometry"."""
    geometry = Geometry(size)
    symbols = -(-size // 65_528)
    sub_blocks = THRESHOLDS[bisect_right(THRESHOLDS, symbols, key=lambda step: step[0]) - 1][1]
    assert geometry.source_symbols == symbols
    assert geometry.repair_symbols == (6 if size <= 65_535 else -(-5 * size // 65_535))
    assert geometry.total_symbols == geometry.source_symbols + geometry.repair_symbols
    assert geometry.sub_blocks == sub_blocks
    assert geometry.oti == size.to_bytes(5) + b"\x00\xff\xf8\x01" + sub_blocks.to_bytes(2) + b"\x08"


@pytest.mark.parametrize("size", [0, MAX_FILE_SIZE + 1, VECTORS["beyond_limit_4GiB"]["size"], 2**40])
def test_a_size_that_no_file_of_the_network_has_is_refused(size):
    with pytest.raises(InvalidArtefact):
        Geometry(size)


def test_geometries_are_equal_when_their_sizes_are():
    assert Geometry(1000) == Geometry(1000)
    assert Geometry(1000) != Geometry(1001)
    assert Geometry(1000) != 1000
