"""A world in which nodes heal: a chain in a box with a block every six seconds, a network, and a file in danger.

Nodes are those of the devnet, with real ledgers, stagings and artefact servers; connections are streams in memory,
blocking work runs inline, time is Trio's mock clock. Faults go between a node and what it calls.
"""

import inspect
import os
import random
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
import trio.testing
from attrs import define, evolve, field, frozen
from structlog.testing import capture_logs

from artefact_stream.ends import Answer, Asked, Play, Scripted, ask_over
from lep6.cascade.staging import MANIFEST
from lep6.cascade.text import to_base64
from lep6.devnet.box import Box
from lep6.devnet.chain import Chain, ChainClient, ChainParams, OpRecord, Tx
from lep6.devnet.disaster import Survivors, destroy
from lep6.devnet.interposed import InterposedChain
from lep6.devnet.network import EmbeddedNetwork, node_key
from lep6.devnet.node import LEDGER, STAGING, Node, Surroundings, open_node
from lep6.devnet.registration import Registered
from lep6.errors import ChainUnavailable, FetchFailed, FetchFailure
from lep6.grpc import Server, Service
from lep6.heal.events import Event, What
from lep6.heal.ledger import Entries, Ledger
from lep6.heal.settings import Settings
from lep6.model import HealOp, HealOpStatus, Key, Ticket
from lep6.ports import Network, Placement, Retrieval, Sink
from lep6.secure_rpc import Credentials, Dialer, Door, PeerRegistry
from lep6.transaction import Claim, Indeterminate, Message, Refused, Transaction, Vote
from world import BLOCKING, PROGRESS, MockWallClock, noise

BLOCK = 6.0
EPOCH = 20
ROOM = 1 << 29
"""Bytes that a world may need, with what a staging wants to be free."""
TICKET = Ticket("7")
DATA = noise(200_000)
"""Four symbols, and twenty in all."""
OTHER_HASH = to_base64(bytes(range(32)))

Effect = Callable[[], Awaitable[Any]]
Hook = Callable[[Any, Effect], Awaitable[Any]]
"""What happens with a call: its first argument, and the call."""


class Death(BaseException):
    """The process of a node ends here: nothing more of it touches the disk."""


# Faults.


async def away(_: Any, __: Effect) -> Any:
    """Nobody answers a query."""
    raise ChainUnavailable("nobody answers")


async def hang(_: Any, __: Effect) -> Any:
    """No answer ever comes."""
    await trio.sleep_forever()


async def unsure(_: Any, __: Effect) -> Any:
    """It was not done, and nobody says so."""
    await trio.lowlevel.checkpoint()
    return Indeterminate()


async def answer_lost(_: Any, call: Effect) -> Any:
    """It was done, and nobody says so."""
    await call()
    return Indeterminate()


def answering(answer: Any) -> Hook:
    """The answer is always this."""

    async def hook(_: Any, __: Effect) -> Any:
        await trio.lowlevel.checkpoint()
        return answer

    return hook


def raising(error: BaseException) -> Hook:
    async def hook(_: Any, __: Effect) -> Any:
        await trio.lowlevel.checkpoint()
        raise error

    return hook


def first(times: int, hook: Hook) -> Hook:
    """So often, then no more."""
    left = times

    async def limited(argument: Any, call: Effect) -> Any:
        nonlocal left
        left -= 1
        return await (hook(argument, call) if left >= 0 else call())

    return limited


def where(condition: Callable[[Any], bool], hook: Hook) -> Hook:
    """Only for arguments of which this is so."""

    async def limited(argument: Any, call: Effect) -> Any:
        return await (hook(argument, call) if condition(argument) else call())

    return limited


@define(eq=False)
class Fuse:
    """Ends a node at one of the calls that it makes for an op, before or after that has its effect."""

    at: int
    is_after: bool
    is_death: bool
    """Whether the process is gone at once; else its tasks are cancelled."""
    stop: Callable[[], None]
    passed: int = 0
    is_dead: bool = False

    async def carry(self, call: Effect, *, is_kept: bool) -> Any:
        """Make a call. `is_kept`: once it is made its answer comes, whatever is cancelled meanwhile."""
        if self.is_dead:
            raise Death
        if not trio.lowlevel.current_task().name.endswith("HealService._walk"):
            return await call()
        self.passed += 1
        is_here = self.passed == self.at
        if is_here and not self.is_after:
            await self._blow(is_kept=False)
        result = await call()
        if is_here and self.is_after:
            await self._blow(is_kept=is_kept)
        return result

    async def _blow(self, *, is_kept: bool) -> None:
        if self.is_death:
            self.is_dead = True
            raise Death
        self.stop()
        if not is_kept:
            await trio.lowlevel.checkpoint()


