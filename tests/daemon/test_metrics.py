"""What Prometheus sees: every series from the start, no label that is not listed, and what each thing counts."""

import re
from pathlib import Path

import pytest
import trio
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

import lep6
from daemon.scraped import changed, scraped
from lep6.daemon.labels import OUTCOMES, QUERIES, ROWS, SUCCESSES, WAITING
from lep6.daemon.metrics import Metrics, Readings
from lep6.daemon.phases import OTHER, PHASES
from lep6.errors import HandshakeFailure
from lep6.heal.events import Event, What
from lep6.heal.rows import ClaimState, Role
from lep6.observe import Tally
from lep6.transaction import Refusal

PACKAGE = Path(lep6.__file__).parent
NAME = re.compile(r"lep6_[a-z0-9_]+")


@frozen
class At:
    """A wall clock that stands."""

    start: float

    def now(self) -> float:
        return self.start


class Going:
    """A wall clock that goes with Trio's."""

    def now(self) -> float:
        return 1e9 + trio.current_time()


def test_every_series_is_there_from_the_start_and_at_zero():
    start = scraped(Metrics())
    assert {tuple(labels) for name, *labels in start if name == "lep6_ops_total"} == {*OUTCOMES}
    for name, labels in [
        ("lep6_ops_in_flight", [role.value for role in Role]),
        ("lep6_ops_waiting", WAITING),
        ("lep6_rows", ROWS),
        ("lep6_chain_errors_total", QUERIES),
        ("lep6_chain_query_seconds_count", QUERIES),
        ("lep6_peers_refused_total", [why.name.lower() for why in HandshakeFailure]),
        ("lep6_transactions_refused_by_reason_total", [why.name.lower() for why in Refusal]),
        ("lep6_last_success_timestamp_seconds", ["tick", *SUCCESSES]),
        ("lep6_phase_seconds_total", [*(phase.name for phase in PHASES.values()), OTHER]),
    ]:
        assert {key[1] for key in start if key[0] == name} == set(labels), name
    assert {key[0] for key, value in start.items() if value} == {"lep6_build_info"}


def test_each_family_has_our_prefix_a_base_unit_and_says_what_is_bad():
    for family in Metrics().collect():
        assert NAME.fullmatch(family.name)
        assert not re.search(r"milli|_ms\b|kilo|mega|_kb|_mb", family.name)
        assert len(family.documentation) > 60 or family.name == "lep6_build"
        assert family.documentation.endswith(".")


def test_no_family_has_times_of_creation():
    page, _ = Metrics().render()
    assert b"_created" not in page


