"""Reads what a node's process has logged, as the events that a node in this process would tell."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

from attrs import define

from lep6.heal.events import Event, What


@final
@define(eq=False)
class NodeLog:
    """The log file of a node, as far as it was read."""

    path: Path
    _read: int = 0
    """Bytes."""

    def events(self) -> Iterator[Event]:
        """Those that were not read before. A line that is no event of ours is a failure: a traceback, say."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]  # the last line may still be written
        self._read += len(whole)
        for line in whole.splitlines():
            event = _event(line)
            if event is not None:
                yield event


def has_started(log: Path) -> bool:
    """Whether a node has begun, and has its port and its data."""
    return log.exists() and b'"event": "started"' in log.read_bytes()


def _event(line: bytes) -> Event | None:
    try:
        entry = json.loads(line)
        read = _MEANINGS.get(entry["event"])
        return None if read is None else read(entry, int(entry.get("op_id", 0)))
    except (ValueError, LookupError, TypeError):
        return Event(What.FAILED, 0, line.decode(errors="replace")[:200])


def _deferred(entry: Mapping[str, Any], op_id: int) -> Event:
    return Event(What.DEFERRED, op_id, str(entry["reason"]), int(entry.get("have", 0)))


def _failed(entry: Mapping[str, Any], op_id: int) -> Event:
    raised = (entry.get("exception") or [{}])[0]
    return Event(What.FAILED, op_id, f"{raised.get('exc_type', entry['event'])}: {raised.get('exc_value', '')}")


_MEANINGS: Final[Mapping[str, Callable[[Mapping[str, Any], int], Event]]] = {
    "reconstructed": lambda entry, op_id: Event(What.RECONSTRUCTED, op_id, count=entry["fetched"]),
    "published": lambda entry, op_id: Event(What.PUBLISHED, op_id, count=entry["values"]),
    "closed": lambda entry, op_id: Event(What.CLOSED, op_id, str(entry["reason"])),
    "claim_accepted": lambda _, op_id: Event(What.ACCEPTED, op_id, "claim"),
    "vote_accepted": lambda _, op_id: Event(What.ACCEPTED, op_id, "vote"),
    "deferred": _deferred,
    "walk_deferred": _deferred,
    "publish_deferred": _deferred,
    "publish_stuck": lambda entry, op_id: Event(What.STUCK, op_id, str(entry["reason"])),
    "walk_failed": _failed,
    "dispatcher_failed": _failed,
}
"""What the lines of a heal service mean, by their event."""