@define(eq=False, repr=False)
class Passage:
    """What every call of a node to chain, network and disk goes through. It is a `Between`, and a `Blocking`."""

    hooks: dict[str, Hook] = field(factory=dict)
    """By the name of the method."""
    fuse: Fuse | None = None
    calls: list[tuple[str, Any]] = field(factory=list)

    async def __call__(self, name: str, argument: Any, call: Effect, /, *, is_kept: bool = False) -> Any:
        self.calls.append((name, argument))
        hook = self.hooks.get(name)

        async def effect() -> Any:
            return await (call() if hook is None else hook(argument, call))

        return await (effect() if self.fuse is None else self.fuse.carry(effect, is_kept=is_kept))

    async def run(self, work: Callable[[], Any], /, *, cancel: Callable[[], object] | None = None) -> Any:
        return await self("blocking", work, lambda: BLOCKING.run(work), is_kept=cancel is None)

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)


@frozen(eq=False)
class PassedNetwork:
    """A network whose calls go through a passage."""

    inner: Network
    passage: Passage

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        return await self.passage("retrieve", keys, lambda: self.inner.retrieve(keys, need=need, sink=sink))

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        return await self.passage("store", items, lambda: self.inner.store(items))


# Sources.

Attempt = Callable[[HealOp], AsyncGenerator[bytes, None]]


async def honest(_: HealOp) -> AsyncIterator[bytes]:
    """The file."""
    yield DATA[:100_000]
    await trio.lowlevel.checkpoint()
    yield DATA[100_000:]


async def wrong_byte(_: HealOp) -> AsyncIterator[bytes]:
    """A file of the right size that is another."""
    yield DATA[:-1]
    yield bytes([DATA[-1] ^ 1])


def failing(kind: FetchFailure, *, after: int = 0) -> Attempt:
    """Fails so, after some bytes."""

    async def attempt(_: HealOp) -> AsyncIterator[bytes]:
        if after:
            yield DATA[:after]
        await trio.lowlevel.checkpoint()
        raise FetchFailed(kind, "10.1.2.3:4444 /home/operator\n\x1b[31m said no")

    return attempt


@define(eq=False)
class ScriptedSource:
    """Does at each attempt what it is told, the last thing for ever. It is an `ArtefactSource`."""

    script: list[Attempt]
    opened: list[tuple[float, HealOp]] = field(factory=list)
    """When, and for which op."""
    at_once: int = 0
    most_at_once: int = 0

    @asynccontextmanager
    async def open(self, op: HealOp, /, *, size_bound: int) -> AsyncIterator[AsyncIterator[bytes]]:
        attempt = self.script[min(len(self.opened), len(self.script) - 1)]
        self.opened.append((trio.current_time(), op))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.lowlevel.checkpoint()
            async with aclosing(attempt(op)) as chunks:
                yield chunks
        finally:
            self.at_once -= 1


# Nodes.


