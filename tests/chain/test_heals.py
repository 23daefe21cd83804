"""A heal goes through the real adapter, whatever the chain's nodes do meanwhile: nothing is lost, or said twice."""

from random import Random

import pytest
import trio
import trio.testing

from chain_healing import FIRST, HEALER, SECOND, VERIFIED, VERIFIERS, a_wire
from healing import BLOCK, in_a_world
from lep6.chain import LumeraChain
from lep6.chain.classify import BY_CODE, IN_MEMPOOL
from lep6.chain.sender import TIMEOUT_BLOCKS
from lep6.chain.signing import VOTE_URL
from lep6.devnet.chain import Chain, ChainParams
from lep6.devnet.chain_server import (
    AnswerLost,
    Behind,
    ChainServer,
    CheckRefused,
    Dropped,
    FailsInBlock,
    Late,
    NoIndex,
    OutOfGas,
    SequenceMismatch,
    Slow,
    Unavailable,
)
from lep6.devnet.network import node_key
from lep6.heal.events import What
from lep6.model import HealOpStatus
from lep6.transaction import Claim, Included, Packed, Refusal, Transaction, Vote
from lep6.wire.lumera.audit.v1 import MsgSubmitHealVerification

REPORTED = HealOpStatus.HEALER_REPORTED
KINDS = (Claim, Vote)
NODES = 4
ASKED = ("HealOp", "HealOpsByStatus", "Params", "GetLatestBlock", "AccountInfo", "GetTx", "Simulate", "BroadcastTx")
"""Methods that a heal cannot do without."""
LONGER = 12.0
"""Seconds: more than a node waits for an answer."""
CODES = sorted({*BY_CODE, IN_MEMPOOL, ("sdk", 2), ("sdk", 21), ("undefined", 1), ("audit", 1)})
FALSE_VOTE_EXISTS = ("audit", 15)
"""Said of a vote that was not given, it is believed: there is no way to know better."""

TROUBLES = {
    "no node is available": (Unavailable(), "BroadcastTx", {"count": 1}),
    "no node is available for a minute": (Unavailable(), "*", {"count": None, "seconds": 60}),
    "the simulation is not available": (Unavailable(), "Simulate", {"count": 3}),
    "sending takes too long": (Slow(LONGER), "BroadcastTx", {"count": 1}),
    "the look-up takes too long": (Slow(LONGER), "GetTx", {"count": 4}),
    "the op takes too long": (Slow(LONGER), "HealOp", {"count": 4}),
    "everything takes too long": (Slow(LONGER), "*", {"count": 10}),
    "the answer is lost": (AnswerLost(), "BroadcastTx", {"count": 1}),
    "every answer is lost": (AnswerLost(), "*", {"count": 10}),
    "the mempool drops it": (Dropped(), "*", {"count": 1}),
    "it is included late": (Late(6), "*", {"count": 1}),
    "its time runs out": (Late(TIMEOUT_BLOCKS + 1), "*", {"count": 1}),
    "the sequence is said to be higher": (SequenceMismatch(), "*", {"count": 3}),
    "the sequence is said to be lower": (SequenceMismatch(0), "BroadcastTx", {"count": 2}),
    "gas runs out in the simulation": (OutOfGas(), "Simulate", {"count": 3}),
    "gas runs out in the block": (OutOfGas(), "BroadcastTx", {"count": 3}),
    "answers are older": (Behind(3), "*", {"count": 40}),
    "looks at the op are older": (Behind(12), "HealOp", {"count": 10}),
    "looks at transactions are older": (Behind(30), "GetTx", {"count": 8}),
    "transactions are not indexed": (NoIndex(), "*", {"count": None}),
}
"""What goes wrong, in which calls, how often or how long."""


async def reported(wire, op_id=1):
    await wire.soon(lambda: wire.world.status(op_id) is REPORTED)


