"""Telling the chain: journalled before it is sent, and never two transactions alive for the same message."""

from typing import final

import trio
from attrs import define

from lep6.heal.decisions import Fate, fate
from lep6.heal.events import Event, Watch, What
from lep6.heal.ledger import Ledger
from lep6.heal.pauses import PAUSES_PER_WINDOW, Pauses
from lep6.heal.rows import Intent, Role, SentTransaction, role_of
from lep6.heal.sight import ChainSight
from lep6.model import HealOp
from lep6.observe import get_logger
from lep6.transaction import Indeterminate, Message, Pooled, Prepared, Refused, Sent, Transaction

log = get_logger("heal.submission")


@final
@define(eq=False)
class Submissions:
    """Sends what is journalled, for one node."""

    sight: ChainSight
    ledger: Ledger
    pauses: Pauses
    watch: Watch

    async def fate(self, intent: Intent | None) -> Fate:
        """What became of the transaction of an intent, as far as the chain tells."""
        if intent is None or intent.sent is None:
            return Fate.UNSENT
        answer = await self.sight.lookup(intent.sent.tx_hash)
        return Fate.UNDECIDED if answer is None else fate(intent.sent, answer.value, answer.height)

    async def bury(self, intent: Intent, op: HealOp | None) -> None:
        """Note that the transaction of an intent is dead: the next one comes after a pause."""
        log.warning("transaction_dead", op_id=intent.op_id, ticket=intent.ticket, role=intent.role.value)
        await self.ledger.note_transaction(intent.op_id, intent.role, None)
        self._failed(intent.op_id, op)

    def is_due(self, op_id: int) -> bool:
        """Whether a transaction may be sent about an op: none has failed a short while ago."""
        return self.pauses.is_due(op_id)

    def forget(self, op_id: int) -> None:
        """Forget the failures with an op."""
        self.pauses.forget(op_id)

    async def send(self, op: HealOp, says: Message) -> Sent:
        """Send what is journalled of an op in a new transaction. The old one, if there was one, is dead.

        What does not get into a mempool is a failure: the next one comes after a pause.
        Cancelled: the transaction may be on its way; the ledger knows it.
        """
        role = role_of(says)
        prepared = await self._prepare(op, says)
        if not isinstance(prepared, Transaction):
            return self._noted(op, role, prepared, tx_hash=None)
        sent = SentTransaction(prepared.tx_hash, prepared.sequence, prepared.timeout_height)
        await self.ledger.note_transaction(op.op_id, role, sent)
        self.watch(Event(What.SENT, op.op_id, type(says).__name__.lower()))
        answer = await self._broadcast(prepared)
        if isinstance(answer, Refused):
            # Definite: it is nowhere, so the next one need not wait until its time is out.
            await self.ledger.note_transaction(op.op_id, role, None)
        return self._noted(op, role, answer, tx_hash=prepared.tx_hash)

    async def _prepare(self, op: HealOp, says: Message) -> Prepared:
        with trio.move_on_after(self.sight.query_seconds):
            return await self.sight.chain.prepare(says, last_height=self.sight.last_height(op))
        return Indeterminate()

    async def _broadcast(self, transaction: Transaction) -> Sent:
        with trio.move_on_after(self.sight.query_seconds):
            return await self.sight.chain.broadcast(transaction)
        return Indeterminate()

    def _noted(self, op: HealOp, role: Role, answer: Sent, *, tx_hash: str | None) -> Sent:
        what = {"op_id": op.op_id, "ticket": op.ticket, "role": role.value, "tx_hash": tx_hash}
        if isinstance(answer, Pooled):
            log.info("transaction_sent", **what)
            return answer
        reason = answer.why.value if isinstance(answer, Refused) else "no answer"
        log.warning("transaction_not_sent", reason=reason, **what)
        self.watch(Event(What.DEFERRED, op.op_id, f"the {role.value}'s transaction is in no mempool: {reason}"))
        self._failed(op.op_id, op)
        return answer

    def _failed(self, op_id: int, op: HealOp | None) -> None:
        self.pauses.failed(op_id, at_most=self.sight.seconds_left(op) / PAUSES_PER_WINDOW)
