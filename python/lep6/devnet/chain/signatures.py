"""Who a transaction is from: the key that it shows, and a signature (chain contract §2.3, §2.4)."""

from typing import Final, final

from attrs import field, frozen

from lep6.keys import KeyKind, PublicKey
from lep6.wire.cosmos.tx.v1beta1 import SignDoc

_PLAIN_SIZE: Final = 64
"""Bytes of a signature r, s."""
_RECOVERABLE_SIZE: Final = 65
"""Bytes of a signature r, s, v."""


@final
@frozen
class Signed:
    """A signature, and the bytes that it is over."""

    public_key: PublicKey | None
    """The signer's key as the transaction shows it, if it does."""
    signature: bytes = field(repr=False)
    body: bytes = field(repr=False)
    """`TxBody`, as it came."""
    auth_info: bytes = field(repr=False)
    """`AuthInfo`, as it came."""

    def is_by(self, key: PublicKey, chain_id: str, account_number: int) -> bool:
        """Whether the signature is a key's, for an account of a chain.

        An Ethereum key may add the recovery byte v, which nobody looks at. S must be in the lower half.
        """
        signature = self.signature
        if key.kind is KeyKind.ETHEREUM and len(signature) == _RECOVERABLE_SIZE:
            signature = signature[:_PLAIN_SIZE]
        return key.verify(bytes(SignDoc(self.body, self.auth_info, chain_id, account_number)), signature)
