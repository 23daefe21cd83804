"""The chain in a box: blocks, a mempool, and the last states. It does no I/O and has no clock and no chance."""

from collections import deque
from collections.abc import Iterable
from typing import final

from attrs import Factory, define, evolve, field
from grpclib.const import Status

from lep6.devnet.chain.accounts import Account
from lep6.devnet.chain.ante import ante
from lep6.devnet.chain.blocks import begin_block, end_block
from lep6.devnet.chain.execution import deliver, simulate
from lep6.devnet.chain.failures import SDK, TxFailed
from lep6.devnet.chain.gas import GasRules
from lep6.devnet.chain.mempool import Mempool
from lep6.devnet.chain.ops import OpRecord
from lep6.devnet.chain.paging import QueryError
from lep6.devnet.chain.params import ChainParams
from lep6.devnet.chain.queries import View
from lep6.devnet.chain.state import Event, State
from lep6.devnet.chain.supernodes import StateRecord, SuperNode, SuperNodeState, validator_bytes, validator_of
from lep6.devnet.chain.suspicion import Suspicion
from lep6.devnet.chain.tickets import TicketState
from lep6.devnet.chain.transactions import Tx, TxResult
from lep6.keys import PublicKey
from lep6.model import Action, EnforcementMode


@final
@define(eq=False, kw_only=True)
class Chain:
    """A chain with one node and one mempool. What is set on it counts at once, in its newest state."""

    genesis_params: ChainParams = Factory(ChainParams)
    genesis_height: int = Factory(lambda self: self.genesis_params.epoch_zero_height - 1, takes_self=True)
    """The height of the state before the first block."""
    chain_id: str = "lumera-devnet-1"
    """What signatures are for."""
    genesis_time: float = 0.0
    """In seconds since the Unix epoch."""
    gas: GasRules = Factory(GasRules)
    mempool_capacity: int = 5000
    max_tx_size: int = 1 << 20
    """Bytes of the largest transaction that the mempool takes."""
    kept_states: int = 64
    """States that queries can be answered from, the newest included."""
    events: list[Event] = field(factory=list, init=False, repr=False)
    """All that the blocks have told, in order."""
    included: list[tuple[Tx, TxResult]] = field(factory=list, init=False, repr=False)
    """All transactions in blocks, in order, and what became of them."""
    _states: deque[State] = field(init=False, repr=False)
    _checked: State = field(init=False, repr=False)
    """The newest state after all that waits in the mempool: what CheckTx and simulations go by."""
    _pool: Mempool = field(init=False, repr=False)
    _results: dict[str, TxResult] = field(factory=dict, init=False, repr=False)
    """What became of the transactions in blocks, by hash."""
    _failing: dict[str, TxResult] = field(factory=dict, init=False, repr=False)
    """Transactions that are to fail in their block, by hash."""

    def __attrs_post_init__(self) -> None:
        genesis = State(
            height=self.genesis_height, time=self.genesis_time, params=self.genesis_params, chain_id=self.chain_id
        )
        self._states = deque([genesis], maxlen=self.kept_states)
        self._checked = genesis
        self._pool = Mempool(self.mempool_capacity)

    # Asking

    @property
    def state(self) -> State:
        """The newest state."""
        return self._states[-1]

    @property
    def height(self) -> int:
        """The height of the newest block."""
        return self.state.height

    def at(self, lag: int = 0) -> View:
        """The chain as a node that is some blocks behind tells it; no older than the oldest state that is kept."""
        return View(self._states[-1 - min(max(0, lag), len(self._states) - 1)], self._results)

    def at_height(self, height: int, *, lag: int = 0) -> View:
        """The chain as it was at a height, told by a node that is some blocks behind; 0 for its newest.

        Raises:
            QueryError: UNKNOWN, the height is negative, still to come, or not kept any more.
        """
        if height < 0:
            raise QueryError(Status.UNKNOWN, "cannot query with height < 0; please provide a valid height")
        newest = self.at(lag)
        if height > newest.height:
            text = "cannot query with height in the future; please provide a valid height: invalid height"
            raise QueryError(Status.UNKNOWN, text)
        if not height:
            return newest
        if height < self._states[0].height:
            text = f"failed to load state at height {height}; version does not exist (latest height: {newest.height})"
            raise QueryError(Status.UNKNOWN, f"{text}: invalid request")
        return self.at(self.height - height)

    def mempool(self) -> tuple[Tx, ...]:
        """The transactions that wait, in the order of their arrival."""
        return self._pool.txs

    # Transactions

    def check(self, tx: Tx) -> TxResult:
        """What CheckTx says. No handler runs, so no code of the audit module comes from here."""
        try:
            self._check(tx)
        except TxFailed as failure:
            return TxResult(failure.code, failure.codespace, str(failure))
        return TxResult(0, "", "")

    def submit(self, tx: Tx) -> TxResult:
        """Check a transaction, and let it wait for a block if it is in order."""
        result = self.check(tx)
        if result.code == 0:
            self._pool.add(tx)
            # Not only this one: it may fill the gap that others wait behind.
            self._recheck()
        return result

    def simulate(self, tx: Tx) -> int:
        """The gas that a transaction would use, after those that wait, and without any effect.

        Raises:
            QueryError: UNKNOWN, it would fail; only the text tells how.
        """
        return simulate(self._checked, tx, self.gas)

    def make_block(self, time: float) -> int:
        """Make a block with this time (seconds since the Unix epoch) of what waits; give its height."""
        state = end_block(self._pool.reap(begin_block(self.state, time), self._deliver))
        self._states.append(state)
        self.events.extend(state.events)
        self._recheck()
        return state.height

    def _check(self, tx: Tx) -> None:
        """Refuse a transaction that is not in order, or not wanted."""
        if len(tx.raw) > self.max_tx_size:
            raise TxFailed(SDK, 21)
        if self._pool.is_full:
            raise TxFailed(SDK, 20)
        result = self._results.get(tx.tx_hash)
        # A node remembers what it has included with success, and takes it for known.
        if tx.tx_hash in self._pool or (result is not None and result.code == 0):
            raise TxFailed(SDK, 19)
        ante(self._checked, tx, self.gas)

    def _deliver(self, state: State, tx: Tx) -> State:
        """The state after a transaction in a block; what became of it is noted."""
        state, result = deliver(state, tx, self.gas, self._failing.get(tx.tx_hash))
        self._results[tx.tx_hash] = result
        self.included.append((tx, result))
        return state

    def _recheck(self) -> None:
        """Go through the mempool again on the newest state."""
        self._checked = self._pool.recheck(self.state, lambda state, tx: ante(state, tx, self.gas, known=True))

    # Faults

    def drop(self, tx_hash: str) -> bool:
        """Evict a transaction from the mempool; whether it was there."""
        return self._drop([tx_hash])

    def clear_mempool(self) -> bool:
        """Evict all that waits; whether anything did."""
        return self._drop([tx.tx_hash for tx in self._pool.txs])

    def hold(self, tx_hash: str, blocks: int) -> None:
        """Keep a transaction, waiting or to come, out of the next blocks. What comes after it waits with it."""
        self._pool.hold(tx_hash, self.height + blocks)

    def fail_in_block(self, tx_hash: str, code: int, codespace: str, log: str) -> None:
        """Let a transaction, waiting or to come, fail in its block. It pays, and has no effect."""
        self._failing[tx_hash] = TxResult(code, codespace, log)

    def _drop(self, tx_hashes: Iterable[str]) -> bool:
        was_there = self._pool.remove(tx_hashes)
        self._recheck()
        return was_there

    # What is so

    def add_account(
        self,
        address: str,
        balance: int = 0,
        *,
        public_key: PublicKey | None = None,
        sequence: int = 0,
        number: int | None = None,
        legacy_address: str | None = None,
        is_vesting: bool = False,
    ) -> Account:
        """Add or replace an account with a balance in ulume; without a number it gets the next one."""
        if number is None:
            number = 1 + max((account.number for account in self.state.accounts.values()), default=-1)
        account = Account(address, number, sequence, balance, public_key, legacy_address, is_vesting)
        self._become(self.state.with_account(account))
        return account

    def add_supernode(
        self,
        account: str,
        state: SuperNodeState = SuperNodeState.ACTIVE,
        *,
        host: str = "",
        validator: str | None = None,
        p2p_port: str = "4445",
    ) -> SuperNode:
        """Add or replace a supernode.

        Raises:
            InvalidKey: the validator is not an operator's address.
        """
        validator = validator or validator_of(account)
        validator_bytes(validator)
        supernode = SuperNode(validator, account, host, (StateRecord(state, self.height),), p2p_port)
        self._become(self.state.with_supernode(supernode))
        return supernode

    def set_supernode_host(self, account: str, host: str) -> None:
        """Let a supernode register the address at which it serves.

        Raises:
            QueryError: NOT_FOUND, there is none with this account.
        """
        supernode = self.at().supernode_by_account(account)
        self._become(self.state.with_supernode(supernode.at_host(host)))

    def set_supernode_state(self, account: str, state: SuperNodeState, reason: str = "") -> None:
        """Let a supernode come into a state.

        Raises:
            QueryError: NOT_FOUND, there is none with this account.
        """
        supernode = self.at().supernode_by_account(account)
        self._become(self.state.with_supernode(supernode.moved(state, self.height, reason)))

    def add_action(self, action: Action) -> None:
        """Add or replace an action."""
        self._become(evolve(self.state, actions={**self.state.actions, action.ticket: action}))

    def set_ticket(self, ticket: TicketState) -> None:
        """Set a ticket's state."""
        self._become(self.state.with_ticket(ticket))

    def set_op(self, op: OpRecord) -> None:
        """Add or replace an op as it is; those that are scheduled later get higher ids."""
        self._become(self.state.with_op(op))

    def prune_ops(self, op_ids: Iterable[int]) -> None:
        """Forget ops, as if they had ended long ago."""
        gone = frozenset(op_ids)
        ops = {op_id: op for op_id, op in self.state.ops.items() if op_id not in gone}
        votes = {op_id: cast for op_id, cast in self.state.votes.items() if op_id not in gone}
        self._become(evolve(self.state, ops=ops, votes=votes))

    def set_mode(self, mode: EnforcementMode) -> None:
        """Set the enforcement mode, as governance does."""
        self.set_params(evolve(self.state.params, mode=mode))

    def set_params(self, params: ChainParams) -> None:
        """Set parameters, as governance does.

        Raises:
            InvalidParams: the epochs would be others.
        """
        self._become(evolve(self.state, params=self.state.params.changed_to(params)))

    def set_suspicion(self, account: str, score: int, *, epoch: int | None = None) -> None:
        """Set an account's suspicion score as of an epoch, the current one if none is given."""
        when = self.state.epoch.epoch_id if epoch is None else epoch
        self._become(evolve(self.state, suspicion={**self.state.suspicion, account: Suspicion(score, when)}))

    def set_postponed(self, account: str, postponed: bool) -> None:
        """Set or take away an account's storage-truth postponement marker."""
        others = self.state.postponed - {account}
        self._become(evolve(self.state, postponed=others | {account} if postponed else others))

    def _become(self, state: State) -> None:
        """Replace the newest state."""
        self._states[-1] = state
        self._recheck()
