"""A heal goes through the real adapter, whatever the chain's nodes do meanwhile: nothing is lost, nothing said twice."""

import pytest

from chain_healing import HEALER, VERIFIED, VERIFIERS, a_wire
from healing import in_a_world
from lep6.chain.classify import BY_CODE, IN_MEMPOOL
from lep6.chain.sender import TIMEOUT_BLOCKS
from lep6.devnet.chain_server import (
    AnswerLost,
    Behind,
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
from lep6.heal.events import What
from lep6.model import HealOpStatus
from lep6.transaction import Claim, Vote

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
    "the look-up is not available": (Unavailable(), "GetTx", {"count": 8}),
    "sending takes too long": (Slow(LONGER), "BroadcastTx", {"count": 1}),
    "simulating takes too long": (Slow(LONGER), "Simulate", {"count": 3}),
    "the look-up takes too long": (Slow(LONGER), "GetTx", {"count": 4}),
    "the op takes too long": (Slow(LONGER), "HealOp", {"count": 4}),
    "everything takes too long": (Slow(LONGER), "*", {"count": 10}),
    "the answer is lost": (AnswerLost(), "BroadcastTx", {"count": 1}),
    "the answer of the look-up is lost": (AnswerLost(), "GetTx", {"count": 4}),
    "every answer is lost": (AnswerLost(), "*", {"count": 10}),
    "the mempool drops it": (Dropped(), "*", {"count": 1}),
    "it is included late": (Late(6), "*", {"count": 1}),
    "it is included in its last block": (Late(TIMEOUT_BLOCKS - 1), "*", {"count": 1}),
    "its time runs out": (Late(TIMEOUT_BLOCKS + 1), "*", {"count": 1}),
    "the sequence is said to be higher": (SequenceMismatch(), "*", {"count": 3}),
    "the sequence is said to be far higher": (SequenceMismatch(1000), "*", {"count": 6}),
    "the sequence is said to be lower": (SequenceMismatch(0), "BroadcastTx", {"count": 2}),
    "the simulation is told another sequence": (SequenceMismatch(7), "Simulate", {"count": 5}),
    "gas runs out in the simulation": (OutOfGas(), "Simulate", {"count": 3}),
    "gas runs out in the block": (OutOfGas(), "BroadcastTx", {"count": 3}),
    "answers are older": (Behind(3), "*", {"count": 40}),
    "looks at the op are older": (Behind(12), "HealOp", {"count": 10}),
    "looks at transactions are older": (Behind(30), "GetTx", {"count": 8}),
    "the newest block is an older one": (Behind(15), "GetLatestBlock", {"count": 6}),
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
