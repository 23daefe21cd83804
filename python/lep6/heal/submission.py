"""Telling the chain: journalled before it is sent, and never two transactions alive for the same message."""

from typing import final

import trio
from attrs import define

from lep6.heal.decisions import Fate, fate
from lep6.heal.events import Event, Watch, What
from lep6.heal.ledger import Ledger
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
    watch: Watch

    async def fate(self, intent: Intent | None) -> Fate:
        """What became of the transaction of an intent, as far as the chain tells."""
        if intent is None or intent.sent is None:
            return Fate.UNSENT
        answer = await self.sight.lookup(intent.sent.tx_hash)
        return Fate.UNDECIDED if answer is None else fate(intent.sent, answer.value, answer.height)

    async def send(self, op: HealOp, says: Message) -> Sent:
        """Send what is journalled of an op in a new transaction. The old one, if there was one, is dead.

        Cancelled: the transaction may be on its way; the ledger knows it.
        """
        role = role_of(says)
        prepared = await self._prepare(op, says)
        if not isinstance(prepared, Transaction):
            return _noted(op, role, prepared)
        sent = SentTransaction(prepared.tx_hash, prepared.sequence, prepared.timeout_height)
        await self.ledger.note_transaction(op.op_id, role, sent)
        self.watch(Event(What.SENT, op.op_id, type(says).__name__.lower()))
        answer = await self._broadcast(prepared)
        if isinstance(answer, Refused):
            # Definite: it is nowhere, so the next one need not wait until its time is out.
            await self.ledger.note_transaction(op.op_id, role, None)
        return _noted(op, role, answer)

    async def _prepare(self, op: HealOp, says: Message) -> Prepared:
        with trio.move_on_after(self.sight.query_seconds):
            return await self.sight.chain.prepare(says, last_height=self.sight.last_height(op))
        return Indeterminate()

    async def _broadcast(self, transaction: Transaction) -> Sent:
        with trio.move_on_after(self.sight.query_seconds):
            return await self.sight.chain.broadcast(transaction)
        return Indeterminate()


def _noted(op: HealOp, role: Role, answer: Sent) -> Sent:
    match answer:
        case Pooled():
            log.info("transaction_sent", op_id=op.op_id, ticket=op.ticket, role=role.value)
        case Indeterminate():
            log.warning("transaction_indeterminate", op_id=op.op_id, ticket=op.ticket, role=role.value)
        case Refused(why):
            log.warning("transaction_refused", op_id=op.op_id, ticket=op.ticket, role=role.value, reason=why.value)
    return answer
