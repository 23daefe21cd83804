"""The admin socket: who may use it, what may be asked, and what bad callers cannot do to others."""

import json
import os
import socket
import stat
import tempfile
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daemon.administered import LINE, LOSS, Remembering, a_socket, request
from lep6.beside import beside
from lep6.config import LogLevel
from lep6.daemon.admin import MOST_CONNECTIONS, admin_socket
from lep6.daemon.admin_client import AdminClient
from lep6.daemon.admin_protocol import MAX_REQUEST, REQUEST_SECONDS, Lines, LineTooLong, answer_of
from lep6.errors import AdminRefusal, AdminRefused, DaemonAway, StoreUnavailable

OTHER_USER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def answers(raw):
    return [json.loads(line) for line in raw.splitlines()]


# What may be asked.


@pytest.mark.parametrize(
    ("do", "arguments", "result", "calls"),
    [
        ("ops.list", {}, {"ops": [LINE]}, [("ops", None)]),
        ("ops.show", {"op": 5}, {**LINE, "chain": {"status": "HEALER_REPORTED"}}, [("op", 5)]),
        ("ops.retry", {"op": 5}, {"op": 5, "retried": True}, [("retry", 5)]),
        ("ops.drop", {"op": 5}, {"op": 5, "dropped": False, "loss": LOSS}, []),
        ("ops.drop", {"op": 5, "yes": False}, {"op": 5, "dropped": False, "loss": LOSS}, []),
        ("ops.drop", {"op": 5, "yes": True}, {"op": 5, "dropped": True, "loss": LOSS}, [("drop", 5)]),
        ("pause", {}, {"paused": True}, [("pause", None)]),
        ("resume", {}, {"paused": False}, [("resume", None)]),
        ("limits.show", {}, {"limits": {"reconstructs": 2, "bytes_per_second": 0}}, []),
        (
            "limits.set",
            {"limits": {"reconstructs": 9}},
            {"limits": {"reconstructs": 9, "bytes_per_second": 0}},
            [("set_limits", {"reconstructs": 9})],
        ),
        ("log.level", {"level": "debug"}, {"level": "debug"}, [("log_level", LogLevel.DEBUG)]),
    ],
)
async def test_what_is_asked_is_done_and_answered(tmp_path, do, arguments, result, calls):
    async with a_socket(tmp_path) as admin:
        assert await AdminClient(admin.path).ask(do, **arguments) == result
    assert admin.service.calls == calls


