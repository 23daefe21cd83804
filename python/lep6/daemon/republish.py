"""Republishing: the operator's own decision to bring a file back into the network, without a heal op."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Final

import trio

from lep6.blocking import WallClock
from lep6.cascade.publish import Deferred, Publisher
from lep6.cascade.reseed import Outcome, Publish, Reseeder
from lep6.chain.nodes import Nodes
from lep6.chain.queries import Queries
from lep6.config import Config
from lep6.daemon.lock import only_one
from lep6.daemon.run import Networks
from lep6.errors import InvalidAction
from lep6.heal.ledger import Ledger
from lep6.model import Ticket
from lep6.observe import Progress
from lep6.ports import Blocking

DIRECTORY: Final = "republish"
"""Below the data directory: its own stagings and its own journal, apart from those of heal ops."""
JOURNAL: Final = "journal.db"


async def republish(
    config: Config,
    ticket: Ticket,
    networks: Networks,
    *,
    blocking: Blocking,
    progress: Progress,
    random: Random,
    tell: Callable[[Deferred], object],
) -> Outcome:
    """Rebuild the file of a ticket from what survives, prove it, and publish all its artefacts again.

    A publish that does not succeed is tried again, with pauses, until it is stuck; `tell` hears of each failure. It
    may run beside the daemon, and goes on where an earlier call stopped.

    Raises:
        AlreadyRunning: another republish is at work.
        InvalidAction: the chain knows no such action, or it cannot be healed from.
        InvalidArtefact, NoSpace, OSError: as `Reseeder.reseed`.
        ChainUnavailable: no node of the chain answered.
    """
    root = config.data_dir / DIRECTORY
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(root))
        nodes = await stack.enter_async_context(
            Nodes.open(config.chain_addresses, config.lumera.chain_id, random=random)
        )
        queries = Queries(nodes)
        journal = await stack.enter_async_context(Ledger.open(root / JOURNAL, config.supernode.identity, blocking))
        action = (await queries.action(ticket)).value
        if action is None:
            raise InvalidAction(f"the chain knows no action {ticket}")
        reseeder = Reseeder(root, networks.survivors, queries, blocking, progress, random)
        then = Publish(Publisher(networks.others, journal, blocking, progress, random, WallClock()))
        while True:
            outcome = await reseeder.reseed(action, then=then)
            if not isinstance(outcome, Deferred) or outcome.is_stuck:
                return outcome
            tell(outcome)
            await trio.sleep(max(0.0, outcome.not_before - WallClock().now()))
