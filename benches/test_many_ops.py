"""Thousands of open heal ops, of which some concern this node: nothing is skipped, and memory stays flat."""

import gc
import os
import random
import time
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import trio
import trio.testing

from lep6.blocking import Inline
from lep6.chain import LumeraChain
from lep6.devnet.chain import Chain, ChainParams, OpRecord
from lep6.devnet.chain_server import ChainServer
from lep6.errors import FetchFailed, FetchFailure
from lep6.grpc import Address
from lep6.heal.disk import Disk
from lep6.heal.ledger import Ledger
from lep6.heal.service import HealService
from lep6.heal.settings import Settings
from lep6.keys import KeyKind, PrivateKey
from lep6.model import HealOpStatus, Ticket
from lep6.observe import Unwatched
from lep6.ports import Retrieval
from world import MockWallClock

OPS = 5_000
OURS = 200
TICKS = 200
TICK = 30.0
MOST_GROWTH = 16
"""MiB; an op that were kept at each tick would be many times as much."""
KEY = PrivateKey(KeyKind.ETHEREUM, sha256(b"a node with much to do").digest())
US, OTHER = KEY.public.address, "lumera1other"


class Away:
    """A network and healers that nobody reaches; it notes which ops were asked for."""

    def __init__(self):
        self.asked = set()

    async def retrieve(self, keys, /, *, need, sink):
        await trio.lowlevel.checkpoint()
        return Retrieval(frozenset(), frozenset(keys), frozenset(keys), frozenset())

    @asynccontextmanager
    async def open(self, op, /, *, size_bound):
        self.asked.add(op.op_id)
        raise FetchFailed(FetchFailure.UNREACHABLE, "nobody is there")
        yield


def resident():
    """MiB of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def busy_chain():
    """Half of the ops wait for a claim, half for votes; every 25th of each names this node."""
    chain = Chain(genesis_params=ChainParams(epoch_length=400_000))
    chain.add_account(US, 10**9)
    for op_id in range(1, OPS + 1):
        is_ours, is_claimed = op_id % (OPS // OURS) == 0, op_id % 2 == 0
        chain.set_op(
            OpRecord(
                op_id=op_id,
                ticket=Ticket(str(op_id)),
                healer=US if is_ours and not is_claimed else OTHER,
                verifiers=(US, OTHER) if is_ours and is_claimed else ("lumera1one", "lumera1two"),
                scheduled_epoch=0,
                deadline_epoch=3,
                created_height=1,
                updated_height=1,
                status=HealOpStatus.HEALER_REPORTED if is_claimed else HealOpStatus.SCHEDULED,
                result_hash="hash" if is_claimed else "",
            )
        )
    chain.make_block(0.0)
    return chain


async def ticks(directory, report):
    chain, away, deferred = busy_chain(), Away(), set()
    server = ChainServer(chain, block_seconds=None)
    async with trio.open_nursery() as nursery:

        async def connect(_):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.serve_stream, theirs)
            return ours

        async with (
            LumeraChain.open(
                [Address("chain", 9090, tls=False)], chain.chain_id, KEY, random=random.Random(0), connect=connect
            ) as client,
            Ledger.open(directory / "ledger.db", US, Inline()) as ledger,
        ):
            service = HealService(
                ledger=ledger,
                disk=Disk(directory / "staging", Inline(), Unwatched()),
                chain=client,
                accounts=client,
                network=away,
                survivors=away,
                source=away,
                blocking=Inline(),
                progress=Unwatched(),
                clock=MockWallClock(),
                random=random.Random(0),
                settings=Settings(tick=TICK),
                watch=lambda event: deferred.add(event.op_id),
            )
            async with service.running():
                await trio.sleep(20 * TICK)
                early, begun = resident(), time.perf_counter()
                await trio.sleep((TICKS - 20) * TICK)
                report["seconds a tick"] = (time.perf_counter() - begun) / (TICKS - 20)
                report["MiB resident"] = resident()
                report["MiB more than after 20 ticks"] = resident() - early
                service.stop()
                nursery.cancel_scope.cancel()
    return deferred | away.asked


def test_no_op_of_this_node_is_skipped_and_memory_stays_flat(benchmark, tmp_path):
    report = {}
    benchmark.group = f"{TICKS} ticks with {OPS} open ops, {OURS} of them ours"
    benchmark.extra_info |= {"by": "lep6", "processor": 0.0, "parts": report}
    clock = trio.testing.MockClock(autojump_threshold=0)
    seen = benchmark.pedantic(lambda: trio.run(ticks, tmp_path, report, clock=clock), rounds=1)
    assert {op_id for op_id in range(1, OPS + 1) if op_id % (OPS // OURS) == 0} <= seen
    assert report["MiB more than after 20 ticks"] < MOST_GROWTH
