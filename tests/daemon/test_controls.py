"""What an operator sets while it runs survives a restart."""

import json

import pytest

from healing import in_a_world
from lep6.daemon.controls import FILE, Controls
from lep6.daemon.throttle import LEAST_RATE, Throttle
from lep6.errors import InvalidLimit
from world import BLOCKING


async def controls_of(life):
    controls = Controls(life.directory / FILE, life.node.service, Throttle(), BLOCKING)
    await controls.load()
    return controls


@in_a_world()
async def test_limits_hold_at_once_and_after_a_restart(world):
    life = await world.start()
    controls = await controls_of(life)
    assert controls.limits() == {"reconstructs": 2, "verifications": 4, "publishes": 2, "bytes_per_second": 0}
    expected = {"reconstructs": 5, "verifications": 4, "publishes": 2, "bytes_per_second": 1_000_000}
    assert await controls.set_limits({"reconstructs": 5, "bytes_per_second": 1_000_000}) == expected
    assert life.node.service.slots["reconstruct"].total_tokens == 5
    assert controls.throttle.bytes_per_second == 1_000_000
    await life.restart()
    assert life.node.service.slots["reconstruct"].total_tokens == 2
    assert (await controls_of(life)).limits() == expected
    assert life.node.service.slots["reconstruct"].total_tokens == 5


@in_a_world()
async def test_a_pause_holds_over_a_restart_until_it_is_resumed(world):
    life = await world.start()
    await (await controls_of(life)).pause()
    assert life.node.service.is_paused
    await life.restart()
    assert not life.node.service.is_paused
    controls = await controls_of(life)
    assert life.node.service.is_paused
    assert controls.is_paused
    await controls.resume()
    await life.restart()
    assert not (await controls_of(life)).is_paused
    assert not life.node.service.is_paused


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"reconstruct": 2}, "no limit 'reconstruct'; there are reconstructs, verifications"),
        ({"reconstructs": 0}, "from 1 to 64, not 0"),
        ({"reconstructs": 65}, "from 1 to 64"),
        ({"publishes": True}, "whole number"),
        ({"publishes": 1.5}, "whole number"),
        ({"bytes_per_second": -1}, "0, or from 65536 to"),
        ({"bytes_per_second": 65_535}, "0, or from 65536 to"),
        ({"bytes_per_second": (1 << 40) + 1}, "0, or from 65536 to"),
        ({"bytes_per_second": "fast"}, "whole number"),
        ({"verifications": 3, "publishes": "two"}, "publishes is a whole number"),
        ({"verifications": 3, "speed": None}, "no limit 'speed'"),
    ],
    ids=str,
)
@in_a_world()
async def test_what_is_no_limit_is_refused_and_nothing_set(world, limits, text):
    life = await world.start()
    controls = await controls_of(life)
    before = controls.limits()
    with pytest.raises(InvalidLimit, match=text):
        await controls.set_limits(limits)
    assert controls.limits() == before
    assert not controls.path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"paused": true, "limits": [1]}',
        b'{"paused": true, "limits": null}',
        b'{"paused": true}',
        b'{"paused": true, "limits": {"reconstructs": 0}}',
        b'{"paused": true, "limits": {"bytes_per_second": true}}',
        b'{"version": 3, "paused": true, "limits": {}}',
        b"\xff",
    ],
)
@in_a_world()
async def test_a_file_that_cannot_be_read_is_kept_and_the_configuration_holds(world, content):
    life = await world.start()
    (life.directory / FILE).write_bytes(content)
    controls = await controls_of(life)
    assert not controls.is_paused
    assert controls.limits()["reconstructs"] == 2
    assert (life.directory / FILE).read_bytes() == content
    assert any(event["event"] == "controls_unreadable" for event in world.logs)


@in_a_world()
async def test_the_file_says_what_was_set_and_is_its_owners_alone(world):
    life = await world.start()
    controls = await controls_of(life)
    await controls.set_limits({"publishes": 3})
    assert json.loads(controls.path.read_bytes()) == {"version": 2, "paused": False, "limits": {"publishes": 3}}
    assert controls.path.stat().st_mode & 0o777 == 0o600


async def configured(life, limits):
    """The controls after a restart, with another configuration."""
    await life.restart()
    for slot, value in limits.items():
        life.node.service.slots[slot].total_tokens = value
    return await controls_of(life)


@in_a_world()
async def test_a_pause_sets_no_limit(world):
    life = await world.start()
    await (await controls_of(life)).pause()
    controls = await configured(life, {"reconstruct": 7})
    assert (controls.is_paused, controls.limits()["reconstructs"]) == (True, 7)


@in_a_world()
async def test_a_limit_that_is_set_no_more_is_what_the_configuration_says_then_and_later(world):
    life = await world.start()
    controls = await controls_of(life)
    await controls.set_limits({"reconstructs": 5, "publishes": 5, "bytes_per_second": 1 << 20})
    assert (await controls.set_limits({"reconstructs": None, "bytes_per_second": None})) == {
        "reconstructs": 2,
        "verifications": 4,
        "publishes": 5,
        "bytes_per_second": 0,
    }
    assert controls.throttle.bytes_per_second == 0
    limits = (await configured(life, {"reconstruct": 7, "publish": 7})).limits()
    assert (limits["reconstructs"], limits["publishes"]) == (7, 5)


@in_a_world()
async def test_of_a_file_of_an_earlier_version_all_limits_count_as_set(world):
    life = await world.start()
    old = {"reconstructs": 9, "verifications": 4, "publishes": 2, "bytes_per_second": 1000}
    (life.directory / FILE).write_text(json.dumps({"version": 1, "paused": True, "limits": old}))
    controls = await configured(life, {"verify": 7})
    expected = {**old, "bytes_per_second": LEAST_RATE}
    assert (controls.is_paused, controls.limits()) == (True, expected)
    await controls.resume()
    assert json.loads(controls.path.read_bytes()) == {"version": 2, "paused": False, "limits": expected}
    assert (await controls.set_limits({"verifications": None}))["verifications"] == 7
