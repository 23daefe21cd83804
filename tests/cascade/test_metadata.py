"""The chain's record of a file: the example, and every field that is not what it should be (docs/formats.md,
"Metadata"). Messages are encoded here by hand, so that they can be wrong."""

from base64 import b64encode
from contextlib import suppress

import base58
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lep6 import _core
from lep6.cascade.commitment import Commitment
from lep6.cascade.metadata import MAX_ID_FILES, read_metadata
from lep6.errors import InvalidAction
from lep6.model import Action, ActionState, Ticket
from lep6.wire.lumera.action import v1 as wire
from world import CREATOR, VECTORS

EXAMPLE = VECTORS["signed_example_1000B"]
ENCODED = bytes.fromhex(EXAMPLE["cascade_metadata_protobuf_hex"])
CASE = next(case for case in VECTORS["encode_cases"] if case["size"] == 1000)
TREE = next(case for case in VECTORS["lep5"] if case.get("size") == 1000)
INDEX_IDS = [file["id"] for file in EXAMPLE["index_files"]]
LAYOUT_IDS = [file["id"] for file in EXAMPLE["layout_files"]]


def varint(number):
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(fields):
    """A message of (number, value) pairs in the order of their numbers; a list is a repeated field."""
    parts = []
    for number, value in sorted(fields.items()):
        parts += [field(number, item) for item in (value if isinstance(value, list) else [value])]
    return b"".join(parts)


COMMITMENT = {
    1: "lep5/chunk-merkle/v1",
    2: 1,
    3: 256,
    4: 1000,
    5: 4,
    6: bytes.fromhex(TREE["root_hex"]),
    7: bytes(TREE["challenge_indices"]),
}
FIELDS = {
    1: CASE["data_hash_b64"],
    2: "pattern-1000.bin",
    3: 7,
    4: 3,
    5: INDEX_IDS,
    6: EXAMPLE["signatures_field"],
    7: 1,
    8: message(COMMITMENT),
    10: 3,
    11: 3,
}


def action(metadata, state=ActionState.DONE):
    return Action(Ticket("4711"), CREATOR.public.address, state, metadata)


def read(changes=None):
    """Read the example with some fields changed, or left out where they are `None`."""
    fields = FIELDS | (changes or {})
    return read_metadata(action(message({number: value for number, value in fields.items() if value is not None})))


def read_commitment(changes):
    fields = COMMITMENT | changes
    return read({8: message({number: value for number, value in fields.items() if value is not None})}).commitment


def index_of(layout_ids):
    document = f'{{"layout_ids":[{",".join(f"{text!r}" for text in layout_ids)}],"layout_signature":"","version":1}}'
    return b64encode(document.replace("'", '"').encode()).decode() + ".s"


def test_the_examples_message_is_the_vectors_bytes():
    assert message(FIELDS) == ENCODED
    assert len(ENCODED) == 750


def test_the_examples_message_is_parsed_field_by_field():
    parsed = wire.CascadeMetadata.parse(ENCODED)
    assert parsed == wire.CascadeMetadata(
        data_hash=CASE["data_hash_b64"],
        file_name="pattern-1000.bin",
        rq_ids_ic=7,
        rq_ids_max=3,
        rq_ids_ids=INDEX_IDS,
        signatures=EXAMPLE["signatures_field"],
        public=True,
        availability_commitment=wire.AvailabilityCommitment(
            commitment_type="lep5/chunk-merkle/v1",
            hash_algo=wire.HashAlgo.BLAKE3,
            chunk_size=256,
            total_size=1000,
            num_chunks=4,
            root=bytes.fromhex(TREE["root_hex"]),
            challenge_indices=TREE["challenge_indices"],
        ),
        index_artifact_count=3,
        symbol_artifact_count=3,
    )
    assert bytes(parsed) == ENCODED


def test_the_examples_metadata_is_read():
    metadata = read_metadata(action(ENCODED))
    assert b64encode(metadata.digest).decode() == metadata.data_hash == CASE["data_hash_b64"]
    assert base58.b58encode(metadata.digest).decode() == CASE["block_hash_b58"]
    assert metadata.file_name == "pattern-1000.bin"
    assert metadata.first_counter == 7
    assert [base58.b58encode(key).decode() for key in metadata.index_keys] == INDEX_IDS
    assert [base58.b58encode(key).decode() for key in metadata.index.layout_keys] == LAYOUT_IDS
    assert metadata.index.signed.decode() == EXAMPLE["signatures_field"]
    assert metadata.is_public
    assert metadata.commitment == Commitment(256, 1000, 4, bytes.fromhex(TREE["root_hex"]))
    assert metadata.id_file_count == 3
    assert metadata.size_bound == 1024


