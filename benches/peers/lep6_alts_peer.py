"""Both ends on lep6 and secured. Options: `ours` or `go`, as what they present themselves, and a staging root to serve
op 1 from it in place of memory."""

from functools import partial
from pathlib import Path
from random import Random

import trio
from heal_op import FromMemory, OneOp, heal_op
from peer import SIZE, main, tell, wait_for_the_end

from lep6 import _core
from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.blocking import Threads
from lep6.devnet.network import node_key
from lep6.grpc import Server
from lep6.model import Supernode
from lep6.secure_rpc import Credentials, Dialer, Door, HandshakeIdentity, PeerRegistry

MOST = 16
"""Clients at a time."""
HEALER, *VERIFIERS = (Credentials(node_key(number)) for number in range(1 + MOST))


class Registered:
    """A chain that has all of these as supernodes."""

    def __init__(self):
        self.accounts = {each.account for each in (HEALER, *VERIFIERS)}

    async def supernode(self, account, /):
        await trio.lowlevel.checkpoint()
        return Supernode(account, "127.0.0.1") if account in self.accounts else None

    async def is_account(self, address, /):
        await trio.lowlevel.checkpoint()
        return address in self.accounts


def serve(options):
    if options[1:]:
        op = heal_op(HEALER.account, VERIFIERS[0].account, root=options[1])
        service = ArtefactService(HEALER.account, Path(options[1]), OneOp(op), HandshakeIdentity(), Threads(2))
    else:
        service = FromMemory()

    async def run():
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        door = Door(Server([service]), HEALER, PeerRegistry(Registered()), as_ours=options[0] == "ours")
        async with door.serving(listeners, drain_seconds=0):
            tell(listeners[0].socket.getsockname()[1])
            await trio.to_thread.run_sync(wait_for_the_end)

    trio.run(run)


def a_dialer(port, options, verifier=VERIFIERS[0]):
    chain = Registered()
    return Dialer(verifier, chain, PeerRegistry(chain), Random(1), port, as_ours=options[0] == "ours")


def fetch(port, options):
    """What a verifier does with a file."""

    async def run():
        op = heal_op(HEALER.account, VERIFIERS[0].account)
        client = ArtefactClient(VERIFIERS[0].account, a_dialer(port, options).channel)
        threads, hasher, size = Threads(2), _core.Hasher(), 0
        async with client.open(op, size_bound=SIZE) as chunks:
            async for chunk in chunks:
                await threads.run(partial(hasher.update, chunk))
                size += len(chunk)
        hasher.digest()
        return size

    return trio.run(run)


def shake(port, options, number, at_once):
    """Each account at a time shakes hands again and again."""
    shaken = []

    async def shake_as(verifier):
        dialer = a_dialer(port, options, verifier)
        address = await dialer.locate(HEALER.account)
        for _ in range(number // at_once):
            stream = await dialer.dial(address)
            shaken.append(stream.peer)
            await stream.aclose()

    async def run():
        async with trio.open_nursery() as nursery:
            for verifier in VERIFIERS[:at_once]:
                nursery.start_soon(shake_as, verifier)

    trio.run(run)
    return shaken.count(HEALER.account)


main(serve, {"fetch": fetch, "shake": shake})
