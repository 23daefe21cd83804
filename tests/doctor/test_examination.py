"""An examination as a whole: every check tells something, none hides another, nothing is changed, nothing leaks."""

import os
import threading

import trio

from keyrings import COSMOS_SECRET, PASSPHRASE, assert_shows_none, snapshot
from lep6.blocking import Inline
from lep6.daemon.lock import only_one
from lep6.doctor import Level
from lep6.doctor.examine import CHECKS, Check, examine
from lep6.doctor.patience import Unwaited
from lep6.doctor.patient import NotLooked
from lep6.heal.ledger import Ledger
from patients import ME, a_house, levels, of, only

NAMES = [check.name for check in CHECKS]


async def test_of_a_sound_node_whose_daemon_is_down_nothing_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        found = await house.findings()
    assert [each for each in found if each.level is Level.BAD] == []
    assert [name for name in NAMES if not of(found, name)] == []
    for name in ("versions", "configuration", "keys", "chain", "clock", "account", "registration", "codec"):
        assert levels(found, name) == ["ok"], name
    assert levels(found, "lock") == ["note"]
    assert all(each.remedy for each in found if each.level is not Level.OK)
    assert all("\n" not in each.what + each.remedy for each in found)


async def test_nothing_on_the_disk_is_changed(tmp_path):
    async with a_house(tmp_path) as house:
        async with Ledger.open(house.data / "ledger.db", ME, Inline()):
            pass
        house.write()
        before = snapshot(house.base)
        patient = house.patient()
        before[patient.path] = snapshot(house.base)[patient.path]
        await examine(patient)
        assert snapshot(house.base) == before


async def test_without_a_configuration_every_check_tells_that_it_could_not_look(tmp_path):
    async with a_house(tmp_path) as house:
        patient = house.patient()
        patient.path.unlink()
        found = await examine(patient)
    assert only(found, "configuration", Level.BAD).what.endswith("config.yml is not there")
    assert [name for name in NAMES if not of(found, name)] == []
    assert levels(found, "versions") == levels(found, "codec") == ["ok"]
    assert "not looked at" in only(found, "ledger", Level.NOTE).what


async def test_every_problem_of_the_configuration_is_a_finding(tmp_path):
    async with a_house(tmp_path) as house:
        house.tree["lep6"]["threads"] = 0
        house.tree["lep6"]["thread"] = 1
        found = await house.findings()
    assert [each.what for each in of(found, "configuration")] == [
        "lep6.thread is no key of lep6",
        "lep6.threads is 0; nothing would ever be done",
    ]


async def look_well(_, found):
    found.ok("well")


async def look_and_hang(_, found):
    found.ok("seen before it hung")
    await trio.sleep_forever()


async def look_and_fail(_, found):
    password = "a passphrase in a text"  # noqa: S105
    raise ValueError(password)


async def look_where_there_is_nothing(_, found):
    raise NotLooked("there is nothing")


async def look_at_a_closed_file(_, found):
    raise PermissionError(13, "Permission denied", "/etc/shadow")


async def test_a_check_that_hangs_or_fails_does_not_hide_the_others(tmp_path, autojump_clock):
    checks = tuple(
        Check(look.__name__, look)
        for look in (look_and_hang, look_and_fail, look_where_there_is_nothing, look_at_a_closed_file, look_well)
    )
    found = await examine(patient=None, checks=checks, seconds=5)
    assert trio.current_time() == 5
    assert [(each.level.value, each.what) for each in found] == [
        ("ok", "seen before it hung"),
        ("bad", "did not end within 5 s"),
        ("bad", found[2].what),
        ("note", "not looked at: there is nothing"),
        ("bad", "/etc/shadow: Permission denied"),
        ("ok", "well"),
    ]
    assert "ValueError in look_and_fail, line" in found[2].what
    assert "passphrase" not in found[2].what


async def test_blocking_work_that_hangs_is_left_alone():
    go_on, told = threading.Event(), []
    with trio.move_on_after(0.05) as scope:
        await Unwaited().run(lambda: go_on.wait(30), cancel=lambda: told.append("cancelled"))
    go_on.set()
    assert scope.cancelled_caught
    assert told == ["cancelled"]


async def test_no_secret_is_told(tmp_path):
    async with a_house(tmp_path) as house:
        house.tree["keyring"] |= {"backend": "file", "passphrase_plain": PASSPHRASE}
        found = [*await house.findings(), *await house.findings(environ={"LEP6_KEYRING__PASSPHRASE_PLAIN": PASSPHRASE})]
    assert_shows_none(repr(found), COSMOS_SECRET, PASSPHRASE)


async def test_a_daemon_that_runs_is_told_by_its_process(tmp_path):
    async with a_house(tmp_path) as house:
        with only_one(house.data):
            found = await house.findings()
    assert only(found, "lock", Level.OK).what.endswith(f"process {os.getpid()}")


async def test_a_lock_that_nobody_holds_any_more_is_nobody_s(tmp_path):
    async with a_house(tmp_path) as house:
        with only_one(house.data):
            pass
        found = await house.findings()
    assert levels(found, "lock") == ["note"]
