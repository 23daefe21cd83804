"""Sources of a passphrase (chain contract §6.1)."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrings import PASSPHRASE, assert_shows_none, refused, shown
from lep6.keys import FromEnvironment, FromFile, Prompt

SPACE = "\t\n\v\f\r \x85\xa0\u2003\u3000"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    return path


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_prompt_and_the_environment_give_it_as_it_is(passphrase):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEP6_TEST_PASSPHRASE", passphrase)
        assert FromEnvironment("LEP6_TEST_PASSPHRASE").read() == passphrase.encode()
    assert Prompt(lambda: passphrase).read() == passphrase.encode()


@given(
    st.text("ab \n\x1c\u200bключ", min_size=1).filter(lambda text: text.strip(SPACE)), st.text(SPACE), st.text(SPACE)
)
def test_a_file_gives_it_without_the_white_space_around(tmp_path_factory, passphrase, before, after):
    path = tmp_path_factory.mktemp("secret") / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(f"{before}{passphrase}{after}".encode())
    assert FromFile(path).read() == passphrase.strip(SPACE).encode()


def test_what_python_calls_white_space_and_go_does_not_is_part_of_it(file):
    file.write_bytes(b"\x1cpass\x1f\n")
    assert FromFile(file).read() == b"\x1cpass\x1f"


def test_bytes_that_are_no_text_come_as_they_are(file, monkeypatch):
    file.write_bytes(b" \xff\xfe \n")
    assert FromFile(file).read() == b"\xff\xfe"
    monkeypatch.setitem(os.environb, b"LEP6_TEST_PASSPHRASE", b"\xff\xfe")
    assert FromEnvironment("LEP6_TEST_PASSPHRASE").read() == b"\xff\xfe"
    assert Prompt(lambda: "\udcff\udcfe").read() == b"\xff\xfe"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o660, 0o777, 0o610])
def test_a_file_that_is_open_to_others_is_refused(file, mode):
    file.write_text(PASSPHRASE)
    file.chmod(mode)
    with refused(rf"open to others than its owner \(mode {mode:o}\): chmod 600 it"):
        FromFile(file).read()


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_its_owners_alone_is_read(file, mode):
    file.write_text(PASSPHRASE)
    file.chmod(mode)
    assert FromFile(file).read() == PASSPHRASE.encode()


@pytest.mark.parametrize("content", [b"", b" \n\t", b"\xc2\x85"])
def test_an_empty_file_is_refused(file, content):
    file.write_bytes(content)
    with refused("holds no passphrase"):
        FromFile(file).read()


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-file"):
        FromFile(tmp_path / "no-file").read()


def test_a_pipe_a_directory_a_huge_file_or_no_path_are_refused(tmp_path, file):
    os.mkfifo(tmp_path / "pipe", 0o600)
    file.write_bytes(b"a" * 70_000)
    for path, reason in (
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
        (file, "more than 65536 bytes"),
        (tmp_path / "a\0b", "is no path"),
    ):
        with refused(reason):
            FromFile(path).read()


def test_a_variable_that_is_empty_or_not_set_is_refused(monkeypatch):
    monkeypatch.setenv("LEP6_TEST_PASSPHRASE", "")
    for name in ("LEP6_TEST_PASSPHRASE", "LEP6_TEST_NOT_SET", "", "A=B", "a\0b"):
        with refused("is not set, or empty"):
            FromEnvironment(name).read()


def test_an_answer_that_is_empty_or_no_text_is_refused():
    with refused("no passphrase was given"):
        Prompt(lambda: "").read()
    with refused("no text"):
        Prompt(lambda: PASSPHRASE + "\ud800").read()


def test_a_source_and_what_fails_in_a_prompt_show_no_passphrase():
    class Asker:
        def __init__(self, answer):
            self.answer = answer

        def __call__(self):
            held = self.answer
            raise KeyboardInterrupt(len(held))

        def __repr__(self):
            return f"Asker({self.answer})"

    source = Prompt(Asker(PASSPHRASE))
    assert_shows_none(repr(source), PASSPHRASE)
    with pytest.raises(KeyboardInterrupt) as raised:
        source.read()
    assert_shows_none(shown(raised.value), PASSPHRASE)
