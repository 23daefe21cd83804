"""Records against the contract's vectors, and against a reader and a writer in a few lines on pycryptodome."""

import json
import struct
from array import array
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from attrs import frozen
from Crypto.Cipher import ChaCha20_Poly1305
from hypothesis import example, given
from hypothesis import strategies as st

from lep6._core import RecordOpener, RecordSealer
from lep6.errors import InvalidArtefact, InvalidRecord
from world import noise

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "secure_rpc.json").read_text())
PROTOCOL = "ALTSRP_XCHACHA20_POLY1305_REKEY"
SESSIONS = {name: VECTORS[name]["protocols"][PROTOCOL] for name in VECTORS if name.startswith("session_")}
DIRECTIONS = {"client_to_server": True, "server_to_client": False}
KEY = noise(56)
OVERHEAD = 24
GO_PAYLOAD = 4072
LARGEST = 1 << 20
MOST_EMPTY = 16
USUAL = (b"first", b"2", b"and the third", b"last")


def nonce_of(key, number, from_client):
    counter = struct.pack("<QHBB", number, 0, 0, 0 if from_client else 0x80)
    return bytes(a ^ b for a, b in zip(counter, key[32:44], strict=True)) + bytes(12)


def cipher(number, from_client, key=KEY):
    return ChaCha20_Poly1305.new(key=key[:32], nonce=nonce_of(key, number, from_client))


def record(number, plaintext, *, from_client=True):
    """What the oracle seals."""
    ciphertext, tag = cipher(number, from_client).encrypt_and_digest(plaintext)
    return struct.pack("<II", len(plaintext) + 20, 6) + ciphertext + tag


def records(texts, *, from_client=True):
    return [record(number, text, from_client=from_client) for number, text in enumerate(texts)]


@frozen
class Read:
    """What came out of a stream, and how it ended."""

    plaintext: bytes
    opened: int
    error: str | None
    whole: bool
    """It ended between records, as far as one can see."""


def oracle_read(stream, *, from_client=True):
    plaintext, number, empty = b"", 0, 0

    def end(error=None):
        return Read(plaintext, number, error, whole=error is None and not stream)

    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "little")
        if length < 20:
            return end(f"record {number} claims {length} bytes, fewer than the 20 that the smallest has")
        if length > LARGEST:
            return end(f"record {number} claims {length} bytes, more than the {LARGEST} that the largest has")
        if len(stream) < 8:
            break
        kind = int.from_bytes(stream[4:8], "little")
        if kind != 6:
            return end(f"record {number} is of type {kind}, not 6")
        if len(stream) < 4 + length:
            break
        try:
            text = cipher(number, from_client).decrypt_and_verify(
                stream[8 : length - 12], stream[length - 12 : length + 4]
            )
        except ValueError:
            return end(f"record {number} does not authenticate")
        empty = 0 if text else empty + 1
        if empty > MOST_EMPTY:
            # It did authenticate.
            error = f"record {number} is the {empty}th empty one in a row"
            number += 1
            return end(error)
        plaintext, number, stream = plaintext + text, number + 1, stream[4 + length :]
    return end()


def read(pieces, *, from_client=True, key=KEY):
    """What `RecordOpener` makes of a stream that comes in these pieces."""
    opener = RecordOpener(key, from_client=from_client)
    plaintext, errors = b"", []
    for piece in [*pieces, b"", b""]:
        try:
            plaintext += opener.open(piece)
            assert not errors, "a failure is final"
        except InvalidRecord as error:
            errors.append(str(error))
    assert len(set(errors)) <= 1, "every call fails with the same error"
    return Read(plaintext, opener.opened, errors[0] if errors else None, whole=opener.pending == 0)


