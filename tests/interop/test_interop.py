"""Lumera ALTS with a peer that was written by others, in Go, from the contract alone."""

from itertools import product
from pathlib import Path

import pytest
import trio
from attrs import frozen

from interop.go_program import GREETING, Party, go_pattern
from interop.meetings import HOST, Caller, Known, echoed, exactly, open_door
from interop.record import RECORDED, record
from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.keys import KeyKind
from lep6.secure_rpc import Credentials, PeerAddress, PeerType, SeenKeys
from lep6.secure_rpc.stream import PEER_LIMITS
from lep6.wire.google.protobuf import Any
from secure_rpc.parties import all_of, info_of, message_of, signed

VECTORS = Path(__file__).parents[1] / "vectors" / "secure_rpc.json"
KINDS = tuple(kind.value for kind in KeyKind)
OURS, THEIRS, STRANGER = (Party("eth_secp256k1", seed) for seed in (1, 2, 9))
KNOWN = Known({Party(kind, seed).account for kind, seed in product(KINDS, (1, 2, 9))})
LARGEST = 4092
"""What a record to a Go peer may say of its length."""


def at(party, port):
    return PeerAddress(party.account, HOST, port)


def record_lengths(sent):
    """What the records say of theirs, that were sent behind a message."""
    for _ in range(2):
        sent = sent[4 + int.from_bytes(sent[:4], "big") :]
    while sent:
        length = int.from_bytes(sent[:4], "little")
        yield length
        sent = sent[4 + length :]


async def test_the_vectors_mean_the_same_to_both(interop):
    result = await interop.vectors(VECTORS)
    assert result["failed"] == []
    assert result["checked"] > 200


async def test_the_recorded_exchanges_are_made_anew_to_the_byte(interop):
    assert await record(interop) == RECORDED.read_text()


@frozen
class Shape:
    """In what sizes a text goes to and fro; all in bytes."""

    frame: int
    """The largest record that Go sends."""
    split: int
    """Of each of its writes; 0: as they come."""
    piece: int | None
    """Of each of our writes."""
    text: int

    @property
    def options(self):
        return ["--frame", str(self.frame), "--send-split", str(self.split)]


SHAPES = [
    pytest.param(Shape(4096, 0, None, 3_000_000), id="as Go does"),
    pytest.param(Shape((1 << 20) + 4, 0, None, 5_000_001), id="largest records"),
    pytest.param(Shape(25, 0, None, 30_000), id="one byte to a record"),
    pytest.param(Shape(4096, 1, 1, 9_000), id="byte by byte"),
    pytest.param(Shape(100, 7, 1009, 40_000), id="odd pieces"),
]
EVERY_PAIR = pytest.mark.parametrize(("our_kind", "their_kind"), tuple(product(KINDS, KINDS)))
EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES)


@EVERY_PAIR
@EVERY_SHAPE
async def test_what_go_sends_to_our_door_comes_back_to_it(interop, our_kind, their_kind, shape):
    ours, theirs = Party(our_kind, 1), Party(their_kind, 2)
    async with open_door(ours, KNOWN, piece=shape.piece) as door:
        result = await interop.dial(theirs, door.port, *shape.options, "--bytes", str(shape.text), expect=ours.account)
    assert result == {"peer": ours.account, "peer_type": 2, "bytes": shape.text, "equal": True, "error": ""}
    assert door.echo.ends == [(theirs.account, None)]
    assert not door.door.refused


@EVERY_PAIR
@EVERY_SHAPE
async def test_what_we_send_to_a_go_server_comes_back(interop, our_kind, their_kind, shape):
    ours, theirs = Party(our_kind, 1), Party(their_kind, 2)
    text = go_pattern(shape.text)
    async with interop.listening(theirs, *shape.options, "--speak-first") as server:
        stream = await Caller(ours, KNOWN, shape.piece).dialer.dial(at(theirs, server.port))
        assert await exactly(stream, len(GREETING)) == GREETING
        assert await echoed(stream, text) == text
        assert stream.peer == theirs.account
        await stream.aclose()
        assert await server.ends() == [{"peer": ours.account, "peer_type": 2, "bytes": len(text), "error": ""}]


