"""Whether the clock of this machine is that of the chain."""

from datetime import UTC, datetime
from typing import Final

from lep6.doctor.finding import Findings
from lep6.doctor.patient import NotLooked, Patient
from lep6.heal.sight import FRESH_SECONDS

AHEAD_SECONDS: Final = 5.0
"""By how much a block may be later than our clock says: its time is agreed upon before it is told."""
REMEDY: Final = "compare this clock with another one (timedatectl), and let NTP keep it"


async def look_at_clock(patient: Patient, found: Findings) -> None:
    """Hold it against the newest block of all nodes. A removal waits for a block that is new by this clock."""
    now = datetime.fromtimestamp(patient.clock.now(), UTC).isoformat(timespec="seconds")
    if not patient.seen:
        raise NotLooked(f"no node of the chain answers; this clock says {now}")
    age = min((seen.at - seen.block.time for seen in patient.seen), key=abs)
    if age < -AHEAD_SECONDS:
        found.bad(f"this clock says {now}, {-age:.0f} s before the time of the newest block", REMEDY)
    elif age > FRESH_SECONDS:
        found.bad(
            f"this clock says {now}, {age:.0f} s after the time of the newest block: it is fast, or the chain stands",
            REMEDY,
        )
    else:
        found.ok(f"this clock says {now}; the newest block is {max(age, 0):.0f} s old")
