"""Meters before ports: what passes is counted, and nothing is changed."""

from contextlib import contextmanager

import pytest
import trio
from attrs import define, field

from daemon.scraped import changed, scraped
from lep6.daemon.labels import QUERIES
from lep6.daemon.measured import MOST_ALIVE, MeasuredChain, MeasuredNetwork, MeasuredProgress
from lep6.daemon.metrics import Metrics
from lep6.errors import ChainUnavailable, WrongChain
from lep6.heal.decisions import INDEX_BLOCKS
from lep6.model import Block, HealOpStatus, Ticket, key_of
from lep6.observe import Tally, Unwatched
from lep6.ports import At, Placement, Retrieval
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

CLAIM = Claim(1, Ticket("42"), "hash")
VOTE = Vote(1, True, "hash", "")
HEIGHT = 700
TIMEOUT = 720
CALLS = {
    "latest_block": ((), {}, Block(HEIGHT, 10.0)),
    "parameters": ((), {}, At("parameters", HEIGHT)),
    "heal_op": ((7,), {}, At("op", HEIGHT)),
    "heal_ops": ((HealOpStatus.VERIFIED,), {"page": b"next"}, At("page", HEIGHT)),
    "action": ((Ticket("42"),), {}, At(None, HEIGHT)),
    "public_key": (("someone",), {}, None),
    "legacy_address": (("someone",), {}, "another"),
    "supernode": (("someone",), {}, None),
    "is_account": (("someone",), {}, False),
    "prepare": ((CLAIM,), {"last_height": 9}, Refused(Refusal.FUNDS)),
    "broadcast": ((Transaction(CLAIM, "AB", 1, TIMEOUT, b""),), {}, Pooled()),
    "lookup": (("AB",), {}, At(Absent(), HEIGHT)),
}
"""Arguments and answer."""


class WallClock:
    """Goes with Trio's clock."""

    def now(self) -> float:
        return trio.current_time()


@define
class ScriptedChain:
    """Answers as it is told, after a while."""

    answers: dict[str, object] = field(factory=dict)
    seconds: float = 0.0
    asked: list[tuple] = field(factory=list)

    def __getattr__(self, name: str):
        async def ask(*arguments, **named):
            self.asked.append((name, arguments, named))
            await trio.sleep(self.seconds)
            answer = self.answers[name]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return ask


def measured(**answers):
    inner = ScriptedChain(answers)
    metrics = Metrics(clock=WallClock())
    return inner, metrics, MeasuredChain(inner, metrics, WallClock())


def transaction(says=CLAIM, tx_hash="AB") -> Transaction:
    return Transaction(says, tx_hash, 1, TIMEOUT, b"")


def of(told, name: str) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in told.items() if key[0] == name}


def test_every_query_of_the_ports_is_counted():
    assert set(CALLS) == set(QUERIES)


@pytest.mark.parametrize("query", QUERIES)
async def test_a_question_is_passed_on_as_it_is_timed_and_answered(query, autojump_clock):
    arguments, named, answer = CALLS[query]
    inner, metrics, chain = measured(**{query: answer})
    inner.seconds = 0.3
    before = scraped(metrics)
    assert await getattr(chain, query)(*arguments, **named) is answer
    assert inner.asked == [(query, arguments, named)]
    told = changed(metrics, before)
    assert of(told, "lep6_chain_query_seconds_count") == {(query,): 1}
    assert of(told, "lep6_chain_query_seconds_sum") == {(query,): pytest.approx(0.3)}
    assert of(told, "lep6_chain_errors_total") == {}
    assert of(told, "lep6_last_success_timestamp_seconds") == {("chain",): pytest.approx(trio.current_time())}
    has_height = isinstance(answer, (At, Block))
    assert of(told, "lep6_chain_height") == ({(): HEIGHT} if has_height else {})


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("error", [ChainUnavailable("away"), WrongChain("another"), ValueError("a bug")], ids=repr)
async def test_what_is_not_answered_is_an_error_and_comes_out_as_it_is(query, error, autojump_clock):
    arguments, named, _ = CALLS[query]
    _, metrics, chain = measured(**{query: error})
    before = scraped(metrics)
    with pytest.raises(type(error)) as caught:
        await getattr(chain, query)(*arguments, **named)
    assert caught.value is error
    told = changed(metrics, before)
    assert of(told, "lep6_chain_errors_total") == {(query,): 1}
    assert of(told, "lep6_last_success_timestamp_seconds") == {}
    assert of(told, "lep6_transactions_total") == (
        {("claim", "indeterminate"): 1} if query in ("prepare", "broadcast") else {}
    )


