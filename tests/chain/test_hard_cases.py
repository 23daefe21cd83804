"""Hard cases of the adapter: what was got wrong once."""

import math
from collections import Counter
from random import Random

import pytest
import trio
from grpclib.const import Status

from chain_wire import (
    KEY,
    ME,
    Decoded,
    Node,
    Pool,
    a_chain,
    answer_to_broadcast,
    refused,
    slowly,
    then,
)
from lep6.chain import records
from lep6.chain.classify import Answer, answer_of
from lep6.chain.gas import GasPolicy
from lep6.chain.sequences import LEASE_SECONDS
from lep6.errors import ChainUnavailable
from lep6.heal.settings import Settings
from lep6.model import Ticket
from lep6.transaction import Claim, Indeterminate, Pooled, Refusal, Refused, Transaction
from lep6.wire.cosmos.auth import v1beta1 as auth
from lep6.wire.cosmos.base.abci import v1beta1 as abci
from lep6.wire.cosmos.tx import v1beta1 as tx
from lep6.wire.cosmos.vesting import v1beta1 as vesting
from lep6.wire.google import protobuf
from lep6.wire.lumera.audit import v1 as audit

HASH = "AB" * 32


def claim(n=1):
    return Claim(n, Ticket(str(n)), "aAKLMGGtZ7UGhmC0EhChhRKdXlJrA2gM3DjAuc4Xro4=")


async def made(chain, message, last_height=None):
    prepared = await chain.prepare(message, last_height=last_height)
    assert isinstance(prepared, Transaction), prepared
    return prepared


# A simulation of the next voids what was prepared and is being journalled.


async def test_what_was_prepared_and_not_sent_yet_keeps_its_sequence(autojump_clock):
    pool = Pool()  # which, as the SDK does, simulates only the sequence after that of the mempool's last
    async with a_chain(pool.node()) as chain:
        transactions = [await made(chain, claim(n)) for n in range(5)]
        assert [t.sequence for t in transactions] == [7, 8, 9, 10, 11]
        assert trio.current_time() == 0
        assert [await chain.broadcast(t) for t in transactions] == [Pooled()] * 5


async def test_callers_that_journal_before_they_send_do_not_void_each_other(autojump_clock):
    pool, random, ends = Pool(), Random(1), Counter()
    node = pool.node()
    node.answers["Simulate"] = slowly(0.02, pool.simulate)

    async def tell(chain, n):
        while True:
            prepared = await chain.prepare(claim(n), last_height=None)
            if isinstance(prepared, Transaction):
                await trio.sleep(random.uniform(0, 0.05))  # the ledger is written
                answer = await chain.broadcast(prepared)
                ends[answer] += 1
                if answer == Pooled():
                    return
            else:
                ends[prepared] += 1
            await trio.sleep(1)

    async with a_chain(node) as chain, trio.open_nursery() as nursery:
        for n in range(40):
            nursery.start_soon(tell, chain, n)
    assert ends == {Pooled(): 40}


# Broadcasts are not serial: a reservation is given up before its transaction is sent.


async def test_they_are_sent_in_the_order_of_their_sequences(autojump_clock):
    pool, answers = Pool(is_lenient=True), []
    async with a_chain(pool.node()) as chain:
        transactions = [await made(chain, claim(n)) for n in range(5)]

        async def send(transaction):
            answers.append(await chain.broadcast(transaction))

        async with trio.open_nursery() as nursery:
            for transaction in reversed(transactions):
                nursery.start_soon(send, transaction)
                await trio.sleep(1)
    assert [received.sequence for received in pool.received] == [7, 8, 9, 10, 11]
    assert answers == [Pooled()] * 5


async def test_one_is_sent_only_when_the_one_before_it_was_answered(autojump_clock):
    pool, answers = Pool(is_lenient=True), []
    node = pool.node()
    delays = iter([3, 0])

    async def broadcast(request):
        await trio.sleep(next(delays))
        return pool.broadcast(request)

    node.answers["BroadcastTx"] = broadcast
    async with a_chain(node) as chain:
        first, second = [await made(chain, claim(n)) for n in range(2)]

        async def send(transaction):
            answers.append(await chain.broadcast(transaction))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, first)
            await trio.sleep(1)
            nursery.start_soon(send, second)
    assert answers == [Pooled(), Pooled()]


