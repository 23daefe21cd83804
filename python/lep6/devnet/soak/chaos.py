"""Kills nodes and orders faults of the chain, by chance."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, final

import trio
from attrs import define, field

from lep6.devnet.node.fail_points import FailPoint
from lep6.devnet.processes import Processes
from lep6.devnet.processes.node_process import NodeProcess
from lep6.wire.lep6.devnet import v1 as wire

PAUSES: Final = (1.0, 4.0)
"""Seconds between one misfortune and the next, from and to."""
_FAULTS: Final[Sequence[Callable[[Random], tuple[wire.Fault, str]]]] = (
    lambda _: (wire.Fault(unavailable=wire.Unavailable()), ""),
    lambda chance: (wire.Fault(slow=wire.Slow(chance.uniform(0.5, 3.0))), ""),
    lambda _: (wire.Fault(answer_lost=wire.AnswerLost()), ""),
    lambda _: (wire.Fault(answer_lost=wire.AnswerLost()), "BroadcastTx"),
    lambda chance: (wire.Fault(behind=wire.Behind(chance.randint(1, 8))), ""),
    lambda _: (wire.Fault(no_index=wire.NoIndex()), "GetTx"),
    lambda _: (wire.Fault(dropped=wire.Dropped()), "BroadcastTx"),
    lambda chance: (wire.Fault(late=wire.Late(chance.randint(1, 6))), "BroadcastTx"),
    lambda _: (wire.Fault(sequence_mismatch=wire.SequenceMismatch()), "BroadcastTx"),
    lambda _: (wire.Fault(out_of_gas=wire.OutOfGas()), "BroadcastTx"),
)
"""Faults, and the methods that they are of."""


@final
@define(eq=False)
class Chaos:
    """Misfortunes of some processes."""

    ground: Processes
    victims: Sequence[NodeProcess]
    random: Random
    happened: Counter[str] = field(factory=Counter)
    """How often each misfortune came."""

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            await trio.sleep(self.random.uniform(*PAUSES))
            misfortune = self.random.choices(
                (self._kill, self._kill_and_arm, self._disturb_chain, self._restart_chain), weights=(4, 3, 6, 1)
            )[0]
            await misfortune()

    async def _kill(self) -> None:
        """Kill a node wherever it is."""
        self.happened["killed"] += self.random.choice(self.victims).kill()
        await trio.lowlevel.checkpoint()

    async def _kill_and_arm(self) -> None:
        """Kill a node, and let it come back to die where it is between two side effects."""
        victim, point = self.random.choice(self.victims), self.random.choice(list(FailPoint))
        victim.fail_at = point.value
        self.happened[f"armed {point.value}"] += victim.kill()
        await trio.lowlevel.checkpoint()

    async def _disturb_chain(self) -> None:
        fault, methods = self.random.choice(_FAULTS)(self.random)
        await self.ground.chain.order(fault, methods, count=self.random.randint(1, 5), seconds=5.0)
        self.happened["chain fault"] += 1

    async def _restart_chain(self) -> None:
        await self.ground.chain.admin.restart(wire.RestartRequest(self.random.uniform(0.0, 3.0)))
        self.happened["chain restart"] += 1
