"""SQLite databases of ours: one connection each, units of work that run alone and whole, migrations by number.

A unit of work is one plain function that runs in one transaction, in one go, through the `Blocking` port: it commits
when it returns and rolls back when it raises or is cancelled. No transaction is ever held open across an await.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, final

import apsw
import trio
from attrs import define, field, frozen

from lep6.errors import StoreDamaged
from lep6.ports import Blocking

T = TypeVar("T")

BUSY_MILLISECONDS = 10_000
"""How long a unit waits for another process's transaction before it fails."""


@frozen
class Schema:
    """What a kind of database holds."""

    application_id: int
    """SQLite's application_id of these files; tells them from others."""
    migrations: tuple[str, ...]
    """SQL scripts; number n brings `user_version` from n to n + 1."""
    durable: bool
    """Whether a committed unit must survive a power cut (`synchronous=FULL`), not only a crash."""


@final
@define(eq=False)
class Database:
    """An open database."""

    path: Path
    _connection: apsw.Connection
    _blocking: Blocking
    _alone: trio.Lock = field(factory=trio.Lock)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, schema: Schema, blocking: Blocking) -> "AsyncIterator[Database]":
        """Open or create a database and bring it to the newest version.

        Raises:
            StoreDamaged: the file is no SQLite database, damaged, of another kind, or newer than `schema`.
        """
        connection = await blocking.run(partial(_connect, path, schema))
        try:
            yield cls(path, connection, blocking)
        finally:
            with trio.CancelScope(shield=True):  # bounded: no unit of work is running any more
                await blocking.run(connection.close)

    async def write(self, unit: Callable[[apsw.Connection], T]) -> T:
        """Run a unit of work that may change the database. Cancelled: nothing of it is kept."""
        return await self._run("IMMEDIATE", unit)

    async def read(self, unit: Callable[[apsw.Connection], T]) -> T:
        """Run a unit of work that only reads, on one state of the database."""
        return await self._run("DEFERRED", unit)

    async def _run(self, mode: Literal["IMMEDIATE", "DEFERRED"], unit: Callable[[apsw.Connection], T]) -> T:
        async with self._alone:
            return await self._blocking.run(
                partial(_transact, self._connection, self.path, mode, unit), cancel=self._connection.interrupt
            )


def _connect(path: Path, schema: Schema) -> apsw.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "FULL" if schema.durable else "NORMAL")
        connection.pragma("foreign_keys", 1)
        _transact(connection, path, "IMMEDIATE", partial(_migrate, path=path, schema=schema))
    except (apsw.NotADBError, apsw.CorruptError) as error:
        connection.close()
        raise StoreDamaged(f"{path} is not a sound SQLite database ({error}); it was left as it is") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: apsw.Connection, *, path: Path, schema: Schema) -> None:
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    is_new = application == 0 and version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchall()
    if not is_new and application != schema.application_id:
        raise StoreDamaged(f"{path} is a database of something else (application id {application}); it was left alone")
    if version > len(schema.migrations):
        raise StoreDamaged(
            f"{path} has version {version}, this lep6 knows up to {len(schema.migrations)}; run the newer lep6"
        )
    for number, script in enumerate(schema.migrations[version:], version + 1):
        connection.execute(script)
        connection.pragma("user_version", number)
    connection.pragma("application_id", schema.application_id)


def _transact(
    connection: apsw.Connection,
    path: Path,
    mode: Literal["IMMEDIATE", "DEFERRED"],
    unit: Callable[[apsw.Connection], T],
) -> T:
    try:
        connection.execute(f"BEGIN {mode}")
        result = unit(connection)
        connection.execute("COMMIT")
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise StoreDamaged(f"{path} is damaged ({error}); restore it or move it away") from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return result
