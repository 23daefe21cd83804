"""What a message says of its sender is believed only as far as it proves it."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from lep6.devnet.network import node_key
from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.keys import KEY_URLS, KeyKind, PrivateKey, pack_key
from lep6.secure_rpc import Credentials, PeerType
from lep6.secure_rpc.introduction import check, point_bytes
from lep6.secure_rpc.message import HandshakeMessage
from lep6.wire.google.protobuf import Any
from secure_rpc.parties import HEALER, STRANGER, ephemeral_key, info_of, refused, signed

ETHEREUM = Credentials(PrivateKey(KeyKind.ETHEREUM, bytes(31) + b"\5"))
COSMOS = Credentials(PrivateKey(KeyKind.COSMOS, bytes(31) + b"\5"))
KINDS = pytest.mark.parametrize("credentials", [ETHEREUM, COSMOS], ids=["ethereum", "cosmos"])
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
POINT = point_bytes(ephemeral_key().public_key())
FIELD = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


def encoded(curve, form):
    numbers = ec.derive_private_key(7, curve).public_key().public_numbers()
    size = (curve.key_size + 7) // 8
    x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
    return {"uncompressed": b"\4" + x + y, "compressed": bytes([2 + numbers.y % 2]) + x, "bare": x + y}[form]


@KINDS
@pytest.mark.parametrize("peer_type", PeerType)
def test_who_proves_to_be_the_account_is_believed(credentials, peer_type):
    found = check(signed(info_of(credentials, peer_type=int(peer_type), public_key=POINT), credentials.key))
    assert (found.account, found.peer_type) == (credentials.account, peer_type)
    assert found.ephemeral_bytes == POINT
    assert not found.is_ours


@pytest.mark.parametrize(("revision", "is_ours"), [(0, False), (1, True), (2, True), (2**32 - 1, True)])
def test_one_of_ours_is_known_by_a_field_that_others_ignore(revision, is_ours):
    assert check(signed(info_of(HEALER, lep6=revision), HEALER.key)).is_ours is is_ours


def test_fields_that_nobody_knows_yet_are_ignored():
    info = bytes(info_of(HEALER)) + b"\x32\x03new" + b"\x38\x2a"
    assert check(signed(info, HEALER.key)).account == HEALER.account


def test_a_field_that_stands_twice_counts_as_it_stands_last():
    info = bytes(info_of(STRANGER)) + bytes(info_of(HEALER))
    assert check(signed(info, HEALER.key)).account == HEALER.account
    with refused(HandshakeFailure.FORGED):
        check(signed(info, STRANGER.key))


@pytest.mark.parametrize("field", ["address", "peer_type", "public_key", "account_public_key", "curve"])
def test_a_message_that_lacks_a_field_is_refused(field):
    lacking = {field: type(getattr(info_of(HEALER), field))()}
    why = HandshakeFailure.FOREIGN_KEY if field == "address" else HandshakeFailure.MALFORMED
    with refused(why):
        check(signed(info_of(HEALER, **lacking), HEALER.key))


@pytest.mark.parametrize("peer_type", [0, 3, -1, 2**31 - 1, -(2**31)])
def test_a_peer_type_that_does_not_exist_is_refused(peer_type):
    with refused(HandshakeFailure.MALFORMED):
        check(signed(info_of(HEALER, peer_type=peer_type), HEALER.key))


@pytest.mark.parametrize("curve", ["P384", "P521", "Unknown", "p256", "P-256", "P256 ", "\u2119256", "x" * 500])
def test_another_curve_is_refused(curve):
    with refused(HandshakeFailure.MALFORMED):
        check(signed(info_of(HEALER, curve=curve), HEALER.key))


@pytest.mark.parametrize(
    "point",
    [
        b"\0",
        b"\4",
        encoded(ec.SECP256R1(), "compressed"),
        encoded(ec.SECP256R1(), "bare"),
        encoded(ec.SECP384R1(), "uncompressed"),
        encoded(ec.SECP521R1(), "uncompressed"),
        encoded(ec.SECP256K1(), "uncompressed"),
        bytes(65),
        b"\4" + bytes(64),
        POINT[:-1],
        POINT + b"\0",
        *(bytes([form]) + POINT[1:] for form in (0, 2, 3, 5, 6, 7)),
        POINT[:-1] + bytes([POINT[-1] ^ 1]),
        b"\4" + FIELD.to_bytes(32, "big") + POINT[33:],
        b"\4" + bytes([255] * 64),
    ],
    ids=lambda point: point.hex()[:12] + f"-{len(point)}",
)
def test_an_ephemeral_key_that_is_no_whole_point_of_the_curve_is_refused(point):
    with refused(HandshakeFailure.MALFORMED):
        check(signed(info_of(HEALER, public_key=point), HEALER.key))


KEY = HEALER.key.public
FIELD_OF_KEY = b"\x0a\x21" + KEY.compressed
ETHEREUM_URL = KEY_URLS[KeyKind.ETHEREUM]


@pytest.mark.parametrize(
    "packed",
    [
        Any(type_url="/cosmos.crypto.ed25519.PubKey", value=b"\x0a\x20" + bytes(32)),
        Any(type_url="/cosmos.crypto.secp256r1.PubKey", value=FIELD_OF_KEY),
        Any(type_url="/cosmos.crypto.multisig.LegacyAminoPubKey", value=b"\x08\x01\x12\x00"),
        Any(type_url=ETHEREUM_URL.removeprefix("/"), value=FIELD_OF_KEY),
        Any(type_url="", value=FIELD_OF_KEY),
        Any(type_url=ETHEREUM_URL),
        Any(type_url=ETHEREUM_URL, value=FIELD_OF_KEY[:-1]),
        Any(type_url=ETHEREUM_URL, value=FIELD_OF_KEY + b"\0"),
        Any(type_url=ETHEREUM_URL, value=FIELD_OF_KEY + b"\x10\x01"),
        Any(type_url=ETHEREUM_URL, value=b"\x0a\x41" + bytes(65)),
        Any(type_url=ETHEREUM_URL, value=b"\x0a\x21\2" + bytes([255] * 32)),
        Any(type_url=ETHEREUM_URL, value=b"\x0a\x21\4" + KEY.compressed[1:]),
    ],
    ids=range(12),
)
def test_an_account_key_of_another_kind_or_none_is_refused_before_its_signature_is_looked_at(packed):
    message = signed(info_of(HEALER, account_public_key=bytes(packed)), HEALER.key)
    with refused(HandshakeFailure.MALFORMED):
        check(HandshakeMessage(message.info, b"no signature at all"))


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x7f", b"\x08\x01", bytes(pack_key(KEY))[:-1]])
def test_an_account_key_that_is_no_message_is_refused(data):
    with refused(HandshakeFailure.MALFORMED):
        check(signed(info_of(HEALER, account_public_key=data), HEALER.key))


@pytest.mark.parametrize(
    "address",
    [
        STRANGER.account,
        HEALER.account.upper(),
        HEALER.account + " ",
        HEALER.account.replace("lumera1", "cosmos1"),
        Credentials(PrivateKey(KeyKind.COSMOS, HEALER.key._secret)).account,
    ],
    ids=["another", "capitals", "space", "prefix", "kind"],
)
def test_an_account_that_is_not_the_one_of_the_key_is_refused(address):
    with refused(HandshakeFailure.FOREIGN_KEY):
        check(signed(info_of(HEALER, address=address), HEALER.key))


@KINDS
def test_a_signature_by_another_key_or_over_another_text_is_refused(credentials):
    info = bytes(info_of(credentials))
    other = PrivateKey(credentials.key.kind, bytes(31) + b"\6")
    with refused(HandshakeFailure.FORGED):
        check(signed(info, other))
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, credentials.key.sign_in_full(info + b"\x30\1")))
    wrong_kind = next(kind for kind in KeyKind if kind is not credentials.key.kind)
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, PrivateKey(wrong_kind, bytes(31) + b"\5").sign(info)))


@KINDS
def test_the_other_signature_that_anyone_can_make_of_one_is_refused(credentials):
    info = bytes(info_of(credentials))
    signature = credentials.key.sign_in_full(info)
    high = (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    assert check(HandshakeMessage(info, signature)).account == credentials.account
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, signature[:32] + high))
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, bytes(32) + signature[32:64]))
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, signature[:32] + bytes(32)))
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, signature[:32] + ORDER.to_bytes(32, "big")))


@pytest.mark.parametrize("parity", [b"", b"\0", b"\1", b"\x1b", b"\xff"])
def test_the_parity_behind_a_signature_may_lack_and_is_not_read(parity):
    info = bytes(info_of(ETHEREUM))
    assert check(HandshakeMessage(info, ETHEREUM.key.sign(info) + parity)).account == ETHEREUM.account


def test_a_kind_of_key_without_parity_signs_in_64_bytes():
    info = bytes(info_of(COSMOS))
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, COSMOS.key.sign(info) + b"\0"))


@pytest.mark.parametrize("size", [0, 1, 63, 66, 128])
@KINDS
def test_a_signature_of_another_size_is_none(credentials, size):
    info = bytes(info_of(credentials))
    with refused(HandshakeFailure.FORGED):
        check(HandshakeMessage(info, (credentials.key.sign(info) * 3)[:size]))


@given(st.binary(max_size=300), st.binary(max_size=70))
def test_bytes_at_random_are_refused_in_so_many_words(info, signature):
    with pytest.raises(HandshakeFailed):
        check(HandshakeMessage(info, signature))


@st.composite
def mangled(draw):
    """An info block with something wrong with it, or not."""
    info = bytearray(bytes(info_of(HEALER, public_key=POINT)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(info)))
        match draw(st.sampled_from(["flip", "cut", "insert", "repeat"])):
            case "flip" if place < len(info):
                info[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del info[place : place + draw(st.integers(1, 40))]
            case "insert":
                info[place:place] = draw(st.binary(min_size=1, max_size=12))
            case "repeat":
                info += info[place:]
    return bytes(info)


@given(mangled())
def test_a_mangled_message_is_refused_or_still_proves_the_account_whose_key_signed_it(info):
    try:
        found = check(signed(info, HEALER.key))
    except HandshakeFailed:
        return
    assert found.account == HEALER.account


def test_no_bit_of_a_message_can_be_changed():
    message = signed(info_of(HEALER, public_key=POINT), HEALER.key)
    assert len(message.signature) == 65
    whole = message.info + message.signature
    for place in range(0, 8 * (len(whole) - 1), 3):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(HandshakeFailed):
            check(HandshakeMessage(bytes(changed[: len(message.info)]), bytes(changed[len(message.info) :])))


def test_nothing_shows_a_secret():
    secret = node_key(0)._secret.hex()
    assert secret not in repr(HEALER)
    assert str(node_key(0)._secret) not in repr(HEALER)
