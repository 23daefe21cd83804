"""The commands that talk to a running daemon, as an operator and as a script see them."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from click.testing import CliRunner
from structlog.testing import capture_logs

from configs import GO_FILE, sections, write
from daemon.administered import LINE, LOSS, STATUS, Remembering, a_socket
from lep6.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_NO, main, status
from lep6.errors import StoreUnavailable

COMMANDS = [
    ["status"],
    ["status", "--watch"],
    ["status", "--json"],
    ["ops", "list"],
    ["ops", "show", "5"],
    ["ops", "retry", "5"],
    ["ops", "drop", "5", "--yes"],
    ["pause"],
    ["resume"],
    ["limits", "show"],
    ["limits", "set", "publishes=1"],
]


def invoke(*arguments, env=None):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)


@asynccontextmanager
async def a_daemon(directory, service=None):
    """A daemon that answers, and a way to call commands about it."""
    config = write(directory, GO_FILE)
    data = directory / "lep6-data"
    data.mkdir(exist_ok=True)

    async def lep6(*arguments, **options):
        return await trio.to_thread.run_sync(lambda: invoke(*arguments, "--config", config, **options))

    with capture_logs():  # of the daemon: they are not the command's
        async with a_socket(data, service) as admin:
            lep6.service = admin.service
            yield lep6


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_daemon_that_does_not_run_is_told_of_with_the_socket_and_the_doctor(tmp_path, command):
    config = write(tmp_path, GO_FILE)
    result = invoke(*command, "--config", config)
    assert result.exit_code == EXIT_BAD_INPUT
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        f"lep6: no daemon answers at {tmp_path}/lep6-data/admin.sock: there is no socket: it is not running"
    )
    assert line.endswith(f"lep6 doctor --config {config}")


def test_a_socket_that_was_left_is_told_of(tmp_path):
    config = write(tmp_path, GO_FILE)
    (tmp_path / "lep6-data").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "lep6-data" / "admin.sock"))
    result = invoke("status", "--config", config)
    assert (result.exit_code, "left from one that ended" in result.stderr) == (EXIT_BAD_INPUT, True)


def test_the_socket_is_where_the_file_says_that_the_data_is(tmp_path):
    config = write(tmp_path, sections(lep6={"data_dir": "elsewhere"}))
    assert f"{tmp_path}/elsewhere/admin.sock" in invoke("status", "--config", config).stderr


def test_the_file_may_be_named_by_the_environment_and_is_config_yml_otherwise(tmp_path, monkeypatch):
    config = write(tmp_path, GO_FILE)
    assert f"{tmp_path}/lep6-data" in invoke("status", env={"LEP6_CONFIG": str(config)}).stderr
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path}/lep6-data" in invoke("status").stderr


def test_a_file_that_cannot_be_used_is_told_of(tmp_path):
    result = invoke("pause", "--config", write(tmp_path, sections(lep6={"thread": 1})))
    assert (result.exit_code, "lep6.thread" in result.stderr) == (EXIT_BAD_INPUT, True)


async def test_status_is_a_table_for_people(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("status")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["paused", "no"] in lines
    assert ["staging", "bytes", "2.0", "KiB"] in lines
    assert ["started", "1970-01-01", "00:00:00", "UTC"] in lines
    assert ["in", "flight", "op", "5,", "role", "healer"] in lines
    assert ["stuck", "none"] in lines
    assert ["not", "ok", "chain", "away", "[now]"] in lines
    assert "version" not in result.stdout


async def test_status_is_one_line_of_json_for_scripts(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("status", "--json")
    assert json.loads(result.stdout) == STATUS
    assert result.stdout.count("\n") == 1


async def test_status_takes_whatever_a_newer_daemon_says(tmp_path):
    document = {"version": 1, "new": [{"a": {"b": [1, None, 2.5, True]}}, "[bold]"], "checks": [], "x_at": 1e9}
    async with a_daemon(tmp_path, Remembering(document=document)) as lep6:
        result = await lep6("status")
    assert result.exit_code == 0
    assert "[bold]" in result.stdout


async def test_ops_are_listed(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("ops", "list")
        as_json = await lep6("ops", "list", "--json")
    header, row = result.stdout.splitlines()
    assert header.split() == [
        "op",
        "role",
        "state",
        "ticket",
        "in",
        "flight",
        "stuck",
        "failures",
        "retry",
        "in",
        "bytes",
        "reason",
    ]
    assert " ".join(row.split()) == "5 healer accepted 7 yes yes 3 12.5 s 2.0 KiB no room [for it]"
    assert json.loads(as_json.stdout) == {"version": 1, "ops": [LINE]}


async def test_an_empty_list_of_ops_is_said_in_words(tmp_path):
    async with a_daemon(tmp_path, Remembering(listed=[])) as lep6:
        assert "nothing of any heal op" in (await lep6("ops", "list")).stdout
        assert json.loads((await lep6("ops", "list", "--json")).stdout)["ops"] == []


async def test_an_op_is_shown(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("ops", "show", "5")
        as_json = await lep6("ops", "show", "5", "--json")
    assert "status HEALER_REPORTED" in result.stdout
    assert json.loads(as_json.stdout) == {"version": 1, **LINE, "chain": {"status": "HEALER_REPORTED"}}


@pytest.mark.parametrize("command", [["show"], ["retry"], ["drop"], ["drop", "--yes"]], ids=" ".join)
async def test_an_op_of_which_there_is_nothing_ends_with_1(tmp_path, command):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("ops", *command, "6")
    assert (result.exit_code, result.stdout) == (EXIT_NO, "")
    assert "nothing of heal op 6" in result.stderr
    assert "drop" not in [name for name, _ in lep6.service.calls]


@pytest.mark.parametrize("op_id", ["0", "-1", "five", str(2**63)])
async def test_what_is_no_id_of_an_op_is_wrong_usage(tmp_path, op_id):
    async with a_daemon(tmp_path) as lep6:
        assert (await lep6("ops", "show", op_id)).exit_code == 2
    assert lep6.service.calls == []


async def test_an_op_is_retried(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        assert (await lep6("ops", "retry", "5")).exit_code == 0
    assert lep6.service.calls == [("retry", 5)]


async def test_drop_without_yes_says_what_would_be_lost_and_changes_nothing(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("ops", "drop", "5")
        as_json = await lep6("ops", "drop", "5", "--json")
    assert result.exit_code == as_json.exit_code == EXIT_NO
    assert result.stdout.splitlines() == [
        "to drop heal op 5 would lose:",
        "  the work on it that goes on now, as healer",
        "  the row of its claim: accepted, ticket 7, hash aGFzaA==",
        "  the intent of a claim, sent as AB: that may yet be included",
        "  the staging: 2.0 KiB in /data/staging/5",
        "  symbols that were fetched: 1 B",
        "  what is staged may be the ONLY COPY of the file: it is claimed, and not known to be published",
        "nothing was changed. To do it: lep6 ops drop 5 --yes",
    ]
    assert json.loads(as_json.stdout) == {"version": 1, "op": 5, "dropped": False, "loss": LOSS}
    assert lep6.service.calls == []


async def test_drop_with_yes_drops_and_says_what_was_lost(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("ops", "drop", "5", "--yes")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "heal op 5 was dropped:"
    assert "what was staged may have been the ONLY COPY" in result.stdout
    assert "--yes" not in result.stdout
    assert lep6.service.calls == [("drop", 5)]


async def test_pause_and_resume(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        assert "until: lep6 resume" in (await lep6("pause")).stdout
        assert (await lep6("resume")).exit_code == 0
    assert [name for name, _ in lep6.service.calls] == ["pause", "resume"]


async def test_limits_are_shown_and_set(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        before = await lep6("limits", "show")
        after = await lep6("limits", "set", "reconstructs=5", "bytes_per_second=2048")
        as_json = await lep6("limits", "show", "--json")
    assert [line.split() for line in before.stdout.splitlines()] == [
        ["reconstructs", "2"],
        ["bytes", "per", "second", "as", "many", "as", "there", "are"],
    ]
    assert [line.split() for line in after.stdout.splitlines()] == [
        ["reconstructs", "5"],
        ["bytes", "per", "second", "2.0", "KiB/s"],
    ]
    assert json.loads(as_json.stdout) == {"version": 1, "limits": {"reconstructs": 5, "bytes_per_second": 2048}}


async def test_a_limit_that_was_set_can_be_what_the_configuration_says_again(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        await lep6("limits", "set", "reconstructs=5", "bytes_per_second=2048")
        result = await lep6("limits", "set", "reconstructs=default", "--json")
    assert json.loads(result.stdout)["limits"] == {"reconstructs": 2, "bytes_per_second": 2048}
    assert lep6.service.calls[-1] == ("set_limits", {"reconstructs": None})


@pytest.mark.parametrize(
    "limit", ["reconstructs", "reconstructs=", "=5", "reconstructs=-1", "reconstructs=a", "=default", "a=" + "9" * 99]
)
async def test_what_is_no_limit_is_wrong_usage(tmp_path, limit):
    async with a_daemon(tmp_path) as lep6:
        assert (await lep6("limits", "set", limit)).exit_code == 2
        assert (await lep6("limits", "set")).exit_code == 2
    assert lep6.service.calls == []


async def test_a_limit_that_the_daemon_refuses_ends_with_4_and_its_reason(tmp_path):
    async with a_daemon(tmp_path) as lep6:
        result = await lep6("limits", "set", "speed=5")
    assert (result.exit_code, "no limit 'speed'" in result.stderr) == (EXIT_BAD_INPUT, True)


async def test_what_the_daemon_cannot_do_ends_with_4_and_its_reason(tmp_path):
    async with a_daemon(tmp_path, Remembering(error=StoreUnavailable("the disk is full"))) as lep6:
        result = await lep6("pause")
    assert (result.exit_code, "the disk is full" in result.stderr) == (EXIT_BAD_INPUT, True)


async def test_two_commands_at_once_are_both_answered(tmp_path):
    code = "from lep6.cli import main; main()"
    async with a_daemon(tmp_path) as lep6, trio.open_nursery() as nursery:
        ended = []

        async def call(command):
            arguments = [sys.executable, "-c", code, command, "--config", str(tmp_path / "config.yml")]
            ended.append((await trio.run_process(arguments, capture_stdout=True, check=False)).returncode)

        nursery.start_soon(call, "pause")
        nursery.start_soon(call, "status")
        assert (await lep6("limits", "show")).exit_code == 0
    assert ended == [0, 0]


async def test_watching_goes_on_while_the_daemon_is_away(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "WATCH_SECONDS", 0.02)
    results = []

    async def watch(lep6):
        results.append(await lep6("status", "--watch", "--json"))

    def has_asked(service, times):
        return sum(name == "status" for name, _ in service.calls) >= times

    async def until(condition):
        with trio.fail_after(20):
            while not condition():  # noqa: ASYNC110 - another thread comes to it
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        async with a_daemon(tmp_path) as lep6:
            nursery.start_soon(watch, lep6)
            await until(lambda: has_asked(lep6.service, 2))
        await trio.sleep(0.1)
        async with a_daemon(tmp_path) as lep6:
            await until(lambda: has_asked(lep6.service, 2))
            lep6.service.error = StoreUnavailable("enough")
            await until(lambda: results)
    documents = [json.loads(line) for line in results[0].stdout.splitlines()]
    assert documents[0] == documents[-1] == STATUS
    assert any("no daemon answers" in document.get("away", "") for document in documents)
    assert (results[0].exit_code, "enough" in results[0].stderr) == (EXIT_BAD_INPUT, True)


async def test_an_interrupt_ends_watching(tmp_path):
    code = "from lep6.cli import main; main()"
    arguments = [sys.executable, "-c", code, "status", "--watch", "--config", str(tmp_path / "config.yml")]
    async with a_daemon(tmp_path), trio.open_nursery() as nursery:
        run = partial(trio.run_process, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        process = await nursery.start(run)
        assert b"started" in await process.stdout.receive_some()
        os.kill(process.pid, signal.SIGINT)
        with trio.fail_after(20):
            assert await process.wait() == EXIT_INTERRUPTED
        assert b"interrupted" in await process.stderr.receive_some()


def test_the_new_commands_stand_in_the_list():
    result = invoke("--help")
    for name in ("limits", "ops", "pause", "resume", "status"):
        assert f"\n  {name} " in result.stdout
