"""Whether the configured nodes of the chain answer, are of the right chain, and are not behind."""

from typing import Final

import trio
from attrs import frozen

from lep6.chain.nodes import BEHIND_BLOCKS, Nodes
from lep6.chain.queries import Queries
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient, Seen
from lep6.errors import ChainUnavailable, WrongChain
from lep6.grpc import Address

SECONDS: Final = 8.0
"""For each node; all are asked at once."""


@frozen
class Answer:
    """What one node has said."""

    seen: Seen | None = None
    is_syncing: bool = False
    is_wrong: bool = False
    """Whether it is a node of another chain."""
    failure: str = ""


async def look_at_chain(patient: Patient, found: Findings) -> None:
    """Ask every node by itself."""
    addresses = patient.config.chain_addresses
    answers: dict[Address, Answer] = {}

    async def ask(address: Address) -> None:
        answers[address] = await _ask(patient, address)

    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(ask, address)
    heights = [answer.seen.block.height for answer in answers.values() if answer.seen is not None]
    for address in addresses:
        answer, name = answers[address], address.authority
        if answer.seen is None:
            _say_failure(name, answer, found, is_only=not heights)
            continue
        patient.nodes.append(address)
        patient.seen.append(answer.seen)
        block, behind = answer.seen.block, max(heights) - answer.seen.block.height
        said = f"{name} answers for {patient.config.lumera.chain_id}: height {block.height}"
        if answer.is_syncing:
            found.warn(f"{said}; it is still catching up", "wait for it, or name another node first")
        elif behind > BEHIND_BLOCKS:
            found.warn(f"{said}; {behind} blocks behind another", "mend that node, or name another one")
        else:
            found.ok(said)


def _say_failure(name: str, answer: Answer, found: Findings, *, is_only: bool) -> None:
    if answer.is_wrong:
        found.bad(answer.failure, "set lumera.chain_id to the chain that is meant, or name a node of it")
    elif is_only:
        found.bad(f"{name} does not answer: {answer.failure}", "mend lumera.grpc_addr, the network, or that node")
    else:
        found.warn(f"{name} does not answer: {answer.failure}", "mend that node, or name another one")


async def _ask(patient: Patient, address: Address) -> Answer:
    chain_id = patient.config.lumera.chain_id
    try:
        with trio.fail_after(SECONDS):
            async with Nodes.open([address], chain_id, random=patient.random, connect=patient.connect) as nodes:
                queries = Queries(nodes)
                seen = Seen(await queries.latest_block(), patient.clock.now())
                return Answer(seen, await _is_syncing(queries))
    except WrongChain as error:
        return Answer(is_wrong=True, failure=str(error))
    except ChainUnavailable as error:
        return Answer(failure=str(error).removeprefix(f"{address.authority}: "))
    except trio.TooSlowError:
        return Answer(failure=f"nothing came within {SECONDS:g} s")


async def _is_syncing(queries: Queries) -> bool:
    try:
        return await queries.is_syncing()
    except ChainUnavailable:
        return False  # some nodes do not tell
