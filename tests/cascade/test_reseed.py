from world import a_world, noise

from lep6.cascade.reseed import Reseeded, Stage


async def test_a_healthy_file_is_staged(tmp_path):
    async with a_world(tmp_path, noise(300_000)) as world:
        outcome = await world.reseeder().reseed(world.registered.action, then=Stage("12"))
        assert isinstance(outcome, Reseeded)
        assert outcome.staged.reconstructed.read_bytes() == world.data
