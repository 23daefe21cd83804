"""Cuts a piece of work before each of its changes to the disk, and judges what is left. Runs with cut.so preloaded.

Every piece of work runs in a child of its own: the parent must not have started the core's threads when it forks.
"""

import ctypes
import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import trio
from attrs import frozen

from lep6 import _core
from lep6.cascade.directory import Directories
from lep6.cascade.reseed import Reseeded, Reseeder, Stage
from lep6.cascade.staging import discard_staged, open_staged, sweep
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.registration import KnownAccounts
from lep6.errors import StagingExists
from lep6.model import Action, ActionState, Ticket
from world import BLOCKING, CREATOR, PROGRESS

NAME = "5"
EXIT_CUT = 77
LAST = 60
"""Calls at the end of which each is cut; they make the work appear."""
OTHERS = 40
"""Cuts among the calls before them, evenly."""


class Scenario(Protocol):
    """A piece of work in a root directory. Each method runs in a child; only `act` is cut."""

    def prepare(self, root: Path) -> None: ...

    async def act(self, root: Path) -> None: ...

    async def judge(self, root: Path) -> None:
        """Check what the cut left, then what a second attempt makes of it."""


@frozen
class Reseeding:
    """A file is staged."""

    place: Path
    debris: bool = False
    """Whether a directory without a manifest has the name already."""

    def prepare(self, root: Path) -> None:
        if self.debris:
            (root / NAME).mkdir(parents=True)
            (root / NAME / "reconstructed.bin").write_bytes(b"half a file")

    async def act(self, root: Path) -> None:
        assert isinstance(await self._reseed(root), Reseeded)

    async def judge(self, root: Path) -> None:
        is_whole = await is_staged(root, self.place)
        assert is_whole or self.debris or not (root / NAME).exists()
        await sweep(root, blocking=BLOCKING)
        assert names(root) <= {".work", NAME}
        try:
            assert isinstance(await self._reseed(root), Reseeded)
            assert not is_whole
        except StagingExists:
            assert is_whole
        assert await is_staged(root, self.place)
        assert names(root) == {".work", NAME}

    async def _reseed(self, root: Path) -> object:
        facts = json.loads((self.place / "action.json").read_text())
        metadata = bytes.fromhex(facts["metadata"])
        action = Action(Ticket(facts["ticket"]), facts["creator"], ActionState.DONE, metadata)
        accounts = KnownAccounts({CREATOR.public.address: CREATOR.public}, {})
        rng = random.Random(0)
        async with EmbeddedNetwork.open(self.place / "network", blocking=BLOCKING, random=rng) as network:
            reseeder = Reseeder(root, network, accounts, BLOCKING, PROGRESS, rng)
            return await reseeder.reseed(action, then=Stage(NAME))


@frozen
class Discarding:
    """A staging is removed."""

    place: Path

    def prepare(self, root: Path) -> None:
        shutil.copytree(self.place / "staging", root)

    async def act(self, root: Path) -> None:
        await discard_staged(root, NAME, blocking=BLOCKING)

    async def judge(self, root: Path) -> None:
        assert await is_staged(root, self.place) or not (root / NAME).exists()
        await sweep(root, blocking=BLOCKING)
        await discard_staged(root, NAME, blocking=BLOCKING)
        assert names(root) <= {".work"}


@frozen
class Sweeping:
    """What dead attempts left is removed."""

    place: Path

    def prepare(self, root: Path) -> None:
        shutil.copytree(self.place / "staging", root)
        for dead in (".tmp-5-0011", ".gone-5-2233"):
            shutil.copytree(root / NAME, root / dead)

    async def act(self, root: Path) -> None:
        assert await sweep(root, blocking=BLOCKING) == 2

    async def judge(self, root: Path) -> None:
        assert await is_staged(root, self.place)
        await sweep(root, blocking=BLOCKING)
        assert names(root) <= {".work", NAME}
        assert await is_staged(root, self.place)


