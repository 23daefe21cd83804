"""The sections of a configuration file, as the Go supernode has them, and our own (chain contract §7).

A field has the name of its key. Its default is what the Go supernode takes when the key is missing.
"""

import enum
from typing import Final, NewType, final

from attrs import Factory, field, frozen

from lep6.chain.gas import DENOM, MOST_ATTEMPTS
from lep6.config.secret import Secret
from lep6.heal.settings import UnreachablePolicy

ZERO_IS_DEFAULT: Final = "zero_is_default"
"""In the metadata of a key for which 0, or an empty text, means its default."""
DEVNET_CHAIN_ID: Final = "lumera-devnet-1"
"""The only chain in whose network the disks of several nodes may be one directory."""

Port = NewType("Port", int)
Duration = NewType("Duration", float)
"""Seconds; in the file, text as Go writes it (`1m30s`)."""
Price = NewType("Price", str)
"""A number, with or without its denomination behind it."""


_OR: Final = {ZERO_IS_DEFAULT: True}


class Backend(enum.Enum):
    """Where the Go supernode keeps its keys."""

    TEST = "test"
    FILE = "file"
    OS = "os"
    MEMORY = "memory"


class LogFormat(enum.Enum):
    """How events are written."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(enum.Enum):
    """The least of the events that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@final
@frozen(kw_only=True)
class Supernode:
    """Who this supernode is, and where it listens."""

    key_name: str = ""
    identity: str = ""
    host: str = ""
    ip_address: str = ""
    """What counts when `host` is blank."""
    port: Port = Port(0)
    gateway_port: Port = field(default=Port(8002), metadata=_OR)
    evm_key_name: str = ""


@final
@frozen(kw_only=True)
class KeyringPlace:
    """Where its key is. Of the sources of a passphrase, the first that is set counts."""

    backend: Backend | None = None
    dir: str = ""
    passphrase_plain: Secret = field(factory=Secret)
    passphrase_env: str = ""
    passphrase_file: str = ""


@final
@frozen(kw_only=True)
class P2p:
    """The Go supernode's part in the network of symbols."""

    port: Port = Port(0)
    data_dir: str = ""
    bootstrap_nodes: str = ""


def _multiplier(value: float) -> float:
    return value if value > 1 else 1.3


def _attempts(value: int) -> int:
    return min(value, MOST_ATTEMPTS)


@final
@frozen(kw_only=True)
class Lumera:
    """The chain, and what its transactions may cost (chain contract §2.5)."""

    grpc_addr: str = ""
    chain_id: str = ""
    gas_adjustment: float = field(default=1.3, metadata=_OR)
    gas_adjustment_multiplier: float = field(default=1.3, converter=_multiplier, metadata=_OR)
    gas_adjustment_max_attempts: int = field(default=3, converter=_attempts, metadata=_OR)
    gas_padding: int = field(default=50_000, metadata=_OR)
    gas_price: Price = field(default=Price("0.025"), metadata=_OR)
    fee_denom: str = field(default=DENOM, metadata=_OR)


@final
@frozen(kw_only=True)
class Raptorq:
    """Where the Go supernode's codec works."""

    files_dir: str = ""


@final
@frozen(kw_only=True)
class Recheck:
    """`storage_challenge.lep6.recheck`."""

    enabled: bool = False
    lookback_epochs: int = field(default=7, metadata=_OR)
    max_per_tick: int = field(default=5, metadata=_OR)
    tick_interval_ms: int = field(default=60_000, metadata=_OR)
    max_failure_attempts_per_ticket: int = field(default=3, metadata=_OR)
    failure_backoff_ttl_ms: int = field(default=900_000, metadata=_OR)


@final
@frozen(kw_only=True)
class StorageChallengeLep6:
    """`storage_challenge.lep6`."""

    enabled: bool = False
    max_concurrent_targets: int = field(default=4, metadata=_OR)
    recipient_read_timeout: Duration = field(default=Duration(30.0), metadata=_OR)
    recheck: Recheck = Recheck()


@final
@frozen(kw_only=True)
class StorageChallenge:
    """The Go supernode's challenges. lep6 makes none: they are read for their rules alone."""

    enabled: bool = False
    poll_interval_ms: int = field(default=5_000, metadata=_OR)
    submit_evidence: bool = False
    lep6: StorageChallengeLep6 = StorageChallengeLep6()


@final
@frozen(kw_only=True)
class SelfHealing:
    """How it heals."""

    enabled: bool | None = None
    """`None`: not said, which the Go supernode takes for no."""
    poll_interval_ms: int = field(default=30_000, metadata=_OR)
    max_concurrent_reconstructs: int = field(default=2, metadata=_OR)
    max_concurrent_verifications: int = field(default=4, metadata=_OR)
    max_concurrent_publishes: int = field(default=2, metadata=_OR)
    staging_dir: str = field(default="heal-staging", metadata=_OR)
    verifier_fetch_timeout_ms: int = field(default=60_000, metadata=_OR)
    verifier_fetch_attempts: int = field(default=3, metadata=_OR)
    verifier_backoff_base_ms: int = field(default=2_000, metadata=_OR)
    audit_query_timeout_ms: int = field(default=10_000, metadata=_OR)


@final
@frozen(kw_only=True)
class Own:
    """What is lep6's alone; the Go supernode ignores the section."""

    enabled: bool | None = None
    """Whether lep6 heals, if that is to differ from `self_healing.enabled`; see `healing`."""
    data_dir: str = "lep6-data"
    """The ledger, the lock, the admin socket, limits that were set while it ran."""
    grpc_addrs: tuple[str, ...] = ()
    """Further nodes of the chain."""
    metrics_listen: str = "127.0.0.1:9464"
    """`host:port`; empty: none."""
    metrics_public: bool = False
    log_format: LogFormat = LogFormat.JSON
    log_level: LogLevel = LogLevel.INFO
    stop_seconds: float = 20.0
    """How long a stop may take."""
    unreachable_policy: UnreachablePolicy = UnreachablePolicy.NEGATIVE
    embedded_network: str = ""
    """The directory of a devnet's network, for all of its nodes."""
    threads: int = 4
    """Pieces of blocking work at a time."""
    tx_poll_ms: int = field(default=2_000, metadata=_OR)
    """Between looks at a transaction that is on its way."""


@final
@frozen(kw_only=True)
class Document:
    """All sections that lep6 reads."""

    supernode: Supernode = Factory(Supernode)
    keyring: KeyringPlace = Factory(KeyringPlace)
    p2p: P2p = Factory(P2p)
    lumera: Lumera = Factory(Lumera)
    raptorq: Raptorq = Factory(Raptorq)
    storage_challenge: StorageChallenge = Factory(StorageChallenge)
    self_healing: SelfHealing = Factory(SelfHealing)
    lep6: Own = Factory(Own)
