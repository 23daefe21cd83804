"""Several nodes: the one that is silent, slow, behind or wrong is left for a while."""

from itertools import pairwise

import pytest
import trio
from grpclib.const import Status

from chain_wire import Encoded, Node, a_block, cut, hang, in_turn, refused, slowly, some_nodes
from lep6.chain.nodes import (
    BEHIND_BLOCKS,
    BEHIND_LEAVE,
    EACH_SECONDS,
    FIRST_LEAVE,
    LATEST_BLOCK,
    LONGEST_LEAVE,
    QueryRefused,
)
from lep6.errors import ChainUnavailable, WrongChain
from lep6.wire.cosmos.base.tendermint import v1beta1 as tendermint
from lep6.wire.cosmos.tx import v1beta1 as tx
from lep6.wire.lumera.audit import v1 as audit

OP_PATH = "/lumera.audit.v1.Query/HealOp"
BROADCAST_PATH = "/cosmos.tx.v1beta1.Service/BroadcastTx"
REQUEST = audit.QueryHealOpRequest(heal_op_id=7)
ANSWER = audit.QueryHealOpResponse(heal_op=audit.HealOp(heal_op_id=7))
POOLED = tx.BroadcastTxResponse()
SAYING_NOTHING = [
    Status.CANCELLED,
    Status.DEADLINE_EXCEEDED,
    Status.RESOURCE_EXHAUSTED,
    Status.ABORTED,
    Status.UNAVAILABLE,
]


def a_node(host="one", answer=ANSWER, **options):
    return Node(host, answers={"HealOp": answer, "BroadcastTx": POOLED}, **options)


def ask(nodes):
    return nodes.ask(OP_PATH, REQUEST, audit.QueryHealOpResponse)


async def host_of_answer(nodes, *scripted):
    """Which node was asked, when all of them answer."""
    before = [len(node.asked("HealOp")) for node in scripted]
    await ask(nodes)
    (host,) = [
        node.host for node, calls in zip(scripted, before, strict=True) if len(node.asked("HealOp")) == calls + 1
    ]
    return host


async def test_nothing_is_asked_before_it_is_needed(autojump_clock):
    one = a_node()
    async with some_nodes(one):
        await trio.sleep(1000)
    assert not one.dialled


async def test_an_answer_comes_with_the_height_of_the_header(autojump_clock):
    one = a_node(height=123)
    async with some_nodes(one) as nodes:
        reply = await ask(nodes)
    assert (reply.message, reply.height, nodes.height) == (ANSWER, 123, 123)


async def test_the_first_of_them_is_asked_first_and_the_others_not_at_all(autojump_clock):
    one, two, three = a_node("one"), a_node("two"), a_node("three")
    async with some_nodes(one, two, three) as nodes:
        for _ in range(3):
            await ask(nodes)
    assert len(one.asked("HealOp")) == 3
    assert not two.dialled
    assert not three.dialled


async def test_a_node_is_asked_once_which_chain_it_is_one_of(autojump_clock):
    one = a_node()
    async with some_nodes(one) as nodes:
        for _ in range(3):
            await ask(nodes)
    assert len(one.asked("GetNodeInfo")) == 1


@pytest.mark.parametrize("seconds", [0.5, 3.9, 4.5])
async def test_one_node_alone_has_all_the_time_of_its_caller(seconds, autojump_clock):
    async with some_nodes(a_node(answer=slowly(100 * seconds, ANSWER))) as nodes:
        assert (await ask(nodes)).message == ANSWER
        assert trio.current_time() == pytest.approx(100 * seconds)


async def test_a_slow_node_is_passed_over_after_a_while(autojump_clock):
    one, two = a_node("one", slowly(EACH_SECONDS + 0.1, ANSWER)), a_node("two", height=101)
    async with some_nodes(one, two) as nodes:
        assert (await ask(nodes)).height == 101
        assert trio.current_time() == pytest.approx(EACH_SECONDS)