@pytest.mark.parametrize("name", TROUBLES)
@in_a_world(nodes=NODES)
async def test_what_goes_wrong_with_claim_and_votes_delays_them_and_the_next_op_heals(world, name):
    fault, methods, often = TROUBLES[name]
    async with a_wire(world) as wire:
        await wire.start()
        wire.server.order(fault, methods, **often)
        wire.put_op()
        await reported(wire)
        taken = wire.took(type(fault))
        wire.server.faults.cancel()
        wire.server.order(fault, methods, **often)
        await wire.healed()
        assert 0 < taken < wire.took(type(fault))
        await wire.next_heals()


@in_a_world(nodes=NODES)
async def test_whatever_code_check_tx_refuses_with_ops_heal_and_so_does_the_next(world):
    async with a_wire(world) as wire:
        await wire.start()
        for op_id, code in enumerate(CODES, 1):
            for number in (HEALER,) if code == FALSE_VOTE_EXISTS else (HEALER, *VERIFIERS):
                wire.server.order(CheckRefused(code[1], code[0]), account=world.accounts[number])
            wire.put_op(op_id)
        for op_id, _ in enumerate(CODES, 1):
            await wire.healed(op_id)
        assert wire.took(CheckRefused) == 3 * len(CODES) - 2
        await wire.next_heals(len(CODES) + 1)


@in_a_world(nodes=NODES)
async def test_whatever_code_they_fail_with_in_their_blocks_claims_and_votes_are_sent_again(world):
    codes = [code for code in CODES if code not in (FALSE_VOTE_EXISTS, IN_MEMPOOL)]
    async with a_wire(world) as wire:
        await wire.start()
        for op_id, (codespace, code) in enumerate(codes, 1):
            for number in (HEALER, *VERIFIERS):
                wire.server.order(FailsInBlock(code, codespace), account=world.accounts[number])
            wire.put_op(op_id)
        for op_id, _ in enumerate(codes, 1):
            await wire.healed(op_id)
        failed = [result.code for _, result in world.chain.included if result.code]
        assert len(failed) == 3 * len(codes)
        await wire.next_heals(len(codes) + 1)


@in_a_world(nodes=NODES)
async def test_a_vote_that_was_given_without_our_knowing_is_found_out_by_giving_it_again(world):
    async with a_wire(world) as wire:
        await wire.start(verifiers=3)
        wire.server.order(NoIndex(), count=None)
        wire.put_op(verifiers=(1, 2, 3))
        await reported(wire)
        first, *others = wire.lives[1:]
        for life in others:
            await life.kill()
        await wire.waiting(Vote)
        await world.until(lambda: first.seen(What.ACCEPTED, 1))
        votes = [tx for tx, _ in world.chain.included if isinstance(tx.message, Vote)]
        assert [tx.creator for tx in votes] == [first.account]
        assert world.status() is REPORTED
        for life in others:
            await life.start()
        await wire.healed()


# The node of the chain restarts.


@pytest.mark.parametrize("down", [0, 5, 45])
@in_a_world(nodes=NODES)
async def test_a_restart_of_the_chain_s_node_that_loses_claim_and_votes_is_outlived(world, down):
    async with a_wire(world) as wire:
        await wire.start()
        wire.put_op()
        for kind in KINDS:
            assert await wire.waiting(kind)
            wire.server.restart(down)
            assert not world.chain.mempool()
        await wire.healed()
        assert len(wire.sent) >= 5
        await wire.next_heals()


@in_a_world(nodes=NODES)
async def test_a_restart_while_it_is_being_sent_is_outlived(world):
    async with a_wire(world) as wire:
        await wire.start()
        wire.put_op()
        for op_id, methods in enumerate(("Simulate", "BroadcastTx", "GetTx"), 1):
            wire.put_op(op_id)
            for _ in KINDS:
                before = wire.took(Slow)
                wire.server.order(Slow(5), methods)
                await wire.soon(lambda before=before: wire.took(Slow) > before)
                wire.server.restart(3)
            await wire.healed(op_id)
        await wire.next_heals(4)


