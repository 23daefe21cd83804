"""What is examined, and what earlier checks have learnt of it for later ones."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import final

from attrs import define, field, frozen

from lep6.chain.nodes import Connect, Nodes
from lep6.chain.queries import Queries
from lep6.chain.records import Standing
from lep6.config import Config
from lep6.errors import Lep6Error
from lep6.grpc import Address, dial
from lep6.keys import PrivateKey
from lep6.model import Block
from lep6.ports import Blocking, Clock


@final
class NotLooked(Lep6Error):
    """A check needs what an earlier one has not found; that one says why."""


@final
@frozen
class Seen:
    """A newest block, and when it was told, by our clock."""

    block: Block
    at: float


@final
@define(eq=False, kw_only=True)
class Patient:
    """A node. Nothing of it is changed."""

    path: Path
    """Of its configuration."""
    environ: Mapping[str, str] = field(repr=False)
    blocking: Blocking
    clock: Clock
    random: Random
    connect: Connect = dial
    """How nodes of the chain are connected to."""
    found_config: Config | None = None
    key: PrivateKey | None = None
    holder: int | None = None
    """Process id of the daemon that runs on its data; `None`: there is none, as far as is known."""
    nodes: list[Address] = field(factory=list)
    """Nodes of the right chain that have answered."""
    seen: list[Seen] = field(factory=list)
    standing: Standing | None = None

    @property
    def config(self) -> Config:
        """Its configuration.

        Raises:
            NotLooked: it has none that can be used.
        """
        if self.found_config is None:
            raise NotLooked("the configuration cannot be used")
        return self.found_config

    @property
    def account(self) -> str:
        """Its account. Raises as `config`."""
        return self.config.supernode.identity

    @asynccontextmanager
    async def chain(self) -> AsyncIterator[Queries]:
        """The chain, through those of its nodes that have answered.

        Raises:
            NotLooked: none has.
        """
        config = self.config
        if not self.nodes:
            raise NotLooked("no node of the chain answers")
        async with Nodes.open(self.nodes, config.lumera.chain_id, random=self.random, connect=self.connect) as nodes:
            yield Queries(nodes)
