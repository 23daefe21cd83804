"""Whether the chain knows a peer as what it says it is (secure RPC contract §3.4, V7)."""

from collections import OrderedDict
from typing import Final, final

import trio
from attrs import define, field

from lep6.errors import ChainUnavailable, HandshakeFailed, HandshakeFailure
from lep6.ports import Registrations
from lep6.secure_rpc.identity import PeerType

QUERY_SECONDS: Final = 5.0
VALID_SECONDS: Final = 3600.0
"""How long a positive answer holds. A negative one, or none, is not kept."""
REMEMBERED: Final = 1024

_Peer = tuple[str, PeerType]


@final
@define(eq=False)
class _Question:
    """A question that is being asked; others who have it wait for its answer."""

    answered: trio.Event = field(factory=trio.Event)
    is_known: bool | None = None
    """`None`: no answer was had, since who asked has given up."""
    failure: str | None = None


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
    _asking: dict[_Peer, _Question] = field(factory=dict)

    async def check(self, account: str, peer_type: PeerType) -> None:
        """Be sure that the chain knows an account as what it says it is.

        Raises:
            HandshakeFailed: UNREGISTERED, or UNCHECKED when the chain has not answered.
        """
        peer = (account, peer_type)
        while not self._is_remembered(peer):
            question = self._asking.get(peer)
            if question is None:
                question = self._asking[peer] = _Question()
                await self._ask(peer, question)
            else:
                await question.answered.wait()
            if question.failure is not None:
                raise HandshakeFailed(HandshakeFailure.UNCHECKED, f"{account}: {question.failure}")
            if question.is_known is False:
                raise HandshakeFailed(HandshakeFailure.UNREGISTERED, f"{account} as a {peer_type.name.lower()}")
        await trio.lowlevel.checkpoint()

    async def _ask(self, peer: _Peer, question: _Question) -> None:
        account, peer_type = peer
        try:
            with trio.fail_after(self.query_seconds):
                if peer_type is PeerType.SUPERNODE:
                    question.is_known = await self.chain.supernode(account) is not None
                else:
                    question.is_known = await self.chain.is_account(account)
        except (ChainUnavailable, trio.TooSlowError) as error:
            question.failure = str(error) or f"no answer within {self.query_seconds:g} s"
        finally:
            del self._asking[peer]
            question.answered.set()
        if question.is_known:
            self.remember(account, peer_type)

    def remember(self, account: str, peer_type: PeerType) -> None:
        """Note that the chain knows an account as this."""
        self._known[account, peer_type] = trio.current_time() + self.valid_seconds
        self._known.move_to_end((account, peer_type))
        if len(self._known) > self.remembered:
            self._known.popitem(last=False)

    def _is_remembered(self, peer: _Peer) -> bool:
        return self._known.get(peer, float("-inf")) > trio.current_time()
