"""Handshakes against the vectors of the contract, both roles and both kinds of keys."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.keys import KeyKind, PrivateKey
from lep6.secure_rpc import Credentials, PeerType, SeenKeys
from lep6.secure_rpc.handshake import Handshake

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "secure_rpc.json").read_text())
SESSIONS = [name for name in VECTORS if name.startswith("session_")]


def side(session, name, expected=None, seen=None):
    vector = session[name]
    key = PrivateKey(KeyKind(session["key_type"]), bytes.fromhex(vector["account_private_key"]))
    ephemeral = ec.derive_private_key(int(vector["ephemeral_private_key"], 16), ec.SECP256R1())
    credentials = Credentials(key, PeerType(vector["peer_type"]))
    return Handshake(credentials, seen or SeenKeys(), expected=expected, as_ours=False, ephemeral=ephemeral)


@pytest.mark.parametrize("name", SESSIONS)
def test_both_sides_say_what_the_vectors_say_and_come_to_the_same_key(name):
    session = VECTORS[name]
    client = side(session, "client", expected=session["server"]["address"])
    server = side(session, "server")
    hello = client.start()
    assert hello.hex() == session["client"]["handshake_message"]
    assert server.receive(hello).account == session["client"]["address"]
    answer, at_server = server.accept()
    assert answer.hex() == session["server"]["handshake_message"]
    assert client.receive(answer + b"surplus").account == session["server"]["address"]
    _, at_client = client.accept()
    expanded = session["protocols"]["ALTSRP_XCHACHA20_POLY1305_REKEY"]["expanded_key"]
    assert at_client.key.hex() == at_server.key.hex() == expanded
    assert at_client.surplus == b"surplus"


@pytest.mark.parametrize("name", SESSIONS)
def test_a_message_that_comes_again_is_refused(name):
    session, seen = VECTORS[name], SeenKeys()
    hello = bytes.fromhex(session["client"]["handshake_message"])
    assert side(session, "server", seen=seen).receive(hello)
    with pytest.raises(HandshakeFailed) as refused:
        side(session, "server", seen=seen).receive(hello)
    assert refused.value.why is HandshakeFailure.REPLAYED


def test_a_client_refuses_another_account_than_it_called():
    session = VECTORS[SESSIONS[0]]
    client = side(session, "client", expected=session["client"]["address"])
    client.start()
    with pytest.raises(HandshakeFailed) as refused:
        client.receive(bytes.fromhex(session["server"]["handshake_message"]))
    assert refused.value.why is HandshakeFailure.UNEXPECTED
