"""Whoever hears of heal ops hears all of it, and takes nothing from the others."""

import pytest
from structlog.testing import capture_logs

from daemon.scraped import changed, scraped
from lep6.daemon.hearing import PROGRESS, Hearing
from lep6.daemon.metrics import Metrics
from lep6.heal.events import Event, What
from lep6.heal.rows import Role

STUCK = Event(What.STUCK, 1, "nobody takes it", 3)


@pytest.fixture
def hearing():
    return Hearing(Metrics())


@pytest.mark.parametrize("what", list(What))
def test_an_op_is_stuck_until_it_gets_on(hearing, what):
    hearing(STUCK)
    hearing(Event(what, 2))
    assert 1 in hearing.stuck
    hearing(Event(what, 1))
    assert (1 in hearing.stuck) == (what not in PROGRESS)


def test_what_happens_is_counted_in_the_role_of_the_op(hearing):
    hearing.in_flight = {1: Role.VERIFIER}
    before = scraped(hearing.metrics)
    hearing(Event(What.DEFERRED, 1))
    hearing(Event(What.DEFERRED, 2))
    assert changed(hearing.metrics, before) == {("lep6_ops_total", "verifier", "deferred"): 1}


def test_all_hear_of_it_though_one_of_them_fails(hearing):
    heard = []

    def fail(_):
        raise RuntimeError("the host's")

    hearing.others += [fail, heard.append]
    with capture_logs() as logs:
        hearing(STUCK)
    assert heard == [STUCK]
    assert [(line["event"], line["op_id"], line["what"]) for line in logs] == [("watch_failed", 1, "stuck")]
