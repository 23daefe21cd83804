"""How many files and connections the process may have open."""

import resource
from functools import partial
from pathlib import Path
from typing import Final

from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient

ENOUGH: Final = 4096
"""Connections that wait, and those that are open, of other nodes: a thousand each; and files, and the chain."""
FEW: Final = 256
REMEDY: Final = "set LimitNOFILE=65536 in the unit file (docs/lep6.service)"


async def look_at_descriptors(patient: Patient, found: Findings) -> None:
    """Look at the limit of the daemon where it runs, and of this process where not."""
    holder = patient.holder
    soft = await patient.blocking.run(partial(_limit_of, holder)) if holder is not None else None
    if soft is None:
        soft, whose = resource.getrlimit(resource.RLIMIT_NOFILE)[0], "this shell's; the service has its own"
    else:
        whose = "that of the daemon that runs"
    said = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} open files and connections ({whose})"
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH:
        found.ok(said)
    elif soft < FEW:
        found.bad(said, REMEDY)
    elif holder is not None:
        found.warn(said, REMEDY)
    else:
        found.note(said, REMEDY)


def _limit_of(pid: int) -> int | None:
    """The soft limit of another process; `None` where it cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return resource.RLIM_INFINITY if soft == "unlimited" else int(soft)
    return None
