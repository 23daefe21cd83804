"""The service: what a tick begins, what goes on whatever the chain's mode, and what does not hold up the rest."""

from healing import in_a_world
from lep6.heal.events import What
from lep6.model import HealOpStatus


@in_a_world()
async def test_a_heal_goes_from_scheduled_to_published_and_nothing_is_left(world):
    await world.disaster()
    lives = [await world.start(number) for number in range(3)]
    world.put_op()
    await world.until(lambda: world.status() is HealOpStatus.VERIFIED)
    for life in lives:
        await world.until(life.is_clean)
    assert len(world.claims()) == 1
    assert [vote.verified for vote in world.votes()] == [True, True]
    assert len(lives[0].seen(What.PUBLISHED)) == 1
    assert await world.is_published()
    assert await world.reads_back_without_survivors()
