"""What lies on this node's disk of its heal ops: stagings, work areas, and damaged stagings that were set aside."""

import re
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Final, final

from attrs import define

from lep6 import _core
from lep6.cascade.staging import (
    MANIFEST,
    Names,
    Sizes,
    Staged,
    discard_set_aside,
    discard_staged,
    names_on_disk,
    open_staged,
    set_aside_staged,
    sizes_on_disk,
    sweep,
)
from lep6.cascade.work import clear_work
from lep6.errors import InvalidArtefact
from lep6.observe import Progress, get_logger
from lep6.ports import Blocking

_ID: Final = re.compile(r"[1-9][0-9]{0,18}")

log = get_logger("heal.disk")

LARGEST_ID: Final = 2**63 - 1
"""Of a heal op, as far as the ledger goes. The chain counts from 1."""


@final
@define(eq=False)
class Disk:
    """The staging root of one node. Directories with other names than op ids are not the heal's business."""

    root: Path
    blocking: Blocking
    progress: Progress

    async def names(self) -> Names:
        """What is there, by name."""
        return await names_on_disk(self.root, blocking=self.blocking)

    async def sizes(self) -> dict[int, Sizes]:
        """How much lies there, by op.

        Raises:
            OSError: it cannot be looked at now.
        """
        sizes = await sizes_on_disk(self.root, blocking=self.blocking)
        return {op_id: sizes[str(op_id)] for op_id in op_ids(sizes.keys())}

    def place(self, op_id: int) -> Path:
        """Where the staging of an op is, or would be."""
        return self.root / str(op_id)

    async def staged(self, op_id: int) -> Staged | None:
        """The complete staging of an op; `None` where there is none, or a damaged one.

        Raises:
            OSError: it cannot be read now.
        """
        try:
            return await open_staged(self.root, str(op_id), blocking=self.blocking)
        except FileNotFoundError:
            return None
        except InvalidArtefact as error:
            log.error("staging_damaged", op_id=op_id, reason=str(error))  # noqa: TRY400 # the reason says it all
            return None

    async def is_sound(self, staged: Staged) -> bool:
        """Whether every byte of a staging is as it was staged."""
        job = _core.Job()
        with self.progress.step("checking the staging", job):
            try:
                await self.blocking.run(partial(staged.check, job), cancel=job.cancel)
            except InvalidArtefact as error:
                log.error("staging_damaged", op_id=staged.name, reason=str(error))  # noqa: TRY400 # as above
                return False
        return True

    async def set_aside(self, op_id: int) -> None:
        """Make way for a sound staging of an op, if a damaged one is there. What has no manifest is none."""
        if await self.blocking.run((self.root / str(op_id) / MANIFEST).exists):
            aside = await set_aside_staged(self.root, str(op_id), blocking=self.blocking)
            log.warning("staging_set_aside", op_id=op_id, aside=aside.name)

    async def clear(self, op_id: int) -> None:
        """Remove everything of an op that is final."""
        name = str(op_id)
        await discard_staged(self.root, name, blocking=self.blocking)
        await discard_set_aside(self.root, name, blocking=self.blocking)
        await clear_work(self.root, name, blocking=self.blocking)

    async def sweep(self) -> None:
        """Make the root, if there is none, and remove what dead attempts left."""
        await self.blocking.run(partial(self.root.mkdir, mode=0o700, parents=True, exist_ok=True))
        removed = await sweep(self.root, blocking=self.blocking)
        if removed:
            log.info("swept", directories=removed)


def op_ids(names: AbstractSet[str]) -> set[int]:
    """Those names that are ids of heal ops, as we write them."""
    return {int(name) for name in names if _ID.fullmatch(name) and int(name) <= LARGEST_ID}
