import blake3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lep6._core import Job, lep5_leaves, lep5_proof, lep5_root
from lep6.errors import InvalidArtefact
from world import VECTORS, noise, pattern

FILES = [case for case in VECTORS["lep5"] if "size" in case]


def hashed(data):
    return blake3.blake3(data).digest()


def leaf_hash(index, chunk):
    return hashed(b"\x00" + index.to_bytes(4) + chunk)


def split(packed):
    return [packed[at : at + 32] for at in range(0, len(packed), 32)]


@pytest.mark.parametrize("case", FILES, ids=lambda case: str(case["size"]))
def test_a_file_commits_to_the_root_of_the_vectors(tmp_path, case):
    (tmp_path / "file").write_bytes(pattern(case["size"]))
    leaves = lep5_leaves(tmp_path / "file", case["chunk_size"], Job())
    assert len(leaves) == 32 * case["num_chunks"]
    assert lep5_root(leaves).hex() == case["root_hex"]


def test_the_example_with_four_named_chunks_has_its_root_and_proof(tmp_path):
    case = VECTORS["lep5"][0]
    (tmp_path / "file").write_text("".join(case["chunks_ascii"]))
    leaves = lep5_leaves(tmp_path / "file", 2, Job())
    assert leaves[:32].hex() == case["leaf0_hex"]
    assert lep5_root(leaves).hex() == case["root_hex"]
    proof = case["proof_chunk2"]
    hashes = [bytes.fromhex(text) for text in proof["path_hashes_hex"]]
    assert lep5_proof(leaves, 2) == list(zip(hashes, proof["path_directions"], strict=True))


def test_the_last_of_an_odd_number_is_paired_with_itself(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(5)))
    leaves = lep5_leaves(tmp_path / "file", 1, Job())
    assert lep5_root(leaves).hex() == VECTORS["lep5"][-1]["root_hex"]
    assert lep5_proof(leaves, 4)[0] == (leaves[-32:], True)


@given(st.integers(1, 3_000), st.integers(1, 1_000))
def test_leaves_hash_the_chunks_with_their_numbers(tmp_path, size, chunk_size):
    data = noise(size)
    (tmp_path / "file").write_bytes(data)
    chunks = [data[at : at + chunk_size] for at in range(0, size, chunk_size)]
    expected = [leaf_hash(index, chunk) for index, chunk in enumerate(chunks)]
    assert split(lep5_leaves(tmp_path / "file", chunk_size, Job())) == expected


@given(st.integers(1, 70), st.data())
@example(1, None)
def test_every_proof_leads_from_its_leaf_to_the_root(count, data):
    leaves = [hashed(bytes([index])) for index in range(count)]
    leaf = data.draw(st.integers(0, count - 1)) if data else 0
    proof = lep5_proof(b"".join(leaves), leaf)
    assert len(proof) == (count - 1).bit_length()
    node = leaves[leaf]
    for sibling, is_right in proof:
        node = hashed(b"\x01" + node + sibling if is_right else b"\x01" + sibling + node)
    assert node == lep5_root(b"".join(leaves))


@pytest.mark.parametrize(
    ("size", "chunk_size"),
    [(4, 0), (4, 262_145), (4_194_305, 1), ((1 << 40) + 1, 262_144)],
    ids=["no chunk", "too large a chunk", "too many chunks", "too large a file"],
)
def test_a_commitment_that_nobody_makes_is_refused(tmp_path, size, chunk_size):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)
    with pytest.raises(InvalidArtefact):
        lep5_leaves(tmp_path / "file", chunk_size, Job())
