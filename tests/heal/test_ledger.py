"""The ledger: what it remembers, for whom, and in which files."""

import sqlite3
import sys
import tempfile
from pathlib import Path

import apsw
import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from lep6.blocking import Inline
from lep6.errors import (
    ClaimAlreadyRecorded,
    ForeignLedger,
    IntentAlreadyJournalled,
    JobCancelled,
    StoreDamaged,
    VerificationAlreadyRecorded,
)
from lep6.heal.ledger import Entries, Ledger
from lep6.heal.rows import ClaimRow, ClaimState, Intent, Role, SentTransaction, VerificationRow
from lep6.model import Ticket
from lep6.ports import PublishState
from lep6.transaction import Claim, Vote

US, OTHER = "lumera1us", "lumera1other"
HASH, ANOTHER = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "/////////////////////////////////////////w8="
CLAIM = Claim(5, Ticket("7"), HASH)
YES, NO = Vote(6, True, HASH, ""), Vote(6, False, ANOTHER, "hash_mismatch")
ROW = ClaimRow(5, Ticket("7"), HASH, "5", ClaimState.ACCEPTED, 1_700_000_000.5)
VOTED = VerificationRow(6, US, True, HASH, 1_700_000_000.25)
SENT = SentTransaction("AB" * 32, 7, 100)
TOLD = Intent(5, Ticket("7"), CLAIM, SENT)
VERDICT = Intent(6, Ticket("8"), NO)
NOTHING = Entries({}, {}, {}, 0)
LARGEST = (1 << 63) - 1
WORDS = st.characters(exclude_categories=["Cs"])

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

VERSION_2 = """
    CREATE TABLE identity (
        account TEXT PRIMARY KEY,
        height  INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE heal_claims_submitted (
        heal_op_id    INTEGER PRIMARY KEY,
        ticket_id     TEXT NOT NULL,
        manifest_hash TEXT NOT NULL,
        staging       TEXT NOT NULL,
        state         TEXT NOT NULL CHECK (state IN ('accepted', 'publishing', 'closing')),
        submitted_at  REAL NOT NULL
    ) STRICT;
    CREATE TABLE heal_verifications_submitted (
        heal_op_id        INTEGER NOT NULL,
        verifier_account  TEXT NOT NULL,
        verified          INTEGER NOT NULL CHECK (verified IN (0, 1)),
        verification_hash TEXT NOT NULL,
        submitted_at      REAL NOT NULL,
        PRIMARY KEY (heal_op_id, verifier_account)
    ) STRICT;
    CREATE TABLE heal_intents (
        heal_op_id     INTEGER NOT NULL,
        role           TEXT NOT NULL CHECK (role IN ('healer', 'verifier')),
        ticket_id      TEXT NOT NULL,
        verified       INTEGER CHECK (verified IN (0, 1)),
        hash           TEXT NOT NULL CHECK (hash != ''),
        details        TEXT NOT NULL,
        tx_hash        TEXT,
        sequence       INTEGER,
        timeout_height INTEGER,
        PRIMARY KEY (heal_op_id, role),
        CHECK ((role = 'healer') = (verified IS NULL)),
        CHECK ((tx_hash IS NULL) = (sequence IS NULL) AND (tx_hash IS NULL) = (timeout_height IS NULL))
    ) STRICT;
    INSERT INTO identity VALUES ('lumera1us', 90);
    INSERT INTO heal_claims_submitted VALUES
        (5, '7', 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=', '5', 'accepted', 1700000000.5);
    INSERT INTO heal_verifications_submitted VALUES
        (6, 'lumera1us', 1, 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=', 1700000000.25);
    INSERT INTO heal_intents VALUES
        (15, 'healer', '7', NULL, 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=', '', NULL, NULL, NULL),
        (16, 'verifier', '8', 0, '/////////////////////////////////////////w8=', 'hash_mismatch',
         'ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB', 7, 100);
    PRAGMA user_version = 2;
"""

WRITER = """
import sys
from pathlib import Path

import trio

from lep6.blocking import Threads
from lep6.heal.ledger import Ledger
from lep6.ports import PublishState


async def main():
    async with Ledger.open(Path(sys.argv[1]), "lumera1us", Threads(1)) as ledger:
        print("!", end="", flush=True)
        sys.stdin.readline()
        for number in range(40):
            await ledger.save(f"{sys.argv[2]}-{number}", b"seal", PublishState(b"", number, 0.0, ""))


trio.run(main)
"""


