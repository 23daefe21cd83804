"""Blocking work: where it runs, how much of it at a time, and what a cancelled caller may rely on."""

import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from lep6 import blocking
from lep6.blocking import Inline, Threads, WallClock
from lep6.errors import JobCancelled

PATIENCE = 10
"""Seconds after which a thread that waits for a test gives up; never reached where the code is right."""


class Failure(Exception):
    """What work raises."""


def wait_for(event):
    assert event.wait(PATIENCE)


async def test_work_runs_in_another_thread_and_its_result_comes_back():
    work = threading.get_ident
    assert await Threads(1).run(work) != threading.get_ident()
    assert await Threads(1).run(work, cancel=lambda: None) != threading.get_ident()


@pytest.mark.parametrize("cancel", [None, lambda: None])
async def test_as_many_pieces_as_allowed_run_at_once_and_no_more(cancel):
    threads = Threads(2)
    pair = threading.Barrier(2)
    lock = threading.Lock()
    running, most = 0, 0

    def work():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(PATIENCE)
        with lock:
            running -= 1
        pair.wait(PATIENCE)

    async def ask():
        await threads.run(work, cancel=cancel)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(ask)
    assert most == 2


@pytest.mark.parametrize("cancel", [None, lambda: None])
@pytest.mark.parametrize("error", [Failure("why"), OSError(5, "why"), JobCancelled("by another owner"), KeyError(1)])
async def test_what_work_raises_comes_out_as_it_is(cancel, error):
    def work():
        raise error

    for runner in (Threads(1), Inline()):
        with pytest.raises(type(error)) as raised:
            await runner.run(work, cancel=cancel)
        assert raised.value is error


async def test_a_cancelled_caller_goes_on_only_when_its_work_has_ended():
    threads = Threads(1)
    begun, told, released = trio.Event(), threading.Event(), threading.Event()
    happened = []

    def work():
        trio.from_thread.run_sync(begun.set)
        wait_for(told)
        wait_for(released)
        happened.append("the work ended")

    def cancel():
        happened.append("the work was told")
        told.set()

    async def ask(scope):
        with scope:
            try:
                await threads.run(work, cancel=cancel)
            finally:
                happened.append("the caller went on")

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, scope)
        await begun.wait()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert happened == ["the work was told"]
        released.set()
    assert happened == ["the work was told", "the work ended", "the caller went on"]
    assert scope.cancelled_caught
    assert await threads.run(lambda: "the thread is free again") == "the thread is free again"


@pytest.mark.parametrize("error", [Failure("why"), JobCancelled("as asked")])
async def test_of_work_that_fails_when_it_is_cancelled_only_the_cancelling_is_seen(error):
    begun, told = trio.Event(), threading.Event()

    def work():
        trio.from_thread.run_sync(begun.set)
        wait_for(told)
        raise error

    async def ask(scope):
        with scope:
            await Threads(1).run(work, cancel=told.set)

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, scope)
        await begun.wait()
        scope.cancel()
    assert scope.cancelled_caught


async def test_work_without_a_cancel_runs_to_its_end_and_gives_its_result():
    begun, released = trio.Event(), threading.Event()
    results = []

    def work():
        trio.from_thread.run_sync(begun.set)
        wait_for(released)
        return "whole"

    async def ask(scope):
        with scope:
            results.append(await Threads(1).run(work))

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, scope)
        await begun.wait()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert results == []
        released.set()
    assert results == ["whole"]


@pytest.mark.parametrize("cancellable", [True, False])
async def test_work_that_is_given_up_while_it_waits_for_its_turn_never_runs(cancellable):
    threads = Threads(1)
    begun, released = trio.Event(), threading.Event()
    happened = []

    def first():
        trio.from_thread.run_sync(begun.set)
        wait_for(released)

    async def ask_second(scope):
        cancel = (lambda: happened.append("told")) if cancellable else None
        with scope:
            await threads.run(lambda: happened.append("ran"), cancel=cancel)

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, first)
        await begun.wait()
        nursery.start_soon(ask_second, scope)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        released.set()
    assert scope.cancelled_caught
    await threads.run(lambda: happened.append("the next one ran"))
    assert happened == ["the next one ran"]


async def test_work_that_is_given_up_between_the_handing_over_and_its_beginning_never_runs():
    happened = []
    run = blocking._Run(lambda: happened.append("ran"), trio.lowlevel.current_trio_token())
    assert not run.abandon()
    with pytest.raises(JobCancelled):
        await trio.to_thread.run_sync(run)
    assert happened == []


async def test_a_caller_that_is_cancelled_already_runs_nothing():
    happened = []
    for runner in (Threads(1), Inline()):
        for cancel in (None, lambda: happened.append("told")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await runner.run(lambda: happened.append("ran"), cancel=cancel)
            assert scope.cancelled_caught
    assert happened == []


async def test_inline_work_runs_where_it_is_asked_for_while_the_mock_clock_stands_still(mock_clock):
    before = trio.current_time()
    assert await Inline().run(threading.get_ident, cancel=lambda: None) == threading.get_ident()
    assert trio.current_time() == before


async def test_inline_work_lets_others_run_first():
    happened = []

    async def other():
        happened.append("other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await Inline().run(lambda: happened.append("work"))
    assert sorted(happened) == ["other", "work"]


def test_the_wall_clock_is_the_systems(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.25)
    assert WallClock().now() == 1_700_000_000.25
