"""`lep6 devnet chain` as a stranger sees it: its line, its chain, its end."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from chainserver import FIRST
from lep6.cli import main

COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')", "devnet", "chain"]
PATIENCE = 30


@contextmanager
def running(*options):
    """The command, and its first line."""
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


def where(line: str) -> tuple[str, int]:
    host, _, port = line.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_serves_and_ends_when_told(stranger, number):
    with running("--block-seconds", "0") as (process, line):
        answer = await stranger.ask(where(line), "cosmos.base.tendermint.v1beta1.Service/GetNodeInfo")
        assert answer["reply"]["default_node_info"]["network"] == "lumera-devnet-1"
        assert answer["height"] == "1"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stdout.read() == ""


async def test_it_begins_with_what_it_is_given(stranger, tmp_path):
    genesis = tmp_path / "genesis.json"
    seed = {"accounts": [{"address": FIRST.address, "balance": "7", "accountNumber": "12"}]}
    genesis.write_text(json.dumps(seed))
    options = ("--chain-id", "testing", "--epoch-blocks", "20", "--deadline-epochs", "5", "--block-seconds", "0")
    with running("--json", "--genesis", str(genesis), "--listen", "127.0.0.1:0", *options) as (_, line):
        told = json.loads(line)
        assert told["chain_id"] == "testing"
        address = where(told["address"])
        params = (await stranger.ask(address, "lumera.audit.v1.Query/Params"))["reply"]["params"]
        info = await stranger.ask(address, "cosmos.auth.v1beta1.Query/AccountInfo", {"address": FIRST.address})
    assert params["epoch_length_blocks"] == "20"
    assert params["storage_truth_heal_deadline_epochs"] == 5
    assert info["reply"]["info"]["account_number"] == "12"


async def test_it_makes_blocks_by_the_clock(stranger):
    with running("--block-seconds", "0.05") as (_, line):
        heights = set()
        for _ in range(100):
            answer = await stranger.ask(where(line), "cosmos.base.tendermint.v1beta1.Service/GetSyncing")
            heights.add(answer["height"])
            if len(heights) > 2:
                break
    assert len(heights) > 2


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--listen", "nowhere"), 2),
        (("--listen", "127.0.0.1:x"), 2),
        (("--listen", "127.0.0.1:65536"), 2),
        (("--epoch-blocks", "0"), 2),
        (("--genesis", "no-such-file"), 2),
        (("--listen", "192.0.2.1:0"), 4),
    ],
)
def test_what_cannot_be_is_told_in_a_line(options, code):
    assert CliRunner().invoke(main, ["devnet", "chain", *options]).exit_code == code


def test_a_genesis_that_is_none_is_told_in_a_line(tmp_path):
    genesis = tmp_path / "genesis.json"
    genesis.write_text('{"accountz": []}')
    result = CliRunner().invoke(main, ["devnet", "chain", "--genesis", str(genesis)])
    assert result.exit_code == 4
    assert "not a seed of a chain" in result.output