# Out of gas in CheckTx does not escalate.


async def test_out_of_gas_in_checktx_escalates(autojump_clock):
    pool, limits = Pool(), []
    node = pool.node()
    node.answers["BroadcastTx"] = answer_to_broadcast(11, "sdk", "out of gas in location: ReadFlat: out of gas")
    async with a_chain(node) as chain:
        for _ in range(4):
            transaction = await made(chain, claim())
            assert await chain.broadcast(transaction) == Refused(Refusal.GAS)

            limits.append(Decoded.of(transaction.raw, KEY.public).gas_limit)
    assert limits == [180_000, 219_000, 269_700, 269_700]


# An account that the chain does not know: no key, not "the chain is unavailable" (§3.3, row "AccountInfo, Account").


async def test_an_account_that_the_chain_does_not_know_has_shown_no_key(autojump_clock):
    text = f"account {ME} not found"
    assert answer_of("Account", Status.NOT_FOUND, text) is Answer.ABSENT
    async with a_chain(Node(answers={"Account": refused(Status.NOT_FOUND, text)})) as chain:
        assert await chain.public_key(ME) is None


# A node that refuses everything hides the others.


@pytest.mark.parametrize(
    "status", [Status.UNIMPLEMENTED, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED, Status.UNKNOWN, Status.INTERNAL]
)
async def test_a_node_that_does_not_tell_its_chain_is_left(status, autojump_clock):
    one, two = Node("one"), Node("two", 105)
    one.answers["GetNodeInfo"] = refused(status, "403 Forbidden")
    two.answers["HealOp"] = audit.QueryHealOpResponse(audit.HealOp(7, "42", healer_supernode_account="h"))
    async with a_chain(one, two) as chain:
        assert (await chain.heal_op(7)).height == 105


@pytest.mark.parametrize("status", [Status.UNIMPLEMENTED, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED])
async def test_a_node_that_does_not_serve_what_is_asked_is_left(status, autojump_clock):
    one, two = Node("one"), Node("two", 105)
    one.answers["HealOp"] = refused(status, "the answer is not gRPC: HTTP status 403, text/html")
    two.answers["HealOp"] = audit.QueryHealOpResponse(audit.HealOp(7, "42", healer_supernode_account="h"))
    async with a_chain(one, two) as chain:
        assert (await chain.heal_op(7)).height == 105


async def test_a_refusal_of_the_check_is_not_the_answer_to_a_simulation(autojump_clock):
    pool = Pool()
    one, two = pool.node("one"), pool.node("two")
    one.answers["Simulate"] = refused(Status.UNAVAILABLE)
    two.answers["GetNodeInfo"] = refused(Status.UNKNOWN, "unauthorized")  # a proxy that wants a token
    async with a_chain(one, two) as chain:
        assert await chain.prepare(claim(), last_height=None) == Indeterminate()


# "transaction indexing is disabled" is absence for every method.


@pytest.mark.parametrize("method", ["HealOp", "GetAction", "AccountInfo", "MigrationRecordByNewAddress", "Account"])
def test_only_a_look_up_may_be_without_an_index(method):
    assert answer_of(method, Status.INTERNAL, "transaction indexing is disabled") is Answer.NOTHING


# The answer about another transaction is taken for the one asked for.


async def test_an_answer_about_another_transaction_is_none(autojump_clock):
    answer = tx.GetTxResponse(tx_response=abci.TxResponse(height=90, txhash="CD" * 32))
    async with a_chain(Node(answers={"GetTx": answer})) as chain:
        with pytest.raises(ChainUnavailable):
            await chain.lookup(HASH)


# A plain BaseVestingAccount nests its BaseAccount one level less.


def test_a_base_vesting_account_is_read():
    value = bytes(vesting.BaseVestingAccount(auth.BaseAccount(ME, None, 12, 5)))
    read = records.base_account(protobuf.Any("/cosmos.vesting.v1beta1.BaseVestingAccount", value))
    assert read is not None
    assert read.address == ME


