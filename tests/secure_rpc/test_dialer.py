"""The dialer: whom it takes for whom it called, how often it tries, and what it leaves behind."""

from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing
from attrs import define, field, frozen

from lep6.errors import ChainUnavailable, HandshakeFailed, HandshakeFailure, InvalidAddress, RpcError
from lep6.secure_rpc import Credentials, PeerType
from lep6.secure_rpc.dialer import PAUSES
from secure_rpc.parties import (
    HEALER,
    OTHER,
    STRANGER,
    UNKNOWN,
    VERIFIER,
    Chain,
    a_dialer,
    a_door,
    a_street,
    all_of,
    answered,
    at,
    caller_over,
    message_of,
    refused,
    who,
)

LOOPBACK = "127.0.0.1"
CLOSED, BROKEN = HandshakeFailure.CLOSED, HandshakeFailure.BROKEN


async def honest(transport, credentials=HEALER):
    """A server that speaks first, and reads until its client goes."""
    stream = await answered(transport, credentials)
    if stream is not None:
        await stream.send_all(b"hello")
        await all_of(transport)


async def closing(transport):
    """Refuses as a Go server does that does not even answer."""
    await transport.receive_some()
    await transport.aclose()


async def refusing(transport):
    """Answers, and then refuses: so does a Go server."""
    await answered(transport, HEALER)
    await transport.aclose()


async def confused(transport):
    """As a Go server is by two handshakes at once: its first record is of another key."""
    await answered(transport, HEALER)
    await transport.send_all(b"\x19\0\0\0\6\0\0\0" + bytes(21))
    await all_of(transport)


async def silent(transport):
    await all_of(transport)


async def without_a_record(transport):
    await answered(transport, HEALER)
    await all_of(transport)


def saying(message):
    async def say(transport):
        await transport.send_all(message)
        await all_of(transport)

    return say


async def echoing(transport):
    while data := await transport.receive_some():
        await transport.send_all(data)


@define
class InTurn:
    """A server that does one of these with each connection, and the last with all that follow."""

    doings: list
    done: list = field(factory=list)

    async def __call__(self, transport):
        self.done.append(trio.current_time())
        await self.doings[min(len(self.done), len(self.doings)) - 1](transport)


async def test_who_was_called_is_who_is_there(autojump_clock):
    async with a_street(healer=honest) as street:
        stream = await a_dialer(street).dial(at(HEALER))
        assert who(stream) == HEALER.account
        assert await stream.receive_some() == b"hello"
        assert len(street.dialled) == 1


async def test_another_account_at_the_address_is_not_taken_for_it(autojump_clock):
    async with a_street(healer=partial(honest, credentials=OTHER)) as street:
        with refused(HandshakeFailure.UNEXPECTED):
            await a_dialer(street).dial(at(HEALER))
        assert len(street.dialled) == 1
        assert await street.are_closed()


@pytest.mark.parametrize(
    ("registered", "place"),
    [
        ("10.1.2.3", ("10.1.2.3", 4711)),
        ("10.1.2.3:5555", ("10.1.2.3", 5555)),
        ("https://node.example.org:5555/x", ("node.example.org", 5555)),
        ("node.example.org:0", ("node.example.org", 4711)),
    ],
)
async def test_a_supernode_is_dialled_where_the_chain_has_it(autojump_clock, registered, place):
    chain = Chain({HEALER.account: registered})
    async with a_street(**{place[0]: a_door(chain=Chain())}) as street:
        dialer = a_dialer(street, chain=chain)
        dialer.port = 4711
        async with dialer.channel(HEALER.account) as channel:
            assert await caller_over(channel) == VERIFIER.account
            assert channel.authority == f"{place[0]}:{place[1]}"
        assert [tuple(dialled[:2]) for dialled in street.dialled] == [place]
        assert await street.are_closed()
    assert chain.asked == [HEALER.account], "one query tells where it is and that it is one"