@define(eq=False, repr=False)
class Life:
    """A node that is started, killed and started again from its directory."""

    world: "HealingWorld"
    account: str
    directory: Path
    client: ChainClient
    settings: Settings
    passage: Passage = field(factory=Passage)
    serves: Callable[[Node], Service] = lambda node: node.artefacts
    source: ScriptedSource | None = None
    """In the place of the healer's artefact server, for this node's verifier."""
    events: list[Event] = field(factory=list)
    node: Node | None = None
    connections: trio.Nursery | None = None
    door: Door | None = None
    _scope: trio.CancelScope = field(factory=trio.CancelScope)
    _stopping: trio.Event = field(factory=trio.Event)
    _ended: trio.Event = field(factory=trio.Event)

    async def start(self) -> None:
        """Start, or start again: what a process remembers is gone."""
        self.client = evolve(self.client)
        self._scope, self._stopping, self._ended = trio.CancelScope(), trio.Event(), trio.Event()
        await self.world.nursery.start(self._live)

    async def kill(self) -> None:
        """Cancel all that it does."""
        self._scope.cancel(reason="killed")
        await self._ended.wait()

    def cut(self) -> None:
        """As `kill`, without waiting for the end."""
        self._scope.cancel(reason="cut")

    async def stop(self) -> float:
        """Stop in order; how many seconds it took."""
        begun = trio.current_time()
        self._stopping.set()
        await self._ended.wait()
        return trio.current_time() - begun

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._scope:
                await self._run(task_status)
        except* Death:
            _close_locks(self.directory)
        finally:
            self.node = self.connections = self.door = None
            self._ended.set()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with open_node(self.directory, self._around()) as node, trio.open_nursery() as connections:
            if self.source is not None:
                node.service._verifier.source = self.source
            self.node, self.connections, self.door = node, connections, node.door(self.serves(node))
            async with node.service.running():
                task_status.started()
                await self._stopping.wait()
            connections.cancel_scope.cancel(reason="the node stops")

    def _around(self) -> Surroundings:
        network = self.world.network
        return Surroundings(
            key=node_key(self.world.accounts.index(self.account)),
            chain=InterposedChain(InterposedChain(self.client, self.world.overhear), self.passage),
            accounts=self.client,
            registrations=self.client,
            network=PassedNetwork(network.seen_from(self.account), self.passage),
            survivors=PassedNetwork(network, self.passage),
            connect=partial(self.world.connect, self.account),
            blocking=self.passage,
            progress=PROGRESS,
            clock=MockWallClock(),
            random=random.Random(self.account),
            settings=self.settings,
            watch=self.events.append,
        )

    # Looking at it

    async def entries(self) -> Entries:
        """What its ledger says."""
        async with Ledger.open(self.directory / LEDGER, self.account, BLOCKING) as ledger:
            return await ledger.entries()

    def staging(self, op_id: int) -> Path:
        return self.directory / STAGING / str(op_id)

    def is_staged(self, op_id: int = 1) -> bool:
        return (self.staging(op_id) / MANIFEST).exists()

    def manifest(self, op_id: int = 1) -> bytes:
        """What tells a staging from any other of the same file."""
        return (self.staging(op_id) / MANIFEST).read_bytes()

    def on_disk(self) -> set[str]:
        """All that lies below its staging root, but for an empty place of work areas."""
        root = self.directory / STAGING
        names = {path.name for path in root.iterdir()} if root.is_dir() else set()
        work = root / ".work"
        if work.is_dir():
            names |= {f".work/{path.name}" for path in work.iterdir()}
        return names - {".work"}

    async def is_clean(self) -> bool:
        """Whether it remembers and has nothing of any op."""
        if self.on_disk():
            return False
        entries = await self.entries()
        return not (entries.claims or entries.intents or entries.verifications)

    def seen(self, what: What, op_id: int | None = None) -> list[Event]:
        return [event for event in self.events if event.what is what and op_id in (None, event.op_id)]


