"""A configuration that was read and found good."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import final

from attrs import field, frozen

from lep6.chain.gas import GasPolicy
from lep6.config.healing import Healing
from lep6.config.origin import Value
from lep6.config.sections import Backend, KeyringPlace, Lumera, Own, P2p, Raptorq, SelfHealing, Supernode
from lep6.errors import KeyNotOpened, Problem
from lep6.grpc.dial import Address, listening_place
from lep6.heal.settings import Settings
from lep6.keys import FromEnvironment, FromFile, Keyring, Passphrase, Prompt

ANY_HOST = "0.0.0.0"  # noqa: S104 - what the Go supernode does


@final
@frozen(kw_only=True)
class Config:
    """What an operator has set. Made by `load`, and consistent."""

    path: Path
    """The file, absolute."""
    base: Path
    """Its directory, from which relative paths are."""
    supernode: Supernode
    keyring: KeyringPlace
    p2p: P2p
    lumera: Lumera
    raptorq: Raptorq
    self_healing: SelfHealing
    lep6: Own
    healing: Healing
    advisories: tuple[Problem, ...] = ()
    """What is worth knowing, but stops nothing."""
    values: tuple[Value, ...] = field(default=(), repr=False)
    """Every key of the file, in its order, with its value and where it comes from."""

    @property
    def listen_host(self) -> str:
        """Where the supernode listens."""
        return self.supernode.host.strip() or self.supernode.ip_address.strip() or ANY_HOST

    @property
    def listen_port(self) -> int:
        """The port it listens at."""
        return self.supernode.port

    @property
    def metrics_place(self) -> tuple[str, int] | None:
        """Host and port for metrics; `None`: they are off. Port 0: the system chooses."""
        return listening_place(self.lep6.metrics_listen) if self.lep6.metrics_listen else None

    @property
    def data_dir(self) -> Path:
        """Our own files, absolute."""
        return self._absolute(self.lep6.data_dir)

    @property
    def staging_dir(self) -> Path:
        """Rebuilt files, absolute: a directory of this account's own, whoever else stages beside it.

        The Go supernode removes what it does not know from `self_healing.staging_dir` when it starts, if its name is a
        number, and its stagings may be the only copies of files. So neither finds the other's.
        """
        return own_staging(self._absolute(self.self_healing.staging_dir), self.supernode.identity)

    @property
    def embedded_network(self) -> Path | None:
        """The directory of a devnet's network, absolute; `None`: there is none."""
        return self._absolute(self.lep6.embedded_network) if self.lep6.embedded_network else None

    @property
    def fetch_seconds(self) -> float:
        """How long a verifier's attempt at a fetch may take."""
        return self.self_healing.verifier_fetch_timeout_ms / 1000

    @property
    def chain_addresses(self) -> tuple[Address, ...]:
        """The nodes of the chain, in the order in which they are preferred."""
        return tuple(Address.parse(text) for text in dict.fromkeys([self.lumera.grpc_addr, *self.lep6.grpc_addrs]))

    def settings(self) -> Settings:
        """How the node heals."""
        own = self.self_healing
        return Settings(
            is_enabled=self.healing.heals,
            tick=own.poll_interval_ms / 1000,
            reconstructs=own.max_concurrent_reconstructs,
            verifications=own.max_concurrent_verifications,
            publishes=own.max_concurrent_publishes,
            query=own.audit_query_timeout_ms / 1000,
            poll=self.lep6.tx_poll_ms / 1000,
            fetch_attempts=own.verifier_fetch_attempts,
            backoff=own.verifier_backoff_base_ms / 1000,
            verifier_unreachable_policy=self.lep6.unreachable_policy,
        )

    def gas_policy(self) -> GasPolicy:
        """What its transactions may cost."""
        return GasPolicy(
            price=price_of(self.lumera)[0],
            adjustment=self.lumera.gas_adjustment,
            escalation=self.lumera.gas_adjustment_multiplier,
            attempts=self.lumera.gas_adjustment_max_attempts,
            padding=self.lumera.gas_padding,
        )

    def keyring_source(self, ask: Callable[[], str] | None = None) -> Keyring:
        """The keyring that holds the node's key.

        Args:
            ask: asks somebody for the passphrase, where the file names no source of it.

        Raises:
            KeyNotOpened: its backend is none that lep6 reads, or there is nobody to ask.
        """
        directory = self._absolute(self.keyring.dir)
        match self.keyring.backend:
            case Backend.TEST:
                return Keyring.test(directory)
            case Backend.FILE:
                return Keyring.file(directory, self._passphrase(ask))
            case other:
                raise KeyNotOpened(f"the keyring's backend is {other.value if other else 'not set'}; use file or test")

    def _passphrase(self, ask: Callable[[], str] | None) -> Passphrase:
        own = self.keyring
        if own.passphrase_plain:
            return Prompt(own.passphrase_plain.reveal)
        if own.passphrase_env:
            return FromEnvironment(own.passphrase_env)
        if own.passphrase_file:
            return FromFile(self._absolute(own.passphrase_file))
        if ask is None:
            raise KeyNotOpened("nothing says where the keyring's passphrase is: set keyring.passphrase_file")
        return Prompt(ask)

    def _absolute(self, path: str) -> Path:
        return absolute(self.base, path)


def own_staging(directory: Path, account: str) -> Path:
    """Where lep6 stages for an account, below `self_healing.staging_dir`."""
    return directory / f"lep6-{account}"


def absolute(base: Path, path: str) -> Path:
    """A path of the file, absolute and without detours."""
    return Path(os.path.abspath(base / path))  # noqa: PTH100 - links stay as they are


def price_of(lumera: Lumera) -> tuple[float, str]:
    """The gas price, and the denomination behind it if there is one.

    Raises:
        ValueError: it is not a number with at most a denomination behind it.
    """
    text = lumera.gas_price.strip()
    amount = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/")
    return float(amount), text[len(amount) :]