@pytest.mark.parametrize(
    ("chain", "error", "seconds"),
    [
        (Chain({}), HandshakeFailed, 0),
        (Chain({HEALER.account: ""}), InvalidAddress, 0),
        (Chain({HEALER.account: "no host at all"}), InvalidAddress, 0),
        (Chain(is_away=True), ChainUnavailable, 0),
        (Chain(answers_after=1e6), ChainUnavailable, 5),
    ],
)
async def test_a_supernode_that_the_chain_does_not_place_is_not_dialled(autojump_clock, chain, error, seconds):
    async with a_street() as street:
        before = trio.current_time()
        with pytest.raises(error):
            async with a_dialer(street, chain=chain).channel(HEALER.account):
                pass
        assert trio.current_time() - before == pytest.approx(seconds)
        assert street.dialled == []


@pytest.mark.parametrize(
    ("first", "why"), [(closing, CLOSED), (refusing, BROKEN), (confused, BROKEN)], ids=["closed", "refused", "confused"]
)
async def test_a_handshake_that_was_disturbed_is_made_once_more_after_a_short_pause(autojump_clock, first, why):
    server = InTurn([first, honest])
    async with a_street(healer=server) as street:
        stream = await a_dialer(street).dial(at(HEALER))
        assert who(stream) == HEALER.account
        assert PAUSES[0] <= server.done[1] - server.done[0] <= PAUSES[1]
        street.transports.pop()
        assert await street.are_closed()
    always = InTurn([first])
    async with a_street(healer=always) as street:
        with refused(why):
            await a_dialer(street).dial(at(HEALER))
        assert len(street.dialled) == 2
        assert await street.are_closed()


async def test_pauses_are_not_all_the_same(autojump_clock):
    server = InTurn([closing])
    async with a_street(healer=server) as street:
        dialer = a_dialer(street)
        for _ in range(5):
            with refused(CLOSED):
                await dialer.dial(at(HEALER))
    pauses = [later - earlier for earlier, later in zip(server.done[::2], server.done[1::2], strict=True)]
    assert len({round(pause, 6) for pause in pauses}) == 5


SAID = {
    HandshakeFailure.MALFORMED: message_of(HEALER, curve="P521"),
    HandshakeFailure.FOREIGN_KEY: message_of(OTHER, address=HEALER.account),
    HandshakeFailure.FORGED: message_of(HEALER)[:-65] + bytes(65),
    HandshakeFailure.UNEXPECTED: message_of(OTHER),
    HandshakeFailure.NOT_A_SUPERNODE: message_of(Credentials(HEALER.key, PeerType.SIMPLENODE)),
}


@pytest.mark.parametrize("why", SAID, ids=lambda why: why.name)
async def test_what_is_no_accident_is_not_tried_again(autojump_clock, why):
    async with a_street(healer=saying(SAID[why])) as street:
        before = trio.current_time()
        with refused(why):
            await a_dialer(street).dial(at(HEALER))
        assert trio.current_time() == before
        assert len(street.dialled) == 1
        assert await street.are_closed()


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        (Chain({}), HandshakeFailure.UNREGISTERED),
        (Chain(is_away=True), HandshakeFailure.UNCHECKED),
        (Chain(answers_after=1e6), HandshakeFailure.UNCHECKED),
    ],
)
async def test_a_server_that_the_chain_does_not_vouch_for_is_left(autojump_clock, chain, why):
    async with a_street(healer=honest) as street:
        with refused(why):
            await a_dialer(street, chain=chain).dial(at(HEALER))
        assert len(street.dialled) == 1
        assert await street.are_closed()


async def test_a_server_that_plays_back_what_it_is_sent_is_refused(autojump_clock):
    async with a_street(healer=echoing) as street:
        with refused(HandshakeFailure.UNEXPECTED):
            await a_dialer(street).dial(at(HEALER))
        with refused(HandshakeFailure.REPLAYED):
            await a_dialer(street, HEALER).dial(at(HEALER))
        assert len(street.dialled) == 2
        assert await street.are_closed()