# The op is pruned.


@pytest.mark.parametrize("when", ["before the claim", "claim waits", "claimed", "votes wait", "voted once"])
@in_a_world(nodes=NODES)
async def test_of_an_op_that_is_pruned_everything_goes_and_nothing_is_published(world, when):
    async with a_wire(world) as wire:
        await wire.start()
        healer, verifier, other = wire.lives
        if when == "before the claim":
            wire.server.order(Unavailable(), "Simulate", count=3)
        if when == "voted once":
            wire.server.order(Dropped(), account=other.account)
        wire.put_op()
        match when:
            case "before the claim":
                await wire.soon(lambda: wire.took(Unavailable))
            case "claim waits":
                await wire.waiting(Claim)
            case "claimed":
                await reported(wire)
            case "votes wait":
                await wire.waiting(Vote)
            case "voted once":
                await world.until(lambda: verifier.seen(What.ACCEPTED, 1))
        assert healer.is_staged()
        assert world.status() is not VERIFIED
        wire.server.faults.cancel()
        world.chain.prune_ops([1])
        await wire.clean()
        assert not healer.passage.count("store")
        assert [event.text for event in healer.seen(What.CLOSED, 1)] == ["unknown to the chain"]
        await wire.next_heals()


# A node that heals restarts.


@pytest.mark.parametrize("fault", [None, AnswerLost(), Dropped(), Late(5), OutOfGas()])
@pytest.mark.parametrize("kind", KINDS)
@in_a_world(nodes=NODES)
async def test_a_node_that_dies_over_its_broadcast_says_nothing_twice_after_its_restart(world, kind, fault):
    async with a_wire(world) as wire:
        await wire.start()
        life = wire.healer if kind is Claim else wire.lives[1]
        if fault is not None:
            wire.server.order(fault, "BroadcastTx")
        dies(life)
        wire.put_op()
        if kind is Vote and fault is not None:
            await reported(wire)
            wire.server.faults.cancel()
            wire.server.order(fault, "BroadcastTx")
        await wire.soon(lambda: life.has_ended)
        life.passage.hooks.pop("broadcast")
        before = life.chain
        await life.start()
        assert life.chain is not before
        await wire.healed()
        await wire.next_heals()


def dies(life):
    """Let a node be killed when its transaction is on its way."""

    async def hook(_, call):
        async with trio.open_nursery() as nursery:

            async def soon_dead():
                await trio.lowlevel.checkpoint()
                life.cut()

            nursery.start_soon(soon_dead)
            with trio.CancelScope(shield=True):
                return await call()

    life.passage.hooks["broadcast"] = hook


@in_a_world(nodes=NODES)
async def test_all_nodes_may_restart_at_any_time(world):
    async with a_wire(world) as wire:
        await wire.start()
        wire.put_op()
        moments = Random(5)
        for life in [*wire.lives, *wire.lives]:
            await trio.sleep(moments.uniform(0, 4) * BLOCK)
            await life.restart()
        await wire.healed()
        await wire.next_heals()


# Several nodes of the chain.


def silent(wire):
    async def connect():
        await trio.lowlevel.checkpoint()
        ours, _ = trio.testing.memory_stream_pair()
        return ours

    return connect


def unreachable(wire):
    async def connect():
        await trio.sleep_forever()

    return connect


def away(wire):
    async def connect():
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("nobody listens")

    return connect


def behind(wire):
    return wire.serve(second_server(wire, Behind(50)))


def slow(wire):
    return wire.serve(second_server(wire, Slow(LONGER)))


def of_another_chain(wire):
    chain = Chain(genesis_params=ChainParams(), chain_id="lumera-other-1")
    chain.make_block(6.0)
    return wire.serve(ChainServer(chain, block_seconds=None))


