"""lep6 beside another loop: a thread of its own, and futures."""

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import Mock

import pytest
import trio
from attrs import define, evolve, field

from devnets import a_devnet
from lep6 import RunningService, ServiceThread, load_config, open_service
from lep6.blocking import Threads
from lep6.devnet.network import EmbeddedNetwork
from lep6.errors import NotRunning, NotWanted

PATIENCE = 20.0
SCRIPT = Path(__file__).parent / "asyncio_program.py"


class HostError(Exception):
    """Of a host's own."""


@define
class Opened:
    """What stands in for a service, where only the thread matters."""

    closed: bool = False


@define
class Opener:
    """Opens it, and remembers."""

    service: Opened = field(factory=Opened)
    before: Callable[[], Any] | None = None
    fails: trio.Event | None = None
    opened: int = 0
    thread: str = ""

    def __call__(self) -> AbstractAsyncContextManager[Any]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Any]:
        self.thread = threading.current_thread().name
        if self.before is not None:
            await self.before()
        self.opened += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fail)
                yield self.service
                nursery.cancel_scope.cancel()
        finally:
            self.service.closed = True

    async def _fail(self) -> None:
        self.fails = trio.Event()
        await self.fails.wait()
        raise HostError("while it ran")


def got(future: Future[Any]) -> Any:
    return future.result(PATIENCE)


