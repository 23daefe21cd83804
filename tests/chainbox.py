"""Chains in a box for tests: a few nodes, a file that is in danger, and transactions for it."""

import hashlib

from attrs import evolve

from lep6.devnet.chain import Chain, ChainParams, OpRecord, TicketState, Tx
from lep6.keys import account_address
from lep6.model import HealOpStatus, Ticket
from lep6.transaction import Claim, Message, Vote

EPOCH = 10
"""Blocks of an epoch in these chains."""

TICKET = Ticket("42")
HASH = "aAKLMGGtZ7UGhmC0EhChhRKdXlJrA2gM3DjAuc4Xro4="
OTHER_HASH = "jZpTqqC3PvKzLANbBm4mz/IzIlyAc24zeXmPfJwJI90="


def address(name: str) -> str:
    return account_address(hashlib.sha256(name.encode()).digest()[:20])


def ticket(name: str = TICKET, **changes) -> TicketState:
    """A ticket that is to be healed."""
    return evolve(TicketState(ticket=Ticket(name), deterioration_score=60, distinct_holder_failure_count=2), **changes)


def chain_of(nodes: int = 4, *, balance: int = 10**9, tickets=(), **options) -> Chain:
    """A chain before its first block, with nodes that can pay. Parameters by name, options of the chain as `chain`."""
    settings = options.pop("chain", {})
    chain = Chain(genesis_params=ChainParams(**{"epoch_length": EPOCH, **options}), **settings)
    for n in range(nodes):
        chain.add_account(address(f"node {n}"), balance)
        chain.add_supernode(address(f"node {n}"), host=f"10.0.0.{n + 1}")
    for state in tickets:
        chain.set_ticket(state)
    return chain


def run(chain: Chain, blocks: int) -> None:
    for _ in range(blocks):
        chain.make_block(6.0 * (chain.height + 1))


def run_to(chain: Chain, height: int) -> None:
    run(chain, height - chain.height)


def scheduled(**options) -> tuple[Chain, OpRecord]:
    """A chain at the end of epoch 0, and the op that was made there."""
    chain = chain_of(tickets=[ticket()], **options)
    run_to(chain, EPOCH)
    return chain, chain.at().heal_op(1)


def claim(op: OpRecord, **changes) -> Claim:
    return evolve(Claim(op.op_id, op.ticket, HASH), **changes)


def vote(op: OpRecord, verified: bool = True, **changes) -> Vote:
    return evolve(Vote(op.op_id, verified, HASH if verified else OTHER_HASH, "" if verified else "no"), **changes)


def tx(chain: Chain, creator: str, message: Message, **changes) -> Tx:
    """A transaction that is in order, after those that wait."""
    waiting = sum(other.creator == creator for other in chain.mempool())
    sequence = chain.state.accounts[creator].sequence + waiting
    return evolve(Tx(creator=creator, message=message, sequence=sequence, gas_limit=200_000, fee=5_000), **changes)


def send(chain: Chain, creator: str, message: Message, **changes) -> Tx:
    sent = tx(chain, creator, message, **changes)
    assert chain.submit(sent).code == 0
    return sent


def claimed(**options) -> tuple[Chain, OpRecord]:
    """A chain with an op that its healer has reported on, in the first block of epoch 1."""
    chain, op = scheduled(**options)
    send(chain, op.healer, claim(op))
    run(chain, 1)
    op = chain.at().heal_op(1)
    assert op.status is HealOpStatus.HEALER_REPORTED
    return chain, op


def cast(chain: Chain, op: OpRecord, *verdicts: bool) -> OpRecord:
    """The op after its verifiers, in their order, have voted in one block."""
    for verifier, verified in zip(op.verifiers, verdicts, strict=False):
        send(chain, verifier, vote(op, verified))
    run(chain, 1)
    return chain.at().heal_op(op.op_id)
