import pytest
from attrs import evolve

from chainbox import EPOCH, HASH, OTHER_HASH, address, cast, chain_of, claim, claimed, run, scheduled, vote
from lep6 import ports
from lep6.chain.classify import BY_CODE, expected_sequence, refusal_in, refusal_of
from lep6.devnet.chain import ChainClient
from lep6.devnet.chain.failures import DESCRIPTIONS, TxFailed, in_handler, in_simulation
from lep6.errors import ChainUnavailable
from lep6.keys import KeyKind, PrivateKey
from lep6.model import Action, ActionState, Block, EnforcementMode, HealOpStatus, Parameters, Ticket
from lep6.ports import At
from lep6.transaction import Absent, Claim, Included, Pooled, Refusal, Refused, Transaction

MAPPING = {
    ("audit", 1): Refusal.OTHER,
    ("audit", 11): Refusal.OP_UNKNOWN,
    ("audit", 12): Refusal.NOT_ASSIGNED,
    ("audit", 13): Refusal.WRONG_STATUS,
    ("audit", 14): Refusal.WRONG_TICKET,
    ("audit", 15): Refusal.VOTE_EXISTS,
    ("audit", 17): Refusal.WRONG_HASH,
    ("sdk", 2): Refusal.OTHER,
    ("sdk", 4): Refusal.KEY,
    ("sdk", 5): Refusal.FUNDS,
    ("sdk", 9): Refusal.FUNDS,
    ("sdk", 11): Refusal.GAS,
    ("sdk", 13): Refusal.FEE,
    ("sdk", 20): Refusal.MEMPOOL,
    ("sdk", 21): Refusal.OTHER,
    ("sdk", 30): Refusal.LATE,
    ("sdk", 32): Refusal.SEQUENCE,
    ("sdk", 999): Refusal.OTHER,
    ("elsewhere", 11): Refusal.OTHER,
}


@pytest.mark.parametrize(("code", "refusal"), MAPPING.items())
def test_codes_and_texts_mean_the_same(code, refusal):
    assert refusal_of(*code) is refusal
    if code in DESCRIPTIONS:
        failure = TxFailed(*code, "heal op not found: quoted by somebody [x]")
        for text in (str(failure), in_handler(failure)):
            assert (refusal_in(in_simulation(text, "a/b.go:1", 35369)) or Refusal.OTHER) is refusal
            assert (refusal_in(text) or Refusal.OTHER) is refusal


def test_what_is_unknown_is_other():
    assert set(BY_CODE) <= set(MAPPING)
    assert refusal_in("") is refusal_in("heal op not found, or so") is None
    assert expected_sequence("incorrect account sequence") is None


async def sent(client, message, *, last_height=None) -> Transaction:
    prepared = await client.prepare(message, last_height=last_height)
    assert isinstance(prepared, Transaction), prepared
    assert await client.broadcast(prepared) == Pooled()
    return prepared


def client_of(chain, account, **options) -> ChainClient:
    client = ChainClient(chain, account, **options)
    port: ports.Chain = client
    accounts: ports.Accounts = client
    assert port is accounts
    return client


async def test_a_claim_and_two_votes_heal():
    chain, op = scheduled()
    prepared = await sent(client_of(chain, op.healer), claim(op))
    assert (prepared.sequence, prepared.timeout_height) == (0, EPOCH + 10)
    client = client_of(chain, op.verifiers[0])
    assert await client.lookup(prepared.tx_hash) == At(Absent(), EPOCH)
    run(chain, 1)
    assert await client.lookup(prepared.tx_hash) == At(Included(EPOCH + 1, None), EPOCH + 1)
    for verifier in op.verifiers:
        await sent(client_of(chain, verifier), vote(op))
    run(chain, 1)
    answer = await client.heal_op(1)
    assert answer.height == EPOCH + 2
    assert answer.value.status is HealOpStatus.VERIFIED


async def test_gas_and_fee_are_of_the_simulation():
    chain, op = scheduled()
    await sent(client_of(chain, op.healer), claim(op))
    (waiting,) = chain.mempool()
    assert (waiting.gas_limit, waiting.fee) == (180_000, 4500)


async def test_queries_are_answered_with_their_height():
    chain, op = claimed()
    client = client_of(chain, op.healer)
    assert await client.latest_block() == Block(11, 66.0)
    assert await client.parameters() == At(Parameters(EnforcementMode.SHADOW, 1, EPOCH), 11)
    assert await client.heal_op(1) == At(op.op, 11)
    assert await client.heal_op(2) == At(None, 11)
    assert await client.action(Ticket("42")) == At(None, 11)
    action = Action(Ticket("42"), op.healer, ActionState.DONE, b"")
    chain.add_action(action)
    assert await client.action(Ticket("42")) == At(action, 11)
    page = await client.heal_ops(HealOpStatus.HEALER_REPORTED)
    assert (page.value.ops, page.value.next_page, page.height) == ((op.op,), b"", 11)
    with pytest.raises(ChainUnavailable):
        await client.heal_op(0)
    with pytest.raises(ChainUnavailable):
        await client.heal_ops(HealOpStatus.UNSPECIFIED)


