"""Whether a daemon runs on this node's data."""

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from lep6.daemon.lock import LOCK
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient

LOCKS: Final = Path("/proc/locks")


async def look_at_lock(patient: Patient, found: Findings) -> None:
    """Ask the system who holds the lock. It is not tried: a daemon that starts in that moment would give up."""
    path = patient.config.data_dir / LOCK
    patient.holder = await patient.blocking.run(partial(holder, path))
    if patient.holder is not None:
        found.ok(f"a daemon runs on {path.parent}, process {patient.holder}")
    else:
        found.note(f"no daemon runs on {path.parent}", "start it: systemctl start lep6, or lep6 run --config PATH")


def holder(path: Path) -> int | None:
    """The process that holds a lock on a file; `None` for nobody."""
    try:
        wanted = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    noted = _noted(path)
    for line in LOCKS.read_text(encoding="ascii").splitlines():
        # number: kind ADVISORY READ|WRITE process major:minor:inode first last; one who waits has -> behind the number
        _, kind, _, _, process, place, *_ = line.split()
        if kind != "FLOCK":
            continue
        major, minor, inode = place.split(":")
        # Some file systems tell another device here than in `stat`.
        is_there = os.makedev(int(major, 16), int(minor, 16)) == wanted.st_dev or int(process) == noted
        if int(inode) == wanted.st_ino and is_there:
            return noted or int(process)
    return None


def _noted(path: Path) -> int:
    """The process that has noted itself in the file; 0 for none. Whether it lives, only the lock tells."""
    with suppress(OSError, ValueError):
        return int(path.read_bytes()[:32])
    return 0
