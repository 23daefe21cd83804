"""The door: who gets in, who is refused and how, and what it costs meanwhile."""

import socket
import struct
from contextlib import AsyncExitStack, suppress
from functools import partial

import pytest
import trio
import trio.testing
from attrs import define, evolve
from grpclib.const import Status
from h2.errors import ErrorCodes
from structlog.testing import capture_logs

from artefact_stream.ends import Reply, Scripted, hang, request
from lep6.artefact_stream.client import PATH
from lep6.devnet.network import node_key
from lep6.errors import HandshakeFailure, RpcError, RpcRefused, RpcUnsent
from lep6.grpc import open_channel
from lep6.grpc.goaway import goaway_frame
from lep6.secure_rpc import Credentials, PeerType, SeenKeys
from lep6.secure_rpc.places import Lobby, Places
from lep6.secure_rpc.stream import OUR_LIMITS
from secure_rpc.parties import (
    HEALER,
    OTHER,
    PARTIES,
    STRANGER,
    UNKNOWN,
    VERIFIER,
    Chain,
    a_dialer,
    a_door,
    a_street,
    all_of,
    caller_over,
    message_of,
    shaken,
    until,
)

PATIENCE = 12
"""Seconds that a Go client waits."""


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


async def connected_from(source, port):
    ours = trio.socket.socket()
    await ours.bind((source, 0))
    await ours.connect(("127.0.0.1", port))
    return trio.SocketStream(ours)


async def is_empty(door):
    await trio.testing.wait_all_tasks_blocked()
    return not (door.lobby._waiting or door.slots._taken or door.connections._taken)


async def closed_after(transport):
    """What still came, and how long it took until the other side closed."""
    before = trio.current_time()
    return await all_of(transport), round(trio.current_time() - before, 2)


async def asks(street, credentials=VERIFIER, host="healer"):
    """As whom a service behind the door sees this caller."""
    stream = await shaken(await street.connect(host), credentials)
    async with open_channel(stream, limits=stream.limits) as channel:
        return await caller_over(channel)


async def test_who_calls_reaches_a_service_from_the_handshake_alone():
    door = a_door()
    async with a_street(healer=door) as street:
        for credentials in (VERIFIER, STRANGER):
            assert await asks(street, credentials) == credentials.account
        await trio.testing.wait_all_tasks_blocked()
        assert await is_empty(door)
    assert not door.refused


async def test_a_plain_account_is_let_in_as_one_where_the_chain_has_it():
    plain = Credentials(UNKNOWN.key, PeerType.SIMPLENODE)
    async with a_street(healer=a_door(chain=Chain(accounts={UNKNOWN.account}))) as street:
        assert await asks(street, plain) == UNKNOWN.account


async def test_a_probe_of_the_port_is_no_refusal(autojump_clock):
    door = a_door()
    async with a_street(healer=door) as street:
        for _ in range(3):
            probe = await street.connect("healer")
            await probe.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await is_empty(door)
    assert not door.refused


async def test_a_probe_that_resets_its_connection_is_no_refusal_either():
    door = a_door()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with door.serving(listeners, drain_seconds=0):
        for _ in range(3):
            probe = await trio.open_tcp_stream("127.0.0.1", port)
            await trio.sleep(0.01)
            probe.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await probe.aclose()
        half = await trio.open_tcp_stream("127.0.0.1", port)
        await half.send_all(message_of(VERIFIER)[:50])
        await trio.sleep(0.01)
        half.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await half.aclose()
        await until(door.refused.total)
        assert await is_empty(door)
    assert door.refused == {HandshakeFailure.CLOSED: 1}


async def test_who_says_nothing_is_let_go_after_five_seconds(autojump_clock):
    door = a_door()
    async with a_street(healer=door) as street:
        assert await closed_after(await street.connect("healer")) == (b"", 5)
        assert await is_empty(door)
    assert door.refused == {HandshakeFailure.SILENT: 1}


async def test_who_says_it_byte_by_byte_has_no_more_time(autojump_clock):
    door = a_door()
    async with a_street(healer=door) as street:
        transport, hello = await street.connect("healer"), message_of(VERIFIER)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def drip():
                for byte in hello[:-1]:
                    await transport.send_all(bytes([byte]))
                    await trio.sleep(0.1)

            assert await closed_after(transport) == (b"", 5)
            nursery.cancel_scope.cancel()
    assert door.refused == {HandshakeFailure.SILENT: 1}


