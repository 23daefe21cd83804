"""What is installed, for whoever reads a report."""

import os
import platform
from functools import partial

import apsw
import trio

from lep6 import _core
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient


async def look_at_versions(patient: Patient, found: Findings) -> None:
    """Name the versions of all that matters."""
    system = await patient.blocking.run(partial(platform.platform, terse=True))
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    versions = {
        "lep6": f"{_core.VERSION} ({_core.PROFILE})",
        platform.python_implementation(): platform.python_version(),
        "Trio": trio.__version__,
        "SQLite": apsw.sqlite_lib_version(),
        "zstd": str(_core.zstd_version()),
    }
    machine = f"{system}, {os.cpu_count()} cores, {pages * page / 2**30:.1f} GiB of memory"
    said = ", ".join([*(f"{name} {version}" for name, version in versions.items()), machine])
    if _core.PROFILE == "release":
        found.ok(said)
    else:
        found.warn(said, "install a release build: this one is many times slower")
