"""Whether the ledger is sound and the account's, and whether it and the stagings on the disk tell the same."""

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

import apsw
from attrs import frozen

from lep6.cascade.publish import STUCK_AFTER
from lep6.cascade.staging import names_on_disk, open_staged
from lep6.database import Database
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient
from lep6.errors import InvalidArtefact
from lep6.heal.disk import op_ids
from lep6.heal.ledger import SCHEMA, Entries, Ledger
from lep6.heal.rows import ClaimState

LEDGER: Final = "ledger.db"
"""In the data directory; as in `daemon.service`, which is not imported: the doctor needs little to run."""
MOST_NAMED: Final = 8
"""Ops that one finding names."""
KEEP: Final = "keep the file: move it away only when no heal is open, or when support has a copy"
LEAVE: Final = "leave them: the daemon asks the chain, and finishes or removes them"


@frozen
class Stuck:
    """A staging whose publishing fails."""

    name: str
    attempts: int
    reason: str


async def look_at_ledger(patient: Patient, found: Findings) -> None:
    """Open it to read, check all of it, and hold its rows against the stagings."""
    path = patient.config.data_dir / LEDGER
    if not await patient.blocking.run(path.exists):
        found.note(f"there is no {path} yet", "nothing, on a new node; on an old one, find out who has removed it")
        await _look_at_stagings(patient, found, None)
        return
    with TemporaryDirectory(prefix="lep6-doctor-") as scratch:
        entries = await _opened(patient, path, Path(scratch), found)
    if entries is not None:
        await _look_at_stagings(patient, found, entries)


async def _opened(patient: Patient, path: Path, scratch: Path, found: Findings) -> Entries | None:
    """What it says; `None` where that cannot be read."""
    try:
        connection = await patient.blocking.run(partial(_connect, path, scratch, is_alive=patient.holder is not None))
    except apsw.CantOpenError:
        found.bad(f"{path} cannot be opened", "run it as the user that runs the service")
        return None
    except (apsw.NotADBError, apsw.CorruptError) as error:
        found.bad(f"{path} is damaged ({error})", KEEP)
        return None
    try:
        return await _read(patient, connection, path, found)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        found.bad(f"{path} is damaged ({error})", KEEP)
        return None
    except apsw.BusyError as error:
        found.warn(f"{path} is busy ({error})", "ask again")
        return None
    finally:
        connection.interrupt()
        # A thread that was left alone may be in it still; it goes with the process.
        with suppress(apsw.ThreadingViolationError):
            connection.close()


def _connect(path: Path, scratch: Path, *, is_alive: bool) -> apsw.Connection:
    """A connection that changes nothing, nor makes a file beside the ledger.

    What a crash has left in the log is read from a copy: SQLite would make an index of it. While a daemon is alive,
    that index is there.
    """
    log = path.with_name(f"{path.name}-wal")
    how = "mode=ro&immutable=1"
    if log.exists() and log.stat().st_size:
        how = "mode=ro"
        if not is_alive:
            for each in (log, path):
                shutil.copyfile(each, scratch / each.name)
            path = scratch / path.name
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"file:{quote(str(path))}?{how}", flags=flags)