async def test_a_question_that_is_given_up_counts_as_not_answered(autojump_clock):
    inner, metrics, chain = measured(parameters=None)
    inner.seconds = 1000
    before = scraped(metrics)
    with trio.move_on_after(10) as scope:
        await chain.parameters()
    assert scope.cancelled_caught
    told = changed(metrics, before)
    assert of(told, "lep6_chain_errors_total") == {("parameters",): 1}
    assert of(told, "lep6_chain_query_seconds_sum") == {("parameters",): pytest.approx(10)}


@pytest.mark.parametrize(
    ("query", "answer", "result"),
    [
        ("prepare", transaction(VOTE), None),
        ("prepare", Refused(Refusal.GAS), "refused"),
        ("prepare", Indeterminate(), "indeterminate"),
        ("broadcast", Pooled(), "pooled"),
        ("broadcast", Refused(Refusal.GAS), "refused"),
        ("broadcast", Indeterminate(), "indeterminate"),
    ],
)
async def test_what_became_of_a_transaction_is_counted_by_what_it_says(query, answer, result, autojump_clock):
    _, metrics, chain = measured(**{query: answer})
    before = scraped(metrics)
    if query == "prepare":
        assert await chain.prepare(VOTE, last_height=None) is answer
    else:
        assert await chain.broadcast(transaction(VOTE)) is answer
    told = changed(metrics, before)
    assert of(told, "lep6_transactions_total") == ({("vote", result): 1} if result else {})
    is_refused = result == "refused"
    assert of(told, "lep6_transactions_refused_by_reason_total") == ({("gas",): 1} if is_refused else {})
    assert of(told, "lep6_chain_errors_total") == ({(query,): 1} if result == "indeterminate" else {})


async def test_what_a_host_tells_is_not_counted_as_ours(autojump_clock):
    _, metrics, chain = measured(broadcast=Pooled(), lookup=At(Absent(), 10**9))
    before = scraped(metrics)
    await chain.broadcast(transaction(Packed("/a.b.C", b"")))
    await chain.lookup("AB")
    assert of(changed(metrics, before), "lep6_transactions_total") == {}


@pytest.mark.parametrize(
    ("found", "height", "is_dead"),
    [
        (Included(HEIGHT, None), HEIGHT, False),
        (Included(HEIGHT, Refusal.VOTE_EXISTS), HEIGHT, False),
        (Included(HEIGHT, Refusal.GAS), HEIGHT, True),
        (Absent(), TIMEOUT, False),
        (Absent(), TIMEOUT + INDEX_BLOCKS, True),
    ],
)
async def test_a_transaction_dies_once(found, height, is_dead, autojump_clock):
    _, metrics, chain = measured(broadcast=Pooled(), lookup=At(found, height))
    await chain.broadcast(transaction())
    before = scraped(metrics)
    for _ in range(3):
        await chain.lookup("AB")
    assert of(changed(metrics, before), "lep6_transactions_total") == ({("claim", "dead"): 1} if is_dead else {})


async def test_one_that_was_refused_or_never_sent_by_us_does_not_die(autojump_clock):
    _, metrics, chain = measured(broadcast=Refused(Refusal.FEE), lookup=At(Absent(), 10**9))
    await chain.broadcast(transaction())
    before = scraped(metrics)
    await chain.lookup("AB")
    await chain.lookup("CD")
    assert of(changed(metrics, before), "lep6_transactions_total") == {}


