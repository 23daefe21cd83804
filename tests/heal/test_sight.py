"""The chain as a node sees it: deadlines, nodes that are behind, ends that are sure, listings, windows."""

import math

import pytest
import trio
from attrs import define, evolve, field

from lep6.errors import ChainUnavailable
from lep6.heal.decisions import Sight
from lep6.heal.sight import ChainSight
from lep6.model import Action, ActionState, Block, EnforcementMode, HealOp, HealOpStatus, Page, Parameters, Ticket
from lep6.ports import At
from lep6.transaction import Absent, Included
from world import MockWallClock

US = "lumera1us"
OP = HealOp(5, Ticket("7"), US, ("lumera1other",), HealOpStatus.HEALER_REPORTED, "hash", deadline_epoch=3)
FAILED = evolve(OP, status=HealOpStatus.FAILED)
PARAMETERS = Parameters(EnforcementMode.FULL, epoch_zero_height=1, epoch_length=100)
LAST = 400
"""The last block of epoch 3."""
QUERY, BLOCK = 10.0, 6.0
NEVER = math.inf


@define
class OneNode:
    """A node of the chain that says what it is told to."""

    height: int = 100
    age: float = 0.0
    """Of its newest block."""
    answer_seconds: float = 0.0
    is_away: bool = False
    mode: EnforcementMode = EnforcementMode.FULL
    ops: dict[int, HealOp] = field(factory=dict)
    asked: list[object] = field(factory=list)

    async def _answer(self, what, value):
        self.asked.append(what)
        answer = At(value, self.height)
        await trio.sleep(self.answer_seconds)
        if self.is_away:
            raise ChainUnavailable("nobody is there")
        return answer

    async def latest_block(self):
        block = Block(self.height, trio.current_time() - self.age)
        return (await self._answer("block", block)).value

    async def parameters(self):
        return await self._answer("parameters", evolve(PARAMETERS, mode=self.mode))

    async def heal_op(self, op_id):
        return await self._answer(op_id, self.ops.get(op_id))

    async def heal_ops(self, status, *, page=b""):
        first = int(page or b"0")
        ops = [op for _, op in sorted(self.ops.items()) if op.status is status]
        following = str(first + 100).encode() if first + 100 < len(ops) else b""
        return await self._answer((status, page), Page(tuple(ops[first : first + 100]), following))

    async def action(self, ticket):
        return await self._answer(ticket, Action(ticket, "creator", ActionState.DONE, b"") if ticket == "7" else None)

    async def lookup(self, tx_hash):
        return await self._answer(tx_hash, Included(90, None) if tx_hash == "AA" else Absent())


@pytest.fixture
def node():
    return OneNode(ops={5: OP})


@pytest.fixture
def sight(node):
    return seen_by(node)


def seen_by(node, *, is_enabled=True):
    return ChainSight(US, node, MockWallClock(), QUERY, BLOCK, is_enabled)


# Deadlines


async def test_what_the_chain_says_of_an_op_is_seen(node, sight, autojump_clock):
    assert await sight.look(5) == Sight(OP, is_current=True, is_confirmed=False)
    assert await sight.look(6) == Sight(None, is_current=True, is_confirmed=False)
    assert sight.height == 100


async def test_a_query_that_takes_longer_than_its_deadline_is_no_answer(node, sight, autojump_clock):
    node.answer_seconds = QUERY - 0.5
    assert await sight.look(5) is not None
    node.answer_seconds = NEVER
    for question in (sight.look(5), sight.lookup("AA")):
        began = trio.current_time()
        assert await question is None
        assert trio.current_time() - began == QUERY
    for question in (
        sight.heal_op(5),
        sight.action(Ticket("7")),
        sight.listing(HealOpStatus.SCHEDULED, lambda _: True),
    ):
        began = trio.current_time()
        with pytest.raises(ChainUnavailable, match="no answer within 10 s"):
            await question
        assert trio.current_time() - began == QUERY


async def test_every_page_has_the_deadline_for_itself(node, sight, autojump_clock):
    node.ops = {number: evolve(OP, op_id=number) for number in range(1, 251)}
    node.answer_seconds = QUERY - 1
    assert len(await sight.listing(HealOpStatus.HEALER_REPORTED, lambda _: True)) == 250