def cut(stream, places):
    ends = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_records_are_those_of_the_vectors(session, direction):
    key = bytes.fromhex(SESSIONS[session]["expanded_key"])
    sealer = RecordSealer(key, from_client=DIRECTIONS[direction], payload=GO_PAYLOAD)
    opener = RecordOpener(key, from_client=DIRECTIONS[direction])
    for case in SESSIONS[session][direction]:
        plaintext, frame = bytes.fromhex(case["plaintext"]), bytes.fromhex(case["frame"])
        assert nonce_of(key, case["index"], DIRECTIONS[direction]).hex() == case["nonce"]
        assert sealer.seal(plaintext) == frame
        assert opener.open(frame) == plaintext
        assert (opener.opened, opener.pending) == (case["index"] + 1, 0)


def test_a_long_text_is_cut_as_that_of_the_vectors():
    vector = VECTORS["fragmentation"]
    key = bytes.fromhex(SESSIONS[vector["session"]]["expanded_key"])
    plaintext = bytes((7 * i + 3) % 256 for i in range(5000))
    assert sha256(plaintext).hexdigest() == vector["plaintext_sha256"]
    wire = RecordSealer(key, from_client=True, payload=GO_PAYLOAD).seal(plaintext)
    first, second = wire[: vector["frame_lengths"][0]], wire[vector["frame_lengths"][0] :]
    assert [len(first), len(second)] == vector["frame_lengths"]
    assert [int.from_bytes(frame[:4], "little") for frame in (first, second)] == vector["frame_length_fields"]
    assert first.hex().startswith(vector["first_frame_head"])
    assert [first[-16:].hex(), second[-16:].hex()] == [vector["first_frame_tag"], vector["second_frame_tag"]]
    assert sha256(wire).hexdigest() == vector["wire_sha256"]
    assert read([wire], key=key).plaintext == plaintext


@pytest.mark.parametrize("sender", ["client", "server"])
def test_nonces_that_a_test_can_reach_are_those_of_the_vectors(sender):
    """Those of higher numbers are tested in the core."""
    vector = VECTORS["nonces"]
    key = bytes.fromhex(SESSIONS[vector["session"]]["expanded_key"])
    cases = {int(case["record_index"]): case for case in vector["cases"] if case["sender"] == sender}
    reached = [number for number in cases if number <= 65_536]
    assert len(reached) == 6
    plaintext = noise(65_537)
    wire = RecordSealer(key, from_client=sender == "client", payload=1).seal(plaintext)
    for number in reached:
        body = wire[25 * number + 8 : 25 * (number + 1)]
        oracle = ChaCha20_Poly1305.new(key=key[:32], nonce=bytes.fromhex(cases[number]["xchacha_nonce"]))
        assert oracle.decrypt_and_verify(body[:1], body[1:]) == plaintext[number : number + 1]
    assert read([wire], from_client=sender == "client", key=key) == Read(plaintext, 65_537, None, whole=True)


@given(st.lists(st.binary(max_size=100), max_size=5), st.integers(1, 40), st.booleans())
def test_records_are_those_of_another_library_full_but_the_last(texts, payload, from_client):
    sealer = RecordSealer(KEY, from_client=from_client, payload=payload)
    parts = [text[at : at + payload] for text in texts for at in range(0, len(text), payload)]
    assert b"".join(map(sealer.seal, texts)) == b"".join(records(parts, from_client=from_client))


