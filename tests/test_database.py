"""Databases: units of work that are whole or not there, migrations, and files that are left as they are."""

import random
import sqlite3
import threading

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from lep6.blocking import Inline, Threads
from lep6.database import Database, Schema
from lep6.errors import StoreDamaged

PATIENCE = 10
"""Seconds after which a thread that waits for a test gives up; never reached where the code is right."""

FIRST = "CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;"
SECOND = """
    ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody';
    CREATE TABLE authors (name TEXT PRIMARY KEY) STRICT;
    INSERT INTO authors SELECT DISTINCT author FROM notes;
"""
SCHEMA = Schema(application_id=0x0BADCAFE, migrations=(FIRST,), durable=True)
NEWER = Schema(application_id=0x0BADCAFE, migrations=(FIRST, SECOND), durable=True)


class Failure(Exception):
    """What a unit raises."""


def opened(path, schema=SCHEMA, blocking=None):
    return Database.open(path, schema, blocking or Inline())


def add(*notes):
    def unit(connection):
        connection.executemany("INSERT INTO notes (note) VALUES (?)", [(note,) for note in notes])

    return unit


def listed(connection):
    return [note for (note,) in connection.execute("SELECT note FROM notes ORDER BY id")]


def pragma(name):
    return lambda connection: connection.pragma(name)


async def filled(path, *notes):
    """A closed database with these notes."""
    async with opened(path) as database:
        await database.write(add(*notes))
    return path


async def refused(path, match, schema=SCHEMA):
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=match) as refusal:
        async with opened(path, schema):
            raise AssertionError
    assert str(path) in str(refusal.value)
    assert path.read_bytes() == before


async def test_what_a_unit_wrote_is_there_after_reopening_and_its_result_comes_back(tmp_path):
    path = tmp_path / "new" / "deep" / "notes.db"
    async with opened(path) as database:
        await database.write(add("a", "b"))
        assert await database.write(lambda connection: connection.last_insert_rowid()) == 2
    async with opened(path) as database:
        assert await database.read(listed) == ["a", "b"]


async def test_a_directory_that_has_to_be_made_is_private(tmp_path):
    await filled(tmp_path / "new" / "notes.db")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


async def test_a_unit_that_raises_leaves_nothing_and_the_error_is_its_own(tmp_path):
    def unit(connection):
        add("lost")(connection)
        raise Failure("why")

    async with opened(tmp_path / "notes.db") as database:
        await database.write(add("kept"))
        with pytest.raises(Failure, match="why"):
            await database.write(unit)
        with pytest.raises(apsw.SQLError, match="no such table"):
            await database.write(lambda connection: [add("lost")(connection), connection.execute("DELETE FROM no")])
        with pytest.raises(apsw.ConstraintError):
            await database.write(add("lost", None))
        await database.write(add("kept too"))
        assert await database.read(listed) == ["kept", "kept too"]


