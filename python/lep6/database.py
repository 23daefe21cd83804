"""SQLite databases of ours: one connection each, units of work that run alone and whole, migrations by number.

A unit of work is one plain function that runs in one transaction, in one go, through the `Blocking` port: it commits
when it returns and rolls back when it raises or is cancelled. No transaction is ever held open across an await.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, final

import apsw
import trio
from attrs import define, field, frozen

from lep6.errors import JobCancelled, StoreDamaged, StoreUnavailable
from lep6.ports import Blocking

T = TypeVar("T")

BUSY_MILLISECONDS = 10_000
"""How long a unit waits for another process's transaction before it fails."""
RETRY_MILLISECONDS = 100
SYNCHRONOUS_FULL = 2
"""SQLite's number for it."""
SMALLEST_FILE = 512
"""Bytes of the smallest page, and so of the smallest database."""


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
            StoreUnavailable: it cannot be opened now.
        """
        connection = await blocking.run(partial(_connect, path, schema))
        try:
            yield cls(path, connection, blocking)
        finally:
            with trio.CancelScope(shield=True):  # bounded: no unit of work is running any more
                await blocking.run(connection.close)

    @property
    def is_durable(self) -> bool:
        """Whether what is committed survives a power cut."""
        return bool(self._connection.pragma("synchronous") >= SYNCHRONOUS_FULL)

    async def write(self, unit: Callable[[apsw.Connection], T]) -> T:
        """Run a unit of work that may change the database.

        Cancelled: nothing of it is kept, unless it was committed already.

        Raises:
            StoreUnavailable: busy, no room, no permission; nothing of it is kept.
            StoreDamaged: the file is damaged.
        """
        return await self._run(unit, is_write=True)

    async def read(self, unit: Callable[[apsw.Connection], T]) -> T:
        """Run a unit of work that only reads, on one state of the database. Raises as `write` does."""
        return await self._run(unit, is_write=False)

    async def _run(self, unit: Callable[[apsw.Connection], T], *, is_write: bool) -> T:
        transaction = _Transaction(self._connection, self.path, is_write=is_write)
        async with self._alone:
            return await self._blocking.run(partial(transaction.run, unit), cancel=transaction.cancel)


class _Transaction:
    """One unit of work in the connection."""

    def __init__(self, connection: apsw.Connection, path: Path, *, is_write: bool) -> None:
        self._connection = connection
        self._path = path
        self._is_write = is_write
        self._is_cancelled = False

    def cancel(self) -> None:
        """Make the unit end soon and unkept. Called from another thread."""
        self._is_cancelled = True
        self._connection.interrupt()

    def run(self, unit: Callable[[apsw.Connection], T]) -> T:
        connection = self._connection
        with _mapped_errors(self._path):
            try:
                connection.pragma("query_only", int(not self._is_write))
                connection.execute("BEGIN IMMEDIATE" if self._is_write else "BEGIN DEFERRED")
                result = unit(connection)
                if self._is_cancelled:
                    raise JobCancelled(f"a unit of work on {self._path} was cancelled")
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        return result


@contextmanager
def _mapped_errors(path: Path) -> Iterator[None]:
    """SQLite's errors as ours. Those that a statement of ours causes are bugs, and stay as they are."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise StoreDamaged(f"{path} is damaged ({error}); restore it or move it away") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreUnavailable(f"{path} is in use by another process ({error}); try again") from error
    except (apsw.CantOpenError, apsw.IOError, apsw.FullError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise StoreUnavailable(f"{path} cannot be used: {error}") from error


def _connect(path: Path, schema: Schema) -> apsw.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _mapped_errors(path):
        if _is_cut(path):
            raise _unsound(path, "its end is missing")
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            try:
                connection.execute("BEGIN")  # one state of the file: another process may be creating it
                _check(connection, path, schema)
                connection.execute("COMMIT")
            except (apsw.NotADBError, apsw.CorruptError) as error:
                raise _unsound(path, error) from error
            _to_wal(connection)
            connection.pragma("synchronous", "FULL" if schema.durable else "NORMAL")
            connection.pragma("foreign_keys", 1)
            _Transaction(connection, path, is_write=True).run(partial(_migrate, path=path, schema=schema))
        except BaseException:
            connection.close()
            raise
    return connection


def _is_cut(path: Path) -> bool:
    """Whether a file lacks a part of its last page, which SQLite would take for zeros, or even for an empty file."""
    log = path.with_name(f"{path.name}-wal")
    if not path.exists() or (log.exists() and log.stat().st_size):
        return False  # with a log, the last pages are there
    with path.open("rb") as file:
        header = file.read(18)
        size = file.seek(0, os.SEEK_END)
    page = int.from_bytes(header[16:18], "big")
    is_sqlite = header.startswith(b"SQLite format 3") and page
    return 0 < size < SMALLEST_FILE or bool(is_sqlite and size % (65_536 if page == 1 else page))


def _unsound(path: Path, why: object) -> StoreDamaged:
    return StoreDamaged(f"{path} is not a sound SQLite database ({why}); it was left as it is")


def _to_wal(connection: apsw.Connection) -> None:
    """Write-ahead logging: readers and a writer at a time. The switch does not wait for other processes by itself."""
    for _ in range(BUSY_MILLISECONDS // RETRY_MILLISECONDS):
        try:
            connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            time.sleep(RETRY_MILLISECONDS / 1000)
        else:
            return
    connection.pragma("journal_mode", "wal")


def _check(connection: apsw.Connection, path: Path, schema: Schema) -> int:
    """Refuse a file that is not ours, newer, or damaged, before anything is written to it; its version."""
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    is_new = application == 0 and version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchall()
    if not is_new and application != schema.application_id:
        raise StoreDamaged(f"{path} is a database of something else (application id {application}); it was left alone")
    if version > len(schema.migrations):
        raise StoreDamaged(
            f"{path} has version {version}, this lep6 knows up to {len(schema.migrations)}; run the newer lep6"
        )
    if schema.durable and (problem := connection.pragma("quick_check", 1)) != "ok":
        raise _unsound(path, problem)
    return int(version)


def _migrate(connection: apsw.Connection, *, path: Path, schema: Schema) -> None:
    version = _check(connection, path, schema)
    for number, script in enumerate(schema.migrations[version:], version + 1):
        connection.execute(script)
        connection.pragma("user_version", number)
        connection.pragma("application_id", schema.application_id)
