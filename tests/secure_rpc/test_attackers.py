"""Who tries to pass for another gets nothing; many who are honest at once get what is theirs."""

from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing
from attrs import define
from grpclib.const import Status

from artefact_stream.ends import ANY_SIZE, OP, Claimed, KnownOps, Reply, Scripted, ask_over, request, stage
from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.devnet.network import node_key
from lep6.errors import FetchFailed, HandshakeFailed, HandshakeFailure, RpcRefused
from lep6.grpc import Server, open_channel
from lep6.keys import PrivateKey
from lep6.model import HealOp, HealOpStatus, Ticket
from lep6.secure_rpc import Credentials, Dialer, Door, HandshakeIdentity, PeerRegistry, PeerType
from lep6.secure_rpc.message import LARGEST_MESSAGE
from lep6.wire import supernode as wire
from secure_rpc.parties import (
    HEALER,
    OTHER,
    STRANGER,
    UNKNOWN,
    VERIFIER,
    Chain,
    a_dialer,
    all_of,
    info_of,
    message_of,
    refused,
    shaken,
    signed,
    until,
    who,
)
from world import BLOCKING, noise

DATA = noise(20_000)
LOOPBACK = "127.0.0.1"


@define
class Site:
    """A healer on a port of this machine."""

    credentials: Credentials
    door: Door
    ops: KnownOps
    port: int

    async def connect(self):
        return await trio.open_tcp_stream(LOOPBACK, self.port)

    async def sent(self, *data):
        """All that comes to who sends this and waits until it is closed."""
        async with await self.connect() as transport:
            for part in data:
                with suppress(trio.BrokenResourceError):
                    await transport.send_all(part)
                # Each is answered, if at all, before the next.
                await trio.sleep(0.02)
            with trio.fail_after(5):
                return await all_of(transport)


@asynccontextmanager
async def listening(door):
    listeners = await trio.open_tcp_listeners(0, host=LOOPBACK)
    async with door.serving(listeners, drain_seconds=0.2):
        yield listeners[0].socket.getsockname()[1]


@asynccontextmanager
async def a_site(root: Path, chain, credentials=HEALER, op=OP, data=DATA):
    if not (root / str(op.op_id)).exists():
        stage(root, data, op)
    ops = KnownOps.of(op)
    service = ArtefactService(credentials.account, root, Claimed(root, ops), HandshakeIdentity(), BLOCKING)
    door = Door(Server([service]), credentials, PeerRegistry(chain))
    async with listening(door) as port:
        chain.supernodes[credentials.account] = f"{LOOPBACK}:{port}"
        yield Site(credentials, door, ops, port)


async def fetched(dialer, op=OP, claims=None):
    client = ArtefactClient(claims or dialer.credentials.account, dialer.channel)
    async with client.open(op, size_bound=ANY_SIZE) as chunks:
        return b"".join([chunk async for chunk in chunks])


class Tapped(trio.abc.Stream):
    """A transport that is listened to."""

    def __init__(self, inner):
        self.inner = inner
        self.sent, self.received = [], []

    async def send_all(self, data):
        self.sent.append(bytes(data))
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        data = await self.inner.receive_some(max_bytes)
        self.received.append(bytes(data))
        return data

    async def aclose(self):
        await self.inner.aclose()


async def overheard(chain):
    """What goes over the wire of a verifier that is served."""
    taps = []

    async def connect(host, port):
        taps.append(Tapped(await trio.open_tcp_stream(host, port)))
        return taps[-1]

    dialer = a_dialer(None, VERIFIER, chain)
    dialer.connect = connect
    assert await fetched(dialer) == DATA
    return taps[0]


async def test_a_verifier_of_the_op_is_served_and_nothing_of_it_can_be_read_on_the_way(tmp_path):
    chain = Chain()
    async with a_site(tmp_path, chain) as site:
        tap = await overheard(chain)
    wire = b"".join(tap.sent + tap.received)
    assert len(wire) > len(DATA)
    for secret in (DATA[:16], DATA[-16:], b"SelfHealing", b"PRI * HTTP"):
        assert secret not in wire
    assert not site.door.refused