DIES = """
import os
import sys
from pathlib import Path

import trio

from lep6.blocking import Inline
from lep6.heal.ledger import Ledger
from lep6.heal.rows import ClaimRow, ClaimState, VerificationRow

ROW = ClaimRow(5, "7", "hash", "5", ClaimState.ACCEPTED, 0.0)
VOTED = VerificationRow(6, "lumera1us", True, "hash", 0.0)


async def main():
    async with Ledger.open(Path(sys.argv[1]), "lumera1us", Inline()) as ledger:
        ledger._database._connection.set_update_hook(lambda *_: os._exit(9))
        await eval(sys.argv[2])


trio.run(main)
"""


def opened(path, account=US, blocking=None):
    return Ledger.open(path, account, blocking or Inline())


async def reopened(path):
    """What a ledger says after it was closed."""
    async with opened(path) as ledger:
        return await ledger.entries()


async def filled(path):
    """A closed ledger with something of everything."""
    async with opened(path) as ledger:
        await ledger.note_height(90)
        await ledger.record_claim(evolve(ROW, op_id=1, staging="1"))
        await ledger.record_verification(evolve(VOTED, op_id=2))
        await ledger.journal(TOLD)
        await ledger.journal(VERDICT)
        await ledger.save("1", SEAL, STATE)
    return path


@pytest.fixture
async def ledger(tmp_path):
    async with opened(tmp_path / "ledger.db") as ledger:
        yield ledger


class Interrupted(Inline):
    """Its caller is cancelled in the middle of the unit, after the first row has changed."""

    cancel = None

    async def run(self, work, /, *, cancel=None):
        self.cancel = cancel
        return await super().run(work)


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


async def test_a_ledger_survives_a_power_cut(tmp_path):
    async with opened(tmp_path / "lep6" / "ledger.db") as ledger:
        full = 2
        assert await ledger._database.read(lambda connection: connection.pragma("synchronous")) == full
        assert await ledger._database.read(lambda connection: connection.pragma("journal_mode")) == "wal"


# Claims


@pytest.mark.parametrize("state", ClaimState)
@pytest.mark.parametrize("op_id", [1, 5, LARGEST])
async def test_a_claim_reads_back_also_after_reopening(op_id, state, tmp_path):
    row = ClaimRow(op_id, Ticket("'; --\u00fc"), HASH, str(op_id), state, 0.1 + 0.2)
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.record_claim(row)
        assert await ledger.entries() == evolve(NOTHING, claims={op_id: row})
    assert await reopened(tmp_path / "ledger.db") == evolve(NOTHING, claims={op_id: row})


async def test_a_claim_is_recorded_once_and_what_was_recorded_stands(ledger):
    await ledger.record_claim(ROW)
    await ledger.journal(TOLD)
    before = await ledger.entries()
    for again in (ROW, evolve(ROW, manifest_hash=ANOTHER), evolve(ROW, state=ClaimState.CLOSING)):
        with pytest.raises(ClaimAlreadyRecorded, match="heal op 5"):
            await ledger.record_claim(again)
        assert await ledger.entries() == before


async def test_the_intent_goes_in_the_moment_in_which_the_claim_is_recorded(ledger):
    await ledger.journal(TOLD)
    await ledger.journal(VERDICT)
    await ledger.record_claim(ROW)
    assert await ledger.entries() == evolve(NOTHING, claims={5: ROW}, intents={6: VERDICT})


async def test_a_claims_state_is_all_of_it_that_changes(ledger):
    other = evolve(ROW, op_id=15)
    await ledger.record_claim(ROW)
    await ledger.record_claim(other)
    for state in (ClaimState.PUBLISHING, ClaimState.CLOSING, ClaimState.ACCEPTED):
        await ledger.set_claim_state(5, state)
        assert (await ledger.entries()).claims == {5: evolve(ROW, state=state), 15: other}
    await ledger.set_claim_state(99, ClaimState.CLOSING)
    assert set((await ledger.entries()).claims) == {5, 15}


async def test_a_claim_is_removed_with_its_progress_and_what_is_told_of_the_op(ledger):
    kept = evolve(ROW, op_id=55, staging="55")
    for row in (ROW, kept):
        await ledger.record_claim(row)
        await ledger.save(row.staging, SEAL, STATE)
    await ledger.journal(TOLD)
    await ledger.journal(VERDICT)
    await ledger.remove_claim(5)
    assert await ledger.entries() == evolve(NOTHING, claims={55: kept}, intents={6: VERDICT})
    assert await ledger.load("5", SEAL) is None
    assert await ledger.load("55", SEAL) == STATE
    await ledger.remove_claim(5)
    await ledger.record_claim(ROW)


