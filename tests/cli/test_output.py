"""What commands do when their output is not taken: as processes, since it is the interpreter's end that counts."""

import os
import signal
import subprocess

import pytest
import trio

from cli.daemons import COMMAND
from cli.test_ops_commands import a_daemon
from configs import GO_FILE, write
from lep6.cli import EXIT_BAD_INPUT, EXIT_UNREAD

FORMS = [
    ["config", "show"],
    ["config", "show", "--json"],
    ["config", "check"],
    ["doctor"],
    ["status"],
    ["status", "--json"],
    ["status", "--watch"],
    ["ops", "list"],
    ["limits", "show", "--json"],
]


@pytest.fixture(autouse=True)
def _buffers(monkeypatch):
    """As with most operators, what is printed stays in a buffer until the end."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def unread():
    """The writing end of a pipe whose reader has gone."""
    read, write_ = os.pipe()
    os.close(read)
    yield write_
    os.close(write_)


@pytest.fixture
def full():
    """A file on a disk that is full."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


async def ended(directory, form, *, stdout):
    """Exit code of a command beside a daemon, and what it says on standard error."""
    async with a_daemon(directory):
        with trio.fail_after(30):
            done = await trio.run_process(
                [*COMMAND, *form, "--config", directory / "config.yml"], stdout=stdout, capture_stderr=True, check=False
            )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
async def test_when_the_reader_has_gone_it_ends_without_a_word(tmp_path, unread, form):
    assert await ended(tmp_path, form, stdout=unread) == (EXIT_UNREAD, "")


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
async def test_when_the_disk_is_full_it_says_so_in_a_line(tmp_path, full, form):
    code, text = await ended(tmp_path, form, stdout=full)
    assert code == EXIT_BAD_INPUT
    (line,) = text.splitlines()
    assert line.startswith("lep6: ")
    assert "No space left on device" in line


async def test_a_shell_sees_what_it_sees_of_other_programs():
    assert EXIT_UNREAD == 128 + signal.SIGPIPE


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["--version"]], ids=" ".join)
def test_help_that_is_not_taken_leaves_no_traceback(full, unread, arguments):
    for stdout in (full, unread):
        done = subprocess.run([*COMMAND, *arguments], stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=30)
        assert done.returncode in (1, EXIT_BAD_INPUT, EXIT_UNREAD)
        assert done.stderr.count(b"\n") == (1 if stdout is full else 0)


@pytest.mark.parametrize("arguments", [["status"], ["run"]])
def test_an_error_that_cannot_be_told_has_its_code_all_the_same(tmp_path, full, unread, arguments):
    config = write(tmp_path, GO_FILE.replace("chain_id: lumera-testnet-2", "chain_id: ''"))
    for stderr in (full, unread):
        done = subprocess.run(
            [*COMMAND, *arguments, "--config", config], stdout=subprocess.PIPE, stderr=stderr, check=False, timeout=30
        )
        assert (done.returncode, done.stdout) == (EXIT_BAD_INPUT, b"")


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_stream_that_was_closed_by_who_started_it_takes_nothing(tmp_path, closed):
    config = write(tmp_path, GO_FILE)
    command = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *COMMAND, "config", "show", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) is (closed == "2")