async def test_a_node_that_is_behind_says_so():
    chain, op = claimed()
    client = client_of(chain, op.healer, lag=lambda: 1)
    assert (await client.heal_op(1)).value.status is HealOpStatus.SCHEDULED
    assert (await client.heal_op(1)).height == EPOCH
    assert await client_of(chain, op.healer, lag=lambda: 2).heal_op(1) == At(None, EPOCH - 1)


async def test_accounts_show_what_they_have_shown():
    chain = chain_of(1)
    key = PrivateKey(KeyKind.COSMOS, b"\x01" * 32).public
    chain.add_account(key.address, public_key=key, legacy_address=address("old"))
    client = client_of(chain, address("node 0"))
    assert await client.public_key(key.address) == key
    assert await client.public_key(address("node 0")) is None
    assert await client.public_key(address("nobody")) is None
    assert await client.legacy_address(key.address) == address("old")
    assert await client.legacy_address(address("nobody")) is None
    with pytest.raises(ChainUnavailable):
        await client.public_key("what")


async def test_the_last_height_bounds_the_time_out():
    chain, op = scheduled()
    client = client_of(chain, op.healer)
    prepared = await client.prepare(claim(op), last_height=EPOCH + 3)
    assert isinstance(prepared, Transaction)
    assert prepared.timeout_height == EPOCH + 3
    far = await client.prepare(claim(op), last_height=EPOCH + 100)
    assert isinstance(far, Transaction)
    assert far.timeout_height == EPOCH + 10
    assert await client.prepare(claim(op), last_height=EPOCH) == Refused(Refusal.LATE)
    run(chain, 4)
    assert await client.broadcast(prepared) == Refused(Refusal.LATE)


async def test_refusals_of_the_message_come_with_the_simulation():
    chain, op = scheduled()
    healer, verifier = client_of(chain, op.healer), client_of(chain, op.verifiers[0])
    refusals = [
        (healer, Claim(9, op.ticket, HASH), Refusal.OP_UNKNOWN),
        (healer, claim(op, ticket="heal op not found"), Refusal.WRONG_TICKET),
        (verifier, claim(op), Refusal.NOT_ASSIGNED),
        (verifier, vote(op), Refusal.WRONG_STATUS),
        (client_of(chain, address("nobody")), claim(op), Refusal.FUNDS),
    ]
    for client, message, refusal in refusals:
        assert await client.prepare(message, last_height=None) == Refused(refusal)
    await sent(healer, claim(op))
    run(chain, 1)
    assert await verifier.prepare(vote(op, hash=OTHER_HASH), last_height=None) == Refused(Refusal.WRONG_HASH)
    cast(chain, op, True)
    assert await verifier.prepare(vote(op), last_height=None) == Refused(Refusal.SEQUENCE)
    assert await verifier.prepare(vote(op), last_height=None) == Refused(Refusal.VOTE_EXISTS)


async def test_refusals_in_the_block_come_with_the_lookup():
    chain, op = scheduled()
    client = client_of(chain, op.healer)
    first, second = await sent(client, claim(op)), await sent(client, claim(op, manifest_hash=OTHER_HASH))
    third = await sent(client, claim(op, manifest_hash="third"))
    chain.fail_in_block(third.tx_hash, 11, "sdk", "out of gas")
    run(chain, 1)
    found = [(await client.lookup(one.tx_hash)).value for one in (first, second, third)]
    assert found == [Included(11, None), Included(11, Refusal.WRONG_STATUS), Included(11, Refusal.GAS)]


async def test_two_transactions_are_in_flight():
    chain, op = claimed(verifier_count=1)
    chain.set_op(evolve(op, op_id=2))
    client = client_of(chain, op.verifiers[0])
    first, second = await sent(client, vote(op)), await sent(client, vote(op, op_id=2))
    assert (first.sequence, second.sequence) == (0, 1)
    run(chain, 1)
    for one in (first, second):
        assert (await client.lookup(one.tx_hash)).value == Included(EPOCH + 2, None)


async def test_two_that_are_prepared_before_either_is_sent_go_through():
    chain, op = claimed(verifier_count=1)
    chain.set_op(evolve(op, op_id=2))
    client = client_of(chain, op.verifiers[0])
    first = await client.prepare(vote(op), last_height=None)
    second = await client.prepare(vote(op, op_id=2), last_height=None)
    assert (first.sequence, second.sequence) == (0, 1)
    assert await client.broadcast(first) == Pooled()
    third = await client.prepare(vote(op), last_height=None)
    assert third.sequence == 2
    assert await client.broadcast(second) == Pooled()
    run(chain, 1)
    assert [chain.at().heal_op(n).status for n in (1, 2)] == [HealOpStatus.VERIFIED] * 2


async def test_of_two_that_are_sent_in_the_wrong_order_one_is_made_again():
    chain, op = claimed(verifier_count=1)
    chain.set_op(evolve(op, op_id=2))
    client = client_of(chain, op.verifiers[0])
    first = await client.prepare(vote(op), last_height=None)
    second = await client.prepare(vote(op, op_id=2), last_height=None)
    assert await client.broadcast(second) == Refused(Refusal.SEQUENCE)
    assert await client.broadcast(first) == Pooled()
    assert (await sent(client, vote(op, op_id=2))).sequence == 1