async def test_a_message_that_was_overheard_opens_no_door_a_second_time(tmp_path):
    chain = Chain()
    async with a_site(tmp_path, chain) as site:
        tap = await overheard(chain)
        site.ops.asked.clear()
        assert await site.sent(tap.sent[0]) == b""
        assert await site.sent(*tap.sent) == b""
        assert site.ops.asked == []
        assert site.door.refused == {HandshakeFailure.REPLAYED: 2}


async def test_all_that_was_overheard_gets_nothing_from_a_node_that_has_forgotten_it(tmp_path):
    """A node that was started anew, or another: the message it must believe, the records it cannot open."""
    chain = Chain()
    async with a_site(tmp_path, chain):
        tap = await overheard(chain)
    async with a_site(tmp_path, chain) as site:
        answer = await site.sent(*tap.sent)
        assert len(answer) < LARGEST_MESSAGE, "its message and its settings, sealed"
        assert site.ops.asked == []
        assert site.door.refused == {HandshakeFailure.BROKEN: 1}


async def test_who_has_only_the_message_of_another_is_nobody_to_a_service(tmp_path):
    chain = Chain()
    async with a_site(tmp_path, chain):
        tap = await overheard(chain)
    async with a_site(tmp_path, chain) as site, await site.connect() as transport:
        await transport.send_all(tap.sent[0])
        await until(lambda: site.door.server._connections)
        (connection,) = site.door.server._connections
        assert connection.transport.session.peer.account == VERIFIER.account
        assert who(connection.transport) is None


def stolen_name():
    return message_of(STRANGER, address=VERIFIER.account)


def stolen_key():
    """All of the verifier's, but for the signature."""
    return signed(info_of(VERIFIER), STRANGER.key).to_bytes()


def stolen_signature():
    """The verifier's message, with an ephemeral key that its signature is not over."""
    return message_of(VERIFIER)[:-65] + message_of(VERIFIER)[-65:]


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (stolen_name, HandshakeFailure.FOREIGN_KEY),
        (stolen_key, HandshakeFailure.FORGED),
        (stolen_signature, HandshakeFailure.FORGED),
        (partial(message_of, UNKNOWN), HandshakeFailure.UNREGISTERED),
        (partial(message_of, UNKNOWN, peer_type=1), HandshakeFailure.UNREGISTERED),
        (partial(message_of, VERIFIER, peer_type=0), HandshakeFailure.MALFORMED),
    ],
)
async def test_who_claims_to_be_another_or_is_nobody_gets_not_a_byte(tmp_path, lie, why):
    chain = Chain()
    async with a_site(tmp_path, chain) as site:
        assert await site.sent(lie()) == b""
        assert site.ops.asked == []
        assert site.door.refused == {why: 1}
        assert await fetched(a_dialer(None, VERIFIER, chain)) == DATA


async def test_an_account_of_the_same_key_but_of_the_other_kind_is_another(tmp_path):
    kind = next(kind for kind in type(VERIFIER.key.kind) if kind is not VERIFIER.key.kind)
    chain = Chain()
    async with a_site(tmp_path, chain) as site:
        await site.sent(message_of(Credentials(PrivateKey(kind, VERIFIER.key._secret))))
        assert site.door.refused == {HandshakeFailure.UNREGISTERED: 1}


@pytest.mark.parametrize("name", [VERIFIER.account, HEALER.account, "", STRANGER.account])
async def test_a_name_in_a_request_counts_for_nothing(tmp_path, name):
    chain = Chain()
    async with a_site(tmp_path, chain) as site:
        for credentials, status in ((STRANGER, Status.PERMISSION_DENIED), (VERIFIER, Status.OK)):
            async with a_dialer(None, credentials, chain).channel(HEALER.account) as channel:
                answer = await ask_over(channel, OP.op_id, name)
            assert answer.status is status
            assert answer.data == (DATA if credentials is VERIFIER else b"")
            assert len(answer.messages) == (1 if credentials is VERIFIER else 0)
        assert not site.door.refused