async def test_one_whose_sending_was_broken_off_may_die(autojump_clock):
    inner, metrics, chain = measured(broadcast=Pooled(), lookup=At(Absent(), 10**9))
    inner.seconds = 60
    with trio.move_on_after(1):
        await chain.broadcast(transaction())
    before = scraped(metrics)
    await chain.lookup("AB")
    assert of(changed(metrics, before), "lep6_transactions_total") == {("claim", "dead"): 1}


async def test_only_so_many_transactions_are_remembered_and_the_newest_are(autojump_clock):
    _, metrics, chain = measured(broadcast=Pooled(), lookup=At(Absent(), 10**9))
    for number in range(MOST_ALIVE + 10):
        await chain.broadcast(transaction(tx_hash=f"{number}"))
    before = scraped(metrics)
    for number in range(MOST_ALIVE + 10):
        await chain.lookup(f"{number}")
    assert of(changed(metrics, before), "lep6_transactions_total") == {("claim", "dead"): MOST_ALIVE}


async def test_the_chain_lags_from_the_start_on_until_a_block_comes_and_from_the_newest_after(autojump_clock):
    await trio.sleep(100)
    inner, metrics, chain = measured(latest_block=ChainUnavailable("away"))
    assert scraped(metrics)["lep6_chain_lag_seconds",] == 0
    await trio.sleep(40)
    assert scraped(metrics)["lep6_chain_lag_seconds",] == pytest.approx(40)
    inner.answers["latest_block"] = Block(HEIGHT, 134.0)
    await chain.latest_block()
    assert chain.lag_seconds() == pytest.approx(6)
    inner.answers["latest_block"] = Block(HEIGHT - 9, 80.0)  # of a node that is behind
    await chain.latest_block()
    assert chain.block == Block(HEIGHT, 134.0)
    await trio.sleep(10)
    assert scraped(metrics)["lep6_chain_lag_seconds",] == pytest.approx(16)


async def test_progress_is_counted_and_told_on(autojump_clock):
    told = []

    class Watcher:
        @contextmanager
        def step(self, name, counter, /, *, unit="B"):
            told.append((name, counter, unit))
            yield
            told.append("ended")

    metrics = Metrics(clock=WallClock())
    before, tally = scraped(metrics), Tally()
    with MeasuredProgress(Watcher(), metrics).step("publishing", tally, unit="values"):
        tally.done = 4
        await trio.sleep(2)
    assert told == [("publishing", tally, "values"), "ended"]
    with MeasuredProgress(Unwatched(), metrics).step("decoding", tally):
        tally.done += 5
    assert changed(metrics, before) == {
        ("lep6_phase_items_total", "publishing"): 4,
        ("lep6_phase_seconds_total", "publishing"): pytest.approx(2),
        ("lep6_phase_bytes_total", "decoding"): 5,
    }


async def test_bytes_of_the_network_are_counted_both_ways(autojump_clock):
    values = {key_of(value): value for value in (b"one", b"three", b"seven!!")}
    retrieval = Retrieval(frozenset(values), frozenset(), frozenset(), frozenset())

    class OneNode:
        async def retrieve(self, keys, /, *, need, sink):
            assert need == 2
            assert await sink([(key, values[key]) for key in keys]) == ["judged"]
            return retrieval

        async def store(self, items, /):
            return [Placement(key, copies, 1) for (key, _), copies in zip(items, (1, 0, 2), strict=True)]

    async def sink(pairs, /):
        assert dict(pairs) == values
        return ["judged"]

    metrics = Metrics(clock=WallClock())
    network, before = MeasuredNetwork(OneNode(), metrics), scraped(metrics)
    assert await network.retrieve(list(values), need=2, sink=sink) is retrieval
    placements = await network.store(list(values.items()))
    assert [placement.copies for placement in placements] == [1, 0, 2]
    assert changed(metrics, before) == {
        ("lep6_moved_bytes_total", "retrieved"): 15,
        ("lep6_moved_bytes_total", "stored"): 10,
    }