@pytest.mark.parametrize("size", [1, 4, 100, -1])
async def test_who_goes_in_the_middle_of_a_message_is_refused(autojump_clock, size):
    door = a_door()
    async with a_street(healer=door) as street:
        transport = await street.connect("healer")
        await transport.send_all(message_of(VERIFIER)[:size])
        await transport.send_stream.aclose()
        assert await all_of(transport) == b""
    assert door.refused == {HandshakeFailure.CLOSED: 1}


async def test_a_message_in_pieces_is_taken_and_what_is_behind_it_too(autojump_clock):
    async with a_street(healer=a_door()) as street:
        transport = await street.connect("healer")
        cut_up = Sliced(transport, 7)
        stream = await shaken(cut_up, VERIFIER)
        async with open_channel(stream) as channel:
            assert await caller_over(channel) == VERIFIER.account


class Sliced(trio.abc.SendStream, trio.abc.ReceiveStream):
    """A transport that sends in slices."""

    def __init__(self, inner, size):
        self.inner, self.size = inner, size

    async def send_all(self, data):
        for start in range(0, len(data), self.size):
            await self.inner.send_all(data[start : start + self.size])
            await trio.testing.wait_all_tasks_blocked()

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        return await self.inner.receive_some(self.size)

    async def aclose(self):
        await self.inner.aclose()


REFUSED = {
    HandshakeFailure.MALFORMED: (
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\0\0\0\1a\xff\xff\xff\xff",
        message_of(VERIFIER, peer_type=0),
        message_of(VERIFIER, curve="P384"),
        message_of(VERIFIER, public_key=b"\2" * 33),
        message_of(VERIFIER, account_public_key=b""),
    ),
    HandshakeFailure.FOREIGN_KEY: (message_of(STRANGER, address=VERIFIER.account), message_of(VERIFIER, address="")),
    HandshakeFailure.FORGED: (
        message_of(VERIFIER)[:-65] + bytes(65),
        message_of(VERIFIER)[:-65] + message_of(VERIFIER)[-65:],
    ),
    HandshakeFailure.UNREGISTERED: (message_of(UNKNOWN), message_of(Credentials(UNKNOWN.key, PeerType.SIMPLENODE))),
}


@pytest.mark.parametrize(
    ("why", "message"),
    [(why, message) for why, messages in REFUSED.items() for message in messages],
    ids=[f"{why.name}-{number}" for why, messages in REFUSED.items() for number in range(len(messages))],
)
async def test_who_is_refused_is_not_answered_with_a_single_byte(autojump_clock, why, message):
    door = a_door()
    async with a_street(healer=door) as street:
        transport = await street.connect("healer")
        await transport.send_all(message)
        assert await closed_after(transport) == (b"", 0)
        assert door.refused == {why: 1}
        assert await is_empty(door)
        assert await asks(street) == VERIFIER.account
    assert door.refused == {why: 1}


async def test_a_message_that_came_before_is_refused(autojump_clock):
    door, hello = a_door(), message_of(VERIFIER)
    async with a_street(healer=door) as street:
        first, second = await street.connect("healer"), await street.connect("healer")
        await first.send_all(hello)
        assert await first.receive_some()
        await second.send_all(hello)
        assert await closed_after(second) == (b"", 0)
    assert door.refused == {HandshakeFailure.REPLAYED: 1}


async def test_who_breaks_off_at_the_last_moment_is_not_waited_for(autojump_clock):
    """While the chain is asked, or before the answer can be sent."""
    door = a_door(chain=Chain(answers_after=1))
    async with a_street(healer=door) as street:
        transport = await street.connect("healer")
        await transport.send_all(message_of(VERIFIER))
        await transport.aclose()
        await trio.sleep(2)
        assert await is_empty(door)
    assert door.refused == {HandshakeFailure.CLOSED: 1}


@pytest.mark.parametrize("chain", [Chain(is_away=True), Chain(answers_after=1e6)], ids=["away", "hanging"])
async def test_a_chain_without_an_answer_lets_nobody_in_and_nobody_wait(autojump_clock, chain):
    door = a_door(chain=evolve(chain))
    async with a_street(healer=door) as street:
        transport = await street.connect("healer")
        await transport.send_all(message_of(VERIFIER))
        assert await closed_after(transport) == (b"", 0 if chain.is_away else 5)
        assert await is_empty(door)
    assert door.refused == {HandshakeFailure.UNCHECKED: 1}


