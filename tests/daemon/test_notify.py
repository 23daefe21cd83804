"""What the service manager hears, over real sockets."""

import os
import socket
from contextlib import closing

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lep6.daemon.notify import MOST_BYTES, Notifier

NOBODY = Notifier(None, None)


def listening(name: str) -> socket.socket:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(name)
    heard.setblocking(False)
    return heard


def everything(heard: socket.socket) -> list[str]:
    messages = []
    try:
        while True:
            messages.append(heard.recv(2 * MOST_BYTES).decode())
    except BlockingIOError:
        return messages


@pytest.fixture
def manager(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(listening(str(tmp_path / "notify"))) as heard:
        yield heard


def notifier_of(manager: socket.socket, **environ: str) -> Notifier:
    return Notifier.from_environment({"NOTIFY_SOCKET": manager.getsockname(), **environ})


def test_it_is_told_that_we_are_ready_how_we_are_and_that_we_stop(manager):
    notifier = notifier_of(manager)
    notifier.ready()
    notifier.status("height 7\nREADY=0")
    notifier.stopping()
    assert everything(manager) == ["READY=1", "STATUS=height 7 READY=0", "STOPPING=1"]


def test_an_abstract_socket_is_as_good():
    name = f"lep6-test-{os.getpid()}-{os.urandom(4).hex()}"
    with closing(listening(f"\0{name}")) as heard:
        Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert everything(heard) == ["READY=1"]


@pytest.mark.parametrize("address", ["", "notify", "vsock:2:9999"])
async def test_without_an_address_of_use_nobody_is_told(address, manager, autojump_clock):
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert notifier == NOBODY
    notifier.ready()
    await notifier.run_watchdog(lambda: True)
    assert everything(manager) == []


def test_a_manager_that_is_gone_or_does_not_read_stops_nothing(manager, tmp_path):
    Notifier(str(tmp_path / "gone"), None).ready()
    notifier = notifier_of(manager)
    for number in range(10_000):
        notifier.status(str(number))
    heard = everything(manager)
    assert 0 < len(heard) < 10_000


def test_a_status_is_one_message_however_long_it_is(manager):
    notifier_of(manager).status("é" * MOST_BYTES)
    with closing(manager):
        assert len(manager.recv(4 * MOST_BYTES)) <= MOST_BYTES


async def test_the_watchdog_hears_us_twice_an_interval_while_the_loop_turns(manager, autojump_clock):
    notifier = notifier_of(manager, WATCHDOG_USEC="60000000", WATCHDOG_PID=str(os.getpid()))
    is_turning = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run_watchdog, lambda: is_turning)
        await trio.sleep(89)
        assert everything(manager) == ["WATCHDOG=1"] * 3
        is_turning = False
        await trio.sleep(300)
        assert everything(manager) == []
        is_turning = True
        await trio.sleep(30)
        assert everything(manager) == ["WATCHDOG=1"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_of_another_process_or_of_none_is_not_ours(environ, seconds, manager):
    assert notifier_of(manager, **environ).watchdog_seconds == seconds


@given(st.text())
def test_whatever_the_environment_says_is_no_error(text):
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": text, "WATCHDOG_USEC": text, "WATCHDOG_PID": text})
    if not text.startswith("/"):
        notifier.ready()