@pytest.mark.parametrize("do", ["ops.show", "ops.retry", "ops.drop"])
async def test_an_op_of_which_there_is_nothing_is_not_found(tmp_path, do):
    async with a_socket(tmp_path) as admin:
        with pytest.raises(AdminRefused, match="nothing of heal op 6") as refused:
            await AdminClient(admin.path).ask(do, op=6)
    assert refused.value.why is AdminRefusal.NOT_FOUND
    assert "drop" not in [name for name, _ in admin.service.calls]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "version"),
        ({"version": 2, "do": "status"}, "version 1"),
        ({"version": True, "do": "status", "extra": 1}, "no 'extra'"),
        ({"version": 1}, "called None"),
        ({"version": 1, "do": ["status"]}, "called ['status']"),
        ({"version": 1, "do": "stop"}, "status, ops.list"),
        ({"version": 1, "do": "ops.show"}, "needs 'op'"),
        ({"version": 1, "do": "ops.show", "op": "5"}, "'5'"),
        ({"version": 1, "do": "ops.show", "op": True}, "not True"),
        ({"version": 1, "do": "ops.show", "op": 0}, "not 0"),
        ({"version": 1, "do": "ops.show", "op": 2**63}, "whole number"),
        ({"version": 1, "do": "ops.show", "op": 5.0}, "not 5.0"),
        ({"version": 1, "do": "ops.drop", "op": 5, "yes": 1}, "true or false"),
        ({"version": 1, "do": "ops.drop", "op": 5, "sure": True}, "no 'sure'"),
        ({"version": 1, "do": "pause", "event": "x"}, "pause takes no 'event'"),
        ({"version": 1, "do": "resume", "room": "x", "self": 1}, "resume takes no 'room'"),
        ({"version": 1, "do": "ops.drop", "op": 5, "yes": True, "event": "x"}, "ops.drop takes no 'event'"),
        ({"version": 1, "do": "limits.set"}, "needs 'limits'"),
        ({"version": 1, "do": "limits.set", "limits": {}}, "an object"),
        ({"version": 1, "do": "limits.set", "limits": {"speed": 1}}, "no limit 'speed'"),
        ({"version": 1, "do": "log.level", "level": "loud"}, "debug, info"),
        ({"version": 1, "do": "log.level", "level": []}, "debug, info"),
    ],
)
async def test_a_request_that_is_none_is_told_why_and_changes_nothing(tmp_path, document, told):
    async with a_socket(tmp_path) as admin:
        raw = json.dumps(document).encode() + b"\n"
        first, second = answers(await admin.tell(raw + request("status")))
    assert (first["ok"], first["code"]) == (False, "invalid")
    assert told in first["error"]
    assert second["ok"]
    assert {name for name, _ in admin.service.calls} <= {"status", "set_limits"}
    assert admin.service.limits()["reconstructs"] == 2


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"status", b"\xff\xfe", b"[" * 60_000, b'{"version":1}{}', b"1" * 9000]
)
async def test_what_is_no_json_is_told_so_and_the_next_request_is_answered(tmp_path, raw):
    async with a_socket(tmp_path) as admin:
        first, second = answers(await admin.tell(raw + b"\n" + request("status")))
    assert (first["code"], second["ok"]) == ("invalid", True)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_socket(raw):
    async def tell():
        with tempfile.TemporaryDirectory() as directory:
            async with a_socket(Path(directory)) as admin:
                for answer in answers(await admin.tell(raw)):
                    assert answer["code"] == "invalid"
                assert (await AdminClient(admin.path).ask("status"))["version"] == 1
            assert {name for name, _ in admin.service.calls} == {"status"}

    trio.run(tell)


async def test_requests_on_one_connection_are_answered_in_turn(tmp_path):
    async with a_socket(tmp_path) as admin:
        raw = request("pause") + request("limits.show") + request("resume")
        results = [answer["result"] for answer in answers(await admin.tell(raw))]
    assert [sorted(result) for result in results] == [["paused"], ["limits"], ["paused"]]


async def test_a_request_that_was_cut_off_is_not_carried_out(tmp_path):
    async with a_socket(tmp_path) as admin:
        assert await admin.tell(request("ops.drop", op=5, yes=True)[:-1]) == b""
    assert admin.service.calls == []


async def test_what_the_service_cannot_do_is_told_as_it_says_it(tmp_path):
    async with a_socket(tmp_path, Remembering(error=StoreUnavailable("the disk is full"))) as admin:
        with capture_logs(), pytest.raises(AdminRefused, match="the disk is full") as refused:
            await AdminClient(admin.path).ask("pause")
    assert refused.value.why is AdminRefusal.FAILED


@pytest.mark.parametrize("broken", [{"error": ZeroDivisionError("bug")}, {"document": {"age": float("inf")}}])
async def test_a_bug_with_one_request_is_loud_and_leaves_the_others_alone(tmp_path, broken):
    async with a_socket(tmp_path, Remembering(**broken)) as admin:
        client = AdminClient(admin.path)
        with capture_logs() as logs, pytest.raises(AdminRefused, match="a bug of lep6"):
            await client.ask("status" if "document" in broken else "pause")
        assert await client.ask("limits.show")
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["admin_request_broke"]


async def test_what_changes_something_is_logged(tmp_path):
    with capture_logs() as logs:
        async with a_socket(tmp_path) as admin:
            await AdminClient(admin.path).ask("ops.drop", op=5, yes=True)
            await AdminClient(admin.path).ask("status")
            await AdminClient(admin.path).ask("log.level", level="debug")
    about = {"event": "admin_request", "log_level": "info", "room": "daemon.admin"}
    assert [log for log in logs if log["event"] == "admin_request"] == [
        {**about, "do": "ops.drop", "arguments": {"op": 5, "yes": True}},
        {**about, "do": "log.level", "arguments": {"level": "debug"}},
    ]


