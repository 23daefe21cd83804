"""Layouts: both spellings, the vectors, and what is refused (docs/formats.md, "Layout")."""

import json
import random
import sys
from base64 import b64encode
from contextlib import suppress

import base58
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lep6 import _core
from lep6.cascade.layout import MAX_LAYOUT_FILE, Layout, parse_layout
from lep6.errors import InvalidArtefact
from world import VECTORS, pattern

CASES = {case["size"]: case for case in VECTORS["encode_cases"]}
COMPACT = CASES[1000]["layout_json_compact"].encode()
EXAMPLE = parse_layout(COMPACT)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from([0, 1000, 10**30, -(10**30), "", "9o2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def layouts(draw):
    size = draw(st.integers(1, 1 << 21) | st.sampled_from([1, 65_528, 65_529, 65_535, 65_536, 10_484_481]))
    rng = random.Random(draw(st.integers()))
    return Layout(size, rng.randbytes(32), rng.randbytes(32 * _core.Geometry(size).total_symbols))


def block_with(**members):
    document = json.loads(COMPACT)
    document["blocks"][0].update(members)
    return json.dumps(document).encode()


def block_without(name):
    document = json.loads(COMPACT)
    del document["blocks"][0][name]
    return json.dumps(document).encode()


@pytest.mark.parametrize("size", [size for size in CASES if size <= 10 << 20])
def test_encoding_a_file_gives_the_layout_of_the_vectors(size, tmp_path):
    case = CASES[size]
    (tmp_path / "file").write_bytes(pattern(size))
    encoded = _core.encode(tmp_path / "file", tmp_path / "pack", tmp_path / "index", 0, _core.Job())
    layout = Layout(encoded.size, encoded.file, encoded.symbols)
    compact = layout.compact()
    assert (len(compact), blake3(compact).hexdigest()) == (case["layout_json_len"], case["layout_json_blake3_hex"])
    ids = [base58.b58encode(key).decode() for key in layout.symbols]
    assert blake3("\n".join(ids).encode()).hexdigest() == case["all_ids_blake3_hex"]
    assert [ids[: len(case["source_ids_first3"])], ids[case["K"] - 1]] == [
        case["source_ids_first3"],
        case["source_id_last"],
    ]
    assert [ids[case["K"] : case["K"] + 3], ids[-1]] == [case["repair_ids_first3"], case["repair_id_last"]]
    assert b64encode(layout.digest).decode() == case["data_hash_b64"]
    assert base58.b58encode(layout.digest).decode() == case["block_hash_b58"]


@pytest.mark.parametrize("size", [1, 1000, 70_000])
def test_a_layout_of_the_vectors_is_written_as_it_was_read(size):
    compact = CASES[size]["layout_json_compact"].encode()
    layout = parse_layout(compact)
    assert layout.compact() == compact
    assert layout.pretty() == json.dumps(json.loads(compact), indent=2).encode()
    assert parse_layout(layout.pretty()) == layout
    assert layout.size == size
    assert list(layout.geometry.oti) == CASES[size]["oti_array"]
    assert base58.b58encode(layout.digest).decode() == CASES[size]["block_hash_b58"]


@given(layouts())
def test_both_spellings_say_the_same(layout):
    assert parse_layout(layout.compact()) == layout
    assert parse_layout(layout.pretty()) == layout


def test_a_layout_spelled_by_somebody_else_is_the_same_layout():
    document = json.loads(COMPACT)
    document["blocks"][0]["note"] = {"more": ["ü", None]}
    strange = json.dumps({"b": 1, **document}, indent="\t", sort_keys=True, ensure_ascii=False).encode() + b"\r\n "
    assert parse_layout(strange) == EXAMPLE
    assert parse_layout(strange).compact() == COMPACT


@pytest.mark.parametrize(
    "parameters",
    [
        "AAAAA+gA//gBAAEI",
        b64encode(bytes.fromhex("00000003e800fff801000108") + b"more").decode(),
        [256, -256, 512, 259, 232 - 256, 0, -1, 248 + 256 * 10**20, 257, 0, 1, 8],
        [0, 0, 0, 3, 232, 0, 255, 248, 1, 0, 1, 8, 77, 78],
    ],
)
def test_encoder_parameters_are_read_in_the_forms_that_the_network_reads(parameters):
    assert parse_layout(block_with(encoder_parameters=parameters)) == EXAMPLE


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ([0, 0, 0, 3, 232, 0, 255, 248, 1, 0, 1], "11 bytes"),
        ([], "0 bytes"),
        ("", "0 bytes"),
        ("AAAAA+gA//gBAAE=", "11 bytes"),
        ("AAAAA-gA__gBAAEI", "not base64"),
        ("AAAAA+gA//gBAAEI\ud800", "not base64"),
        ([0, 0, 0, 3, 232, 0, 255, 248, 1, 0, 2, 8], "those of 1000 bytes"),
        ([0, 0, 0, 3, 233, 0, 255, 248, 1, 0, 1, 8], "those of 1000 bytes"),
        ([0, 0, 0, 3, 232, 0, 255, 248, 2, 0, 1, 8], "those of 1000 bytes"),
        ([0, 0, 0, 3, 232, 0, 255, 255, 1, 0, 1, 8], "those of 1000 bytes"),
        ([False, False, False, 3, 232, 0, 255, 248, True, 0, True, 8], "neither"),
        ([0, 0, 0, 3, 232.0, 0, 255, 248, 1, 0, 1, 8], "neither"),
        ([0, 0, 0, 3, "232", 0, 255, 248, 1, 0, 1, 8], "neither"),
        ({"0": 0}, "neither"),
        (None, "neither"),
        (12, "neither"),
    ],
)
def test_encoder_parameters_other_than_those_of_the_size_are_refused(parameters, why):
    with pytest.raises(InvalidArtefact, match=why):
        parse_layout(block_with(encoder_parameters=parameters))


