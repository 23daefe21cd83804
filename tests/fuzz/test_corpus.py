"""What fuzzers have found worth keeping (scripts/fuzz) still behaves, and each seed does."""

import pytest

from fuzz import handshake, records
from fuzz.targets import SEEDS, TARGETS, inputs


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_kept_and_what_once_broke_still_behaves(target):
    kept = inputs(target)
    assert kept
    for path in kept:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(str(path))
            raise


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_behaves(target):
    for seed in SEEDS[target]():
        TARGETS[target](seed)


def test_what_is_kept_is_small():
    for target in TARGETS:
        sizes = [path.stat().st_size for path in inputs(target)]
        assert len(sizes) <= 200
        assert sum(sizes) <= 1 << 20


def test_the_target_would_notice_a_message_that_nobody_has_signed(monkeypatch):
    genuine = handshake.GENUINE[0]
    forged = b"\0\0" + genuine.to_bytes().replace(genuine.signature, bytes(len(genuine.signature)))
    handshake.fuzz(forged)
    monkeypatch.setattr("lep6.secure_rpc.introduction._is_signed", lambda *_: True)
    with pytest.raises(AssertionError, match="forged"):
        handshake.fuzz(forged)


def test_the_target_would_notice_text_that_should_not_have_come(monkeypatch):
    """As if the opener gave the text of a record whose tag was changed."""

    class Credulous:
        pending = opened = 0

        def __init__(self, key, *, from_client):
            self.sealed = b""

        def open(self, data):
            return data[8:-16]

    changed = b"\0\xff\0\1\0\0\30\1" + b"text"
    records.fuzz(changed)
    monkeypatch.setattr("lep6._core.RecordOpener", Credulous)
    with pytest.raises(AssertionError):
        records.fuzz(changed)
