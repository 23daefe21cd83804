"""Runs a scenario: a chain by the clock, nodes that really heal, one file."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, final

import trio
from attrs import define, field

from lep6 import _core
from lep6.beside import beside
from lep6.blocking import WallClock
from lep6.cascade.text import to_base64
from lep6.config import own_staging
from lep6.devnet.box import Box
from lep6.devnet.chain import Chain, ChainParams
from lep6.devnet.chain.ops import FINAL_STATUSES
from lep6.devnet.chronicle import Chronicle
from lep6.devnet.disaster import Survivors, destroy
from lep6.devnet.ground import Ground
from lep6.devnet.inline import Inline
from lep6.devnet.judgement import Evidence, complaints
from lep6.devnet.network import EmbeddedNetwork, node_account
from lep6.devnet.node import STAGING
from lep6.devnet.node.leftovers import directories_in
from lep6.devnet.processes import Processes
from lep6.devnet.registration import Registered
from lep6.devnet.scenario import TICKET, Pace, Plan, Report, Scenario
from lep6.devnet.stand_ins import corrupt_digest
from lep6.heal.events import Event, What
from lep6.model import HealOpStatus
from lep6.observe import Progress
from lep6.ports import Blocking

Meddle = Callable[[Processes, dict[str, Any]], Awaitable[object]]
"""Does something to processes, knowing the first op."""
LONG_PROBATION: Final = 10_000
PATIENCE_WINDOWS: Final = 12
"""Windows of an op that a scenario may take in all."""


@final
@define(eq=False)
class HealRun:
    """Runs one scenario in a directory of its own."""

    directory: Path
    plan: Plan
    blocking: Blocking
    progress: Progress
    meddle: Meddle | None = None
    """What happens to processes besides, while they live."""
    _report: Report = field(init=False)
    _random: Random = field(init=False)
    _found: Evidence = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._report = Report(plan=self.plan)
        self._found = Evidence(scenario=self.plan.scenario, replicas=self.plan.replicas)
        self._random = Random(self.plan.seed)  # noqa: S311 # chance that can be repeated

    async def run(self, file: Path) -> Report:
        """Tell the story of this file.

        Raises:
            InvalidArtefact: it is not a file that Cascade keeps.
        """
        report = self._report
        report.size = (await self.blocking.run(file.stat)).st_size
        _core.Geometry(report.size)  # nothing is written for a file that Cascade does not keep
        await self._hash(file)
        pace = self.plan.pace or Pace.for_size(report.size, talk=self.plan.talk, processes=self.plan.processes)
        clock = WallClock()
        async with EmbeddedNetwork.open(
            self.directory,
            blocking=self.blocking,
            random=self._random,
            nodes=self.plan.nodes,
            replicas=self.plan.replicas,
        ) as network:
            chain = Chain(genesis_params=self._params(pace), genesis_time=clock.now())
            box = Box(self.directory, chain, network, self.blocking, self.progress, self._random)
            hosts = Processes.places(self.plan.nodes) if self.plan.processes else ()
            box.populate(hosts)
            registered = await self._register(box, file)
            survivors = await self._destroy(box, registered)
            async with self._ground(box, pace, clock, hosts) as ground:
                first = await self._schedule(ground)
                async with ground.living(first), beside(partial(self._meddled, ground, first)):
                    with trio.move_on_after(pace.window_seconds * PATIENCE_WINDOWS):
                        await self._follow(box, ground, registered, survivors)
                        self._found.is_over = True
                    self._found.rows_left = await ground.rows()
                self._found.events, self._found.deaths = list(ground.events), ground.deaths
                chronicle = await ground.chronicle()
            await self._look_at_the_end(box, chronicle, registered)
            await self._delete_survivors(box, registered, survivors)
            await self._read_back(box, registered)
            await self.blocking.run(partial(chronicle.save, self.directory / "chain.json"))
        report.complaints = complaints(self._found)
        return report

    @asynccontextmanager
    async def _ground(self, box: Box, pace: Pace, clock: WallClock, hosts: Sequence[str]) -> AsyncIterator[Ground]:
        if not self.plan.processes:
            yield Inline(box, self.plan, pace, clock)
            return
        async with Processes.open(box, self.plan, pace, hosts) as ground:
            yield ground

    async def _meddled(self, ground: Ground, first: dict[str, Any]) -> None:
        if self.meddle is not None and isinstance(ground, Processes):
            await self.meddle(ground, first)

    async def _hash(self, file: Path) -> None:
        """Of the file, and of what a corrupt healer makes of it."""
        job = _core.Job()
        with self.progress.step("hashing", job):
            self._report.digest = await self.blocking.run(lambda: _core.hash_file(file, job), cancel=job.cancel)
        self._found.result_hash = to_base64(self._report.digest)
        if self.plan.scenario is Scenario.CORRUPT_HEALER:
            self._found.served_by_corrupt = to_base64(await self.blocking.run(partial(corrupt_digest, file)))

    def _params(self, pace: Pace) -> ChainParams:
        """A ticket that has come to an end is left alone, but where another healer is to follow."""
        is_followed = self.plan.scenario is Scenario.CORRUPT_HEALER
        return ChainParams(
            epoch_length=pace.epoch_blocks,
            deadline_epochs=pace.deadline_epochs,
            probation_epochs=1 if is_followed else LONG_PROBATION,
        )

    async def _register(self, box: Box, file: Path) -> Registered:
        with self._report.phase("register") as result:
            registered = await box.register(file, TICKET)
            geometry = registered.layout.geometry
            self._report.total, self._report.needed = geometry.total_symbols, geometry.source_symbols
            result.append(
                f"{geometry.total_symbols} symbols ({geometry.source_symbols} needed) and {len(registered.id_files)}"
                f" id files on {self.plan.nodes} nodes, {box.network.replicas} copies each"
            )
        return registered

    async def _destroy(self, box: Box, registered: Registered) -> Survivors:
        report = self._report
        with report.phase("disaster") as result:
            wanted = math.ceil(report.total * self.plan.surviving)
            if self.plan.scenario is Scenario.UNRECOVERABLE:
                wanted = report.needed - 1
            survivors = await destroy(
                box.network, registered, symbols=wanted, id_files=self.plan.surviving, rng=self._random
            )
            report.surviving = len(survivors.symbols)
            half = len(registered.id_files) // 2
            result.append(
                f"left: {len(survivors.symbols)} of {report.total} symbols, {len(survivors.layouts)} of {half} layout"
                f" files, {len(survivors.indexes)} of {half} index files"
            )
        return survivors

    async def _schedule(self, ground: Ground) -> dict[str, Any]:
        """Let the chain schedule the op."""
        with self._report.phase("schedule") as result:
            op = await ground.schedule(self._random.randrange(self.plan.nodes))
            if self.plan.scenario is Scenario.CORRUPT_HEALER:
                self._found.corrupt.add(op["healer"])
            result.append(f"healer {_short(op['healer'])}, verifiers {', '.join(map(_short, op['verifiers']))}")
        return op

    async def _follow(self, box: Box, ground: Ground, registered: Registered, survivors: Survivors) -> None:
        """Wait for the end of one op after another, until there is nothing more to wait for."""
        number, status = 0, HealOpStatus.FAILED
        while status is HealOpStatus.FAILED:
            number += 1
            with self._report.phase(f"op {number}: wait for the chain to draw a healer") as result:
                await ground.until(partial(_is_there, ground, number))
                op = (await ground.chronicle()).op(number)
                result.append(f"healer {_short(op['healer'] if op else '')}")
            status = await self._follow_op(ground, number)
            if status is not HealOpStatus.VERIFIED:
                held = await box.holders_left({*registered.layout.symbols, *registered.id_files})
                self._found.published_early += held - len(survivors.keys)
            if self.plan.scenario is not Scenario.CORRUPT_HEALER:
                return

    async def _follow_op(self, ground: Ground, number: int) -> HealOpStatus:
        async def status() -> HealOpStatus:
            return (await ground.chronicle()).status(number)

        async def is_claimed() -> bool:
            return await status() is not HealOpStatus.SCHEDULED

        async def is_final() -> bool:
            return await status() in FINAL_STATUSES

        async def is_over() -> bool:
            return ground.is_everyone_there and await ground.rows() + await self.blocking.run(self._directories) == 0

        with self._report.phase(f"op {number}: reconstruct, prove, stage, claim") as result:
            await ground.until(is_claimed)
            result += [f"{event.count} symbols fetched" for event in _seen(ground, What.RECONSTRUCTED, number)]
            result.append((await status()).name)
        if not await is_final():
            with self._report.phase(f"op {number}: verify") as result:
                await ground.until(is_final)
                votes = [vote for vote in (await ground.chronicle()).votes if vote["op"] == number]
                yes = sum(vote["verified"] for vote in votes)
                result.append(f"{yes} of {len(votes)} votes are yes: {(await status()).name}")
        end = await status()
        what = "publish" if end is HealOpStatus.VERIFIED else "remove what was staged"
        with self._report.phase(f"op {number}: {what}") as result:
            await ground.until(is_over)
            published = _seen(ground, What.PUBLISHED, number)
            result += [f"{event.count} values stored, a sample read back" for event in published]
            result.append("no row, no staging, no work area is left")
        return end

    def _directories(self) -> int:
        """How many stagings, work areas and set-aside stagings lie on the nodes' disks."""
        return sum(directories_in(self._staging(number)) for number in range(self.plan.nodes))

    def _staging(self, number: int) -> Path:
        """Where a node stages."""
        root = self.directory / "nodes" / str(number) / STAGING
        return own_staging(root, node_account(number)) if self.plan.processes else root

    async def _look_at_the_end(self, box: Box, chronicle: Chronicle, registered: Registered) -> None:
        """Find out what there is now, and what has been."""
        report, found = self._report, self._found
        report.ops, report.votes = found.ops, found.votes = chronicle.ops, chronicle.votes
        found.claims = chronicle.claims
        report.staging_left = found.stagings_left = await self.blocking.run(self._directories)
        holders = await box.network.holders([*registered.layout.symbols, *registered.id_files])
        found.copies.update(holders.values())
        report.publishes = found.publishes
        placed = sum(holders[key] >= box.network.replicas for key in registered.layout.symbols)
        report.published = placed if found.publishes else 0
        report.fetched = sum(event.count for _, event in found.events if event.what is What.RECONSTRUCTED) or max(
            (event.count for _, event in found.events if event.what is What.DEFERRED), default=0
        )

    async def _delete_survivors(self, box: Box, registered: Registered, survivors: Survivors) -> None:
        with self._report.phase("delete all survivors") as result:
            await box.network.delete(survivors.keys)
            left = await box.holders_left(survivors.keys)
            result.append(f"every copy of {len(survivors.keys)} keys deleted, {left} left")
            self._found.left_in_the_end = await box.holders_left({*registered.layout.symbols, *registered.id_files})

    async def _read_back(self, box: Box, registered: Registered) -> None:
        report = self._report
        with report.phase("read back") as result:
            failure = await box.read_back(registered, self.directory / "healed.bin")
            report.retrievable = self._found.is_retrievable = failure is None
            result.append(f"{report.size} bytes from what was published alone" if failure is None else "not there")
        report.ending = self._ending(failure)

    def _ending(self, failure: str | None) -> str:
        """How it ended, in a sentence."""
        if failure is None:
            return f"the bytes are equal, BLAKE3 {to_base64(self._report.digest)}"
        if self._found.ops and self._found.ops[-1]["status"] != HealOpStatus.VERIFIED.name:
            deferred = [event for _, event in self._found.events if event.what is What.DEFERRED]
            # The last one may only have run out of time: what was had says more.
            reasons = [event.text for event in sorted(deferred, key=lambda event: event.count)]
            return ": ".join([f"the last heal op ended {self._found.ops[-1]['status']}", *reasons[-1:]])
        return failure


def _short(account: str) -> str:
    return f"..{account[-6:]}"


async def _is_there(ground: Ground, number: int) -> bool:
    return (await ground.chronicle()).op(number) is not None


def _seen(ground: Ground, what: What, number: int) -> list[Event]:
    return [event for _, event in ground.events if event.what is what and event.op_id == number]