def unindexed(wire):
    return wire.serve(second_server(wire, NoIndex()))


def unheard(wire):
    return wire.serve(second_server(wire, AnswerLost()))


def second_server(wire, fault):
    """Another node of the same chain, that is always so."""
    server = ChainServer(wire.world.chain, block_seconds=None)
    server.order(fault, count=None)
    return server


BAD = [silent, unreachable, away, behind, slow, of_another_chain, unindexed, unheard]


@pytest.mark.parametrize(
    ("bad", "is_first"), [(bad, first) for bad in BAD for first in (False, True) if (bad, first) != (behind, True)]
)
@in_a_world(nodes=NODES)
async def test_of_two_nodes_of_the_chain_one_may_be_bad(world, bad, is_first):
    async with a_wire(world) as wire:
        wire.ends[SECOND] = bad(wire)
        await wire.start(addresses=(SECOND, FIRST) if is_first else (FIRST, SECOND))
        wire.put_op(epochs=3)
        await wire.healed(blocks=60)


@in_a_world(nodes=NODES)
async def test_two_nodes_of_the_chain_may_be_bad_in_turns(world):
    async with a_wire(world) as wire:
        second = ChainServer(world.chain, block_seconds=None)
        wire.ends[SECOND] = wire.serve(second)
        await wire.start(addresses=(FIRST, SECOND))
        wire.put_op()
        for faults in (wire.server.faults, second.faults, wire.server.faults, second.faults):
            faults.order(Unavailable(), count=None, seconds=4 * BLOCK)
            await world.blocks(5)
        await wire.healed()
        await wire.next_heals()


@in_a_world(nodes=NODES)
async def test_a_node_of_another_chain_alone_is_told_nothing(world):
    async with a_wire(world) as wire:
        good, wire.ends[FIRST] = wire.ends[FIRST], of_another_chain(wire)
        await wire.start()
        wire.put_op()
        await world.blocks(20)
        assert not world.chain.included
        assert not wire.sent
        wire.ends[FIRST] = good
        for life in wire.lives:
            await life.restart()
        await wire.healed()


# One key for several.


def hosts_message(account, op_id):
    vote = MsgSubmitHealVerification(creator=account, heal_op_id=op_id, verified=False, verification_hash="no file")
    return Packed(VOTE_URL, bytes(vote))


class Host:
    """Sends messages of its own, which come into blocks, with the healer's key."""

    def __init__(self, wire, sender):
        self.wire, self.sender, self.included = wire, sender, 0

    async def say(self, op_id):
        """Say something until it is in a block. What it is about is there only while it is said."""
        world, account = self.wire.world, self.wire.healer.account
        while True:
            world.put_op(
                REPORTED, op_id=op_id, result_hash="x", verifiers=[account, *world.accounts[1:4]], healer="far"
            )
            transaction = await self.sender.prepare(hosts_message(account, op_id), last_height=None)
            world.chain.prune_ops([op_id])
            if isinstance(transaction, Transaction):
                await self.sender.broadcast(transaction)
                for _ in range(TIMEOUT_BLOCKS + 1):
                    await trio.sleep(BLOCK)
                    found = await self.sender.lookup(transaction.tx_hash)
                    if isinstance(found.value, Included):
                        assert found.value.refusal is Refusal.OP_UNKNOWN  # it paid
                        self.included += 1
                        return
            await trio.sleep(1)

    async def say_much(self, *, start=900, count=12, pause=BLOCK / 3):
        async with trio.open_nursery() as nursery:
            for op_id in range(start, start + count):
                nursery.start_soon(self.say, op_id)
                await trio.sleep(pause)