@frozen
class Decoding:
    """A file is decoded to a path, where another file may stand already."""

    place: Path
    old: bytes | None = None

    def prepare(self, root: Path) -> None:
        root.mkdir()
        if self.old is not None:
            (root / "output").write_bytes(self.old)

    async def act(self, root: Path) -> None:
        await Directories(BLOCKING, PROGRESS).decode(self.place / "encoded", root / "output")

    async def judge(self, root: Path) -> None:
        new = (self.place / "original.bin").read_bytes()
        assert self._output(root) in (self.old, new)
        await self.act(root)
        assert self._output(root) == new

    def _output(self, root: Path) -> bytes | None:
        output = root / "output"
        return output.read_bytes() if output.exists() else None


async def is_staged(root: Path, place: Path) -> bool:
    """Whether the staging is there; if it is, it must be whole."""
    try:
        staged = await open_staged(root, NAME, blocking=BLOCKING)
    except FileNotFoundError:
        return False
    staged.check(_core.Job())
    assert staged.reconstructed.read_bytes() == (place / "original.bin").read_bytes()
    return True


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} if root.exists() else set()


def in_child(work: Callable[[], object]) -> tuple[int, str]:
    """Run work in a child: its exit code, and what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            work()
        except BaseException:  # noqa: BLE001 - it is passed on as text
            os.write(writing, traceback.format_exc(limit=-6).encode()[-8000:])
            code = 1
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def acting(scenario: Scenario, root: Path, *, cut_before: int, log: Path | None = None) -> None:
    """Do the work, and end before call number `cut_before`. With `log`, note the calls and their number there."""
    shim = ctypes.CDLL(None)
    shim.cut_disarm.restype = ctypes.c_long
    descriptor = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    shim.cut_arm(os.fsencode(root), ctypes.c_long(cut_before), descriptor)
    trio.run(scenario.act, root)
    calls = shim.cut_disarm()
    if log is not None:
        log.with_suffix(".calls").write_text(str(calls))


def points(calls: int) -> Iterable[int]:
    """The calls to cut before, and one more than there are."""
    early = max(0, calls - LAST)
    return [*range(1, early + 1, max(1, -(-early // OTHERS))), *range(early + 1, calls + 2)]


def run(scenario: Scenario, scratch: Path, *, cut: bool) -> dict[str, object]:
    """Do the work whole, then cut at each point."""
    scratch.mkdir()
    root, log = scratch / "whole", scratch / "log"
    scenario.prepare(root)
    code, text = in_child(lambda: acting(scenario, root, cut_before=0, log=log))
    if code:
        raise SystemExit(text)
    calls = int(log.with_suffix(".calls").read_text())
    problems, cuts = [], 0
    for point in points(calls) if cut else ():
        root = scratch / str(point)
        scenario.prepare(root)
        code, text = in_child(lambda root=root, point=point: acting(scenario, root, cut_before=point))
        if code != (EXIT_CUT if point <= calls else 0):
            problems.append(f"call {point}: exit code {code}; {text}")
        cuts += code == EXIT_CUT
        code, text = in_child(lambda root=root: trio.run(scenario.judge, root))
        if code:
            problems.append(f"cut before call {point}: {text}")
        shutil.rmtree(root)
    return {"calls": calls, "cuts": cuts, "problems": problems}


def main() -> None:
    """Arguments: the scenario, the directory with what it needs, a new directory to work in, and `--cut`."""
    _, name, place, scratch, *options = sys.argv
    scenarios: dict[str, Scenario] = {
        "reseed": Reseeding(Path(place)),
        "reseed over debris": Reseeding(Path(place), debris=True),
        "discard": Discarding(Path(place)),
        "sweep": Sweeping(Path(place)),
        "decode": Decoding(Path(place)),
        "decode over a file": Decoding(Path(place), old=b"the old file " * 5000),
    }
    print(json.dumps(run(scenarios[name], Path(scratch), cut="--cut" in options)))  # noqa: T201


if __name__ == "__main__":
    main()