async def test_a_go_peer_is_sent_no_larger_records_than_go_sends_though_we_say_that_we_could(interop):
    async with open_door(OURS, KNOWN, as_ours=True) as door:
        result = await interop.dial(THEIRS, door.port, "--bytes", "2000000", expect=OURS.account)
    assert result["equal"]
    assert max(record_lengths(door.taps[0].sent)) == LARGEST
    assert [limits.max_frame for limits in door.echo.limits] == [PEER_LIMITS.max_frame]

    caller = Caller(OURS, KNOWN)
    async with interop.listening(THEIRS, "--speak-first") as server:
        stream = await caller.dialer.dial(at(THEIRS, server.port))
        assert stream.limits == PEER_LIMITS
        await echoed(stream, bytes(2_000_000))
        await stream.aclose()
    assert max(record_lengths(caller.taps[0].sent)) == LARGEST


async def test_a_plain_account_of_theirs_is_let_in_as_one(interop):
    chain = Known({OURS.account}, {THEIRS.account})
    async with open_door(OURS, chain) as door:
        result = await interop.dial(THEIRS, door.port, "--type", "1", "--bytes", "9", expect=OURS.account)
        as_supernode = await interop.dial(THEIRS, door.port, "--bytes", "9", expect=OURS.account)
    assert result["equal"]
    assert as_supernode["error"].startswith("read handshake: ")
    assert door.door.refused == {HandshakeFailure.UNREGISTERED: 1}


async def test_a_plain_account_of_ours_is_let_in_as_one(interop):
    async with interop.listening(THEIRS, "--speak-first") as server:
        dialer = Caller(OURS, KNOWN).dialer
        dialer.credentials = Credentials(OURS.credentials.key, PeerType.SIMPLENODE)
        stream = await dialer.dial(at(THEIRS, server.port))
        await stream.aclose()
        assert [end["peer_type"] for end in await server.ends()] == [1]


# What the program may do wrong with its message, and why that is refused.
BAD_MESSAGES = [
    (["--curve", "P384"], HandshakeFailure.MALFORMED),
    (["--curve", ""], HandshakeFailure.MALFORMED),
    (["--compressed"], HandshakeFailure.MALFORMED),
    (["--type", "0"], HandshakeFailure.MALFORMED),
    (["--type", "3"], HandshakeFailure.MALFORMED),
    (["--type", "-1"], HandshakeFailure.MALFORMED),
    (["--bad-signature"], HandshakeFailure.FORGED),
    (["--high-s"], HandshakeFailure.FORGED),
]
EVERY_BAD_MESSAGE = pytest.mark.parametrize(("options", "why"), BAD_MESSAGES, ids=str)


@pytest.mark.parametrize("kind", KINDS)
@EVERY_BAD_MESSAGE
async def test_a_bad_message_to_our_door_is_not_answered(interop, kind, options, why):
    theirs = Party(kind, 2)
    async with open_door(OURS, KNOWN) as door:
        result = await interop.dial(theirs, door.port, *options, "--bytes", "9", expect=OURS.account)
    assert result["error"].startswith("read handshake: ")
    assert door.door.refused == {why: 1}
    assert door.taps[0].sent == b""


@pytest.mark.parametrize("kind", KINDS)
@EVERY_BAD_MESSAGE
async def test_a_bad_message_of_a_server_is_refused(interop, kind, options, why):
    assert await refusal(interop, Party(kind, 2), *options) == (why, 1)


async def refusal(interop, theirs, *options, expect=None, chain=KNOWN, connections=1):
    """Why we do not talk to this server, and how often we have called it."""
    caller = Caller(OURS, chain)
    async with interop.listening(theirs, *options, connections=connections) as server:
        with pytest.raises(HandshakeFailed) as refused:
            await caller.dialer.dial(at(expect or theirs, server.port))
        for end in await server.ends():
            assert end["bytes"] == 0
    return refused.value.why, len(caller.taps)


async def test_a_caller_that_claims_to_be_another_is_refused(interop):
    async with open_door(OURS, KNOWN) as door:
        result = await interop.dial(STRANGER, door.port, "--claim", THEIRS.account, expect=OURS.account)
    assert result["error"].startswith("read handshake: ")
    assert door.door.refused == {HandshakeFailure.FOREIGN_KEY: 1}


async def test_a_server_that_is_another_or_claims_to_be_the_one_is_refused(interop):
    assert await refusal(interop, STRANGER, expect=THEIRS) == (HandshakeFailure.UNEXPECTED, 1)
    claim = ("--claim", THEIRS.account)
    assert await refusal(interop, STRANGER, *claim, expect=THEIRS) == (HandshakeFailure.FOREIGN_KEY, 1)
    assert await refusal(interop, STRANGER, *claim, expect=STRANGER) == (HandshakeFailure.FOREIGN_KEY, 1)


