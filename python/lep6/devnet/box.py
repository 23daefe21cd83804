"""A box: a chain, a network of stores, a file in it, and accounts for all who are needed."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from random import Random
from typing import Final, final

from attrs import define

from lep6 import _core
from lep6.cascade.metadata import read_metadata
from lep6.cascade.retrieve import Cannot, Retriever
from lep6.devnet.chain import Chain, TicketState
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.registration import Client, Registered, devnet_creator
from lep6.errors import InvalidArtefact
from lep6.model import Key, Ticket
from lep6.observe import Progress
from lep6.ports import Blocking, Network

BALANCE: Final = 10**12
"""Of each account, in ulume: nobody runs short of it."""
BAD_SCORE: Final = 60


def host_of(number: int) -> str:
    """Where a node of the box is, as long as it has not registered another address."""
    return f"node-{number}.devnet"


@final
@define(eq=False)
class Box:
    """Everything around the nodes."""

    directory: Path
    chain: Chain
    network: EmbeddedNetwork
    blocking: Blocking
    progress: Progress
    random: Random

    def populate(self, hosts: Sequence[str] = ()) -> None:
        """Let the chain know the nodes of the network, as supernodes, and the creator of files.

        `hosts`: where the nodes are, where that is known.
        """
        creator = devnet_creator().public
        self.chain.add_account(creator.address, BALANCE, public_key=creator)
        for number, node in enumerate(self.network.nodes):
            self.chain.add_account(node.account, BALANCE)
            self.chain.add_supernode(node.account, host=hosts[number] if hosts else host_of(number))

    async def register(self, file: Path, ticket: Ticket, *, id_files: int = 50) -> Registered:
        """Put a file into the network, and its action onto the chain."""
        scratch = self.directory / f"scratch-{ticket}"
        scratch.mkdir(parents=True)
        client = Client(devnet_creator(), self.network, self.blocking, self.progress, self.random)
        registered = await client.register(file, ticket, scratch, id_files=id_files)
        await self.blocking.run(lambda: shutil.rmtree(scratch))
        self.chain.add_action(registered.action)
        return registered

    def condemn(self, ticket: Ticket) -> None:
        """Let the chain think so badly of a ticket that it schedules a heal op at the end of this epoch."""
        epoch = max(1, self.chain.state.epoch.epoch_id)
        self.chain.set_ticket(
            TicketState(
                ticket=ticket, deterioration_score=BAD_SCORE, last_index_failure_epoch=epoch, last_updated_epoch=epoch
            )
        )

    async def read_back(self, registered: Registered, output: Path, network: Network | None = None) -> str | None:
        """Read a file back from the network. Why it cannot be had; `None` when `output` is the file."""
        retriever = Retriever(
            registered.action.ticket,
            read_metadata(registered.action),
            network or self.network,
            self.blocking,
            self.progress,
            self.random,
        )
        reader = self.directory / "reader"
        try:
            found = await retriever.to_file(reader, "1", output)
        except InvalidArtefact as error:
            return str(error)
        finally:
            await self.blocking.run(lambda: shutil.rmtree(reader, ignore_errors=True))
        if isinstance(found, Cannot):
            return str(found)
        job = _core.Job()
        digest = await self.blocking.run(lambda: _core.hash_file(output, job), cancel=job.cancel)
        return None if digest == registered.layout.digest else "the bytes differ"

    async def holders_left(self, keys: Collection[Key]) -> int:
        """How many of these keys some node still holds."""
        return sum(map(bool, (await self.network.holders(keys)).values()))