async def test_progress_without_a_claim_is_removed_with_it_too(ledger):
    await ledger.save("5", SEAL, STATE)
    await ledger.remove_claim(5)
    assert await ledger.load("5", SEAL) is None


# Votes


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("op_id", [1, 6, LARGEST])
async def test_a_vote_reads_back_also_after_reopening(op_id, verified, tmp_path):
    row = VerificationRow(op_id, US, verified, "any text\n\u00fc'", 1e300)
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.record_verification(row)
        assert await ledger.entries() == evolve(NOTHING, verifications={op_id: row})
    entries = await reopened(tmp_path / "ledger.db")
    assert entries == evolve(NOTHING, verifications={op_id: row})
    assert entries.verifications[op_id].verified is verified


async def test_a_vote_is_recorded_once_and_what_was_recorded_stands(ledger):
    await ledger.record_verification(VOTED)
    await ledger.journal(VERDICT)
    before = await ledger.entries()
    for again in (VOTED, evolve(VOTED, verified=False, hash=ANOTHER)):
        with pytest.raises(VerificationAlreadyRecorded, match=f"{US} on heal op 6"):
            await ledger.record_verification(again)
        assert await ledger.entries() == before


async def test_votes_are_told_apart_by_op_and_verifier(ledger):
    await ledger.record_verification(VOTED)
    await ledger.record_verification(evolve(VOTED, verifier=OTHER, verified=False))
    await ledger.record_verification(evolve(VOTED, op_id=7))
    assert (await ledger.entries()).verifications == {6: VOTED, 7: evolve(VOTED, op_id=7)}


async def test_the_intent_goes_in_the_moment_in_which_the_vote_is_recorded(ledger):
    await ledger.journal(TOLD)
    await ledger.journal(VERDICT)
    await ledger.record_verification(VOTED)
    assert await ledger.entries() == evolve(NOTHING, verifications={6: VOTED}, intents={5: TOLD})


async def test_a_vote_is_forgotten_with_its_intent_and_nothing_else(ledger):
    await ledger.record_verification(VOTED)
    await ledger.record_verification(evolve(VOTED, op_id=5))
    await ledger.journal(VERDICT)
    await ledger.journal(TOLD)
    await ledger.forget_verification(6)
    await ledger.forget_verification(6)
    await ledger.forget_verification(99)
    assert await ledger.entries() == evolve(NOTHING, verifications={5: evolve(VOTED, op_id=5)}, intents={5: TOLD})
    await ledger.forget_verification(5)
    assert await ledger.entries() == evolve(NOTHING, intents={5: TOLD})


# Intents


@pytest.mark.parametrize("sent", [None, SENT, SentTransaction("", 0, 0), SentTransaction("CD", LARGEST, LARGEST)])
@pytest.mark.parametrize(
    "says",
    [
        CLAIM,
        YES,
        NO,
        Claim(LARGEST, Ticket("\u00fc'"), HASH),
        Vote(LARGEST, True, f" {HASH.rstrip('=')}\n", ""),
        Vote(1, False, "not base64", "fetch_failed:unreachable, stalled"),
    ],
)
async def test_an_intent_reads_back_also_after_reopening(says, sent, tmp_path):
    intent = Intent(says.op_id, says.ticket if isinstance(says, Claim) else Ticket("8"), says, sent)
    async with opened(tmp_path / "ledger.db") as ledger:
        await ledger.journal(intent)
        assert await ledger.entries() == evolve(NOTHING, intents={says.op_id: intent})
    (read,) = (await reopened(tmp_path / "ledger.db")).intents.values()
    assert read == intent
    assert read.role is (Role.HEALER if isinstance(says, Claim) else Role.VERIFIER)


@given(st.integers(1, LARGEST), st.booleans(), st.text(WORDS, min_size=1), st.text(WORDS))
async def test_any_verdict_reads_back(op_id, verified, text, details):
    intent = Intent(op_id, Ticket("7"), Vote(op_id, verified, text, details))
    with tempfile.TemporaryDirectory() as directory:
        async with opened(Path(directory) / "ledger.db") as ledger:
            await ledger.journal(intent)
            assert (await ledger.entries()).intents == {op_id: intent}


