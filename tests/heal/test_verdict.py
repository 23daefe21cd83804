"""Verdicts: a whole file is compared with what its healer has claimed; what is no file gets the placeholder."""

import hashlib
from base64 import b64decode, b64encode

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from lep6.heal.verdict import MOST_DETAILS, NoFile, Reason, WholeFile, clean, placeholder, vote_on
from lep6.model import HealOp, HealOpStatus, Ticket
from lep6.transaction import Vote

DIGEST = bytes(range(32))
TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ONES = "//////////////////////////////////////////8="
OP = HealOp(5, Ticket("7"), "lumera1healer", ("lumera1us",), HealOpStatus.HEALER_REPORTED, TEXT)

# printf lep6:negative-attestation:fetch_failed | openssl dgst -sha256 -binary | base64
FETCH_FAILED = "TcOyTP6OPs99I55H/yVsiyEMBk61CI2N0aV6ng2IR1c="
HASH_COMPUTE_FAILED = "NMks2tesN9hAWv9ovKim7UsspY5gdcsz3eJuPyt6mcY="
HASH_MISMATCH = "2NBQ5V/2bw9h7nDqnaTyj8lGrgun0qX8ouRx/RRoEfY="


def claimed(text):
    return evolve(OP, result_hash=text)


def test_the_file_that_was_claimed_gets_a_yes():
    assert vote_on(OP, WholeFile(DIGEST)) == Vote(5, verified=True, hash=TEXT, details="")


@pytest.mark.parametrize("text", [TEXT.rstrip("="), f" {TEXT}", f"{TEXT}\n", f"\t{TEXT.rstrip('=')}  ", f"{TEXT}=="])
def test_a_yes_returns_the_chains_text_unchanged(text):
    assert vote_on(claimed(text), WholeFile(DIGEST)) == Vote(5, verified=True, hash=text, details="")


@pytest.mark.parametrize("text", [ONES, ONES.replace("/", "_"), ONES.replace("/", "_").rstrip("=")])
def test_a_yes_returns_the_chains_alphabet(text):
    assert vote_on(claimed(text), WholeFile(b"\xff" * 32)) == Vote(5, verified=True, hash=text, details="")


def test_another_file_gets_a_no_with_its_hash():
    assert vote_on(OP, WholeFile(b"\xff" * 32)) == Vote(5, verified=False, hash=ONES, details="hash_mismatch")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "not base64",
        DIGEST.hex(),
        b64encode(DIGEST[:31]).decode(),
        b64encode(DIGEST + b"\0").decode(),
        "\u00fc",
    ],
)
def test_a_claim_that_is_not_32_bytes_of_base64_gets_a_no_with_the_computed_hash(text):
    assert vote_on(claimed(text), WholeFile(DIGEST)) == Vote(5, verified=False, hash=TEXT, details="hash_mismatch")


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason.FETCH_FAILED, FETCH_FAILED),
        (Reason.HASH_COMPUTE_FAILED, HASH_COMPUTE_FAILED),
        (Reason.HASH_MISMATCH, HASH_MISMATCH),
    ],
)
def test_the_placeholder_is_the_hash_of_the_reason(reason, text):
    assert placeholder(reason) == text
    assert b64decode(text) == hashlib.sha256(b"lep6:negative-attestation:" + reason.value.encode()).digest()


@pytest.mark.parametrize(
    ("seen", "vote"),
    [
        (
            NoFile(Reason.FETCH_FAILED, ("unreachable", "truncated", "stalled")),
            Vote(5, verified=False, hash=FETCH_FAILED, details="fetch_failed:unreachable, truncated, stalled"),
        ),
        (
            NoFile(Reason.HASH_COMPUTE_FAILED, ("MemoryError",)),
            Vote(5, verified=False, hash=HASH_COMPUTE_FAILED, details="hash_compute_failed:MemoryError"),
        ),
        (NoFile(Reason.FETCH_FAILED, ()), Vote(5, verified=False, hash=FETCH_FAILED, details="fetch_failed")),
    ],
)
def test_no_file_gets_a_no_with_the_placeholder_and_how_it_failed(seen, vote):
    assert vote_on(OP, seen) == vote


def test_no_file_never_gets_a_yes_also_when_the_placeholder_was_claimed():
    assert not vote_on(claimed(FETCH_FAILED), NoFile(Reason.FETCH_FAILED, ())).verified


@given(st.binary(min_size=32, max_size=32), st.text())
def test_a_whole_file_gets_a_vote_that_the_chain_takes(digest, text):
    vote = vote_on(claimed(text), WholeFile(digest))
    assert vote.hash
    assert vote.hash == (text if vote.verified else b64encode(digest).decode())
    assert vote.details == ("" if vote.verified else "hash_mismatch")


@given(st.sampled_from(Reason), st.lists(st.text(), max_size=5))
def test_details_are_the_reason_and_little_clean_text(reason, kinds):
    vote = vote_on(OP, NoFile(reason, tuple(kinds)))
    assert vote.details.startswith(reason.value)
    assert vote.details.isascii()
    assert vote.details.isprintable()
    assert len(vote.details.removeprefix(f"{reason.value}:").encode()) <= MOST_DETAILS == 128


@given(st.text())
def test_clean_text_is_the_text_with_marks_for_what_was_not_clean(text):
    cleaned = clean(text)
    assert len(cleaned) == min(len(text), 128)
    for char, was in zip(cleaned, text, strict=False):
        assert char == was if " " <= was <= "~" else char == "?"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("stalled, too_slow", "stalled, too_slow"),
        ("a\nb\tc\0d\x7f", "a?b?c?d?"),
        ("gr\u00fc\u00df\u202e", "gr???"),
        ("\U0001f600" * 200, "?" * 128),
        ("x" * 129, "x" * 128),
    ],
)
def test_only_printable_ascii_goes_to_the_chain(text, cleaned):
    assert clean(text) == cleaned
