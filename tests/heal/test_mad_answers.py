"""What a node does when a clock, a chain or a disk tells nonsense."""

import trio
from attrs import evolve

from healing import Life, first, in_a_world
from lep6.cascade.text import to_base64
from lep6.heal.events import What
from lep6.model import HealOpStatus, Ticket
from lep6.ports import At, Placement
from world import noise


@in_a_world()
async def test_one_absurd_height_does_not_make_all_other_answers_old(world):
    async def absurd(_, call):
        return At((await call()).value, 10**9)

    healer = world.node()
    healer.passage.hooks["parameters"] = first(1, absurd)
    await healer.start()
    world.put_op(deadline_epoch=900)
    await world.until(world.claims)


@in_a_world()
async def test_what_is_staged_of_another_ticket_is_not_claimed_for_this_one(world):
    second = world.box.directory / "second.bin"
    second.write_bytes(noise(150_000, seed=2))
    registered = await world.box.register(second, Ticket("8"), id_files=4)
    healer = world.node()
    balance = world.make_poor(healer)
    await healer.start()
    world.put_op()
    await world.until(healer.is_staged)
    await healer.kill()
    for path in healer.directory.glob("ledger.db*"):
        path.unlink()
    world.make_poor(healer, balance)
    world.put_op(ticket="8")
    await healer.start()
    await world.until(world.claims)
    assert world.claims()[0].manifest_hash == to_base64(registered.layout.digest)


@in_a_world()
async def test_a_clock_that_is_set_back_does_not_put_a_publish_off_for_a_day(world, monkeypatch):
    shift = 0.0

    class Clock:
        def now(self):
            return trio.current_time() + shift

    async def nobody_takes_it(items, _):
        return [Placement(key, 0, 2) for key, _ in items]

    plain = Life._around
    monkeypatch.setattr(Life, "_around", lambda self: evolve(plain(self), clock=Clock()))
    healer = await world.start_claimed()
    shift = 86_400.0
    healer.passage.hooks["store"] = nobody_takes_it
    world.move(HealOpStatus.VERIFIED)
    await world.until(lambda: healer.seen(What.DEFERRED))
    shift = 0.0
    healer.passage.hooks.clear()
    await world.until(lambda: healer.seen(What.PUBLISHED), blocks=300)
