"""What a node's process uses of the machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from attrs import asdict, frozen

from lep6.devnet.processes.node_files import DATA
from lep6.devnet.processes.node_process import NodeProcess

MOST_GROWTH: Final = {
    "rss_kib": 32 << 10,
    "descriptors": 8,
    "threads": 6,
    "wal_bytes": 5 << 20,
    "disk_bytes": 64 << 10,
}
"""By how much each may have grown from one calm moment to a later one. Memory: what an allocator keeps of the work of
some heals. Descriptors and threads: connections and worker threads that are kept for a while. The write-ahead log of
the ledger: a checkpoint comes after 1000 pages of 4 KiB. Disk: pages of the ledger that were used once, and are again.
"""
WAL: Final = ("-wal", "-shm")
"""Ends of the names of SQLite's files beside a database."""


@final
@frozen
class Usage:
    """Of one process, at one moment."""

    rss_kib: int
    descriptors: int
    threads: int
    wal_bytes: int
    """Of the ledger's write-ahead log."""
    disk_bytes: int
    """Of all else of its data, and of its stagings; not what it logs, nor its store of the network's values."""

    @classmethod
    def of(cls, node: NodeProcess) -> "Usage | None":
        """Of a node, if it runs."""
        process = node.process
        if process is None:
            return None
        system = Path("/proc") / str(process.pid)
        try:
            return cls(
                rss_kib=_resident_kib((system / "status").read_text()),
                descriptors=sum(1 for _ in (system / "fd").iterdir()),
                threads=sum(1 for _ in (system / "task").iterdir()),
                wal_bytes=sum(_sizes(node.directory / DATA, is_wal=True)),
                disk_bytes=sum(_sizes(node.directory / DATA)) + sum(_sizes(node.staging)),
            )
        except (FileNotFoundError, ProcessLookupError):
            return None

    def grown(self, since: "Usage") -> list[str]:
        """What has grown too much."""
        now, then = asdict(self), asdict(since)
        return [
            f"{name} went from {then[name]} to {now[name]}, by more than {most}"
            for name, most in MOST_GROWTH.items()
            if now[name] - then[name] > most
        ]


def _resident_kib(status: str) -> int:
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


def _sizes(directory: Path, *, is_wal: bool = False) -> Iterator[int]:
    for path in directory.rglob("*"):
        try:
            if path.name.endswith(WAL) is is_wal and path.is_file():
                yield path.stat().st_size
        except FileNotFoundError:
            continue
