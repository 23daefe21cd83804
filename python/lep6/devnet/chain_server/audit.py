"""`lumera.audit.v1.Query` (chain contract §1.3, §3.3)."""

from typing import final

from lep6.devnet.chain import Epoch, OpRecord, Rows
from lep6.devnet.chain_server.asked import asked
from lep6.devnet.chain_server.paging import page_message, wanted
from lep6.devnet.chain_server.records import anchor_message, op_message, params_message, ticket_message
from lep6.grpc import ServiceBase
from lep6.model import HealOpStatus
from lep6.wire.lumera.audit.v1 import (
    QueryBase,
    QueryCurrentEpochAnchorRequest,
    QueryCurrentEpochAnchorResponse,
    QueryCurrentEpochRequest,
    QueryCurrentEpochResponse,
    QueryEpochAnchorRequest,
    QueryEpochAnchorResponse,
    QueryHealOpRequest,
    QueryHealOpResponse,
    QueryHealOpsByStatusRequest,
    QueryHealOpsByStatusResponse,
    QueryHealOpsByTicketRequest,
    QueryHealOpsByTicketResponse,
    QueryParamsRequest,
    QueryParamsResponse,
    QueryTicketDeteriorationStateRequest,
    QueryTicketDeteriorationStateResponse,
)


@final
class Audit(ServiceBase, QueryBase):
    """Heal ops, epochs and tickets."""

    async def params(self, message: QueryParamsRequest) -> QueryParamsResponse:  # noqa: ARG002
        """The parameters."""
        return QueryParamsResponse(params_message(asked().params()))

    async def heal_op(self, message: QueryHealOpRequest) -> QueryHealOpResponse:
        """A heal op."""
        return QueryHealOpResponse(op_message(asked().heal_op(message.heal_op_id)))

    async def heal_ops_by_status(self, message: QueryHealOpsByStatusRequest) -> QueryHealOpsByStatusResponse:
        """A page of the heal ops in a status; of a status that there is not, none."""
        known = int(message.status) in list(HealOpStatus)
        rows: Rows[OpRecord] = Rows((), b"", None)
        if known:
            rows = asked().heal_ops_by_status(HealOpStatus(message.status), **wanted(message.pagination))
        return QueryHealOpsByStatusResponse([op_message(op) for op in rows.rows], page_message(rows))

    async def heal_ops_by_ticket(self, message: QueryHealOpsByTicketRequest) -> QueryHealOpsByTicketResponse:
        """A page of the heal ops of a ticket."""
        rows = asked().heal_ops_by_ticket(message.ticket_id, **wanted(message.pagination))
        return QueryHealOpsByTicketResponse([op_message(op) for op in rows.rows], page_message(rows))

    async def current_epoch(self, message: QueryCurrentEpochRequest) -> QueryCurrentEpochResponse:  # noqa: ARG002
        """The epoch of the newest block."""
        epoch: Epoch = asked().current_epoch()
        return QueryCurrentEpochResponse(epoch.epoch_id, epoch.first_height, epoch.last_height)

    async def current_epoch_anchor(
        self,
        message: QueryCurrentEpochAnchorRequest,  # noqa: ARG002
    ) -> QueryCurrentEpochAnchorResponse:
        """The anchor of that epoch."""
        return QueryCurrentEpochAnchorResponse(anchor_message(asked().current_epoch_anchor()))

    async def epoch_anchor(self, message: QueryEpochAnchorRequest) -> QueryEpochAnchorResponse:
        """The anchor of an epoch."""
        return QueryEpochAnchorResponse(anchor_message(asked().epoch_anchor(message.epoch_id)))

    async def ticket_deterioration_state(
        self, message: QueryTicketDeteriorationStateRequest
    ) -> QueryTicketDeteriorationStateResponse:
        """How bad the chain thinks a file is."""
        return QueryTicketDeteriorationStateResponse(ticket_message(asked().ticket_state(message.ticket_id)))
