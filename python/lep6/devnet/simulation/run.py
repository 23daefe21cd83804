"""One seed: everything is set up, goes wrong, and is held against what must be."""

import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, final

import trio
from attrs import define, field, frozen

from lep6.blocking import Inline
from lep6.cascade.text import to_base64
from lep6.devnet.box import Box, host_of
from lep6.devnet.chain import Chain, ChainClient, ChainParams, OpRecord
from lep6.devnet.chain.ops import FINAL_STATUSES
from lep6.devnet.disaster import Survivors, destroy
from lep6.devnet.interposed import InterposedChain
from lep6.devnet.network import EmbeddedNetwork, node_account, node_key
from lep6.devnet.node import Node, Surroundings
from lep6.devnet.registration import Registered
from lep6.devnet.simulation.chain_faults import FaultyConnection
from lep6.devnet.simulation.chance import (
    BLOCK_SECONDS,
    DEADLINE_EPOCHS,
    EPOCH_BLOCKS,
    WINDOW_SECONDS,
    Fault,
    Story,
    Weather,
)
from lep6.devnet.simulation.determinism import run
from lep6.devnet.simulation.disk_faults import FullDisk
from lep6.devnet.simulation.life import Life, Steps, Ties
from lep6.devnet.simulation.peer_faults import Streets, WatchedNetwork, spoil_peers
from lep6.devnet.simulation.pretenders import Foreigner, Naysayer
from lep6.devnet.simulation.witness import Witness
from lep6.devnet.stand_ins import CorruptArtefacts
from lep6.devnet.store import Behaviour
from lep6.grpc import Server, Service
from lep6.heal.settings import Settings
from lep6.model import EnforcementMode, HealOpStatus, Ticket
from lep6.observe import Unwatched
from lep6.ports import Chain as ChainPort
from lep6.secure_rpc import Credentials, Door, PeerRegistry

BEGINNING: Final = 1_800_000_000.0
"""Unix seconds when a run begins."""
ID_FILES: Final = 3
SMALL_CHUNK: Final = 16_384
"""So that small files, too, come in many chunks."""
LONGEST_RUN: Final = 8 * WINDOW_SECONDS
TIDY_SECONDS: Final = 240.0
"""After an op is final and the calm has begun, in which everything of it has to go."""


@final
@frozen
class SimulatedClock:
    """Wall-clock time that goes with the mock clock."""

    skew: float = 0.0

    def now(self) -> float:
        """See `Clock.now`."""
        return BEGINNING + trio.current_time() + self.skew


@final
@frozen
class Outcome:
    """How a run ended."""

    seed: int
    violations: tuple[str, ...]
    digest: str
    faults: int
    crashes: int
    ops: int
    verified: int
    used_up: int
    """Verifiers that had used up their attempts before the calm."""
    trace: tuple[str, ...] = field(repr=False)

    @classmethod
    def broken(cls, seed: int, why: str) -> "Outcome":
        """Of a run of which nothing else is known."""
        return cls(seed, (f"the run broke off: {why}",), "", 0, 0, 0, 0, 0, ())


def simulate(seed: int) -> Outcome:
    """Run a seed."""
    story = Story.of(seed)
    with tempfile.TemporaryDirectory(prefix="lep6-simulation-") as directory:
        simulation = Simulation(story, Path(directory))
        try:
            run(simulation.run, seed=seed, instruments=[Steps()])
        except Exception:  # noqa: BLE001 # a run that breaks off is one that fails
            simulation.witness.violations.append(f"the run broke off: {traceback.format_exc()}")
        return simulation.outcome()


