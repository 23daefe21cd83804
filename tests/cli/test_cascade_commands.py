import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from lep6.cli import main
from world import noise, pattern


def lep6(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "original.bin"
    path.write_bytes(pattern(70_000))
    return path


@pytest.fixture
def encoded(tmp_path, file):
    out = tmp_path / "symbols"
    assert lep6("cascade", "encode", file, "--out", out).exit_code == 0
    return out


def symbols(directory):
    return sorted((directory / "block_0").iterdir())


def test_a_file_goes_through_its_symbols_and_back(tmp_path, file, encoded):
    result = lep6("cascade", "decode", encoded, "--out", tmp_path / "back.bin")
    assert result.exit_code == 0
    assert "Wo7wbbD8Tmwn9uSkTjM5FpNLhg10fY1l9W30WX8EIb8=" in result.stdout
    assert (tmp_path / "back.bin").read_bytes() == file.read_bytes()


def test_verify_ends_with_0_when_all_symbols_are_there_and_true(encoded):
    result = lep6("cascade", "verify", encoded)
    assert result.exit_code == 0
    assert "8 of 8" in result.stdout


def test_verify_ends_with_1_when_damaged_symbols_still_decode(encoded):
    symbols(encoded)[0].unlink()
    symbols(encoded)[0].write_bytes(b"false")
    (encoded / "block_0" / "stranger").touch()
    result = lep6("cascade", "verify", encoded, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["whole"], report["decodable"], report["present"]) == (False, True, 6)
    assert len(report["missing"]) == len(report["false"]) == 1
    assert report["foreign"] == ["stranger"]


def test_verify_and_decode_end_with_3_when_too_few_symbols_are_left(tmp_path, encoded):
    for symbol in symbols(encoded)[1:]:
        symbol.unlink()
    assert lep6("cascade", "verify", encoded).exit_code == 3
    result = lep6("cascade", "decode", encoded, "--out", tmp_path / "back.bin")
    assert result.exit_code == 3
    assert "2 are needed" in result.stderr
    assert not (tmp_path / "back.bin").exists()


def test_encode_refuses_a_directory_that_is_not_empty(tmp_path, file):
    (tmp_path / "symbols").mkdir()
    (tmp_path / "symbols" / "precious").touch()
    result = lep6("cascade", "encode", file, "--out", tmp_path / "symbols")
    assert result.exit_code == 4
    assert "not empty" in result.stderr
    assert [path.name for path in (tmp_path / "symbols").iterdir()] == ["precious"]


def test_encode_of_an_empty_file_says_why_not_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").touch()
    result = lep6("cascade", "encode", tmp_path / "empty", "--out", tmp_path / "symbols")
    assert result.exit_code == 4
    assert "at least 1 byte" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("of", ["directory", "file"])
def test_inspect_shows_the_layout_of_a_directory_or_a_file(encoded, of):
    path = encoded if of == "directory" else encoded / "_raptorq_layout.json"
    facts = json.loads(lep6("cascade", "inspect", path, "--json").stdout)
    assert facts["spelling"] == "pretty"
    assert (facts["size"], facts["source_symbols"], facts["total_symbols"]) == (70_000, 2, 8)
    assert facts["encoder_parameters"] == "000001117000fff801000108"
    assert "source symbols" in lep6("cascade", "inspect", path).stdout


def test_a_damaged_layout_is_named_with_what_is_wrong_in_it(encoded):
    layout = encoded / "_raptorq_layout.json"
    layout.write_text(layout.read_text().replace('"size": 70000', '"size": 70001'))
    result = lep6("cascade", "inspect", encoded)
    assert result.exit_code == 4
    assert "_raptorq_layout.json: the layout's encoder parameters" in result.stderr


def test_wrong_usage_ends_with_2(tmp_path):
    assert lep6("cascade", "encode", tmp_path / "absent", "--out", tmp_path / "out").exit_code == 2


def test_without_a_terminal_steps_are_lines_on_standard_error(tmp_path, file):
    result = lep6("cascade", "encode", file, "--out", tmp_path / "out")
    assert "encoding" in result.stderr
    assert "encoding" not in result.stdout


def test_on_a_terminal_there_are_bars(tmp_path, file):
    command = [sys.executable, "-c", "from lep6.cli import main; main()", "cascade", "encode"]
    leader, follower = os.openpty()
    process = subprocess.Popen(
        [*command, str(file), "--out", str(tmp_path / "out")], stderr=follower, stdout=subprocess.PIPE
    )
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 65_536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    process.communicate()
    assert process.returncode == 0
    assert b"100%" in shown
    assert b"\x1b[" in shown


def test_the_rescue_ends_with_0_and_says_so(tmp_path):
    (tmp_path / "file").write_bytes(noise(100_000))
    result = lep6("devnet", "rescue", tmp_path / "file", "--keep", tmp_path / "kept", "--json")
    story = json.loads(result.stdout)
    assert result.exit_code == 0
    assert story["recovered"]
    assert (tmp_path / "kept" / "healed.bin").read_bytes() == noise(100_000)


def test_the_rescue_ends_with_1_when_too_little_survives(tmp_path):
    (tmp_path / "file").write_bytes(noise(2_000_000))
    result = lep6("devnet", "rescue", tmp_path / "file", "--surviving", 0.1)
    assert result.exit_code == 1
    assert "NOT recovered: cannot rebuild" in result.stdout
