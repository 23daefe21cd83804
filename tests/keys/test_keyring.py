"""Keyrings written by other JWE libraries (chain contract §6.2)."""

import base64
import json
import os
from hashlib import sha256

import jwcrypto.jwa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from keyrings import (
    COSMOS_SECRET,
    ETHEREUM_SECRET,
    HEADER,
    PASSPHRASE,
    add_key,
    assert_shows_none,
    by_joserfc,
    by_jwcrypto,
    field,
    item,
    packed,
    put,
    record,
    refused,
    shown,
    snapshot,
)
from lep6.errors import KeyNotOpened
from lep6.keys import Holding, KeyKind, KeyRecord, Keyring, PrivateKey, Prompt
from lep6.keys.record import _amino_prefix

COSMOS = PrivateKey(KeyKind.COSMOS, COSMOS_SECRET)
ETHEREUM = PrivateKey(KeyKind.ETHEREUM, ETHEREUM_SECRET)
VECTOR_ADDRESS = "lumera17w0adeg64ky0daxwd2ugyuneellmjgnxmzmf9j"
OTHER_KEY = PrivateKey(KeyKind.COSMOS, b"\x05" * 32)
ODD_NAMES = [
    "a",
    "a b",
    "../up",
    "/",
    "%2F",
    "%",
    "100%25",
    ".hidden",
    "k.info",
    "ключ",
    "a\nb",
    "x.address",
    "🔑",
    "A" * 200,
]


def asked(answer=PASSPHRASE):
    return Prompt(lambda: answer)


def never_asked():
    pytest.fail("somebody was asked")


@pytest.fixture
def directory(tmp_path):
    """A keyring directory with both backends, each with a key of either kind."""
    for folder, password in (("keyring-test", "test"), ("keyring-file", PASSPHRASE)):
        add_key(tmp_path / folder, password, "new", ETHEREUM)
        add_key(tmp_path / folder, password, "old", COSMOS, by_jwcrypto)
    put(tmp_path / "keyring-file", "keyhash", b"$2a$10$somethingofbcrypt")
    return tmp_path


@pytest.fixture(params=["test", "file"])
def keyring(directory, request):
    return Keyring.test(directory) if request.param == "test" else Keyring.file(directory, asked())


def test_both_kinds_of_keys_come_out_of_both_backends_and_nothing_on_the_disk_changes(directory, keyring):
    before = snapshot(directory)
    assert keyring.private_key("new") == ETHEREUM
    assert keyring.private_key("new").public.address == VECTOR_ADDRESS
    assert keyring.private_key("old") == COSMOS
    keyring.records()
    assert snapshot(directory) == before


def test_records_are_listed_with_their_kinds_and_addresses(keyring):
    assert keyring.records() == [
        KeyRecord("new", Holding.LOCAL, ETHEREUM.public),
        KeyRecord("old", Holding.LOCAL, COSMOS.public),
    ]
    assert [record.address for record in keyring.records()] == [VECTOR_ADDRESS, COSMOS.public.address]
    assert [record.kind for record in keyring.records()] == [KeyKind.ETHEREUM, KeyKind.COSMOS]


def test_names_and_addresses_are_known_without_a_passphrase(directory):
    keyring = Keyring.file(directory, Prompt(never_asked))
    assert keyring.names() == ["new", "old"]
    assert keyring.addresses() == sorted([VECTOR_ADDRESS, COSMOS.public.address])


def test_nobody_is_asked_for_the_passphrase_of_a_key_that_is_not_there(directory):
    with refused("no key 'other'; its keys are: 'new', 'old'$"):
        Keyring.file(directory, Prompt(never_asked)).private_key("other")


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "../keyring-file/new", "new.info", "x" * 5000])
def test_a_name_that_cannot_be_is_that_of_no_key(directory, name):
    with refused("has no key"):
        Keyring.test(directory).private_key(name)


def test_whoever_is_asked_is_asked_once_for_a_listing(directory):
    answers = [PASSPHRASE]
    assert len(Keyring.file(directory, Prompt(answers.pop)).records()) == 2


def test_an_empty_keyring_has_no_records_and_asks_nobody(tmp_path):
    (tmp_path / "keyring-file").mkdir()
    assert Keyring.file(tmp_path, Prompt(never_asked)).records() == []