@pytest.mark.parametrize("from_client", [True, False])
@pytest.mark.parametrize("payload", [1, GO_PAYLOAD, 128 << 10, LARGEST - 20])
@pytest.mark.parametrize("size", [0, 1, GO_PAYLOAD, LARGEST - 20, 3 * (128 << 10), LARGEST + 5])
def test_what_is_sealed_opens(size, payload, from_client):
    size = min(size, 20_000 * payload)
    plaintext = noise(size)
    wire = RecordSealer(KEY, from_client=from_client, payload=payload).seal(plaintext)
    count = -(-size // payload)
    assert len(wire) == size + OVERHEAD * count
    assert read([wire], from_client=from_client) == Read(plaintext, count, None, whole=True)
    pieces = [bytes(wire[at : at + 65_536]) for at in range(0, len(wire), 65_536)]
    assert read(pieces, from_client=from_client) == Read(plaintext, count, None, whole=True)


@st.composite
def streams(draw):
    """Records, mostly good."""
    texts = draw(st.lists(st.binary(max_size=30), max_size=8))
    pieces = records(texts)
    match draw(st.sampled_from(["good", "flip", "swap", "repeat", "drop", "header", "end", "tail"])):
        case "flip" if pieces:
            stream = bytearray(b"".join(pieces))
            place = draw(st.integers(0, 8 * len(stream) - 1))
            stream[place // 8] ^= 1 << place % 8
            return bytes(stream)
        case "swap" if pieces:
            pieces = draw(st.permutations(pieces))
        case "repeat" if pieces:
            pieces.insert(draw(st.integers(0, len(pieces))), draw(st.sampled_from(pieces)))
        case "drop" if pieces:
            del pieces[draw(st.integers(0, len(pieces) - 1))]
        case "header":
            length = draw(st.sampled_from([0, 3, 19, 20, 21, LARGEST, LARGEST + 1, 2**32 - 1]))
            header = struct.pack("<II", length, draw(st.sampled_from([0, 5, 6, 7, 0x106, 0x80000006])))
            pieces.insert(draw(st.integers(0, len(pieces))), header)
        case "end":
            stream = b"".join(pieces)
            return stream[: draw(st.integers(0, len(stream)))]
        case "tail":
            pieces.append(draw(st.binary(max_size=40)))
    return b"".join(pieces)


@given(streams(), st.lists(st.integers(0, 400), max_size=12))
@example(b"".join(records([b""] * MOST_EMPTY + [b"x"] + [b""] * (MOST_EMPTY + 1) + [b"y"])), [100, 101, 900])
def test_what_comes_out_does_not_depend_on_how_the_stream_is_cut(stream, places):
    expected = oracle_read(stream)
    assert read(cut(stream, places)) == expected
    assert read([stream]) == expected
    assert read([stream[at : at + 1] for at in range(len(stream))]) == expected


@pytest.mark.parametrize("from_client", [True, False])
def test_a_flipped_bit_anywhere_is_refused_and_says_why(from_client):
    sent = records(USUAL, from_client=from_client)
    stream = b"".join(sent)
    starts = [sum(map(len, sent[:number])) for number in range(len(sent))]
    reasons = set()
    for place in range(8 * len(stream)):
        flipped = bytearray(stream)
        flipped[place // 8] ^= 1 << place % 8
        number = max(n for n, start in enumerate(starts) if start <= place // 8)
        seen = read([flipped], from_client=from_client)
        assert (seen.plaintext, seen.opened, seen.whole) == (b"".join(USUAL[:number]), number, False)
        assert seen == oracle_read(bytes(flipped), from_client=from_client)
        if seen.error is None:
            # A length that is a good one; the record does not open when it is there.
            assert place // 8 - starts[number] < 3
            seen = read([flipped, bytes(LARGEST)], from_client=from_client)
        assert seen.error.startswith(f"record {number} ")
        reasons.add(seen.error.removeprefix(f"record {number} ").split()[0])
    assert reasons == {"claims", "is", "does"}


def test_an_end_at_every_byte_is_seen_but_between_records():
    sent = records(USUAL)
    stream = b"".join(sent)
    ends = {sum(map(len, sent[:count])): count for count in range(len(sent) + 1)}
    last = 0
    for size in range(len(stream) + 1):
        last = size if size in ends else last
        opener = RecordOpener(KEY, from_client=True)
        assert opener.open(stream[:size]) == b"".join(USUAL[: ends[last]])
        assert (opener.pending, opener.opened) == (size - last, ends[last])


def test_records_in_another_order_than_theirs_are_refused():
    sent = records(USUAL)
    for order in permutations(range(len(sent))):
        if list(order) == sorted(order):
            continue
        good = next(place for place, number in enumerate(order) if place != number)
        seen = read([b"".join(sent[number] for number in order)])
        assert seen == Read(b"".join(USUAL[:good]), good, f"record {good} does not authenticate", whole=False)


@pytest.mark.parametrize("number", range(4))
def test_a_record_that_comes_again_is_refused(number):
    sent = records(USUAL)
    for at in range(number + 1, len(sent) + 1):
        seen = read([*sent[:at], sent[number], *sent[at:]])
        assert seen == Read(b"".join(USUAL[:at]), at, f"record {at} does not authenticate", whole=False)


@pytest.mark.parametrize("number", range(3))
def test_a_record_that_is_left_out_is_missed_at_the_next(number):
    sent = records(USUAL)
    seen = read([*sent[:number], *sent[number + 1 :]])
    assert seen == Read(b"".join(USUAL[:number]), number, f"record {number} does not authenticate", whole=False)


@pytest.mark.parametrize("from_client", [True, False])
def test_what_one_sent_oneself_does_not_open(from_client):
    mine = RecordSealer(KEY, from_client=from_client, payload=5).seal(b"played back")
    assert read([mine], from_client=not from_client) == Read(b"", 0, "record 0 does not authenticate", whole=False)
    theirs = record(0, b"good", from_client=not from_client)
    second = RecordSealer(KEY, from_client=from_client, payload=5).seal(b"0000011111")[29:]
    seen = read([theirs, second], from_client=not from_client)
    assert seen == Read(b"good", 1, "record 1 does not authenticate", whole=False)


@pytest.mark.parametrize("place", range(44))
def test_another_key_or_mask_opens_nothing(place):
    other = bytearray(KEY)
    other[place] ^= 1
    assert read(records(USUAL), key=bytes(other)).error == "record 0 does not authenticate"


def test_the_end_of_the_mask_is_not_used():
    assert read(records(USUAL), key=KEY[:44] + bytes(12)).plaintext == b"".join(USUAL)


@pytest.mark.parametrize("length", [*range(20), LARGEST + 1, 1 << 24 | 30, 1 << 31, 2**32 - 1])
def test_a_length_that_no_record_has_is_refused_with_its_fourth_byte(length):
    opener = RecordOpener(KEY, from_client=True)
    assert opener.open(record(0, b"good") + length.to_bytes(4, "little")[:3]) == b"good"
    than = "fewer than the 20 that the smallest has" if length < 20 else f"more than the {LARGEST} that the largest has"
    with pytest.raises(InvalidRecord, match=f"^record 1 claims {length} bytes, {than}$"):
        opener.open(length.to_bytes(4, "little")[3:])


@pytest.mark.parametrize("kind", [0, 5, 7, 0x106, 0x10006, 0x01000006, 0x06000000, 2**32 - 1])
def test_a_type_that_no_record_has_is_refused_with_its_fourth_byte(kind):
    header = struct.pack("<II", 30, kind)
    opener = RecordOpener(KEY, from_client=True)
    assert opener.open(header[:7]) == b""
    with pytest.raises(InvalidRecord, match=f"^record 0 is of type {kind}, not 6$"):
        opener.open(header[7:])


@pytest.mark.parametrize("size", [1, LARGEST - 20])
def test_the_smallest_and_the_largest_record_open(size):
    plaintext = noise(size)
    wire = record(0, plaintext)
    assert read([wire]) == Read(plaintext, 1, None, whole=True)
    assert read([wire[:7], wire[7:-1], wire[-1:]]) == Read(plaintext, 1, None, whole=True)
    forged = wire[:-1] + bytes([wire[-1] ^ 1])
    assert read([forged[:100], forged[100:]]).error == "record 0 does not authenticate"


def test_empty_records_are_skipped_but_not_without_end():
    some = [b""] * MOST_EMPTY
    texts = [*some, b"a", *some, b"b", *some]
    assert read([b"".join(records(texts))]) == Read(b"ab", len(texts), None, whole=True)
    assert read(records(texts)) == Read(b"ab", len(texts), None, whole=True)
    stream = b"".join(records([*texts, b"", b"never seen"]))
    error = f"record {len(texts)} is the 17th empty one in a row"
    for pieces in ([stream], cut(stream, [100, 200, 700])):
        seen = read(pieces)
        assert (seen.plaintext, seen.error, seen.whole) == (b"ab", error, False)


def test_the_plaintext_in_front_of_a_bad_record_comes_first_and_then_the_failure_for_ever():
    sent = records(USUAL)
    bad = bytearray(sent[2])
    bad[-1] ^= 1
    opener = RecordOpener(KEY, from_client=True)
    assert opener.open(sent[0] + sent[1] + bad + sent[3]) == USUAL[0] + USUAL[1]
    assert opener.pending, "an end here is not a clean one"
    for data in (b"", sent[2], b"".join(sent[2:]), b""):
        with pytest.raises(InvalidRecord, match=r"^record 2 does not authenticate$"):
            opener.open(data)
        assert opener.opened == 2
        assert opener.pending


def test_a_call_that_fails_at_once_gives_nothing():
    opener = RecordOpener(KEY, from_client=True)
    bad = records(USUAL)[1]
    with pytest.raises(InvalidRecord, match="record 0"):
        opener.open(bad)
    with pytest.raises(InvalidRecord, match="record 0"):
        opener.open(record(0, b"good"))


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda data: memoryview(b"<" + data + b">")[1:-1], lambda d: array("B", d)]
)
@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_data_may_be_held_in_any_buffer(kind, size):
    plaintext = noise(size)
    wire = RecordSealer(KEY, from_client=True, payload=1000).seal(kind(plaintext))
    assert type(wire) is bytes
    opened = RecordOpener(KEY, from_client=True).open(kind(wire))
    assert type(opened) is bytes
    assert opened == plaintext


@pytest.mark.parametrize("buffer", [memoryview(bytes(64))[::2], array("H", [1]), array("b", [1])])
def test_a_buffer_that_is_not_bytes_in_a_row_is_refused_and_changes_nothing(buffer):
    sealer, opener = RecordSealer(KEY, from_client=True, payload=5), RecordOpener(KEY, from_client=True)
    for refuse in (sealer.seal, opener.open):
        with pytest.raises(BufferError):
            refuse(buffer)
    assert opener.open(sealer.seal(b"good")) == b"good"


@pytest.mark.parametrize("size", [0, 44, 55, 57])
def test_a_key_of_another_size_is_refused(size):
    for make in (
        lambda key: RecordSealer(key, from_client=True, payload=5),
        lambda k: RecordOpener(k, from_client=True),
    ):
        with pytest.raises(InvalidArtefact, match=f"an expanded key has 56 bytes, not {size}"):
            make(bytes(size))


@pytest.mark.parametrize("payload", [0, LARGEST - 19, 1 << 40])
def test_records_that_nobody_would_open_are_not_made(payload):
    with pytest.raises(InvalidArtefact, match=f"not {payload}"):
        RecordSealer(KEY, from_client=True, payload=payload)


def test_nothing_shows_the_key():
    key = b"~" * 56
    for made in (RecordSealer(key, from_client=True, payload=5), RecordOpener(key, from_client=True)):
        assert "~~" not in f"{made!r} {made!s} {vars(type(made))}"
        assert "7e7e" not in repr(made)
        assert not hasattr(made, "__dict__")


def test_calls_from_several_threads_follow_each_other():
    texts = [bytes([number]) * 300_000 for number in range(3)]
    sealer = RecordSealer(KEY, from_client=True, payload=GO_PAYLOAD)
    with ThreadPoolExecutor(len(texts)) as pool:
        sealed = list(pool.map(sealer.seal, texts))
    opened = [seen for order in permutations(sealed) if (seen := read(order)).error is None]
    assert len(opened) == 1
    assert sorted(opened[0].plaintext[at] for at in range(0, 900_000, 300_000)) == [0, 1, 2]
