"""`lep6 config`, as an operator and as a script see it."""

import json
import os

import pytest
from click.testing import CliRunner

from configs import GO_FILE, SECRET, sections, write
from lep6.cli import EXIT_BAD_INPUT, main
from lep6.config import HIDDEN
from lep6.config.keys import KEYS


def lep6(*arguments, env=None):
    return CliRunner().invoke(main, ["config", *map(str, arguments)], env=env)


def test_check_says_that_a_file_can_be_used(tmp_path):
    result = lep6("check", "--config", write(tmp_path, GO_FILE))
    assert result.exit_code == 0
    assert "config.yml can be used. lep6 heals in place of" in result.stdout


def test_check_prints_advisories_and_ends_with_0(tmp_path):
    result = lep6("check", "--config", write(tmp_path, sections(self_healing={"enabled": ...})))
    assert result.exit_code == 0
    assert "advisory  self_healing.enabled is absent, which means false: to heal" in result.stdout


def test_check_names_every_problem_and_ends_with_4(tmp_path):
    path = write(tmp_path, sections(lep6={"thread": 1}, supernode={"port": -1}))
    result = lep6("check", "--config", path)
    assert result.exit_code == EXIT_BAD_INPUT
    assert "problem   supernode.port is -1; must be >= 0: write 0 or more\n" in result.stdout
    assert "problem   lep6.thread is no key of lep6: lep6.threads may be meant\n" in result.stdout
    assert "2 problems" in result.stdout


def test_check_for_scripts(tmp_path):
    path = write(tmp_path, sections(lep6={"threads": 0}, self_healing={"odd": 1}))
    result = lep6("check", "--json", "--config", path)
    assert result.exit_code == EXIT_BAD_INPUT
    report = json.loads(result.stdout)
    assert report["problems"] == [
        {"key": "lep6.threads", "what": "is 0; nothing would ever be done", "mend": "write 1 or more"}
    ]
    assert [each["key"] for each in report["advisories"]] == ["self_healing.odd"]
    assert (report["version"], report["ok"], report["path"], report["healing"]) == (1, False, str(path), None)


def test_check_for_scripts_says_whether_it_heals(tmp_path):
    result = lep6("check", "--json", "--config", write(tmp_path, GO_FILE), env={"LEP6_LEP6__ENABLED": "false"})
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["ok"], report["healing"]["heals"], report["healing"]["state"]) == (True, False, "stopped")


@pytest.mark.parametrize("command", [["check"], ["show"], ["check", "--json"], ["show", "--origin", "--json"]])
@pytest.mark.parametrize("content", [None, "a: [", "lep6: {a: '[bold]\x1b', '[/]': 1}"])
def test_a_file_that_cannot_be_used_ends_with_4_and_no_traceback(tmp_path, command, content):
    path = tmp_path / "config.yml"
    if content is not None:
        path.write_text(content)
    result = lep6(*command, "--config", path)
    assert result.exit_code == EXIT_BAD_INPUT
    assert isinstance(result.exception, SystemExit)
    assert str(path) in result.stdout


def test_the_file_of_the_directory_is_read_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, GO_FILE)
    assert lep6("check").exit_code == 0


def test_a_directory_that_is_gone_ends_with_a_line(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = lep6("check")
    assert result.exit_code == EXIT_BAD_INPUT
    assert isinstance(result.exception, SystemExit)
    os.chdir(tmp_path)


def test_show_gives_every_value_and_its_origin(tmp_path):
    path = write(tmp_path, GO_FILE)
    env = {"LEP6_LUMERA__GRPC_ADDR": "other:1"}
    lines = lep6("show", "--origin", "--config", path, env=env).stdout.splitlines()
    shown = {line.split()[0]: line for line in lines[:-1]}
    assert list(shown) == list(KEYS)
    assert shown["lumera.grpc_addr"].split(maxsplit=2)[1:] == ["other:1", "environment variable LEP6_LUMERA__GRPC_ADDR"]
    assert shown["lumera.chain_id"].split()[1:] == ["lumera-testnet-2", str(path)]
    assert shown["lep6.threads"].split()[1:] == ["4", "default"]


def test_show_without_origins_gives_values_alone(tmp_path):
    result = lep6("show", "--config", write(tmp_path, GO_FILE))
    assert result.exit_code == 0
    assert "default" not in result.stdout
    assert "environment" not in result.stdout


def test_show_for_scripts(tmp_path):
    path = write(tmp_path, GO_FILE)
    env = {"LEP6_LEP6__GRPC_ADDRS": "a,b"}
    report = json.loads(lep6("show", "--origin", "--json", "--config", path, env=env).stdout)
    values = {each["key"]: each for each in report["values"]}
    assert report["version"] == 1
    assert list(values) == list(KEYS)
    assert values["supernode.port"] == {
        "key": "supernode.port",
        "value": 4444,
        "origin": {"kind": "file", "path": str(path)},
    }
    assert values["lep6.grpc_addrs"]["value"] == ["a", "b"]
    assert values["lep6.grpc_addrs"]["origin"] == {"kind": "environment", "variable": "LEP6_LEP6__GRPC_ADDRS"}
    assert values["lep6.log_format"] == {"key": "lep6.log_format", "value": "json", "origin": {"kind": "default"}}
    assert values["lep6.enabled"]["value"] is None
    assert report["healing"]["heals"] is True


@pytest.mark.parametrize("flags", [[], ["--origin"], ["--json"], ["--origin", "--json"]])
def test_show_hides_secrets(tmp_path, flags):
    result = lep6("show", *flags, "--config", write(tmp_path, GO_FILE))
    assert SECRET not in result.output
    assert HIDDEN in result.output


def test_show_hides_secrets_of_the_environment(tmp_path):
    env = {"LEP6_KEYRING__PASSPHRASE_PLAIN": "another secret"}
    result = lep6("show", "--origin", "--config", write(tmp_path, GO_FILE), env=env)
    assert "another secret" not in result.output
    assert "LEP6_KEYRING__PASSPHRASE_PLAIN" in result.output


def test_init_writes_a_file_that_lacks_only_what_the_operator_knows(tmp_path):
    path = tmp_path / "new.yml"
    assert lep6("init", path).exit_code == 0
    report = json.loads(lep6("check", "--json", "--config", path).stdout)
    assert [each["key"] for each in report["problems"]] == ["supernode.identity"]


def test_init_overwrites_nothing(tmp_path):
    path = write(tmp_path, "mine: 1")
    result = lep6("init", path)
    assert result.exit_code == EXIT_BAD_INPUT
    assert "there already" in result.stderr
    assert path.read_text() == "mine: 1"


def test_init_into_nowhere_ends_with_a_line(tmp_path):
    result = lep6("init", tmp_path / "none" / "config.yml")
    assert result.exit_code == EXIT_BAD_INPUT
    assert isinstance(result.exception, SystemExit)
