"""Availability commitments against a plain implementation of the rules (docs/formats.md, "Commitment")."""

import os

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lep6 import _core
from lep6.cascade.commitment import (
    COMMITMENT_KIND,
    Commitment,
    challenge_indices,
    commit,
    proof,
    root_of_proof,
)
from lep6.errors import InvalidArtefact
from world import VECTORS, noise, pattern

CASES = [case for case in VECTORS["lep5"] if "size" in case]
PINNED, ODD = (case for case in VECTORS["lep5"] if "size" not in case)
NUMBERS = {
    "kind": COMMITMENT_KIND,
    "is_blake3": True,
    "chunk_size": 256,
    "total_size": 1000,
    "num_chunks": 4,
    "root": bytes(32),
}


def plain_chunk_size(size):
    chunk_size = 262_144
    while chunk_size > 1 and (size + chunk_size - 1) // chunk_size < 4:
        chunk_size //= 2
    return chunk_size


def plain_levels(data, chunk_size):
    level = [
        blake3(b"\x00" + index.to_bytes(4, "big") + data[at : at + chunk_size]).digest()
        for index, at in enumerate(range(0, len(data), chunk_size))
    ]
    levels = [level]
    while len(level) > 1:
        if len(level) % 2:
            level = [*level, level[-1]]
        level = [blake3(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level), 2)]
        levels.append(level)
    return levels


def plain_challenges(root, num_chunks, wanted):
    wanted = min(wanted, num_chunks)
    found = []
    for counter in range(max(32 * num_chunks, wanted)):
        index = int.from_bytes(blake3(root + counter.to_bytes(4, "big")).digest()[:8], "big") % num_chunks
        if index not in found and len(found) < wanted:
            found.append(index)
    return found + [index for index in range(num_chunks) if index not in found][: wanted - len(found)]


@pytest.fixture
def file_of(tmp_path):
    def write(data):
        path = tmp_path / "file"
        path.write_bytes(data)
        return path

    return write


def made(path):
    return commit(path, _core.Job())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["size"]))
def test_commitments_of_the_vectors(case, file_of):
    commitment = made(file_of(pattern(case["size"])))
    assert commitment == Commitment(
        case["chunk_size"], case["size"], case["num_chunks"], bytes.fromhex(case["root_hex"])
    )
    assert list(challenge_indices(commitment.root, commitment.num_chunks)) == case["challenge_indices"]


def test_root_and_proof_that_the_chain_has_pinned(file_of):
    path = file_of("".join(PINNED["chunks_ascii"]).encode())
    leaf, steps = proof(path, 2, 2, _core.Job())
    expected = PINNED["proof_chunk2"]
    assert [sibling.hex() for sibling, _ in steps] == expected["path_hashes_hex"]
    assert [is_right for _, is_right in steps] == expected["path_directions"]
    assert root_of_proof(leaf, steps).hex() == PINNED["root_hex"]
    assert proof(path, 2, 0, _core.Job())[0].hex() == PINNED["leaf0_hex"]


def test_the_last_hash_of_an_odd_level_is_paired_with_itself(file_of):
    path = file_of(bytes(range(5)))
    assert _core.lep5_root(_core.lep5_leaves(path, 1, _core.Job())).hex() == ODD["root_hex"]


@given(size=st.integers(4, 4000) | st.sampled_from([4, 5, 7, 8, 9, 1 << 12, (1 << 20) - 1, (1 << 20) + 1, 5 << 18]))
def test_commitments_are_those_of_a_plain_implementation(size, file_of):
    data = noise(size, size)
    chunk_size = plain_chunk_size(size)
    levels = plain_levels(data, chunk_size)
    commitment = made(file_of(data))
    assert commitment == Commitment(chunk_size, size, len(levels[0]), levels[-1][0])
    assert commitment.num_chunks >= 4
    commitment.check(file_of(data), _core.Job())
    assert (commitment.num_chunks - 1) * chunk_size < size <= commitment.size_bound


