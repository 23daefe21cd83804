"""A node for the doctor: real files, a real keyring, and a real chain on loopback."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import ryaml
import trio
from attrs import define, field

from keyrings import COSMOS_SECRET, add_key
from lep6.blocking import WallClock
from lep6.config import own_staging
from lep6.devnet.chain import Chain, ChainParams
from lep6.devnet.chain_server import ChainServer
from lep6.doctor import Finding, Level, Patient, Unwaited, examine
from lep6.keys import KeyKind, PrivateKey

KEY = PrivateKey(KeyKind.COSMOS, COSMOS_SECRET)
ME = KEY.public.address
CHAIN_ID = "lumera-devnet-1"


class Shifted:
    """A clock that is wrong by some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return time.time() + self._seconds


async def free_port() -> int:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@define
class House:
    """A node's directory, and the chain that it asks."""

    base: Path
    chain: Chain
    server: ChainServer
    tree: dict = field(repr=False)

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def staging(self) -> Path:
        return own_staging(self.base / "staging", ME)

    @property
    def port(self) -> int:
        return self.tree["supernode"]["port"]

    def write(self) -> Path:
        path = self.base / "config.yml"
        path.write_text(ryaml.dumps(self.tree))
        path.chmod(0o600)
        return path

    def patient(self, **options) -> Patient:
        """To be examined as the configuration now is."""
        fields = {"environ": {}, "blocking": Unwaited(), "clock": WallClock(), "random": Random(0)}
        return Patient(path=self.write(), **{**fields, **options})

    async def findings(self, **options) -> tuple[Finding, ...]:
        return await examine(self.patient(**options))


@asynccontextmanager
async def a_house(directory: Path, *, chain_id: str = CHAIN_ID, balance: int = 10**9) -> AsyncIterator[House]:
    """A node that has all it needs, and whose daemon is down."""
    base = directory / "node"
    base.mkdir(mode=0o700)
    (base / "data").mkdir(mode=0o700)
    add_key(base / "keys" / "keyring-test", b"test", "mykey", KEY)
    port = await free_port()
    chain = Chain(genesis_params=ChainParams(epoch_length=10), chain_id=chain_id, genesis_time=time.time() - 6)
    chain.add_account(ME, balance)
    chain.add_supernode(ME, host=f"127.0.0.1:{port}")
    chain.make_block(time.time())
    server = ChainServer(chain, block_seconds=None)
    async with server.listening() as (host, chain_port):
        tree = {
            "supernode": {"key_name": "mykey", "identity": ME, "host": "127.0.0.1", "port": port},
            "keyring": {"backend": "test", "dir": "keys"},
            "lumera": {"grpc_addr": f"{host}:{chain_port}", "chain_id": CHAIN_ID},
            "self_healing": {"enabled": False, "staging_dir": "staging"},
            "lep6": {"enabled": True, "data_dir": "data", "metrics_listen": ""},
        }
        yield House(base, chain, server, tree)


def of(findings: tuple[Finding, ...], name: str, level: Level | None = None) -> list[Finding]:
    """The findings of a check."""
    return [each for each in findings if each.name == name and level in (None, each.level)]


def levels(findings: tuple[Finding, ...], name: str) -> list[str]:
    return [each.level.value for each in of(findings, name)]


def only(findings: tuple[Finding, ...], name: str, level: Level) -> Finding:
    """The one finding of a check and a level."""
    [found] = of(findings, name, level)
    return found
