"""What a stranger says in a handshake, to either side. Nothing gets through but what the peer has really signed."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from fuzz.pieces import Script, cut
from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.keys import KeyKind, PrivateKey
from lep6.secure_rpc import Credentials, PeerType, SeenKeys
from lep6.secure_rpc.handshake import Handshake
from lep6.secure_rpc.introduction import CURVE, Introduction, introduce
from lep6.secure_rpc.message import LARGEST_INFO, LARGEST_MESSAGE, HandshakeMessage
from lep6.wire.lumera.lumeraid import HandshakeInfo

OURS: Final = Credentials(PrivateKey(KeyKind.ETHEREUM, b"\1" * 32))
PEERS: Final = tuple(
    Credentials(PrivateKey(kind, b"\2" * 32), peer_type) for kind in KeyKind for peer_type in reversed(PeerType)
)
OUR_EPHEMERAL: Final = ec.derive_private_key(3, ec.SECP256R1())
THEIR_EPHEMERAL: Final = ec.derive_private_key(4, ec.SECP256R1()).public_key()
GENUINE: Final = tuple(introduce(peer, THEIR_EPHEMERAL, as_ours=False) for peer in PEERS)
"""What the peers have signed."""
SAID_OF_A_MESSAGE: Final = {
    HandshakeFailure.MALFORMED,
    HandshakeFailure.FOREIGN_KEY,
    HandshakeFailure.FORGED,
    HandshakeFailure.UNEXPECTED,
    HandshakeFailure.NOT_A_SUPERNODE,
}


def fuzz(data: bytes) -> None:
    """One handshake. The first byte says which side we are, whom we meet, and whether that one signs what follows."""
    script = Script(data)
    choice = script.number()
    is_client, is_signed, peer = bool(choice & 1), bool(choice & 2), PEERS[choice >> 2 & 3]
    sizes = script.numbers(7)
    stream = script.data
    if is_signed:
        info = stream[:LARGEST_INFO]
        stream = HandshakeMessage(info, peer.key.sign_in_full(info)).to_bytes() + stream[LARGEST_INFO:]
    expected = peer.account if is_client else None
    handshake = Handshake(OURS, SeenKeys(), expected=expected, as_ours=False, ephemeral=OUR_EPHEMERAL)
    if is_client:
        handshake.start()
    introduced, taken, refused = _met(handshake, stream, sizes)
    if refused is not None:
        assert refused in SAID_OF_A_MESSAGE
        _is_over(handshake)
        return
    if introduced is None:
        assert len(stream) < LARGEST_MESSAGE
        return
    if is_client:
        assert introduced.account == peer.account
        assert introduced.peer_type is PeerType.SUPERNODE
    said = _whole(stream)
    assert said.to_bytes() == stream[: len(said.to_bytes())]
    if is_signed:
        info_read = HandshakeInfo.parse(said.info)
        assert introduced.account == info_read.address == peer.account
        assert introduced.peer_type == info_read.peer_type
        assert info_read.curve == CURVE
    else:
        # Of a signature, the parity goes unread.
        assert any(said.info == genuine.info and _same(said, genuine) for genuine in GENUINE), "forged"
    _, session = handshake.accept()
    assert session.surplus == stream[len(said.to_bytes()) : taken]
    _is_over(handshake)


_Met = tuple[Introduction | None, int, HandshakeFailure | None]


def _met(handshake: Handshake, stream: bytes, sizes: list[int]) -> _Met:
    """What the peer says of itself, how much was read until then, and why it is refused.

    Never more is asked for than there is room.
    """
    taken = 0
    for piece in cut(stream, sizes):
        rest = piece
        while rest:
            assert 0 < handshake.room <= LARGEST_MESSAGE - taken
            now, rest = rest[: handshake.room], rest[handshake.room :]
            taken += len(now)
            try:
                introduced = handshake.receive(now)
            except HandshakeFailed as error:
                return None, taken, error.why
            if introduced is not None:
                return introduced, taken, None
    return None, taken, None


def _is_over(handshake: Handshake) -> None:
    try:
        handshake.receive(b"")
    except RuntimeError:
        return
    raise AssertionError("a handshake that is over goes on")


def _whole(stream: bytes) -> HandshakeMessage:
    """The message at the front of a stream, read by the contract's table."""
    size = int.from_bytes(stream[:4])
    begin = 4 + size + 4
    return HandshakeMessage(stream[4 : 4 + size], stream[begin : begin + int.from_bytes(stream[begin - 4 : begin])])


def _same(one: HandshakeMessage, other: HandshakeMessage) -> bool:
    return one.signature[:64] == other.signature[:64]


def seeds() -> list[bytes]:
    """Where a fuzzer starts: each peer as it is, to each side, signed before and now, whole and cut up; then lies."""
    as_it_is = [
        _start(side, signing, number, sizes) + (genuine.info if signing else genuine.to_bytes() + b"what is behind it")
        for number, genuine in enumerate(GENUINE)
        for side in (0, 1)
        for signing in (0, 1)
        for sizes in ([], [1], [4, 200, 7])
    ]
    too_long = [
        _start(0, 0, 0, []) + size.to_bytes(4) + bytes(LARGEST_MESSAGE) for size in (LARGEST_INFO + 1, (1 << 32) - 1)
    ]
    of_another = [_start(1, 0, number, []) + GENUINE[(number + 2) % 4].to_bytes() for number in range(4)]
    said_wrongly = [
        _start(side, 1, 0, []) + GENUINE[0].info.replace(right, wrong)
        for side in (0, 1)
        for right, wrong in (
            (CURVE.encode(), b"P384"),
            (b"\x10\x02\x1a", b"\x10\x00\x1a"),
            (PEERS[0].account.encode(), PEERS[2].account.encode()),
        )
    ]
    return as_it_is + too_long + of_another + said_wrongly


def _start(side: int, signing: int, number: int, sizes: list[int]) -> bytes:
    """The choices at the front of an input."""
    return bytes([side | signing << 1 | number << 2, len(sizes), *sizes])
