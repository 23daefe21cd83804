"""Heals whose nodes are processes, several at a time: most of a story is waiting."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import apsw
import trio
from attrs import define, field, frozen

from lep6.blocking import Threads
from lep6.devnet.heal_run import HealRun, Meddle
from lep6.devnet.judgement import Evidence
from lep6.devnet.network import node_account
from lep6.devnet.scenario import Plan, Report
from world import PROGRESS, noise

AT_ONCE = 3
NODES = 3
DATA = noise(300_000)
"""Of more values than go to the network at a time."""


@frozen
class Ended:
    """A story that is over."""

    directory: Path
    report: Report
    found: Evidence

    @property
    def nodes(self) -> dict[str, Path]:
        """The directories of the nodes, by account."""
        return {node_account(number): self.directory / "nodes" / str(number) for number in range(NODES)}

    def logged(self, account: str, event: str) -> list[dict[str, object]]:
        """The lines of a node about an event."""
        lines = map(json.loads, (self.nodes[account] / "log.jsonl").read_text().splitlines())
        return [line for line in lines if line["event"] == event]


@define
class Stories:
    """Tells stories in threads."""

    root: Path
    pool: ThreadPoolExecutor
    begun: dict[str, Future[Ended]] = field(factory=dict)

    def begin(self, name: str, plan: Plan, meddle: Meddle | None = None) -> None:
        self.begun[name] = self.pool.submit(_tell, self.root / name, plan, meddle)

    def ended(self, name: str) -> Ended:
        return self.begun[name].result()


@contextmanager
def stories_in(root: Path) -> Iterator[Stories]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            yield Stories(root, pool)
        finally:
            pool.shutdown(cancel_futures=True)


def _tell(directory: Path, plan: Plan, meddle: Meddle | None) -> Ended:
    directory.mkdir()
    file = directory / "file.bin"
    file.write_bytes(DATA)
    run = HealRun(directory / "box", plan, Threads(2), PROGRESS, meddle)
    report = trio.run(run.run, file)
    return Ended(directory / "box", report, run._found)


def sent(directory: Path) -> list[str]:
    """Hashes of the transactions that a node has in its ledger: they are on their way, or about to be."""
    path = directory / "data" / "ledger.db"
    if not path.exists():
        return []
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT tx_hash FROM heal_intents WHERE tx_hash IS NOT NULL").fetchall()
    except apsw.Error:
        return []
    finally:
        connection.close()
    return [str(tx_hash) for (tx_hash,) in rows]
