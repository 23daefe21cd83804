"""The value store of one node of the embedded network: a SQLite file, and how the node behaves."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast, final

import apsw
from attrs import define, frozen

from lep6 import _core
from lep6.database import Database, Schema
from lep6.errors import StoreDamaged
from lep6.model import Key
from lep6.ports import Blocking

SCHEMA = Schema(
    application_id=0x4C364E44,  # "L6ND"
    migrations=(
        """
        CREATE TABLE held (key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT;
        CREATE TABLE node (
            account TEXT NOT NULL,
            down    INTEGER NOT NULL DEFAULT 0, -- does not answer
            delay   REAL NOT NULL DEFAULT 0,    -- seconds before each answer
            lying   REAL NOT NULL DEFAULT 0,    -- share of the values it gives that are false
            lossy   REAL NOT NULL DEFAULT 0     -- share of values lost, on the way in (acknowledged) and on the way out
        ) STRICT;
        """,
    ),
    durable=False,
)


@final
@frozen
class Behaviour:
    """How a node behaves, until it is told otherwise. Every process that uses the network sees it."""

    down: bool = False
    delay: float = 0.0
    """Seconds before each answer."""
    lying: float = 0.0
    """Share of the values it gives that are false."""
    lossy: float = 0.0
    """Share of the values that are lost: taken and acknowledged but not kept, or held but not given."""


@final
@define(eq=False)
class NodeStore:
    """One node: its account, its place in the key space, and its values."""

    account: str
    position: bytes
    """BLAKE3-256 of the account's text; distances to keys are taken from it."""
    _opened: Database | StoreDamaged

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, account: str, blocking: Blocking) -> "AsyncIterator[NodeStore]":
        """Open the store at `path`, creating it for `account` when it is new. A damaged one is a node that fails."""

        def settle(connection: apsw.Connection) -> str:
            row = connection.execute("SELECT account FROM node").fetchone()
            if row is None:
                connection.execute("INSERT INTO node (account) VALUES (?)", (account,))
            return account if row is None else str(row[0])

        async with AsyncExitStack() as stack:
            opened: Database | StoreDamaged
            try:
                opened = await stack.enter_async_context(Database.open(path, SCHEMA, blocking))
                account = await opened.write(settle)
            except StoreDamaged as error:
                opened = error
            yield cls(account, _core.blake3(account.encode()), opened)

    @property
    def is_sound(self) -> bool:
        """Whether the store could be opened."""
        return isinstance(self._opened, Database)

    @property
    def _database(self) -> Database:
        if isinstance(self._opened, StoreDamaged):
            raise self._opened
        return self._opened

    async def behaviour(self) -> Behaviour:
        """How the node behaves now."""

        def unit(connection: apsw.Connection) -> Behaviour:
            ((down, delay, lying, lossy),) = connection.execute("SELECT down, delay, lying, lossy FROM node").fetchall()
            return Behaviour(bool(down), cast("float", delay), cast("float", lying), cast("float", lossy))

        return await self._database.read(unit)

    async def behave(self, behaviour: Behaviour) -> None:
        """Make the node behave so from now on."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute(
                "UPDATE node SET down = ?, delay = ?, lying = ?, lossy = ?",
                (int(behaviour.down), behaviour.delay, behaviour.lying, behaviour.lossy),
            )

        await self._database.write(unit)

    async def get(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """The values of those keys that are held."""

        def unit(connection: apsw.Connection) -> dict[Key, bytes]:
            rows = (
                (key, connection.execute("SELECT value FROM held WHERE key = ?", (key,)).fetchone()) for key in keys
            )
            return {key: row[0] for key, row in rows if row is not None}

        return await self._database.read(unit)

    async def put(self, items: Sequence[tuple[Key, bytes]]) -> None:
        """Hold values; those that are held already stay."""

        def unit(connection: apsw.Connection) -> None:
            connection.executemany("INSERT INTO held VALUES (?, ?) ON CONFLICT DO NOTHING", items)

        await self._database.write(unit)

    async def delete(self, keys: Collection[Key]) -> int:
        """Lose values; how many were held."""

        def unit(connection: apsw.Connection) -> int:
            before = connection.total_changes()
            connection.executemany("DELETE FROM held WHERE key = ?", [(key,) for key in keys])
            return connection.total_changes() - before

        return await self._database.write(unit)

    async def clear(self) -> None:
        """Lose every value."""

        def unit(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM held")

        await self._database.write(unit)

    async def keys(self) -> frozenset[Key]:
        """Every key that is held."""

        def unit(connection: apsw.Connection) -> frozenset[Key]:
            return frozenset(Key(row[0]) for row in connection.execute("SELECT key FROM held"))

        return await self._database.read(unit)