async def test_a_node_that_is_not_too_slow_is_waited_for(autojump_clock):
    one, two = a_node("one", slowly(EACH_SECONDS - 0.1, ANSWER)), a_node("two")
    async with some_nodes(one, two) as nodes:
        assert await host_of_answer(nodes, one, two) == "one"
        assert not two.dialled


@pytest.mark.parametrize("fault", [OSError("refused"), trio.TooSlowError(), trio.BrokenResourceError()], ids=repr)
async def test_a_node_that_cannot_be_reached_is_passed_over_at_once(fault, autojump_clock):
    one, two = a_node("one", fault=fault), a_node("two")
    async with some_nodes(one, two) as nodes:
        assert await host_of_answer(nodes, one, two) == "two"
        assert trio.current_time() == 0


async def test_a_node_that_is_mute_is_passed_over_after_a_while(autojump_clock):
    one, two = a_node("one", is_mute=True), a_node("two")
    async with some_nodes(one, two) as nodes:
        assert await host_of_answer(nodes, one, two) == "two"
        assert trio.current_time() == pytest.approx(EACH_SECONDS)


@pytest.mark.parametrize("answer", [cut, Encoded(b"\xff"), Encoded(b"\x0a\x05ab"), *map(refused, SAYING_NOTHING)])
async def test_an_answer_that_says_nothing_is_asked_for_elsewhere(answer, autojump_clock):
    one, two = a_node("one", answer, height=90), a_node("two", height=99)
    async with some_nodes(one, two) as nodes:
        assert (await ask(nodes)).height == 99
        assert trio.current_time() == 0


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.INVALID_ARGUMENT, Status.INTERNAL])
async def test_a_refusal_that_says_something_is_the_answer(status, autojump_clock):
    one, two = a_node("one", refused(status, "no such op")), a_node("two")
    async with some_nodes(one, two) as nodes:
        with pytest.raises(QueryRefused, match="no such op") as caught:
            await ask(nodes)
    assert caught.value.status is status
    assert not two.dialled


async def test_a_silent_node_is_left_longer_each_time(autojump_clock):
    one, two = a_node("one", hang), a_node("two")
    async with some_nodes(one, two) as nodes:
        while trio.current_time() < 1000:
            await ask(nodes)
            await trio.sleep(1)
    times = one.times("HealOp")
    gaps = [after - before - EACH_SECONDS for before, after in pairwise(times)]
    expected = [FIRST_LEAVE * 2**n for n in range(5)] + [LONGEST_LEAVE] * 20
    assert gaps == pytest.approx(expected[: len(gaps)], abs=1.01)
    assert len(gaps) > 8


async def test_an_answer_ends_the_growing_of_its_pauses(autojump_clock):
    one, two = a_node("one"), a_node("two")
    one.answers["HealOp"] = in_turn(*[refused(Status.UNAVAILABLE)] * 3, ANSWER, refused(Status.UNAVAILABLE), ANSWER)
    async with some_nodes(one, two) as nodes:
        while len(one.calls) < 7:
            await ask(nodes)
            await trio.sleep(0.5)
    times = one.times("HealOp")
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == pytest.approx([5, 10, 20, 0.5, 5], abs=0.51)


async def test_where_all_are_left_the_one_that_is_left_the_shortest_is_asked(autojump_clock):
    one, two = a_node("one"), a_node("two")
    one.answers["HealOp"] = in_turn(*[refused(Status.UNAVAILABLE)] * 2, ANSWER)
    two.answers["HealOp"] = in_turn(refused(Status.UNAVAILABLE), ANSWER)
    async with some_nodes(one, two) as nodes:
        with pytest.raises(ChainUnavailable):
            await ask(nodes)
        await trio.sleep(1)
        two.answers["HealOp"] = refused(Status.UNAVAILABLE)
        with pytest.raises(ChainUnavailable):
            await ask(nodes)
        await trio.sleep(1)
        two.answers["HealOp"] = ANSWER
        assert await host_of_answer(nodes, one, two) == "one"