# Bounds of GasPolicy: infinity is let through, and fails when a transaction is made.


@pytest.mark.parametrize("options", [{"price": math.inf}, {"adjustment": math.inf}, {"escalation": math.inf}])
def test_infinity_is_out_of_bounds(options):
    with pytest.raises(ValueError):
        GasPolicy(**options)


# Sent again, what lies in the mempool is "refused, and in no mempool".


async def test_what_was_sent_is_never_called_refused(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        transaction = await made(chain, claim())
        assert await chain.broadcast(transaction) == Pooled()
        assert not isinstance(await chain.broadcast(transaction), Refused)


async def test_nor_after_its_sending_was_cancelled(autojump_clock):
    pool = Pool()
    node = pool.node()

    node.answers["BroadcastTx"] = then(pool.broadcast, slowly(5, answer_to_broadcast()))
    async with a_chain(node) as chain:
        transaction = await made(chain, claim())
        with trio.move_on_after(1):
            await chain.broadcast(transaction)
        assert pool.mempool
        assert not isinstance(await chain.broadcast(transaction), Refused)


# What was adopted while another was being simulated is overwritten.


async def test_what_is_adopted_while_another_is_simulated_is_not_overwritten(autojump_clock):
    pool = Pool(is_lenient=True)
    node = pool.node()
    results = []
    async with a_chain(node) as chain:
        first = await made(chain, claim(1))
        node.answers["Simulate"] = slowly(2, pool.simulate)
        node.answers["BroadcastTx"] = answer_to_broadcast(5, "sdk", "insufficient funds")

        async def prepare():
            results.append(await chain.prepare(claim(2), last_height=None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepare)
            await trio.sleep(1)
            assert await chain.broadcast(first) == Refused(Refusal.FUNDS)
    assert results[0].sequence == 7


# Those that wait for one whose reservation was voided by a simulation wait on.


async def test_who_waits_for_a_reservation_that_is_void_waits_no_more(autojump_clock):
    pool = Pool(is_lenient=True)
    node = pool.node()
    async with a_chain(node) as chain:
        await made(chain, claim(1))
        second = await made(chain, claim(2))
        ended = []

        async def send():
            ended.append((await chain.broadcast(second), trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(1)
            pool.is_lenient = False
            pool.intrude()
            pool.intrude()
            pool.intrude()
            await made(chain, claim(3))
    assert ended[0][0] == Refused(Refusal.SEQUENCE)
    assert ended[0][1] < 2


# One node that tells a mad height makes all others "behind" for ever.


async def test_one_mad_height_does_not_make_the_others_behind(autojump_clock):
    op = audit.QueryHealOpResponse(audit.HealOp(7, "42", healer_supernode_account="h"))
    nodes = [Node(host, 100, {"HealOp": op}) for host in ("one", "two", "three")]
    nodes[1].height = 10**15
    async with a_chain(*nodes) as chain:
        nodes[0].fault = OSError("away")
        await chain.heal_op(7)  # two tells it once
        nodes[0].fault, nodes[1].height = None, 100
        await trio.sleep(300)
        for _ in range(10):
            await chain.heal_op(7)
    assert len(nodes[0].asked("HealOp")) == 10, [len(node.asked("HealOp")) for node in nodes]


async def test_a_price_that_is_too_low_is_raised(autojump_clock):
    pool, fees = Pool(), []
    node = pool.node()

    def broadcast(request):
        sent = Decoded.of(request.tx_bytes, KEY.public)
        fees.append(sent.fee)
        if sent.fee < 5000:
            text = "gas prices too low, got: 0.025ulume required: 0.027ulume: insufficient fee"
            return answer_to_broadcast(13, "sdk", text)
        return pool.broadcast(request)

    node.answers["BroadcastTx"] = broadcast
    async with a_chain(node) as chain:
        answer = None
        for _ in range(4):
            answer = await chain.broadcast(await made(chain, claim()))
            if answer == Pooled():
                break
    assert answer == Pooled(), fees


def test_a_lease_is_shorter_than_a_callers_patience():
    assert Settings().query > LEASE_SECONDS
