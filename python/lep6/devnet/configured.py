"""The network that a configuration names: that of a box."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import SystemRandom

from lep6.config import Config
from lep6.daemon.run import Networks
from lep6.devnet.network import EmbeddedNetwork
from lep6.errors import NoNetwork
from lep6.ports import Blocking


@asynccontextmanager
async def open_networks(config: Config, blocking: Blocking) -> AsyncIterator[Networks]:
    """The network of a box as the configured node uses it.

    Raises:
        NoNetwork: none is configured.
    """
    directory = config.embedded_network
    if directory is None:
        raise NoNetwork("lep6.embedded_network is not set: there is no network to heal on")
    async with EmbeddedNetwork.open(directory, blocking=blocking, random=SystemRandom()) as network:
        yield Networks(network.seen_from(config.supernode.identity), network)
