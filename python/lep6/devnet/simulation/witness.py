"""The witness: sees everything of a run, holds it against what must never happen, and keeps the trace."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Final, final

import trio
from attrs import define, field

from lep6.devnet.chain import Chain
from lep6.devnet.simulation.chance import BLOCK_SECONDS, EPOCH_BLOCKS, Story
from lep6.heal.events import Event, What
from lep6.heal.settings import UnreachablePolicy
from lep6.model import HealOpStatus, Key, Ticket
from lep6.transaction import Claim, Packed, Transaction, Vote

PASSING: Final = ("not_ready", "unreachable", "truncated", "stalled", "damaged")
"""Failures to fetch that use up no attempt before the last epoch of the window."""
GRACE_SECONDS: Final = 15 * BLOCK_SECONDS
"""After the beginning of the calm, in which what failed before may still have its effect."""


@final
@define(eq=False)
class Witness:
    """Hears of what nodes do, from outside of them."""

    story: Story
    chain: Chain
    numbers: dict[str, int] = field(factory=dict)
    """Of the nodes, by account."""
    tickets: dict[Key, Ticket] = field(factory=dict)
    """Whose artefact is kept under a key."""
    hashes: dict[Ticket, str] = field(factory=dict)
    """Of the files, as their actions spell them."""
    violations: list[str] = field(factory=list)
    trace: list[str] = field(factory=list)
    published: set[tuple[str, int]] = field(factory=set)
    """Accounts and ops of which everything was published."""
    used_up: set[tuple[str, int]] = field(factory=set)
    """Accounts and ops where a verifier had used up its attempts before the calm."""
    _sent: dict[tuple[str, int, type], list[Transaction]] = field(factory=dict)
    _refused: set[str] = field(factory=set)
    _decided: dict[tuple[str, int], str] = field(factory=dict)
    _staged: set[tuple[str, int]] = field(factory=set)
    _spoilt: set[tuple[str, int]] = field(factory=set)
    _reported: int = 0

    @property
    def digest(self) -> str:
        """Of the trace: equal for equal runs."""
        return sha256("\n".join(self.trace).encode()).hexdigest()

    def note(self, who: str, text: str) -> None:
        """Add to the trace."""
        self.trace.append(f"{trio.current_time():9.3f} {who} {text}")

    def blame(self, who: str, text: str) -> None:
        """Something happened that must never happen."""
        self.violations.append(f"at {trio.current_time():.0f} s, {who}: {text}")
        self.note(who, f"VIOLATION {text}")

    def name(self, account: str) -> str:
        """A node, for people."""
        return f"node {self.numbers[account]}"

    def forgets(self, account: str) -> None:
        """A node has lost its ledger: it cannot know what it has told the chain."""
        self._sent = {place: sent for place, sent in self._sent.items() if place[0] != account}
        self._decided = {place: text for place, text in self._decided.items() if place[0] != account}

    def loses_stagings(self, account: str, op_ids: AbstractSet[int]) -> None:
        """These stagings of a node were taken from it, or damaged: they are not good, until it has made them again."""
        self._spoilt |= {(account, op_id) for op_id in op_ids}
        self._staged -= self._spoilt

    def sends(self, account: str, transaction: Transaction) -> None:
        """A node sends a transaction."""
        message, who = transaction.message, self.name(account)
        if isinstance(message, Packed):
            return  # nobody shares a key in a box
        place = (account, message.op_id, type(message))
        if self.numbers[account] not in self.story.naysayers:
            self._holds_against_truth(account, message)
        for earlier in self._sent.get(place, []):
            if earlier.message != message:
                self.blame(who, f"tells the chain another thing of op {message.op_id} than before")
            if not self._is_dead(earlier):
                self.blame(who, f"sends a second {type(message).__name__} of op {message.op_id} while one may live")
        self._sent.setdefault(place, []).append(transaction)

    def _holds_against_truth(self, account: str, message: Claim | Vote) -> None:
        """What is told to the chain is what was found, and what is so."""
        who, op = self.name(account), self.chain.state.ops.get(message.op_id)
        if op is None:
            self.blame(who, f"tells the chain something of op {message.op_id}, which there is not")
            return
        match message:
            case Claim(manifest_hash=claimed):
                if claimed != self.hashes.get(op.ticket):
                    self.blame(who, f"claims another hash on op {op.op_id} than that of the file")
            case Vote(verified=verified, hash=text):
                decided = self._decided.get((account, op.op_id))
                if decided is not None and verified != (decided == "yes"):
                    self.blame(who, f"votes {'yes' if verified else 'no'} on op {op.op_id}, and had decided {decided}")
                if verified and (text != op.result_hash or self.numbers[op.healer] in self.story.liars):
                    self.blame(who, f"votes yes on op {op.op_id}, wrongly")

    def is_refused(self, transaction: Transaction) -> None:
        """The chain has refused a transaction."""
        self._refused.add(transaction.tx_hash)

    def _is_dead(self, transaction: Transaction) -> bool:
        results = [result for tx, result in self.chain.included if tx.tx_hash == transaction.tx_hash]
        if results:
            return results[0].code != 0
        return transaction.tx_hash in self._refused or self.chain.height >= transaction.timeout_height

    def stores(self, account: str, keys: Iterable[Key]) -> None:
        """A node puts values into the network."""
        ops = self.chain.state.ops.values()
        mine = {op.ticket for op in ops if op.healer == account and op.status is HealOpStatus.VERIFIED}
        strange = {self.tickets[key] for key in keys} - mine
        if strange:
            self.blame(self.name(account), f"publishes of ticket {sorted(strange)} without a VERIFIED op")

    def hears(self, account: str, event: Event) -> None:
        """A node tells of itself."""
        who, place = self.name(account), (account, event.op_id)
        text = "" if event.what is What.DEFERRED else event.text
        self.note(who, f"{event.what.value} op {event.op_id} {text} {event.count}")
        if event.what is What.FAILED:
            self.blame(who, f"has a bug with op {event.op_id}: {event.text}")
        elif event.what is What.RECONSTRUCTED:
            self._spoilt.discard(place)
        elif event.what is What.PUBLISHED:
            self.published.add(place)
        elif event.what is What.DECIDED:
            self._decides(account, event)

    def _decides(self, account: str, event: Event) -> None:
        who, place = self.name(account), (account, event.op_id)
        if place in self._decided:
            self.blame(who, f"decides op {event.op_id} again: {event.text}, before: {self._decided[place]}")
        self._decided[place] = event.text
        healer = self.numbers[self.chain.state.ops[event.op_id].healer]
        if event.text == "yes" and healer in self.story.liars:
            self.blame(who, f"votes yes on op {event.op_id}, whose healer serves another file")
        if event.text.startswith("no, hash_mismatch") and healer not in self.story.liars:
            self.blame(who, f"votes no on op {event.op_id}, whose healer serves what was claimed")
        if "failed" in event.text:
            self._gives_up(who, event)
            if trio.current_time() > self.story.calm_from + GRACE_SECONDS:
                self.blame(who, f"has no file of op {event.op_id} in the calm")
            self.used_up.add(place)

    def _gives_up(self, who: str, event: Event) -> None:
        """A verifier votes no without a file."""
        left = self.chain.state.params.parameters.last_height(self.chain.state.ops[event.op_id].deadline_epoch)
        is_early = left - self.chain.height > EPOCH_BLOCKS
        if self.story.policy is UnreachablePolicy.PATIENT:
            self.blame(who, f"votes no on op {event.op_id} without a file, though it is to be patient")
        elif is_early and any(kind in event.text for kind in PASSING):
            self.blame(who, f"gives up op {event.op_id} early, for what may pass: {event.text}")

    def sees_stagings(self, account: str, op_ids: set[int]) -> None:
        """A node that lives has these stagings, complete ones."""
        for op_id in sorted(number for owner, number in self._staged if owner == account and number not in op_ids):
            self._staged.discard((account, op_id))
            if self._is_needed(account, op_id):
                self.blame(self.name(account), f"has lost the good staging of op {op_id}")
        self._staged |= {(account, op_id) for op_id in op_ids} - self._spoilt

    def _is_needed(self, account: str, op_id: int) -> bool:
        op = self.chain.state.ops.get(op_id)
        if op is None or op.healer != account or op.status in (HealOpStatus.FAILED, HealOpStatus.EXPIRED):
            return False
        return (account, op_id) not in self.published

    def sees_block(self) -> None:
        """A block was made."""
        for event in self.chain.events[self._reported :]:
            self.note("chain", f"{event.height} {event.kind} {dict(event.attributes)}")
        self._reported = len(self.chain.events)

    def sees_the_end(self) -> None:
        """Nothing more happens: what was accepted, was accepted once."""
        accepted = [
            (tx.creator, tx.message.op_id, type(tx.message)) for tx, result in self.chain.included if not result.code
        ]
        for creator, op_id, kind in sorted(set(accepted), key=repr):
            if accepted.count((creator, op_id, kind)) > 1:
                self.blame(self.name(creator), f"{kind.__name__} of op {op_id} was accepted twice")
        for tx, _ in self.chain.included:
            self.note("chain", f"included {self.name(tx.creator)} {_said(tx.message)}")


def _said(message: Claim | Vote) -> str:
    match message:
        case Claim(op_id):
            return f"claim {op_id}"
        case Vote(op_id, verified):
            return f"vote {op_id} {'yes' if verified else 'no'}"
