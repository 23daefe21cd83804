"""Pauses: each about twice the one before, never long beside what is left of the window."""

from random import Random

import pytest
import trio

from lep6.heal.pauses import Pauses

FIRST, LONGEST = 2.0, 300.0
ENDLESS = float("inf")


class Middle(Random):
    """Chance that always gives the middle."""

    def uniform(self, a, b):
        return (a + b) / 2


def pauses(random=None):
    return Pauses(FIRST, LONGEST, random or Middle())


async def until_due(paused, op_id):
    began = trio.current_time()
    for _ in range(10_000):
        if paused.is_due(op_id):
            break
        await trio.sleep(0.125)
    return trio.current_time() - began


async def test_what_never_failed_is_due(autojump_clock):
    paused = pauses()
    assert paused.is_due(5)
    assert paused.failures(5) == 0


async def test_pauses_double_up_to_the_longest(autojump_clock):
    paused, seconds = pauses(), []
    for failures in range(1, 11):
        paused.failed(5, at_most=ENDLESS)
        assert paused.failures(5) == failures
        assert not paused.is_due(5)
        seconds.append(await until_due(paused, 5))
    assert seconds == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


async def test_a_pause_that_could_be_doubled_for_ever_stays_a_number(autojump_clock):
    paused = pauses()
    for _ in range(5000):
        paused.failed(5, at_most=ENDLESS)
    assert await until_due(paused, 5) == LONGEST


async def test_pauses_are_not_longer_than_what_is_allowed_and_not_shorter_than_the_first(autojump_clock):
    paused = pauses()
    for at_most, seconds in ((ENDLESS, 2), (ENDLESS, 4), (5, 5), (1, 2), (0, 2), (-100, 2), (ENDLESS, 128)):
        paused.failed(5, at_most=at_most)
        assert await until_due(paused, 5) == seconds


async def test_chance_makes_a_pause_half_to_one_and_a_half_of_it(autojump_clock):
    paused, seconds = pauses(Random(1)), []
    for op_id in range(200):
        paused.failed(op_id, at_most=ENDLESS)
        seconds.append(await until_due(paused, op_id))
    assert 1 <= min(seconds) < 1.25
    assert 2.75 < max(seconds) <= 3.125


async def test_a_failure_is_the_affair_of_its_op_alone(autojump_clock):
    paused = pauses()
    for _ in range(3):
        paused.failed(5, at_most=ENDLESS)
    assert paused.is_due(6)
    paused.failed(6, at_most=ENDLESS)
    assert (paused.failures(5), paused.failures(6)) == (3, 1)
    assert await until_due(paused, 6) == FIRST
    assert not paused.is_due(5)


async def test_what_succeeded_is_due_at_once_and_begins_anew(autojump_clock):
    paused = pauses()
    for _ in range(5):
        paused.failed(5, at_most=ENDLESS)
    paused.forget(5)
    assert paused.is_due(5)
    assert paused.failures(5) == 0
    paused.failed(5, at_most=ENDLESS)
    assert await until_due(paused, 5) == FIRST


async def test_forgetting_what_never_failed_is_nothing(autojump_clock):
    paused = pauses()
    paused.forget(5)
    assert paused.is_due(5)


@pytest.mark.parametrize("seed", range(3))
async def test_the_same_chance_gives_the_same_pauses(seed, autojump_clock):
    seconds = []
    for _ in range(2):
        paused = pauses(Random(seed))
        for _ in range(4):
            paused.failed(5, at_most=ENDLESS)
        seconds.append(await until_due(paused, 5))
    assert seconds[0] == seconds[1]
