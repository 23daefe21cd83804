"""Mnemonics and raw keys from files (chain contract §2.3, §2.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from keyrings import ETHEREUM_SECRET, MNEMONIC, refused, snapshot
from lep6.keys import KeyKind, PrivateKey, mnemonic_key, raw_key

LEGACY_PUBLIC = "0223aa679d6d5344e201e0df9f02ab15a84726eee0dfb4e953c46a9e2cb52349dc"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    "text", [MNEMONIC, f"\n\t{MNEMONIC}\r\n", MNEMONIC.replace(" ", "\n"), MNEMONIC.replace(" ", "  ")]
)
def test_a_mnemonic_gives_the_keys_and_addresses_of_the_vectors(file, text):
    file.write_text(text)
    before = snapshot(file.parent)
    ethereum, cosmos = (mnemonic_key(file, kind) for kind in (KeyKind.ETHEREUM, KeyKind.COSMOS))
    assert ethereum == PrivateKey(KeyKind.ETHEREUM, ETHEREUM_SECRET)
    assert ethereum.public.address == "lumera17w0adeg64ky0daxwd2ugyuneellmjgnxmzmf9j"
    assert cosmos.public.compressed.hex() == LEGACY_PUBLIC
    assert cosmos.public.address == "lumera15yk64u7zc9g9k2yr2wmzeva5qgwxps6y7d05hv"
    assert snapshot(file.parent) == before


def test_each_kind_has_its_derivation_path():
    assert KeyKind.ETHEREUM.derivation_path == "m/44'/60'/0'/0/0"
    assert KeyKind.COSMOS.derivation_path == "m/44'/118'/0'/0/0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 12, 15, 18, 21 or 24 words, not 0"),
        (MNEMONIC + " junk", "not 13"),
        (MNEMONIC.replace(" ", ","), "not 1$"),
        (MNEMONIC.replace("junk", "test"), "check sum is wrong"),
        (MNEMONIC.replace("junk", "junc"), "word 12 of the mnemonic is not in the English list"),
        (MNEMONIC.upper(), "word 1 of"),
        (MNEMONIC.replace("junk", "ju\u00f1k"), "word 12 of"),
    ],
)
@pytest.mark.parametrize("kind", KeyKind)
def test_what_is_no_mnemonic_is_refused_without_a_word_of_it(file, text, reason, kind):
    file.write_text(text)
    with refused(reason, f"{text} {text}", text[-20:] or MNEMONIC):
        mnemonic_key(file, kind)


def test_a_mnemonic_that_is_no_text_is_refused(file):
    file.write_bytes(MNEMONIC.encode() + b"\xff")
    with refused("not UTF-8"):
        mnemonic_key(file, KeyKind.COSMOS)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 23), st.text("abcdefgh", min_size=9, max_size=12))
def test_a_mistyped_word_is_named_by_its_position_only(tmp_path_factory, entropy, at, mistyped):
    path = tmp_path_factory.mktemp("secret") / "mnemonic"
    path.touch(mode=0o600)
    words = Mnemonic("english").to_mnemonic(entropy).split()
    path.write_text(" ".join([*words[:at], mistyped, *words[at + 1 :]]))
    with refused(f"word {at + 1} of the mnemonic", mistyped, " ".join(words[at + 1 :][:4]) or " ".join(words[:4])):
        mnemonic_key(path, KeyKind.ETHEREUM)


@pytest.mark.parametrize("spelled", ["{}", "0x{}", "{}\n", "  {}\r\n", "\t0x{} "])
@pytest.mark.parametrize("case", [str.lower, str.upper])
@pytest.mark.parametrize("kind", KeyKind)
def test_a_raw_key_is_64_hexadecimal_digits(file, spelled, case, kind):
    file.write_text(spelled.format(case(ETHEREUM_SECRET.hex())))
    assert raw_key(file, kind) == PrivateKey(kind, ETHEREUM_SECRET)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        ETHEREUM_SECRET,
        ETHEREUM_SECRET.hex().encode()[:-1],
        ETHEREUM_SECRET.hex().encode() + b"0",
        ETHEREUM_SECRET.hex().encode() * 2,
        ETHEREUM_SECRET.hex(" ").encode(),
        b"0X" + ETHEREUM_SECRET.hex().encode(),
        b'"%s"' % ETHEREUM_SECRET.hex().encode(),
        ETHEREUM_SECRET.hex().encode()[:-1] + b"g",
        ETHEREUM_SECRET.hex().encode()[:-1] + "\uff11".encode(),
    ],
)
def test_what_is_no_raw_key_is_refused_without_a_word_of_it(file, content):
    file.write_bytes(content)
    with refused("64 hexadecimal digits", ETHEREUM_SECRET[:-1]):
        raw_key(file, KeyKind.ETHEREUM)


def test_a_raw_key_outside_the_curves_order_is_refused(file):
    for secret in (bytes(32), b"\xff" * 32):
        file.write_text(secret.hex())
        with refused("not a secp256k1 private key", b"\xff" * 32):
            raw_key(file, KeyKind.ETHEREUM)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
@pytest.mark.parametrize(("read", "text"), [(mnemonic_key, MNEMONIC), (raw_key, ETHEREUM_SECRET.hex())])
def test_a_file_that_is_open_to_others_is_refused(file, mode, read, text):
    file.write_text(text)
    file.chmod(mode)
    with refused("open to others than its owner", text):
        read(file, KeyKind.ETHEREUM)


@pytest.mark.parametrize("read", [mnemonic_key, raw_key])
def test_a_file_that_is_not_there_is_the_systems_error(file, read):
    with pytest.raises(FileNotFoundError, match="absent"):
        read(file.with_name("absent"), KeyKind.ETHEREUM)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("secret") / "any"
    path.touch(mode=0o600)
    path.write_bytes(content)
    for read in (mnemonic_key, raw_key):
        with refused():
            read(path, KeyKind.COSMOS)