async def test_whoever_waits_behind_a_hanging_chain_is_let_go_well_before_a_client_gives_up(autojump_clock):
    door = a_door(chain=Chain(answers_after=1e6), slots=Places(in_all=1, from_one=1))
    took = []

    async def knock(street, credentials):
        transport = await street.connect("healer")
        await transport.send_all(message_of(credentials))
        data, seconds = await closed_after(transport)
        assert data == b""
        took.append(seconds)

    async with a_street(healer=door) as street:
        async with trio.open_nursery() as nursery:
            for credentials in PARTIES[1:6]:
                nursery.start_soon(knock, street, credentials)
        assert max(took) == 10 < PATIENCE - 1
        assert await is_empty(door)
    assert door.refused.total() == 5
    assert door.refused[HandshakeFailure.LATE] >= 3


async def test_a_slow_chain_that_answers_in_time_is_waited_for(autojump_clock):
    async with a_street(healer=a_door(chain=Chain(answers_after=4.9))) as street:
        assert await asks(street) == VERIFIER.account
        assert trio.current_time() - street.dialled[0][2] == pytest.approx(4.9)


async def test_half_a_message_takes_no_handshake_slot(autojump_clock):
    door = a_door(slots=Places(in_all=1, from_one=1))
    async with a_street(healer=door) as street:
        for number in range(30):
            waiting = await street.connect("healer")
            await waiting.send_all(message_of(VERIFIER)[: 9 * number])
        before = trio.current_time()
        assert await asks(street) == VERIFIER.account
        assert trio.current_time() == before


async def test_a_slot_is_free_again_with_the_answer(autojump_clock):
    """Who has it and never says a word more keeps a connection, but no slot."""
    door = a_door(slots=Places(in_all=1, from_one=1))
    async with a_street(healer=door) as street:
        for credentials in (STRANGER, *PARTIES[3:]):
            await shaken(await street.connect("healer"), credentials)
        before = trio.current_time()
        assert await asks(street) == VERIFIER.account
        assert trio.current_time() == before
        await trio.sleep(11)
        assert await is_empty(door)


async def test_who_is_answered_and_sends_no_record_is_let_go_after_ten_seconds(autojump_clock):
    door = a_door()
    async with a_street(healer=door) as street:
        stream = await shaken(await street.connect("healer"), VERIFIER)
        _, seconds = await closed_after(stream.transport)
        assert seconds == 10
        assert await is_empty(door)
    assert door.refused == {HandshakeFailure.BROKEN: 1}


async def test_of_many_who_are_refused_all_are_counted_and_one_a_second_is_told(autojump_clock):
    door = a_door()
    with capture_logs() as logs:
        async with a_street(healer=door) as street:
            for pause in (0.0, 0.0, 1.0, 0.0):
                await trio.sleep(pause)
                for _ in range(50):
                    transport = await street.connect("healer")
                    await transport.send_all(b"\xff" * 8)
                    assert await all_of(transport) == b""
    assert door.refused == {HandshakeFailure.MALFORMED: 200}
    told = [event["so_far"] for event in logs if event["event"] == "peer_refused"]
    assert told == [1, 101]


