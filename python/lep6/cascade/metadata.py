"""What the chain keeps of a Cascade file (docs/formats.md, "Metadata")."""

from attrs import frozen

from lep6 import _core
from lep6.cascade.commitment import Commitment
from lep6.cascade.ids import split_keys
from lep6.cascade.index import Index, parse_index
from lep6.cascade.text import from_base64
from lep6.errors import InvalidAction, InvalidArtefact, InvalidMessage
from lep6.model import Action, Key
from lep6.protobuf import parse
from lep6.wire.lumera.action import v1 as wire

MAX_ID_FILES = 1024
"""Most id files of a kind that are believed; the chain's parameter stands at 50."""
COUNTER_MASK = 0xFFFF_FFFF
"""Counters are 32 bits wide in the nodes that write id files."""


@frozen
class Metadata:
    """The metadata of a Cascade action, checked."""

    digest: bytes
    """BLAKE3-256 of the file."""
    data_hash: str
    """The same as the chain spells it; a claim repeats this text."""
    file_name: str
    first_counter: int
    """Counter of the first layout file and of the first index file."""
    index_keys: tuple[Key, ...]
    """Keys of the index files, in counter order; there are as many layout files."""
    index: Index
    is_public: bool
    commitment: Commitment | None

    @property
    def id_file_count(self) -> int:
        """Layout files, and index files, of this action."""
        return len(self.index_keys)

    @property
    def size_bound(self) -> int:
        """The most bytes that the file can have."""
        return self.commitment.size_bound if self.commitment else _core.MAX_FILE_SIZE


def read_metadata(action: Action) -> Metadata:
    """Read and check the metadata of an action.

    Raises:
        InvalidAction: the action's state, or something in its metadata, is not that of a file that can be healed. The
            message names the action and the field.
    """
    if not action.is_recoverable:
        raise InvalidAction(f"action {action.ticket} is {action.state.name}; only DONE and APPROVED ones have a file")
    try:
        return _checked(parse(wire.CascadeMetadata, action.metadata))
    except (InvalidArtefact, InvalidMessage) as error:
        raise InvalidAction(f"action {action.ticket}: {error}") from error


def _checked(message: wire.CascadeMetadata) -> Metadata:
    data_hash = message.data_hash.strip()
    digest = from_base64(data_hash, "data hash")
    if len(digest) != 32:  # noqa: PLR2004
        raise InvalidArtefact(f"the data hash has {len(digest)} bytes; BLAKE3-256 has 32")
    count = message.rq_ids_max
    if not 1 <= count <= MAX_ID_FILES or count != len(message.rq_ids_ids):
        raise InvalidArtefact(f"it states {count} index files and lists {len(message.rq_ids_ids)}")
    index = parse_index(message.signatures)
    if len(index.layout_keys) != count:
        raise InvalidArtefact(f"the index lists {len(index.layout_keys)} layout files, the chain {count}")
    index_keys = split_keys(_core.keys_from_texts(message.rq_ids_ids))
    if len(set(index_keys)) != count:
        raise InvalidArtefact("it lists an index file twice")
    commitment = message.availability_commitment
    return Metadata(
        digest=digest,
        data_hash=data_hash,
        file_name=message.file_name,
        first_counter=message.rq_ids_ic & COUNTER_MASK,
        index_keys=index_keys,
        index=index,
        is_public=message.public,
        commitment=None
        if commitment is None
        else Commitment.checked(
            kind=commitment.commitment_type,
            is_blake3=commitment.hash_algo == wire.HashAlgo.BLAKE3,
            chunk_size=commitment.chunk_size,
            total_size=commitment.total_size,
            num_chunks=commitment.num_chunks,
            root=commitment.root,
        ),
    )