@pytest.mark.parametrize(
    "blocks", ['{"blocks":[]}', "{}", '{"blocks":null}', '{"blocks":{"0":{}}}', '{"blocks":[[]]}', '{"blocks":[1]}']
)
def test_a_layout_without_a_block_is_refused(blocks):
    with pytest.raises(InvalidArtefact, match="exactly one block"):
        parse_layout(blocks.encode())


def test_a_layout_of_two_blocks_is_refused_even_if_both_are_good():
    block = json.loads(COMPACT)["blocks"][0]
    with pytest.raises(InvalidArtefact, match="exactly one block"):
        parse_layout(json.dumps({"blocks": [block, block]}).encode())


@pytest.mark.parametrize("name", ["block_id", "original_offset"])
@pytest.mark.parametrize("value", [1, -1, 10**30, 0.0, "0", None, False, [0], "\ud800"])
def test_block_id_and_offset_are_the_integer_0(name, value):
    with pytest.raises(InvalidArtefact, match=name):
        parse_layout(block_with(**{name: value}))


@pytest.mark.parametrize(
    "size", [0, -1, -(10**30), 1 << 63, 1 << 64, 10**30, _core.MAX_FILE_SIZE + 1, True, 1000.0, "1000", None, [1]]
)
def test_a_size_that_no_file_has_is_refused(size):
    with pytest.raises(InvalidArtefact, match="size"):
        parse_layout(block_with(size=size))


@pytest.mark.parametrize("size", [1, 999, 1001, 65_528, 70_000, _core.MAX_FILE_SIZE])
def test_the_layout_of_a_file_of_another_size_is_refused(size):
    with pytest.raises(InvalidArtefact, match="encoder parameters"):
        parse_layout(block_with(size=size))
    parameters = list(_core.Geometry(size).oti)
    if _core.Geometry(size).total_symbols != EXAMPLE.geometry.total_symbols:
        with pytest.raises(InvalidArtefact, match="the layout lists 7"):
            parse_layout(block_with(size=size, encoder_parameters=parameters))


@pytest.mark.parametrize("edit", ["drop", "add", "repeat", "empty"])
def test_every_symbol_is_listed_once(edit):
    symbols = json.loads(COMPACT)["blocks"][0]["symbols"]
    edited = {
        "drop": symbols[:-1],
        "add": [*symbols, "11111111111111111111111111111111"],
        "repeat": [*symbols[:-1], symbols[0]],
        "empty": [],
    }[edit]
    with pytest.raises(InvalidArtefact, match="symbol"):
        parse_layout(block_with(symbols=edited))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0o2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y",
        base58.b58encode(b"\x01" * 31).decode(),
        base58.b58encode(b"\x01" * 33).decode(),
        "9o2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1yy",
        "19o2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y",
        "9o2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y ",
        "\ud8002TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y",
        "é2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y",
        "../../../../../../../etc/passwd",
        "z" * 44,
        "1" * 100_000,
        None,
        7,
        ["9o2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y"],
    ],
)
def test_an_id_that_is_not_base58_of_32_bytes_is_refused(text):
    symbols = json.loads(COMPACT)["blocks"][0]["symbols"]
    with pytest.raises(InvalidArtefact) as refusal:
        parse_layout(block_with(symbols=[*symbols[:-1], text]))
    assert len(str(refusal.value)) < 200
    with pytest.raises(InvalidArtefact):
        parse_layout(block_with(hash=text))