# Callers that are slow, long, many, or silent.


async def test_a_line_that_is_too_long_is_refused_and_the_connection_is_over(tmp_path):
    async with a_socket(tmp_path) as admin:
        whole = request("status")[:-2] + b" " * (MAX_REQUEST - len(request("status")) + 1) + b"}\n"
        assert len(whole) == MAX_REQUEST + 1
        assert answers(await admin.tell(whole))[0]["ok"]
        (answer,) = answers(await admin.tell(whole[:-2] + b" }\n" + request("pause")))
        assert "65536 bytes" in answer["error"]
    assert ("pause", None) not in admin.service.calls


async def test_a_caller_that_sends_without_end_is_cut_off_and_sees_why(tmp_path):
    async with a_socket(tmp_path) as admin, await admin.connect() as stream:
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            while True:
                await stream.send_all(b"x" * 10_000)
        assert b"65536 bytes" in await stream.receive_some()


async def test_a_slow_caller_is_told_and_holds_up_nobody(tmp_path, autojump_clock):
    async with a_socket(tmp_path) as admin, await admin.connect() as slow:
        begun = trio.current_time()
        await slow.send_all(request("pause")[:10])
        assert await AdminClient(admin.path).ask("limits.show")
        assert trio.current_time() == begun
        (answer,) = answers(b"".join([part async for part in slow]))
        assert "did not come within 10 s" in answer["error"]
        assert trio.current_time() - begun == pytest.approx(REQUEST_SECONDS)
    assert ("pause", None) not in admin.service.calls


async def test_an_idle_connection_ends(tmp_path, autojump_clock):
    async with a_socket(tmp_path) as admin, await admin.connect() as idle:
        assert await idle.receive_some() == b""
        assert trio.current_time() >= REQUEST_SECONDS


async def test_a_caller_that_does_not_take_its_answer_is_left(tmp_path, autojump_clock):
    service = Remembering(document={"text": "x" * 4_000_000})
    async with a_socket(tmp_path, service) as admin, await admin.connect() as deaf:
        await deaf.send_all(request("status"))
        await trio.sleep(2 * REQUEST_SECONDS)
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            await deaf.send_all(request("status"))
            await deaf.send_all(request("status"))
        assert await AdminClient(admin.path).ask("limits.show")


async def test_a_caller_that_goes_away_at_once_hurts_nobody(tmp_path):
    async with a_socket(tmp_path) as admin:
        for _ in range(50):
            async with await admin.connect() as stream:
                await stream.send_all(request("status"))
        assert await AdminClient(admin.path).ask("limits.show")


async def test_more_connections_than_there_are_places_for_are_told_so(tmp_path):
    async with a_socket(tmp_path) as admin:
        held = [await admin.connect() for _ in range(MOST_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AdminRefused, match="16 others") as refused:
            await AdminClient(admin.path).ask("status")
        assert refused.value.why is AdminRefusal.BUSY
        await held.pop().aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await AdminClient(admin.path).ask("status")
        for stream in held:
            await stream.aclose()


async def test_two_changes_do_not_get_between_one_another_and_reading_waits_for_none(tmp_path, autojump_clock):
    service = Remembering(delay=3.0)
    async with a_socket(tmp_path, service) as admin:
        client = AdminClient(admin.path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ask, "pause")
            nursery.start_soon(client.ask, "resume")
            await trio.sleep(1)
            assert service.at_once == 1
            await client.ask("status")
            assert trio.current_time() == pytest.approx(1)
    assert service.most_at_once == 1
    assert {name for name, _ in service.calls} == {"pause", "resume", "status"}


async def test_what_takes_too_long_is_given_up_and_said_so(tmp_path, autojump_clock):
    async with a_socket(tmp_path, Remembering(delay=1e6)) as admin:
        with pytest.raises(AdminRefused, match="not done within 10 s") as refused:
            await AdminClient(admin.path).ask("ops.drop", op=5, yes=True)
        assert admin.service.at_once == 0
    assert refused.value.why is AdminRefusal.BUSY


@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=8), st.integers(1, 40))
def test_lines_come_out_as_they_went_in_however_they_are_cut(sent, step):
    async def read():
        raw = b"".join(line + b"\n" for line in sent)
        ours, theirs = trio.testing.memory_stream_one_way_pair()
        for at in range(0, len(raw), step):
            ours.put_data(raw[at : at + step]) if hasattr(ours, "put_data") else await ours.send_all(
                raw[at : at + step]
            )
        await ours.aclose()
        lines = Lines(theirs, 30)
        assert [await lines.next() for _ in sent] == sent
        assert await lines.next() is None

    trio.run(read)