@pytest.mark.parametrize("wasted", [1, 2, 3])
async def test_what_is_prepared_and_never_sent_costs_one_refusal(wasted):
    chain, op = scheduled()
    client = client_of(chain, op.healer)
    for _ in range(wasted):
        assert isinstance(await client.prepare(claim(op), last_height=None), Transaction)
    after_the_gap = await client.prepare(claim(op), last_height=None)
    assert await client.broadcast(after_the_gap) == Refused(Refusal.SEQUENCE)
    await sent(client, claim(op))
    run(chain, 1)
    assert (await client.heal_op(1)).value.status is HealOpStatus.HEALER_REPORTED


async def test_a_refusal_for_something_else_gives_the_sequence_back():
    chain, op = scheduled()
    client = client_of(chain, op.healer, timeout_blocks=1)
    late = await client.prepare(claim(op), last_height=None)
    run(chain, 2)
    assert await client.broadcast(late) == Refused(Refusal.LATE)
    assert (await sent(client, claim(op))).sequence == 0


async def test_a_client_that_is_new_sends_what_another_prepared():
    chain, op = scheduled()
    prepared = await client_of(chain, op.healer).prepare(claim(op), last_height=None)
    client = client_of(chain, op.healer)
    assert await client.broadcast(prepared) == Pooled()
    assert (await sent(client, claim(op, manifest_hash=OTHER_HASH))).sequence == 1


async def test_the_sequence_is_followed_upwards():
    chain, op = scheduled()
    client, other = client_of(chain, op.healer), client_of(chain, op.healer)
    prepared = await client.prepare(claim(op), last_height=None)
    await sent(other, claim(op, manifest_hash=OTHER_HASH))
    await sent(other, claim(op, manifest_hash=OTHER_HASH))
    assert await client.broadcast(prepared) == Refused(Refusal.SEQUENCE)
    assert (await sent(client, claim(op))).sequence == 2


async def test_the_sequence_is_followed_downwards_after_an_eviction():
    chain, op = scheduled()
    client = client_of(chain, op.healer)
    first, second = await sent(client, claim(op)), await sent(client, claim(op, manifest_hash=OTHER_HASH))
    chain.drop(first.tx_hash)
    assert await client.prepare(claim(op), last_height=None) == Refused(Refusal.SEQUENCE)
    again = await sent(client, claim(op))
    assert again.sequence == 0
    run(chain, 1)
    assert (await client.lookup(again.tx_hash)).value == Included(EPOCH + 1, None)
    assert (await client.lookup(second.tx_hash)).value == Included(EPOCH + 1, Refusal.WRONG_STATUS)
    assert await client.prepare(claim(op), last_height=None) == Refused(Refusal.SEQUENCE)
    assert await client.prepare(claim(op), last_height=None) == Refused(Refusal.WRONG_STATUS)


async def test_a_time_out_gives_the_sequence_back():
    chain, op = scheduled()
    client = client_of(chain, op.healer, timeout_blocks=2)
    late = await sent(client, claim(op))
    chain.hold(late.tx_hash, 5)
    run(chain, 3)
    assert await client.lookup(late.tx_hash) == At(Absent(), EPOCH + 3)
    assert await client.prepare(claim(op), last_height=None) == Refused(Refusal.SEQUENCE)
    assert (await sent(client, claim(op))).sequence == 0


async def test_sending_again_is_no_refusal():
    chain, op = scheduled()
    client = client_of(chain, op.healer)
    prepared = await sent(client, claim(op))
    assert await client.broadcast(prepared) == Pooled()
    run(chain, 1)
    assert await client.broadcast(prepared) == Pooled()
    failed = await sent(client_of(chain, op.verifiers[0]), vote(op))
    chain.fail_in_block(failed.tx_hash, 11, "sdk", "out of gas")
    run(chain, 1)
    assert await client_of(chain, op.verifiers[0]).broadcast(failed) == Pooled()


async def test_a_full_mempool_and_rubbish_are_refused():
    chain, op = scheduled(chain={"mempool_capacity": 1})
    client = client_of(chain, op.healer)
    await sent(client, claim(op))
    prepared = await client.prepare(claim(op, manifest_hash=OTHER_HASH), last_height=None)
    assert await client.broadcast(prepared) == Refused(Refusal.MEMPOOL)
    assert await client.broadcast(evolve(prepared, raw=b"rubbish")) == Refused(Refusal.OTHER)


async def test_an_account_is_poor():
    chain, op = scheduled(balance=100)
    assert await client_of(chain, op.healer).broadcast(
        await client_of(chain, op.healer).prepare(claim(op), last_height=None)
    ) == Refused(Refusal.FUNDS)
    for n in range(4):
        chain.add_account(address(f"node {n}"), 0)
    assert await client_of(chain, op.healer).prepare(claim(op), last_height=None) == Refused(Refusal.FUNDS)