@given(st.integers(1, 40), st.integers(1, 9))
def test_every_proof_leads_to_the_root_and_says_where_its_siblings_are(chunks, chunk_size):
    data = noise(chunks * chunk_size - chunk_size // 2)
    levels = plain_levels(data, chunk_size)
    leaves = b"".join(levels[0])
    for index in range(chunks):
        steps = _core.lep5_proof(leaves, index)
        assert root_of_proof(levels[0][index], steps) == levels[-1][0]
        assert [is_right for _, is_right in steps] == [index >> height & 1 == 0 for height in range(len(levels) - 1)]


def test_a_proof_of_another_leaf_or_with_a_changed_step_leads_elsewhere(file_of):
    path = file_of(pattern(70_000))
    root = made(path).root
    leaf, steps = proof(path, 16_384, 3, _core.Job())
    assert root_of_proof(leaf, steps) == root
    assert root_of_proof(proof(path, 16_384, 1, _core.Job())[0], steps) != root
    for place, (sibling, is_right) in enumerate(steps):
        for step in ((bytes(32), is_right), (sibling, not is_right)):
            assert root_of_proof(leaf, [*steps[:place], step, *steps[place + 1 :]]) != root


@given(st.binary(min_size=32, max_size=32), st.integers(1, 60), st.integers(1, 20))
def test_challenges_are_drawn_from_the_root(root, num_chunks, wanted):
    drawn = list(challenge_indices(root, num_chunks, wanted))
    assert drawn == plain_challenges(root, num_chunks, wanted)
    assert len(set(drawn)) == len(drawn) == min(wanted, num_chunks)
    assert set(drawn) <= set(range(num_chunks))


def test_challenges_that_were_not_drawn_are_filled_up_from_the_first_chunk(monkeypatch):
    monkeypatch.setattr(_core, "blake3", lambda _: (3).to_bytes(8, "big") + bytes(24))
    assert list(challenge_indices(bytes(32), 5)) == [3, 0, 1, 2, 4]


@pytest.mark.parametrize("size", range(4))
def test_a_file_of_less_than_4_bytes_carries_no_commitment(size, file_of):
    with pytest.raises(InvalidArtefact, match=f"a file of {size} bytes carries no"):
        made(file_of(bytes(size)))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "lep5/chunk-merkle/v2"},
        {"kind": ""},
        {"kind": "x" * 1000},
        {"is_blake3": False},
        {"chunk_size": 0},
        {"chunk_size": -256},
        {"chunk_size": 262_145, "num_chunks": 1},
        {"chunk_size": 1 << 40, "num_chunks": 1},
        {"root": b""},
        {"root": bytes(31)},
        {"root": bytes(33)},
        {"num_chunks": 0},
        {"num_chunks": 0, "total_size": 0},
        {"num_chunks": -4, "total_size": -1000},
        {"num_chunks": 3},
        {"num_chunks": 5},
        {"total_size": 0},
        {"total_size": 768},
        {"total_size": 1025},
    ],
)
def test_numbers_that_do_not_agree_make_no_commitment(changes):
    with pytest.raises(InvalidArtefact, match="availability commitment") as refusal:
        Commitment.checked(**(NUMBERS | changes))
    assert len(str(refusal.value)) < 150


@pytest.mark.parametrize("chunk_size", [1, 3, 256, 262_143, 262_144])
def test_chunks_need_not_be_powers_of_two(chunk_size, file_of):
    data = pattern(1_000)
    root = plain_levels(data, chunk_size)[-1][0]
    commitment = Commitment.checked(
        **(NUMBERS | {"chunk_size": chunk_size, "num_chunks": -(-1000 // chunk_size), "root": root})
    )
    commitment.check(file_of(data), _core.Job())


def test_the_bound_of_a_file_is_its_chunks_and_never_more_than_a_file_may_have():
    assert Commitment.checked(**(NUMBERS | {"total_size": 769})).size_bound == 1024
    huge = NUMBERS | {"chunk_size": 262_144, "num_chunks": 1 << 20, "total_size": 1 << 38}
    assert Commitment.checked(**huge).size_bound == _core.MAX_FILE_SIZE


@pytest.mark.parametrize("position", [0, 16_383, 16_384, 65_535, 65_536, 69_999])
def test_a_changed_byte_is_noticed(position, file_of):
    commitment = made(file_of(pattern(70_000)))
    data = bytearray(pattern(70_000))
    data[position] ^= 0x80
    with pytest.raises(InvalidArtefact, match="root different"):
        commitment.check(file_of(data), _core.Job())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pattern(69_999), "root different"),
        (pattern(70_001), "root different"),
        (pattern(70_000) + bytes(81_920 - 70_000), "root different"),
        (pattern(65_536), "4 chunks of 16384 bytes against 5"),
        (pattern(81_921), "6 chunks of 16384 bytes against 5"),
        (b"", "0 chunks of 16384 bytes against 5"),
    ],
)
def test_a_file_of_another_length_is_noticed(data, why, file_of):
    commitment = made(file_of(pattern(70_000)))
    with pytest.raises(InvalidArtefact, match=why):
        commitment.check(file_of(data), _core.Job())


def test_a_declared_size_that_is_off_by_less_than_a_chunk_is_not_held_against_the_file(file_of):
    root = plain_levels(pattern(1000), 256)[-1][0]
    Commitment.checked(**(NUMBERS | {"total_size": 1024, "root": root})).check(file_of(pattern(1000)), _core.Job())


def test_more_chunks_than_any_honest_commitment_has_are_not_computed(file_of):
    path = file_of(b"")
    os.truncate(path, (1 << 22) + 1)
    commitment = Commitment(1, (1 << 22) + 1, (1 << 22) + 1, bytes(32))
    with pytest.raises(InvalidArtefact, match="more than a commitment has"):
        commitment.check(path, _core.Job())


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Commitment(1, 4, 4, bytes(32)).check(tmp_path / "none", _core.Job())
