"""What tests of the core work on: a file with all its symbols, and spools for it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from lep6._core import PACKET_SIZE, Encoded, Geometry, Job, Spool, encode


@frozen
class Coded:
    """A file, its pack, and what encoding it gave."""

    source: Path
    pack: Path
    index: Path
    encoded: Encoded

    @property
    def size(self) -> int:
        return self.encoded.size

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.size)

    @property
    def keys(self) -> list[bytes]:
        packed = self.encoded.symbols
        return [packed[at : at + 32] for at in range(0, len(packed), 32)]

    @property
    def packets(self) -> list[bytes]:
        content = self.pack.read_bytes()
        return [content[at : at + PACKET_SIZE] for at in range(0, len(content), PACKET_SIZE)]

    def values(self, symbols: Iterable[int]) -> list[tuple[bytes, bytes]]:
        """(key, packet) of these encoding symbol ids."""
        keys, packets = self.keys, self.packets
        return [(keys[esi], packets[esi]) for esi in symbols]


@pytest.fixture
def coded(tmp_path: Path) -> Callable[[bytes], Coded]:
    """Encodes bytes as a file."""

    def make(data: bytes, rank: int = 1) -> Coded:
        source, pack, index = (tmp_path / name for name in ("source.bin", "encoded.pack", "encoded.idx"))
        source.write_bytes(data)
        return Coded(source, pack, index, encode(source, pack, index, rank, Job()))

    return make


@pytest.fixture
def spool_of(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    """Opens a new spool that holds some symbols of a file."""
    opened: list[Spool] = []

    def make(coded: Coded, symbols: Iterable[int] = (), keys: Iterable[bytes] = ()) -> Spool:
        for spool in opened:
            spool.close()
        opened.clear()
        path = tmp_path / "new.spool"
        path.unlink(missing_ok=True)
        spool = Spool(path, coded.size, b"".join(keys) or coded.encoded.symbols, Job())
        opened.append(spool)
        spool.append(coded.values(symbols))
        return spool

    yield make
    for spool in opened:
        spool.close()