def test_a_keyring_that_is_not_there_is_the_systems_error(tmp_path):
    for ask in (Keyring.test(tmp_path).names, Keyring.test(tmp_path).records, Keyring.test(tmp_path).addresses):
        with pytest.raises(FileNotFoundError, match="keyring-test"):
            ask()
    with pytest.raises(FileNotFoundError):
        Keyring.test(tmp_path).private_key("new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_may_have_any_characters(tmp_path, name):
    add_key(tmp_path / "keyring-test", "test", name, ETHEREUM)
    keyring = Keyring.test(tmp_path)
    assert keyring.names() == [name]
    assert keyring.private_key(name) == ETHEREUM
    assert keyring.records() == [KeyRecord(name, Holding.LOCAL, ETHEREUM.public)]


def test_odd_names_live_side_by_side(tmp_path):
    for name in ODD_NAMES:
        add_key(tmp_path / "keyring-test", "test", name, ETHEREUM)
    assert Keyring.test(tmp_path).names() == sorted(ODD_NAMES)


@settings(max_examples=20)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
    st.builds(
        PrivateKey, st.sampled_from(KeyKind), st.integers(2**240, 2**255).map(lambda number: number.to_bytes(32))
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from([by_joserfc, by_jwcrypto]),
)
def test_any_key_of_any_name_comes_out_with_its_passphrase(tmp_path_factory, name, private, passphrase, write):
    directory = tmp_path_factory.mktemp("keyring")
    add_key(directory / "keyring-file", passphrase, name, private, write)
    keyring = Keyring.file(directory, asked(passphrase))
    assert keyring.private_key(name) == private
    for shown_to_all in (keyring, keyring.records(), keyring.private_key(name)):
        assert_shows_none(repr(shown_to_all) + pretty_repr(shown_to_all), private._secret)


def test_files_that_are_no_items_are_nobodys(directory):
    folder = directory / "keyring-test"
    for name in (".info", "new%2f.info", "new%20.info", "new.info.swp", "0a.address", b"\xff.inf", "README"):
        (folder / (name if isinstance(name, str) else os.fsdecode(name))).write_bytes(b"not ours")
    assert Keyring.test(directory).names() == ["new", "old"]
    assert len(Keyring.test(directory).addresses()) == 2


@pytest.mark.parametrize("passphrase", ["test", PASSPHRASE[:-1], PASSPHRASE + " ", PASSPHRASE.upper(), "ключ"])
def test_a_wrong_passphrase_is_refused(directory, passphrase):
    before = snapshot(directory)
    with refused(r"new\.info: the passphrase is wrong, or the file is damaged$"):
        Keyring.file(directory, asked(passphrase)).private_key("new")
    with refused("the passphrase is wrong"):
        Keyring.file(directory, asked(passphrase)).records()
    assert snapshot(directory) == before


def test_a_record_with_any_byte_changed_or_missing_is_refused(tmp_path):
    path = add_key(tmp_path / "keyring-test", "test", "a", ETHEREUM)
    keyring, whole = Keyring.test(tmp_path), path.read_bytes()
    assert keyring.private_key("a") == ETHEREUM
    for at, byte in enumerate(whole):
        for flip in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:at] + bytes([byte ^ flip]) + whole[at + 1 :])
            with refused(r"a\.info: "):
                keyring.private_key("a")
        path.write_bytes(whole[:at])
        with refused(r"a\.info: "):
            keyring.private_key("a")
        path.write_bytes(whole[:at] + whole[at + 1 :])
        with refused(r"a\.info: "):
            keyring.private_key("a")
    path.write_bytes(whole)
    assert keyring.private_key("a") == ETHEREUM


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=40).map(base64.urlsafe_b64encode)).map(b".".join))
def test_any_bytes_in_a_record_are_refused(tmp_path_factory, content):
    directory = tmp_path_factory.mktemp("keyring")
    put(directory / "keyring-test", "a.info", content)
    with refused(r"a\.info: "):
        Keyring.test(directory).private_key("a")


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b"[" * 20_000,
        b"1" * 20_000,
        json.dumps({"Key": "a.info", "Data": None}).encode(),
        json.dumps({"Key": "a.info", "Data": 5}).encode(),
        json.dumps({"Key": "a.info", "Data": "***"}).encode(),
        json.dumps({"Key": "a.info", "Data": "ключ"}).encode(),
        json.dumps({"Data": base64.b64encode(record("a", KeyKind.ETHEREUM, ETHEREUM_SECRET)).decode()}).encode(),
        item("a.info", record("a", KeyKind.ETHEREUM, ETHEREUM_SECRET))[:-1],
    ],
)
def test_what_is_no_item_is_refused(tmp_path, plaintext):
    put(tmp_path / "keyring-test", "a.info", by_joserfc(plaintext, "test"))
    with refused(r"a\.info: it does not hold an item"):
        Keyring.test(tmp_path).private_key("a")


