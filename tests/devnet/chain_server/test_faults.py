"""What is ordered goes wrong, as often or as long as it was ordered, and leaves alone what was not meant."""

import pytest
import trio
from attrs import evolve
from grpclib.const import Cardinality, Status

from chainserver import (
    FIRST,
    HEALER,
    broadcast,
    chain_with_op,
    claim,
    connected,
    draft,
    looked_up,
    op,
    server_of,
    simulated,
    vote,
)
from lep6.devnet.chain_server import (
    AnswerLost,
    Behind,
    CheckRefused,
    Dropped,
    FailsInBlock,
    Late,
    NoIndex,
    OutOfGas,
    SequenceMismatch,
    Slow,
    Unavailable,
)
from lep6.errors import RpcError, RpcRefused, RpcUnanswered
from lep6.model import HealOpStatus
from lep6.wire.cosmos.base.tendermint.v1beta1 import (
    GetLatestBlockRequest,
    GetLatestBlockResponse,
    GetSyncingRequest,
)
from lep6.wire.cosmos.base.tendermint.v1beta1 import ServiceStub as NodeStub
from lep6.wire.cosmos.tx.v1beta1 import GetTxRequest, ServiceStub
from lep6.wire.lumera.audit.v1 import QueryHealOpRequest, QueryParamsRequest, QueryStub

CLAIM = draft(HEALER, claim(HEALER.address))
RAW = CLAIM.raw()
SIMULATION = evolve(CLAIM, gas=0, fee=1).raw(b"")


async def heal_op(channel, op_id=1):
    return (await QueryStub(channel).heal_op(QueryHealOpRequest(op_id))).heal_op


async def refused(call) -> RpcRefused:
    with pytest.raises(RpcRefused) as found:
        await call
    return found.value


async def height(channel) -> int:
    """By the header and by the message, which say the same."""
    path = "/cosmos.base.tendermint.v1beta1.Service/GetLatestBlock"
    async with channel.request(path, Cardinality.UNARY_UNARY, GetLatestBlockRequest, GetLatestBlockResponse) as call:
        await call.send_message(GetLatestBlockRequest())
        told = (await call.recv_message()).sdk_block.header.height
    assert call.initial_metadata["x-cosmos-block-height"] == str(told)
    return told


async def test_a_node_is_unavailable_for_a_number_of_calls(autojump_clock, server):
    server.order(Unavailable(), count=2)
    async with connected(server) as channel:
        for _ in range(2):
            error = await refused(heal_op(channel))
            assert (error.status, error.message) == (Status.UNAVAILABLE, "connection refused")
        assert (await heal_op(channel)).heal_op_id == 1
    assert [path for path, _ in server.faults.taken] == ["/lumera.audit.v1.Query/HealOp"] * 2


async def test_a_node_is_unavailable_for_a_time(autojump_clock, server):
    server.order(Unavailable("gone"), count=None, seconds=30)
    async with connected(server) as channel:
        await refused(heal_op(channel))
        await trio.sleep(29)
        assert (await refused(heal_op(channel))).message == "gone"
        await trio.sleep(1)
        assert (await heal_op(channel)).heal_op_id == 1


@pytest.mark.parametrize(
    "methods", ["HealOp", "Query/HealOp", "lumera.audit.v1.Query/HealOp", "/lumera.audit.*", "Heal?p"]
)
async def test_only_the_methods_that_are_meant_fail(autojump_clock, server, methods):
    server.order(Unavailable(), methods)
    async with connected(server) as channel:
        assert not (await NodeStub(channel).get_syncing(GetSyncingRequest())).syncing
        await refused(heal_op(channel))
        await heal_op(channel)


async def test_an_order_is_taken_back(autojump_clock, server):
    first = server.order(Unavailable(), "HealOp", count=None)
    server.order(Unavailable(), "Params", count=None)
    async with connected(server) as channel:
        server.faults.cancel(first)
        server.faults.cancel(first)
        await heal_op(channel)
        await refused(QueryStub(channel).params(QueryParamsRequest()))
        server.faults.cancel()
        await QueryStub(channel).params(QueryParamsRequest())


async def test_a_slow_node_answers_later(autojump_clock, server):
    server.order(Slow(20))
    async with connected(server) as channel:
        begun = trio.current_time()
        await heal_op(channel)
        assert trio.current_time() - begun == pytest.approx(20)
        server.order(Slow(20))
        with pytest.raises(RpcUnanswered, match="DEADLINE_EXCEEDED"):
            await QueryStub(channel).heal_op(QueryHealOpRequest(1), timeout=5)


