"""`lep6 doctor`, as an operator and as a script see it."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest
import ryaml
from click.testing import CliRunner

from keyrings import COSMOS_SECRET, PASSPHRASE, add_key, assert_shows_none
from lep6.cli import EXIT_NO, main
from patients import KEY, ME

COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')"]
PATIENCE = 30
TREE = {
    "supernode": {"key_name": "mykey", "identity": ME, "host": "127.0.0.1", "port": 4444},
    "keyring": {"backend": "file", "dir": "keys", "passphrase_plain": PASSPHRASE},
    "lumera": {"grpc_addr": "127.0.0.1:1", "chain_id": "lumera-devnet-1"},
    "lep6": {"enabled": True, "metrics_listen": ""},
}


@pytest.fixture
def config(tmp_path):
    add_key(tmp_path / "keys" / "keyring-file", PASSPHRASE.encode(), "mykey", KEY)
    path = tmp_path / "config.yml"
    path.write_text(ryaml.dumps(TREE))
    path.chmod(0o600)
    return path


@contextmanager
def a_chain(tmp_path):
    """`lep6 devnet chain`, which knows the node; its address."""
    seed = {
        "accounts": [{"address": ME, "balance": "1000000000"}],
        "supernodes": [
            {
                "supernodeAccount": ME,
                "prevIpAddresses": [{"address": "127.0.0.1:4444", "height": "1"}],
                "states": [{"state": "SUPERNODE_STATE_ACTIVE", "height": "1"}],
            }
        ],
    }
    (tmp_path / "seed.json").write_text(json.dumps(seed))
    command = [*COMMAND, "devnet", "chain", "--block-seconds", "1", "--genesis", str(tmp_path / "seed.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


def doctor(*arguments, env=None):
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)], env=env)


def test_a_node_whose_chain_is_away_ends_with_1_and_says_what_to_do(config):
    result = doctor("--config", config)
    assert result.exit_code == EXIT_NO
    lines = result.stdout.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("bad   chain "))
    assert "127.0.0.1:1 does not answer" in lines[at]
    assert lines[at + 1].strip() == "remedy: mend lumera.grpc_addr, the network, or that node"
    assert any(line.startswith("ok    keys ") for line in lines)
    assert lines[-1].startswith("1 bad, 0 to be looked at, of ")
    assert result.stderr == ""


def test_what_is_printed_holds_no_secret_and_no_colours(config):
    for options in ([], ["--json"]):
        result = doctor("--config", config, *options)
        assert_shows_none(result.output, COSMOS_SECRET, PASSPHRASE)
        assert "\x1b" not in result.output


def test_findings_for_scripts_of_a_node_that_is_well(tmp_path, config):
    with a_chain(tmp_path) as address:
        result = doctor("--json", "--config", config, env={"LEP6_LUMERA__GRPC_ADDR": address})
    report = json.loads(result.stdout)
    assert report["version"] == 1
    bad = [each for each in report["findings"] if each["level"] == "bad" and each["name"] != "port"]
    assert bad == []
    assert {each["name"]: each["level"] for each in report["findings"]}["account"] == "ok"
    assert all(set(each) == {"name", "level", "what", "remedy"} for each in report["findings"])
    assert result.exit_code == (EXIT_NO if any(each["level"] == "bad" for each in report["findings"]) else 0)


def test_a_node_that_is_well_ends_with_0(tmp_path, config):
    with a_chain(tmp_path) as address:
        # A port of this machine that nobody has: no other test listens at this one.
        env = {"LEP6_LUMERA__GRPC_ADDR": address, "LEP6_SUPERNODE__HOST": "127.0.0.61"}
        result = doctor("--config", config, env=env)
    assert result.exit_code == 0, result.stdout
    assert result.stdout.splitlines()[-1].startswith("0 bad, ")


def test_the_configuration_may_be_named_by_the_environment(config):
    result = doctor("--json", env={"LEP6_CONFIG": str(config)})
    found = json.loads(result.stdout)["findings"]
    assert str(config) in next(each["what"] for each in found if each["name"] == "configuration")
