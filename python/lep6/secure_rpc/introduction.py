"""What a side of a handshake says of itself, made and checked (secure RPC contract §3.2, §3.3)."""

from typing import Final, final

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import ec

from lep6.errors import HandshakeFailed, HandshakeFailure, InvalidKey, InvalidMessage
from lep6.keys import PublicKey, pack_key, unpack_key
from lep6.keys.account import SIGNATURE_SIZE
from lep6.protobuf import parse
from lep6.secure_rpc.identity import Credentials, PeerType
from lep6.secure_rpc.message import HandshakeMessage
from lep6.wire.google.protobuf import Any
from lep6.wire.lumera.lumeraid import HandshakeInfo

CURVE: Final = "P256"
POINT_SIZE: Final = 65
"""Bytes of an uncompressed point."""
UNCOMPRESSED: Final = 4
REVISION: Final = 1
"""What two of ours agree upon beyond the contract: records and frames of 128 KiB."""


@final
@frozen
class Introduction:
    """A peer's message, proven to be of the account that it names. That it is not a replay, it does not prove."""

    account: str
    peer_type: PeerType
    ephemeral: ec.EllipticCurvePublicKey
    is_ours: bool
    """Whether the peer is a lep6, with which larger frames are agreed upon."""

    @property
    def ephemeral_bytes(self) -> bytes:
        """The ephemeral key as it stood in the message: a peer never uses one twice."""
        return point_bytes(self.ephemeral)


def introduce(credentials: Credentials, ephemeral: ec.EllipticCurvePublicKey, *, as_ours: bool) -> HandshakeMessage:
    """The message of this node, for one handshake."""
    info = bytes(
        HandshakeInfo(
            address=credentials.account,
            peer_type=int(credentials.peer_type),
            public_key=point_bytes(ephemeral),
            account_public_key=bytes(pack_key(credentials.key.public)),
            curve=CURVE,
            lep6=REVISION if as_ours else 0,
        )
    )
    return HandshakeMessage(info, credentials.key.sign_in_full(info))


def check(message: HandshakeMessage) -> Introduction:
    """Read a message and check all that it proves by itself (V2 to V6, V8).

    Raises:
        HandshakeFailed: MALFORMED, FOREIGN_KEY, FORGED.
    """
    try:
        info = parse(HandshakeInfo, message.info)
        # Of the kinds of keys that the network knows, only these two can verify a signature of this form.
        account_key = unpack_key(parse(Any, info.account_public_key))
        ephemeral = _point(info.public_key)
        peer_type = PeerType(info.peer_type)
    except (InvalidMessage, InvalidKey, ValueError) as error:
        raise HandshakeFailed(HandshakeFailure.MALFORMED, str(error)) from error
    if info.curve != CURVE:
        raise HandshakeFailed(HandshakeFailure.MALFORMED, f"its curve is {info.curve!r:.40}, not {CURVE}")
    if account_key.address != info.address:
        raise HandshakeFailed(
            HandshakeFailure.FOREIGN_KEY, f"it names {info.address!r:.100}, its key is that of {account_key.address}"
        )
    if not _is_signed(account_key, message):
        raise HandshakeFailed(HandshakeFailure.FORGED, f"it names {info.address}")
    return Introduction(info.address, peer_type, ephemeral, info.lep6 >= REVISION)


def _is_signed(key: PublicKey, message: HandshakeMessage) -> bool:
    """Whether the signature is the key's: r, s of either kind, with the parity behind it, unread, of one."""
    if len(message.signature) not in (SIGNATURE_SIZE, SIGNATURE_SIZE + key.kind.has_parity):
        return False
    return key.verify(message.info, message.signature[:SIGNATURE_SIZE])


def point_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """The uncompressed point of SEC 1: 65 bytes."""
    numbers = key.public_numbers()
    return bytes([UNCOMPRESSED]) + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _point(data: bytes) -> ec.EllipticCurvePublicKey:
    if len(data) != POINT_SIZE or data[0] != UNCOMPRESSED:
        raise ValueError(f"an ephemeral key is an uncompressed point of {CURVE}, {POINT_SIZE} bytes from 04 on")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError as error:
        raise ValueError(f"the ephemeral key is not a point of {CURVE}") from error