async def test_a_server_that_is_none_to_itself_or_to_the_chain_is_refused(interop):
    assert await refusal(interop, THEIRS, "--type", "1") == (HandshakeFailure.NOT_A_SUPERNODE, 1)
    assert await refusal(interop, THEIRS, chain=Known({OURS.account})) == (HandshakeFailure.UNREGISTERED, 1)


async def test_a_server_that_refuses_us_is_called_once_more_and_then_no_more(interop):
    again = await refusal(interop, THEIRS, "--refuse", OURS.account, connections=2)
    assert again == (HandshakeFailure.BROKEN, 2)


# What the program may do wrong with its records, and what we say of record {}.
BAD_RECORDS = [
    *(([f"--record-length={size}"], f"record {{}} claims {size} bytes, fewer than") for size in (0, 1, 2, 3, 4, 19)),
    *(([f"--record-length={size}"], f"record {{}} claims {size} bytes, more than") for size in (2**20 + 1, 2**32 - 1)),
    *(([f"--record-length={size}"], "record {} does not authenticate") for size in (20, 2**20)),
    (["--truncate"], "the stream ended in the middle of record {}"),
]
# These show in the first record already.
BAD_TYPES = [(["--record-type", str(kind)], f"record 0 is of type {kind}, not 6") for kind in (0, 7, 262)]


@pytest.mark.parametrize(("options", "why"), BAD_RECORDS + BAD_TYPES, ids=str)
async def test_a_bad_first_record_to_our_door_comes_from_nobody(interop, options, why):
    async with open_door(OURS, KNOWN) as door:
        result = await interop.dial(THEIRS, door.port, *options, "--bytes", "9", expect=OURS.account)
    ((peer, reason),) = door.echo.ends
    assert peer is None
    assert reason.startswith(why.format(0))
    assert door.door.refused == {HandshakeFailure.BROKEN: 1}
    assert_hung_up_on(result)


def assert_hung_up_on(result):
    """The program has met us, told us nothing, and was hung up on."""
    assert result["bytes"] == 0
    assert result["error"].startswith(("bad record sent, the peer closed", "closed before the first record"))


@pytest.mark.parametrize(("options", "why"), BAD_RECORDS + BAD_TYPES, ids=str)
async def test_a_bad_first_record_of_a_server_is_none_of_a_handshake(interop, options, why):
    """Such a server is called once more: what it does looks like a race of two handshakes."""
    first = () if options[0] != "--record-type" else ("--speak-first",)
    caller = Caller(OURS, KNOWN)
    async with interop.listening(THEIRS, *options, *first, connections=2) as server:
        with pytest.raises(HandshakeFailed, match=why.format(0)) as refused:
            await caller.dialer.dial(at(THEIRS, server.port))
        ends = await server.ends()
    assert refused.value.why is HandshakeFailure.BROKEN
    assert len(caller.taps) == len(ends) == 2
    if not first:
        assert {end["error"] for end in ends} == {"bad record sent, the peer closed"}


@pytest.mark.parametrize(("options", "why"), BAD_RECORDS, ids=str)
async def test_a_bad_record_behind_a_good_one_ends_the_connection(interop, options, why):
    async with interop.listening(THEIRS, *options, "--speak-first") as server:
        stream = await Caller(OURS, KNOWN).dialer.dial(at(THEIRS, server.port))
        with pytest.raises(trio.BrokenResourceError, match=why.format(1)):
            await exactly(stream, 100)
        (end,) = await server.ends()
    assert end["error"] == "bad record sent, the peer closed"


async def test_a_message_that_comes_a_second_time_is_refused_by_the_door_that_saw_it(interop, tmp_path):
    saved = str(tmp_path / "message")
    async with interop.listening(OURS, "--save", saved, "--speak-first") as server:
        stream = await Caller(THEIRS, KNOWN).dialer.dial(at(OURS, server.port))
        await stream.aclose()
    seen = SeenKeys()
    told = (
        ([(None, "record 0 does not authenticate")], {HandshakeFailure.BROKEN: 1}),
        ([], {HandshakeFailure.REPLAYED: 1}),
    )
    for ends, refused in told:
        async with open_door(OURS, KNOWN, seen=seen) as door:
            result = await interop.dial(STRANGER, door.port, "--replay", saved, "--bytes", "9", expect=OURS.account)
        assert result["error"]
        assert door.echo.ends == ends
        assert door.door.refused == refused