async def test_a_journalled_verdict_is_not_changed_any_more(ledger):
    await ledger.journal(VERDICT)
    for says in (NO, YES, evolve(NO, details="fetch_failed"), evolve(NO, hash=HASH)):
        with pytest.raises(IntentAlreadyJournalled, match="heal op 6"):
            await ledger.journal(Intent(6, Ticket("8"), says, SENT))
        assert (await ledger.entries()).intents == {6: VERDICT}
    await ledger.note_transaction(6, Role.VERIFIER, SENT)
    with pytest.raises(IntentAlreadyJournalled):
        await ledger.journal(Intent(6, Ticket("8"), YES))
    assert (await ledger.entries()).intents == {6: evolve(VERDICT, sent=SENT)}


async def test_a_journalled_claim_is_not_changed_any_more(ledger):
    await ledger.journal(TOLD)
    with pytest.raises(IntentAlreadyJournalled, match="heal op 5"):
        await ledger.journal(Intent(5, Ticket("7"), evolve(CLAIM, manifest_hash=ANOTHER)))
    assert (await ledger.entries()).intents == {5: TOLD}


async def test_an_intent_that_says_nothing_is_not_journalled(ledger):
    with pytest.raises(apsw.ConstraintError):
        await ledger.journal(Intent(6, Ticket("8"), evolve(NO, hash="")))
    assert await ledger.entries() == NOTHING


async def test_an_intent_is_carried_by_one_transaction_after_another_or_by_none(ledger):
    await ledger.journal(evolve(TOLD, sent=None))
    await ledger.journal(VERDICT)
    for sent in (SENT, SentTransaction("CD" * 32, 8, 200), None, SENT, None):
        await ledger.note_transaction(5, Role.HEALER, sent)
        assert (await ledger.entries()).intents == {5: evolve(TOLD, sent=sent), 6: VERDICT}


async def test_a_transaction_is_noted_for_its_op_and_role_alone(ledger):
    await ledger.journal(VERDICT)
    await ledger.note_transaction(6, Role.HEALER, SENT)
    await ledger.note_transaction(7, Role.VERIFIER, SENT)
    assert (await ledger.entries()).intents == {6: VERDICT}


async def test_an_intent_is_forgotten_for_its_op_and_role_alone(ledger):
    await ledger.journal(TOLD)
    await ledger.journal(VERDICT)
    await ledger.forget_intent(5, Role.VERIFIER)
    await ledger.forget_intent(6, Role.HEALER)
    assert (await ledger.entries()).intents == {5: TOLD, 6: VERDICT}
    await ledger.forget_intent(6, Role.VERIFIER)
    assert (await ledger.entries()).intents == {5: TOLD}
    await ledger.journal(Intent(6, Ticket("8"), YES))


# The chain's height


async def test_the_noted_height_only_grows(tmp_path):
    async with opened(tmp_path / "ledger.db") as ledger:
        assert (await ledger.entries()).height == 0
        for height, noted in ((7, 7), (3, 7), (7, 7), (-1, 7), (LARGEST, LARGEST), (8, LARGEST)):
            await ledger.note_height(height)
            assert (await ledger.entries()).height == noted
    assert (await reopened(tmp_path / "ledger.db")).height == LARGEST


# Whose ledger it is


async def test_a_ledger_is_its_accounts_from_the_first_moment_on(tmp_path):
    path = tmp_path / "ledger.db"
    async with opened(path) as ledger:
        assert ledger.account == US
    assert sqlite3.connect(path).execute("SELECT account, height FROM identity").fetchall() == [(US, 0)]
    await reopened(path)


@pytest.mark.parametrize("account", [OTHER, "", US.upper(), f"{US} "])
async def test_a_ledger_of_another_account_is_refused_and_left_as_it_is(account, tmp_path):
    path = await filled(tmp_path / "ledger.db")
    before, entries = path.read_bytes(), await reopened(path)
    assert path.read_bytes() == before
    with pytest.raises(ForeignLedger, match=f"{path} is the ledger of {US}"):
        async with opened(path, account):
            raise AssertionError
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]
    assert await reopened(path) == entries


# Crashes


@pytest.mark.parametrize(
    "unit",
    [
        "ledger.record_claim(ROW)",
        "ledger.record_verification(VOTED)",
        "ledger.remove_claim(1)",
        "ledger.forget_verification(2)",
    ],
)
async def test_a_process_that_dies_in_the_middle_of_a_unit_leaves_nothing_of_it(unit, tmp_path):
    path = await filled(tmp_path / "ledger.db")
    before = await reopened(path)
    died = await trio.run_process([sys.executable, "-c", DIES, str(path), unit], check=False, capture_stderr=True)
    assert died.returncode == 9, died.stderr
    assert await reopened(path) == before
    async with opened(path) as ledger:
        assert await ledger.load("1", SEAL) == STATE


