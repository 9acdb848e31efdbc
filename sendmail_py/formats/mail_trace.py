"""A message's story in the log: which lines belong to it, to what it became, and to the bounces about it.

A child's id begins with its parent's (spool/queue_id.py), so a line tells by its id alone whose family it
belongs to; only a requeued message begins a new one, and the log says which. Lines are read one
at a time, so a long log costs no memory but for what is asked for.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ID = re.compile(r"(?:warning: |error: )?([0-9A-F]{15,200}): (.*)")
_REQUEUED = re.compile(r"requeued as ([0-9A-F]{15,200})")
_ADDRESSES = re.compile(r"(?:from|to|orig_to)=<([^>]*)>")
_TIME_DIGITS = 13


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log about a message."""

    time: str
    service: str
    queue_id: str
    text: str


def is_base_id(text: str) -> bool:
    """Say whether a text begins as a queue id does: a time, and an inode that says how long it is."""
    if not re.fullmatch(r"[0-9A-F]{15,200}", text):
        return False
    digits = int(text[_TIME_DIGITS], 16)
    return 0 < digits <= len(text) - _TIME_DIGITS - 1


def family(queue_id: str) -> str:
    """Return the id of the message that one comes from: its own, or that of its first parent."""
    return queue_id[: _TIME_DIGITS + 1 + int(queue_id[_TIME_DIGITS], 16)]


class Reader:
    """Reads the lines of one syslog_name, as text or as JSON."""

    def __init__(self, name: str) -> None:
        self._line = re.compile(rf"(.+?) \S+ {re.escape(name)}/([^\[ ]+)\[\d+\]: (.*)")

    def events(self, lines: Iterable[str]) -> Iterator[Event]:
        """Yield the lines that are about a message."""
        for line in lines:
            parts = self._of_json(line) if line[:1] == "{" else self._of_text(line)
            found = _ID.match(parts[2]) if parts else None
            if parts and found and is_base_id(found[1]):
                yield Event(parts[0], parts[1], found[1], found[2])

    def _of_text(self, line: str) -> tuple[str, str, str] | None:
        found = self._line.match(line)
        return (found[1], found[2], found[3]) if found else None

    @staticmethod
    def _of_json(line: str) -> tuple[str, str, str] | None:
        try:
            fields = json.loads(line)
            return str(fields["time"]), str(fields["service"]), str(fields["message"])
        except (ValueError, KeyError, TypeError):
            return None


def families(events: Iterable[Event], what: str) -> set[str]:
    """Return the families that a queue id, a Message-Id or an address belongs to, and what they were requeued as."""
    found: set[str] = {family(what)} if is_base_id(what) else set()
    by_id = bool(found)
    links: list[tuple[str, str]] = []
    wanted = what.removeprefix("<").removesuffix(">").lower()
    for event in events:
        requeued = _REQUEUED.match(event.text)
        if requeued:
            links.append((family(event.queue_id), family(requeued[1])))
        elif not by_id and _names(event.text, wanted):
            found.add(family(event.queue_id))
    size = -1
    while size != len(found):
        size = len(found)
        found |= {other for link in links for other in link if found & set(link)}
    return found


def _names(text: str, wanted: str) -> bool:
    if text.startswith("message-id="):
        return text[11:].strip().removeprefix("<").removesuffix(">").lower() == wanted
    return wanted in text.lower() and wanted in map(str.lower, _ADDRESSES.findall(text))


def stories(events: Iterable[Event], wanted: set[str]) -> dict[str, list[Event]]:
    """Return the lines of families by message, in the order in which they began."""
    found: dict[str, list[Event]] = {}
    for event in events:
        if family(event.queue_id) in wanted:
            found.setdefault(event.queue_id, []).append(event)
    return found


def origin(queue_id: str, found: dict[str, list[Event]]) -> tuple[str, str]:
    """Return the id that a message comes from, and how; "" for one that came in."""
    for other, events in found.items():
        for event in events:
            if other != queue_id and event.text.rstrip().endswith(queue_id) and "notification: " in event.text:
                return other, event.text.rpartition(": ")[0]
            if event.text.startswith(f"requeued as {queue_id}"):
                return other, "requeued"
    parents = [other for other in found if other != queue_id and queue_id.startswith(other)]
    if parents:
        return max(parents, key=len), "expanded"
    return ("", "") if family(queue_id) == queue_id else (family(queue_id), "expanded")
