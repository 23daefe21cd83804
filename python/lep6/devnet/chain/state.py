"""The state of the chain at one height, as an immutable value."""

from collections.abc import Mapping
from typing import TypeVar, final

from attrs import Factory, evolve, field, frozen

from lep6.devnet.chain.accounts import Account
from lep6.devnet.chain.epochs import Epoch, EpochAnchor
from lep6.devnet.chain.ops import OpRecord
from lep6.devnet.chain.params import ChainParams
from lep6.devnet.chain.supernodes import SuperNode
from lep6.devnet.chain.suspicion import Suspicion
from lep6.devnet.chain.tickets import TicketState
from lep6.model import Action, Ticket

K = TypeVar("K")
V = TypeVar("V")


@final
@frozen
class Event:
    """Something that the chain tells of (chain contract §4.10)."""

    height: int
    kind: str
    """The event's type."""
    attributes: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str:
        """The value of an attribute."""
        return dict(self.attributes)[name]


@final
@frozen
class FailedHeal:
    """A mark against the healer of an op that ended FAILED or EXPIRED (chain contract §4.6)."""

    healer: str
    epoch: int
    ticket: Ticket


@final
@frozen(kw_only=True)
class State:
    """All that the chain knows at one height. Tables are never changed in place, so states share what is equal."""

    height: int
    time: float
    """Seconds since the Unix epoch."""
    params: ChainParams
    chain_id: str = "lumera-devnet-1"
    accounts: Mapping[str, Account] = Factory(dict)
    collected: int = 0
    """Fees that were paid until now, in ulume."""
    supernodes: Mapping[str, SuperNode] = Factory(dict)
    """By account."""
    actions: Mapping[Ticket, Action] = Factory(dict)
    tickets: Mapping[Ticket, TicketState] = Factory(dict)
    ops: Mapping[int, OpRecord] = Factory(dict)
    next_op_id: int = 1
    votes: Mapping[int, Mapping[str, bool]] = Factory(dict)
    """By op, then verifier."""
    anchors: Mapping[int, EpochAnchor] = Factory(dict)
    suspicion: Mapping[str, Suspicion] = Factory(dict)
    postponed: frozenset[str] = frozenset()
    """Accounts with a storage-truth postponement marker."""
    failed_heals: frozenset[FailedHeal] = frozenset()
    events: tuple[Event, ...] = field(default=(), repr=False)
    """What this height's block tells."""

    @property
    def epoch(self) -> Epoch:
        """The epoch of the height."""
        return Epoch.at(self.params, self.height)

    def with_account(self, account: Account) -> "State":
        """The state with an account added or replaced."""
        return evolve(self, accounts=_with(self.accounts, account.address, account))

    def with_supernode(self, supernode: SuperNode) -> "State":
        """The state with a supernode added or replaced."""
        return evolve(self, supernodes=_with(self.supernodes, supernode.account, supernode))

    def with_ticket(self, ticket: TicketState) -> "State":
        """The state with a ticket's state added or replaced."""
        return evolve(self, tickets=_with(self.tickets, ticket.ticket, ticket))

    def with_op(self, op: OpRecord) -> "State":
        """The state with an op added or replaced."""
        return evolve(self, ops=_with(self.ops, op.op_id, op), next_op_id=max(self.next_op_id, op.op_id + 1))

    def with_vote(self, op_id: int, verifier: str, *, verified: bool) -> "State":
        """The state with a vote more."""
        return evolve(self, votes=_with(self.votes, op_id, _with(self.votes.get(op_id, {}), verifier, verified)))

    def with_event(self, kind: str, **attributes: object) -> "State":
        """The state with an event more; `kind` without the common beginning of all of them."""
        texts = tuple((name, str(value)) for name, value in attributes.items())
        event = Event(self.height, f"storage_truth_heal_op_{kind}", (*texts, ("module", "audit")))
        return evolve(self, events=(*self.events, event))

    def not_healed(self, op: OpRecord, epoch: int) -> "State":
        """The state after an op has ended badly: for the ticket, if it has a state, and its healer."""
        ticket = self.tickets.get(op.ticket)
        if ticket is None:
            return self
        marked = evolve(self, failed_heals=self.failed_heals | {FailedHeal(op.healer, epoch, op.ticket)})
        return marked.with_ticket(ticket.not_healed(op.op_id, epoch, self.params.probation_epochs))


def _with(table: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return {**table, key: value}
