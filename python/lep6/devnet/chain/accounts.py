"""Accounts as the chain keeps them (chain contract §1.6)."""

from typing import final

from attrs import evolve, frozen

from lep6.keys import PublicKey


@final
@frozen
class Account:
    """A `BaseAccount` with its balance."""

    address: str
    number: int
    sequence: int
    """The sequence that its next transaction must have."""
    balance: int
    """In ulume."""
    public_key: PublicKey | None = None
    """The key that it has shown the chain, if any."""
    legacy_address: str | None = None
    """The address that it had before its migration."""
    is_vesting: bool = False
    """Whether the chain keeps it inside a vesting account."""

    def paying(self, fee: int) -> "Account":
        """The account after a transaction: the fee (ulume) gone, the sequence used."""
        return evolve(self, balance=self.balance - fee, sequence=self.sequence + 1)

    def showing(self, public_key: PublicKey | None) -> "Account":
        """The account after a transaction that showed a key: the first one stays."""
        return evolve(self, public_key=self.public_key or public_key)