async def test_a_unit_that_is_cancelled_in_the_midst_of_a_statement_leaves_nothing(tmp_path):
    begun = trio.Event()

    def unit(connection):
        add("lost")(connection)
        connection.create_scalar_function("begun", lambda: trio.from_thread.run_sync(begun.set))
        connection.execute(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 30000000)"
            " SELECT max(n) FROM numbers WHERE CASE n WHEN 1 THEN begun() END IS NULL"
        ).fetchall()

    async def ask(scope):
        with scope:
            await database.write(unit)

    scope = trio.CancelScope()
    async with opened(tmp_path / "notes.db", blocking=Threads(1)) as database:
        await database.write(add("kept"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, scope)
            await begun.wait()
            scope.cancel()
        assert scope.cancelled_caught
        await database.write(add("kept too"))
        assert await database.read(listed) == ["kept", "kept too"]


async def test_units_run_one_after_the_other_and_one_that_is_cancelled_in_the_queue_never(tmp_path):
    begun, released = trio.Event(), threading.Event()
    happened = []

    def first(connection):
        happened.append("first begins")
        trio.from_thread.run_sync(begun.set)
        assert released.wait(PATIENCE)
        happened.append("first ends")

    async def ask(what, scope):
        with scope:
            await database.write(lambda _: happened.append(what))

    async with opened(tmp_path / "notes.db", blocking=Threads(4)) as database, trio.open_nursery() as nursery:
        nursery.start_soon(database.write, first)
        await begun.wait()
        given_up = trio.CancelScope()
        nursery.start_soon(ask, "given up", given_up)
        nursery.start_soon(ask, "second", trio.CancelScope())
        await wait_all_tasks_blocked()
        given_up.cancel()
        await wait_all_tasks_blocked()
        assert happened == ["first begins"]
        released.set()
    assert given_up.cancelled_caught
    assert happened == ["first begins", "first ends", "second"]


async def test_many_units_at_once_all_succeed(tmp_path):
    async with opened(tmp_path / "notes.db", blocking=Threads(4)) as database:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(database.write, add(f"{number}"))
        assert sorted(map(int, await database.read(listed))) == list(range(50))


async def test_a_reading_unit_sees_one_state_whoever_writes_meanwhile(tmp_path):
    path = await filled(tmp_path / "notes.db", "a")
    other = apsw.Connection(str(path))

    def unit(connection):
        before = listed(connection)
        add("the other's")(other)
        return before, listed(connection)

    async with opened(path) as database:
        assert await database.read(unit) == (["a"], ["a"])
        assert await database.read(listed) == ["a", "the other's"]
    other.close()


async def test_a_writing_unit_waits_for_the_transaction_of_another_connection(tmp_path):
    path = await filled(tmp_path / "notes.db")
    other = apsw.Connection(str(path))
    async with opened(path, blocking=Threads(1)) as database:
        other.execute("BEGIN IMMEDIATE")
        add("the other's")(other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, add("ours"))
            await wait_all_tasks_blocked()
            other.execute("COMMIT")
        assert await database.read(listed) == ["the other's", "ours"]
    other.close()


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
async def test_settings_are_those_of_a_store_that_survives(durable, synchronous, tmp_path):
    schema = Schema(0x0BADCAFE, (FIRST,), durable)
    async with opened(tmp_path / "notes.db", schema) as database:
        assert await database.read(pragma("journal_mode")) == "wal"
        assert await database.read(pragma("synchronous")) == synchronous
        assert await database.read(pragma("foreign_keys")) == 1


async def test_a_new_database_has_its_number_and_version(tmp_path):
    await filled(tmp_path / "notes.db")
    connection = sqlite3.connect(tmp_path / "notes.db")
    assert connection.execute("PRAGMA application_id").fetchone() == (0x0BADCAFE,)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


async def test_an_older_version_is_brought_to_the_newest_with_its_rows(tmp_path):
    path = await filled(tmp_path / "notes.db", "old")
    for _ in range(2):
        async with opened(path, NEWER) as database:
            assert await database.read(pragma("user_version")) == 2
            assert await database.read(lambda c: c.execute("SELECT note, author FROM notes").fetchall()) == [
                ("old", "nobody")
            ]
            assert await database.read(lambda c: c.execute("SELECT name FROM authors").fetchall()) == [("nobody",)]


async def test_a_migration_that_fails_changes_nothing(tmp_path):
    path = await filled(tmp_path / "notes.db", "old")
    failing = Schema(0x0BADCAFE, (FIRST, "CREATE TABLE more (x) STRICT; INSERT INTO nowhere VALUES (1);"), durable=True)
    with pytest.raises(apsw.SQLError):
        async with opened(path, failing):
            raise AssertionError
    async with opened(path) as database:
        assert await database.read(pragma("user_version")) == 1
        assert await database.read(listed) == ["old"]


async def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "notes.db"
    async with opened(path, NEWER) as database:
        await database.write(add("newer"))
    await refused(path, "version 2, this lep6 knows up to 1; run the newer lep6")
    async with opened(path, NEWER) as database:
        assert await database.read(listed) == ["newer"]


async def test_a_database_of_something_else_is_refused(tmp_path):
    path = await filled(tmp_path / "notes.db", "theirs")
    await refused(path, "database of something else", Schema(0x0BADCAFF, (FIRST,), durable=True))


@pytest.mark.parametrize("size", [2, 16, 50, 99, 100, 512, 4096, 9000])
async def test_a_file_of_random_bytes_is_refused(size, tmp_path):
    (tmp_path / "notes.db").write_bytes(random.Random(size).randbytes(size))
    await refused(tmp_path / "notes.db", "not a sound SQLite database")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.db"]


@pytest.mark.parametrize("length", [2, 50, 99, 100, 1000, 4096, 8192])
async def test_a_file_that_lost_its_end_is_refused(length, tmp_path):
    path = await filled(tmp_path / "notes.db", "x" * 20_000)
    path.write_bytes(path.read_bytes()[:length])
    await refused(path, "not a sound SQLite database")


async def test_a_database_of_damaged_pages_is_refused(tmp_path):
    path = await filled(tmp_path / "notes.db", *("x" * 500 for _ in range(100)))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + random.Random(0).randbytes(len(content) - 4096))
    await refused(path, "not a sound SQLite database")


