"""What a chain in a box tells of its heal ops in the end, wherever it ran."""

import json
from pathlib import Path
from typing import Any, Final, final

from attrs import fields, frozen

from lep6.devnet.chain import TicketState
from lep6.model import HealOpStatus
from lep6.wire.lep6.devnet.v1 import ChronicleResponse, Included
from lep6.wire.lumera.audit.v1 import HealOp, TicketDeteriorationState

_SAME: Final = [field.name for field in fields(TicketState) if field.name not in ("ticket", "last_result_class")]
"""Fields of a ticket that the wire names as we do."""


@final
@frozen
class Chronicle:
    """The story of a chain up to a height, as a report has it."""

    height: int
    epoch: int
    ops: list[dict[str, Any]]
    """By their ids."""
    votes: list[dict[str, Any]]
    """Those that were accepted."""
    claims: list[int]
    """The ops whose claim was accepted, once for each claim."""
    tickets: list[dict[str, Any]]
    events: list[dict[str, Any]]

    @classmethod
    def read(cls, told: ChronicleResponse) -> "Chronicle":
        """From what the chain's admin service tells."""
        accepted = [tx for tx in told.included if not tx.code]
        return cls(
            height=told.height,
            epoch=told.epoch_id,
            ops=[_op(op) for op in told.heal_ops],
            votes=[_vote(tx) for tx in accepted if not tx.is_claim],
            claims=[tx.heal_op_id for tx in accepted if tx.is_claim],
            tickets=[_ticket(ticket) for ticket in told.tickets],
            events=[
                {"height": entry.height, "type": entry.event.type}
                | {attribute.key: attribute.value for attribute in entry.event.attributes}
                for entry in told.events
                if entry.event is not None
            ],
        )

    def op(self, op_id: int) -> dict[str, Any] | None:
        """An op, if there is one of this id."""
        return next((op for op in self.ops if op["id"] == op_id), None)

    def status(self, op_id: int) -> HealOpStatus:
        """Of an op; UNSPECIFIED when there is none."""
        op = self.op(op_id)
        return HealOpStatus.UNSPECIFIED if op is None else HealOpStatus[op["status"]]

    def save(self, path: Path) -> None:
        """Write it down for people."""
        document = {
            "version": 1,
            "height": self.height,
            "epoch": self.epoch,
            "ops": self.ops,
            "votes": self.votes,
            "tickets": self.tickets,
            "events": self.events,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


def _op(op: HealOp) -> dict[str, Any]:
    return {
        "id": op.heal_op_id,
        "ticket": op.ticket_id,
        "healer": op.healer_supernode_account,
        "verifiers": list(op.verifier_supernode_accounts),
        "status": HealOpStatus(op.status).name,
        "result_hash": op.result_hash,
    }


def _vote(tx: Included) -> dict[str, Any]:
    return {"op": tx.heal_op_id, "verifier": tx.creator, "verified": tx.verified, "hash": tx.hash}


def _ticket(ticket: TicketDeteriorationState) -> dict[str, Any]:
    same = {name: getattr(ticket, name) for name in _SAME}
    return {"ticket": ticket.ticket_id, **same, "last_result_class": int(ticket.last_result_class)}
