"""Exchanges with a Go peer that were recorded (tests/interop/record.py): its bytes once more, and ours to the byte."""

import json
from pathlib import Path

import pytest
import trio
from attrs import define
from cryptography.hazmat.primitives.asymmetric import ec

from lep6.keys import KeyKind, PrivateKey
from lep6.secure_rpc import AltsStream, Credentials, SeenKeys
from lep6.secure_rpc.handshake import Handshake

EXCHANGES = json.loads((Path(__file__).parents[1] / "vectors" / "secure_rpc_recorded.json").read_text())


@define(eq=False)
class Played(trio.abc.Stream):
    """A transport on which the recorded bytes come, so many at a time, and then the end."""

    coming: bytes
    piece: int
    sent: bytes = b""

    async def receive_some(self, max_bytes=None):
        await trio.lowlevel.checkpoint()
        size = min(self.piece, max_bytes or self.piece)
        data, self.coming = self.coming[:size], self.coming[size:]
        return data

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def aclose(self):
        await trio.lowlevel.checkpoint()


def our_side(exchange):
    ours = exchange["ours"]
    key = PrivateKey(KeyKind(ours["key_type"]), bytes.fromhex(ours["account_private_key"]))
    ephemeral = ec.derive_private_key(int(ours["ephemeral_private_key"], 16), ec.SECP256R1())
    expected = exchange["theirs"]["address"] if exchange["we_dialed"] else None
    return Handshake(Credentials(key), SeenKeys(), expected=expected, as_ours=False, ephemeral=ephemeral)


def test_there_are_exchanges_in_both_directions_and_with_both_kinds_of_keys_on_either_side():
    for side in ("ours", "theirs"):
        kinds = {(exchange["we_dialed"], exchange[side]["key_type"]) for exchange in EXCHANGES.values()}
        assert len(kinds) == 4


@pytest.mark.parametrize("piece", [1, 7, 300, 1 << 20])
@pytest.mark.parametrize("name", EXCHANGES)
async def test_the_recorded_bytes_of_a_go_peer_get_the_recorded_bytes_of_ours(name, piece):
    exchange = EXCHANGES[name]
    transport = Played(bytes.fromhex(exchange["sent_by_them"]), piece)
    handshake = our_side(exchange)
    if exchange["we_dialed"]:
        await transport.send_all(handshake.start())
    peer = None
    while peer is None:
        peer = handshake.receive(await transport.receive_some(handshake.room))
    assert peer.account == exchange["theirs"]["address"]
    assert not peer.is_ours
    answer, session = handshake.accept()
    await transport.send_all(answer)

    stream = AltsStream(transport, session)
    for text in exchange["we_wrote"]:
        await stream.send_all(bytes.fromhex(text))
    assert transport.sent.hex() == exchange["sent_by_us"]

    assert b"".join([text async for text in stream]).hex() == exchange["we_read"]
    assert stream.peer == exchange["theirs"]["address"]