async def test_an_empty_file_becomes_a_database(tmp_path):
    (tmp_path / "notes.db").touch()
    await filled(tmp_path / "notes.db", "a")
    async with opened(tmp_path / "notes.db") as database:
        assert await database.read(listed) == ["a"]


async def test_an_error_in_the_block_closes_the_database_and_comes_out(tmp_path):
    async def use():
        async with opened(tmp_path / "notes.db") as database:
            await database.write(add("kept"))
            raise Failure("why")

    with pytest.raises(Failure, match="why"):
        await use()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.db"]
    async with opened(tmp_path / "notes.db") as database:
        assert await database.read(listed) == ["kept"]


async def test_a_cancelled_block_closes_the_database(tmp_path):
    with trio.CancelScope() as scope:
        async with opened(tmp_path / "notes.db", blocking=Threads(1)) as database:
            await database.write(add("kept"))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [path.name for path in tmp_path.iterdir()] == ["notes.db"]


async def test_a_unit_that_is_cancelled_between_its_statements_leaves_nothing(tmp_path):
    begun, released = trio.Event(), threading.Event()

    def unit(connection):
        add("lost")(connection)
        trio.from_thread.run_sync(begun.set)
        assert released.wait(PATIENCE)
        add("lost too")(connection)

    async def ask(scope):
        with scope:
            await database.write(unit)

    scope = trio.CancelScope()
    async with opened(tmp_path / "notes.db", blocking=Threads(1)) as database:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, scope)
            await begun.wait()
            scope.cancel()
            await wait_all_tasks_blocked()
            released.set()
        assert scope.cancelled_caught
        assert await database.read(listed) == []


@pytest.mark.parametrize(("application", "version"), [(5, 0), (0, 0), (0, 1), (0x0BADCAFE, 9)])
async def test_a_database_in_another_journal_mode_is_refused_unchanged(application, version, tmp_path):
    path = tmp_path / "notes.db"
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA application_id = {application}; PRAGMA user_version = {version}; CREATE TABLE t (x);")
    connection.close()
    await refused(path, "database of something else|version 9")


@pytest.mark.parametrize("lost", [1, 100, 4095])
async def test_a_file_that_lost_a_part_of_its_last_page_is_refused(lost, tmp_path):
    path = await filled(tmp_path / "notes.db", "x" * 20_000)
    path.write_bytes(path.read_bytes()[:-lost])
    await refused(path, "not a sound SQLite database")


async def test_a_file_of_one_byte_is_refused(tmp_path):
    (tmp_path / "notes.db").write_bytes(b"x")
    await refused(tmp_path / "notes.db", "not a sound SQLite database")


async def test_opening_a_new_database_waits_for_another_process_that_is_making_it(tmp_path):
    path = tmp_path / "notes.db"
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")

    async def make():
        async with opened(path, blocking=Threads(1)) as database:
            await database.write(add("ours"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await wait_all_tasks_blocked()
        other.execute("COMMIT")
    other.close()