async def test_no_answer_is_no_answer(node, sight, autojump_clock):
    node.is_away = True
    assert await sight.look(5) is None
    assert await sight.lookup("AA") is None
    with pytest.raises(ChainUnavailable, match="nobody is there"):
        await sight.heal_op(5)
    with pytest.raises(ChainUnavailable, match="nobody is there"):
        await sight.action(Ticket("7"))
    with pytest.raises(ChainUnavailable, match="nobody is there"):
        await sight.listing(HealOpStatus.SCHEDULED, lambda _: True)
    assert sight.height == 0


async def test_a_cancelled_question_is_cancelled_and_no_missing_answer(node, sight, autojump_clock):
    node.answer_seconds = NEVER
    with trio.move_on_after(1) as scope:
        await sight.look(5)
        raise AssertionError
    assert scope.cancelled_caught


async def test_actions_and_transactions_are_given_as_the_chain_has_them(node, sight, autojump_clock):
    assert (await sight.action(Ticket("7"))).ticket == "7"
    assert await sight.action(Ticket("8")) is None
    assert await sight.lookup("AA") == At(Included(90, None), 100)
    assert await sight.lookup("BB") == At(Absent(), 100)


# Nodes that are behind


async def test_an_answer_from_a_lower_height_than_any_before_is_not_current(node, sight, autojump_clock):
    await sight.look(5)
    for height, is_current in ((99, False), (1, False), (100, True), (101, True), (100, False)):
        node.height = height
        assert (await sight.look(5)).is_current is is_current
    assert sight.height == 101


@pytest.mark.parametrize("question", ["heal_op", "action", "lookup", "listing", "refresh"])
async def test_every_answer_tells_how_far_the_chain_is(question, node, sight, autojump_clock):
    node.height = 200
    ask = {
        "heal_op": lambda: sight.heal_op(6),
        "action": lambda: sight.action(Ticket("8")),
        "lookup": lambda: sight.lookup("BB"),
        "listing": lambda: sight.listing(HealOpStatus.EXPIRED, lambda _: True),
        "refresh": sight.refresh,
    }
    await ask[question]()
    assert sight.height == 200
    node.height = 199
    assert not (await sight.look(5)).is_current


async def test_what_was_noted_before_a_restart_counts(node, sight, autojump_clock):
    sight.height = 101
    assert not (await sight.look(5)).is_current
    node.height = 101
    assert (await sight.look(5)).is_current


async def test_an_answer_that_was_on_its_way_is_not_behind_what_was_asked_meanwhile(node, sight, autojump_clock):
    async def slow():
        node.answer_seconds = 5
        answers.append(await sight.look(5))

    answers = []
    await sight.look(5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow)
        await trio.sleep(1)
        node.answer_seconds, node.height = 0, 101
        await sight.look(6)
    assert answers == [Sight(OP, is_current=True, is_confirmed=False)]


# Ends that are sure


async def look_at(sight, node, height, op=FAILED):
    node.height = height
    node.ops = {} if op is None else {5: op}
    return await sight.look(5)


@pytest.fixture
async def informed(node, sight):
    """A sight that has seen a fresh block."""
    await sight.refresh()
    return sight


@pytest.mark.parametrize("op", [FAILED, None])
async def test_an_op_is_confirmed_when_it_was_seen_just_so_at_two_heights(op, node, informed, autojump_clock):
    assert not (await look_at(informed, node, 100, op)).is_confirmed
    assert not (await look_at(informed, node, 100, op)).is_confirmed
    assert await look_at(informed, node, 101, op) == Sight(op, is_current=True, is_confirmed=True)
    assert (await look_at(informed, node, 101, op)).is_confirmed


async def test_an_op_that_changed_is_confirmed_anew(node, informed, autojump_clock):
    await look_at(informed, node, 100, FAILED)
    assert not (await look_at(informed, node, 101, None)).is_confirmed
    assert not (await look_at(informed, node, 102, FAILED)).is_confirmed
    assert not (await look_at(informed, node, 103, evolve(FAILED, result_hash="other"))).is_confirmed
    assert not (await look_at(informed, node, 103, evolve(FAILED, result_hash="other"))).is_confirmed
    assert (await look_at(informed, node, 104, evolve(FAILED, result_hash="other"))).is_confirmed