def _close_locks(directory: Path) -> None:
    """A process that is gone holds no locks; ours is still there."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if entry.readlink().is_relative_to(directory):
                with suppress(OSError):
                    _close_if_directory(int(entry.name))


def _close_if_directory(descriptor: int) -> None:
    if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
        os.close(descriptor)


# The world.


@define(eq=False, repr=False)
class HealingWorld:
    """A chain, a network, a file, and the nodes that were started."""

    box: Box
    registered: Registered
    nursery: trio.Nursery
    logs: list[Any]
    lives: dict[str, Life] = field(factory=dict)
    dialled: list[tuple[str, str]] = field(factory=list)
    """Who has connected to whose artefact server."""
    stand_ins: dict[str, Door] = field(factory=dict)
    """Artefact servers of accounts that have no node."""
    survivors: Survivors | None = None
    bugs_are_expected: bool = False
    reached: list[Transaction] = field(factory=list)
    """Transactions that reached the chain and were not refused there."""
    doubled: list[Transaction] = field(factory=list)
    """Those that came while an earlier one of the same message could still be included."""

    @property
    def chain(self) -> Chain:
        return self.box.chain

    @property
    def network(self) -> EmbeddedNetwork:
        return self.box.network

    @property
    def accounts(self) -> list[str]:
        return [node.account for node in self.network.nodes]

    @property
    def hash(self) -> str:
        """What an honest healer claims."""
        return to_base64(self.registered.layout.digest)

    # Nodes

    def node(self, number: int = 0, *, directory: Path | None = None, **settings: Any) -> Life:
        """The node of a number, which was not started yet."""
        account = self.accounts[number]
        life = Life(
            self,
            account,
            directory or self.box.directory / f"node-{number}",
            ChainClient(self.chain, account),
            Settings(**settings),
        )
        self.lives[account] = life
        return life

    async def start(self, number: int = 0, **settings: Any) -> Life:
        life = self.node(number, **settings)
        await life.start()
        return life

    async def start_verifier(self, *script: Attempt, number: int = 1, **settings: Any) -> Life:
        """Start a node whose verifier gets this at its attempts to fetch."""
        life = self.node(number, **settings)
        life.source = ScriptedSource(list(script) or [honest])
        await life.start()
        return life

    async def start_claimed(self, number: int = 0, **settings: Any) -> Life:
        """Start a node, and let it heal an op until it knows that its claim was accepted."""
        life = await self.start(number, **settings)
        self.put_op(healer=number)
        await self.until(lambda: life.seen(What.ACCEPTED))
        assert self.status() is HealOpStatus.HEALER_REPORTED
        return life

    def freeze(self, life: Life) -> None:
        """Let the chain be always at this height, for a node."""
        height = self.chain.height
        life.client.lag = lambda: self.chain.height - height

    def thaw(self, life: Life) -> None:
        life.client.lag = lambda: 0

    def make_poor(self, life: Life, balance: int = 0) -> int:
        """Set what an account can pay with; what it had."""
        account = self.chain.state.accounts[life.account]
        self.chain.add_account(account.address, balance, number=account.number, sequence=account.sequence)
        return account.balance

    def stand_in(self, number: int, *plays: Play) -> Scripted:
        """In the place of a node's artefact server: does this to its calls, the last thing for ever."""
        left = list(plays)

        async def play(asked: Asked) -> None:
            await (left.pop(0) if len(left) > 1 else left[0])(asked)

        scripted = Scripted(play)
        account = self.accounts[number]
        registry = PeerRegistry(ChainClient(self.chain, account))
        self.stand_ins[account] = Door(Server([scripted]), Credentials(node_key(number)), registry)
        return scripted

    async def connect(self, caller: str, host: str, _: int, /) -> trio.abc.Stream:
        """Connect to the artefact server at a host."""
        account = next(node.account for node in self.chain.state.supernodes.values() if node.host == host)
        self.dialled.append((caller, account))
        life = self.lives.get(account)
        door, nursery = self.stand_ins.get(account), self.nursery
        if door is None and life is not None and life.connections is not None:
            door, nursery = life.door, life.connections
        if door is None:
            raise ConnectionRefusedError(f"{account} does not listen")
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(door.serve_stream, theirs)
        return ours

    async def ask(self, healer: Life, op_id: int, caller: str) -> Answer:
        """Ask a node's artefact server for a file."""
        client = ChainClient(self.chain, caller)
        dialer = Dialer(
            Credentials(node_key(self.accounts.index(caller))),
            client,
            PeerRegistry(client),
            random.Random(caller),
            connect=partial(self.connect, caller),
        )
        async with dialer.channel(healer.account) as channel:
            return await ask_over(channel, op_id, caller)

    async def overhear(self, name: str, argument: Any, call: Effect, /) -> Any:
        """A `Between` that notes what reaches the chain."""
        answer = await call()
        if name == "broadcast":
            tx = Tx.decode(argument.raw)
            for earlier in map(Tx.decode, [reached.raw for reached in self.reached]):
                is_same = (earlier.creator, earlier.message) == (tx.creator, tx.message)
                is_over = earlier.is_late(self.chain.height + 1) or any(
                    included.tx_hash == earlier.tx_hash for included, _ in self.chain.included
                )
                if is_same and earlier.tx_hash != tx.tx_hash and not is_over:
                    self.doubled.append(argument)
            if not isinstance(answer, Refused):
                self.reached.append(argument)
        return answer

    # The chain

    def put_op(
        self,
        status: HealOpStatus = HealOpStatus.SCHEDULED,
        *,
        op_id: int = 1,
        healer: int | str = 0,
        verifiers: Sequence[int | str] = (1, 2),
        ticket: str = TICKET,
        **changes: Any,
    ) -> OpRecord:
        """Put an op onto the chain, as if scheduled at the end of the epoch before this one."""
        epoch = self.chain.state.epoch.epoch_id
        record = OpRecord(
            op_id=op_id,
            ticket=Ticket(ticket),
            healer=self._account(healer),
            verifiers=tuple(map(self._account, verifiers)),
            scheduled_epoch=max(0, epoch - 1),
            deadline_epoch=epoch + 2,
            created_height=self.chain.height,
            updated_height=self.chain.height,
            status=status,
        )
        self.chain.set_op(evolve(record, **changes))
        return self.op(op_id)

    def put_claimed(self, **changes: Any) -> OpRecord:
        """An op that its healer has reported on."""
        return self.put_op(HealOpStatus.HEALER_REPORTED, **{"result_hash": self.hash, **changes})

    def _account(self, who: int | str) -> str:
        return self.accounts[who] if isinstance(who, int) else who

    def op(self, op_id: int = 1) -> OpRecord:
        return self.chain.state.ops[op_id]

    def status(self, op_id: int = 1) -> HealOpStatus:
        return self.op(op_id).status

    def move(self, status: HealOpStatus, op_id: int = 1, result_hash: str | None = None) -> None:
        """Let an op come into a status, by what others did."""
        self.chain.set_op(self.op(op_id).moved(status, self.chain.height, result_hash=result_hash))

    def prune(self, op_id: int = 1) -> None:
        """Let the chain know an op no more."""
        state = self.chain.state
        self.chain._become(evolve(state, ops={number: op for number, op in state.ops.items() if number != op_id}))

    def accepted(self, kind: type[Message] | None = None, account: str | None = None) -> list[Any]:
        """Messages that had their effect."""
        return [
            tx.message
            for tx, result in self.chain.included
            if result.code == 0 and isinstance(tx.message, kind or (Claim, Vote)) and account in (None, tx.creator)
        ]

    def claims(self) -> list[Claim]:
        return self.accepted(Claim)

    def votes(self) -> list[Vote]:
        return self.accepted(Vote)

    def sent(self, life: Life, kind: type[Message] | None = None) -> list[Tx]:
        """Transactions that a node has broadcast."""
        txs = [Tx.decode(argument.raw) for name, argument in life.passage.calls if name == "broadcast"]
        return [tx for tx in txs if isinstance(tx.message, kind or (Claim, Vote))]

    async def blocks(self, count: float) -> None:
        """Let so many blocks be made."""
        await trio.sleep(count * BLOCK)

    async def to_height(self, height: int) -> None:
        await self.until(lambda: self.chain.height >= height, blocks=height)

    async def until(self, condition: Callable[[], Any], *, blocks: float = 80) -> None:
        """Wait until something is so."""
        end = trio.current_time() + blocks * BLOCK
        while True:
            result = condition()
            pause = 1.0
            if inspect.isawaitable(result):
                result, pause = await result, 2.0
            if result:
                return
            assert trio.current_time() < end, f"not within {blocks} blocks; {self._tale()}"
            await trio.sleep(pause)

    def _tale(self) -> object:
        """What happened, for a failed test."""
        return [(life.account[-4:], event) for life in self.lives.values() for event in life.events]

    # The file

    async def disaster(self, *, symbols: int = 5, id_files: float = 0.5) -> None:
        """Lose most of what the network holds of the file."""
        self.survivors = await destroy(
            self.network, self.registered, symbols=symbols, id_files=id_files, rng=self.box.random
        )

    @property
    def keys(self) -> frozenset[Key]:
        return frozenset({*self.registered.layout.symbols, *self.registered.id_files})

    async def held(self) -> Collection[Key]:
        """The keys of the file that some node holds."""
        return {key for key, holders in (await self.network.holders(self.keys)).items() if holders}

    async def is_published(self) -> bool:
        """Whether everything is where it should be."""
        return await self.held() == self.keys

    async def reads_back_without_survivors(self) -> bool:
        """Whether the file is there when all that survived the disaster is gone, too."""
        assert self.survivors is not None
        await self.network.delete(self.survivors.keys)
        output = self.box.directory / "healed.bin"
        return await self.box.read_back(self.registered, output) is None and output.read_bytes() == DATA


