"""The secured stream: who is at its other end, and how it ends."""

import pytest
import trio
import trio.testing

from lep6.devnet.network import node_key
from lep6.secure_rpc import AltsStream, Credentials, HandshakeIdentity, SeenKeys
from lep6.secure_rpc.handshake import Handshake


def secured():
    """Both ends of a secured connection in memory."""
    client_key, server_key = Credentials(node_key(1)), Credentials(node_key(2))
    client = Handshake(client_key, SeenKeys(), expected=server_key.account)
    server = Handshake(server_key, SeenKeys(), expected=None)
    server.receive(client.start())
    answer, at_server = server.accept()
    client.receive(answer)
    _, at_client = client.accept()
    ours, theirs = trio.testing.memory_stream_pair()
    return AltsStream(ours, at_client), AltsStream(theirs, at_server)


async def test_it_keeps_what_trio_promises_of_a_stream():
    async def maker():
        await trio.lowlevel.checkpoint()
        return secured()

    await trio.testing.check_two_way_stream(maker, None)


async def test_the_peer_is_known_from_its_first_record_on():
    client, server = secured()
    assert HandshakeIdentity().resolve(server) is None
    await client.send_all(b"here I am")
    assert await server.receive_some() == b"here I am"
    assert HandshakeIdentity().resolve(server) == node_key(1).public.address
    assert HandshakeIdentity().resolve(server.transport) is None


async def test_a_record_that_is_not_the_peers_ends_the_connection():
    client, server = secured()
    await client.transport.send_all(bytes.fromhex("1400000006000000") + bytes(16))
    with pytest.raises(trio.BrokenResourceError, match="record 0 does not authenticate"):
        await server.receive_some()
    with pytest.raises(trio.BrokenResourceError, match="record 0 does not authenticate"):
        await server.send_all(b"anything")


async def test_an_end_in_the_middle_of_a_record_is_an_error():
    client, server = secured()
    await client.transport.send_all(b"\x14\x00")
    await client.aclose()
    with pytest.raises(trio.BrokenResourceError, match="in the middle of record 0"):
        await server.receive_some()
