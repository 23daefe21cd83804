"""Kill -9 of a node's process at each step between two side effects; then it is started again as a plain `lep6 run`."""

import os

import pytest
import trio

from lep6.devnet.node.fail_points import FailPoint
from lep6.devnet.scenario import Pace, Plan
from lep6.wire.lep6.devnet import v1 as wire
from processes.stories import NODES, sent, stories_in

PACE = Pace(block_seconds=0.2, epoch_blocks=50)
"""A minute for the op: verifiers wait for a healer that is away until the last epoch of it."""
BROADCAST, LOOKUP = "BroadcastTx", "GetTx"


async def kill(ground, account):
    """Kill a node from outside."""
    assert ground.nodes[account].kill()
    await trio.lowlevel.checkpoint()


async def until_sent(ground, account):
    while not sent(ground.nodes[account].directory):  # noqa: ASYNC110 # it is another process
        await trio.sleep(0.01)


async def the_answer_to_the_claim_is_lost(ground, op):
    await ground.chain.order(wire.Fault(answer_lost=wire.AnswerLost()), BROADCAST)
    await until_sent(ground, op["healer"])
    await ground.chain.stop_clock()
    await kill(ground, op["healer"])
    await trio.sleep(1.0)
    await ground.chain.run_clock(ground.pace.block_seconds)


async def the_chain_is_slow_to_take_the_claim(ground, op):
    await ground.chain.order(wire.Fault(slow=wire.Slow(4.0)), BROADCAST)
    await until_sent(ground, op["healer"])
    await trio.sleep(0.3)
    await kill(ground, op["healer"])


async def the_chain_is_slow_to_tell_that_it_has_the_claim(ground, op):
    await ground.chain.order(wire.Fault(slow=wire.Slow(3.0)), LOOKUP, count=0, seconds=8.0)
    while not (await ground.chronicle()).claims:  # noqa: ASYNC110 # it is another process
        await trio.sleep(0.01)
    await kill(ground, op["healer"])


async def the_chain_loses_the_vote(ground, op):
    account = op["verifiers"][0]
    await ground.chain.order(wire.Fault(dropped=wire.Dropped()), BROADCAST, account=account)
    await until_sent(ground, account)
    await trio.sleep(0.3)
    await kill(ground, account)


OUTSIDE = {
    meddle.__name__.replace("_", " "): meddle
    for meddle in (
        the_answer_to_the_claim_is_lost,
        the_chain_is_slow_to_take_the_claim,
        the_chain_is_slow_to_tell_that_it_has_the_claim,
        the_chain_loses_the_vote,
    )
}
RARE = (
    FailPoint.HEALER_PREPARED.value,
    FailPoint.VERIFIER_PREPARED.value,
    "the chain is slow to take the claim",
    "the chain loses the vote",
)
"""Told where there is time: by scripts/soak."""
POINTS = [point.value for point in FailPoint if "KILL_EVERYWHERE" in os.environ or point.value not in RARE]
STORIES = POINTS + [name for name in OUTSIDE if "KILL_EVERYWHERE" in os.environ or name not in RARE]


@pytest.fixture(scope="module")
def stories(request, tmp_path_factory):
    """Those that are asked for."""
    wanted = {item.callspec.params["name"] for item in request.session.items if item.path == request.path}
    with stories_in(tmp_path_factory.mktemp("stories")) as stories:
        for name in sorted(wanted, key=STORIES.index):
            fail_at = None if name in OUTSIDE else FailPoint(name)
            plan = Plan(nodes=NODES, processes=True, fail_at=fail_at, pace=PACE)
            stories.begin(name, plan, OUTSIDE.get(name))
        yield stories


@pytest.mark.parametrize("name", STORIES)
def test_the_op_ends_verified_published_once_and_readable_with_one_claim_and_one_vote_of_each(stories, name):
    ended = stories.ended(name)
    assert "\n".join(ended.report.complaints) == ""
    (op,) = ended.report.ops
    assert op["status"] == "VERIFIED"
    assert ended.report.retrievable
    assert ended.report.publishes == 1
    assert ended.found.claims == [1]
    assert sorted(vote["verifier"] for vote in ended.report.votes) == sorted(op["verifiers"])


@pytest.mark.parametrize("name", STORIES)
def test_one_node_was_killed_once_and_the_right_one_started_again(stories, name):
    ended = stories.ended(name)
    (op,) = ended.report.ops
    is_verifiers = FailPoint(name).is_verifiers if name not in OUTSIDE else "vote" in name
    killed = op["verifiers"][0] if is_verifiers else op["healer"]
    assert ended.found.deaths == 1
    assert {account: len(ended.logged(account, "started")) for account in ended.nodes} == {
        account: 2 if account == killed else 1 for account in ended.nodes
    }


@pytest.mark.parametrize("name", POINTS)
def test_every_fail_point_is_reached(stories, name):
    markers = [path.name for path in stories.ended(name).directory.glob("nodes/*/data/fail-point-*")]
    assert markers == [f"fail-point-{name}"]