_MADE: dict[Any, tuple[dict[str, bytes], Registered]] = {}
"""Networks in which a file was registered, as the content of their files: that takes longer than many a test."""


async def _registered(directory: Path, data: bytes, nodes: int, replicas: int) -> Registered:
    """A network below `directory` that holds the file as ticket 7."""
    key = (data, nodes, replicas)
    place = directory / "network"
    if key in _MADE:
        _unpack(place, _MADE[key][0])
        return _MADE[key][1]
    rng = random.Random(0)
    async with EmbeddedNetwork.open(place, blocking=BLOCKING, random=rng, nodes=nodes, replicas=replicas) as network:
        box = Box(directory, Chain(genesis_params=ChainParams()), network, BLOCKING, PROGRESS, rng)
        _unpack(directory, {"original.bin": data})
        registered = await box.register(directory / "original.bin", TICKET, id_files=4)
    _MADE[key] = _packed(place), registered
    return registered


def _packed(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _unpack(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


async def _make_blocks(chain: Chain) -> None:
    while True:
        await trio.sleep(BLOCK)
        chain.make_block(trio.current_time())


@asynccontextmanager
async def a_healing_world(
    directory: Path,
    *,
    data: bytes = DATA,
    nodes: int = 5,
    replicas: int = 2,
    seed: int = 0,
    start_height: int = EPOCH + 2,
    **params: Any,
) -> AsyncIterator[HealingWorld]:
    """A world whose network holds the file as ticket 7, and whose chain is early in its second epoch."""
    trio._core._run._r.seed(seed)  # the order in which tasks run
    rng = random.Random(seed)
    registered = await _registered(directory, data, nodes, replicas)
    async with AsyncExitStack() as stack:
        logs = stack.enter_context(capture_logs())
        network = await stack.enter_async_context(
            EmbeddedNetwork.open(directory / "network", blocking=BLOCKING, random=rng, nodes=nodes, replicas=replicas)
        )
        chain = Chain(genesis_params=ChainParams(**{"epoch_length": EPOCH, "probation_epochs": 1, **params}))
        box = Box(directory, chain, network, BLOCKING, PROGRESS, rng)
        box.populate()
        chain.add_action(registered.action)
        while chain.height < start_height:
            chain.make_block(trio.current_time())
        nursery = await stack.enter_async_context(trio.open_nursery())
        world = HealingWorld(box, registered, nursery, logs)
        nursery.start_soon(_make_blocks, chain)
        yield world
        for life in list(world.lives.values()):
            if life.node is not None:
                life.passage.hooks.clear()
                await life.kill()
        nursery.cancel_scope.cancel(reason="the test is over")
    bugs = [event for life in world.lives.values() for event in life.seen(What.FAILED)]
    assert world.bugs_are_expected or not bugs, bugs
    check_transactions(world)


def check_transactions(world: HealingWorld) -> None:
    """No account has two accepted messages about one op in one role, nor ever two transactions alive for one."""
    accepted: list[tuple[str, type, int]] = []
    for tx, result in world.chain.included:
        if result.code == 0:
            accepted.append((tx.creator, type(tx.message), tx.message.op_id))
    assert len(accepted) == len(set(accepted)), accepted
    assert not world.doubled


@contextmanager
def a_fast_directory(otherwise: Path) -> Iterator[Path]:
    """A directory in memory if the machine has one with room: there a sync costs nothing."""
    memory = Path("/dev/shm")  # noqa: S108
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM:
        with TemporaryDirectory(dir=memory, prefix="lep6-test-") as directory:
            yield Path(directory)
    else:
        yield otherwise / "world"


def in_a_world(**options: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., Awaitable[None]]]:
    """Run a test in a healing world, which is its first argument, under the mock clock."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        @wraps(test)
        async def run(*, tmp_path: Path, autojump_clock: Any, **arguments: Any) -> None:
            with a_fast_directory(tmp_path) as directory:
                async with a_healing_world(directory, **options) as world:
                    await test(world, **arguments)

        names = [*list(inspect.signature(test).parameters)[1:], "tmp_path", "autojump_clock"]
        run.__signature__ = inspect.Signature(
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        )
        return run

    return decorate
