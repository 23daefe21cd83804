"""`cosmos.base.tendermint.v1beta1.Service` and `cosmos.upgrade.v1beta1.Query` (chain contract §1.1, §1.8)."""

from typing import Final, final

from grpclib.const import Status

from lep6.devnet.chain import QueryError
from lep6.devnet.chain_server.asked import asked
from lep6.devnet.chain_server.records import moment
from lep6.grpc import ServiceBase
from lep6.wire.cosmos.base.tendermint.v1beta1 import (
    Block,
    DefaultNodeInfo,
    GetLatestBlockRequest,
    GetLatestBlockResponse,
    GetNodeInfoRequest,
    GetNodeInfoResponse,
    GetSyncingRequest,
    GetSyncingResponse,
    Header,
    VersionInfo,
)
from lep6.wire.cosmos.base.tendermint.v1beta1 import ServiceBase as TendermintBase
from lep6.wire.cosmos.upgrade.v1beta1 import (
    ModuleVersion,
    QueryBase,
    QueryModuleVersionsRequest,
    QueryModuleVersionsResponse,
)

MODULES: Final = {"action": 1, "audit": 1, "evm": 1, "supernode": 1}
"""Modules that the chain is said to have, and their versions."""

_VERSION: Final = VersionInfo(
    name="lumera", app_name="lumerad", version="lep6-devnet", git_commit="", cosmos_sdk_version="v0.53.6"
)


@final
class Tendermint(ServiceBase, TendermintBase):
    """What a node tells of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.is_syncing = False
        """What GetSyncing answers."""

    async def get_latest_block(self, message: GetLatestBlockRequest) -> GetLatestBlockResponse:  # noqa: ARG002
        """The newest block's header; at a pinned height that one's."""
        state = asked().state
        header = Header(chain_id=state.chain_id, height=state.height, time=moment(state.time))
        return GetLatestBlockResponse(Block(header))

    async def get_node_info(self, message: GetNodeInfoRequest) -> GetNodeInfoResponse:  # noqa: ARG002
        """The chain's id, and versions."""
        node = DefaultNodeInfo(network=asked().state.chain_id, version="0.38.0", moniker="lep6-devnet")
        return GetNodeInfoResponse(node, _VERSION)

    async def get_syncing(self, message: GetSyncingRequest) -> GetSyncingResponse:  # noqa: ARG002
        """Whether the node is still catching up."""
        return GetSyncingResponse(self.is_syncing)


@final
class Upgrades(ServiceBase, QueryBase):
    """Versions of modules."""

    async def module_versions(self, message: QueryModuleVersionsRequest) -> QueryModuleVersionsResponse:
        """The version of a module, or of all.

        Raises:
            QueryError: UNKNOWN, there is no such module.
        """
        name = message.module_name
        if name and name not in MODULES:
            text = f"x/upgrade: QueryModuleVersions module {name} not found: not found"
            raise QueryError(Status.UNKNOWN, text)
        versions = [ModuleVersion(known, version) for known, version in MODULES.items() if name in ("", known)]
        return QueryModuleVersionsResponse(versions)