async def test_when_all_are_away_the_reason_of_each_is_told(autojump_clock):
    one = a_node("one", fault=OSError("no route to host"))
    two = a_node("two", refused(Status.UNAVAILABLE, "node is catching up"))
    three = a_node("three", hang)
    async with some_nodes(one, two, three) as nodes:
        with pytest.raises(ChainUnavailable) as caught:
            await ask(nodes)
    reasons = str(caught.value).split("; ")
    assert ["one:9090" in reasons[0], "two:9090" in reasons[1], "three:9090" in reasons[2]] == [True] * 3
    assert "no route to host" in reasons[0]
    assert "node is catching up" in reasons[1]
    assert "TooSlowError" in reasons[2]


async def test_one_node_alone_that_is_away_is_told_of(autojump_clock):
    async with some_nodes(a_node(fault=OSError("no route to host"))) as nodes:
        with pytest.raises(ChainUnavailable, match=r"one:9090.*no route to host"):
            await ask(nodes)


async def test_a_node_that_is_behind_is_left_for_a_while(autojump_clock):
    one, two = a_node("one", height=100), a_node("two", height=101 + BEHIND_BLOCKS)
    async with some_nodes(one, two) as nodes:
        one.fault = OSError("away")
        await ask(nodes)  # so that two's height is known
        one.fault = None
        await trio.sleep(FIRST_LEAVE + 0.1)
        assert await host_of_answer(nodes, one, two) == "one"
        for _ in range(5):
            await trio.sleep(BEHIND_LEAVE / 5 - 0.1)
            assert await host_of_answer(nodes, one, two) == "two"
        await trio.sleep(1)
        assert await host_of_answer(nodes, one, two) == "one"


async def test_a_node_that_is_hardly_behind_is_not_left(autojump_clock):
    one, two = a_node("one", height=100), a_node("two", height=100 + BEHIND_BLOCKS)
    async with some_nodes(one, two) as nodes:
        one.fault = OSError("away")
        await ask(nodes)
        one.fault = None
        await trio.sleep(FIRST_LEAVE + 0.1)
        for _ in range(3):
            assert await host_of_answer(nodes, one, two) == "one"


async def test_one_node_alone_is_never_behind(autojump_clock):
    one = a_node(height=100)
    async with some_nodes(one) as nodes:
        await ask(nodes)
        one.height = 10
        assert (await ask(nodes)).height == 10
        assert nodes.nodes[0].left_until < 0


async def test_a_node_of_another_chain_is_an_error_where_it_is_the_only_one(autojump_clock):
    one = a_node(network="lumera-mainnet-1")
    async with some_nodes(one) as nodes:
        for _ in range(2):
            with pytest.raises(WrongChain, match=r"one:9090.*lumera-mainnet-1.*lumera-devnet-1"):
                await ask(nodes)
    assert not one.asked("HealOp")


async def test_nodes_that_are_all_of_another_chain_are_an_error_and_one_that_is_away_makes_it_uncertain(autojump_clock):
    one, two = a_node("one", network="lumera-mainnet-1"), a_node("two", network="lumera-mainnet-1")
    async with some_nodes(one, two) as nodes:
        with pytest.raises(WrongChain, match=r"one:9090.*two:9090"):
            await ask(nodes)
        with pytest.raises(WrongChain, match="two:9090"):
            await nodes.newest(LATEST_BLOCK, tendermint.GetLatestBlockRequest(), tendermint.GetLatestBlockResponse)
    two = a_node("two", fault=ConnectionRefusedError("it is down"))
    async with some_nodes(one, two) as nodes:
        with pytest.raises(ChainUnavailable) as away:
            await ask(nodes)
        assert not isinstance(away.value, WrongChain)