async def test_a_crowd_pushes_out_its_own_who_have_waited_longest(autojump_clock):
    door = a_door(lobby=Lobby(in_all=3, from_one=3))
    async with a_street(healer=door) as street:
        silent = [await street.connect("healer") for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        assert door.refused == {HandshakeFailure.CROWDED: 2}
        for transport in silent[:2]:
            assert await closed_after(transport) == (b"", 0)
        assert await asks(street) == VERIFIER.account
        assert door.refused == {HandshakeFailure.CROWDED: 3}
        for transport in silent[3:]:
            assert await closed_after(transport) in [(b"", 5), (b"", 0)]
        assert await is_empty(door)


async def test_connections_are_bounded(autojump_clock):
    door = a_door(connections=Places(in_all=10, from_one=2))
    async with a_street(healer=door) as street:
        async with (
            open_channel(await shaken(await street.connect("healer"), VERIFIER)) as first,
            open_channel(await shaken(await street.connect("healer"), STRANGER)) as second,
        ):
            with pytest.raises(RpcUnsent):
                await asks(street, PARTIES[4])
            assert door.refused == {HandshakeFailure.CROWDED: 1}
            assert await caller_over(first) == VERIFIER.account
            assert await caller_over(second) == STRANGER.account
        await trio.testing.wait_all_tasks_blocked()
        assert await asks(street, PARTIES[4]) == PARTIES[4].account
        await trio.testing.wait_all_tasks_blocked()
        assert await is_empty(door)


async def test_a_connection_that_is_cancelled_leaves_nothing_behind(autojump_clock):
    """Whatever it was at."""
    hello, chain = message_of(VERIFIER), Chain(answers_after=3)
    door = a_door(chain=chain, slots=Places(in_all=1, from_one=1))
    async with a_street(healer=door) as street:
        for data in (b"", hello[:20], hello, message_of(STRANGER)):
            transport = await street.connect("healer")
            await transport.send_all(data)
        await trio.testing.wait_all_tasks_blocked()
        assert not await is_empty(door)
    assert await is_empty(door)
    assert not door.refused
    assert not door.registry._questions._asking
    for transport in street.transports:
        assert await all_of(transport) == b""


async def test_a_shutdown_leaves_no_task_no_place_and_no_open_connection():
    chain = Chain()
    door = a_door(chain=chain)
    before = trio.lowlevel.current_statistics().tasks_living
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    connect = partial(trio.open_tcp_stream, "127.0.0.1", listeners[0].socket.getsockname()[1])
    async with door.serving(listeners, drain_seconds=0.05):
        silent, half, asked = await connect(), await connect(), await connect()
        await half.send_all(message_of(VERIFIER)[:99])
        served = await shaken(await connect(), VERIFIER)
        await served.confirm()
        chain.answers_after = 1000
        await asked.send_all(message_of(STRANGER))
        await until(lambda: chain.asked[-1] == STRANGER.account)
        await until(lambda: door.lobby._waiting and sum(map(len, door.lobby._waiting.values())) == 2)
    assert await is_empty(door)
    assert trio.lowlevel.current_statistics().tasks_living == before
    for transport in (silent, half, asked, served.transport):
        with trio.fail_after(5):
            await all_of(transport)
        await transport.aclose()
    with pytest.raises(OSError, match=r"(?i)connect|refused"):
        await connect()


async def test_a_call_that_is_open_at_shutdown_may_end():
    began, go_on = trio.Event(), trio.Event()

    async def slowly(asked):
        began.set()
        await go_on.wait()
        await asked.send_message(Reply(b"done", 0, is_last=True))

    door = a_door(HEALER, None, Scripted(slowly))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery, door.serving(listeners, drain_seconds=5):
        transport = await trio.open_tcp_stream("127.0.0.1", port)

        @nursery.start_soon
        async def call():
            async with open_channel(await shaken(transport, VERIFIER)) as channel:
                assert await caller_over(channel) == "done"

        await began.wait()
        go_on.set()
    assert await is_empty(door)


async def test_one_connection_that_goes_wrong_ends_no_other(autojump_clock):
    async with a_street(healer=a_door()) as street:
        stream = await shaken(await street.connect("healer"), VERIFIER)
        async with open_channel(stream) as channel:
            assert await caller_over(channel) == VERIFIER.account
            bad = await shaken(await street.connect("healer"), STRANGER)
            await bad.transport.send_all(b"no record of this connection")
            await all_of(bad.transport)
            assert await caller_over(channel) == VERIFIER.account


async def test_a_record_that_is_damaged_on_its_way_ends_the_call():
    async with a_street(healer=a_door()) as street:
        stream = await shaken(await street.connect("healer"), VERIFIER)
        async with open_channel(stream) as channel:
            assert await caller_over(channel) == VERIFIER.account
            await stream.transport.send_all(b"\x15\0\0\0\6\0\0\0" + bytes(17))
            with pytest.raises(RpcError):
                await caller_over(channel)


async def test_every_connection_has_a_key_of_its_own(autojump_clock):
    keys = set()
    async with a_street(healer=a_door()) as street:
        for _ in range(5):
            stream = await shaken(await street.connect("healer"), VERIFIER)
            keys.add((stream.session.key, stream.session.peer.ephemeral_bytes))
    assert len({key for key, _ in keys}) == len({point for _, point in keys}) == 5


async def test_one_that_reads_no_answer_holds_its_slot_no_longer_than_its_time(autojump_clock):
    """Its transport takes nothing."""
    door = a_door(slots=Places(in_all=1, from_one=1))
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with a_street() as street:
        street.nursery.start_soon(door.serve_stream, theirs)
        before = trio.current_time()
        await ours.send_all(message_of(VERIFIER))
        await trio.sleep(10.01)
        assert await is_empty(door)
        assert trio.current_time() - before < PATIENCE
    assert door.refused == {HandshakeFailure.LATE: 1}


async def test_the_server_speaks_first_and_at_once(autojump_clock):
    """A client that waits for its settings before it says a word is not kept waiting."""
    async with a_street(healer=a_door()) as street:
        before = trio.current_time()
        stream = await shaken(await street.connect("healer"), VERIFIER)
        await stream.confirm()
        assert trio.current_time() == before
        settings = await stream.receive_some()
        assert settings[3:5] == b"\4\0"


@define
class Stuck(Chain):
    """A chain that never answers about those whom it does not know."""

    async def supernode(self, account, /):
        if account not in self.supernodes:
            self.asked.append(account)
            await trio.sleep_forever()
        return await super().supernode(account)


async def test_an_address_that_fills_its_handshake_slots_leaves_those_of_others():
    chain = Stuck()
    door = a_door(chain=chain, slots=Places(in_all=4, from_one=2))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with door.serving(listeners, drain_seconds=0), AsyncExitStack() as stack:
        for number in range(6):
            stranger = Credentials(node_key(500 + number))
            there = await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2")
            await stack.enter_async_context(there)
            await there.send_all(message_of(stranger))
        await until(lambda: len(chain.asked) == 2)
        await trio.testing.wait_all_tasks_blocked()
        assert door.slots._taken == {"127.0.0.2": 2}
        with trio.fail_after(3):
            stream = await shaken(await trio.open_tcp_stream("127.0.0.1", port), VERIFIER)
            async with open_channel(stream) as channel:
                assert await caller_over(channel) == VERIFIER.account
        assert len(chain.asked) == 3


async def test_who_keeps_silent_elsewhere_pushes_nobody_out_here():
    door = a_door(lobby=Lobby(in_all=8, from_one=6))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    hello = message_of(VERIFIER)
    async with door.serving(listeners, drain_seconds=0), AsyncExitStack() as stack:
        slow = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        await slow.send_all(hello[:50])
        for _ in range(30):
            there = await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2")
            await stack.enter_async_context(there)
        await until(lambda: door.refused[HandshakeFailure.CROWDED] == 24)
        await slow.send_all(hello[50:])
        with trio.fail_after(3):
            assert await slow.receive_some()
    assert door.refused == {HandshakeFailure.CROWDED: 24}


async def test_a_bug_on_one_connection_ends_that_one(autojump_clock):
    class Odd(Chain):
        async def supernode(self, account, /):
            if self.is_away:
                raise AttributeError("a bug of a host's chain")
            return await super().supernode(account)

    odd = Odd(is_away=True)
    async with a_street(healer=a_door(HEALER, odd)) as street:
        stream = await street.connect("healer")
        with capture_logs() as logs:
            await stream.send_all(message_of(VERIFIER))
            assert await all_of(stream) == b""
        assert [event["event"] for event in logs] == ["connection_failed"]
        odd.is_away = False
        assert await asks(street) == VERIFIER.account


async def test_whole_messages_that_wait_for_a_slot_keep_their_place_in_the_lobby(autojump_clock):
    lobby, slots = Lobby(in_all=64, from_one=16), Places(in_all=8, from_one=4)
    door = a_door(HEALER, Chain(answers_after=4), lobby=lobby, slots=slots)
    async with a_street(healer=door) as street:
        for _ in range(300):
            transport = await street.connect("healer")
            await transport.send_all(message_of(UNKNOWN))  # any key that one makes up, signed by it
            await trio.testing.wait_all_tasks_blocked()
        open_ones = len(street.transports) - door.refused.total()
        assert open_ones == lobby.from_one + slots.from_one
        await trio.sleep(30)
        assert await is_empty(door)


async def test_one_account_has_few_connections_wherever_it_comes_from():
    door = a_door(connections=Places(in_all=16, from_one=4), accounts=Places(in_all=16, from_one=4))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with door.serving(listeners, drain_seconds=0), AsyncExitStack() as held:
        for number in range(16):
            stream = await shaken(await connected_from(f"127.0.0.{2 + number // 4}", port), OTHER)
            held.push_async_callback(trio.aclose_forcefully, stream)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"P")  # a good record, and no more
        await until(lambda: door.refused[HandshakeFailure.CROWDED] == 12)
        chain = Chain({HEALER.account: f"127.0.0.1:{port}"})
        async with a_dialer(None, VERIFIER, chain).channel(HEALER.account) as channel:
            assert await caller_over(channel) == VERIFIER.account