@pytest.mark.parametrize(("key", "name"), [("b.info", "a"), ("a.info", "b"), (5, "a"), ("a", "a"), ("a.info", "")])
def test_the_record_of_another_key_under_this_name_is_refused(tmp_path, key, name):
    data = record(name, KeyKind.ETHEREUM, ETHEREUM_SECRET)
    put(tmp_path / "keyring-test", "a.info", by_joserfc(item(key, data), "test"))
    with refused("the record of another key"):
        Keyring.test(tmp_path).private_key("a")


def with_record(directory, data):
    put(directory / "keyring-test", "a.info", by_joserfc(item("a.info", data), "test"))
    return Keyring.test(directory)


NAMED = field(1, b"a")
PUBLIC = field(2, packed("/cosmos.crypto.secp256k1.PubKey", COSMOS.public.compressed))


@pytest.mark.parametrize(("number", "holding"), [(4, Holding.LEDGER), (5, Holding.MULTI), (6, Holding.OFFLINE)])
def test_a_key_that_is_kept_elsewhere_is_listed_and_not_opened(tmp_path, number, holding):
    keyring = with_record(tmp_path, NAMED + PUBLIC + field(number, b""))
    assert keyring.records() == [KeyRecord("a", holding, COSMOS.public)]
    with refused(f"the private key of 'a' is not in .*; its kind there is {holding.value}"):
        keyring.private_key("a")


@pytest.mark.parametrize(
    "url",
    [
        "/cosmos.crypto.ed25519.PubKey",
        "/ethermint.crypto.v1.ethsecp256k1.PubKey",
        "/cosmos.crypto.secp256k1.PubKey2",
        "cosmos.crypto.secp256k1.PubKey",
        "/cosmos.crypto.secp256k1",
        "/cosmos.crypto.secp256k1.PrivKey",
        "",
    ],
)
def test_a_key_of_an_unknown_kind_is_listed_without_an_address_and_not_opened(tmp_path, url):
    private = field(3, field(1, packed("/cosmos.crypto.secp256k1.PrivKey", COSMOS_SECRET)))
    keyring = with_record(tmp_path, NAMED + field(2, packed(url, COSMOS.public.compressed)) + private)
    (listed,) = keyring.records()
    assert (listed.public, listed.address, listed.kind) == (None, None, None)
    with refused("of a kind that lep6 does not know"):
        keyring.private_key("a")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no public key"),
        (NAMED + PUBLIC, "where the private key is"),
        (NAMED + field(3, b""), "no public key"),
        (NAMED + PUBLIC + field(3, b""), "no private key of the kind"),
        (NAMED + PUBLIC + field(3, field(1, packed("/x", COSMOS_SECRET))), "no private key of the kind"),
        (record("a", KeyKind.COSMOS, COSMOS_SECRET, OTHER_KEY.public.compressed), "not that of its public key"),
        (record("a", KeyKind.COSMOS, COSMOS_SECRET, b"\x02" * 32), "does not hold the record"),
        (record("a", KeyKind.COSMOS, COSMOS_SECRET, COSMOS.public.compressed)[:-1], "does not hold the record"),
        (record("a", KeyKind.COSMOS, bytes(32), COSMOS.public.compressed), "does not hold the record"),
        (record("a", KeyKind.COSMOS, b"\xff" * 32, COSMOS.public.compressed), "does not hold the record"),
        (record("a", KeyKind.COSMOS, COSMOS_SECRET[1:], COSMOS.public.compressed), "does not hold the record"),
        (record("a", KeyKind.COSMOS, COSMOS_SECRET + b"\0", COSMOS.public.compressed), "does not hold the record"),
        (record("a", KeyKind.COSMOS, COSMOS_SECRET).replace(b".PrivKey", b".PrivKez"), "no private key of the kind"),
        (b"\xff" * 40, "does not hold the record"),
    ],
)
def test_what_is_no_record_of_a_key_is_refused(tmp_path, data, reason):
    keyring = with_record(tmp_path, data)
    with refused(reason, COSMOS_SECRET[1:]):
        keyring.private_key("a")
    with refused(reason, COSMOS_SECRET[1:]):
        keyring.records()