def test_a_scraper_gets_the_format_that_it_accepts():
    metrics = Metrics()
    page, content_type = metrics.render("application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics_families(page.decode())} >= {"lep6_ops", "lep6_build"}
    page, content_type = metrics.render("text/html")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nlep6_paused 0.0\n" in page
    assert b"\nprocess_open_fds " in page


@pytest.mark.parametrize(
    ("event", "role", "counted"),
    [
        (Event(What.RECONSTRUCTED, 1, count=5), Role.HEALER, {("lep6_ops_total", "healer", "reconstructed")}),
        (Event(What.SENT, 1, "claim"), Role.HEALER, set()),
        (
            Event(What.ACCEPTED, 1, "claim"),
            Role.HEALER,
            {
                ("lep6_ops_total", "healer", "claimed"),
                ("lep6_transactions_total", "claim", "accepted"),
                ("lep6_last_success_timestamp_seconds", "claim"),
            },
        ),
        (
            Event(What.ACCEPTED, 1, "vote"),
            Role.VERIFIER,
            {
                ("lep6_ops_total", "verifier", "accepted"),
                ("lep6_transactions_total", "vote", "accepted"),
                ("lep6_last_success_timestamp_seconds", "vote"),
            },
        ),
        (
            Event(What.FETCHED, 1, count=1),
            Role.VERIFIER,
            {("lep6_ops_total", "verifier", "fetched"), ("lep6_moved_bytes_total", "fetched")},
        ),
        (Event(What.DECIDED, 1, "yes"), Role.VERIFIER, {("lep6_ops_total", "verifier", "voted_yes")}),
        (Event(What.DECIDED, 1, "no, hash_mismatch"), Role.VERIFIER, {("lep6_ops_total", "verifier", "voted_no")}),
        (Event(What.ABSTAINED, 1), Role.VERIFIER, {("lep6_ops_total", "verifier", "abstained")}),
        (
            Event(What.PUBLISHED, 1, count=9),
            Role.HEALER,
            {("lep6_ops_total", "finalizer", "published"), ("lep6_last_success_timestamp_seconds", "publish")},
        ),
        (Event(What.CLOSED, 1, "dropped"), None, {("lep6_ops_total", "finalizer", "closed")}),
        (Event(What.STUCK, 1, "no room"), Role.HEALER, {("lep6_ops_total", "finalizer", "stuck")}),
        (Event(What.DEFERRED, 1, "later"), Role.HEALER, {("lep6_ops_total", "healer", "deferred")}),
        (Event(What.DEFERRED, 1, "later"), Role.VERIFIER, {("lep6_ops_total", "verifier", "deferred")}),
        (Event(What.DEFERRED, 1, "later"), None, set()),
        (
            Event(What.FAILED, 1, "KeyError"),
            Role.VERIFIER,
            {("lep6_ops_total", "verifier", "failed"), ("lep6_bugs_total",)},
        ),
        (Event(What.FAILED, 0, "healer: KeyError"), None, {("lep6_bugs_total",)}),
    ],
    ids=lambda value: value.what.value if isinstance(value, Event) else None,
)
def test_an_event_counts_what_it_tells(event, role, counted):
    metrics = Metrics(clock=At(1000.0))
    before = scraped(metrics)
    metrics.hears(event, role)
    told = changed(metrics, before)
    assert set(told) == counted
    assert all(value == (1000.0 if "timestamp" in name[0] else 1.0) for name, value in told.items())


@given(
    st.sampled_from(What),
    st.integers(min_value=0, max_value=1 << 63),
    st.text(),
    st.integers(min_value=0, max_value=1 << 40),
    st.sampled_from([None, *Role]),
)
def test_no_event_makes_a_series(what, op_id, text, count, role):
    metrics = Metrics()
    before = scraped(metrics)
    metrics.hears(Event(what, op_id, text, count), role)
    assert scraped(metrics).keys() == before.keys()


async def test_readings_are_read_when_somebody_looks(autojump_clock):
    clock = Going()
    metrics = Metrics(clock=clock)
    in_flight, refused = {Role.HEALER: 2}, {HandshakeFailure.FORGED: 3}
    await trio.sleep(50)
    ticked = trio.current_time()
    before = scraped(metrics)
    metrics.gauges(
        Readings(
            in_flight=lambda: in_flight,
            waiting=lambda: {"verify": 1},
            stuck=lambda: 4,
            rows=lambda: {"voted": 5},
            staging_bytes=lambda: 6,
            paused=lambda: True,
            refused=lambda: refused,
            checks=lambda: {"disk": True, "loop": False},
            last_tick=lambda: ticked,
        )
    )
    await trio.sleep(30)
    seen = changed(metrics, before)
    now = clock.now()
    assert seen == {
        ("lep6_ops_in_flight", "healer"): 2,
        ("lep6_ops_waiting", "verify"): 1,
        ("lep6_ops_stuck",): 4,
        ("lep6_rows", "voted"): 5,
        ("lep6_staging_bytes",): 6,
        ("lep6_paused",): 1,
        ("lep6_peers_refused_total", "forged"): 3,
        ("lep6_check", "disk"): 1,
        ("lep6_last_success_timestamp_seconds", "tick"): now - 30,
    }
    in_flight.clear()
    assert scraped(metrics)["lep6_ops_in_flight", "healer"] == 0


async def test_a_reading_of_what_is_not_listed_makes_no_series(autojump_clock):
    metrics = Metrics()
    before = scraped(metrics)
    metrics.gauges(Readings(waiting=lambda: {"a strange one": 1}, rows=lambda: {"42": 1}))
    assert changed(metrics, before) == {}


async def test_a_host_may_read_them_in_a_thread_of_its_own():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    started = trio.current_time()
    metrics.gauges(Readings(last_tick=lambda: started))
    with metrics.phase("decoding", Tally(total=9, done=0), "B"):
        value = await trio.to_thread.run_sync(
            registry.get_sample_value, "lep6_last_success_timestamp_seconds", {"what": "tick"}
        )
    assert value == pytest.approx(metrics.clock.now(), abs=60)


def test_a_hosts_registry_has_them_until_they_are_closed_and_then_takes_others():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    assert registry.get_sample_value("lep6_paused") == 0
    with pytest.raises(ValueError, match="lep6_"):
        Metrics(registry)
    metrics.close()
    metrics.close()
    assert registry.get_sample_value("lep6_paused") is None
    Metrics(registry).told("claim", "dead")
    assert registry.get_sample_value("lep6_transactions_total", {"message": "claim", "result": "dead"}) == 1


def test_all_states_of_claims_and_no_others_are_rows():
    assert {*ROWS} - {"intent_claim", "intent_vote", "voted"} == {state.value for state in ClaimState}


async def test_a_phase_is_counted_while_it_goes_on_and_never_twice(autojump_clock):
    metrics = Metrics()
    before = scraped(metrics)
    tally = Tally(total=100, done=10)
    with metrics.phase("decoding", tally, "B"):
        await trio.sleep(2)
        tally.done = 30
        expected = {("lep6_phase_seconds_total", "decoding"): 2, ("lep6_phase_bytes_total", "decoding"): 20}
        assert changed(metrics, before) == pytest.approx(expected)
        assert changed(metrics, before) == pytest.approx(expected)
        tally.done = 5
        assert changed(metrics, before) == pytest.approx(expected)
        tally.done = 6
        await trio.sleep(1)
    await trio.sleep(50)
    assert changed(metrics, before) == pytest.approx(
        {("lep6_phase_seconds_total", "decoding"): 3, ("lep6_phase_bytes_total", "decoding"): 21}
    )


async def test_a_phase_that_breaks_off_counts_what_it_did_and_two_at_a_time_count_both(autojump_clock):
    metrics = Metrics()
    before = scraped(metrics)
    one, two = Tally(), Tally()
    with (
        trio.move_on_after(1),
        metrics.phase("healer 3: fetching symbols", one, "symbols"),
        metrics.phase("fetching symbols", two, "symbols"),
    ):
        one.done, two.done = 3, 4
        await trio.sleep_forever()
    assert changed(metrics, before) == pytest.approx(
        {("lep6_phase_seconds_total", "fetching_symbols"): 2, ("lep6_phase_items_total", "fetching_symbols"): 7}
    )


@pytest.mark.parametrize(("unit", "series"), [("B", "lep6_phase_bytes_total"), ("cows", "lep6_phase_items_total")])
async def test_a_step_that_is_no_phase_is_another(unit, series, autojump_clock):
    metrics = Metrics()
    before = scraped(metrics)
    tally = Tally()
    with metrics.phase("milking", tally, unit):
        tally.done = 2
    assert changed(metrics, before) == {(series, OTHER): 2}


def test_every_step_of_a_heal_is_a_phase_with_its_unit():
    step = re.compile(r'progress\.step\("([^"]+)", [^,)]+(?:, unit="([^"]+)")?\)')
    found = {
        (name, unit or "B")
        for room in ("heal", "cascade")
        for path in (PACKAGE / room).glob("*.py")
        if path.name != "directory.py"  # for people's commands
        for name, unit in step.findall(path.read_text())
    }
    assert found == {(name, phase.unit) for name, phase in PHASES.items()}
