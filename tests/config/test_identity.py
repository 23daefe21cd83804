# ruff: noqa: S106 - names of variables and files
import attrs
import pytest

from configs import KEY, SECRET, loaded, sections
from keyrings import ETHEREUM_SECRET, add_key, refused
from lep6.config import Backend, open_key
from lep6.keys import KeyKind, PrivateKey

OTHER = PrivateKey(KeyKind.ETHEREUM, ETHEREUM_SECRET)


def file_config(directory, **keyring):
    """A configuration whose key lies in a keyring of the backend file."""
    add_key(directory / "keys" / "keyring-file", SECRET.encode(), "mykey", KEY)
    unset = {"passphrase_plain": ...}
    return loaded(directory, sections(keyring={**unset, **keyring}))


def test_the_key_comes_from_the_backend_test(tmp_path):
    add_key(tmp_path / "keys" / "keyring-test", b"test", "mykey", KEY)
    tree = sections(keyring={"backend": "test", "passphrase_plain": "ignored"})
    assert open_key(loaded(tmp_path, tree)) == KEY


def test_a_keyring_without_a_directory_of_its_own_is_beside_the_file(tmp_path):
    add_key(tmp_path / "keyring-test", b"test", "mykey", KEY)
    assert open_key(loaded(tmp_path, sections(keyring={"backend": "test", "dir": ...}))) == KEY


def test_the_passphrase_may_stand_in_the_file(tmp_path):
    assert open_key(file_config(tmp_path, passphrase_plain=SECRET)) == KEY


def test_the_passphrase_may_be_in_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("LEP6_TEST_PASSPHRASE", SECRET)
    assert open_key(file_config(tmp_path, passphrase_env="LEP6_TEST_PASSPHRASE")) == KEY


def test_the_passphrase_may_be_in_a_file_beside_the_configuration(tmp_path):
    (tmp_path / "phrase").write_text(SECRET + "\n")
    (tmp_path / "phrase").chmod(0o600)
    assert open_key(file_config(tmp_path, passphrase_file="phrase")) == KEY


def test_the_first_source_that_is_set_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("LEP6_TEST_PASSPHRASE", "another, and wrong")
    config = file_config(tmp_path, passphrase_plain=SECRET, passphrase_env="LEP6_TEST_PASSPHRASE", passphrase_file="x")
    assert open_key(config) == KEY
    config = file_config(tmp_path, passphrase_env="LEP6_TEST_PASSPHRASE", passphrase_file="x")
    with refused("passphrase"):
        open_key(config)


def test_a_source_that_is_set_and_empty_is_an_error_and_nobody_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("LEP6_TEST_PASSPHRASE", "")
    with refused("LEP6_TEST_PASSPHRASE is not set, or empty"):
        open_key(file_config(tmp_path, passphrase_env="LEP6_TEST_PASSPHRASE"), lambda: SECRET)


def test_without_a_source_somebody_is_asked(tmp_path):
    config = file_config(tmp_path)
    assert open_key(config, lambda: SECRET) == KEY
    with refused("set keyring.passphrase_file"):
        open_key(config)


def test_the_key_of_another_account_is_refused_and_both_are_named(tmp_path):
    add_key(tmp_path / "keys" / "keyring-test", b"test", "mykey", OTHER)
    config = loaded(tmp_path, sections(keyring={"backend": "test"}))
    with refused(f"{OTHER.public.address}.*{KEY.public.address}"):
        open_key(config)


def test_a_key_that_is_not_there_is_named(tmp_path):
    add_key(tmp_path / "keys" / "keyring-test", b"test", "another", KEY)
    with refused("no key 'mykey'"):
        open_key(loaded(tmp_path, sections(keyring={"backend": "test"})))


@pytest.mark.parametrize("backend", [Backend.OS, Backend.MEMORY, None])
def test_a_backend_that_lep6_does_not_read_is_refused_with_what_to_do(tmp_path, backend):
    config = loaded(tmp_path, sections())
    with refused("use file or test"):
        open_key(attrs.evolve(config, keyring=attrs.evolve(config.keyring, backend=backend)))
