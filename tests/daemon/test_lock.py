"""One daemon a directory, and one a key."""

import os
import subprocess
import sys

import pytest

from lep6.daemon.lock import LOCK, only_one, only_one_for, only_user
from lep6.errors import AlreadyRunning

HOLD = """
import sys
from pathlib import Path
from lep6.daemon.lock import only_one, only_one_for
with only_one(Path(sys.argv[1])), only_one_for(*sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.read()
"""
NAME = ("lumera1x", "lumera-test-1", f"localhost:{os.getpid()}")


@pytest.fixture
def holder(tmp_path):
    """Another process that holds both."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "data"), *NAME]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_directory_in_use_is_refused_and_its_user_named(tmp_path, holder):
    with pytest.raises(AlreadyRunning, match=f"in use by process {holder.pid}"), only_one(tmp_path / "data"):
        pass


def test_a_key_in_use_is_refused_whatever_the_directory(tmp_path, holder):
    with only_one(tmp_path / "elsewhere"):
        with pytest.raises(AlreadyRunning, match="heals as lumera1x of lumera-test-1"), only_one_for(*NAME):
            pass
        with only_one_for("lumera1y", *NAME[1:]), only_one_for(*NAME[:2], "another:9090"):
            pass


def test_what_a_killed_process_held_is_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    with only_one(tmp_path / "data"), only_one_for(*NAME):
        assert (tmp_path / "data" / LOCK).read_text() == f"{os.getpid()}\n"


def test_the_directory_is_made_for_its_owner_alone(tmp_path):
    for _ in range(2):
        with only_one(tmp_path / "a" / "b"):
            assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_told_as_the_system_does(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), only_one(tmp_path / "file" / "data"):
        pass


KEEP = """
import sys
from pathlib import Path
from lep6.daemon.lock import only_user
with only_user(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_key_is_used_by_one_however_its_place_is_spelled(tmp_path):
    key, link = tmp_path / "node.info", tmp_path / "link"
    key.write_text("")
    link.symlink_to(key)
    command = [sys.executable, "-c", KEEP, str(key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        for place in (key, link, tmp_path / "." / "node.info"):
            with pytest.raises(AlreadyRunning, match="another lep6 heals with the key"), only_user(place):
                pass
        process.kill()
        process.wait()
        with only_user(link):
            pass
    assert key.read_text() == ""