@final
@define(eq=False)
class Simulation:
    """One run."""

    story: Story
    directory: Path
    weather: Weather = field(init=False)
    chain: Chain = field(init=False)
    witness: Witness = field(init=False)
    lives: list[Life] = field(init=False, factory=list)
    registered: dict[Ticket, Registered] = field(init=False, factory=dict)
    survivors: dict[Ticket, Survivors] = field(init=False, factory=dict)
    recoverable: set[Ticket] = field(init=False, factory=set)
    """Files that what survives suffices for."""
    _finals: dict[int, float] = field(init=False, factory=dict)
    """When each op was seen to be final."""

    def __attrs_post_init__(self) -> None:
        story = self.story
        self.weather = Weather(story, self._random("weather"))
        self.chain = Chain(
            genesis_params=ChainParams(
                epoch_length=EPOCH_BLOCKS,
                deadline_epochs=DEADLINE_EPOCHS,
                probation_epochs=1,
                verifier_count=story.verifiers,
            ),
            genesis_time=BEGINNING - 1,
        )
        self.witness = Witness(story, self.chain)

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.story.seed} {purpose}")  # noqa: S311 # chance that can be repeated

    async def run(self) -> None:
        """Tell the story."""
        rng = self._random("box")
        async with EmbeddedNetwork.open(
            self.directory / "box", blocking=Inline(), random=rng, nodes=self.story.nodes, replicas=self.story.replicas
        ) as network:
            box = Box(self.directory / "box", self.chain, network, Inline(), Unwatched(), rng)
            box.populate()
            for number, size in enumerate(self.story.sizes, 1):
                await self._lose_a_file(box, Ticket(str(number)), size)
            while not self.chain.state.ops:
                self.chain.make_block(BEGINNING)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(spoil_peers, network, self.weather)
                nursery.start_soon(self._change_mode)
                self._populate(box, nursery)
                await self._make_blocks()
                nursery.cancel_scope.cancel(reason="the story is over")
            self.witness.sees_the_end()
            self._check_liveness()
            await self._check_the_files(box)

    async def _lose_a_file(self, box: Box, ticket: Ticket, size: int) -> None:
        file = self.directory / f"file-{ticket}"
        file.write_bytes(box.random.randbytes(size))
        registered = await box.register(file, ticket, id_files=ID_FILES)
        self.registered[ticket] = registered
        self.witness.hashes[ticket] = to_base64(registered.layout.digest)
        keys = [*registered.layout.symbols, *registered.id_files]
        self.witness.tickets |= dict.fromkeys(keys, ticket)
        needed = registered.layout.geometry.source_symbols
        self.survivors[ticket] = await destroy(
            box.network, registered, symbols=max(0, needed + self.story.surplus), id_files=0.3, rng=box.random
        )
        # K symbols are enough nearly always, K and two more in all but one case of ten million (RFC 6330).
        if await box.read_back(registered, self.directory / f"checked-{ticket}") is None:
            self.recoverable.add(ticket)
        box.condemn(ticket)

    def _populate(self, box: Box, nursery: trio.Nursery) -> None:
        streets = Streets(self.weather)
        for number in range(self.story.nodes):
            account = node_account(number)
            self.witness.numbers[account] = number
            if number in self.story.foreigners:
                self._let_in_foreigner(number, streets, nursery)
                continue
            life = Life(
                account,
                host_of(number),
                self.directory / "nodes" / str(number),
                partial(self._tie, box, streets, number, self._random(f"node {number}")),
                self._served,
                streets,
                self.weather,
                self.witness,
                self._random(f"life {number}"),
                self.story.cuts,
            )
            life.directory.mkdir(parents=True)
            self.lives.append(life)
            nursery.start_soon(life.run)

    def _let_in_foreigner(self, number: int, streets: Streets, nursery: trio.Nursery) -> None:
        account = node_account(number)
        client = ChainClient(self.chain, account)
        foreigner = Foreigner(account, self.chain, client)
        door = Door(Server([foreigner]), Credentials(node_key(number)), PeerRegistry(client), as_ours=False)
        callers = streets.open_door(host_of(number))

        async def serve() -> None:
            async with trio.open_nursery() as handlers, callers:
                async for stream in callers:
                    handlers.start_soon(door.serve_stream, stream)

        nursery.start_soon(foreigner.run)
        nursery.start_soon(serve)

    def _tie(self, box: Box, streets: Streets, number: int, rng: Random, matters: Callable[[], None]) -> Ties:
        account = node_account(number)
        connection = FaultyConnection(account, self.chain, self.weather, self.witness, matters)
        client = ChainClient(self.chain, account, lag=connection.lag)
        chain: ChainPort = client
        if number in self.story.naysayers:
            chain = InterposedChain(client, Naysayer(client))
        others = WatchedNetwork(account, box.network.seen_from(account), self.witness)
        everything = WatchedNetwork(account, box.network, self.witness)
        skew = self.story.skew * (1 if number % 2 else -1)
        around = Surroundings(
            key=node_key(number),
            chain=InterposedChain(chain, connection),
            accounts=client,
            registrations=client,
            network=others,
            survivors=everything,
            connect=streets.connect,
            blocking=FullDisk(self.weather, matters),
            progress=Unwatched(),
            clock=SimulatedClock(skew),
            random=rng,
            settings=Settings(verifier_unreachable_policy=self.story.policy, block=BLOCK_SECONDS),
            watch=lambda event: None if connection.is_dead else self.witness.hears(account, event),
            strict_signatures=self.story.strict_signatures,
            chunk_size=SMALL_CHUNK,
        )
        return Ties(around, connection, (others, everything))

    def _served(self, node: Node) -> Service:
        is_liar = self.witness.numbers[node.account] in self.story.liars
        return CorruptArtefacts(node.artefacts) if is_liar else node.artefacts

    async def _change_mode(self) -> None:
        while not self.weather.is_calm:
            if trio.current_time() >= self.story.silent_from:
                self.chain.set_mode(EnforcementMode.UNSPECIFIED)
                return
            if self.weather.strikes(Fault.MODE):
                self.chain.set_mode(EnforcementMode.UNSPECIFIED)
                duration = self.weather.random.uniform(10.0, 120.0)
                await trio.sleep(max(0.0, min(duration, self.story.calm_from - trio.current_time())))
                self.chain.set_mode(self.weather.random.choice((EnforcementMode.SHADOW, EnforcementMode.FULL)))
            await trio.sleep(30.0)

    async def _make_blocks(self) -> None:
        """Make blocks until everything has come to its end, or for too long."""
        clock = SimulatedClock()
        while trio.current_time() < LONGEST_RUN:
            await trio.sleep(BLOCK_SECONDS)
            self.chain.make_block(clock.now())
            self.witness.sees_block()
            for life in self.lives:
                if life.node is not None:
                    self.witness.sees_stagings(life.account, life.stagings())
            for op in self.chain.state.ops.values():
                if op.status in FINAL_STATUSES:
                    self._finals.setdefault(op.op_id, trio.current_time())
            await self._look_for_leaks()
            if self.weather.is_calm and self._is_told() and not await self._rests():
                return
        self.witness.blame("the story", f"is not over after {LONGEST_RUN:.0f} s")

    def _is_told(self) -> bool:
        """Whether each file has come to its end: healed, or lost with its first op."""
        if self.story.is_silent:
            return all(op.status in FINAL_STATUSES for op in self.chain.state.ops.values())
        return all(
            any(op.status is HealOpStatus.VERIFIED for op in self._ops_of(ticket))
            or (ticket not in self.recoverable and self._ops_of(ticket)[0].status in FINAL_STATUSES)
            for ticket in self.registered
        )

    def _ops_of(self, ticket: Ticket) -> list[OpRecord]:
        return [op for op in self.chain.state.ops.values() if op.ticket == ticket]

    async def _rests(self) -> list[tuple[Life, int]]:
        """What nodes still have of ops that are final; all nodes have to be there."""
        rests = []
        for life in self.lives:
            if life.node is None:
                return [(life, 0)]
            entries = await life.node.service.ledger.entries()
            names = await life.node.service.disk.names()
            named = {*map(int, names.staged), *map(int, names.rests)}
            known = {*entries.claims, *entries.intents, *entries.verifications, *named}
            rests += [(life, op_id) for op_id in sorted(known) if op_id in self._finals]
        return rests

    async def _look_for_leaks(self) -> None:
        if trio.current_time() < self.story.calm_from + TIDY_SECONDS:
            return
        for life, op_id in await self._rests():
            final = self._finals.get(op_id)
            if final is not None and trio.current_time() - final > 2 * WINDOW_SECONDS:
                self.witness.blame(self.witness.name(life.account), f"still has something of op {op_id}")
                del self._finals[op_id]

    def _check_liveness(self) -> None:
        for op in self.chain.state.ops.values():
            if op.status in FINAL_STATUSES and self._has_to_succeed(op) and op.status is not HealOpStatus.VERIFIED:
                self.witness.blame("the story", f"op {op.op_id} ended {op.status.name}, though it could be healed")

    def _has_to_succeed(self, op: OpRecord) -> bool:
        """Whether an op has K survivors, an honest healer and majority, and calm from half of its window on."""
        begins = (op.created_height - self._first_height()) * BLOCK_SECONDS
        honest = [
            verifier
            for verifier in op.verifiers
            if self.witness.numbers[verifier] not in self.story.naysayers | self.story.foreigners
            and (verifier, op.op_id) not in self.witness.used_up
        ]
        return (
            op.ticket in self.recoverable
            and not self.story.is_silent
            and self.witness.numbers[op.healer] not in self.story.liars
            and len(honest) >= op.majority
            and begins + WINDOW_SECONDS / 2 >= self.story.calm_from
        )

    def _first_height(self) -> int:
        return min(op.created_height for op in self.chain.state.ops.values())

    async def _check_the_files(self, box: Box) -> None:
        """Delete every copy of all that survived; what was healed has to be there."""
        for node in box.network.nodes:
            await node.behave(Behaviour())
        for ticket, registered in self.registered.items():
            verified = [op for op in self._ops_of(ticket) if op.status is HealOpStatus.VERIFIED]
            if not verified or any(self.witness.numbers[op.healer] in self.story.foreigners for op in verified):
                continue
            if not any((op.healer, op.op_id) in self.witness.published for op in verified):
                self.witness.blame("the story", f"ticket {ticket} is VERIFIED, and was not published")
            await box.network.delete(self.survivors[ticket].keys)
            failure = await box.read_back(registered, self.directory / f"healed-{ticket}")
            if failure is not None:
                self.witness.blame("the story", f"ticket {ticket} cannot be read back: {failure}")

    def outcome(self) -> Outcome:
        """What came of it."""
        ops = self.chain.state.ops.values()
        return Outcome(
            seed=self.story.seed,
            violations=tuple(self.witness.violations),
            digest=self.witness.digest,
            faults=sum(self.weather.counts.values()),
            crashes=self.weather.counts[Fault.CRASH],
            ops=len(ops),
            verified=sum(op.status is HealOpStatus.VERIFIED for op in ops),
            used_up=len(self.witness.used_up),
            trace=tuple(self.witness.trace),
        )
