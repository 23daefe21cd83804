"""`lumera.action.v1.Query` and `lumera.supernode.v1.Query` (chain contract §1.4, §1.5, §3.3)."""

from typing import final

from lep6.devnet.chain_server.asked import asked
from lep6.devnet.chain_server.paging import page_message, wanted
from lep6.devnet.chain_server.records import action_message, supernode_message
from lep6.grpc import ServiceBase
from lep6.wire.lumera.action.v1 import QueryBase as ActionQueryBase
from lep6.wire.lumera.action.v1 import QueryGetActionRequest, QueryGetActionResponse
from lep6.wire.lumera.supernode.v1 import QueryBase as SuperNodeQueryBase
from lep6.wire.lumera.supernode.v1 import (
    QueryGetSuperNodeBySuperNodeAddressRequest,
    QueryGetSuperNodeBySuperNodeAddressResponse,
    QueryGetSuperNodeRequest,
    QueryGetSuperNodeResponse,
    QueryListSuperNodesRequest,
    QueryListSuperNodesResponse,
)


@final
class Actions(ServiceBase, ActionQueryBase):
    """The records of files."""

    async def get_action(self, message: QueryGetActionRequest) -> QueryGetActionResponse:
        """An action."""
        return QueryGetActionResponse(action_message(asked().action(message.action_id)))


@final
class SuperNodes(ServiceBase, SuperNodeQueryBase):
    """The registry of supernodes."""

    async def get_super_node(self, message: QueryGetSuperNodeRequest) -> QueryGetSuperNodeResponse:
        """A supernode by its validator operator."""
        return QueryGetSuperNodeResponse(supernode_message(asked().supernode(message.validator_address)))

    async def get_super_node_by_super_node_address(
        self, message: QueryGetSuperNodeBySuperNodeAddressRequest
    ) -> QueryGetSuperNodeBySuperNodeAddressResponse:
        """A supernode by its account."""
        node = asked().supernode_by_account(message.supernode_address)
        return QueryGetSuperNodeBySuperNodeAddressResponse(supernode_message(node))

    async def list_super_nodes(self, message: QueryListSuperNodesRequest) -> QueryListSuperNodesResponse:
        """A page of the supernodes."""
        rows = asked().list_supernodes(**wanted(message.pagination))
        return QueryListSuperNodesResponse([supernode_message(node) for node in rows.rows], page_message(rows))