async def test_a_slow_node_has_done_nothing_when_the_caller_leaves(autojump_clock, server):
    server.order(Slow(20), "BroadcastTx")
    async with connected(server) as channel:
        with trio.move_on_after(5):
            await broadcast(channel, RAW)
        await trio.sleep(60)
    assert server.chain.mempool() == ()


async def test_an_answer_is_lost_after_the_transaction_was_accepted(autojump_clock, server):
    server.order(AnswerLost(), "BroadcastTx")
    async with connected(server) as channel:
        with pytest.raises(RpcUnanswered) as lost:
            await broadcast(channel, RAW)
        assert lost.value.status is Status.CANCELLED
        assert len(server.chain.mempool()) == 1
        assert (await broadcast(channel, RAW)).code == 19
        server.blocks.make()
        assert (await looked_up(channel, RAW)).code == 0


async def test_a_transaction_is_dropped_from_the_mempool(autojump_clock, server):
    server.order(Dropped())
    async with connected(server) as channel:
        assert (await broadcast(channel, RAW)).code == 0
        server.blocks.make()
        assert (await refused(looked_up(channel, RAW))).status is Status.NOT_FOUND
        assert (await broadcast(channel, RAW)).code == 0
        server.blocks.make()
        assert (await looked_up(channel, RAW)).height == 3


async def test_a_transaction_is_included_late(autojump_clock, server):
    server.order(Late(3))
    async with connected(server) as channel:
        await broadcast(channel, RAW)
        server.blocks.make(3)
        await refused(looked_up(channel, RAW))
        server.blocks.make()
        assert (await looked_up(channel, RAW)).height == 5


@pytest.mark.parametrize(("expected", "told"), [(None, 1), (9, 9)])
async def test_a_sequence_is_said_to_be_another(autojump_clock, server, expected, told):
    server.order(SequenceMismatch(expected), "Simulate")
    server.order(SequenceMismatch(expected), "BroadcastTx")
    text = f"account sequence mismatch, expected {told}, got 0: incorrect account sequence"
    async with connected(server) as channel:
        error = await refused(simulated(channel, SIMULATION))
        assert error.status is Status.UNKNOWN
        assert error.message.startswith(f"{text} [")
        answer = await broadcast(channel, RAW)
        assert (answer.code, answer.codespace, answer.raw_log) == (32, "sdk", text)
        assert await simulated(channel, SIMULATION)
        assert (await broadcast(channel, RAW)).code == 0


async def test_gas_runs_out_in_a_simulation(autojump_clock, server):
    server.order(OutOfGas(), "Simulate")
    async with connected(server) as channel:
        error = await refused(simulated(channel, SIMULATION))
        assert (error.status, "out of gas in location: " in error.message) == (Status.UNKNOWN, True)
        assert ": out of gas [" in error.message
        assert await simulated(channel, SIMULATION)


async def test_gas_runs_out_in_a_block(autojump_clock, server):
    server.order(OutOfGas(), "BroadcastTx")
    async with connected(server) as channel:
        assert (await broadcast(channel, RAW)).code == 0
        server.blocks.make()
        found = await looked_up(channel, RAW)
        assert (found.code, found.codespace) == (11, "sdk")
        assert found.raw_log.endswith(": out of gas")
        assert (await heal_op(channel)).status == HealOpStatus.SCHEDULED
    assert server.chain.at().account(HEALER.address).sequence == 1


async def test_a_transaction_fails_in_its_block_for_anything(autojump_clock, server):
    server.order(FailsInBlock(13, "audit", "because"))
    async with connected(server) as channel:
        await broadcast(channel, RAW)
        server.blocks.make()
        found = await looked_up(channel, RAW)
    assert (found.code, found.codespace, found.raw_log) == (13, "audit", "because")


@pytest.mark.parametrize(
    ("fault", "log"),
    [
        (CheckRefused(5), "insufficient funds"),
        (CheckRefused(13, log="gas prices too low"), "gas prices too low"),
        (CheckRefused(20), ""),
        (CheckRefused(9999, "wasm", "odd"), "odd"),
        (CheckRefused(77), ""),
    ],
)
async def test_check_tx_refuses_with_any_code(autojump_clock, server, fault, log):
    server.order(fault)
    async with connected(server) as channel:
        answer = await broadcast(channel, RAW)
        assert (answer.code, answer.codespace, answer.raw_log) == (fault.code, fault.codespace, log)
        assert (await broadcast(channel, RAW)).code == 0