@pytest.mark.parametrize("raw", [b"12345678901", b"12345678901\n", b"1\n12345678901\n"])
async def test_a_line_of_one_byte_too_many_is_too_long(raw):
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    await ours.send_all(raw)
    lines = Lines(theirs, 10)
    with pytest.raises(LineTooLong):  # noqa: PT012
        await lines.next()
        await lines.next()


# The socket.


async def test_only_the_owner_may_open_it_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        async with a_socket(tmp_path) as admin:
            assert stat.S_IMODE(admin.path.stat().st_mode) == 0o600
            assert os.umask(0) == 0
    finally:
        os.umask(before)


async def test_it_is_gone_when_the_daemon_is(tmp_path):
    async with a_socket(tmp_path) as admin:
        stream = await admin.connect()
        await AdminClient(admin.path).ask("status")
    assert not admin.path.exists()
    assert await stream.receive_some() == b""
    await stream.aclose()


async def test_a_socket_that_an_earlier_daemon_left_makes_way(tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "admin.sock"))
    async with a_socket(tmp_path) as admin:
        assert await AdminClient(admin.path).ask("status")


async def test_what_is_no_socket_is_kept(tmp_path):
    (tmp_path / "admin.sock").write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        async with a_socket(tmp_path):
            pass
    assert (tmp_path / "admin.sock").read_text() == "precious"


async def test_a_socket_that_came_into_its_place_is_kept(tmp_path):
    async with a_socket(tmp_path) as admin:
        admin.path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(admin.path))
    assert admin.path.is_socket()


