"""The checks: ready when all are well, alive as long as the loop may turn."""

import pytest
import trio
from structlog.testing import capture_logs

from lep6.daemon.checks import HANGING_SECONDS, NAMES, Checks


def all_well() -> Checks:
    checks = Checks()
    for name in NAMES:
        checks.set(name, True, "fine")
    return checks


async def test_nothing_is_well_before_it_was_checked(autojump_clock):
    checks = Checks()
    assert checks.results() == dict.fromkeys(NAMES, (False, "not checked yet"))
    assert not checks.is_ready
    assert not checks.ready.is_set()


@pytest.mark.parametrize("name", NAMES)
async def test_one_check_that_fails_makes_it_not_ready(name, autojump_clock):
    checks = all_well()
    assert checks.is_ready
    checks.set(name, False, "gone")
    assert not checks.is_ready
    assert checks.results()[name] == (False, "gone")
    assert [other for other, ok in checks.well().items() if not ok] == [name]


async def test_who_waits_for_the_first_readiness_is_woken_by_the_last_check(autojump_clock):
    checks = Checks()
    for name in NAMES[:-1]:
        checks.set(name, True, "fine")
    assert not checks.ready.is_set()
    checks.set(NAMES[-1], True, "fine")
    await checks.ready.wait()
    checks.set("chain", False, "away")
    assert checks.ready.is_set()


async def test_a_check_that_nobody_knows_is_a_bug(autojump_clock):
    with pytest.raises(KeyError):
        Checks().set("weather", True, "fine")


async def test_it_is_alive_until_the_loop_has_failed_for_long(autojump_clock):
    checks = Checks()
    await trio.sleep(10 * HANGING_SECONDS)
    assert checks.is_alive
    checks.set("loop", False, "last tick 130 s ago")
    await trio.sleep(HANGING_SECONDS - 1)
    checks.set("loop", False, "last tick 429 s ago")
    assert checks.is_alive
    await trio.sleep(1)
    assert not checks.is_alive
    checks.set("loop", True, "last tick 0 s ago")
    assert checks.is_alive


async def test_other_checks_do_not_make_it_dead(autojump_clock):
    checks = all_well()
    for name in set(NAMES) - {"loop"}:
        checks.set(name, False, "gone")
    await trio.sleep(10 * HANGING_SECONDS)
    assert checks.is_alive


async def test_the_log_tells_changes_and_not_each_look(autojump_clock):
    with capture_logs() as logs:
        checks = Checks()
        checks.set("chain", True, "height 1")
        for height in (1, 2, 3):
            checks.set("chain", False, f"height {height}, old")
        checks.set("chain", True, "height 4")
        checks.set("chain", True, "height 5")
    assert [(log["event"], log["check"]) for log in logs] == [("check_failed", "chain"), ("check_well_again", "chain")]
