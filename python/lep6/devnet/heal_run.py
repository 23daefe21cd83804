"""Runs a scenario: a chain by the clock, nodes that really heal, one file."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, final

import trio
from attrs import define, field

from lep6 import _core
from lep6.beside import beside
from lep6.blocking import WallClock
from lep6.cascade.staging import WORK_DIRECTORY
from lep6.cascade.text import to_base64
from lep6.chain import LumeraChain
from lep6.devnet.box import Box
from lep6.devnet.chain import Chain, ChainClient, ChainParams, OpRecord
from lep6.devnet.chain.ops import FINAL_STATUSES
from lep6.devnet.chain_server import ChainServer
from lep6.devnet.disaster import Survivors, destroy
from lep6.devnet.interposed import InterposedChain
from lep6.devnet.judgement import Evidence, complaints
from lep6.devnet.loopback import Blocks, Life
from lep6.devnet.network import EmbeddedNetwork, node_account, node_key
from lep6.devnet.node import STAGING, Node, Surroundings, open_node
from lep6.devnet.registration import Registered
from lep6.devnet.scenario import Pace, Plan, Report, Scenario, Talk
from lep6.devnet.stand_ins import CorruptArtefacts, DiesAfterInclusion, corrupt_digest
from lep6.grpc import Address, Service
from lep6.heal.events import Event, What
from lep6.heal.settings import Settings
from lep6.model import HealOpStatus, Ticket
from lep6.observe import NamedProgress, Progress
from lep6.ports import Blocking
from lep6.ports import Chain as ChainPort

TICKET: Final = Ticket("1")
TIMEOUT_BLOCKS: Final = 10
"""Blocks that a transaction has to be included."""
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
    _report: Report = field(init=False)
    _random: Random = field(init=False)
    _lives: dict[str, Life] = field(init=False, factory=dict)
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
        pace = Pace.for_size(report.size)
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
            box.populate()
            registered = await self._register(box, file)
            survivors = await self._destroy(box, registered)
            first = self._schedule(box)
            blocks = Blocks(chain, pace.block_seconds, clock)
            async with (
                beside(blocks.run),
                self._clients(box) as clients,
                beside(partial(self._live, box, pace, first, clients), stop=self._stop),
            ):
                with trio.move_on_after(pace.window_seconds * PATIENCE_WINDOWS):
                    await self._follow(box, blocks, registered, survivors)
                    self._found.is_over = True
                self._found.rows_left = await self._rows()
            await self._look_at_the_end(box, registered)
            await self._delete_survivors(box, registered, survivors)
            await self._read_back(box, registered)
            await self.blocking.run(lambda: box.save_chain(self.directory / "chain.json"))
        report.complaints = complaints(self._found)
        return report

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

    def _schedule(self, box: Box) -> OpRecord:
        """Let the chain go on, without waiting, to the end of an epoch at which it schedules the op."""
        with self._report.phase("schedule") as result:
            time = box.chain.state.time
            for _ in range(self._random.randrange(self.plan.nodes) * box.chain.state.params.epoch_length):
                box.chain.make_block(time)
            box.condemn(TICKET)
            while not box.chain.state.ops:
                box.chain.make_block(time)
            (op,) = box.chain.state.ops.values()
            if self.plan.scenario is Scenario.CORRUPT_HEALER:
                self._found.corrupt.add(op.healer)
            result.append(f"healer {_short(op.healer)}, verifiers {', '.join(map(_short, op.verifiers))}")
        return op

    @asynccontextmanager
    async def _clients(self, box: Box) -> AsyncIterator[list[LumeraChain | ChainClient]]:
        """The chain as each node uses it."""
        numbers = range(self.plan.nodes)
        if self.plan.talk is Talk.INLINE:
            yield [ChainClient(box.chain, node_account(number)) for number in numbers]
            return
        async with AsyncExitStack() as stack:
            server = ChainServer(box.chain, block_seconds=None)
            host, port = await stack.enter_async_context(server.listening())
            address = Address(host, port, tls=False)
            yield [
                await stack.enter_async_context(
                    LumeraChain.open(
                        [address],
                        box.chain.chain_id,
                        node_key(number),
                        random=Random(number),  # noqa: S311 # of pauses between attempts to connect
                        timeout_blocks=TIMEOUT_BLOCKS,
                    )
                )
                for number in numbers
            ]

    async def _live(self, box: Box, pace: Pace, first: OpRecord, clients: Sequence[LumeraChain | ChainClient]) -> None:
        """Let the nodes live that are to live in this scenario."""
        away = first.verifiers if self.plan.scenario is Scenario.NO_QUORUM else ()
        async with trio.open_nursery() as nursery:
            for number, store in enumerate(box.network.nodes):
                if store.account in away:
                    nursery.start_soon(self._visit, box, pace, number, clients[number])
                else:
                    is_dying = self.plan.scenario is Scenario.HEALER_RESTART and store.account == first.healer
                    life = self._life(box, pace, number, clients[number], is_dying=is_dying)
                    self._lives[store.account] = life
                    nursery.start_soon(life.run)

    async def _visit(self, box: Box, pace: Pace, number: int, client: LumeraChain | ChainClient) -> None:
        """Open a node that stays away, so that it has its files, and leave it."""
        life = self._life(box, pace, number, client, is_dying=False)
        async with open_node(life.data, life.around) as node:
            await node.service.disk.sweep()

    def _life(
        self,
        box: Box,
        pace: Pace,
        number: int,
        client: LumeraChain | ChainClient,
        *,
        is_dying: bool,
    ) -> Life:
        account = box.network.nodes[number].account
        chain: ChainPort = client
        if is_dying:
            chain = InterposedChain(client, DiesAfterInclusion(lambda: self._lives[account].die()))  # noqa: PLW0108
        around = Surroundings(
            key=node_key(number),
            chain=chain,
            accounts=client,
            registrations=client,
            network=box.network.seen_from(account),
            survivors=box.network,
            connect=trio.open_tcp_stream,
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
            watch=lambda event: self._found.events.append((account, event)),
        )
        return Life(self.directory / "nodes" / str(number), around, box.chain, self._served)

    def _served(self, node: Node) -> Service:
        return CorruptArtefacts(node.artefacts) if node.account in self._found.corrupt else node.artefacts

    def _stop(self) -> None:
        for life in self._lives.values():
            life.stop()

    async def _follow(self, box: Box, blocks: Blocks, registered: Registered, survivors: Survivors) -> None:
        """Wait for the end of one op after another, until there is nothing more to wait for."""
        number, status = 0, HealOpStatus.FAILED
        while status is HealOpStatus.FAILED:
            number += 1
            with self._report.phase(f"op {number}: wait for the chain to draw a healer") as result:
                await blocks.until(partial(_is_there, box, number))
                result.append(f"healer {_short(box.chain.state.ops[number].healer)}")
            status = await self._follow_op(box, blocks, number)
            if status is not HealOpStatus.VERIFIED:
                held = await box.holders_left({*registered.layout.symbols, *registered.id_files})
                self._found.published_early += held - len(survivors.keys)
            if self.plan.scenario is not Scenario.CORRUPT_HEALER:
                return

    async def _follow_op(self, box: Box, blocks: Blocks, number: int) -> HealOpStatus:
        async def is_claimed() -> bool:
            return box.chain.state.ops[number].status is not HealOpStatus.SCHEDULED

        async def is_final() -> bool:
            return box.chain.state.ops[number].status in FINAL_STATUSES

        async def is_over() -> bool:
            is_everyone_there = all(life.node is not None for life in self._lives.values())
            return is_everyone_there and await self._rows() + await self.blocking.run(self._directories) == 0

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
        return [event for _, event in self._found.events if event.what is what and event.op_id == number]

    async def _rows(self) -> int:
        """How many rows the living nodes have of heal ops."""
        rows = 0
        for life in self._lives.values():
            if life.node is not None:
                entries = await life.node.service.ledger.entries()
                rows += len(entries.claims) + len(entries.intents) + len(entries.verifications)
        return rows

    def _directories(self) -> int:
        """How many stagings, work areas and set-aside stagings lie on the nodes' disks."""
        roots = [self.directory / "nodes" / str(number) / STAGING for number in range(self.plan.nodes)]
        return sum(path.name != WORK_DIRECTORY for root in roots for path in root.glob("*")) + sum(
            1 for root in roots for _ in root.glob(f"{WORK_DIRECTORY}/*")
        )

    async def _look_at_the_end(self, box: Box, registered: Registered) -> None:
        """Find out what there is now, and what has been."""
        report, found = self._report, self._found
        report.ops, report.votes = found.ops, found.votes = box.ops(), box.votes()
        found.claims = box.claims()
        found.deaths = sum(life.deaths for life in self._lives.values())
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


async def _is_there(box: Box, number: int) -> bool:
    return number in box.chain.state.ops
