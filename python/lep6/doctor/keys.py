"""Whether the node's key can be had, is the right one, and is closed to others."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attrs import frozen

from lep6.config import Backend, Config, open_key
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient
from lep6.errors import KeyNotOpened

OTHERS = stat.S_IRWXG | stat.S_IRWXO


@frozen
class Open:
    """Something that others than its owner can use."""

    path: Path
    mode: int


async def look_at_keys(patient: Patient, found: Findings) -> None:
    """Open the keyring as the daemon does, without asking anybody for a passphrase."""
    config = patient.config
    try:
        patient.key = await patient.blocking.run(partial(open_key, config))
    except KeyNotOpened as error:
        found.bad(str(error), "mend the keyring, or what supernode and keyring say of it in the configuration")
    except FileNotFoundError as error:
        found.bad(f"{error.filename} is not there", "set keyring.dir and keyring.backend, or import the key there")
    else:
        kind = patient.key.public.kind.name.lower()
        found.ok(f"the key {config.supernode.key_name!r} ({kind}) is that of {patient.account}")
    for each in await patient.blocking.run(lambda: list(_open_places(config))):
        found.warn(f"{each.path} is open to others than its owner (mode {each.mode:o})", f"chmod go= {each.path}")


def _open_places(config: Config) -> Iterator[Open]:
    folder = config.base / config.keyring.dir / f"keyring-{(config.keyring.backend or Backend.TEST).value}"
    places = [folder, *sorted(folder.glob("*"))] if folder.is_dir() else []
    if config.keyring.passphrase_file:
        places.append(config.base / config.keyring.passphrase_file)
    for place in places:
        try:
            mode = stat.S_IMODE(os.stat(place).st_mode)  # noqa: PTH116 - what a link leads to
        except FileNotFoundError:
            continue
        if mode & OTHERS:
            yield Open(place, mode)