def left() -> list[str]:
    """Threads that may be ours."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lep6")]


@pytest.fixture
def opener():
    yield Opener()
    assert left() == []


@pytest.fixture
def running(opener):
    thread = ServiceThread(opener)
    got(thread.start())
    yield thread
    thread.stop()
    thread.ended.exception(PATIENCE)
    thread._thread.join(PATIENCE)


def ended(thread: ServiceThread) -> BaseException | None:
    """How it ended; its thread is over then."""
    error = thread.ended.exception(PATIENCE)
    thread._thread.join(PATIENCE)
    return error


def test_it_starts_answers_and_stops(opener):
    thread = ServiceThread(opener, name="lep6-of-mine")
    assert got(thread.start()) is None
    assert opener.thread == "lep6-of-mine"
    assert left() == ["lep6-of-mine"]

    async def name(service):
        await trio.lowlevel.checkpoint()
        return service, threading.current_thread().name

    assert got(thread.call(name)) == (opener.service, "lep6-of-mine")
    assert got(thread.stop()) is None
    assert got(thread.stop()) is None
    assert ended(thread) is None
    assert opener.service.closed


def test_it_starts_once(running):
    with pytest.raises(RuntimeError, match="before"):
        running.start()


def test_an_error_of_a_call_is_its_futures_and_nobody_elses(running):
    mine = HostError("mine")

    async def fail(_):
        await trio.lowlevel.checkpoint()
        raise mine

    assert running.call(fail).exception(PATIENCE) is mine

    async def answer(_):
        return 7

    assert got(running.call(answer)) == 7


def test_a_group_of_errors_stays_one(running):
    async def fail(_):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(trio.to_thread.run_sync, _raise)

    assert isinstance(running.call(fail).exception(PATIENCE), ExceptionGroup)


def _raise():
    raise HostError


async def _leave(_):
    sys.exit(3)


async def _leave_from_a_nursery(_):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(_leave, None)


async def _interrupt(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("work", "kind"),
    [(_leave, SystemExit), (_interrupt, KeyboardInterrupt), (_leave_from_a_nursery, BaseExceptionGroup)],
)
def test_what_would_end_a_program_ends_a_call_alone(running, work, kind):
    assert isinstance(running.call(work).exception(PATIENCE), kind)

    async def answer(_):
        return 7

    assert got(running.call(answer)) == 7


def test_a_call_that_fails_while_the_service_stops_is_its_futures(opener):
    thread = ServiceThread(opener)
    got(thread.start())
    began = threading.Event()

    async def fail_when_cancelled(_):
        try:
            await trio.sleep_forever()
        finally:
            raise HostError("while it cleaned up")

    async def work(_):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled, None)
            nursery.start_soon(trio.sleep_forever)
            began.set()

    future = thread.call(work)
    assert began.wait(PATIENCE)
    got(thread.stop())
    assert isinstance(future.exception(PATIENCE), ExceptionGroup)
    assert ended(thread) is None


def test_many_threads_may_call_at_a_time(running):
    async def number(_, value):
        await trio.sleep(0.01)
        return value

    results: dict[int, int] = {}

    def work(first: int) -> None:
        futures = {
            value: running.call(lambda service, value=value: number(service, value))
            for value in range(first, first + 20)
        }
        results.update({value: got(future) for value, future in futures.items()})

    threads = [threading.Thread(target=work, args=[20 * each]) for each in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == {value: value for value in range(100)}


def test_a_call_that_is_cancelled_ends_there_too(running):
    began, over = threading.Event(), threading.Event()

    async def wait(_):
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            over.set()

    future = running.call(wait)
    assert began.wait(PATIENCE)
    assert future.cancel()
    assert over.wait(PATIENCE)
    with pytest.raises(CancelledError):
        future.result(0)

    async def answer(_):
        return 7

    assert got(running.call(answer)) == 7


def test_a_call_that_was_cancelled_before_it_began_is_never_begun(running):
    begun = []

    async def note(_):
        begun.append(1)

    async def call_and_cancel(_):
        running.call(note).cancel()
        await trio.sleep(0.05)

    got(running.call(call_and_cancel))
    assert not begun


def test_a_call_that_runs_when_it_stops_is_lost_and_has_cleaned_up(opener):
    thread = ServiceThread(opener)
    got(thread.start())
    began, cleaned = threading.Event(), []

    async def wait(_):
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(opener.service.closed)

    future = thread.call(wait)
    assert began.wait(PATIENCE)
    got(thread.stop())
    assert isinstance(future.exception(PATIENCE), NotRunning)
    assert cleaned == [False]
    assert ended(thread) is None


def test_no_call_waits_for_ever_however_it_meets_the_stop(opener):
    thread = ServiceThread(opener)
    got(thread.start())
    futures = []

    async def wait(_):
        await trio.sleep_forever()

    async def stop_and_call(_):
        futures.extend(thread.call(wait) for _ in range(3))
        thread.stop()
        futures.extend(thread.call(wait) for _ in range(3))
        await trio.sleep_forever()

    futures.append(thread.call(stop_and_call))
    got(thread.ended)
    for future in futures:
        assert isinstance(future.exception(PATIENCE), NotRunning)
    assert ended(thread) is None


def test_a_call_without_a_service_is_refused(opener):
    async def answer(_):
        return 7

    thread = ServiceThread(opener)
    assert isinstance(thread.call(answer).exception(0), NotRunning)
    got(thread.start())
    got(thread.stop())
    assert isinstance(thread.call(answer).exception(PATIENCE), NotRunning)
    assert ended(thread) is None


def test_stopped_before_it_was_started_it_begins_nothing(opener):
    thread = ServiceThread(opener)
    assert got(thread.stop()) is None
    assert isinstance(thread.start().exception(PATIENCE), NotRunning)
    assert got(thread.stop()) is None
    assert opener.opened == 0


def test_stopped_while_it_is_being_opened_it_does_not_wait_for_that(opener):
    began = threading.Event()

    async def hang():
        began.set()
        await trio.sleep_forever()

    opener.before = hang
    thread = ServiceThread(opener)
    started = thread.start()
    assert began.wait(PATIENCE)
    got(thread.stop())
    assert isinstance(started.exception(PATIENCE), NotRunning)
    assert opener.opened == 0
    assert ended(thread) is None


def test_a_failure_at_the_start_is_told_by_both_futures(opener):
    mine = HostError("at the start")

    async def fail():
        raise mine

    opener.before = fail
    thread = ServiceThread(opener)
    assert thread.start().exception(PATIENCE) is mine
    assert ended(thread) is mine


def test_where_the_system_gives_no_thread_both_futures_say_so(opener, monkeypatch):
    error = RuntimeError("can't start new thread")
    thread = ServiceThread(opener)
    monkeypatch.setattr(thread._thread, "start", Mock(side_effect=error))
    with pytest.raises(RuntimeError, match="new thread"):
        thread.start()
    assert thread.started.exception(PATIENCE) is error
    assert thread.stop().exception(PATIENCE) is error
    assert opener.opened == 0
    with pytest.raises(RuntimeError, match="before"):
        thread.start()


def test_a_failure_while_it_runs_ends_it_and_what_was_called(opener):
    thread = ServiceThread(opener)
    got(thread.start())
    began = threading.Event()

    async def wait(_):
        began.set()
        await trio.sleep_forever()

    async def break_it(_):
        opener.fails.set()

    future = thread.call(wait)
    assert began.wait(PATIENCE)
    thread.call(break_it).exception(PATIENCE)
    error = ended(thread)
    assert isinstance(error, HostError)
    assert isinstance(future.exception(PATIENCE), NotRunning)
    assert got(thread.started) is None


@asynccontextmanager
async def a_node(directory: Path, path: Path) -> AsyncIterator[RunningService]:
    """A real service on a loop of its own, with its own hold on the network."""
    network = EmbeddedNetwork.open(directory / "network", blocking=Threads(2), random=Random(0))
    async with network as all_nodes, open_service(load_config(path, {}), network=all_nodes) as service:
        yield service


async def wait_for(future: Future[Any]) -> Any:
    return await trio.to_thread.run_sync(future.result, PATIENCE)


async def test_a_real_service_runs_in_it(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        thread = ServiceThread(partial(a_node, tmp_path, devnet.write(0)))
        await wait_for(thread.start())

        async def when_ready(service):
            await service.checks.ready.wait()
            return await service.status()

        status = await wait_for(thread.call(when_ready))
        assert (status["account"], status["ready"]) == (devnet.accounts[0], True)
        await wait_for(thread.stop())
        assert ended(thread) is None
    assert left() == []


async def test_why_a_real_service_had_to_end_comes_out_as_itself(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        devnet.chain._become(evolve(devnet.chain.state, supernodes={}))
        thread = ServiceThread(partial(a_node, tmp_path, devnet.write(0)))
        await wait_for(thread.start())
        error = await trio.to_thread.run_sync(thread.ended.exception, PATIENCE)
        assert isinstance(error, NotWanted)
        ended(thread)
    assert left() == []


def test_an_asyncio_program_may_have_one():
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", SCRIPT],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == [
        "started",
        "answer 7",
        "cancelled there",
        "error HostError: mine",
        "loop turned",
        "stopped",
        "threads ['MainThread']",
        "",
    ]
