"""The actor that sends for a key: sequences, gas, refusals, and what is not known (chain contract §2.4-§2.7)."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
import trio
import trio.testing
from attrs import define, field
from grpclib.const import Status
from structlog.testing import capture_logs

from chain_wire import (
    KEY,
    ME,
    Decoded,
    Pool,
    a_chain,
    answer_to_broadcast,
    cut,
    gas,
    hang,
    in_turn,
    mismatch,
    refused,
    simulated,
    slowly,
    then,
)
from lep6.chain.client import LumeraChain
from lep6.chain.gas import GasPolicy
from lep6.chain.nodes import EACH_SECONDS
from lep6.chain.sender import SEQUENCE_ATTEMPTS, TIMEOUT_BLOCKS
from lep6.chain.sequences import LEASE_SECONDS
from lep6.chain.signing import CLAIM_URL, VOTE_URL, hash_of, pack
from lep6.keys import KeyKind, PrivateKey
from lep6.model import Ticket
from lep6.ports import At
from lep6.transaction import (
    Absent,
    Claim,
    Included,
    Indeterminate,
    Packed,
    Pooled,
    Refusal,
    Refused,
    Transaction,
    Vote,
)
from lep6.wire.cosmos.auth import v1beta1 as auth
from lep6.wire.cosmos.base.abci import v1beta1 as abci
from lep6.wire.cosmos.tx import v1beta1 as tx

HOSTS = Packed("/lumera.audit.v1.MsgSubmitEpochReport", b"\x0a\x01a")


def claim(number=1):
    return Claim(number, Ticket(str(number)), "aAKLMGGtZ7UGhmC0EhChhRKdXlJrA2gM3DjAuc4Xro4=")


CLAIM = claim()
VOTE = Vote(1, False, "ILlCdzdnx9TgulG604gtzFvX8wK+jQxPZtpym6ZhmI8=", "reason_fetch_failed:timeout")


async def made(chain, message=CLAIM, last_height=None):
    """A transaction that was prepared."""
    prepared = await chain.prepare(message, last_height=last_height)
    assert isinstance(prepared, Transaction)
    return prepared


async def sent(chain, message=CLAIM):
    """A transaction that lies in the mempool."""
    transaction = await made(chain, message)
    assert await chain.broadcast(transaction) == Pooled()
    return transaction


async def tell(chain, message):
    """Prepare and send until it lies in the mempool."""
    while True:
        prepared = await chain.prepare(message, last_height=None)
        if isinstance(prepared, Transaction) and await chain.broadcast(prepared) == Pooled():
            return prepared
        await trio.sleep(0.1)


def is_free(chain):
    """Whether the next one gets its turn at once."""
    turns = chain.sender._turns
    return not turns._is_taken and not turns._waiting


# Preparing.


@pytest.mark.parametrize(("message", "url"), [(CLAIM, CLAIM_URL), (VOTE, VOTE_URL), (HOSTS, HOSTS.type_url)])
async def test_what_is_prepared_is_signed_and_not_sent(message, url, autojump_clock):
    pool = Pool()
    one = pool.node()
    async with a_chain(one) as chain:
        transaction = await chain.sender.prepare(message, last_height=None)
    assert isinstance(transaction, Transaction)
    read = Decoded.of(transaction.raw, KEY.public)
    assert read.is_signed
    assert (read.message.type_url, read.message.value) == (url, pack(ME, message).value)
    assert (transaction.message, transaction.tx_hash) == (message, hash_of(transaction.raw))
    assert (read.sequence, transaction.sequence) == (7, 7)
    assert (read.gas_limit, read.fee) == (180_000, 4_500)
    assert not one.asked("BroadcastTx")


async def test_what_is_simulated_is_what_is_sent_without_signature_and_gas(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        await sent(chain)
    (tried,), (received,) = pool.simulated, pool.received
    assert tried.message == received.message
    assert (tried.sequence, tried.timeout_height) == (received.sequence, received.timeout_height)
    assert (tried.gas_limit, tried.fee, tried.signature) == (0, 1, b"")


async def test_a_legacy_key_sends_as_well(autojump_clock):
    key = PrivateKey(KeyKind.COSMOS, KEY._secret)
    pool = Pool(key=key.public)
    one = pool.node()
    async with a_chain(one, key=key) as chain:
        await sent(chain)
    assert len(pool.mempool[0].signature) == 64
    assert one.asked("AccountInfo") == [auth.QueryAccountInfoRequest(key.public.address)]


@pytest.mark.parametrize("last_height", [None, 120, 121, 10_000])
async def test_the_time_out_height_is_near(last_height, autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        transaction = await made(chain, last_height=last_height)
        assert transaction.timeout_height == 100 + TIMEOUT_BLOCKS == 120
        assert Decoded.of(transaction.raw, KEY.public).timeout_height == 120


@pytest.mark.parametrize("last_height", [101, 110, 119])
async def test_the_time_out_height_is_not_after_the_last_height(last_height, autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        assert (await made(chain, last_height=last_height)).timeout_height == last_height


async def test_the_time_out_height_goes_with_the_chain(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node(), timeout_blocks=5) as chain:
        assert (await sent(chain)).timeout_height == 105
        pool.mine(40)
        assert (await made(chain)).timeout_height == 145


@pytest.mark.parametrize("last_height", [100, 99, 0])
async def test_after_the_last_height_it_is_late(last_height, autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        assert await chain.prepare(CLAIM, last_height=last_height) == Refused(Refusal.LATE)
        assert not pool.simulated
        assert is_free(chain)


async def test_an_account_that_the_chain_does_not_know_has_no_funds(autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["AccountInfo"] = in_turn(refused(Status.NOT_FOUND, f"account {ME} not found"), pool.account_info)
    async with a_chain(one) as chain:
        with capture_logs() as logs:
            assert await chain.prepare(CLAIM, last_height=None) == Refused(Refusal.FUNDS)
        assert [(log["event"], log["account"]) for log in logs] == [("account_unknown", ME)]
        assert not pool.simulated
        await sent(chain)  # now it was given some


@pytest.mark.parametrize("answer", [gas(0), tx.SimulateResponse(), tx.SimulateResponse(abci.GasInfo(gas_wanted=5))])
async def test_a_simulation_that_uses_no_gas_says_nothing(answer, autojump_clock):
    one = Pool().node()
    one.answers["Simulate"] = answer
    async with a_chain(one) as chain:
        assert await chain.prepare(CLAIM, last_height=None) == Indeterminate()
        assert is_free(chain)


HANDLER = "failed to execute message; message index: 0: "


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (f"{HANDLER}heal op 1 not found: heal op not found", Refusal.OP_UNKNOWN),
        (f"{HANDLER}creator is not assigned healer for this heal op: heal op unauthorized actor", Refusal.NOT_ASSIGNED),
        (
            f"{HANDLER}heal op status X does not accept verification: heal op invalid state transition",
            Refusal.WRONG_STATUS,
        ),
        (f"{HANDLER}ticket_id is required: heal op ticket mismatch", Refusal.WRONG_TICKET),
        (
            f"{HANDLER}verification already submitted by creator: heal verification already submitted",
            Refusal.VOTE_EXISTS,
        ),
        (f"{HANDLER}mismatches heal-op result hash: invalid heal verification", Refusal.WRONG_HASH),
        ("spendable balance 0ulume is smaller than 1ulume: insufficient funds", Refusal.FUNDS),
        ("account lumera1 does not exist: unknown address", Refusal.FUNDS),
        ("pubKey does not match signer address: unauthorized", Refusal.KEY),
        ("gas prices too low, got: 0 required: 1: insufficient fee", Refusal.FEE),
        ("block height: 121, timeout height: 120: tx timeout height", Refusal.LATE),
        ("out of gas in location: ReadFlat; gasWanted: 1, gasUsed: 2: out of gas", Refusal.GAS),
    ],
)
async def test_what_a_simulation_refuses_is_not_sent(text, refusal, autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["Simulate"] = in_turn(simulated(text), pool.simulate)
    async with a_chain(one) as chain:
        assert await chain.prepare(CLAIM, last_height=None) == Refused(refusal)
        assert is_free(chain)
        assert (await sent(chain)).sequence == 7


@pytest.mark.parametrize(
    "answer",
    [
        simulated("creator is required: invalid signer"),
        simulated("collections: not found"),
        refused(Status.UNKNOWN, ""),
        refused(Status.INTERNAL, "heal op was eaten"),
        refused(Status.INVALID_ARGUMENT, "empty txBytes is not allowed"),
        refused(Status.UNAVAILABLE, "heal op not found"),
        refused(Status.DEADLINE_EXCEEDED, "out of gas"),
        cut,
    ],
)
async def test_a_simulation_that_fails_otherwise_says_nothing(answer, autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["Simulate"] = in_turn(answer, pool.simulate)
    async with a_chain(one) as chain:
        assert await chain.prepare(CLAIM, last_height=None) == Indeterminate()
        assert is_free(chain)
        await trio.sleep(10)
        assert (await sent(chain)).sequence == 7


async def test_what_cannot_be_prepared_is_not_known(autojump_clock):
    pool = Pool()
    one = pool.node(fault=OSError("refused"))
    async with a_chain(one) as chain:
        assert await chain.prepare(CLAIM, last_height=None) == Indeterminate()
        one.fault = None
        await trio.sleep(200)
        await sent(chain)


async def test_nothing_is_prepared_for_another_chain(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node(network="lumera-mainnet-1")) as chain:
        with capture_logs() as logs:
            assert await chain.prepare(CLAIM, last_height=None) == Indeterminate()
        assert "lumera-mainnet-1" in logs[-1]["reason"]
        assert not pool.simulated


# Sequences.


async def test_several_in_flight_have_consecutive_sequences(autojump_clock):
    pool = Pool()
    one = pool.node()
    async with a_chain(one) as chain:
        transactions = [await sent(chain, claim(number)) for number in range(10)]
    assert [transaction.sequence for transaction in transactions] == list(range(7, 17))
    assert len({transaction.tx_hash for transaction in transactions}) == 10
    assert len(one.asked("AccountInfo")) == 1


async def test_what_was_prepared_and_not_sent_yet_keeps_its_sequence(autojump_clock):
    pool = Pool(is_lenient=True)
    async with a_chain(pool.node()) as chain:
        transactions = [await made(chain, claim(number)) for number in range(5)]
        assert [transaction.sequence for transaction in transactions] == [7, 8, 9, 10, 11]
        for transaction in transactions:
            assert await chain.broadcast(transaction) == Pooled()


async def test_they_are_sent_in_the_order_of_their_sequences(autojump_clock):
    pool = Pool(is_lenient=True)
    one = pool.node()
    one.answers["BroadcastTx"] = slowly(1, pool.broadcast)
    answers = []
    async with a_chain(one) as chain:
        first, second = [await made(chain, claim(number)) for number in range(2)]

        async def send(transaction):
            answers.append((await chain.broadcast(transaction), trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, second)
            await trio.sleep(1)
            nursery.start_soon(send, first)
    assert [received.sequence for received in pool.received] == [7, 8]
    assert answers == [(Pooled(), pytest.approx(2)), (Pooled(), pytest.approx(3))]


async def test_one_that_is_never_sent_delays_those_after_it_for_its_lease(autojump_clock):
    pool = Pool(is_lenient=True)
    async with a_chain(pool.node()) as chain:
        await made(chain, claim(1))
        await trio.sleep(5)
        second = await made(chain, claim(2))
        assert await chain.broadcast(second) == Refused(Refusal.SEQUENCE)
        assert trio.current_time() == pytest.approx(LEASE_SECONDS)
        third = await sent(chain, claim(3))
        assert third.sequence == 7
        assert trio.current_time() == pytest.approx(LEASE_SECONDS)


@pytest.mark.parametrize("is_lenient", [False, True])
async def test_the_gap_that_one_leaves_heals(is_lenient, autojump_clock):
    pool = Pool(is_lenient=is_lenient)
    async with a_chain(pool.node()) as chain:
        abandoned = await made(chain, claim(1))
        for number in range(2, 6):
            await tell(chain, claim(number))
        assert trio.current_time() < LEASE_SECONDS + 3
        assert [received.sequence for received in pool.mempool] == [7, 8, 9, 10]
        assert isinstance(await chain.broadcast(abandoned), Refused)
    assert len(pool.mempool) == 4


async def test_one_that_is_sent_late_is_still_sent(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        transaction = await made(chain)
        await trio.sleep(10 * LEASE_SECONDS)
        assert await chain.broadcast(transaction) == Pooled()


async def test_a_higher_sequence_is_adopted_from_a_simulation(autojump_clock):
    pool = Pool()
    one = pool.node()
    async with a_chain(one) as chain:
        await sent(chain, claim(1))
        pool.intrude()
        pool.intrude()
        assert (await sent(chain, claim(2))).sequence == 10
    assert [tried.sequence for tried in pool.simulated] == [7, 8, 10]
    assert len(one.asked("AccountInfo")) == 1


async def test_a_lower_sequence_is_adopted_from_a_simulation(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        for number in range(3):
            await sent(chain, claim(number))
        pool.evict(1)
        assert (await sent(chain, claim(4))).sequence == 8
        assert (await sent(chain, claim(5))).sequence == 9
    assert [tried.sequence for tried in pool.simulated] == [7, 8, 9, 10, 8, 9]


async def test_a_higher_sequence_is_adopted_from_a_refusal(autojump_clock):
    pool = Pool()
    one = pool.node()
    async with a_chain(one) as chain:
        transaction = await made(chain, claim(1))
        pool.intrude()
        assert await chain.broadcast(transaction) == Refused(Refusal.SEQUENCE)
        assert (await sent(chain, claim(1))).sequence == 8
    assert [tried.sequence for tried in pool.simulated] == [7, 8]
    assert len(one.asked("AccountInfo")) == 1


async def test_a_lower_sequence_is_adopted_from_a_refusal(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        await sent(chain, claim(1))
        transaction = await made(chain, claim(2))
        pool.evict()
        assert await chain.broadcast(transaction) == Refused(Refusal.SEQUENCE)
        assert (await sent(chain, claim(2))).sequence == 7
    assert [tried.sequence for tried in pool.simulated] == [7, 8, 7]


async def test_what_was_reserved_before_another_sequence_was_adopted_is_not_sent(autojump_clock):
    pool = Pool(is_lenient=True)
    async with a_chain(pool.node()) as chain:
        first, second, third = [await made(chain, claim(number)) for number in range(3)]
        pool.intrude()
        assert await chain.broadcast(first) == Refused(Refusal.SEQUENCE)
        assert await chain.broadcast(second) == Refused(Refusal.SEQUENCE)
        assert await chain.broadcast(third) == Refused(Refusal.SEQUENCE)
        assert [received.sequence for received in pool.received] == [7]
        assert (await sent(chain)).sequence == 8


async def test_where_a_mismatch_does_not_say_what_is_expected_the_account_is_asked(autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["Simulate"] = in_turn(simulated("incorrect account sequence"), pool.simulate)
    async with a_chain(one) as chain:
        assert (await sent(chain)).sequence == 7
    assert len(one.asked("AccountInfo")) == 2


async def test_after_three_mismatches_it_is_refused(autojump_clock):
    one = Pool().node()
    expected = iter(range(50, 60))
    one.answers["Simulate"] = lambda _: simulated(mismatch(next(expected), 7))
    async with a_chain(one) as chain:
        assert await chain.prepare(CLAIM, last_height=None) == Refused(Refusal.SEQUENCE)
        assert is_free(chain)
    assert one.times("Simulate") == pytest.approx([0, 0.5, 1.5])
    tried = [Decoded.of(request.tx_bytes, KEY.public).sequence for request in one.asked("Simulate")]
    assert tried == [7, 50, 51]
    assert len(tried) == SEQUENCE_ATTEMPTS


async def test_after_a_restart_those_in_the_mempool_are_counted(autojump_clock):
    pool = Pool()
    one = pool.node()
    async with a_chain(one) as chain:
        await sent(chain, claim(1))
        await sent(chain, claim(2))
    async with a_chain(one) as chain:
        assert (await sent(chain, claim(3))).sequence == 9


# Whose turn it is.


async def test_what_expires_first_comes_first(autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["Simulate"] = slowly(1, pool.simulate)
    order = []
    async with a_chain(one) as chain, trio.open_nursery() as nursery:

        async def prepare(last_height):
            await tell_by(last_height)
            order.append(last_height)

        async def tell_by(last_height):
            transaction = await made(chain, claim(last_height or 1), last_height)
            await chain.broadcast(transaction)

        for last_height in (500, None, 150, 1000, 120, 300):
            nursery.start_soon(prepare, last_height)
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert order == [500, 120, 150, 300, 1000, None]


async def test_those_that_are_equally_urgent_keep_their_order(autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["Simulate"] = slowly(1, pool.simulate)
    async with a_chain(one) as chain, trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(sent, chain, claim(number))
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert [received.message for received in pool.mempool] == [pack(ME, claim(number)) for number in range(6)]


SLOW = ("GetNodeInfo", "AccountInfo", "GetLatestBlock", "Simulate", "BroadcastTx", "GetTx")


def a_slow_node(pool):
    """A node that takes a second for each answer."""
    one = pool.node()
    quick = {"GetNodeInfo": one._info, "GetLatestBlock": one._block, **one.answers}
    one.answers = {method: slowly(1, quick[method]) for method in SLOW}
    return one


@pytest.mark.parametrize("seconds", [0, 0.5, 1, 1.5, 2, 2.5, 2.9])
async def test_preparing_that_is_cancelled_anywhere_leaves_no_turn_taken(seconds, autojump_clock):
    pool = Pool()
    async with a_chain(a_slow_node(pool)) as chain:
        with trio.move_on_after(seconds):
            await chain.prepare(CLAIM, last_height=None)
        assert is_free(chain)
        with trio.fail_after(10):
            assert (await sent(chain)).sequence == 7


@pytest.mark.parametrize("seconds", [0.3, 1.3, 2.3, 3.3, 4.3])
async def test_waiting_that_is_cancelled_leaves_the_turns_of_others(seconds, autojump_clock):
    pool = Pool()
    async with a_chain(a_slow_node(pool)) as chain:

        async def give_up(after):
            await trio.sleep(0.1)
            with trio.move_on_after(after):
                await chain.prepare(claim(99), last_height=110)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, chain, claim(1))
            nursery.start_soon(give_up, seconds)
            nursery.start_soon(give_up, seconds / 2)
            nursery.start_soon(tell, chain, claim(2))
        assert is_free(chain)
        told = {received.message.value for received in pool.mempool}
        assert told == {pack(ME, claim(1)).value, pack(ME, claim(2)).value}


async def test_one_that_is_cancelled_as_it_gets_its_turn_hands_it_on(autojump_clock):
    async with a_chain(Pool().node()) as chain:
        turns = chain.sender._turns
        await turns.take(1)
        order = []

        async def wait(name, urgency, scope):
            with scope:
                await turns.take(urgency)
                order.append(name)
                turns.give()

        cancelled, kept = trio.CancelScope(), trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "cancelled", 1, cancelled)
            nursery.start_soon(wait, "kept", 2, kept)
            await trio.testing.wait_all_tasks_blocked()
            turns.give()
            cancelled.cancel()
        assert order in (["kept"], ["cancelled", "kept"])
        assert is_free(chain)


@pytest.mark.parametrize("seconds", [0, 0.5])
async def test_sending_that_is_cancelled_may_have_been_done(seconds, autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["BroadcastTx"] = then(pool.broadcast, slowly(1, answer_to_broadcast()))
    async with a_chain(one) as chain:
        transaction = await made(chain)
        with trio.move_on_after(seconds):
            await chain.broadcast(transaction)
        one.answers["BroadcastTx"] = pool.broadcast
        with trio.fail_after(LEASE_SECONDS + 5):
            await tell(chain, claim(2))
        pool.mine()
        assert len(pool.included) == 1 + bool(seconds)


async def test_sending_that_is_cancelled_while_it_waits_lets_those_after_it_go(autojump_clock):
    pool = Pool(is_lenient=True)
    async with a_chain(pool.node()) as chain:
        first, second = [await made(chain, claim(number)) for number in range(2)]
        with trio.move_on_after(1):
            await chain.broadcast(second)
        assert not pool.received
        assert await chain.broadcast(first) == Pooled()
        with trio.fail_after(LEASE_SECONDS + 5):
            await tell(chain, claim(3))


# Gas.


async def block_says(pool, chain, transaction, codespace="", code=0):
    if code:
        pool.failing[transaction.tx_hash] = (codespace, code)
    pool.mine()
    return (await chain.lookup(transaction.tx_hash)).value


async def test_out_of_gas_in_a_block_escalates_twice_and_no_more(autojump_clock):
    pool = Pool()
    limits = []
    async with a_chain(pool.node()) as chain:
        for _ in range(5):
            transaction = await sent(chain)
            limits.append(pool.received[-1].gas_limit)
            found = await block_says(pool, chain, transaction, "sdk", 11)
            assert found == Included(pool.height, Refusal.GAS)
    assert limits == [180_000, 219_000, 269_700, 269_700, 269_700]
    assert [received.fee for received in pool.received] == [4_500, 5_475, 6_743, 6_743, 6_743]


async def test_out_of_gas_in_a_simulation_escalates(autojump_clock):
    pool = Pool()
    one = pool.node()
    out = simulated("out of gas in location: ReadFlat; gasWanted: 1, gasUsed: 2: out of gas")
    one.answers["Simulate"] = in_turn(out, out, pool.simulate)
    async with a_chain(one) as chain:
        for _ in range(2):
            assert await chain.prepare(CLAIM, last_height=None) == Refused(Refusal.GAS)
        await sent(chain)
    assert pool.received[0].gas_limit == 269_700


async def test_success_in_a_block_forgets_that_it_was_out_of_gas(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        await block_says(pool, chain, await sent(chain), "sdk", 11)
        assert await block_says(pool, chain, await sent(chain)) == Included(pool.height, None)
        await sent(chain)
    assert [received.gas_limit for received in pool.received] == [180_000, 219_000, 180_000]


async def test_one_that_ran_out_of_gas_does_not_make_others_dearer(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        await block_says(pool, chain, await sent(chain, claim(1)), "sdk", 11)
        await sent(chain, claim(2))
    assert [received.gas_limit for received in pool.received] == [180_000, 180_000]


async def test_it_is_counted_once_however_often_it_is_looked_up(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        transaction = await sent(chain)
        for _ in range(3):
            await block_says(pool, chain, transaction, "sdk", 11)
        await sent(chain)
    assert pool.received[-1].gas_limit == 219_000


async def test_gas_is_asked_for_by_the_policy(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node(), gas=GasPolicy(price=1, adjustment=2, padding=7, attempts=1)) as chain:
        await block_says(pool, chain, await sent(chain), "sdk", 11)
        await sent(chain)
    assert [(received.gas_limit, received.fee) for received in pool.received] == [(200_007, 200_007)] * 2


# Sending.


async def test_what_waits_in_the_mempool_already_is_pooled(autojump_clock):
    one = Pool().node()
    one.answers["BroadcastTx"] = answer_to_broadcast(19, "sdk", "tx already in mempool")
    async with a_chain(one) as chain:
        assert await chain.broadcast(await made(chain)) == Pooled()


@pytest.mark.parametrize(
    ("codespace", "code", "refusal"),
    [
        ("sdk", 2, Refusal.OTHER),
        ("sdk", 4, Refusal.KEY),
        ("sdk", 5, Refusal.FUNDS),
        ("sdk", 9, Refusal.FUNDS),
        ("sdk", 11, Refusal.GAS),
        ("sdk", 13, Refusal.FEE),
        ("sdk", 20, Refusal.MEMPOOL),
        ("sdk", 21, Refusal.OTHER),
        ("sdk", 30, Refusal.LATE),
        ("audit", 19, Refusal.OTHER),
        ("", 1, Refusal.OTHER),
    ],
)
async def test_what_checktx_refuses_is_refused_and_the_account_is_asked_again(codespace, code, refusal, autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["BroadcastTx"] = in_turn(answer_to_broadcast(code, codespace, "because: of it"), pool.broadcast)
    async with a_chain(one) as chain:
        with capture_logs() as logs:
            assert await chain.broadcast(await made(chain)) == Refused(refusal)
        assert (logs[-1]["code"], logs[-1]["codespace"], logs[-1]["reason"]) == (code, codespace, "because: of it")
        assert (await sent(chain)).sequence == 7
    assert len(one.asked("AccountInfo")) == 2


async def test_a_refusal_by_the_next_node_is_none_where_one_before_may_have_taken_it(autojump_clock):
    pool = Pool()
    one, two = pool.node("one"), pool.node("two")
    one.answers["BroadcastTx"] = then(pool.broadcast, hang)
    two.answers["BroadcastTx"] = answer_to_broadcast(20, "sdk", "mempool is full")
    async with a_chain(one, two) as chain:
        transaction = await made(chain)
        assert await chain.broadcast(transaction) == Indeterminate()
        assert trio.current_time() == pytest.approx(EACH_SECONDS)
        pool.mine()
        assert await chain.lookup(transaction.tx_hash) == At(Included(101, None), 101)
        two.answers["BroadcastTx"] = pool.broadcast
        assert (await sent(chain, claim(2))).sequence == 8


async def test_a_mismatch_at_the_next_node_is_no_refusal_either(autojump_clock):
    pool = Pool()
    one, two = pool.node("one"), pool.node("two")
    one.answers["BroadcastTx"] = then(pool.broadcast, cut)
    two.answers["BroadcastTx"] = answer_to_broadcast(32, "sdk", mismatch(8, 7))
    async with a_chain(one, two) as chain:
        assert await chain.broadcast(await made(chain)) == Indeterminate()
        two.answers["BroadcastTx"] = pool.broadcast
        assert (await sent(chain, claim(2))).sequence == 8


async def test_a_refusal_by_the_next_node_stands_where_the_one_before_was_not_reached(autojump_clock):
    pool = Pool()
    one, two = pool.node("one"), pool.node("two")
    two.answers["BroadcastTx"] = answer_to_broadcast(20, "sdk", "mempool is full")
    async with a_chain(one, two) as chain:
        transaction = await made(chain)
        one.fault = OSError("refused")
        await one.cut()
        await trio.sleep(1)
        assert await chain.broadcast(transaction) == Refused(Refusal.MEMPOOL)


async def test_the_same_bytes_at_the_next_node_are_pooled(autojump_clock):
    pool = Pool()
    one, two = pool.node("one"), pool.node("two")
    one.answers["BroadcastTx"] = then(pool.broadcast, cut)
    async with a_chain(one, two) as chain:
        assert await chain.broadcast(await made(chain)) == Pooled()
    assert len(pool.mempool) == 1
    assert pool.received[0].raw == pool.received[1].raw


async def test_what_reached_no_node_is_unsent_and_may_be_sent_anew(autojump_clock):
    pool = Pool()
    one = pool.node()
    async with a_chain(one) as chain:
        transaction = await made(chain)
        one.fault = OSError("refused")
        await one.cut()
        await trio.sleep(1)
        assert await chain.broadcast(transaction) == Refused(Refusal.UNSENT)
        one.fault = None
        await trio.sleep(10)
        assert (await sent(chain)).sequence == 7


@pytest.mark.parametrize("loss", [cut, refused(Status.UNAVAILABLE), refused(Status.UNKNOWN, "eof")])
async def test_when_the_answer_is_lost_it_is_not_known_and_not_sent_twice(loss, autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["BroadcastTx"] = then(pool.broadcast, loss)
    async with a_chain(one) as chain:
        transaction = await made(chain)
        assert await chain.broadcast(transaction) == Indeterminate()
        await trio.sleep(100)
        assert len(pool.received) == 1
        pool.mine()
        assert await chain.lookup(transaction.tx_hash) == At(Included(101, None), 101)
        one.answers["BroadcastTx"] = pool.broadcast
        assert (await sent(chain, claim(2))).sequence == 8


@pytest.mark.parametrize("answer", [tx.BroadcastTxResponse(), refused(Status.INTERNAL), cut])
async def test_an_answer_that_says_nothing_leaves_it_open(answer, autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["BroadcastTx"] = in_turn(answer, pool.broadcast)
    async with a_chain(one) as chain:
        assert await chain.broadcast(await made(chain)) == Indeterminate()
        await trio.sleep(10)
        assert (await tell(chain, claim(2))).sequence == 7


async def test_one_node_alone_has_all_the_time_of_the_caller(autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["BroadcastTx"] = slowly(500, pool.broadcast)
    async with a_chain(one) as chain:
        assert await chain.broadcast(await made(chain)) == Pooled()
        assert trio.current_time() == pytest.approx(500)


# Looking up.


async def test_it_is_absent_until_a_block_has_it(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        transaction = await sent(chain)
        assert await chain.lookup(transaction.tx_hash) == At(Absent(), 100)
        pool.mine(3, most=0)
        assert await chain.lookup(transaction.tx_hash) == At(Absent(), 103)
        pool.mine()
        assert await chain.lookup(transaction.tx_hash) == At(Included(104, None), 104)


@pytest.mark.parametrize(
    ("codespace", "code", "refusal"),
    [
        ("audit", 11, Refusal.OP_UNKNOWN),
        ("audit", 12, Refusal.NOT_ASSIGNED),
        ("audit", 13, Refusal.WRONG_STATUS),
        ("audit", 14, Refusal.WRONG_TICKET),
        ("audit", 15, Refusal.VOTE_EXISTS),
        ("audit", 17, Refusal.WRONG_HASH),
        ("audit", 1, Refusal.OTHER),
        ("sdk", 11, Refusal.GAS),
    ],
)
async def test_why_it_failed_in_its_block_is_told(codespace, code, refusal, autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        transaction = await sent(chain)
        assert await block_says(pool, chain, transaction, codespace, code) == Included(101, refusal)
        assert (await sent(chain, claim(2))).sequence == 8


async def test_without_an_index_it_is_absent_at_every_height(autojump_clock):
    pool = Pool()
    one = pool.node()
    one.answers["GetTx"] = refused(Status.INTERNAL, "transaction indexing is disabled")
    async with a_chain(one) as chain:
        transaction = await sent(chain)
        pool.mine(30)
        assert await chain.lookup(transaction.tx_hash) == At(Absent(), 130)


async def test_what_another_one_sent_can_be_looked_up_too(autojump_clock):
    pool = Pool()
    one = pool.node()
    async with a_chain(one) as chain:
        transaction = await sent(chain)
    pool.mine()
    async with a_chain(one) as chain:
        assert (await chain.lookup(transaction.tx_hash)).value == Included(101, None)


# Much of it.


@define
class Weather:
    """What happens to a chain by chance."""

    pool: Pool
    random: Random
    happened: Counter = field(factory=Counter)

    def _does(self, what, chance):
        is_so = self.random.random() < chance
        self.happened[what] += is_so
        return is_so

    async def broadcast(self, request):
        if self._does("request lost", 0.04):
            return await cut(request)
        answer = self.pool.broadcast(request)
        if self._does("answer lost", 0.06):
            return await cut(request)
        if self._does("answer slow", 0.05):
            await trio.sleep(self.random.uniform(0, 10))
        return answer

    async def simulate(self, request):
        if self._does("simulation unavailable", 0.02):
            return refused(Status.UNAVAILABLE)
        if self._does("simulation slow", 0.05):
            await trio.sleep(self.random.uniform(0, 3))
        return self.pool.simulate(request)

    async def blocks(self):
        while True:
            await trio.sleep(6)
            if self._does("evicted", 0.2) and self.pool.mempool:
                self.pool.evict(self.random.randrange(len(self.pool.mempool)))
            if self._does("intruded", 0.3):
                self.pool.intrude()
            self.pool.mine(most=self.random.choice([0, 3, 20, 100]))


@define
class Caller:
    """Tells the chain what is left, as the heal roles do: what is dead anew, what is not known is waited for."""

    chain: LumeraChain
    weather: Weather
    left: list[Claim | Packed]

    async def tell_all(self):
        while self.left:
            message = self.left.pop()
            while True:
                if await self._is_told(message):
                    break
                await trio.sleep(1)

    async def _is_told(self, message):
        prepared = await self.chain.sender.prepare(message, last_height=None)
        if not isinstance(prepared, Transaction):
            return False
        answer = await self.chain.sender.broadcast(prepared)
        if isinstance(answer, Refused):
            return False
        while True:
            await trio.sleep(4)
            found = await self.chain.lookup(prepared.tx_hash)
            if isinstance(found.value, Included):
                assert found.value.refusal is None
                return True
            if found.height > prepared.timeout_height:
                self.weather.happened["late"] += 1
                return False


async def test_each_of_five_hundred_is_included_once_whatever_the_weather(autojump_clock):
    pool = Pool(committed=1000)
    weather = Weather(pool, Random(1))
    nodes = pool.node("one"), pool.node("two")
    for node in nodes:
        node.answers |= {"BroadcastTx": weather.broadcast, "Simulate": weather.simulate}
    left = [claim(number) if number % 2 else Packed("/host.Msg", b"%d" % number) for number in range(500)]
    everything = {pack(ME, message).value for message in left}
    async with a_chain(*nodes, timeout_blocks=8) as chain:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(weather.blocks)
            async with trio.open_nursery() as callers:
                for _ in range(12):
                    callers.start_soon(Caller(chain, weather, left).tell_all)
            nursery.cancel_scope.cancel()
        assert is_free(chain)
    included = Counter(received.message.value for _, received in pool.included)
    assert set(included) == everything
    assert set(included.values()) == {1}
    assert all(before.sequence < after.sequence for (_, before), (_, after) in pairwise(pool.included))
    assert set(+weather.happened) >= {"request lost", "answer lost", "answer slow", "evicted", "intruded", "late"}
