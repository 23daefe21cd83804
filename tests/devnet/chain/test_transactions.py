import hashlib

import pytest
from attrs import evolve
from grpclib.const import Status

from chainbox import EPOCH, HASH, address, chain_of, claim, claimed, run, run_to, scheduled, send, tx, vote
from lep6.devnet.chain import QueryError, Tx
from lep6.devnet.chain.gas import fee, gas_limit
from lep6.errors import InvalidMessage
from lep6.model import HealOpStatus, Ticket
from lep6.transaction import Claim

NODE = address("node 0")
CLAIM = Claim(1, Ticket("42"), HASH)


def account(chain, name=NODE):
    return chain.at().account(name)


def test_equal_transactions_have_equal_bytes():
    chain = chain_of()
    one = tx(chain, NODE, CLAIM)
    assert one.raw == evolve(one).raw
    assert one.tx_hash == hashlib.sha256(one.raw).hexdigest().upper()
    others = [{"sequence": 1}, {"timeout_height": 5}, {"gas_limit": 1}, {"fee": 1}, {"memo": "x"}, {"creator": "x"}]
    assert len({one.tx_hash, *(evolve(one, **changes).tx_hash for changes in others)}) == 7
    for message in (CLAIM, vote(claimed()[1], False)):
        assert Tx.decode(evolve(one, message=message).raw) == evolve(one, message=message)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"message":["claim",1]}', b'{"message":1}'])
def test_rubbish_is_no_transaction(raw):
    with pytest.raises(InvalidMessage):
        Tx.decode(raw)


def test_bytes_written_otherwise_are_no_transaction():
    raw = tx(chain_of(), NODE, CLAIM).raw
    with pytest.raises(InvalidMessage):
        Tx.decode(raw + b" ")
    for old, new in [
        (b'"memo"', b'"memos"'),
        (b'"memo":""', b'"memo":1'),
        (b'"fee":5000', b'"fee":"5000"'),
        (b'"fee":5000', b'"fee":-1'),
        (b'"fee":5000', b'"fee":18446744073709551616'),
        (b'["claim",1,', b'["claim",true,'),
    ]:
        assert old in raw
        with pytest.raises(InvalidMessage):
            Tx.decode(raw.replace(old, new))


RETRY = "Please retry using a higher gas price or a higher fee"

REJECTIONS = [
    ({"creator": address("nobody")}, 9, f"fee payer address: {address('nobody')} does not exist: unknown address"),
    ({"fee": 10**10}, 5, "spendable balance 1000000000ulume is smaller than 10000000000ulume: insufficient funds"),
    (
        {"fee": 499},
        13,
        f"gas prices too low, got: 0.002495ulume required: 0.002500ulume. {RETRY}: insufficient fee",
    ),
    ({"gas_limit": 1000}, 11, "out of gas in location: WriteFlat; gasWanted: 1000, gasUsed: 60000: out of gas"),
    ({"timeout_height": 2}, 30, "block height: 3, timeout height: 2: tx timeout height"),
    ({"sequence": 7854}, 32, "account sequence mismatch, expected 7855, got 7854: incorrect account sequence"),
    ({"sequence": 7856}, 32, "account sequence mismatch, expected 7855, got 7856: incorrect account sequence"),
]


@pytest.mark.parametrize(("changes", "code", "log"), REJECTIONS)
def test_what_is_not_in_order_is_rejected_without_effect(changes, code, log):
    chain = chain_of()
    chain.add_account(NODE, 10**9, sequence=7855)
    run(chain, 3)
    sent = evolve(tx(chain, NODE, CLAIM), **changes)
    result = chain.submit(sent)
    assert (result.codespace, result.code, result.log, result.height) == ("sdk", code, log, 0)
    assert result == chain.check(sent)
    assert chain.mempool() == ()


def test_the_last_ulume_can_be_paid_and_the_last_gas_used():
    chain, op = scheduled(balance=5000)
    sent = send(chain, op.healer, claim(op), gas_limit=100_000)
    run(chain, 1)
    assert chain.at().tx(sent.tx_hash).code == 0
    assert account(chain, op.healer).balance == 0


def test_the_least_fee_is_enough():
    assert chain_of().check(tx(chain_of(), NODE, CLAIM, fee=500)).code == 0


def test_the_same_transaction_waits_once():
    chain, op = scheduled()
    sent = send(chain, op.healer, claim(op))
    assert (chain.submit(sent).codespace, chain.submit(sent).code) == ("sdk", 19)
    assert chain.mempool() == (sent,)
    run(chain, 1)
    assert chain.submit(sent).code == 19


