"""Runs a scenario: a chain by the clock, nodes that really heal, one file."""

import math
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, final

import trio
from attrs import define, field

from lep6 import _core
from lep6.beside import beside
from lep6.blocking import WallClock
from lep6.cascade.text import to_base64
from lep6.devnet.box import Box
from lep6.devnet.chain import Chain, ChainClient, ChainParams, OpRecord
from lep6.devnet.disaster import Survivors, destroy
from lep6.devnet.interposed import InterposedChain
from lep6.devnet.loopback import Blocks, Directory, Life
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.node import STAGING, Node, Surroundings
from lep6.devnet.registration import Registered
from lep6.devnet.scenario import Pace, Plan, Report, Scenario
from lep6.devnet.stand_ins import CorruptArtefacts, DiesAfterInclusion
from lep6.grpc import Service
from lep6.heal.decisions import FINAL
from lep6.heal.events import Event, What
from lep6.heal.settings import Settings
from lep6.model import HealOpStatus, Ticket
from lep6.observe import NamedProgress, Progress
from lep6.ports import Blocking
from lep6.ports import Chain as ChainPort

TICKET: Final = Ticket("1")
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
    _report: Report = field(init=False)
    _random: Random = field(init=False)
    _lives: dict[str, Life] = field(init=False, factory=dict)
    _events: list[tuple[str, Event]] = field(init=False, factory=list)
    _corrupt: set[str] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self._report = Report(plan=self.plan)
        self._random = Random(self.plan.seed)  # noqa: S311 # chance that can be repeated

    async def run(self, file: Path) -> Report:
        """Tell the story of this file.

        Raises:
            InvalidArtefact: it is not a file that Cascade keeps.
        """
        report, job = self._report, _core.Job()
        with self.progress.step("hashing", job):
            report.digest = await self.blocking.run(lambda: _core.hash_file(file, job), cancel=job.cancel)
        report.size = (await self.blocking.run(file.stat)).st_size
        pace = Pace.for_size(report.size)
        report.pace = str(pace)
        clock = WallClock()
        async with EmbeddedNetwork.open(
            self.directory,
            blocking=self.blocking,
            random=self._random,
            nodes=self.plan.nodes,
            replicas=self.plan.replicas,
        ) as network:
            params = ChainParams(
                epoch_length=pace.epoch_blocks, deadline_epochs=pace.deadline_epochs, probation_epochs=1
            )
            chain = Chain(genesis_params=params, genesis_time=clock.now())
            box = Box(self.directory, chain, network, self.blocking, self.progress, self._random)
            box.populate()
            registered = await self._register(box, file)
            survivors = await self._destroy(box, registered)
            first = self._schedule(box)
            blocks = Blocks(chain, pace.block_seconds, clock)
            async with beside(blocks.run), beside(partial(self._live, box, pace, first), stop=self._stop):
                with trio.move_on_after(pace.window_seconds * PATIENCE_WINDOWS):
                    await self._follow(box, blocks)
            report.staging_left = await self.blocking.run(self._stagings)
            await self._delete_survivors(box, survivors)
            await self._read_back(box, registered)
            report.ops, report.votes = box.ops(), box.votes()
            await self.blocking.run(lambda: box.save_chain(self.directory / "chain.json"))
        self._judge()
        return report

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

    def _schedule(self, box: Box) -> OpRecord:
        """Let the chain go on, without waiting, to the end of an epoch at which it schedules the op."""
        with self._report.phase("schedule") as result:
            box.condemn(TICKET)
            time = box.chain.state.time
            while not box.chain.state.ops:
                time += 1e-3
                box.chain.make_block(time)
            (op,) = box.chain.state.ops.values()
            if self.plan.scenario is Scenario.CORRUPT_HEALER:
                self._corrupt.add(op.healer)
            result.append(f"healer {_short(op.healer)}, verifiers {', '.join(map(_short, op.verifiers))}")
        return op

    async def _live(self, box: Box, pace: Pace, first: OpRecord) -> None:
        """Let the nodes live that are to live in this scenario."""
        directory = Directory()
        away = first.verifiers if self.plan.scenario is Scenario.NO_QUORUM else ()
        async with trio.open_nursery() as nursery:
            for number, store in enumerate(box.network.nodes):
                if store.account not in away:
                    is_dying = self.plan.scenario is Scenario.HEALER_RESTART and store.account == first.healer
                    life = self._life(box, pace, directory, number, is_dying=is_dying)
                    self._lives[store.account] = life
                    nursery.start_soon(life.run)

    def _life(self, box: Box, pace: Pace, directory: Directory, number: int, *, is_dying: bool) -> Life:
        account = box.network.nodes[number].account
        client = ChainClient(box.chain, account)
        chain: ChainPort = client
        if is_dying:
            chain = InterposedChain(client, DiesAfterInclusion(lambda: self._lives[account].die()))  # noqa: PLW0108
        around = Surroundings(
            chain=chain,
            accounts=client,
            network=box.network.seen_from(account),
            survivors=box.network,
            connect=directory.connect,
            blocking=self.blocking,
            progress=NamedProgress(self.progress, f"node {number}"),
            clock=WallClock(),
            random=Random(self.plan.seed * 1000 + number),  # noqa: S311 # chance that can be repeated
            settings=Settings(
                tick=pace.block_seconds * 2,
                poll=pace.block_seconds,
                query=5.0,
                backoff=0.2,
                longest_backoff=1.0,
                block=pace.block_seconds,
                drain=1.0,
            ),
            watch=lambda event: self._events.append((account, event)),
        )
        return Life(account, self.directory / "nodes" / str(number), around, directory, self._served)

    def _served(self, node: Node) -> Service:
        return CorruptArtefacts(node.artefacts) if node.account in self._corrupt else node.artefacts

    def _stop(self) -> None:
        for life in self._lives.values():
            life.stop()

    async def _follow(self, box: Box, blocks: Blocks) -> None:
        """Wait for the end of one op after another, until there is nothing more to wait for."""
        number, status = 0, HealOpStatus.FAILED
        while status is HealOpStatus.FAILED:
            number += 1
            with self._report.phase(f"op {number}: wait for the chain to draw a healer") as result:
                await blocks.until(partial(_is_there, box, number))
                result.append(f"healer {_short(box.chain.state.ops[number].healer)}")
            status = await self._follow_op(box, blocks, number)
            if self.plan.scenario is not Scenario.CORRUPT_HEALER:
                return

    async def _follow_op(self, box: Box, blocks: Blocks, number: int) -> HealOpStatus:
        async def is_claimed() -> bool:
            return box.chain.state.ops[number].status is not HealOpStatus.SCHEDULED

        async def is_final() -> bool:
            return box.chain.state.ops[number].status in FINAL

        async def is_over() -> bool:
            return await self._rests() == 0

        with self._report.phase(f"op {number}: reconstruct, prove, stage, claim") as result:
            await blocks.until(is_claimed)
            result += [f"{event.count} symbols fetched" for event in self._seen(What.RECONSTRUCTED, number)]
            result.append(box.chain.state.ops[number].status.name)
        if not await is_final():
            with self._report.phase(f"op {number}: verify") as result:
                await blocks.until(is_final)
                votes = [vote for vote in box.votes() if vote["op"] == number]
                yes = sum(vote["verified"] for vote in votes)
                result.append(f"{yes} of {len(votes)} votes are yes: {box.chain.state.ops[number].status.name}")
        status = box.chain.state.ops[number].status
        what = "publish" if status is HealOpStatus.VERIFIED else "remove what was staged"
        with self._report.phase(f"op {number}: {what}") as result:
            await blocks.until(is_over)
            published = self._seen(What.PUBLISHED, number)
            result += [f"{event.count} values stored, a sample read back" for event in published]
            result.append("no row, no staging, no work area is left")
        return status

    def _seen(self, what: What, number: int) -> list[Event]:
        return [event for _, event in self._events if event.what is what and event.op_id == number]

    async def _rests(self) -> int:
        """How many rows, stagings and work areas the living nodes have."""
        rests = 0
        for life in self._lives.values():
            if life.node is not None:
                entries, names = await life.node.service.ledger.entries(), await life.node.service.disk.names()
                rests += len(entries.claims) + len(entries.intents) + len(entries.verifications)
                rests += len(names.staged) + len(names.rests)
        return rests

    def _stagings(self) -> int:
        roots = [self.directory / "nodes" / str(number) / STAGING for number in range(self.plan.nodes)]
        return sum(not path.name.startswith(".") for root in roots if root.is_dir() for path in root.iterdir())

    async def _delete_survivors(self, box: Box, survivors: Survivors) -> None:
        with self._report.phase("delete all survivors") as result:
            await box.network.delete(survivors.keys)
            left = await box.holders_left(survivors.keys)
            result.append(f"every copy of {len(survivors.keys)} keys deleted, {left} left")

    async def _read_back(self, box: Box, registered: Registered) -> None:
        report = self._report
        with report.phase("read back") as result:
            failure = await box.read_back(registered, self.directory / "healed.bin")
            report.retrievable = failure is None
            digest = to_base64(report.digest)
            report.ending = failure or f"the bytes are equal, BLAKE3 {digest}"
            result.append(f"{report.size} bytes from what was published alone" if failure is None else "not there")

    def _judge(self) -> None:
        """Whether it ended as its scenario says."""
        report, scenario = self._report, self.plan.scenario
        fetched = sum(event.count for _, event in self._events if event.what is What.RECONSTRUCTED)
        report.fetched = fetched or max((event.count for _, event in self._events), default=0)
        report.publishes = sum(event.what is What.PUBLISHED for _, event in self._events)
        values = max((event.count for _, event in self._events if event.what is What.PUBLISHED), default=0)
        report.published = report.total if values else 0
        statuses = [op["status"] for op in report.ops]
        claims = {event.op_id for _, event in self._events if event.what is What.ACCEPTED and event.text == "claim"}
        is_clean = report.staging_left == 0
        if scenario.ends_verified:
            done = statuses.index("VERIFIED") if "VERIFIED" in statuses else len(statuses)
            deaths = sum(life.deaths for life in self._lives.values())
            report.ended_as_expected = (
                is_clean
                and report.retrievable
                and report.publishes == 1
                and statuses[done:] == ["VERIFIED"]
                and all(status == "FAILED" for status in statuses[:done])
                and (done > 0) == (scenario is Scenario.CORRUPT_HEALER)
                and deaths == (scenario is Scenario.HEALER_RESTART)
            )
        else:
            report.ended_as_expected = (
                is_clean
                and not report.retrievable
                and report.publishes == 0
                and statuses[:1] == ["EXPIRED"]
                and bool(claims) == (scenario is Scenario.NO_QUORUM)
            )


def _short(account: str) -> str:
    return f"…{account[-6:]}"


async def _is_there(box: Box, number: int) -> bool:
    return number in box.chain.state.ops
