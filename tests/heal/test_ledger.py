"""The ledger: what it remembers, for whom, and in which files."""

import sys

import apsw
import pytest
import trio

from lep6.blocking import Inline
from lep6.errors import StoreDamaged
from lep6.heal.ledger import Ledger
from lep6.ports import PublishState

STATE = PublishState(b"\xf0\x00\x80", 3, 1_700_000_000.5, "no node took a value")
SEAL = bytes(range(32))

VERSION_1 = """
    CREATE TABLE publishes (
        staging    TEXT PRIMARY KEY,
        seal       BLOB NOT NULL,
        confirmed  BLOB NOT NULL,
        attempts   INTEGER NOT NULL,
        not_before REAL NOT NULL,
        reason     TEXT NOT NULL
    ) STRICT;
    INSERT INTO publishes VALUES ('42', x'5ea1', x'c0', 2, 1700000000.25, 'the network was away');
    PRAGMA application_id = 1279610934;
    PRAGMA user_version = 1;
"""

WRITER = """
import sys
from pathlib import Path

import trio

from lep6.blocking import Threads
from lep6.heal.ledger import Ledger
from lep6.ports import PublishState


async def main():
    async with Ledger.open(Path(sys.argv[1]), Threads(1)) as ledger:
        print("!", end="", flush=True)
        sys.stdin.readline()
        for number in range(40):
            await ledger.save(f"{sys.argv[2]}-{number}", b"seal", PublishState(b"", number, 0.0, ""))


trio.run(main)
"""


def opened(path):
    return Ledger.open(path, Inline())


@pytest.mark.parametrize(
    "state",
    [
        STATE,
        PublishState(b"", 0, 0.0, ""),
        PublishState(b"\x00" * 15_400, (1 << 63) - 1, 1e300, "ü\n\x01" * 1000),
        PublishState(b"'\x00\xff", 1, 0.1 + 0.2, "'; DROP TABLE publishes; --"),
        PublishState(b"\x80", 1, 1_700_000_000, "a whole second"),
    ],
)
async def test_a_state_reads_back_also_after_reopening(state, tmp_path):
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.save("12", SEAL, state)
        assert await ledger.load("12", SEAL) == state
    async with opened(tmp_path / "ledger.db") as ledger:
        assert await ledger.load("12", SEAL) == state


async def test_a_staging_of_another_seal_starts_anew(tmp_path):
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.save("12", SEAL, STATE)
        for seal in (b"", SEAL[:-1], SEAL[::-1], SEAL + b"\0"):
            assert await ledger.load("12", seal) is None
        anew = PublishState(b"", 0, 0.0, "")
        await ledger.save("12", b"another", anew)
        assert await ledger.load("12", b"another") == anew
        assert await ledger.load("12", SEAL) is None


async def test_a_state_takes_the_place_of_the_one_before(tmp_path):
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.save("12", SEAL, STATE)
        later = PublishState(b"\xff\xff\xff", 0, 7.0, "")
        await ledger.save("12", SEAL, later)
        assert await ledger.load("12", SEAL) == later


async def test_stagings_do_not_know_of_each_other(tmp_path):
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.save("12", SEAL, STATE)
        assert await ledger.load("13", SEAL) is None
        other = PublishState(b"\x01", 9, 9.0, "other")
        await ledger.save("13", SEAL, other)
        await ledger.forget("12")
        assert await ledger.load("12", SEAL) is None
        assert await ledger.load("13", SEAL) == other


async def test_forgetting_what_is_not_there_is_nothing(tmp_path):
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.forget("12")
        assert await ledger.load("12", SEAL) is None


async def test_a_ledger_of_version_1_is_read(tmp_path):
    path = tmp_path / "ledger.db"
    connection = apsw.Connection(str(path))
    connection.execute(VERSION_1)
    connection.close()
    async with opened(path) as ledger:
        assert await ledger.load("42", b"\x5e\xa1") == PublishState(
            b"\xc0", 2, 1_700_000_000.25, "the network was away"
        )
        await ledger.save("42", b"\x5e\xa1", STATE)
        assert await ledger.load("42", b"\x5e\xa1") == STATE


async def test_a_ledger_survives_a_power_cut(tmp_path):
    async with opened(tmp_path / "lep6" / "ledger.db") as ledger:
        full = 2
        assert await ledger._database.read(lambda connection: connection.pragma("synchronous")) == full
        assert await ledger._database.read(lambda connection: connection.pragma("journal_mode")) == "wal"


async def test_another_programs_file_is_no_ledger(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_text("[ledger]\nkind = 'an ini file'\n")
    with pytest.raises(StoreDamaged, match=str(path)):
        async with opened(path):
            raise AssertionError
    assert path.read_text().startswith("[ledger]")


async def test_two_processes_and_this_one_write_at_once_and_all_succeed(tmp_path):
    path = tmp_path / "ledger.db"

    async def write(name, *, task_status):
        command = [sys.executable, "-c", WRITER, str(path), name]
        process = await trio.lowlevel.open_process(command, stdin=-1, stdout=-1)
        async with process.stdin, process.stdout:
            assert await process.stdout.receive_some() == b"!"
            task_status.started(process.stdin)
            assert await process.wait() == 0

    async with opened(path) as ledger:
        async with trio.open_nursery() as nursery:
            for name in ("one", "two"):
                gate = await nursery.start(write, name)
                await gate.send_all(b"\n")
            for number in range(40):
                await ledger.save(f"this-{number}", b"seal", PublishState(b"", number, 0.0, ""))
        for name in ("one", "two", "this"):
            for number in range(40):
                assert await ledger.load(f"{name}-{number}", b"seal") == PublishState(b"", number, 0.0, "")
