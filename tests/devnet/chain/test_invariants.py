"""Whatever happens in whatever order, some things are always so."""

from collections import Counter

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chainbox import HASH, OTHER_HASH, address, chain_of, ticket
from lep6.devnet.chain import Tx
from lep6.model import EnforcementMode, HealOpStatus, Ticket
from lep6.transaction import Claim, Vote

NODES = 4
TICKETS = ["1", "2", "3"]
BALANCE = 10**6

MOVES = {
    (None, HealOpStatus.SCHEDULED),
    (HealOpStatus.SCHEDULED, HealOpStatus.HEALER_REPORTED),
    (HealOpStatus.SCHEDULED, HealOpStatus.EXPIRED),
    (HealOpStatus.HEALER_REPORTED, HealOpStatus.VERIFIED),
    (HealOpStatus.HEALER_REPORTED, HealOpStatus.FAILED),
    (HealOpStatus.HEALER_REPORTED, HealOpStatus.EXPIRED),
}
"""The transition table; a block may make two moves of it."""

TWO_MOVES = {(a, d) for a, b in MOVES for c, d in MOVES if b is c}

accounts = st.integers(0, NODES - 1).map(lambda n: address(f"node {n}"))
hashes = st.sampled_from([HASH, OTHER_HASH, ""])
ops = st.integers(0, 6)
messages = st.one_of(
    st.builds(Claim, op_id=ops, ticket=st.sampled_from(TICKETS).map(Ticket), manifest_hash=hashes),
    st.builds(Vote, op_id=ops, verified=st.booleans(), hash=hashes, details=st.sampled_from(["", "why"])),
)


class AnyOrder(RuleBasedStateMachine):
    @initialize(verifiers=st.integers(1, 3), keep=st.integers(1, 3))
    def begin(self, verifiers, keep):
        self.chain = chain_of(
            NODES,
            balance=BALANCE,
            tickets=[ticket(name) for name in TICKETS],
            epoch_length=3,
            deadline_epochs=2,
            probation_epochs=1,
            max_ops_per_epoch=2,
            verifier_count=verifiers,
            keep_epochs=keep,
        )
        self.statuses = {}
        self.sequences = Counter()
        self.gone = set()

    @rule(creator=accounts, message=messages, ahead=st.integers(-1, 1), life=st.integers(0, 3))
    def submit(self, creator, message, ahead, life):
        waiting = sum(tx.creator == creator for tx in self.chain.mempool())
        sequence = self.chain.state.accounts[creator].sequence + waiting + ahead
        self.submitted(creator, message, max(0, sequence), life)

    @rule(data=st.data())
    def act(self, data):
        """What makes sense: otherwise hardly an op would come to its end."""
        open_ops = [op for op in self.chain.state.ops.values() if not op.is_final]
        if not open_ops:
            return
        op = data.draw(st.sampled_from(open_ops))
        if op.status is HealOpStatus.SCHEDULED:
            creator, message = op.healer, Claim(op.op_id, op.ticket, HASH)
        else:
            verified = data.draw(st.booleans())
            creator = data.draw(st.sampled_from(op.verifiers))
            message = Vote(op.op_id, verified, op.result_hash, "")
        waiting = sum(tx.creator == creator for tx in self.chain.mempool())
        self.submitted(creator, message, self.chain.state.accounts[creator].sequence + waiting, 0)

    @rule(verified=st.booleans(), claims_first=st.booleans())
    def end_the_first(self, verified, claims_first):
        """A claim and all votes, in one block or two."""
        op = next((op for op in self.chain.state.ops.values() if not op.is_final), None)
        if op is None:
            return
        self.chain.clear_mempool()
        claim = Claim(op.op_id, op.ticket, HASH)
        self.submitted(op.healer, claim, self.chain.state.accounts[op.healer].sequence, 0)
        if claims_first:
            self.go_on(1)
        for verifier in op.verifiers:
            message = Vote(op.op_id, verified, op.result_hash or HASH, "why")
            self.submitted(verifier, message, self.chain.state.accounts[verifier].sequence, 0)
        self.go_on(1)

    def submitted(self, creator, message, sequence, life):
        timeout = self.chain.height + life if life else 0
        tx = Tx(
            creator=creator, message=message, sequence=sequence, timeout_height=timeout, gas_limit=120_000, fee=3000
        )
        checked = self.chain.check(tx)
        assert self.chain.submit(tx) == checked
        assert (tx in self.chain.mempool()) == (
            checked.code in (0, 19) and tx not in [one for one, _ in self.chain.included]
        )

    @rule(blocks=st.integers(1, 4))
    def go_on(self, blocks):
        for _ in range(blocks):
            self.chain.make_block(float(self.chain.height))
            self.watch()

    @rule(data=st.data())
    def disturb(self, data):
        if not self.chain.mempool():
            return
        tx = data.draw(st.sampled_from(self.chain.mempool()))
        match data.draw(st.sampled_from(["drop", "hold", "fail", "clear"])):
            case "drop":
                self.chain.drop(tx.tx_hash)
            case "hold":
                self.chain.hold(tx.tx_hash, 2)
            case "fail":
                self.chain.fail_in_block(tx.tx_hash, 11, "sdk", "out of gas")
            case "clear":
                self.chain.clear_mempool()

    @rule(name=st.sampled_from(TICKETS), mode=st.sampled_from(EnforcementMode))
    def worsen(self, name, mode):
        self.chain.set_mode(mode)
        if name in self.chain.state.tickets:
            old = self.chain.at().ticket_state(name)
            self.chain.set_ticket(evolve(old, deterioration_score=80, recent_failure_epoch_count=2))

    def watch(self):
        """Compare a block with the one before."""
        for op in self.chain.state.ops.values():
            before = self.statuses.get(op.op_id)
            assert op.op_id not in self.gone
            assert before is op.status or (before, op.status) in MOVES | TWO_MOVES
            self.statuses[op.op_id] = op.status
        self.gone = set(self.statuses) - set(self.chain.state.ops)
        for name, account in self.chain.state.accounts.items():
            assert account.sequence >= self.sequences[name]
            self.sequences[name] = account.sequence

    @invariant()
    def a_ticket_has_one_open_op_at_most(self):
        assert all(
            n == 1 for n in Counter(op.ticket for op in self.chain.state.ops.values() if not op.is_final).values()
        )

    @invariant()
    def no_money_is_lost(self):
        balances = [account.balance for account in self.chain.state.accounts.values()]
        assert min(balances) >= 0
        assert sum(balances) + self.chain.state.collected == NODES * BALANCE

    @invariant()
    def every_sequence_was_paid_for(self):
        assert self.chain.state.collected == 3000 * sum(a.sequence for a in self.chain.state.accounts.values())

    @invariant()
    def nothing_waits_that_is_over(self):
        for tx in self.chain.mempool():
            assert not tx.is_late(self.chain.height)
            assert tx.sequence >= self.chain.state.accounts[tx.creator].sequence

    @invariant()
    def nothing_was_included_late(self):
        for tx, result in self.chain.included:
            assert not tx.is_late(result.height)

    @invariant()
    def tickets_point_to_their_open_ops(self):
        for op in self.chain.state.ops.values():
            if not op.is_final:
                assert self.chain.state.tickets[op.ticket].active_heal_op_id == op.op_id
            assert op.healer not in op.verifiers


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(stateful_step_count=60, max_examples=60)
