"""`cosmos.auth.v1beta1.Query` and `lumera.evmigration.Query` (chain contract §1.6, §3.3)."""

from typing import final

from grpclib.const import Status

from lep6.devnet.chain import QueryError
from lep6.devnet.chain_server.asked import asked
from lep6.devnet.chain_server.records import account_message, base_account_message
from lep6.grpc import ServiceBase
from lep6.wire.cosmos.auth.v1beta1 import (
    QueryAccountInfoRequest,
    QueryAccountInfoResponse,
    QueryAccountRequest,
    QueryAccountResponse,
)
from lep6.wire.cosmos.auth.v1beta1 import QueryBase as AuthQueryBase
from lep6.wire.lumera.evmigration import (
    MigrationRecord,
    QueryMigrationRecordByNewAddressRequest,
    QueryMigrationRecordByNewAddressResponse,
)
from lep6.wire.lumera.evmigration import QueryBase as MigrationQueryBase


@final
class Accounts(ServiceBase, AuthQueryBase):
    """Numbers, sequences and keys of accounts."""

    async def account(self, message: QueryAccountRequest) -> QueryAccountResponse:
        """An account of its own kind."""
        return QueryAccountResponse(account_message(asked().account(message.address)))

    async def account_info(self, message: QueryAccountInfoRequest) -> QueryAccountInfoResponse:
        """An account of any kind, as a `BaseAccount`."""
        return QueryAccountInfoResponse(base_account_message(asked().account(message.address)))


@final
class Migrations(ServiceBase, MigrationQueryBase):
    """Accounts that moved to another kind of key."""

    async def migration_record_by_new_address(
        self, message: QueryMigrationRecordByNewAddressRequest
    ) -> QueryMigrationRecordByNewAddressResponse:
        """The record of a migration. When it happened is not kept in the box.

        Raises:
            QueryError: NOT_FOUND, the account has not moved.
        """
        account = asked().state.accounts.get(message.new_address)
        if account is None or account.legacy_address is None:
            raise QueryError(Status.NOT_FOUND, f"migration record not found for new address {message.new_address}")
        return QueryMigrationRecordByNewAddressResponse(MigrationRecord(account.legacy_address, account.address))