@pytest.mark.parametrize("state", ActionState)
def test_only_actions_that_are_done_or_approved_have_a_file(state):
    if state in (ActionState.DONE, ActionState.APPROVED):
        assert read_metadata(action(ENCODED, state)).first_counter == 7
    else:
        with pytest.raises(InvalidAction, match=f"4711 is {state.name}"):
            read_metadata(action(ENCODED, state))


def test_fields_that_may_be_absent_are():
    metadata = read({2: None, 3: None, 7: None, 8: None, 10: None, 11: None})
    assert (metadata.file_name, metadata.first_counter, metadata.is_public) == ("", 0, False)
    assert metadata.commitment is None
    assert metadata.size_bound == _core.MAX_FILE_SIZE


def test_proofs_counts_and_fields_of_later_versions_change_nothing():
    proof = message({1: 2, 2: bytes(32), 3: [bytes(32), bytes(32)], 4: b"\x01\x00"})
    later = varint(99 << 3 | 5) + b"abcd" + varint(100 << 3 | 1) + b"abcdefgh" + field(101, "x" * 300)
    fields = FIELDS | {9: [proof, proof], 10: 12, 11: 0}
    assert read_metadata(action(message(fields) + later)) == read_metadata(action(ENCODED))


def test_the_counters_are_32_bits_wide():
    assert read({3: (1 << 32) + 9}).first_counter == 9
    assert read({3: (1 << 64) - 1}).first_counter == (1 << 32) - 1


def test_the_data_hash_may_stand_between_blanks():
    assert read({1: f" {FIELDS[1]}\n"}) == read()


@pytest.mark.parametrize(
    "data_hash",
    [
        None,
        "",
        FIELDS[1][:-1],
        b64encode(bytes(31)).decode(),
        b64encode(bytes(33)).decode(),
        CASE["block_hash_b58"],
        FIELDS[1].replace("O", "_"),
        f"{FIELDS[1][:20]} {FIELDS[1][20:]}",
        "é" * 44,
        "00" * 32,
    ],
)
def test_a_data_hash_that_is_not_32_bytes_is_refused(data_hash):
    with pytest.raises(InvalidAction, match=r"^action 4711: the data hash"):
        read({1: data_hash})


@pytest.mark.parametrize("count", [None, 2, 4, 1 << 32, (1 << 32) + 3, (1 << 64) - 1])
def test_the_number_of_index_files_is_that_of_their_ids(count):
    with pytest.raises(InvalidAction, match=r"^action 4711: it states \d+ index files and lists 3"):
        read({4: count})


def test_an_action_without_index_files_is_refused():
    with pytest.raises(InvalidAction, match="states 0 index files and lists 0"):
        read({4: None, 5: None})


def test_there_are_as_many_layout_files_as_index_files():
    assert read({4: 1, 5: INDEX_IDS[:1], 6: index_of(LAYOUT_IDS[:1])}).id_file_count == 1
    for layout_ids in (LAYOUT_IDS[:2], [*LAYOUT_IDS, INDEX_IDS[0]]):
        with pytest.raises(InvalidAction, match=f"the index lists {len(layout_ids)} layout files, the chain 3"):
            read({6: index_of(layout_ids)})


def test_so_many_id_files_are_not_believed():
    def changes(count):
        ids = [_core.key_text(place.to_bytes(32, "big")) for place in range(count)]
        return {4: count, 5: ids, 6: index_of(ids)}

    assert read(changes(MAX_ID_FILES)).id_file_count == MAX_ID_FILES
    with pytest.raises(InvalidAction, match=f"states {MAX_ID_FILES + 1} index files"):
        read(changes(MAX_ID_FILES + 1))


@pytest.mark.parametrize(
    "text", ["", "1" * 31, INDEX_IDS[1] + "1", "0" + INDEX_IDS[1][1:], "é" * 44, INDEX_IDS[1] + " ", "../" * 14]
)
def test_an_index_id_that_is_none_is_refused(text):
    with pytest.raises(InvalidAction, match=r"^action 4711: .*not the base58 form"):
        read({5: [INDEX_IDS[0], text, INDEX_IDS[2]]})