def test_a_full_mempool_takes_nothing():
    chain = chain_of(chain={"mempool_capacity": 1})
    send(chain, NODE, CLAIM)
    result = chain.submit(tx(chain, NODE, CLAIM))
    assert (result.codespace, result.code, result.log) == ("sdk", 20, "mempool is full")


def test_handlers_do_not_run_before_the_block():
    chain = chain_of()
    sent = send(chain, NODE, CLAIM)
    run(chain, 1)
    result = chain.at().tx(sent.tx_hash)
    assert (result.codespace, result.code, result.height) == ("audit", 11, 1)
    assert result.log == "failed to execute message; message index: 0: heal op 1 not found: heal op not found"


def test_a_message_that_fails_pays_and_uses_its_sequence():
    chain = chain_of()
    send(chain, NODE, CLAIM)
    run(chain, 1)
    assert (account(chain).sequence, account(chain).balance) == (1, 10**9 - 5000)
    assert chain.state.collected == 5000


def test_sequences_count_what_waits():
    chain = chain_of()
    sent = [send(chain, NODE, CLAIM, memo=str(n)) for n in range(3)]
    assert [one.sequence for one in sent] == [0, 1, 2]
    assert account(chain).sequence == 0
    run(chain, 1)
    assert account(chain).sequence == 3
    assert chain.mempool() == ()


def test_funds_count_what_waits():
    chain = chain_of(balance=12_000)
    send(chain, NODE, CLAIM)
    send(chain, NODE, CLAIM)
    assert chain.submit(tx(chain, NODE, CLAIM)).code == 5


def test_transactions_run_in_the_order_of_their_arrival():
    chain, op = claimed(verifier_count=1)
    chain.fail_in_block("AB", 1, "sdk", "of no transaction")
    first = send(chain, op.verifiers[0], vote(op))
    second = send(chain, op.healer, claim(op))
    run(chain, 1)
    assert [one for one, _ in chain.included][1:] == [first, second]
    assert [result.height for _, result in chain.included] == [EPOCH + 1, EPOCH + 2, EPOCH + 2]
    assert chain.at().tx(first.tx_hash).code == 0
    assert "HEAL_OP_STATUS_VERIFIED" in chain.at().tx(second.tx_hash).log


def test_a_time_out_height_is_the_last_block():
    chain = chain_of()
    kept = send(chain, NODE, CLAIM, timeout_height=1)
    run(chain, 1)
    assert chain.at().tx(kept.tx_hash).height == 1
    late = send(chain, NODE, CLAIM, timeout_height=2)
    chain.hold(late.tx_hash, 1)
    run(chain, 1)
    assert chain.mempool() == (late,)
    run(chain, 1)
    assert chain.mempool() == ()
    with pytest.raises(QueryError, match="tx not found"):
        chain.at().tx(late.tx_hash)
    assert account(chain).sequence == 1


def test_a_dropped_transaction_gives_its_sequence_back_and_what_follows_waits():
    chain = chain_of()
    first, second, third = (send(chain, NODE, CLAIM, memo=str(n)) for n in range(3))
    assert chain.drop(second.tx_hash)
    assert not chain.drop(second.tx_hash)
    assert "expected 1, got 3" in chain.check(evolve(third, sequence=3)).log
    run(chain, 1)
    assert chain.mempool() == (third,)
    assert chain.at().tx(first.tx_hash).code
    assert chain.submit(evolve(second, memo="again")).code == 0
    assert "expected 3, got 2" in chain.check(evolve(third, memo="again")).log
    run(chain, 1)
    assert account(chain).sequence == 3
    assert chain.at().tx(third.tx_hash).height == 2


def test_what_waits_behind_a_gap_leaves_when_it_is_late():
    chain = chain_of()
    first = send(chain, NODE, CLAIM)
    second = send(chain, NODE, CLAIM, timeout_height=2)
    chain.drop(first.tx_hash)
    run(chain, 2)
    assert chain.mempool() == (second,)
    run(chain, 1)
    assert chain.mempool() == ()


def test_what_waits_for_a_sequence_that_is_gone_leaves():
    chain = chain_of()
    first = send(chain, NODE, CLAIM)
    chain.drop(first.tx_hash)
    rival = send(chain, NODE, CLAIM, memo="rival")
    run(chain, 1)
    assert chain.submit(first).code == 32
    assert chain.at().tx(rival.tx_hash).height == 1


