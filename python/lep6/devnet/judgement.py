"""Whether a heal ended as its scenario says: from what was found in the chain, the network and on the disks."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, final

from attrs import Factory, define

from lep6.devnet.scenario import Scenario
from lep6.heal.events import Event, What


@final
@define(kw_only=True)
class Evidence:
    """What was found. It is not what nodes say of themselves, but for their own events."""

    scenario: Scenario
    replicas: int
    is_over: bool = False
    """Whether it came to its end in time."""
    ops: list[dict[str, Any]] = Factory(list)
    votes: list[dict[str, Any]] = Factory(list)
    claims: list[int] = Factory(list)
    """Ops whose claim the chain has accepted."""
    events: list[tuple[str, Event]] = Factory(list)
    """Of the nodes, by account."""
    corrupt: set[str] = Factory(set)
    """Accounts whose artefact server serves other bytes."""
    served_by_corrupt: str = ""
    """Base64 of the BLAKE3 of those."""
    result_hash: str = ""
    """That of the file."""
    deaths: int = 0
    rows_left: int = 0
    stagings_left: int = 0
    """Stagings, work areas, and what was set aside."""
    published_early: int = 0
    """Values that were in the network, beyond what had survived, when an op had ended without being VERIFIED."""
    copies: Counter[int] = Factory(Counter)
    """How many values have how many copies, when the heal was over."""
    left_in_the_end: int = 0
    """Values that are in the network when every copy of what had survived is deleted."""
    is_retrievable: bool = False

    @property
    def publishes(self) -> int:
        """Times that a finalizer has published all of a staging."""
        return self.count(What.PUBLISHED)

    def count(self, what: What) -> int:
        """How often something happened."""
        return sum(event.what is what for _, event in self.events)


def complaints(found: Evidence) -> list[str]:
    """What is not as the scenario says; nothing when all is."""
    return [*_anywhere(found), *(_healed(found) if found.scenario.ends_verified else _lost(found))]


def _anywhere(found: Evidence) -> Iterator[str]:
    if not found.is_over:
        yield "it did not come to its end in time"
    if found.rows_left or found.stagings_left:
        yield f"{found.rows_left} rows and {found.stagings_left} directories are left"
    if found.published_early:
        yield f"{found.published_early} values were published before an op was VERIFIED"
    for _, event in found.events:
        if event.what is What.FAILED:
            yield f"a node has a bug: {event.text}"
    if len(set(found.claims)) != len(found.claims):
        yield "an op has two accepted claims"
    voted = [(vote["op"], vote["verifier"]) for vote in found.votes]
    if len(set(voted)) != len(voted):
        yield "a verifier has two accepted votes on an op"


def _healed(found: Evidence) -> Iterator[str]:
    statuses = [op["status"] for op in found.ops]
    if statuses.count("VERIFIED") != 1 or statuses[-1] != "VERIFIED":
        yield f"the ops ended {', '.join(statuses)}, not with one VERIFIED"
    else:
        yield from _verified(found, found.ops[-1])
    if found.publishes != 1:
        yield f"it was published {found.publishes} times"
    if not found.copies:
        yield "there is nothing in the network"
    if few := sum(count for copies, count in found.copies.items() if copies < found.replicas):
        yield f"{few} values have fewer than {found.replicas} copies"
    if not found.is_retrievable:
        yield "the file cannot be read back"
    if len(found.claims) != len(found.ops):
        yield f"{len(found.claims)} claims were accepted for {len(found.ops)} ops"
    yield from _failures(found)
    if found.scenario is Scenario.HEALER_RESTART and found.deaths != 1:
        yield f"the healer died {found.deaths} times"
    if found.scenario is Scenario.HEALER_RESTART and found.count(What.RECONSTRUCTED) != 1:
        yield "what was staged before the death was not used"


def _verified(found: Evidence, op: dict[str, Any]) -> Iterator[str]:
    if op["result_hash"] != found.result_hash:
        yield "the result hash is not that of the file"
    yes = [vote for vote in found.votes if vote["op"] == op["id"] and vote["verified"]]
    if len(yes) < len(op["verifiers"]) // 2 + 1:
        yield f"op {op['id']} is VERIFIED by {len(yes)} votes of {len(op['verifiers'])} verifiers"


def _failures(found: Evidence) -> Iterator[str]:
    """Ops that FAILED: those of a corrupt healer, by the hash of what it served, and no others."""
    failed = [op for op in found.ops if op["status"] == "FAILED"]
    if bool(failed) != (found.scenario is Scenario.CORRUPT_HEALER):
        yield f"{len(failed)} ops FAILED"
    for op in failed:
        hashes = [vote["hash"] for vote in found.votes if vote["op"] == op["id"] and not vote["verified"]]
        if op["healer"] not in found.corrupt:
            yield f"op {op['id']} FAILED, and its healer is honest"
        if hashes != [found.served_by_corrupt] * len(op["verifiers"]):
            yield f"op {op['id']} FAILED, and not by the hash of what was served"


def _lost(found: Evidence) -> Iterator[str]:
    if [op["status"] for op in found.ops] != ["EXPIRED"]:
        yield f"the ops ended {', '.join(op['status'] for op in found.ops)}, not with one EXPIRED"
    if found.publishes or found.left_in_the_end:
        yield f"something was published: {found.left_in_the_end} values are in the network"
    if found.is_retrievable:
        yield "the file can be read back"
    if found.votes:
        yield f"{len(found.votes)} votes were accepted"
    expected = 1 if found.scenario is Scenario.NO_QUORUM else 0
    if len(found.claims) != expected:
        yield f"{len(found.claims)} claims were accepted, not {expected}"
    if found.ops and found.ops[0]["result_hash"] != (found.result_hash if expected else ""):
        yield f"the result hash is {found.ops[0]['result_hash'] or 'empty'}"
