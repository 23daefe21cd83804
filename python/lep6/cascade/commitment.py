"""The LEP-5 availability commitment of a file (docs/formats.md, "Commitment")."""

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from lep6 import _core
from lep6.cascade.ids import split_keys
from lep6.errors import InvalidArtefact

COMMITMENT_KIND = "lep5/chunk-merkle/v1"
MAX_CHUNK_SIZE = 262_144
MIN_CHUNKS = 4
MIN_SIZE = 4
"""Bytes; a smaller file carries no commitment."""
CHALLENGES = 8
"""Chunks that a registration is asked to prove."""


@frozen
class Commitment:
    """A commitment to the chunks of a file."""

    chunk_size: int
    total_size: int
    """The size that its maker declared; checked by nobody but through the number of chunks."""
    num_chunks: int
    root: bytes

    @classmethod
    def checked(
        cls, *, kind: str, is_blake3: bool, chunk_size: int, total_size: int, num_chunks: int, root: bytes
    ) -> "Commitment":
        """A commitment whose numbers agree.

        Raises:
            InvalidArtefact: they do not, or it is of a kind that lep6 does not know.
        """
        if kind != COMMITMENT_KIND or not is_blake3:
            raise InvalidArtefact(f"an availability commitment of kind {kind!r:.40} is not known")
        if not 1 <= chunk_size <= MAX_CHUNK_SIZE or len(root) != 32:  # noqa: PLR2004
            raise InvalidArtefact(f"an availability commitment with chunks of {chunk_size} bytes is not one")
        if num_chunks < 1 or num_chunks != -(-total_size // chunk_size):
            raise InvalidArtefact(
                f"an availability commitment states {num_chunks} chunks of {chunk_size} for {total_size} bytes"
            )
        return cls(chunk_size, total_size, num_chunks, root)

    @property
    def size_bound(self) -> int:
        """The most bytes that a file with this commitment can have."""
        return min(self.num_chunks * self.chunk_size, _core.MAX_FILE_SIZE)

    def check(self, path: Path, job: _core.Job) -> None:
        """Compute the commitment of a file and compare.

        Raises:
            InvalidArtefact: the file is not the one that was committed to.
        """
        leaves = _core.lep5_leaves(path, self.chunk_size, job)
        found = len(leaves) // 32
        if found != self.num_chunks or _core.lep5_root(leaves) != self.root:
            raise InvalidArtefact(
                f"the file has not the availability commitment of its action: {found} chunks of {self.chunk_size} bytes"
                f" against {self.num_chunks}, root {'different' if found == self.num_chunks else 'not compared'}"
            )


def commit(path: Path, job: _core.Job) -> Commitment:
    """The commitment that a client makes for a file of at least `MIN_SIZE` bytes."""
    size = path.stat().st_size
    if size < MIN_SIZE:
        raise InvalidArtefact(f"a file of {size} bytes carries no availability commitment")
    chunk_size = MAX_CHUNK_SIZE
    while -(-size // chunk_size) < MIN_CHUNKS and chunk_size > 1:
        chunk_size //= 2
    leaves = _core.lep5_leaves(path, chunk_size, job)
    return Commitment(chunk_size, size, len(leaves) // 32, _core.lep5_root(leaves))


def challenge_indices(root: bytes, num_chunks: int, challenges: int = CHALLENGES) -> Sequence[int]:
    """The chunks whose proofs a registration must show: drawn from the root, distinct, in the order drawn."""
    wanted = min(challenges, num_chunks)
    drawn: dict[int, None] = {}
    for counter in range(max(32 * num_chunks, wanted)):
        if len(drawn) == wanted:
            break
        draw = _core.blake3(root + counter.to_bytes(4, "big"))
        drawn.setdefault(int.from_bytes(draw[:8], "big") % num_chunks)
    unused = (index for index in range(num_chunks) if index not in drawn)
    while len(drawn) < wanted:
        drawn.setdefault(next(unused))
    return list(drawn)


def root_of_proof(leaf: bytes, proof: Sequence[tuple[bytes, bool]]) -> bytes:
    """The root that a proof leads to: (sibling, whether it is on the right) from the leaf upward."""
    node = leaf
    for sibling, is_right in proof:
        node = _core.blake3(b"\x01" + (node + sibling if is_right else sibling + node))
    return node


def proof(path: Path, chunk_size: int, index: int, job: _core.Job) -> tuple[bytes, Sequence[tuple[bytes, bool]]]:
    """Leaf hash and proof of one chunk of a file."""
    leaves = _core.lep5_leaves(path, chunk_size, job)
    return split_keys(leaves)[index], _core.lep5_proof(leaves, index)
