"""A devnet on loopback: a chain's node, a network in a directory, a file that is nearly lost, and configured nodes."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import ryaml
import trio
from attrs import define

from keyrings import add_key
from lep6 import RunningService, load_config, open_service
from lep6.blocking import Threads
from lep6.devnet.box import Box
from lep6.devnet.chain import Chain, ChainParams, OpRecord
from lep6.devnet.chain_server import ChainServer
from lep6.devnet.disaster import Survivors, destroy
from lep6.devnet.network import EmbeddedNetwork, node_key
from lep6.devnet.registration import Registered
from lep6.model import HealOpStatus, Ticket
from world import PROGRESS, noise

BLOCK_SECONDS = 0.2
CHAIN_ID = "lumera-devnet-1"
TICKET = Ticket("7")
DATA = noise(200_000)


async def free_port() -> int:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@define(eq=False, repr=False)
class Devnet:
    """All that nodes need around them."""

    box: Box
    server: ChainServer
    address: str
    """Of the chain's node."""
    ports: list[int]
    registered: Registered
    survivors: Survivors

    @property
    def directory(self) -> Path:
        return self.box.directory

    @property
    def chain(self) -> Chain:
        return self.box.chain

    @property
    def accounts(self) -> list[str]:
        return [node.account for node in self.box.network.nodes]

    def tree(self, number: int, **own: Any) -> dict[str, Any]:
        """The configuration of a node."""
        return {
            "supernode": {
                "key_name": "mykey",
                "identity": self.accounts[number],
                "host": "127.0.0.1",
                "port": self.ports[number],
            },
            "keyring": {"backend": "test", "dir": "keys"},
            "lumera": {"grpc_addr": self.address, "chain_id": CHAIN_ID},
            "self_healing": {"poll_interval_ms": 400, "verifier_backoff_base_ms": 200},
            "lep6": {
                "enabled": True,
                "metrics_listen": "",
                "stop_seconds": 8,
                "embedded_network": str(self.directory / "network"),
                **own,
            },
        }

    def write(self, number: int, tree: dict[str, Any] | None = None, **own: Any) -> Path:
        """Write the files of a node; the path of its configuration."""
        directory = self.directory / f"node-{number}"
        if not directory.exists():
            directory.mkdir(mode=0o700)
            add_key(directory / "keys" / "keyring-test", b"test", "mykey", node_key(number))
        path = directory / "config.yml"
        path.write_text(ryaml.dumps(tree or self.tree(number, **own)))
        path.chmod(0o600)
        return path

    @asynccontextmanager
    async def open_service(self, number: int, **options: Any) -> AsyncIterator[RunningService]:
        network = self.box.network
        config = load_config(self.write(number), {})
        parts = {"network": network.seen_from(self.accounts[number]), "survivors": network, **options}
        async with open_service(config, **parts) as service:
            yield service

    def put_op(self, op_id: int = 1, *, verifiers: tuple[int, ...] = (1, 2)) -> None:
        """Let the chain assign an op to node 0."""
        epoch = self.chain.state.epoch.epoch_id
        self.chain.set_op(
            OpRecord(
                op_id=op_id,
                ticket=TICKET,
                healer=self.accounts[0],
                verifiers=tuple(self.accounts[number] for number in verifiers),
                scheduled_epoch=max(0, epoch - 1),
                deadline_epoch=epoch + 3,
                created_height=self.chain.height,
                updated_height=self.chain.height,
                status=HealOpStatus.SCHEDULED,
            )
        )

    def status(self, op_id: int = 1) -> HealOpStatus:
        return self.chain.state.ops[op_id].status

    def accepted(self, kind: type) -> list[Any]:
        """Messages that had their effect."""
        return [tx.message for tx, result in self.chain.included if result.code == 0 and isinstance(tx.message, kind)]

    async def is_published(self) -> bool:
        keys = {*self.registered.layout.symbols, *self.registered.id_files}
        return await self.box.holders_left(keys) == len(keys)

    async def published(self) -> None:
        """Wait until everything of the file is in the network."""
        while not await self.is_published():  # noqa: ASYNC110 # on disk
            await trio.sleep(0.1)

    async def reads_back_without_survivors(self) -> bool:
        await self.box.network.delete(self.survivors.keys)
        return await self.box.read_back(self.registered, self.directory / "healed.bin") is None


@asynccontextmanager
async def a_devnet(directory: Path, *, nodes: int = 5, chain_id: str = CHAIN_ID) -> AsyncIterator[Devnet]:
    """A devnet whose file has lost most of its symbols. The network may be opened by processes, too."""
    rng, blocking = Random(0), Threads(2)
    chain = Chain(
        genesis_params=ChainParams(epoch_length=400, probation_epochs=1), chain_id=chain_id, genesis_time=time.time()
    )
    ports = [await free_port() for _ in range(nodes)]
    async with EmbeddedNetwork.open(
        directory / "network", blocking=blocking, random=rng, nodes=max(5, nodes), replicas=2
    ) as network:
        box = Box(directory, chain, network, blocking, PROGRESS, rng)
        box.populate([f"127.0.0.1:{ports[number] if number < nodes else 1}" for number in range(len(network.nodes))])
        original = directory / "original.bin"
        original.write_bytes(DATA)
        registered = await box.register(original, TICKET, id_files=4)
        survivors = await destroy(network, registered, symbols=5, id_files=0.5, rng=rng)
        server = ChainServer(chain, block_seconds=BLOCK_SECONDS)
        server.blocks.make()
        async with server.listening() as (host, port):
            yield Devnet(box, server, f"{host}:{port}", ports, registered, survivors)