async def test_a_connection_without_a_call_is_ended_after_a_minute(autojump_clock):
    door = a_door()
    async with a_street(healer=door) as street:
        stream = await shaken(await street.connect("healer"), VERIFIER)
        await stream.send_all(PREFACE)
        _, seconds = await closed_after(stream.transport)
        assert seconds == 60
        assert await is_empty(door)


async def test_a_stranger_whom_the_chain_does_not_know_pushes_no_key_out_of_memory(autojump_clock):
    door = a_door(seen=SeenKeys(most=16))
    hello = message_of(VERIFIER)
    async with a_street(healer=door) as street:
        first = await street.connect("healer")
        await first.send_all(hello)
        assert await first.receive_some()
        await first.aclose()
        for _ in range(20):
            stranger = await street.connect("healer")
            await stranger.send_all(message_of(UNKNOWN))
            assert await all_of(stranger) == b""
        again = await street.connect("healer")
        await again.send_all(hello)
        assert await all_of(again) == b""
    assert door.refused[HandshakeFailure.UNREGISTERED] == 20
    assert door.refused[HandshakeFailure.REPLAYED] == 1


@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;owned\x07", "x" * 16_000, "x"])
async def test_the_words_of_a_peer_are_short_and_harmless_in_the_log(text, autojump_clock):
    with capture_logs() as logs:
        async with a_street(healer=a_door()) as street:
            stream = await shaken(await street.connect("healer"), VERIFIER)
            with suppress(trio.BrokenResourceError):  # the server may have closed in the middle of it
                await stream.send_all(PREFACE + goaway_frame(0, ErrorCodes.INTERNAL_ERROR, text) * 500)
            await all_of(stream.transport)
    told = [event["text"] for event in logs if event["event"] == "http2_goaway"]
    assert len(told) == 1
    assert told[0].isprintable()
    assert len(told[0]) <= 200


