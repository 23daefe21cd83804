"""The CPU work of lep6, in Rust: jobs on files, few and large.

Every function releases the interpreter lock for real work, stops soon after its `Job` was cancelled
(`lep6.errors.JobCancelled`), raises `lep6.errors.InvalidArtefact` for bad input and `OSError` when the system refuses a
read or a write, and never panics across the boundary (`lep6.errors.CoreBug`). Keys and digests are 32 raw bytes;
"packed" keys are many of them in one `bytes`. Section names are those of docs/formats.md.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Final, Literal, TypeAlias, final

from typing_extensions import Buffer

_Path: TypeAlias = str | PathLike[str]

__all__ = [
    "MAX_FILE_SIZE",
    "PACKET_SIZE",
    "PROFILE",
    "SYMBOL_SIZE",
    "VERSION",
    "ZSTD_VERSION",
    "Encoded",
    "Geometry",
    "Hasher",
    "Job",
    "Pack",
    "PackWriter",
    "RecordOpener",
    "RecordSealer",
    "Spool",
    "Survey",
    "bech32_decode",
    "bech32_encode",
    "blake3",
    "decompress",
    "encode",
    "hash_file",
    "hd_private_key",
    "id_files",
    "keccak256",
    "key_from_text",
    "key_text",
    "key_texts",
    "keys_from_texts",
    "lep5_leaves",
    "lep5_proof",
    "lep5_root",
    "ripemd160",
    "secp256k1_point",
    "secp256k1_public_key",
    "secp256k1_recover",
    "secp256k1_sign",
    "secp256k1_verify",
    "survey",
    "zstd_version",
]

VERSION: Final[str]
PROFILE: Final[str]
"""`release`, or `debug` for a build that is many times slower."""
SYMBOL_SIZE: Final[int]
"""Bytes of a symbol, T ("Geometry")."""
PACKET_SIZE: Final[int]
"""Bytes of a packet: the header of 4 and a symbol ("Symbols")."""
MAX_FILE_SIZE: Final[int]
"""Bytes of the largest legal Cascade file."""
ZSTD_VERSION: Final[int]
"""The C library's version number that id files need ("Id files"); the module does not load with another."""

@final
class Job:
    """One run of a long function, as its owner sees it. Use one for one call."""

    def __new__(cls) -> Job: ...
    def cancel(self) -> None:
        """Make the work stop at its next check, at most a strip or a record away. Files may be half written."""

    @property
    def cancelled(self) -> bool: ...
    @property
    def phase(self) -> str:
        """`idle`, `check`, `decode`, `encode`, `hash` or `compress`."""

    @property
    def done(self) -> int:
        """Bytes done in this phase."""

    @property
    def total(self) -> int:
        """Bytes of this phase."""

@final
class Geometry:
    """How a file of `size` bytes is cut into symbols ("Geometry"; RFC 6330 §4.3, §4.4.1)."""

    def __new__(cls, size: int) -> Geometry: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def source_symbols(self) -> int:
        """K."""

    @property
    def extended_symbols(self) -> int:
        """K' (RFC 6330 §5.3.1)."""

    @property
    def repair_symbols(self) -> int:
        """R."""

    @property
    def total_symbols(self) -> int:
        """K + R."""

    @property
    def sub_blocks(self) -> int:
        """N."""

    @property
    def oti(self) -> bytes:
        """The 12 bytes of the object transmission information (RFC 6330 §3.3)."""

@final
class Hasher:
    """BLAKE3-256 of data that comes in pieces."""

    def __new__(cls) -> Hasher: ...
    def update(self, data: Buffer) -> None:
        """Hash more bytes. A mutable buffer must not be changed meanwhile."""

    def digest(self) -> bytes: ...

@final
class Encoded:
    """What encoding or rebuilding a file gave."""

    @property
    def size(self) -> int: ...
    @property
    def file(self) -> bytes:
        """BLAKE3-256 of the file."""

    @property
    def symbols(self) -> bytes:
        """Packed keys of all symbols in the order of their ids; empty when no symbols were written."""

def encode(source: _Path, pack: _Path, index: _Path, rank: int, job: Job) -> Encoded:
    """Write all symbols of a file into a pack, each with this rank ("Packs")."""

_Verdict: TypeAlias = Literal["accepted", "duplicate", "false", "foreign", "malformed"]

@final
class Spool:
    """The packets that a retrieval has so far ("Spool"). Opening checks them all and locks the file."""

    def __new__(cls, path: _Path, size: int, symbols: bytes, job: Job) -> Spool: ...
    @property
    def opened(self) -> tuple[int, int, int]:
        """What the file held when it was opened: packets kept, records dropped, bytes of a torn record cut off."""

    def append(self, values: Sequence[tuple[bytes, bytes]]) -> list[_Verdict]:
        """Judge (key, value) pairs and keep the accepted: a verdict for each.

        `false`: the value is not that of its key. `foreign`: the layout has no such key. `malformed`: the value is that
        of its key, but not the symbol that the layout has there.
        """

    def fill(self, directory: _Path, enough: int, job: Job) -> int:
        """Take symbols from an encode directory, sources first, until `enough` are held; how many are held then."""

    def held(self) -> list[int]:
        """Encoding symbol ids of the packets held, ascending."""

    def decodable(self, job: Job) -> bool:
        """Whether the packets held determine the file."""

    def decode(self, output: _Path, job: Job) -> Encoded | None:
        """Write the file; `None` when the packets held do not determine it."""

    def reencode(self, output: _Path, pack: _Path, index: _Path, ranks: bytes, job: Job) -> Encoded | None:
        """Write the file and a pack of all its symbols, and sync both; `None` as in `decode`.

        `ranks` has one byte per symbol. Raises `InvalidArtefact` when a symbol comes out different from the layout's.
        """

    def close(self) -> None:
        """Give up the file and its lock; every later call fails."""