async def test_an_answer_of_a_node_that_is_behind_confirms_nothing_and_spoils_nothing(node, informed, autojump_clock):
    await look_at(informed, node, 110)
    behind = await look_at(informed, node, 109)
    assert behind == Sight(FAILED, is_current=False, is_confirmed=False)
    await look_at(informed, node, 105, None)
    assert not (await look_at(informed, node, 110)).is_confirmed
    assert (await look_at(informed, node, 111)).is_confirmed


async def test_what_a_node_said_that_was_behind_is_not_the_first_of_two(node, informed, autojump_clock):
    informed.height = 110
    await look_at(informed, node, 105)
    assert not (await look_at(informed, node, 110)).is_confirmed
    assert (await look_at(informed, node, 111)).is_confirmed


async def test_no_answer_confirms_nothing_and_spoils_nothing(node, informed, autojump_clock):
    await look_at(informed, node, 100)
    node.is_away = True
    assert await look_at(informed, node, 101) is None
    node.is_away = False
    assert (await look_at(informed, node, 101)).is_confirmed


async def test_ops_are_confirmed_each_for_itself(node, informed, autojump_clock):
    await look_at(informed, node, 100, None)
    node.height = 101
    assert not (await informed.look(6)).is_confirmed
    assert (await informed.look(5)).is_confirmed


async def test_what_was_forgotten_is_confirmed_anew(node, informed, autojump_clock):
    await look_at(informed, node, 100)
    informed.forget(5)
    informed.forget(6)
    assert not (await look_at(informed, node, 101)).is_confirmed
    assert (await look_at(informed, node, 102)).is_confirmed


@pytest.mark.parametrize("age", [3600, 61, -61, -3600])
async def test_nothing_is_confirmed_while_no_block_was_seen_that_was_made_just_now(age, node, sight, autojump_clock):
    await look_at(sight, node, 100)
    assert not (await look_at(sight, node, 101)).is_confirmed
    node.age = age
    await sight.refresh()
    assert not (await look_at(sight, node, 102)).is_confirmed
    node.age = 60
    await sight.refresh()
    assert (await look_at(sight, node, 103)).is_confirmed


async def test_slow_chains_may_have_older_blocks(node, sight, autojump_clock):
    sight.block_seconds = 60.0
    node.age = 599
    await sight.refresh()
    await look_at(sight, node, 100)
    assert (await look_at(sight, node, 101)).is_confirmed


# Listings


async def test_250_ops_over_three_pages_are_all_listed(node, sight, autojump_clock):
    node.ops = {number: evolve(OP, op_id=number, healer="lumera1other") for number in range(1, 250)}
    node.ops[250] = evolve(OP, op_id=250)
    reported = HealOpStatus.HEALER_REPORTED
    assert await sight.listing(reported, lambda op: op.healer == US) == [node.ops[250]]
    assert node.asked == [(reported, b""), (reported, b"100"), (reported, b"200")]
    assert [op.op_id for op in await sight.listing(reported, lambda _: True)] == list(range(1, 251))
    assert await sight.listing(HealOpStatus.SCHEDULED, lambda _: True) == []


async def test_what_expires_first_comes_first_and_what_never_does_last(node, sight, autojump_clock):
    deadlines = {1: 9, 2: 0, 3: 4, 4: 0, 5: 3, 6: 4}
    node.ops = {number: evolve(OP, op_id=number, deadline_epoch=deadline) for number, deadline in deadlines.items()}
    listed = await sight.listing(HealOpStatus.HEALER_REPORTED, lambda op: op.op_id != 4)
    assert [op.op_id for op in listed] == [5, 3, 6, 1, 2]


async def test_a_listing_that_breaks_off_is_no_listing(node, sight, autojump_clock):
    node.ops = {number: evolve(OP, op_id=number) for number in range(1, 251)}

    def is_wanted(op):
        node.is_away = op.op_id == 100
        return True

    with pytest.raises(ChainUnavailable):
        await sight.listing(HealOpStatus.HEALER_REPORTED, is_wanted)