async def test_answers_are_from_an_older_height_and_say_so(autojump_clock, server):
    server.blocks.make()
    server.chain.set_op(op(status=HealOpStatus.VERIFIED))
    async with connected(server) as channel:
        await broadcast(channel, RAW)
        server.blocks.make()
        assert await height(channel) == 3
        server.order(Behind(2), count=3)
        assert await height(channel) == 1
        assert (await heal_op(channel)).status == HealOpStatus.SCHEDULED
        await refused(looked_up(channel, RAW))
        assert await height(channel) == 3
        assert (await looked_up(channel, RAW)).height == 3


async def test_a_node_behind_is_not_behind_its_oldest_state(autojump_clock, server):
    server.order(Behind(10**9))
    async with connected(server) as channel:
        assert await height(channel) == 0


async def test_a_node_behind_knows_no_height_above_its_own(autojump_clock, server):
    server.blocks.make()
    server.order(Behind(1), count=2)
    async with connected(server) as channel:
        params = QueryStub(channel).params
        error = await refused(params(QueryParamsRequest(), metadata={"x-cosmos-block-height": "2"}))
        assert error.message.startswith("cannot query with height in the future")
        await params(QueryParamsRequest(), metadata={"x-cosmos-block-height": "1"})
        await params(QueryParamsRequest(), metadata={"x-cosmos-block-height": "2"})


async def test_a_node_has_no_transaction_index(autojump_clock, server):
    server.order(NoIndex(), count=None)
    async with connected(server) as channel:
        await broadcast(channel, RAW)
        server.blocks.make()
        error = await refused(looked_up(channel, RAW))
        assert (error.status, error.message) == (Status.UNKNOWN, "transaction indexing is disabled")
        assert (await heal_op(channel)).status == HealOpStatus.HEALER_REPORTED


async def test_ops_are_pruned(autojump_clock, server):
    server.chain.set_op(op(2, HealOpStatus.VERIFIED))
    server.chain.prune_ops([1, 7])
    async with connected(server) as channel:
        error = await refused(heal_op(channel))
        assert (error.status, error.message) == (Status.NOT_FOUND, "heal op not found")
        assert (await heal_op(channel, 2)).heal_op_id == 2
    assert server.chain.state.next_op_id == 3


async def test_a_restart_loses_the_mempool_and_the_connections_and_nothing_else(autojump_clock, server):
    async with connected(server) as channel:
        await broadcast(channel, RAW)
        server.blocks.make()
        await broadcast(channel, draft(FIRST, vote(FIRST.address)).raw())
        server.order(Slow(100), "HealOp")
        async with trio.open_nursery() as nursery:

            async def ask():
                with pytest.raises(RpcError):
                    await heal_op(channel)

            nursery.start_soon(ask)
            await trio.sleep(1)
            server.restart(down_seconds=10)
        assert server.chain.mempool() == ()
    async with connected(server) as channel:
        assert (await refused(heal_op(channel))).message == "the node is down"
        await trio.sleep(10)
        assert (await heal_op(channel)).status == HealOpStatus.HEALER_REPORTED
        assert (await looked_up(channel, RAW)).code == 0


async def test_a_fault_is_for_one_account(autojump_clock):
    server = server_of(chain_with_op())
    server.order(CheckRefused(5), account=FIRST.address)
    server.order(Unavailable(), account=FIRST.address)
    async with connected(server) as channel:
        assert (await broadcast(channel, RAW)).code == 0
        assert (await broadcast(channel, draft(FIRST, vote(FIRST.address)).raw())).code == 5
        assert (await broadcast(channel, draft(FIRST, vote(FIRST.address)).raw())).code == 0


async def test_faults_that_mean_nothing_to_a_method_wait_for_one_to_which_they_do(autojump_clock, server):
    server.order(NoIndex())
    server.order(CheckRefused(5))
    async with connected(server) as channel:
        await heal_op(channel)
        await simulated(channel, SIMULATION)
        assert (await broadcast(channel, RAW)).code == 5
        error = await refused(ServiceStub(channel).get_tx(GetTxRequest("AB" * 32)))
        assert error.message == "transaction indexing is disabled"


async def test_faults_of_one_call_come_together(autojump_clock, server):
    server.order(Slow(7))
    server.order(Behind(1))
    server.order(AnswerLost(), "BroadcastTx")
    async with connected(server) as channel:
        begun = trio.current_time()
        with pytest.raises(RpcUnanswered):
            await broadcast(channel, RAW)
        assert trio.current_time() - begun == pytest.approx(7)
        assert await height(channel) == 1
    assert len(server.chain.mempool()) == 1