@pytest.mark.parametrize(
    "signatures", [None, "", "a", EXAMPLE["index_b64"], EXAMPLE["signatures_field"] + ".7", "e30=.s", "!.s", "é.s"]
)
def test_signatures_without_a_sound_index_are_refused(signatures):
    with pytest.raises(InvalidAction, match=r"^action 4711: the (index|signatures field)"):
        read({6: signatures})


@pytest.mark.parametrize(
    "changes",
    [
        {1: "lep5/chunk-merkle/v2"},
        {1: None},
        {2: None},
        {2: 2},
        {2: 99},
        {3: None},
        {3: 262_145},
        {3: 128},
        {4: None},
        {4: 1025},
        {4: 768},
        {4: (1 << 64) - 1},
        {5: None},
        {5: 3},
        {5: 5},
        {6: None},
        {6: bytes(31)},
        {6: bytes(33)},
    ],
)
def test_a_commitment_whose_numbers_do_not_agree_is_refused(changes):
    with pytest.raises(InvalidAction, match=r"^action 4711: an availability commitment"):
        read_commitment(changes)


def test_an_empty_commitment_is_no_absent_one():
    with pytest.raises(InvalidAction, match="commitment"):
        read({8: b""})


def test_a_commitment_may_declare_any_size_of_as_many_chunks():
    assert [read_commitment({4: size}).size_bound for size in (769, 1024)] == [1024, 1024]


def test_challenge_indices_may_be_unpacked_or_absent():
    expected = read().commitment
    assert read_commitment({7: [0, 3, 2, 1]}) == expected
    assert read_commitment({7: None}) == expected


@pytest.mark.parametrize("text", [b"\xff", b"a\xc3(", b"\xed\xa0\x80"])
def test_text_that_is_not_utf_8_is_refused(text):
    for number in (1, 2, 6):
        with pytest.raises(InvalidAction, match="are not a CascadeMetadata"):
            read({number: text})


edits = st.tuples(st.integers(0, len(ENCODED)), st.none() | st.integers(0, 6), st.binary(max_size=6))


def types_are_right(metadata):
    """Whether what came out of a strange message is at least what the class says it is."""
    return (
        (type(metadata.data_hash), type(metadata.file_name)) == (str, str)
        and (type(metadata.first_counter), type(metadata.is_public)) == (int, bool)
        and (metadata.commitment is None or type(metadata.commitment.root) is bytes)
    )


@pytest.mark.parametrize("number", range(1, 12))
@pytest.mark.parametrize("wire_type", range(8))
def test_a_field_of_any_wire_type_is_refused_or_read(number, wire_type):
    for payload in (b"", b"\0", b"\x01", b"\x04\x08\x01\x10\x01", b"\x02\xff\xfe", bytes(8), b"\xff" * 9 + b"\x01"):
        odd = varint(number << 3 | wire_type) + payload
        for text in (odd, ENCODED + odd, odd + ENCODED, ENCODED + field(8, message(COMMITMENT) + odd)):
            with suppress(InvalidAction):
                assert types_are_right(read_metadata(action(text)))


def test_a_field_that_is_cut_short_is_refused():
    ends = {len(message({number: FIELDS[number] for number in list(FIELDS)[:count]})) for count in range(11)}
    ids = {len(message({number: FIELDS[number] for number in range(1, 5)})) + 46 * count for count in range(4)}
    for length in set(range(1, len(ENCODED))) - ends - ids:
        with pytest.raises(InvalidAction, match="4711"):
            read_metadata(action(ENCODED[:length]))


@given(st.binary(max_size=60))
def test_any_bytes_are_an_invalid_action(text):
    with pytest.raises(InvalidAction):
        read_metadata(action(text))


@given(st.lists(edits, max_size=5))
@settings(max_examples=1000)
def test_a_message_with_bytes_changed_inserted_or_taken_out_is_refused_or_read(changes):
    text = bytearray(ENCODED)
    for place, length, replacement in changes:
        text[place : place + (len(replacement) if length is None else length)] = replacement
    with suppress(InvalidAction):
        assert types_are_right(read_metadata(action(bytes(text))))


def test_every_flipped_bit_of_a_message_is_refused_or_read():
    for position, byte in enumerate(ENCODED):
        for bit in range(8):
            text = ENCODED[:position] + bytes([byte ^ 1 << bit]) + ENCODED[position + 1 :]
            with suppress(InvalidAction):
                assert types_are_right(read_metadata(action(text)))
