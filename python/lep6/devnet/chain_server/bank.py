"""`cosmos.bank.v1beta1.Query`, as far as a balance goes."""

import re
from typing import Final, final

from grpclib.const import Status

from lep6.chain.gas import DENOM
from lep6.devnet.chain import QueryError
from lep6.devnet.chain_server.asked import asked
from lep6.errors import InvalidKey
from lep6.grpc import ServiceBase
from lep6.keys import address_bytes
from lep6.wire.cosmos.bank.v1beta1 import QueryBalanceRequest, QueryBalanceResponse, QueryBase
from lep6.wire.cosmos.base.v1beta1 import Coin

_DENOM: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9/:._-]{2,127}")


@final
class Balances(ServiceBase, QueryBase):
    """What accounts have. There is one coin in the box."""

    async def balance(self, message: QueryBalanceRequest) -> QueryBalanceResponse:
        """The balance of an account; of one that is not known, nothing.

        Raises:
            QueryError: INVALID_ARGUMENT, it is no address, or no name of a coin.
        """
        if not _DENOM.fullmatch(message.denom):
            raise QueryError(Status.INVALID_ARGUMENT, f"invalid denom: {message.denom}")
        try:
            address_bytes(message.address)
        except InvalidKey as error:
            raise QueryError(Status.INVALID_ARGUMENT, f"invalid address: {error}") from error
        account = asked().state.accounts.get(message.address)
        held = account.balance if account is not None and message.denom == DENOM else 0
        return QueryBalanceResponse(Coin(message.denom, str(held)))