async def _read(patient: Patient, connection: apsw.Connection, path: Path, found: Findings) -> Entries | None:
    """What it says; `None` where that cannot be read, or is not this account's."""
    blocking = patient.blocking
    kind, version, problem, owner = await blocking.run(partial(_examined, connection), cancel=connection.interrupt)
    newest = len(SCHEMA.migrations)
    if problem:
        found.bad(f"{path} is damaged ({problem})", KEEP)
        return None
    if kind != SCHEMA.application_id:
        found.bad(f"{path} is a database of something else", "set lep6.data_dir to a directory of its own")
        return None
    if version > newest:
        found.bad(f"{path} has version {version}, this lep6 knows up to {newest}", "install the newer lep6 again")
        return None
    if version < newest:
        found.note(f"{path} has version {version}", f"nothing: the next start brings it to {newest}")
        return None
    if owner != patient.account:
        found.bad(
            f"{path} is the ledger of {owner}, not of {patient.account}",
            "give each account a data directory of its own (lep6.data_dir)",
        )
        return None
    entries = await Ledger(owner, Database(path, connection, blocking)).entries()
    states = Counter(row.state for row in entries.claims.values())
    claims = ", ".join(f"{states[state]} {state.value}" for state in ClaimState)
    found.ok(
        f"{path} is sound: claims: {claims}; {len(entries.verifications)} votes, {len(entries.intents)} intents;"
        f" height {entries.height}"
    )
    told = max((seen.block.height for seen in patient.seen), default=None)
    if told is not None and told < entries.height:
        found.warn(
            f"the chain is at height {told}, and this node has seen {entries.height}",
            "wait for the nodes of the chain; if the chain began anew, this node needs a new data directory",
        )
    for each in await blocking.run(partial(_stuck, connection), cancel=connection.interrupt):
        found.warn(
            f"publishing {each.name} has failed {each.attempts} times: {each.reason:.200}",
            "see whether other nodes can be reached; it is tried on, and nothing is lost",
        )
    return entries


def _examined(connection: apsw.Connection) -> tuple[int, int, str, str]:
    """Kind, version, what is wrong (empty for nothing) and whose it is."""
    problem = connection.pragma("integrity_check", 1)
    kind, version = connection.pragma("application_id"), connection.pragma("user_version")
    owner = ""
    if problem == "ok" and kind == SCHEMA.application_id and version == len(SCHEMA.migrations):
        row = connection.execute("SELECT account FROM identity").fetchone()
        owner = str(row[0]) if row is not None else "nobody"
    return int(kind), int(version), "" if problem == "ok" else str(problem), owner


def _stuck(connection: apsw.Connection) -> list[Stuck]:
    rows = connection.execute("SELECT staging, attempts, reason FROM publishes WHERE attempts >= ?", (STUCK_AFTER,))
    return [Stuck(str(name), int(str(attempts)), str(reason)) for name, attempts, reason in rows]


async def _look_at_stagings(patient: Patient, found: Findings, entries: Entries | None) -> None:
    """Hold the rows against what lies on the disk. While the daemon works, either may be a moment ahead."""
    root, blocking = patient.config.staging_dir, patient.blocking
    names = await names_on_disk(root, blocking=blocking)
    staged = op_ids(names.staged)
    claims = entries.claims if entries is not None else {}
    known = {*claims, *(entries.intents if entries is not None else ())}
    missing = {op for op, row in claims.items() if row.state is not ClaimState.CLOSING} - staged
    strangers = staged - known
    if missing:
        found.warn(
            f"ops with a claim, but without a staging in {root}: {_named(sorted(missing))}",
            "start the daemon, which rebuilds them; if the disk was changed, bring the old staging directory back",
        )
    if strangers:
        found.note(f"stagings in {root} of which the ledger knows nothing: {_named(sorted(strangers))}", LEAVE)
    for op in sorted(staged & set(claims)):
        try:
            await open_staged(root, str(op), blocking=blocking)
        except FileNotFoundError:
            found.warn(f"the staging of op {op} has no manifest", LEAVE)
        except InvalidArtefact as error:
            found.warn(f"the staging of op {op} is damaged: {error}", "test the disk; the daemon rebuilds the file")
    others = sorted(name for name in names.staged if not op_ids({name}))
    if others:
        found.note(
            f"in {root} lie also: {_named(others)}",
            "finish a republish with lep6 cascade republish; remove what is not ours",
        )
    aside = await blocking.run(lambda: sorted(path.name for path in root.glob(".damaged-*")))
    if aside:
        found.warn(
            f"damaged stagings were set aside in {root}: {_named(aside)}", "test the disk; they go with their ops"
        )
    if not (missing or strangers or others or aside):
        found.ok(f"ledger and stagings in {root} agree: {len(staged)} stagings")


def _named(things: Sequence[object]) -> str:
    left = len(things) - MOST_NAMED
    return ", ".join(map(str, things[:MOST_NAMED])) + (f" and {left} more" if left > 0 else "")
