"""Whether there is room for rebuilt files, and whether their place can be written to."""

import os
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from lep6 import _core
from lep6.cascade.staging import SPARE_BYTES
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient

INODES: Final = 1000
"""Of a staging a dozen are needed, and of the ledger a few."""
GIB: Final = 1 << 30


@frozen
class Place:
    """The file system that a directory is on, or will be on."""

    nearest: Path
    """The directory, or the nearest above it that is there."""
    free: int
    """Bytes for users other than root."""
    inodes: int | None
    """Free ones; `None` where the file system does not count them."""
    is_writable: bool


def need_of(size: int) -> int:
    """Bytes that staging a file of a size takes: as `begin_staging` counts, but for id files, which are small."""
    geometry = _core.Geometry(size)
    return size + (geometry.total_symbols + geometry.source_symbols) * _core.PACKET_SIZE + SPARE_BYTES


async def look_at_disk(patient: Patient, found: Findings) -> None:
    """Hold the room for stagings against the need of the largest legal files."""
    config = patient.config
    staging = await patient.blocking.run(partial(_place, config.staging_dir))
    most = config.self_healing.max_concurrent_reconstructs
    one = need_of(_core.MAX_FILE_SIZE)
    _say_writable(config.staging_dir, staging, found)
    said = f"{config.staging_dir} has {staging.free / GIB:.1f} GiB free"
    remedy = "free space, or move self_healing.staging_dir to a larger disk while the daemon is down"
    if staging.free < SPARE_BYTES:
        found.bad(f"{said}: nothing can be rebuilt", remedy)
    elif staging.free < one:
        found.warn(f"{said}; the largest file needs {one / GIB:.1f} GiB, and would be put off", remedy)
    elif staging.free < most * one:
        found.note(f"{said}; {most} of the largest files at a time need {most * one / GIB:.1f} GiB", remedy)
    else:
        found.ok(f"{said}; {most} of the largest files at a time need {most * one / GIB:.1f} GiB")
    if staging.inodes is not None and staging.inodes < INODES:
        found.bad(f"{staging.nearest} has {staging.inodes} inodes free", "remove small files from that file system")
    data = await patient.blocking.run(partial(_place, config.data_dir))
    _say_writable(config.data_dir, data, found)
    if data.free < SPARE_BYTES:
        found.bad(f"{config.data_dir} has {data.free >> 20} MiB free", "free space: the ledger must be written")


def _say_writable(directory: Path, place: Place, found: Findings) -> None:
    if place.nearest.is_dir() and place.is_writable:
        return
    what = "cannot be written to by this user" if place.nearest.is_dir() else "is no directory"
    found.bad(
        f"{directory}: {place.nearest} {what}", "run it as the user that runs the service, or chown it to that one"
    )


def _place(directory: Path) -> Place:
    nearest = directory
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    free = os.statvfs(nearest)
    return Place(
        nearest,
        free.f_bavail * free.f_frsize,
        free.f_favail if free.f_files else None,
        os.access(nearest, os.W_OK | os.X_OK),
    )