async def test_a_server_that_uses_a_key_twice_is_refused(autojump_clock):
    async with a_street(healer=saying(message_of(HEALER))) as street:
        dialer = a_dialer(street)
        with pytest.raises(trio.TooSlowError):
            await dialer.dial(at(HEALER))
        with refused(HandshakeFailure.REPLAYED):
            await dialer.dial(at(HEALER))
        assert await street.are_closed()


@pytest.mark.parametrize("server", [silent, without_a_record], ids=["silent", "no record"])
async def test_a_server_has_twenty_seconds(autojump_clock, server):
    async with a_street(healer=server) as street:
        before = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await a_dialer(street).dial(at(HEALER))
        assert trio.current_time() - before == pytest.approx(20)
        assert len(street.dialled) == 1
        assert await street.are_closed()


async def test_a_connection_that_is_not_made_in_time_is_given_up(autojump_clock):
    async def never(host, port):
        await trio.sleep_forever()

    dialer = a_dialer(None)
    dialer.connect = never
    before = trio.current_time()
    with pytest.raises(trio.TooSlowError):
        await dialer.dial(at(HEALER))
    assert trio.current_time() - before == pytest.approx(20)


async def test_a_connection_that_cannot_be_made_is_not_tried_again(autojump_clock):
    tried = []

    async def away(host, port):
        await trio.lowlevel.checkpoint()
        tried.append(port)
        raise ConnectionRefusedError

    dialer = a_dialer(None)
    dialer.connect = away
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            await dialer.dial(at(HEALER))
    assert len(tried) == 2


async def test_a_port_that_nobody_listens_on_is_an_error_of_the_system():
    listener = (await trio.open_tcp_listeners(0, host=LOOPBACK))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(OSError, match=str(port)):
        await a_dialer(None).dial(at(HEALER, LOOPBACK, port))


@frozen
class Slow:
    """A server that takes its time before it answers, and notes when it began and was done."""

    credentials: Credentials
    spans: list

    async def __call__(self, transport):
        began = trio.current_time()
        hello = await transport.receive_some()
        await trio.sleep(1)
        stream = await answered(Rest(transport, hello), self.credentials)
        await stream.send_all(b"hello")
        self.spans.append((began, trio.current_time()))
        await all_of(transport)


class Rest:
    """A transport of which something was read already."""

    def __init__(self, inner, hello):
        self.inner, self.hello = inner, hello
        self.send_all = inner.send_all

    async def receive_some(self, max_bytes=None):
        hello, self.hello = self.hello, b""
        return hello or await self.inner.receive_some(max_bytes)


async def test_there_are_never_two_handshakes_with_one_account(autojump_clock):
    spans = []
    async with a_street(healer=Slow(HEALER, spans), too=Slow(HEALER, spans)) as street:
        dialer = a_dialer(street)
        async with trio.open_nursery() as nursery:
            for host in ("healer", "too", "healer", "too"):
                nursery.start_soon(dialer.dial, at(HEALER, host))
    spans.sort()
    assert len(spans) == 4
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))


async def test_handshakes_with_different_accounts_go_on_at_once(autojump_clock):
    parties, spans = [HEALER, STRANGER, OTHER], []
    async with a_street(**{f"node{number}": Slow(party, spans) for number, party in enumerate(parties)}) as street:
        dialer = a_dialer(street)
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, party in enumerate(parties):
                nursery.start_soon(dialer.dial, at(party, f"node{number}"))
        assert trio.current_time() - before == pytest.approx(1)


async def test_a_turn_is_kept_over_the_pause(autojump_clock):
    """Or the second dial would disturb the first again."""
    server, order = InTurn([closing, honest]), []

    async def dial(name, dialer):
        await dialer.dial(at(HEALER))
        order.append(name)

    async with a_street(healer=server) as street:
        dialer = a_dialer(street)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial, "first", dialer)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(dial, "second", dialer)
    assert order == ["first", "second"]
    assert server.done[2] >= server.done[1]


