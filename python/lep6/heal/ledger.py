"""The ledger: what this node must remember across restarts, in `<base>/lep6/ledger.db`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

import apsw
from attrs import define

from lep6.database import Database, Schema
from lep6.ports import Blocking, PublishState

SCHEMA = Schema(
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
    ),
    durable=True,
)


@final
@define(eq=False)
class Ledger:
    """An open ledger. It is a `PublishJournal`."""

    _database: Database

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, blocking: Blocking) -> "AsyncIterator[Ledger]":
        """Open or create the ledger at `path`.

        Raises:
            StoreDamaged: the file is damaged, newer than this lep6, or something else. It is left as it is.
        """
        async with Database.open(path, SCHEMA, blocking) as database:
            yield cls(database)

    async def load(self, staging: str, seal: bytes, /) -> PublishState | None:
        """See `PublishJournal.load`."""

        def unit(connection: apsw.Connection) -> PublishState | None:
            row = connection.execute(
                "SELECT confirmed, attempts, not_before, reason FROM publishes WHERE staging = ? AND seal = ?",
                (staging, seal),
            ).fetchone()
            return None if row is None else PublishState(*row)

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