@pytest.mark.parametrize("name", list(json.loads(COMPACT)["blocks"][0]))
def test_no_member_may_be_left_out(name):
    with pytest.raises(InvalidArtefact):
        parse_layout(block_without(name))


def test_symbols_come_in_a_list():
    for value in (None, "9o2TkoTGMGmmxUo3qJdT39bvdVRsw8snQctT3PY9Ge1y", {"0": "a"}, 7):
        with pytest.raises(InvalidArtefact, match="symbols"):
            parse_layout(block_with(symbols=value))


def test_a_corrupted_byte_gives_another_layout_or_none():
    likely = {0, 9, 10, 13, 32, *b'0123456789.eE+-"\\,:[]{}aZl', 0x80, 0xC3, 0xFF}
    for position, byte in enumerate(COMPACT):
        for other in likely.union(byte ^ 1 << bit for bit in range(8)) - {byte}:
            text = COMPACT[:position] + bytes([other]) + COMPACT[position + 1 :]
            with suppress(InvalidArtefact):
                assert parse_layout(text) != EXAMPLE, text


@given(st.integers(0, len(COMPACT) - 1))
def test_a_layout_that_was_cut_short_is_refused(length):
    with pytest.raises(InvalidArtefact):
        parse_layout(COMPACT[:length])


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused_with_an_invalid_artefact(text):
    with pytest.raises(InvalidArtefact):
        parse_layout(text)


@given(st.sampled_from(list(json.loads(COMPACT)["blocks"][0])), json_values, st.integers(0, 11))
def test_a_member_of_any_kind_is_refused_or_read(name, value, place):
    for text in (block_with(**{name: value}), block_with(encoder_parameters=[value] * (place + 6))):
        with suppress(InvalidArtefact):
            assert parse_layout(text).size == 1000


@pytest.mark.parametrize("text", [b'{"blocks":%s}', b'{"blocks":[{"size":%s}]}', b'{"blocks":[{"block_id":%s}]}'])
def test_nesting_just_below_and_above_what_json_reads_is_refused_alike(text):
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 10):
        with pytest.raises(InvalidArtefact):
            parse_layout(text % (b"[" * depth + b"]" * depth))


def test_the_layout_of_the_largest_file_has_the_size_that_limits_reckon_with():
    geometry = _core.Geometry(_core.MAX_FILE_SIZE)
    keys = b"".join(b"\xff" * 28 + esi.to_bytes(4, "big") for esi in range(geometry.total_symbols))
    layout = Layout(geometry.size, b"\xff" * 32, keys)
    compact = layout.compact()
    assert len(compact) == 5_775_780
    assert parse_layout(compact) == layout
    assert len(layout.pretty()) < MAX_LAYOUT_FILE


@pytest.mark.parametrize(("size", "symbols"), [(1000, 6), (1000, 8), (65_529, 7), (0, 7), (_core.MAX_FILE_SIZE + 1, 7)])
def test_a_layout_cannot_be_made_with_other_symbols_than_its_size_has(size, symbols):
    with pytest.raises(InvalidArtefact):
        Layout(size, bytes(32), bytes(range(32)) * symbols)


def test_a_layout_cannot_be_made_with_a_symbol_twice():
    with pytest.raises(InvalidArtefact, match="twice"):
        Layout(1000, EXAMPLE.digest, EXAMPLE.packed_symbols[32:] + EXAMPLE.packed_symbols[32:64])


@pytest.mark.parametrize("size", [10**400, -(10**400), 10**4299])
def test_a_size_beyond_any_float_is_refused(size):
    with pytest.raises(InvalidArtefact, match="size") as refusal:
        parse_layout(block_with(size=size))
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("name", ["block_id", "original_offset"])
def test_a_refused_number_is_shown_in_part(name):
    with pytest.raises(InvalidArtefact, match=name) as refusal:
        parse_layout(block_with(**{name: 10**4000}))
    assert len(str(refusal.value)) < 200