async def test_a_server_that_replays_a_message_has_no_records_to_it_and_is_known_the_second_time(interop, tmp_path):
    saved = str(tmp_path / "message")
    async with open_door(THEIRS, KNOWN) as door:
        assert (await interop.dial(OURS, door.port, "--save", saved, expect=THEIRS.account))["error"] == ""
    caller = Caller(OURS, KNOWN)
    async with interop.listening(STRANGER, "--replay", saved, "--speak-first", connections=2) as server:
        with pytest.raises(HandshakeFailed) as refused:
            await caller.dialer.dial(at(THEIRS, server.port))
    assert refused.value.why is HandshakeFailure.REPLAYED
    assert len(caller.taps) == 2, "the first time, all there was to see was that its record did not open"


# What we may do wrong: what Go says shows that it looks at what we send.
ED25519 = bytes(Any(type_url="/cosmos.crypto.ed25519.PubKey", value=b"\x0a\x20" + bytes(32)))


def forged():
    return signed(info_of(OURS.credentials), STRANGER.credentials.key).to_bytes()


OUR_BAD_MESSAGES = {
    "V2: ": message_of(OURS.credentials, account_public_key=b""),
    "V3: ": message_of(OURS.credentials, account_public_key=ED25519),
    "V4: ": message_of(OURS.credentials, account_public_key=info_of(STRANGER.credentials).account_public_key),
    "V5: ": forged(),
    "V6: ": message_of(OURS.credentials, peer_type=0),
    "V8: ": message_of(OURS.credentials, public_key=b"\2" * 33),
    "read handshake: unexpected EOF": message_of(OURS.credentials)[:-1],
}


@pytest.mark.parametrize("step", OUR_BAD_MESSAGES)
async def test_go_refuses_what_is_wrong_with_our_message(interop, step):
    async with interop.listening(THEIRS) as server:
        transport = await trio.open_tcp_stream(HOST, server.port)
        await transport.send_all(OUR_BAD_MESSAGES[step])
        await transport.send_eof()
        await all_of(transport)
        await transport.aclose()
        (end,) = await server.ends()
    assert end["error"].startswith(step)


@pytest.mark.parametrize("step", OUR_BAD_MESSAGES)
async def test_go_refuses_what_is_wrong_with_our_answer(interop, step):
    listeners = await trio.open_tcp_listeners(0, host=HOST)

    async def answer(transport):
        await transport.send_all(OUR_BAD_MESSAGES[step])
        await transport.send_eof()
        await all_of(transport)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        result = await interop.dial(THEIRS, listeners[0].socket.getsockname()[1], "--bytes", "9", expect=OURS.account)
        nursery.cancel_scope.cancel()
    assert result["error"].startswith(step)
    assert not result["equal"]


async def test_go_refuses_our_door_where_it_has_called_another_or_its_chain_does_not_know_us(interop):
    async with open_door(OURS, KNOWN) as door:
        unexpected = await interop.dial(THEIRS, door.port, "--bytes", "9", expect=STRANGER.account)
        unknown = await interop.dial(THEIRS, door.port, "--refuse", OURS.account, expect=OURS.account)
    assert unexpected["error"] == f"C6: dialed {STRANGER.account}, met {OURS.account}"
    assert unknown["error"].startswith("V7: ")
    assert {peer for peer, _ in door.echo.ends} == {None}, "neither has shown a record"


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"\x14\0\0\0\6\0\0\0" + bytes(16), "the record does not authenticate"),
        (b"\x14\0\0\0\7\0\0\0" + bytes(16), "a record of type 7"),
        (b"\x03\0\0\0\6\6\6", "a record of length 3"),
        (b"\xff\xff\xff\xff", "a record of length 4294967295"),
        (b"\x14\0\0\0\6", "unexpected EOF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_go_refuses_a_record_that_was_not_sealed_by_us(interop, garbage, why):
    async with interop.listening(THEIRS, "--speak-first") as server:
        stream = await Caller(OURS, KNOWN).dialer.dial(at(THEIRS, server.port))
        await stream.transport.send_all(garbage)
        await stream.transport.inner.send_eof()
        (end,) = await server.ends()
        await stream.aclose()
    assert end == {"peer": OURS.account, "peer_type": 2, "bytes": 0, "error": why}
