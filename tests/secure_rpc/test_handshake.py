"""Handshakes: against the vectors of the contract, in both roles and with both kinds of keys, and what ends them."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.keys import KeyKind, PrivateKey
from lep6.secure_rpc import Credentials, PeerType, SeenKeys
from lep6.secure_rpc.handshake import Handshake
from lep6.secure_rpc.introduction import point_bytes
from lep6.secure_rpc.key_schedule import record_key
from secure_rpc.parties import HEALER, STRANGER, VERIFIER, ephemeral_key, message_of, refused

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
    first, second = (side(session, "server", seen=seen) for _ in range(2))
    assert first.receive(hello)
    assert second.receive(hello), "the chain may not know whom it names"
    first.accept()
    for handshake, step in [(second, second.accept), (third := side(session, "server", seen=seen), None)]:
        with pytest.raises(HandshakeFailed) as refused:
            step() if step else handshake.receive(hello)
        assert refused.value.why is HandshakeFailure.REPLAYED
    assert third


def test_a_client_refuses_another_account_than_it_called():
    session = VECTORS[SESSIONS[0]]
    client = side(session, "client", expected=session["client"]["address"])
    client.start()
    with pytest.raises(HandshakeFailed) as refused:
        client.receive(bytes.fromhex(session["server"]["handshake_message"]))
    assert refused.value.why is HandshakeFailure.UNEXPECTED


def test_a_server_that_calls_itself_a_plain_account_is_refused():
    plain = Handshake(Credentials(HEALER.key, PeerType.SIMPLENODE), SeenKeys(), expected=None)
    client = Handshake(VERIFIER, SeenKeys(), expected=HEALER.account)
    plain.receive(client.start())
    answer, _ = plain.accept()
    with refused(HandshakeFailure.NOT_A_SUPERNODE):
        client.receive(answer)


def test_a_plain_account_may_be_a_client():
    plain = Credentials(VERIFIER.key, PeerType.SIMPLENODE)
    client = Handshake(plain, SeenKeys(), expected=HEALER.account)
    peer = Handshake(HEALER, SeenKeys(), expected=None).receive(client.start())
    assert (peer.account, peer.peer_type) == (VERIFIER.account, PeerType.SIMPLENODE)


def test_a_client_that_gets_its_own_message_back_refuses_it():
    client = Handshake(VERIFIER, SeenKeys(), expected=HEALER.account)
    with refused(HandshakeFailure.UNEXPECTED):
        client.receive(client.start())
    calls_itself = Handshake(VERIFIER, SeenKeys(), expected=VERIFIER.account)
    with refused(HandshakeFailure.REPLAYED):
        calls_itself.receive(calls_itself.start())


def test_a_message_of_our_own_is_none_for_our_door_either():
    seen = SeenKeys()
    hello = Handshake(VERIFIER, seen, expected=HEALER.account).start()
    with refused(HandshakeFailure.REPLAYED):
        Handshake(VERIFIER, seen, expected=None).receive(hello)


def test_a_key_that_was_used_is_refused_in_a_new_message_too():
    seen, key = SeenKeys(), ephemeral_key()
    first = Handshake(STRANGER, SeenKeys(), expected=HEALER.account, ephemeral=key).start()
    second = Handshake(VERIFIER, SeenKeys(), expected=HEALER.account, ephemeral=key).start()
    known = Handshake(HEALER, seen, expected=None)
    assert known.receive(first)
    known.accept()
    with refused(HandshakeFailure.REPLAYED):
        Handshake(HEALER, seen, expected=None).receive(second)


def test_a_message_that_is_refused_uses_up_no_key():
    """Or anyone could spoil the key of a message that is on its way."""
    seen, key = SeenKeys(), ephemeral_key()
    stolen = message_of(STRANGER, public_key=point_bytes(key.public_key()), address=VERIFIER.account)
    with refused(HandshakeFailure.FOREIGN_KEY):
        Handshake(HEALER, seen, expected=None).receive(stolen)
    hello = Handshake(VERIFIER, SeenKeys(), expected=HEALER.account, ephemeral=key).start()
    assert Handshake(HEALER, seen, expected=None).receive(hello)


def test_each_handshake_has_a_key_of_its_own():
    messages = {Handshake(VERIFIER, SeenKeys(), expected=HEALER.account).start() for _ in range(20)}
    assert len(messages) == 20


def test_a_server_says_nothing_before_it_is_told_to_go_on():
    server = Handshake(HEALER, SeenKeys(), expected=None)
    with pytest.raises(RuntimeError):
        server.accept()
    with pytest.raises(RuntimeError):
        server.start()


def test_a_handshake_that_was_refused_or_is_done_is_over():
    server = Handshake(HEALER, SeenKeys(), expected=None)
    with refused(HandshakeFailure.MALFORMED):
        server.receive(b"\xff" * 4)
    with pytest.raises(RuntimeError):
        server.receive(message_of(VERIFIER))
    with pytest.raises(RuntimeError):
        server.accept()
    done = Handshake(HEALER, SeenKeys(), expected=None)
    done.receive(message_of(VERIFIER))
    done.accept()
    for again in (done.accept, lambda: done.receive(b"more")):
        with pytest.raises(RuntimeError):
            again()


def test_the_key_is_let_go_when_it_was_used_and_when_it_was_not():
    used = Handshake(HEALER, SeenKeys(), expected=None)
    used.receive(message_of(VERIFIER))
    _, session = used.accept()
    assert used._ephemeral is None
    assert session.key.hex() not in repr(session)
    assert str(session.key) not in repr(session)
    refuses = Handshake(VERIFIER, SeenKeys(), expected=HEALER.account)
    refuses.start()
    with refused(HandshakeFailure.UNEXPECTED):
        refuses.receive(message_of(STRANGER))
    assert refuses._ephemeral is None


def test_keys_are_bound_to_both_accounts_and_to_their_roles():
    own, other = ephemeral_key(3), ephemeral_key(4)
    pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "b")]
    keys = {record_key(own, other.public_key(), client=client, server=server) for client, server in pairs}
    assert len(keys) == len(pairs)
    assert record_key(other, own.public_key(), client="a", server="b") in keys
