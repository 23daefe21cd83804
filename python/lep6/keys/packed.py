"""Public keys as messages carry them: `google.protobuf.Any` (chain contract §2.3, secure RPC contract §3.2)."""

from typing import Final

from lep6.errors import InvalidKey
from lep6.keys.account import KeyKind, PublicKey
from lep6.wire.google.protobuf import Any

KEY_URLS: Final = {
    KeyKind.COSMOS: "/cosmos.crypto.secp256k1.PubKey",
    KeyKind.ETHEREUM: "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey",
}
"""Type URLs of the two kinds."""
_KINDS: Final = {url: kind for kind, url in KEY_URLS.items()}
_KEY_FIELD: Final = b"\x0a\x21"
"""Tag and length of the only field of a public key message: 33 bytes."""


def pack_key(key: PublicKey) -> Any:
    """A public key, packed."""
    return Any(type_url=KEY_URLS[key.kind], value=_KEY_FIELD + key.compressed)


def unpack_key(packed: Any) -> PublicKey:
    """The public key in an `Any`.

    Raises:
        InvalidKey: it holds a key of another kind, or none.
    """
    kind = _KINDS.get(packed.type_url)
    if kind is None:
        raise InvalidKey(f"an account key is of one of two kinds, not {packed.type_url!r:.100}")
    if not packed.value.startswith(_KEY_FIELD):
        raise InvalidKey("an account key's message has 33 bytes as its only field")
    return PublicKey(kind, packed.value.removeprefix(_KEY_FIELD))
