"""Whether the chain knows a peer as what it says it is (secure RPC contract §3.4, V7)."""

from collections import OrderedDict
from functools import partial
from typing import Final, final

import trio
from attrs import define, field

from lep6.errors import ChainUnavailable, HandshakeFailed, HandshakeFailure
from lep6.once import Once
from lep6.ports import Registrations
from lep6.secure_rpc.identity import PeerType

QUERY_SECONDS: Final = 5.0
VALID_SECONDS: Final = 3600.0
"""How long a positive answer holds. A negative one, or none, is not kept."""
REMEMBERED: Final = 1024

_Peer = tuple[str, PeerType]


@final
@define(eq=False)
class PeerRegistry:
    """Asks the chain about peers, one question at a time for each, and remembers whom it knows."""

    chain: Registrations
    query_seconds: float = QUERY_SECONDS
    valid_seconds: float = VALID_SECONDS
    remembered: int = REMEMBERED
    _known: OrderedDict[_Peer, float] = field(factory=OrderedDict)
    """Until when, on Trio's clock."""
    _questions: Once[_Peer, bool | ChainUnavailable] = field(factory=Once)

    async def check(self, account: str, peer_type: PeerType) -> None:
        """Be sure that the chain knows an account as what it says it is.

        Raises:
            HandshakeFailed: UNREGISTERED, or UNCHECKED when the chain has not answered.
        """
        if not self._is_remembered((account, peer_type)):
            answer = await self._questions.ask((account, peer_type), partial(self._ask, account, peer_type))
            if isinstance(answer, ChainUnavailable):
                raise HandshakeFailed(HandshakeFailure.UNCHECKED, f"{account}: {answer}")
            if not answer:
                raise HandshakeFailed(HandshakeFailure.UNREGISTERED, f"{account} as a {peer_type.name.lower()}")
        await trio.lowlevel.checkpoint()

    async def _ask(self, account: str, peer_type: PeerType) -> bool | ChainUnavailable:
        try:
            with trio.fail_after(self.query_seconds):
                if peer_type is PeerType.SUPERNODE:
                    is_known = await self.chain.supernode(account) is not None
                else:
                    is_known = await self.chain.is_account(account)
        except ChainUnavailable as error:
            return error
        except trio.TooSlowError:
            return ChainUnavailable(f"no answer within {self.query_seconds:g} s")
        if is_known:
            self.remember(account, peer_type)
        return is_known

    def remember(self, account: str, peer_type: PeerType) -> None:
        """Note that the chain knows an account as this."""
        self._known[account, peer_type] = trio.current_time() + self.valid_seconds
        self._known.move_to_end((account, peer_type))
        if len(self._known) > self.remembered:
            self._known.popitem(last=False)

    def _is_remembered(self, peer: _Peer) -> bool:
        return self._known.get(peer, float("-inf")) > trio.current_time()
