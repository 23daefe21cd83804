"""The soak: one heal after another, and what the processes use before and after."""

from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, final

import trio
from attrs import asdict, define, field

from lep6.beside import beside
from lep6.blocking import Threads, WallClock
from lep6.devnet.box import Box
from lep6.devnet.chain import Chain, ChainParams
from lep6.devnet.chain_server.records import action_message
from lep6.devnet.disaster import destroy
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.processes import Processes
from lep6.devnet.scenario import Pace, Plan
from lep6.devnet.soak.chaos import Chaos
from lep6.devnet.soak.usage import Usage
from lep6.heal.events import What
from lep6.model import HealOpStatus, Ticket
from lep6.observe import Unwatched
from lep6.wire.lep6.devnet.v1 import Seed

PACE: Final = Pace(block_seconds=0.2, epoch_blocks=10, deadline_epochs=60)
"""An op every 2 s, if there are any, and 2 minutes for each."""
OP_SECONDS: Final = 150.0
"""For an op to end and to be gone everywhere."""
SETTLE_SECONDS: Final = 12.0
"""Until idle threads are gone and processes have nothing to do."""
SIZES: Final = (1, 600_000)
"""Bytes of a file, from and to."""
SURVIVING: Final = 0.4


@final
@define(eq=False)
class Soak:
    """One soak in a directory of its own."""

    directory: Path
    seed: int
    minutes: float
    blocking: Threads
    complaints: list[str] = field(factory=list)
    ends: Counter[str] = field(factory=Counter)
    """How the ops ended."""
    _random: Random = field(init=False)
    _tickets: int = 0

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 # chance that can be repeated

    async def run(self) -> dict[str, Any]:
        """Soak; the summary."""
        plan = Plan(processes=True, seed=self.seed)
        async with EmbeddedNetwork.open(
            self.directory,
            blocking=self.blocking,
            random=self._random,
            nodes=plan.nodes,
            replicas=plan.replicas,
        ) as network:
            params = ChainParams(epoch_length=PACE.epoch_blocks, deadline_epochs=PACE.deadline_epochs)
            chain = Chain(genesis_params=params, genesis_time=WallClock().now())
            box = Box(self.directory, chain, network, self.blocking, Unwatched(), self._random)
            places = Processes.places(plan.nodes)
            box.populate(places)
            async with Processes.open(box, plan, PACE, places) as ground:
                await ground.chain.make_blocks(1)
                async with ground.living({"healer": "", "verifiers": ()}):
                    summary = await self._soak(box, ground)
                self._judge(ground)
        return {"version": 1, "seed": self.seed, **summary, "complaints": self.complaints}

    async def _soak(self, box: Box, ground: Processes) -> dict[str, Any]:
        first, *others = ground.nodes.values()
        chaos = Chaos(ground, others, Random(self.seed + 1))  # noqa: S311 # as above
        begun = trio.current_time()
        # Each node has healed something before it is first looked at, if chance wills.
        for _ in range(3):
            await self._heal(box, ground)
        before = await self._usages(ground)
        until = begun + 60 * self.minutes
        async with beside(chaos.run):
            while trio.current_time() < until:
                await self._heal(box, ground)
        await ground.chain.forgive()
        await self._heal(box, ground)
        after = await self._usages(ground)
        self._compare(before, after)
        chronicle = await ground.chronicle()
        for name, told in (
            ("claims", Counter(chronicle.claims)),
            ("votes", Counter((vote["op"], vote["verifier"]) for vote in chronicle.votes)),
        ):
            if any(count > 1 for count in told.values()):
                self.complaints.append(f"{name} were accepted twice: {told.most_common(3)}")
        return {
            "minutes": round((trio.current_time() - begun) / 60, 2),
            "ops": dict(self.ends),
            "misfortunes": dict(sorted(chaos.happened.items())),
            "never_killed": first.account,
            "nodes": [
                {
                    "account": account,
                    "deaths": ground.nodes[account].deaths,
                    "before": asdict(before[account]),
                    "after": asdict(after[account]),
                }
                for account in before.keys() & after.keys()
            ],
        }

    async def _heal(self, box: Box, ground: Processes) -> None:
        """Let a file be lost and healed, and see that it is whole, and that nothing is left of its op."""
        self._tickets += 1
        ticket = Ticket(str(self._tickets))
        file = self.directory / f"file-{ticket}"
        content = self._random.randbytes(self._random.randint(*SIZES))
        await self.blocking.run(lambda: file.write_bytes(content))
        registered = await box.register(file, ticket)
        await ground.chain.admin.add(Seed(actions=[action_message(registered.action)]))
        total = registered.layout.geometry.total_symbols
        symbols = max(registered.layout.geometry.source_symbols, round(total * SURVIVING))
        survivors = await destroy(box.network, registered, symbols=symbols, id_files=SURVIVING, rng=self._random)
        await ground.condemn(ticket)
        with trio.move_on_after(OP_SECONDS) as scope:
            await ground.until(partial(self._is_over, ground, ticket))
        ends = [op["status"] for op in (await ground.chronicle()).ops if op["ticket"] == ticket]
        self.ends.update(ends)
        if scope.cancelled_caught:
            self.complaints.append(f"ticket {ticket} was not over within {OP_SECONDS:g} s: {ends}")
        elif ends != [HealOpStatus.VERIFIED.name]:
            self.complaints.append(f"the ops of ticket {ticket} ended {ends}")
        else:
            await box.network.delete(survivors.keys)
            failure = await box.read_back(registered, self.directory / "healed")
            if failure is not None:
                self.complaints.append(f"the file of ticket {ticket} cannot be read back: {failure}")
        await box.network.delete({*registered.layout.symbols, *registered.id_files})
        await self.blocking.run(partial(_remove, file, self.directory / "healed"))

    async def _is_over(self, ground: Processes, ticket: Ticket) -> bool:
        ops = [op for op in (await ground.chronicle()).ops if op["ticket"] == ticket]
        is_final = bool(ops) and all(op["status"] in ("VERIFIED", "FAILED", "EXPIRED") for op in ops)
        return is_final and await ground.rows() == 0 and not await self.blocking.run(ground.stagings)

    async def _usages(self, ground: Processes) -> dict[str, Usage]:
        await trio.sleep(SETTLE_SECONDS)
        usages = {account: await self.blocking.run(partial(Usage.of, node)) for account, node in ground.nodes.items()}
        return {account: usage for account, usage in usages.items() if usage is not None}

    def _compare(self, before: dict[str, Usage], after: dict[str, Usage]) -> None:
        for account in before.keys() - after.keys():
            self.complaints.append(f"{account} does not run in the end")
        for account in before.keys() & after.keys():
            self.complaints += [f"{account}: {grown}" for grown in after[account].grown(before[account])]

    def _judge(self, ground: Processes) -> None:
        for account, event in ground.events:
            if event.what is What.FAILED:
                self.complaints.append(f"{account} has a bug: {event.text}")


def _remove(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)