def test_a_cleared_mempool_is_empty():
    chain = chain_of()
    send(chain, NODE, CLAIM)
    send(chain, NODE, CLAIM)
    assert chain.clear_mempool()
    assert not chain.clear_mempool()
    run(chain, 1)
    assert account(chain).sequence == 0
    assert chain.submit(tx(chain, NODE, CLAIM)).code == 0


def test_what_is_held_comes_late_and_what_follows_it_with_it():
    chain, op = scheduled()
    sent = tx(chain, op.healer, claim(op))
    chain.hold(sent.tx_hash, 2)
    chain.submit(sent)
    after = send(chain, op.healer, claim(op), memo="after")
    run(chain, 2)
    assert chain.at().heal_op(1).status is HealOpStatus.SCHEDULED
    run(chain, 1)
    assert chain.at().tx(sent.tx_hash).height == chain.at().tx(after.tx_hash).height == EPOCH + 3
    assert chain.at().heal_op(1).status is HealOpStatus.HEALER_REPORTED


def test_a_failure_in_the_block_has_no_effect_but_the_fee():
    chain, op = scheduled()
    sent = send(chain, op.healer, claim(op))
    chain.fail_in_block(sent.tx_hash, 11, "sdk", "out of gas")
    events = len(chain.events)
    run(chain, 1)
    result = chain.at().tx(sent.tx_hash)
    assert (result.code, result.codespace, result.log, result.height) == (11, "sdk", "out of gas", EPOCH + 1)
    assert chain.at().heal_op(1) == op
    assert len(chain.events) == events
    assert account(chain, op.healer).sequence == 1
    send(chain, op.healer, claim(op))
    run(chain, 1)
    assert chain.at().heal_op(1).status is HealOpStatus.HEALER_REPORTED


def test_too_little_gas_fails_in_the_block():
    chain, op = scheduled()
    sent = send(chain, op.healer, claim(op), gas_limit=90_000)
    run(chain, 1)
    result = chain.at().tx(sent.tx_hash)
    assert (result.codespace, result.code, result.gas_wanted, result.gas_used) == ("sdk", 11, 90_000, 100_000)
    assert result.log == "out of gas in location: WriteFlat; gasWanted: 90000, gasUsed: 100000: out of gas"
    assert chain.at().heal_op(1) == op


def test_a_simulation_runs_the_handler_and_has_no_effect():
    chain, op = scheduled()
    before = chain.state
    simulated = tx(chain, op.healer, claim(op), gas_limit=0, fee=1)
    assert chain.simulate(simulated) == 100_000
    assert chain.simulate(simulated) == 100_000
    assert chain.state is before
    assert chain.mempool() == ()


def test_a_simulation_fails_with_text_alone():
    chain, op = scheduled()
    with pytest.raises(QueryError) as caught:
        chain.simulate(tx(chain, op.verifiers[0], claim(op), gas_limit=0, fee=1))
    assert caught.value.status is Status.UNKNOWN
    assert caught.value.message.startswith(
        "failed to execute message; message index: 0: creator is not assigned healer for this heal op: "
        "heal op unauthorized actor ["
    )
    assert caught.value.message.endswith(" with gas used: '100000'")
    with pytest.raises(QueryError) as caught:
        chain.simulate(tx(chain, op.healer, claim(op), gas_limit=0, fee=1, sequence=9))
    assert caught.value.message.startswith("account sequence mismatch, expected 0, got 9: incorrect account sequence [")


def test_a_simulation_sees_the_sequences_of_what_waits_but_not_its_effects():
    chain, op = scheduled()
    send(chain, op.healer, claim(op))
    assert chain.simulate(tx(chain, op.healer, claim(op), gas_limit=0, fee=1)) == 100_000


@pytest.mark.parametrize(
    ("used", "limit", "offered"), [(81234, 155604, 3891), (100_000, 180_000, 4500), (0, 50_000, 1250)]
)
def test_clients_gas_and_fee_are_the_contracts(used, limit, offered):
    assert (gas_limit(used), fee(gas_limit(used))) == (limit, offered)
    assert fee(0) == 1


def test_the_clock_is_the_callers():
    chain = chain_of(chain={"genesis_time": 100.0})
    assert chain.at().latest_block().time == 100.0
    assert chain.make_block(106.5) == 1
    assert chain.at().latest_block().time == 106.5


def test_what_is_in_the_last_block_comes_before_its_end():
    chain, op = scheduled(deadline_epochs=1)
    run_to(chain, 2 * EPOCH - 1)
    sent = send(chain, op.healer, claim(op))
    run(chain, 1)
    assert chain.at().tx(sent.tx_hash).code == 0
    assert chain.at().heal_op(1).status is HealOpStatus.EXPIRED
