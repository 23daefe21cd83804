"""What the doctor sees of the ledger and the stagings."""

import sqlite3
from contextlib import asynccontextmanager

import pytest

from keyrings import snapshot
from lep6.blocking import Inline
from lep6.daemon.lock import only_one
from lep6.doctor import Level
from lep6.doctor.ledger import LEDGER
from lep6.heal.ledger import SCHEMA, Ledger
from lep6.heal.rows import ClaimRow, ClaimState, Intent
from lep6.model import Ticket
from lep6.ports import PublishState
from lep6.transaction import Claim
from patients import ME, a_house, levels, of, only


@asynccontextmanager
async def a_ledger(house, account=ME):
    async with Ledger.open(house.data / LEDGER, account, Inline()) as ledger:
        yield ledger


def row(op_id, state=ClaimState.ACCEPTED):
    return ClaimRow(op_id, Ticket("42"), "hash", str(op_id), state, 1.0)


def test_the_ledger_is_looked_for_where_the_daemon_keeps_it():
    from lep6.daemon import service  # noqa: PLC0415

    assert service.LEDGER == LEDGER


async def test_a_node_without_a_ledger_is_a_new_one(tmp_path):
    async with a_house(tmp_path) as house:
        found = await house.findings()
    assert levels(found, "ledger") == ["note", "ok"]


async def test_a_sound_ledger_is_told_in_numbers(tmp_path):
    async with a_house(tmp_path) as house:
        async with a_ledger(house) as ledger:
            await ledger.record_claim(row(7, ClaimState.CLOSING))
            await ledger.journal(Intent(8, Ticket("43"), Claim(8, Ticket("43"), "hash")))
        found = await house.findings()
    assert "claims: 0 accepted, 0 publishing, 1 closing; 0 votes, 1 intents" in of(found, "ledger")[0].what
    assert levels(found, "ledger") == ["ok", "ok"]


async def test_a_ledger_that_a_daemon_writes_to_is_read_as_it_is_now_and_left_alone(tmp_path):
    async with a_house(tmp_path) as house, a_ledger(house) as ledger:
        await ledger.record_claim(row(7, ClaimState.CLOSING))
        assert (house.data / f"{LEDGER}-wal").stat().st_size
        with only_one(house.data):
            before = {path.name for path in snapshot(house.data)}
            found = await house.findings()
            assert {path.name for path in snapshot(house.data)} == before
        assert "1 closing" in of(found, "ledger")[0].what
        await ledger.set_claim_state(7, ClaimState.ACCEPTED)


async def test_what_a_crash_has_left_in_the_log_is_read(tmp_path):
    async with a_house(tmp_path) as house:
        async with a_ledger(house) as ledger:
            await ledger.record_claim(row(7, ClaimState.CLOSING))
            kept = {path.name: path.read_bytes() for path in house.data.iterdir()}
        for path in house.data.iterdir():
            path.unlink()
        for name in (LEDGER, f"{LEDGER}-wal"):
            (house.data / name).write_bytes(kept[name])
        before = snapshot(house.data)
        found = await house.findings()
        assert "1 closing" in of(found, "ledger")[0].what
        assert snapshot(house.data) == before


@pytest.mark.parametrize("damage", ["page", "header", "cut"])
async def test_a_damaged_ledger_is_bad_and_not_touched(tmp_path, damage):
    async with a_house(tmp_path) as house:
        async with a_ledger(house) as ledger:
            for op_id in range(1, 200):
                await ledger.record_claim(row(op_id))
        path = house.data / LEDGER
        content = bytearray(path.read_bytes())
        if damage == "page":
            content[-3000:-1000] = b"\xff" * 2000
        elif damage == "header":
            content[:16] = b"no database here"
        else:
            del content[-5000:]
        path.write_bytes(content)
        found = await house.findings()
        assert path.read_bytes() == content
    told = only(found, "ledger", Level.BAD)
    assert "is damaged" in told.what
    assert told.remedy.startswith("keep the file")


async def test_the_ledger_of_another_account_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        async with a_ledger(house, "lumera1another"):
            pass
        found = await house.findings()
    assert f"is the ledger of lumera1another, not of {ME}" in only(found, "ledger", Level.BAD).what


@pytest.mark.parametrize(
    ("pragma", "words"),
    [("application_id = 5", "is a database of something else"), ("user_version = 99", "has version 99, this lep6")],
)
async def test_a_database_that_is_not_ours_or_newer_is_bad(tmp_path, pragma, words):
    async with a_house(tmp_path) as house:
        async with a_ledger(house):
            pass
        with sqlite3.connect(house.data / LEDGER) as connection:
            connection.execute(f"PRAGMA {pragma}")
        connection.close()
        found = await house.findings()
    assert words in only(found, "ledger", Level.BAD).what


async def test_an_older_ledger_is_left_for_the_next_start(tmp_path):
    async with a_house(tmp_path) as house:
        with sqlite3.connect(house.data / LEDGER) as connection:
            connection.executescript(SCHEMA.migrations[0])
            connection.execute("PRAGMA user_version = 1")
            connection.execute(f"PRAGMA application_id = {SCHEMA.application_id}")
        connection.close()
        found = await house.findings()
    assert levels(found, "ledger") == ["note"]


async def test_rows_and_stagings_that_do_not_tell_the_same_are_named(tmp_path):
    async with a_house(tmp_path) as house:
        async with a_ledger(house) as ledger:
            for op_id in range(1, 11):
                await ledger.record_claim(row(op_id))
        for name in ("1", "77", "ticket-5", ".damaged-3-0011"):
            (house.staging / name).mkdir(parents=True)
        found = await house.findings()
    told = [each.what for each in of(found, "ledger")[1:]]
    assert [each.partition(": ")[2] for each in told] == [
        "2, 3, 4, 5, 6, 7, 8, 9 and 1 more",
        "77",
        "",
        "ticket-5",
        ".damaged-3-0011",
    ]
    assert told[2] == "the staging of op 1 has no manifest"


async def test_a_damaged_staging_is_told(tmp_path):
    async with a_house(tmp_path) as house:
        async with a_ledger(house) as ledger:
            await ledger.record_claim(row(1))
        (house.staging / "1").mkdir(parents=True)
        (house.staging / "1" / "manifest.json").write_text("{}")
        found = await house.findings()
    assert "the staging of op 1 is damaged" in only(found, "ledger", Level.WARN).what


async def test_a_publish_that_is_stuck_is_told_with_its_reason(tmp_path):
    async with a_house(tmp_path) as house:
        async with a_ledger(house) as ledger:
            await ledger.save("7", b"seal", PublishState(b"", 8, 0.0, "nobody\nis there"))
            await ledger.save("9", b"seal", PublishState(b"", 7, 0.0, "not yet"))
        found = await house.findings()
    assert only(found, "ledger", Level.WARN).what == "publishing 7 has failed 8 times: nobody is there"


async def test_a_chain_below_the_height_that_was_seen_is_told(tmp_path):
    async with a_house(tmp_path) as house:
        async with a_ledger(house) as ledger:
            await ledger.note_height(1000)
        found = await house.findings()
    assert "the chain is at height 1, and this node has seen 1000" in only(found, "ledger", Level.WARN).what