async def test_a_name_in_the_metadata_counts_for_nothing(tmp_path):
    chain = Chain()
    lies = {"verifier": VERIFIER.account, "x-forwarded-for": VERIFIER.account, "authorization": VERIFIER.account}
    async with (
        a_site(tmp_path, chain),
        a_dialer(None, STRANGER, chain).channel(HEALER.account) as channel,
        request(channel, metadata=lies) as call,
    ):
        await call.send_message(wire.ServeReconstructedArtefactsRequest(OP.op_id, VERIFIER.account))
        with pytest.raises(RpcRefused, match="PERMISSION_DENIED"):
            await call.recv_message()


async def test_a_plain_account_that_is_no_verifier_is_let_in_but_served_nothing(tmp_path):
    chain = Chain(accounts={UNKNOWN.account})
    plain = Credentials(UNKNOWN.key, PeerType.SIMPLENODE)
    async with a_site(tmp_path, chain):
        with pytest.raises(FetchFailed):
            await fetched(a_dialer(None, plain, chain), claims=VERIFIER.account)


@asynccontextmanager
async def an_impostor(chain, play):
    """Where the chain has the healer, somebody else is."""
    heard = []

    async def serve(transport):
        heard.append(b"")
        number = len(heard) - 1
        with suppress(trio.BrokenResourceError):
            async for data in _played(transport, play):
                heard[number] += data

    listeners = await trio.open_tcp_listeners(0, host=LOOPBACK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        chain.supernodes[HEALER.account] = f"{LOOPBACK}:{listeners[0].socket.getsockname()[1]}"
        yield heard
        nursery.cancel_scope.cancel()


async def _played(transport, play):
    yield await transport.receive_some()
    for data in play:
        await transport.send_all(data)
    while data := await transport.receive_some():
        yield data


async def test_a_server_that_plays_the_healers_part_from_memory_is_told_nothing(tmp_path):
    chain = Chain()
    async with a_site(tmp_path, chain):
        tap = await overheard(chain)
    async with an_impostor(chain, tap.received) as heard:
        with refused(HandshakeFailure.BROKEN, HandshakeFailure.REPLAYED, HandshakeFailure.CLOSED):
            async with a_dialer(None, VERIFIER, chain).channel(HEALER.account):
                pytest.fail("it was taken for the healer")
        await trio.testing.wait_all_tasks_blocked()
    assert len(heard) == 2, "it was tried twice"
    assert all(len(data) < LARGEST_MESSAGE for data in heard)


async def test_another_supernode_at_the_healers_address_is_told_nothing(tmp_path):
    chain = Chain()
    async with an_impostor(chain, [message_of(OTHER)]) as heard:
        with refused(HandshakeFailure.UNEXPECTED):
            async with a_dialer(None, VERIFIER, chain).channel(HEALER.account):
                pytest.fail("it was taken for the healer")
        await trio.testing.wait_all_tasks_blocked()
    assert len(heard) == 1


async def test_what_one_heard_of_a_handshake_with_oneself_serves_nobody_elsewhere(tmp_path):
    """An attacker is dialled by a verifier, and passes its message on to the healer."""
    chain = Chain()
    async with a_site(tmp_path, chain) as site:
        hello = message_of(VERIFIER)
        async with await site.connect() as transport:
            await transport.send_all(hello)
            assert await transport.receive_some()
            await transport.send_all(b"\x19\0\0\0\6\0\0\0" + bytes(21))
            with trio.fail_after(5):
                await all_of(transport)
        assert site.ops.asked == []


@define
class Relay:
    """Somebody in the middle, who changes one byte of what the server sends."""

    port: int
    place: int | None

    async def serve(self, client):
        server = await trio.open_tcp_stream(LOOPBACK, self.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, client, server, None)
            nursery.start_soon(self._pass, server, client, self.place)

    async def _pass(self, source, target, place):
        passed = 0
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some():
                data = bytearray(data)
                if place is not None and passed <= place < passed + len(data):
                    data[place - passed] ^= 1
                passed += len(data)
                await target.send_all(data)
        await trio.aclose_forcefully(target)


@pytest.mark.parametrize("place", [None, 3, 60, 200, 270, 300, 320, 2_000, 20_000])
async def test_who_stands_between_may_pass_it_on_or_break_it_and_no_more(tmp_path, place):
    chain = Chain()
    async with a_site(tmp_path, chain) as site, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=LOOPBACK)
        nursery.start_soon(trio.serve_listeners, Relay(site.port, place).serve, listeners)
        chain.supernodes[HEALER.account] = f"{LOOPBACK}:{listeners[0].socket.getsockname()[1]}"
        dialer = a_dialer(None, VERIFIER, chain)
        if place is None:
            assert await fetched(dialer) == DATA
        else:
            with pytest.raises((FetchFailed, HandshakeFailed)):
                await fetched(dialer)
        nursery.cancel_scope.cancel()


