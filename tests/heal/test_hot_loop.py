"""A row whose hash is not that of the action's file: what is rebuilt could not be served under it."""

from healing import OTHER_HASH, hang, in_a_world
from lep6.heal.events import What
from lep6.heal.rows import ClaimRow, ClaimState
from lep6.model import HealOpStatus

HOUR = 600
"""Blocks."""


@in_a_world()
async def test_what_cannot_become_what_was_claimed_is_not_rebuilt_and_is_tried_ever_more_seldom(world):
    op = world.put_op(HealOpStatus.VERIFIED, result_hash=OTHER_HASH)
    life = world.node()
    life.passage.hooks["retrieve"] = hang  # else a loop without a pause would never let time pass
    await life.start()
    row = ClaimRow(op.op_id, op.ticket, OTHER_HASH, str(op.op_id), ClaimState.PUBLISHING, 0.0)
    await life.node.service.ledger.record_claim(row)
    await world.blocks(HOUR)
    tried = [*life.seen(What.DEFERRED), *life.seen(What.STUCK)]
    assert 0 < len(tried) < 30
    assert all("is not the hash of the action's file" in event.text for event in tried)
    assert life.seen(What.STUCK)
    assert not life.seen(What.RECONSTRUCTED)
    assert life.passage.count("retrieve") == life.passage.count("store") == 0
    assert (await life.entries()).claims == {op.op_id: row}