@pytest.mark.parametrize("pause", [0, BLOCK / 3, 2 * BLOCK])
@in_a_world(nodes=NODES)
async def test_a_host_that_shares_the_key_sends_its_own_in_between(world, pause):
    async with a_wire(world) as wire:
        await wire.start()
        host = Host(wire, wire.healer.chain.sender)
        wire.server.order(Dropped(), count=2, account=wire.healer.account)
        wire.put_op()
        await host.say_much(pause=pause)
        await wire.healed()
        assert host.included == 12
        await wire.next_heals()


@in_a_world(nodes=NODES)
async def test_a_host_that_prepares_and_never_sends_holds_nobody_up(world):
    async with a_wire(world) as wire:
        await wire.start()
        wire.put_op()
        sender = wire.healer.chain.sender
        while world.status() is not VERIFIED:
            await sender.prepare(hosts_message(wire.healer.account, 1), last_height=None)
            await trio.sleep(BLOCK / 2)
        await wire.healed()
        await wire.next_heals()


@in_a_world(nodes=NODES)
async def test_another_process_with_the_same_key_moves_the_sequence(world):
    async with a_wire(world) as wire:
        await wire.start()
        stranger = LumeraChain.open(
            [FIRST], world.chain.chain_id, node_key(HEALER), random=Random(0), connect=wire.connect
        )
        async with stranger as other:
            host = Host(wire, other.sender)
            for op_id in (1, 2, 3):
                wire.put_op(op_id)
                await host.say_much(start=900 + 10 * op_id, count=3)
                await wire.healed(op_id)
        assert host.included == 9
        await wire.next_heals(4)


# All at once.


@in_a_world(nodes=NODES)
async def test_many_ops_in_which_each_node_has_every_role_heal_side_by_side(world):
    async with a_wire(world) as wire:
        await wire.start()
        for op_id in range(1, 10):
            healer = op_id % 3
            wire.put_op(op_id, healer=healer, verifiers=[(healer + 1) % 3, (healer + 2) % 3])
        for op_id in range(1, 10):
            await wire.healed(op_id)
        await wire.next_heals(10)


def some_fault(chance):
    """A fault, the methods that it is for, and how often or how long: none that lasts."""
    often = {"count": chance.randint(1, 3)}
    long = {"count": None, "seconds": chance.uniform(6, 60)}
    codespace, code = chance.choice([code for code in CODES if code not in (FALSE_VOTE_EXISTS, IN_MEMPOOL)])
    return chance.choice(
        [
            (Unavailable(), chance.choice(("*", *ASKED)), chance.choice((often, long))),
            (Slow(chance.uniform(0.1, 30)), chance.choice(("*", *ASKED)), often),
            (AnswerLost(), chance.choice(("*", *ASKED)), often),
            (Behind(chance.randint(1, 40)), chance.choice(("*", *ASKED)), often),
            (Dropped(), "*", {"count": 1}),
            (Late(chance.randint(1, TIMEOUT_BLOCKS + 3)), "*", {"count": 1}),
            (SequenceMismatch(chance.choice((None, 0, 1, 2, 500))), "*", often),
            (OutOfGas(), chance.choice(("Simulate", "BroadcastTx")), often),
            (FailsInBlock(code, codespace), "*", often),
            (CheckRefused(code, codespace), "*", often),
            (NoIndex(), "*", long),
        ]
    )


@pytest.mark.parametrize("seed", range(6))
@in_a_world(nodes=NODES)
async def test_faults_in_any_mixture_and_restarts_of_whoever_are_outlived(world, seed):
    chance = Random(seed)
    async with a_wire(world) as wire:
        await wire.start()
        wire.put_op()
        for _ in range(10):
            fault, methods, often = some_fault(chance)
            wire.server.order(fault, methods, **often)
            await trio.sleep(chance.uniform(0, 3) * BLOCK)
            match chance.randrange(8):
                case 0:
                    wire.server.restart(chance.uniform(0, 15))
                case 1:
                    await chance.choice(wire.lives).restart()
        await world.blocks(20)
        wire.server.faults.cancel()
        await wire.healed()
        await wire.next_heals()
