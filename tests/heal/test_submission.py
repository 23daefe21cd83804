"""What is told to the chain again and again, is told after growing pauses."""

from random import Random

import trio

from lep6.heal.ledger import Ledger
from lep6.heal.pauses import Pauses
from lep6.heal.rows import Intent
from lep6.heal.settings import Settings
from lep6.heal.sight import ChainSight
from lep6.heal.submission import Submissions
from lep6.heal.verifier import Verifier
from lep6.model import Block, EnforcementMode, HealOp, HealOpStatus, Parameters, Ticket
from lep6.ports import At
from lep6.transaction import Absent, Included, Pooled, Refusal, Transaction, Vote
from world import BLOCKING, MockWallClock

US = "lumera1us"
OP = HealOp(5, Ticket("7"), "lumera1healer", (US,), HealOpStatus.HEALER_REPORTED, "hash", deadline_epoch=3)


class OutOfGas:
    """Takes every transaction into its mempool, and fails it in the next block."""

    def __init__(self):
        self.sent = {}

    @property
    def height(self):
        return 1 + int(trio.current_time() // 6)

    async def heal_op(self, op_id):
        return At(OP, self.height)

    async def parameters(self):
        return At(Parameters(EnforcementMode.FULL, 1, 400), self.height)

    async def latest_block(self):
        return Block(self.height, trio.current_time())

    async def prepare(self, message, *, last_height):
        return Transaction(message, f"{len(self.sent)}", len(self.sent), self.height + 20, b"")

    async def broadcast(self, transaction):
        self.sent[transaction.tx_hash] = self.height
        return Pooled()

    async def lookup(self, tx_hash):
        at = self.sent[tx_hash] + 1
        return At(Included(at, Refusal.GAS) if self.height >= at else Absent(), self.height)


async def test_what_fails_in_its_block_is_sent_again_with_growing_pauses(tmp_path, autojump_clock):
    chain, clock, random, settings = OutOfGas(), MockWallClock(), Random(0), Settings()
    async with Ledger.open(tmp_path / "ledger.db", US, BLOCKING) as ledger:
        await ledger.journal(Intent(5, Ticket("7"), Vote(5, True, "hash", "")))
        sight = ChainSight(US, chain, clock, 10, 6, True)
        await sight.refresh()
        verifier = Verifier(
            sight,
            ledger,
            Submissions(sight, ledger, Pauses(2, 300, random), lambda _: None),
            None,
            BLOCKING,
            trio.CapacityLimiter(4),
            settings,
            clock,
            random,
            lambda _: None,
        )
        with trio.move_on_after(3600):
            while True:
                await verifier.walk(5)
                await trio.sleep(30)
    assert 10 < len(chain.sent) < 30