MANY = 20
HEALERS = [Credentials(node_key(number)) for number in range(MANY)]
VERIFIERS = [Credentials(node_key(number)) for number in range(MANY, 2 * MANY)]
HUB = Credentials(node_key(2 * MANY))


def of_all():
    return Chain({each.account: LOOPBACK for each in [*HEALERS, *VERIFIERS, HUB]})


async def test_twenty_verifications_at_once_get_each_its_own_file(tmp_path):
    chain, got = of_all(), {}
    ops = [
        HealOp(
            100 + number,
            Ticket(str(number)),
            HEALERS[number].account,
            (VERIFIERS[number].account, HUB.account),
            HealOpStatus.HEALER_REPORTED,
        )
        for number in range(MANY)
    ]
    data = [noise(3_000 + number, seed=number) for number in range(MANY)]
    hub = Dialer(HUB, chain, PeerRegistry(chain), Random(1))

    async def fetch(name, dialer, op):
        got[name, op.op_id - 100] = await fetched(dialer, op)

    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(
                a_site(tmp_path / str(number), chain, HEALERS[number], ops[number], data[number])
            )
            for number in range(MANY)
        ]
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number, verifier in enumerate(VERIFIERS):
                    nursery.start_soon(fetch, "its own", a_dialer(None, verifier, chain), ops[number])
                    nursery.start_soon(fetch, "hub", hub, ops[number])
        assert got == {(name, number): data[number] for name in ("its own", "hub") for number in range(MANY)}
        assert not any(site.door.refused for site in sites)


async def test_of_twenty_pairs_at_once_each_side_knows_the_other():
    chain, told, chance = of_all(), [], Random(1)
    calls = [(verifier, healer) for verifier in [HUB, *chance.sample(VERIFIERS, 3)] for healer in HEALERS]
    calls += list(zip(VERIFIERS, chance.sample(HEALERS, MANY), strict=True))
    dialers = {caller.account: Dialer(caller, chain, PeerRegistry(chain), Random(1)) for caller in [HUB, *VERIFIERS]}

    def telling(own):
        async def tell(asked):
            await trio.sleep(chance.random() / 50)
            await asked.send_message(Reply(f"{own.account} to {who(asked.transport)}".encode(), 0, is_last=True))

        return Door(Server([Scripted(tell)]), own, PeerRegistry(chain))

    async def call(caller, healer):
        dialer = dialers[caller.account]
        stream = await dialer.dial(await dialer.locate(healer.account))
        assert who(stream) == healer.account
        async with open_channel(stream, limits=stream.limits) as channel:
            told.append((caller, healer, (await ask_over(channel)).data.decode()))

    async with AsyncExitStack() as stack:
        for healer in HEALERS:
            port = await stack.enter_async_context(listening(telling(healer)))
            chain.supernodes[healer.account] = f"{LOOPBACK}:{port}"
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for pair in chance.sample(calls, len(calls)):
                    nursery.start_soon(call, *pair)
    assert len(told) == len(calls) == 5 * MANY
    assert all(text == f"{healer.account} to {caller.account}" for caller, healer, text in told)


async def test_a_stranger_is_shaken_hands_with_and_its_records_are_its_own(tmp_path):
    """Two connections at once: the records of one do not count on the other."""
    chain = Chain()
    async with a_site(tmp_path, chain) as site:
        first = await shaken(await site.connect(), VERIFIER)
        second = await shaken(await site.connect(), STRANGER)
        await second.transport.send_all(first._sealer.seal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        with trio.fail_after(5):
            await all_of(second.transport)
        await first.aclose()
        await second.aclose()
        assert site.ops.asked == []
