"""The ledger: what this node must remember across restarts (docs/formats.md, "Ledger").

Every method is one unit of work: whole or not at all, and durable once it returns.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast, final

import apsw
from attrs import define, frozen

from lep6.database import Database, Schema
from lep6.errors import ClaimAlreadyRecorded, ForeignLedger, IntentAlreadyJournalled, VerificationAlreadyRecorded
from lep6.heal.rows import ClaimRow, ClaimState, Intent, Role, SentTransaction, VerificationRow
from lep6.model import Ticket
from lep6.ports import Blocking, PublishState
from lep6.transaction import Claim, Message, Vote

SCHEMA: Final = Schema(
    application_id=0x4C455036,  # "LEP6"
    migrations=(
        """
        CREATE TABLE publishes (
            staging    TEXT PRIMARY KEY,
            seal       BLOB NOT NULL,    -- of the staging's manifest: another staging of the name starts anew
            confirmed  BLOB NOT NULL,    -- a bit per value, in publishing order
            attempts   INTEGER NOT NULL, -- failed in a row
            not_before REAL NOT NULL,    -- Unix seconds
            reason     TEXT NOT NULL
        ) STRICT;
        """,
        """
        CREATE TABLE identity (
            account TEXT PRIMARY KEY,    -- whose ledger this is: one row
            height  INTEGER NOT NULL     -- the greatest height of the chain that was noted
        ) STRICT;
        CREATE TABLE heal_claims_submitted (
            heal_op_id    INTEGER PRIMARY KEY,
            ticket_id     TEXT NOT NULL,
            manifest_hash TEXT NOT NULL,
            staging       TEXT NOT NULL, -- name below the staging root
            state         TEXT NOT NULL CHECK (state IN ('accepted', 'publishing', 'closing')),
            submitted_at  REAL NOT NULL  -- Unix seconds
        ) STRICT;
        CREATE TABLE heal_verifications_submitted (
            heal_op_id        INTEGER NOT NULL,
            verifier_account  TEXT NOT NULL,
            verified          INTEGER NOT NULL CHECK (verified IN (0, 1)),
            verification_hash TEXT NOT NULL,
            submitted_at      REAL NOT NULL, -- Unix seconds
            PRIMARY KEY (heal_op_id, verifier_account)
        ) STRICT;
        CREATE TABLE heal_intents (
            heal_op_id     INTEGER NOT NULL,
            role           TEXT NOT NULL CHECK (role IN ('healer', 'verifier')),
            ticket_id      TEXT NOT NULL,
            verified       INTEGER CHECK (verified IN (0, 1)), -- of a vote; NULL for a claim
            hash           TEXT NOT NULL CHECK (hash != ''),
            details        TEXT NOT NULL,
            tx_hash        TEXT,    -- these three: NULL until a transaction is prepared
            sequence       INTEGER,
            timeout_height INTEGER,
            PRIMARY KEY (heal_op_id, role),
            CHECK ((role = 'healer') = (verified IS NULL)),
            CHECK ((tx_hash IS NULL) = (sequence IS NULL) AND (tx_hash IS NULL) = (timeout_height IS NULL))
        ) STRICT;
        """,
    ),
    durable=True,
)


CLAIMS: Final = (
    "SELECT heal_op_id, ticket_id, manifest_hash, staging, state, submitted_at FROM heal_claims_submitted"
    " WHERE ?1 IS NULL OR heal_op_id = ?1"
)
VERIFICATIONS: Final = (
    "SELECT heal_op_id, verifier_account, verified, verification_hash, submitted_at FROM heal_verifications_submitted"
    " WHERE (?1 IS NULL OR heal_op_id = ?1) AND verifier_account = ?2"
)
INTENTS: Final = (
    "SELECT heal_op_id, ticket_id, verified, hash, details, tx_hash, sequence, timeout_height FROM heal_intents"
    " WHERE ?1 IS NULL OR heal_op_id = ?1"
)


@final
@frozen
class Entries:
    """What the ledger says, all of one moment."""

    claims: dict[int, ClaimRow]
    """By op id, as all of these."""
    verifications: dict[int, VerificationRow]
    intents: dict[int, Intent]
    height: int
    """The greatest height of the chain that was noted."""


@final
@define(eq=False)
class Ledger:
    """An open ledger of one account. It is a `PublishJournal`."""

    account: str
    _database: Database

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, account: str, blocking: Blocking) -> "AsyncIterator[Ledger]":
        """Open or create the ledger at `path` for this account. A ledger of nobody becomes the account's.

        Raises:
            StoreDamaged: the file is damaged, newer than this lep6, or something else. It is left as it is.
            ForeignLedger: it is another account's. It is left as it is.
        """

        def settle(connection: apsw.Connection) -> str:
            row = connection.execute("SELECT account FROM identity").fetchone()
            if row is None:
                connection.execute("INSERT INTO identity VALUES (?, 0)", (account,))
            return account if row is None else str(row[0])

        async with Database.open(path, SCHEMA, blocking) as database:
            owner = await database.write(settle)
            if owner != account:
                raise ForeignLedger(
                    f"{path} is the ledger of {owner}, not of {account}; it was left as it is."
                    " Give each account a base directory of its own, or move this file away"
                )
            yield cls(account, database)

    async def entries(self, op_id: int | None = None) -> Entries:
        """What is remembered of an op; without one, of all of them."""

        def unit(connection: apsw.Connection) -> Entries:
            claims = map(_claim, connection.execute(CLAIMS, (op_id,)))
            votes = map(_verification, connection.execute(VERIFICATIONS, (op_id, self.account)))
            intents = map(_intent, connection.execute(INTENTS, (op_id,)))
            return Entries(
                {row.op_id: row for row in claims},
                {row.op_id: row for row in votes},
                {intent.op_id: intent for intent in intents},
                cast("int", connection.execute("SELECT height FROM identity").get),
            )

        return await self._database.read(unit)

    async def note_height(self, height: int) -> None:
        """Note how far the chain is: a node of the chain that says less is behind."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute("UPDATE identity SET height = max(height, ?)", (height,))

        await self._database.write(unit)

    async def journal(self, intent: Intent) -> None:
        """Write down what we are about to tell the chain, before any transaction carries it.

        Raises:
            IntentAlreadyJournalled: something is written down for this op and role already; it stands.
        """

        def unit(connection: apsw.Connection) -> None:
            place = (intent.op_id, intent.role.value)
            if connection.execute("SELECT 1 FROM heal_intents WHERE heal_op_id = ? AND role = ?", place).fetchone():
                raise IntentAlreadyJournalled(
                    f"heal op {intent.op_id}: what this node tells the chain as {intent.role.value} is decided already"
                )
            connection.execute(
                "INSERT INTO heal_intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*place, intent.ticket, *_columns(intent.says), *_sent_columns(intent.sent)),
            )

        await self._database.write(unit)

    async def note_transaction(self, op_id: int, role: Role, sent: SentTransaction | None) -> None:
        """Note the transaction that carries an intent from now on, before it is sent; `None`: it was refused."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute(
                "UPDATE heal_intents SET tx_hash = ?, sequence = ?, timeout_height = ?"
                " WHERE heal_op_id = ? AND role = ?",
                (*_sent_columns(sent), op_id, role.value),
            )

        await self._database.write(unit)

    async def forget_intent(self, op_id: int, role: Role) -> None:
        """Remove an intent that has come to nothing."""

        def unit(connection: apsw.Connection) -> None:
            _remove_intent(connection, op_id, role)

        await self._database.write(unit)

    async def record_claim(self, row: ClaimRow) -> None:
        """Record that the chain has accepted our claim; its intent goes in the same moment.

        Raises:
            ClaimAlreadyRecorded: it is recorded already; the row and the intent stay as they are.
        """

        def unit(connection: apsw.Connection) -> None:
            place = (row.op_id,)
            if connection.execute("SELECT 1 FROM heal_claims_submitted WHERE heal_op_id = ?", place).fetchone():
                raise ClaimAlreadyRecorded(f"the claim on heal op {row.op_id} is recorded already")
            connection.execute(
                "INSERT INTO heal_claims_submitted VALUES (?, ?, ?, ?, ?, ?)",
                (row.op_id, row.ticket, row.manifest_hash, row.staging, row.state.value, row.submitted_at),
            )
            _remove_intent(connection, row.op_id, Role.HEALER)

        await self._database.write(unit)

    async def set_claim_state(self, op_id: int, state: ClaimState) -> None:
        """Note how far a claim is."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute("UPDATE heal_claims_submitted SET state = ? WHERE heal_op_id = ?", (state.value, op_id))

        await self._database.write(unit)

    async def remove_claim(self, op_id: int) -> None:
        """Remove a claim that is closed, with the publish progress of its staging, and what else is told of the op."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM heal_claims_submitted WHERE heal_op_id = ?", (op_id,))
            connection.execute("DELETE FROM publishes WHERE staging = ?", (str(op_id),))
            _remove_intent(connection, op_id, Role.HEALER)

        await self._database.write(unit)

    async def hasten(self, op_id: int) -> None:
        """Let the next attempt to publish the staging of an op be due now."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute("UPDATE publishes SET not_before = 0 WHERE staging = ?", (str(op_id),))

        await self._database.write(unit)

    async def record_verification(self, row: VerificationRow) -> None:
        """Record that the chain has accepted our vote; its intent goes in the same moment.

        Raises:
            VerificationAlreadyRecorded: it is recorded already; the row and the intent stay as they are.
        """

        def unit(connection: apsw.Connection) -> None:
            place = (row.op_id, row.verifier)
            if connection.execute(
                "SELECT 1 FROM heal_verifications_submitted WHERE heal_op_id = ? AND verifier_account = ?", place
            ).fetchone():
                raise VerificationAlreadyRecorded(
                    f"the vote of {row.verifier} on heal op {row.op_id} is recorded already"
                )
            connection.execute(
                "INSERT INTO heal_verifications_submitted VALUES (?, ?, ?, ?, ?)",
                (*place, int(row.verified), row.hash, row.submitted_at),
            )
            _remove_intent(connection, row.op_id, Role.VERIFIER)

        await self._database.write(unit)

    async def forget_verification(self, op_id: int) -> None:
        """Remove what is remembered of a vote whose op is final."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute(
                "DELETE FROM heal_verifications_submitted WHERE heal_op_id = ? AND verifier_account = ?",
                (op_id, self.account),
            )
            _remove_intent(connection, op_id, Role.VERIFIER)

        await self._database.write(unit)

    async def load(self, staging: str, seal: bytes, /) -> PublishState | None:
        """See `PublishJournal.load`."""

        def unit(connection: apsw.Connection) -> PublishState | None:
            row = connection.execute(
                "SELECT confirmed, attempts, not_before, reason FROM publishes WHERE staging = ? AND seal = ?",
                (staging, seal),
            ).fetchone()
            return None if row is None else PublishState(*row)

        return await self._database.read(unit)

    async def publishes(self) -> dict[str, PublishState]:
        """How far the publishing of each staging is that was begun, by its name."""

        def unit(connection: apsw.Connection) -> dict[str, PublishState]:
            rows = connection.execute("SELECT staging, confirmed, attempts, not_before, reason FROM publishes")
            return {str(staging): PublishState(*state) for staging, *state in rows}

        return await self._database.read(unit)

    async def save(self, staging: str, seal: bytes, state: PublishState, /) -> None:
        """See `PublishJournal.save`."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO publishes VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (staging) DO UPDATE SET"
                " seal = excluded.seal, confirmed = excluded.confirmed, attempts = excluded.attempts,"
                " not_before = excluded.not_before, reason = excluded.reason",
                (staging, seal, state.confirmed, state.attempts, state.not_before, state.reason),
            )

        await self._database.write(unit)

    async def forget(self, staging: str, /) -> None:
        """See `PublishJournal.forget`."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM publishes WHERE staging = ?", (staging,))

        await self._database.write(unit)


def _remove_intent(connection: apsw.Connection, op_id: int, role: Role) -> None:
    connection.execute("DELETE FROM heal_intents WHERE heal_op_id = ? AND role = ?", (op_id, role.value))


def _columns(says: Message) -> tuple[int | None, str, str]:
    """The columns verified, hash and details of an intent."""
    match says:
        case Claim():
            return None, says.manifest_hash, ""
        case Vote():
            return int(says.verified), says.hash, says.details


def _sent_columns(sent: SentTransaction | None) -> tuple[str | None, int | None, int | None]:
    return (None, None, None) if sent is None else (sent.tx_hash, sent.sequence, sent.timeout_height)


def _claim(row: Sequence[object]) -> ClaimRow:
    op_id, ticket, manifest_hash, staging, state, submitted_at = row
    return ClaimRow(
        cast("int", op_id),
        Ticket(str(ticket)),
        str(manifest_hash),
        str(staging),
        ClaimState(state),
        cast("float", submitted_at),
    )


def _verification(row: Sequence[object]) -> VerificationRow:
    op_id, verifier, verified, text, submitted_at = row
    return VerificationRow(cast("int", op_id), str(verifier), bool(verified), str(text), cast("float", submitted_at))


def _intent(row: Sequence[object]) -> Intent:
    op_id, ticket, verified, text, details, tx_hash, sequence, timeout_height = row
    op_id, ticket = cast("int", op_id), Ticket(str(ticket))
    says: Message = (
        Claim(op_id, ticket, str(text)) if verified is None else Vote(op_id, bool(verified), str(text), str(details))
    )
    sent = (
        None if tx_hash is None else SentTransaction(str(tx_hash), cast("int", sequence), cast("int", timeout_height))
    )
    return Intent(op_id, ticket, says, sent)
