"""The active queue in memory: what waits for which destination, and what to hand out next.

No I/O and no clock: it is fed facts and returns choices. Destinations of a transport take
turns, a destination never has more batches under way than its limit, and every recipient of
an added message ends with exactly one result.
"""

import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.address import Address
from ..core.envelope import MAILBOX, Envelope
from ..core.result import DeliveryResult
from ..core.route import LOCAL, MAILBOXES, Route

_Key = tuple[str, str, int, str]  # of a destination, as Route.destination() gives it
_Groups = dict[tuple[_Key, str], list[tuple[int, Route]]]  # by destination and extension

BATCH_MESSAGES = 50
BATCH_RECIPIENTS = 500
_SPREAD = 5


@dataclass(slots=True, eq=False)
class Message:
    """One message under delivery: its results so far by recipient index, and entries still out.

    lost counts agents that went without an answer. unreleased are children whose parent marks are
    durable while they still wait in tmp/; is_marked says that the marks of this pass are written.
    addresses are those of the recipients that routing changed, for reports.
    """

    queue_id: str
    envelope: Envelope
    descriptor: int
    active_at: int
    forced: bool = False
    waiting: int = 0
    lost: int = 0
    attempted: bool = False
    is_marked: bool = False
    unreleased: list[str] = field(default_factory=list)
    results: dict[int, DeliveryResult] = field(default_factory=dict)
    addresses: dict[int, Address] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Entry:
    """Recipients (by index) of one message that share a destination, with their routes."""

    message: Message
    indexes: list[int]
    routes: list[Route]


@dataclass(slots=True, eq=False)
class Destination:
    """What waits for one place, by the fields of its routes; has_turn says that it stands in the queue of turns."""

    transport: str
    nexthop: str
    uid: int
    target: str
    limit: int
    has_turn: bool = False
    entries: deque[Entry] = field(default_factory=deque)
    running: int = 0

    def key(self) -> _Key:
        """Return what Route.destination() says of its routes."""
        return self.transport, self.nexthop, self.uid, self.target


@dataclass(slots=True, eq=False)
class Work:
    """A choice: entries for one destination that go out as one batch."""

    destination: Destination
    entries: list[Entry]


class ActiveQueue:
    """Entries by destination, and whose turn it is."""

    def __init__(self, concurrency: int = 20, recipients: int = 50) -> None:
        self.configure(concurrency, recipients)
        self._destinations: dict[_Key, Destination] = {}
        self._turns: dict[str, deque[Destination]] = {}

    def add(self, message: Message, routed: list[tuple[int, Route]]) -> None:
        """Queue the recipients of a message by their routes."""
        groups: _Groups = {}
        for index, route in routed:
            groups.setdefault((route.destination(), route.extension), []).append((index, route))
        _join_real_users(groups)
        for (key, _), rows in groups.items():
            # One mailbox gets one copy, whatever number of names it was addressed by; an extension may lead elsewhere.
            size = len(rows) if key[0] in MAILBOXES else self._recipients(key[0])
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                self._append(key, Entry(message, [i for i, _ in part], [r for _, r in part]))
                message.waiting += 1

    def _append(self, key: _Key, entry: Entry) -> None:
        destination = self._destinations.get(key)
        if destination is None:
            destination = self._destinations[key] = Destination(*key, self._concurrency(key[0]))
        destination.entries.append(entry)
        self._take_turn(destination)

    def _take_turn(self, destination: Destination) -> None:
        if destination.entries and not destination.has_turn and destination.running < destination.limit:
            self._turns.setdefault(destination.transport, deque()).append(destination)
            destination.has_turn = True

    def add_again(self, entry: Entry) -> None:
        """Queue an entry that an agent did not answer for, or gave back; it still counts in its message."""
        self._append(entry.routes[0].destination(), entry)

    def configure(self, concurrency: int, recipients: int, of: Mapping[str, tuple[int, int]] | None = None) -> None:
        """Set the limits for what is added from now on; 0 is no limit. of has those of some transports."""
        self._limits = concurrency, recipients
        self._limits_of = dict(of or {})

    def _concurrency(self, transport: str) -> int:
        return 1 if transport in MAILBOXES else self._limits_of.get(transport, self._limits)[0] or sys.maxsize

    def _recipients(self, transport: str) -> int:
        return self._limits_of.get(transport, self._limits)[1] or BATCH_RECIPIENTS

    def transports(self) -> list[str]:
        """Return the transports for which something could be handed out."""
        return [transport for transport, turns in self._turns.items() if turns]

    def pick(self, transport: str) -> Work | None:
        """Return the next batch of a transport; ended() or put_back() must follow."""
        turns = self._turns.get(transport)
        if not turns:
            return None
        destination = turns.popleft()
        destination.has_turn = False
        work = Work(destination, self._take(destination))
        destination.running += 1
        self._take_turn(destination)
        return work

    def _take(self, destination: Destination) -> list[Entry]:
        """Take a batch: all that fits for a mailbox, a share for a host that several sessions serve."""
        waiting = len(destination.entries)
        most = BATCH_MESSAGES if destination.limit == 1 else max(1, min(BATCH_MESSAGES, waiting // _SPREAD))
        taken: list[Entry] = []
        recipients = 0
        while destination.entries and len(taken) < most:
            recipients += len(destination.entries[0].indexes)
            if taken and recipients > BATCH_RECIPIENTS:
                break
            taken.append(destination.entries.popleft())
        return taken

    def put_back(self, work: Work) -> None:
        """Undo a pick that could not be handed out."""
        work.destination.entries.extendleft(reversed(work.entries))
        self.ended(work.destination)

    def ended(self, destination: Destination) -> None:
        """Note that a batch of a destination has ended."""
        destination.running -= 1
        self._take_turn(destination)
        if not destination.entries and not destination.running:
            del self._destinations[destination.key()]

    def drain(self) -> list[Entry]:
        """Take everything that has not been handed out, for a stop."""
        left = [entry for destination in self._destinations.values() for entry in destination.entries]
        self._destinations = {key: it for key, it in self._destinations.items() if it.running}
        for destination in self._destinations.values():  # its batches will still end
            destination.entries.clear()
            destination.has_turn = False
        self._turns.clear()
        return left


def _join_real_users(groups: _Groups) -> None:
    """Let \\bob go with bob, where a message has both: without a .forward they are one mailbox, and get one copy.

    Where the agent finds a .forward, \\bob is parted from bob again.
    """
    for (key, extension), rows in list(groups.items()):
        if key[0] == LOCAL and key[3] == MAILBOX:
            whole = groups.get(((*key[:3], ""), extension))
            if whole is not None:
                whole += rows
                del groups[key, extension]