async def test_a_node_of_another_chain_is_left_where_there_are_others(autojump_clock):
    one, two = a_node("one", network="lumera-mainnet-1"), a_node("two")
    async with some_nodes(one, two) as nodes:
        for _ in range(5):
            await ask(nodes)
            await trio.sleep(3)
    assert not one.asked("HealOp")
    assert 1 < len(one.asked("GetNodeInfo")) < 5


async def test_a_node_of_another_chain_is_named_when_the_others_are_away(autojump_clock):
    one, two = a_node("one", network="lumera-mainnet-1"), a_node("two", fault=OSError("away"))
    async with some_nodes(one, two) as nodes:
        with pytest.raises(ChainUnavailable, match=r"lumera-mainnet-1.*away"):
            await ask(nodes)


async def test_a_node_that_does_not_say_of_which_chain_it_is_is_trusted(autojump_clock):
    one = a_node()
    one.answers["GetNodeInfo"] = tendermint.GetNodeInfoResponse()
    async with some_nodes(one) as nodes:
        assert (await ask(nodes)).message == ANSWER


async def test_the_newest_block_tells_its_height_itself(autojump_clock):
    one = a_node(height=77, tells=False)
    async with some_nodes(one) as nodes:
        reply = await nodes.ask(LATEST_BLOCK, tendermint.GetLatestBlockRequest(), tendermint.GetLatestBlockResponse)
    assert reply.height == 77


async def test_a_node_that_tells_no_heights_is_asked_for_its_newest_block_before(autojump_clock):
    one = a_node(height=77, tells=False)
    async with some_nodes(one) as nodes:
        assert (await ask(nodes)).height == 77
        one.height = 80
        assert (await ask(nodes)).height == 80
    assert [called for _, called, _ in one.calls][-2:] == ["GetLatestBlock", "HealOp"]


async def test_its_answer_is_as_high_as_the_block_that_was_asked_for_before_it(autojump_clock):
    one = a_node(tells=False)
    one.answers["GetLatestBlock"] = in_turn(a_block(50), a_block(60))
    async with some_nodes(one) as nodes:
        heights = [(await ask(nodes)).height for _ in range(2)]
    assert heights == [50, 60]


@pytest.mark.parametrize("is_terse", [False, True], ids=["headers and trailers", "trailers only"])
async def test_a_refusal_comes_with_the_height_of_its_header(is_terse, autojump_clock):
    one = a_node(answer=refused(Status.NOT_FOUND, "heal op not found"), height=123, is_terse=is_terse)
    async with some_nodes(one) as nodes:
        with pytest.raises(QueryRefused) as caught:
            await ask(nodes)
    assert (caught.value.height, nodes.height) == (123, 123)


@pytest.mark.parametrize("is_terse", [False, True])
async def test_a_refusal_of_a_node_that_tells_none_is_as_high_as_its_newest_block(is_terse, autojump_clock):
    one = a_node(answer=refused(Status.NOT_FOUND, "heal op not found"), height=77, tells=False, is_terse=is_terse)
    async with some_nodes(one) as nodes:
        with pytest.raises(QueryRefused) as caught:
            await ask(nodes)
    assert caught.value.height == 77


@pytest.mark.parametrize("told", ["0", "-5", "1e3", "0x10", "12three", "9" * 19, "9" * 400])
async def test_a_height_that_is_none_is_not_told(told, autojump_clock, monkeypatch):
    one = a_node(height=77)
    monkeypatch.setattr(Node, "tip", property(lambda _: told))
    one.answers["GetLatestBlock"] = a_block(70)
    async with some_nodes(one) as nodes:
        assert (await ask(nodes)).height == 70


async def test_after_a_restart_of_its_server_a_node_is_connected_to_again(autojump_clock):
    one = a_node()
    async with some_nodes(one) as nodes:
        await ask(nodes)
        one.restart()
        await one.cut()
        await trio.sleep(1)
        one.height = 105
        assert (await ask(nodes)).height == 105
    assert len(one.dialled) == 2
    assert len(one.asked("GetNodeInfo")) == 1