@pytest.mark.parametrize("server", [silent, without_a_record, closing], ids=["waiting", "unconfirmed", "pausing"])
async def test_a_dial_that_is_cancelled_closes_its_transport_and_frees_its_turn(autojump_clock, server):
    async with a_street(healer=InTurn([server, honest])) as street:
        dialer = a_dialer(street)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel():
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()

                await dialer.dial(at(HEALER))
        assert scope.cancelled_caught
        assert await street.are_closed()
        assert who(await dialer.dial(at(HEALER))) == HEALER.account
        assert len(street.dialled) == 2


@pytest.mark.parametrize("server", [saying(message_of(OTHER)), closing, silent], ids=["refused", "closed", "silent"])
async def test_a_dial_that_failed_frees_its_turn_and_nothing_of_it_is_kept(autojump_clock, server):
    async with a_street(healer=server) as street:
        dialer = a_dialer(street)
        with pytest.raises((HandshakeFailed, trio.TooSlowError)):
            await dialer.dial(at(HEALER))
        street.doors["healer"] = honest
        assert who(await dialer.dial(at(HEALER))) == HEALER.account
        assert not dialer._turns


async def test_who_waits_for_a_turn_may_give_up(autojump_clock):
    async with a_street(healer=silent) as street:
        dialer = a_dialer(street)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def first():
                with pytest.raises(trio.TooSlowError):
                    await dialer.dial(at(HEALER))

            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await dialer.dial(at(HEALER))
            assert scope.cancelled_caught
        assert len(street.dialled) == 1
        assert not dialer._turns


async def test_a_server_that_does_not_speak_http_is_left(autojump_clock):
    async with a_street(**{LOOPBACK: honest}) as street:
        with pytest.raises(RpcError):
            async with a_dialer(street).channel(HEALER.account):
                pass
        assert await street.are_closed()


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
async def test_a_channel_closes_its_connection_however_its_block_is_left(autojump_clock, error):
    door = a_door()
    async with a_street(**{LOOPBACK: door}) as street:
        try:
            async with a_dialer(street).channel(HEALER.account) as channel:
                assert await caller_over(channel) == VERIFIER.account
                if error is not None:
                    raise error
        except ZeroDivisionError:
            pass
        assert await street.are_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert not door.connections._taken


async def test_a_peer_that_is_refused_at_the_door_is_told_so_by_the_close_alone(autojump_clock):
    door = a_door()
    async with a_street(**{LOOPBACK: door}) as street:
        with refused(CLOSED):
            await a_dialer(street, UNKNOWN).dial(at(HEALER, LOOPBACK))
    assert door.refused == {HandshakeFailure.UNREGISTERED: 2}


@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True), (False, False)])
async def test_larger_frames_are_used_between_two_of_ours_only(autojump_clock, ours, theirs):
    async with a_street(**{LOOPBACK: a_door(as_ours=theirs)}) as street:
        dialer = a_dialer(street)
        dialer.as_ours = ours
        async with dialer.channel(HEALER.account) as channel:
            assert channel.connection.limits.max_frame == (128 << 10 if theirs else 16 << 10)
            assert await caller_over(channel) == VERIFIER.account


async def test_the_next_dial_does_not_overlap_one_that_was_given_up(autojump_clock):
    """A Go server that is asking its chain does not see that we have gone (contract 3.5)."""
    alive, most = 0, 0

    async def go_like(transport):
        nonlocal alive, most
        alive, most = alive + 1, max(most, alive + 1)
        stream = await answered(transport, HEALER)
        await trio.sleep(2)
        alive -= 1
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"hello")
            await all_of(transport)

    async with a_street(healer=go_like) as street:
        dialer = a_dialer(street)
        with trio.move_on_after(1):
            await dialer.dial(at(HEALER))
        await dialer.dial(at(HEALER))
    assert most == 1
    assert 5 < trio.current_time() < 10