async def test_a_path_that_is_longer_than_an_address_can_be_will_do(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with a_socket(deep) as admin:
        assert await AdminClient(admin.path).ask("status")
        assert stat.S_IMODE(admin.path.stat().st_mode) == 0o600
    assert not admin.path.exists()
    with pytest.raises(DaemonAway, match="there is no socket"):
        await AdminClient(admin.path).ask("status")


async def test_where_no_socket_can_be_the_block_does_not_run(tmp_path):
    with pytest.raises(FileNotFoundError):
        async with admin_socket(tmp_path / "nowhere" / "admin.sock", Remembering()):
            pytest.fail("the block ran")


async def test_an_error_of_the_block_comes_out_as_itself(tmp_path):
    with pytest.raises(ZeroDivisionError):
        async with a_socket(tmp_path):
            raise ZeroDivisionError
    assert not (tmp_path / "admin.sock").exists()


CALL = """
import socket, sys
with socket.socket(socket.AF_UNIX) as caller:
    caller.connect(sys.argv[1])
    try:
        caller.sendall(b'{"version":1,"do":"pause"}\\n')
    except BrokenPipeError:
        pass
    print(caller.recv(1000).decode())
"""


async def call_as_another(path):
    """What another user gets; its own words if it gets nothing."""
    call = partial(
        trio.run_process, capture_stdout=True, capture_stderr=True, check=False, user=OTHER_USER, group=OTHER_USER
    )
    ended = await call(["/usr/bin/env", "python3", "-I", "-c", CALL, str(path)], cwd="/", env={"PATH": os.defpath})
    return ended.stdout.decode() or ended.stderr.decode()


@as_root
async def test_another_user_is_kept_out_by_the_system_and_by_us(tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        os.chmod(directory, 0o755)  # noqa: PTH101, S103 - others have to come to the socket
        async with a_socket(directory) as admin:
            assert "PermissionError" in await call_as_another(admin.path)
            admin.path.chmod(0o666)
            with capture_logs() as logs:
                told = json.loads(await call_as_another(admin.path))
    assert (told["ok"], told["code"]) == (False, "foreign")
    assert str(OTHER_USER) in told["error"]
    assert [(log["event"], log["user"]) for log in logs] == [("admin_caller_refused", OTHER_USER)]
    assert admin.service.calls == []


# The client.


async def test_no_socket_means_that_no_daemon_runs(tmp_path):
    with pytest.raises(DaemonAway, match="no socket: it is not running"):
        await AdminClient(tmp_path / "admin.sock").ask("status")


async def test_a_socket_at_which_nobody_listens_is_left_from_an_earlier_one(tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "admin.sock"))
    with pytest.raises(DaemonAway, match="left from one that ended"):
        await AdminClient(tmp_path / "admin.sock").ask("status")


def test_a_socket_of_another_user_names_both(tmp_path):
    path = tmp_path / "admin.sock"
    path.touch()
    why = AdminClient(path)._why(PermissionError(13, "Permission denied"))
    assert why.startswith("the socket is user ")
    assert "become that user, or root" in why


async def served_by(path, play):
    """Listen at a path, and do something with the first connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
        raw.bind(str(path))
        raw.listen()
        raw.setblocking(False)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(raw))
        async with await listener.accept() as stream:
            await play(stream)


async def ask_one_that(tmp_path, play, **options):
    path = tmp_path / "admin.sock"
    async with beside(partial(served_by, path, play)):
        await trio.testing.wait_all_tasks_blocked()
        return await AdminClient(path, **options).ask("status")


async def test_a_daemon_that_dies_while_it_is_asked_is_told_of_with_what_is_not_known(tmp_path):
    async def die(stream):
        await stream.receive_some()

    with pytest.raises(DaemonAway, match="ended before it had answered; what it did is not known"):
        await ask_one_that(tmp_path, die)


async def test_a_daemon_that_dies_in_the_middle_of_its_answer_has_not_answered(tmp_path):
    async def die(stream):
        await stream.receive_some()
        await stream.send_all(answer_of({"a": 1})[:-1])

    with pytest.raises(DaemonAway, match="ended before"):
        await ask_one_that(tmp_path, die)


async def test_the_daemon_that_stops_while_a_request_is_carried_out_leaves_no_caller_waiting(tmp_path):
    caught = []

    async def ask(client):
        try:
            await client.ask("pause")
        except DaemonAway as error:
            caught.append(str(error))

    async with trio.open_nursery() as nursery, a_socket(tmp_path, Remembering(delay=1e6)) as admin:
        nursery.start_soon(ask, AdminClient(admin.path))
        await admin.service.begun.wait()
    assert "ended before" in caught[0]


@pytest.mark.parametrize(
    "answer", [b"hello\n", b"[]\n", b'{"version":2,"ok":true,"result":{}}\n', b'{"version":1}\n{}\n']
)
async def test_what_is_no_daemon_is_not_taken_for_one(tmp_path, answer):
    async def say(stream):
        await stream.receive_some()
        await stream.send_all(answer)

    with pytest.raises(DaemonAway, match="no daemon that this lep6 understands"):
        await ask_one_that(tmp_path, say)


async def test_a_daemon_that_is_silent_is_not_waited_for_for_ever(tmp_path, autojump_clock):
    async def say_nothing(stream):
        await trio.sleep_forever()

    with pytest.raises(DaemonAway, match="nothing came within 3 s"):
        await ask_one_that(tmp_path, say_nothing, seconds=3.0)


async def test_a_refusal_of_a_kind_that_is_not_known_is_one_all_the_same(tmp_path):
    async def refuse(stream):
        await stream.receive_some()
        await stream.send_all(b'{"version":1,"ok":false,"code":"newer","error":"not so"}\n')

    with pytest.raises(AdminRefused, match="not so") as refused:
        await ask_one_that(tmp_path, refuse)
    assert refused.value.why is AdminRefusal.FAILED