async def test_a_listing_without_end_ends(node, sight, monkeypatch, autojump_clock):
    monkeypatch.setattr("lep6.heal.sight.MOST_PAGES", 2)
    node.ops = {number: evolve(OP, op_id=number) for number in range(1, 251)}
    assert len(await sight.listing(HealOpStatus.HEALER_REPORTED, lambda _: True)) == 200


# What may be done, and for how long


@pytest.mark.parametrize(
    ("height", "is_open"), [(1, True), (LAST - 1, True), (LAST, False), (LAST + 1, False), (1 << 40, False)]
)
async def test_the_window_is_open_while_a_block_of_the_deadline_epoch_is_still_to_be_made(
    height, is_open, node, sight, autojump_clock
):
    node.height = height
    await sight.refresh()
    assert sight.duty(OP).is_window_open is is_open
    assert sight.last_height(OP) == LAST
    assert sight.blocks_left(OP) == LAST - height
    assert sight.seconds_left(OP) == max(0, (LAST - height) * BLOCK)


async def test_the_window_is_measured_by_the_newest_answer_of_any_kind(node, sight, autojump_clock):
    await sight.refresh()
    node.height = LAST
    await sight.look(6)
    assert not sight.duty(OP).is_window_open


async def test_an_op_without_a_deadline_has_no_end(node, sight, autojump_clock):
    node.height = 1 << 40
    await sight.refresh()
    endless = evolve(OP, deadline_epoch=0)
    for op in (endless, None):
        assert sight.duty(op).is_window_open
        assert sight.last_height(op) is None
        assert sight.blocks_left(op) == sight.seconds_left(op) == math.inf


async def test_a_window_that_is_not_known_is_open(sight, autojump_clock):
    assert sight.last_height(OP) is None
    assert sight.duty(OP).is_window_open


async def test_new_work_may_be_begun_when_the_mode_is_known_and_is_one(node, sight, autojump_clock):
    assert not sight.duty(OP).may_start
    for mode in EnforcementMode:
        node.mode = mode
        await sight.refresh()
        assert sight.duty(OP).may_start is (mode is not EnforcementMode.UNSPECIFIED)
        assert sight.duty(OP).account == US


async def test_a_node_that_is_switched_off_begins_nothing(node, autojump_clock):
    off = seen_by(node, is_enabled=False)
    await off.refresh()
    assert not off.duty(OP).may_start
    assert off.duty(OP).is_window_open


@pytest.mark.parametrize("silence", [{"is_away": True}, {"answer_seconds": NEVER}])
async def test_without_an_answer_the_parameters_stay_and_nothing_new_is_begun(silence, node, sight, autojump_clock):
    await sight.refresh()
    before = dict.fromkeys(silence, 0)
    for name, value in silence.items():
        setattr(node, name, value)
    await sight.refresh()
    assert not sight.duty(OP).may_start
    assert sight.last_height(OP) == LAST
    for name, value in before.items():
        setattr(node, name, value)
    await sight.refresh()
    assert sight.duty(OP).may_start


async def test_the_time_between_blocks_is_assumed_until_it_was_measured(node, sight, autojump_clock):
    await sight.refresh()
    assert sight.block_seconds == BLOCK
    await trio.sleep(30)
    await sight.refresh()
    assert sight.block_seconds == BLOCK  # no block has been made
    node.height += 10
    await sight.refresh()
    assert sight.block_seconds == 3
    assert sight.seconds_left(OP) == (LAST - 110) * 3
    await trio.sleep(90)
    node.height += 10
    await sight.refresh()
    assert sight.block_seconds == 6


async def test_blocks_of_nodes_that_are_behind_do_not_make_time_run_backwards(node, sight, autojump_clock):
    await sight.refresh()
    for height, age in ((90, 60), (100, 0), (101, 1000), (99, -60)):
        node.height, node.age = height, age
        await sight.refresh()
        assert sight.block_seconds == BLOCK


async def test_after_the_window_no_time_is_left_and_it_is_never_less(sight, autojump_clock):
    sight.parameters = Parameters(EnforcementMode.FULL, 1, 400)
    sight.height = 2_000
    op = HealOp(5, Ticket("7"), "lumera1healer", (), HealOpStatus.SCHEDULED, deadline_epoch=3)
    assert sight.blocks_left(op) < 0
    assert sight.seconds_left(op) == 0