async def test_of_a_storm_of_bad_first_records_the_log_tells_few(autojump_clock):
    with capture_logs() as logs:
        async with a_street(healer=a_door()) as street:
            for _ in range(50):
                stream = await shaken(await street.connect("healer"), OTHER)
                await stream.transport.send_all(bytes(40))
                await all_of(stream.transport)
    assert len(logs) == 1


async def test_of_a_request_that_nobody_reads_little_is_held(autojump_clock):
    async with a_street(healer=a_door(HEALER, None, Scripted(hang))) as street:
        stream = await shaken(await street.connect("healer"), VERIFIER)
        async with open_channel(stream, limits=OUR_LIMITS) as channel:
            head = [(":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", "x")]
            grpc = [("content-type", "application/grpc"), ("te", "trailers")]
            call = await channel.connection.open_stream([*head, *grpc], end=False)
            await call.send_data(bytes(5))  # an empty request
            await call.send_data(bytes(1 << 20))
            await trio.sleep(1)
            with pytest.raises(RpcError):
                await call.send_data(bytes(1 << 20))


async def test_a_request_that_does_not_come_is_not_waited_for(autojump_clock):
    async with a_street(healer=a_door()) as street:
        stream = await shaken(await street.connect("healer"), VERIFIER)
        async with open_channel(stream) as channel, request(channel) as call:
            await call.send_request()
            with pytest.raises(RpcRefused) as refused:
                await call.recv_message()
    assert refused.value.status is Status.DEADLINE_EXCEEDED
    assert trio.current_time() == pytest.approx(60, abs=1)