@pytest.mark.parametrize("prefix", ["localInfo", "ledgerInfo", "offlineInfo", "multiInfo"])
@pytest.mark.parametrize("size", [40, 400])
def test_an_amino_record_is_refused_with_a_way_out(tmp_path, prefix, size):
    digest = sha256(f"crypto/keys/{prefix}".encode()).digest()
    value = digest[3:7] + bytes(size)
    length = bytes([len(value)]) if len(value) < 0x80 else bytes([len(value) & 0x7F | 0x80, len(value) >> 7])
    with refused("amino record of an old Cosmos SDK; .*`keys list`"):
        with_record(tmp_path, length + value).private_key("a")


def test_amino_prefixes_are_those_of_its_documentation():
    assert _amino_prefix("tendermint/PubKeySecp256k1").hex() == "eb5ae987"
    assert _amino_prefix("tendermint/PrivKeyEd25519").hex() == "a3288910"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o644, 0o620])
def test_a_record_of_the_backend_test_is_refused_when_others_can_read_it(directory, mode):
    (directory / "keyring-test" / "new.info").chmod(mode)
    with refused(rf"open to others than its owner \(mode {mode:o}\): chmod 600 it"):
        Keyring.test(directory).private_key("new")
    assert Keyring.test(directory).private_key("old") == COSMOS


def test_a_record_of_the_backend_file_is_encrypted_and_may_be_seen(directory):
    (directory / "keyring-file" / "new.info").chmod(0o644)
    assert Keyring.file(directory, asked()).private_key("new") == ETHEREUM


def test_a_record_that_is_no_file_or_a_huge_one_is_refused(tmp_path):
    folder = tmp_path / "keyring-test"
    folder.mkdir()
    (folder / "directory.info").mkdir()
    os.mkfifo(folder / "pipe.info", 0o600)
    put(folder, "huge.info", b"a" * 70_000)
    keyring = Keyring.test(tmp_path)
    for name, reason in (("directory", "not a regular file"), ("pipe", "not a regular file"), ("huge", "65536 bytes")):
        with refused(reason):
            keyring.private_key(name)


def test_a_link_to_a_record_is_followed(directory):
    folder = directory / "keyring-test"
    (folder / "new.info").rename(directory / "elsewhere")
    (folder / "new.info").symlink_to(directory / "elsewhere")
    assert Keyring.test(directory).private_key("new") == ETHEREUM


def test_the_iterations_of_the_sdk_and_the_most_that_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(jwcrypto.jwa, "default_max_pbkdf2_iterations", 1_300_000)
    for count in (8192, 1_300_000):
        token = by_jwcrypto(
            item("a.info", record("a", KeyKind.COSMOS, COSMOS_SECRET)), "test", {**HEADER, "p2c": count}
        )
        put(tmp_path / "keyring-test", "a.info", token)
        assert Keyring.test(tmp_path).private_key("a") == COSMOS


def test_a_failure_of_any_other_kind_shows_no_secret_either(directory, monkeypatch):
    def fail(error):
        def failing(*args):
            held = args  # noqa: F841
            raise error

        return failing

    for module in ("keyring.open_token", "keyring.read_record", "record.parse", "record.PrivateKey", "jwe.AESGCM"):
        for error in (RuntimeError("a bug"), KeyboardInterrupt(), MemoryError()):
            with monkeypatch.context() as patch:
                patch.setattr(f"lep6.keys.{module}", fail(error))
                with pytest.raises(type(error)) as raised:
                    Keyring.file(directory, asked()).private_key("new")
            assert_shows_none(shown(raised.value), ETHEREUM_SECRET, PASSPHRASE)


def test_nothing_is_logged_or_printed(directory, caplog, capfd):
    caplog.set_level(0)
    Keyring.file(directory, asked()).records()
    with pytest.raises(KeyNotOpened):
        Keyring.file(directory, asked("wrong")).records()
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