@final
class Pack:
    """A complete pack and its index, checked against each other when opened ("Packs")."""

    def __new__(cls, path: _Path, index: _Path) -> Pack: ...
    def __len__(self) -> int: ...
    def entries(self) -> list[tuple[bytes, int, int]]:
        """(key, bytes, rank) of each value, in the pack's order."""

    def read(self, positions: Sequence[int]) -> list[bytes]:
        """Values, each checked against its key."""

    def check(self, job: Job) -> list[int]:
        """Positions of values that are not those of their keys."""

    def unpack(self, directory: _Path, job: Job) -> None:
        """Write each value to `directory/<key in base58>`."""

@final
class PackWriter:
    """A pack being written, value by value; what stood at `path` is gone."""

    def __new__(cls, path: _Path) -> PackWriter: ...
    def append(self, values: Sequence[tuple[bytes, int]]) -> bytes:
        """Append (value, rank) pairs; the packed keys of the values."""

    def finish(self, index: _Path) -> None:
        """Sync the pack, then write and sync its index."""

@final
class RecordSealer:
    """Makes the records of one direction of a secured connection, of at most `payload` bytes of plaintext each.

    `key` is the expanded key of 56 bytes.
    """

    def __new__(cls, key: bytes, *, from_client: bool, payload: int) -> RecordSealer: ...
    def seal(self, data: Buffer) -> bytes:
        """The records of this plaintext: all full but the last, none of no plaintext.

        A mutable buffer must not be changed meanwhile. `InvalidRecord` when there are no more record numbers.
        """

@final
class RecordOpener:
    """Opens the records of one direction of a secured connection, whose bytes come in any pieces.

    What comes out does not depend on the pieces: the plaintext in front of a bad record, then `InvalidRecord` from
    every call. Where both are in one call, it gives the plaintext, and the next fails: at the end of a stream, too, ask
    `pending`.
    """

    def __new__(cls, key: bytes, *, from_client: bool) -> RecordOpener: ...
    def open(self, data: Buffer) -> bytes:
        """Take the next bytes; the plaintext of the records that are complete now.

        A mutable buffer must not be changed meanwhile.
        """

    @property
    def pending(self) -> int:
        """Bytes there are of a record that has begun: 0 between records, never 0 after a failure."""

    @property
    def opened(self) -> int:
        """Records opened so far."""

@final
class Survey:
    """What an encode directory holds."""

    @property
    def present(self) -> list[int]: ...
    @property
    def missing(self) -> list[int]: ...
    @property
    def broken(self) -> list[int]:
        """Symbols whose file does not hold them."""

    @property
    def foreign(self) -> list[str]:
        """Names of files that are no symbol of the layout."""

    @property
    def decodable(self) -> bool: ...

def survey(directory: _Path, size: int, symbols: bytes, job: Job) -> Survey:
    """Check every file of a directory of symbols against a layout's packed keys."""

def blake3(data: Buffer) -> bytes:
    """BLAKE3-256."""

def hash_file(path: _Path, job: Job) -> bytes:
    """BLAKE3-256 of a file, on all cores."""

def key_text(key: bytes) -> str:
    """Base58 text of a key."""

def key_from_text(text: str) -> bytes: ...
def key_texts(keys: bytes) -> list[str]:
    """Base58 texts of packed keys."""

def keys_from_texts(texts: Sequence[str]) -> bytes:
    """Packed keys of base58 texts."""

def id_files(text: bytes, first: int, count: int, job: Job) -> list[tuple[bytes, bytes]]:
    """(key, frame) of the id files of `count` counters from `first` ("Id files")."""

def decompress(frame: bytes, limit: int) -> bytes:
    """What a zstd frame holds; an error when that is more than `limit` bytes."""

def zstd_version() -> int: ...
def lep5_leaves(path: _Path, chunk_size: int, job: Job) -> bytes:
    """Packed leaf hashes of a file ("Commitment")."""

def lep5_root(leaves: bytes) -> bytes: ...
def lep5_proof(leaves: bytes, leaf: int) -> list[tuple[bytes, bool]]:
    """(sibling, whether it is on the right) from a leaf up to the root."""

def keccak256(data: bytes) -> bytes: ...
def ripemd160(data: bytes) -> bytes: ...
def secp256k1_public_key(private: bytes) -> bytes:
    """The compressed public key, 33 bytes."""

def secp256k1_point(public: bytes) -> bytes:
    """The 64 bytes x, y of a compressed key."""

def secp256k1_sign(private: bytes, digest: bytes) -> bytes:
    """The deterministic (RFC 6979), low-S signature r, s, v: 65 bytes, v 0 or 1."""

def secp256k1_verify(public: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a 64-byte signature with S in the lower half is the key's."""

def secp256k1_recover(digest: bytes, signature: bytes) -> list[bytes]:
    """The compressed keys that can have made a signature; none where it is not one."""

def hd_private_key(mnemonic: bytes, path: str) -> bytes:
    """The private key at a BIP-32 path such as `m/44'/60'/0'/0/0`, of an English BIP-39 mnemonic in UTF-8.

    The BIP-39 passphrase is empty. `InvalidArtefact` names positions of words, never words.
    """

def bech32_encode(prefix: str, data: bytes) -> str: ...
def bech32_decode(text: str) -> tuple[str, bytes]: ...