async def test_while_its_server_is_down_a_node_is_tried_again_and_again(autojump_clock):
    one = a_node()
    async with some_nodes(one) as nodes:
        await ask(nodes)
        one.fault = OSError("refused")
        await one.cut()
        for _ in range(5):
            with pytest.raises(ChainUnavailable, match="refused"):
                await ask(nodes)
            await trio.sleep(60)
        one.fault = None
        await trio.sleep(LONGEST_LEAVE)
        assert (await ask(nodes)).message == ANSWER


async def test_a_server_that_stops_in_order_ends_what_it_was_asked(autojump_clock):
    one = a_node(answer=slowly(2, ANSWER))
    async with some_nodes(one) as nodes, trio.open_nursery() as nursery:
        await ask(nodes)
        nursery.start_soon(ask, nodes)
        await trio.sleep(1)
        stopping = one.server
        one.restart()
        nursery.start_soon(stopping.drain, 60)
        await trio.sleep(0.5)
        assert (await ask(nodes)).message == ANSWER
    assert len(one.dialled) == 2
    assert len(one.asked("HealOp")) == 3


async def test_a_cancelled_question_does_not_count_against_its_node(autojump_clock):
    one, two = a_node("one", in_turn(hang, ANSWER)), a_node("two")
    async with some_nodes(one, two) as nodes:
        with trio.move_on_after(1):
            await ask(nodes)
        assert trio.current_time() == pytest.approx(1)
        assert await host_of_answer(nodes, one, two) == "one"
    assert not two.dialled


async def test_many_questions_are_asked_beside_each_other(autojump_clock):
    one = a_node(answer=slowly(1, ANSWER))
    async with some_nodes(one) as nodes, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask, nodes)
    assert trio.current_time() < 5
    assert len(one.dialled) == 1


def send(nodes):
    return nodes.send(BROADCAST_PATH, tx.BroadcastTxRequest(tx_bytes=b"x"), tx.BroadcastTxResponse)


async def test_what_is_sent_goes_to_one_node(autojump_clock):
    one, two = a_node("one"), a_node("two")
    async with some_nodes(one, two) as nodes:
        assert await send(nodes) == (POOLED, True)
    assert not two.dialled


async def test_what_a_node_could_not_be_sent_is_sent_to_the_next(autojump_clock):
    one, two = a_node("one", fault=OSError("away")), a_node("two")
    async with some_nodes(one, two) as nodes:
        assert await send(nodes) == (POOLED, True)


@pytest.mark.parametrize("silence", [hang, cut, refused(Status.UNAVAILABLE), refused(Status.INTERNAL)])
async def test_after_a_node_that_may_have_acted_the_answer_is_not_the_only_one(silence, autojump_clock):
    one, two = a_node("one"), a_node("two")
    one.answers["BroadcastTx"] = silence
    async with some_nodes(one, two) as nodes:
        assert await send(nodes) == (POOLED, False)


async def test_what_reached_no_node_is_unsent(autojump_clock):
    one, two = a_node("one", fault=OSError("away")), a_node("two", network="lumera-mainnet-1")
    async with some_nodes(one, two) as nodes:
        assert await send(nodes) == (None, True)


async def test_what_may_have_reached_one_is_not(autojump_clock):
    one, two = a_node("one"), a_node("two", fault=OSError("away"))
    one.answers["BroadcastTx"] = cut
    async with some_nodes(one, two) as nodes:
        assert await send(nodes) == (None, False)


async def test_what_is_sent_is_not_sent_twice_to_a_node(autojump_clock):
    one = a_node()
    one.answers["BroadcastTx"] = cut
    async with some_nodes(one) as nodes:
        assert await send(nodes) == (None, False)
    assert len(one.asked("BroadcastTx")) == 1