async def test_a_unit_that_is_cancelled_in_the_middle_leaves_nothing_and_the_next_one_works(tmp_path):
    path, blocking = await filled(tmp_path / "ledger.db"), Interrupted()
    async with opened(path, blocking=blocking) as ledger:
        before = await ledger.entries()
        connection = ledger._database._connection
        for unit in (
            lambda: ledger.record_claim(ROW),
            lambda: ledger.record_verification(VOTED),
            lambda: ledger.remove_claim(1),
            lambda: ledger.note_height(1000),
            lambda: ledger.journal(evolve(TOLD, op_id=50)),
        ):
            connection.set_update_hook(lambda *_: blocking.cancel())
            with pytest.raises((JobCancelled, apsw.InterruptError)):
                await unit()
            connection.set_update_hook(None)
            assert await ledger.entries() == before
        await ledger.record_claim(ROW)
        assert (await ledger.entries()).claims[5] == ROW


async def test_a_unit_that_fails_in_the_middle_leaves_nothing(ledger):
    def fail(*_):
        raise OSError("the middle")

    await ledger.journal(TOLD)
    before = await ledger.entries()
    connection = ledger._database._connection
    connection.create_scalar_function("fail", fail)
    connection.pragma("query_only", 0)
    connection.execute("CREATE TEMP TRIGGER middle BEFORE DELETE ON main.heal_intents BEGIN SELECT fail(); END")
    with pytest.raises(OSError, match="the middle"):
        await ledger.record_claim(ROW)
    assert await ledger.entries() == before


# Files


def version_1(path, extra=""):
    connection = apsw.Connection(str(path))
    connection.execute(VERSION_1 + extra)
    connection.close()
    return path


async def test_a_ledger_of_version_1_is_read_keeps_its_rows_and_becomes_its_openers(tmp_path):
    path = version_1(tmp_path / "ledger.db")
    async with opened(path) as ledger:
        assert await ledger.load("42", b"\x5e\xa1") == PublishState(
            b"\xc0", 2, 1_700_000_000.25, "the network was away"
        )
        assert await ledger.entries() == NOTHING
        await ledger.save("42", b"\x5e\xa1", STATE)
        await ledger.record_claim(ROW)
        await ledger.journal(VERDICT)
    with pytest.raises(ForeignLedger, match=US):
        async with opened(path, OTHER):
            raise AssertionError
    async with opened(path) as ledger:
        assert await ledger.load("42", b"\x5e\xa1") == STATE
        assert await ledger.entries() == evolve(NOTHING, claims={5: ROW}, intents={6: VERDICT})
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (2,)


async def test_a_ledger_of_version_2_is_read(tmp_path):
    path = tmp_path / "ledger.db"
    connection = apsw.Connection(str(path))
    connection.execute(VERSION_1 + VERSION_2)
    connection.close()
    assert await reopened(path) == Entries(
        claims={5: ROW},
        verifications={6: VOTED},
        intents={
            15: Intent(15, Ticket("7"), Claim(15, Ticket("7"), HASH)),
            16: Intent(16, Ticket("8"), evolve(NO, op_id=16), SENT),
        },
        height=90,
    )


async def refused(path, match):
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=match) as refusal:
        async with opened(path):
            raise AssertionError
    assert str(path) in str(refusal.value)
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {path.name}


@pytest.mark.parametrize("version", [3, 1000])
async def test_a_newer_ledger_is_refused_and_left_as_it_is(version, tmp_path):
    path = await filled(tmp_path / "ledger.db")
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", version)
    connection.close()
    await refused(path, f"has version {version}, this lep6 knows up to 2")


@pytest.mark.parametrize("damage", ["a page", "the header", "the end", "most of it"])
async def test_a_damaged_ledger_is_refused_and_left_as_it_is(damage, tmp_path):
    path = await filled(tmp_path / "ledger.db")
    data = path.read_bytes()
    path.write_bytes(
        {
            "a page": data[:4096] + b"\x55" * 4096 + data[8192:],
            "the header": b"\x55" * 100 + data[100:],
            "the end": data[:-4096],
            "most of it": data[:700],
        }[damage]
    )
    await refused(path, "not a sound SQLite database")


async def test_another_programs_file_is_no_ledger(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_text("[ledger]\nkind = 'an ini file'\n")
    await refused(path, "not a sound SQLite database")


async def test_another_programs_database_is_no_ledger(tmp_path):
    path = version_1(tmp_path / "ledger.db", "PRAGMA application_id = 0;")
    await refused(path, "a database of something else")


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
