"""The secured stream on a transport that cuts, flips, loses and stops."""

from itertools import pairwise

import pytest
import trio
import trio.testing
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from lep6 import _core
from lep6.secure_rpc import AltsStream, SeenKeys
from lep6.secure_rpc.handshake import Handshake
from secure_rpc.parties import HEALER, NOBODY, VERIFIER, who
from world import noise


def sessions():
    client = Handshake(VERIFIER, SeenKeys(), expected=HEALER.account)
    server = Handshake(HEALER, SeenKeys(), expected=None)
    server.receive(client.start())
    answer, at_server = server.accept()
    client.receive(answer)
    return client.accept()[1], at_server


AT_CLIENT, AT_SERVER = sessions()
TEXTS = (b"one", b"", b"and two", noise(50))
PLAIN = b"".join(TEXTS)


def sealed(texts, *, from_client=True, payload=40):
    sealer = _core.RecordSealer(AT_CLIENT.key, from_client=from_client, payload=payload)
    return b"".join(map(sealer.seal, texts))


WIRE = sealed(TEXTS)
ENDS = {0: 0, 27: 3, 58: 10, 122: 50, 156: 60}
"""Where records end, and how much text there is up to there."""


@define(eq=False)
class Pieces(trio.abc.Stream):
    """A transport on which these pieces come, and then the end."""

    pieces: list[bytes]
    is_closed: bool = False
    sent: bytes = b""
    read: list[bytes] = field(factory=list)

    async def receive_some(self, max_bytes=None):
        await trio.lowlevel.checkpoint()
        return self.pieces.pop(0) if self.pieces else b""

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def aclose(self):
        self.is_closed = True
        await trio.lowlevel.checkpoint()


def server_on(pieces, surplus=b""):
    return AltsStream(Pieces([piece for piece in pieces if piece]), evolve(AT_SERVER, surplus=surplus))


def cut(stream, places):
    ends = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(ends)]


async def read(stream, sizes=()):
    """All text, and why it ended early."""
    text, sizes = b"", list(sizes)
    try:
        while data := await stream.receive_some(sizes.pop(0) if sizes else None):
            text += data
    except trio.BrokenResourceError as error:
        return text, str(error)
    return text, None


def test_the_ends_of_the_records_are_where_this_file_has_them():
    assert len(WIRE) == max(ENDS)
    assert len(PLAIN) == max(ENDS.values())


@given(
    st.lists(st.integers(0, 200), max_size=12),
    st.integers(0, 200),
    st.lists(st.integers(1, 70), max_size=12),
)
async def test_text_does_not_depend_on_how_the_stream_is_cut_nor_on_how_it_is_asked_for(places, early, sizes):
    surplus, rest = WIRE[:early], WIRE[early:]
    assert await read(server_on(cut(rest, places), surplus), sizes) == (PLAIN, None)


async def test_text_comes_whole_when_the_stream_comes_byte_by_byte():
    assert await read(server_on([WIRE[at : at + 1] for at in range(len(WIRE))])) == (PLAIN, None)


async def test_a_flipped_bit_anywhere_ends_the_connection_and_lets_no_false_byte_through():
    for place in range(8 * len(WIRE)):
        damaged = bytearray(WIRE)
        damaged[place // 8] ^= 1 << place % 8
        good = max(end for end in ENDS if end <= place // 8)
        stream = server_on([bytes(damaged)])
        text, error = await read(stream)
        assert text == PLAIN[: ENDS[good]]
        assert error, place
        assert stream.transport.is_closed
        assert (who(stream) or NOBODY) == (VERIFIER.account if good else NOBODY)
        for use in (stream.receive_some, lambda stream=stream: stream.send_all(b"more")):
            with pytest.raises(trio.BrokenResourceError):
                await use()
        assert not stream.transport.sent, "nothing is told to who broke it"


async def test_an_end_anywhere_but_between_records_is_an_error():
    for size in range(len(WIRE) + 1):
        text, error = await read(server_on([WIRE[:size]]))
        assert text == PLAIN[: ENDS[max(end for end in ENDS if end <= size)]]
        assert (error is None) == (size in ENDS), size


async def test_records_that_are_played_back_to_their_sender_do_not_open():
    client = AltsStream(Pieces([WIRE]), AT_CLIENT)
    text, error = await read(client)
    assert (text, error) == (b"", "record 0 does not authenticate")


async def test_records_that_come_twice_or_not_at_all_end_the_connection():
    for wire in (WIRE[:27] * 2, WIRE[:27] + WIRE[58:]):
        text, error = await read(server_on([wire]))
        assert (text, error) == (b"one", "record 1 does not authenticate")


async def test_the_records_of_another_connection_do_not_open():
    _, other = sessions()
    text, error = await read(AltsStream(Pieces([WIRE]), other))
    assert (text, error) == (b"", "record 0 does not authenticate")


@given(st.binary(min_size=1, max_size=200))
async def test_bytes_at_random_are_never_text(junk):
    text, error = await read(server_on([junk]))
    assert text == b""
    assert error


async def test_a_first_record_that_is_late_ends_the_connection(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    stream = AltsStream(theirs, AT_SERVER, confirm_by=trio.current_time() + 10)
    await ours.send_all(WIRE[:20])
    before = trio.current_time()
    with pytest.raises(trio.BrokenResourceError, match="in time"):
        await stream.receive_some()
    assert trio.current_time() - before == pytest.approx(10)
    assert who(stream) is None
    assert await ours.receive_some() == b"", "it was closed"


async def test_a_slow_peer_is_waited_for_once_it_has_proven_to_be_there(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    stream = AltsStream(theirs, AT_SERVER, confirm_by=trio.current_time() + 10)
    await ours.send_all(WIRE[:27])
    assert await stream.receive_some() == b"one"
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def later():
            await trio.sleep(1000)
            await ours.send_all(WIRE[27:58])

        assert await stream.receive_some() == b"and two"


async def test_a_client_that_hears_nothing_but_the_end_may_have_been_refused():
    with pytest.raises(trio.BrokenResourceError, match="refused"):
        await AltsStream(Pieces([]), AT_CLIENT).confirm()


async def test_the_record_that_confirms_is_not_lost():
    stream = server_on([WIRE])
    await stream.confirm()
    assert who(stream) == VERIFIER.account
    assert await read(stream) == (PLAIN, None)


async def test_a_receive_that_is_cancelled_loses_nothing():
    ours, theirs = trio.testing.memory_stream_pair()
    stream = AltsStream(theirs, AT_SERVER)
    text = b""
    for at in range(len(WIRE)):
        await ours.send_all(WIRE[at : at + 1])
        with trio.CancelScope() as scope:
            while True:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def stop(scope=scope):
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()

                    text += await stream.receive_some()
                    nursery.cancel_scope.cancel()
    await ours.aclose()
    assert text + (await read(stream))[0] == PLAIN


async def test_after_a_send_that_was_cancelled_nothing_more_is_sent():
    class Stuck(Pieces):
        async def send_all(self, data):
            await trio.sleep_forever()

    stream = AltsStream(Stuck([]), AT_CLIENT)
    with trio.move_on_after(0.01):
        await stream.send_all(b"half of it may have left")
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"more")
