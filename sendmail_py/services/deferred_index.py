"""When each deferred message is due, in memory; the truth is the mtime of its file.

At start the index is filled by a scan of names and mtimes, a piece at a time, so that delivery
begins at once; a message is opened only when it is due.
"""

import heapq
import sys
from collections import Counter
from collections.abc import Iterator
from os import stat_result
from typing import Any

from ..core.envelope import Envelope
from ..routing.schedule import Schedule
from ..spool.queue_id import time_of

Origin = tuple[str, ...]  # the sender, then the domains of who still waits


def origin_of(e: Envelope) -> Origin:
    """Return what a flush may select a message by; texts that many messages have are kept once."""
    domains = dict.fromkeys(r.forward_path.domain.lower() for r in e.pending())
    return (sys.intern(str(e.sender)), *map(sys.intern, domains))


def _hour(queue_id: str) -> int:
    return int(time_of(queue_id)) // 3600


def _take_one(counter: Counter[Any], key: object) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


class DeferredIndex:
    """The due times of the deferred messages, soonest first."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self.origins: dict[str, Origin] = {}  # as far as they are known
        self.domains: Counter[str] = Counter()  # how many messages wait for each, of those
        self.hours: Counter[int] = Counter()  # how many messages have arrived in each hour since the epoch
        self._forced: set[str] = set()
        self.is_asked_for = False  # somebody wants attempts now; whoever acts on it sets it back
        self.is_whole = False  # everything in deferred/ is known: the scan is over
        self._scan: Iterator[tuple[str, stat_result]] | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[str]:
        return iter(self._due)

    def __contains__(self, queue_id: object) -> bool:
        return queue_id in self._due

    def add(self, queue_id: str, due: float, origin: Origin | None = None) -> None:
        """Enter a message, or its new time, and what is known of it."""
        if queue_id not in self._due:
            self.hours[_hour(queue_id)] += 1
        self._due[queue_id] = due
        if origin is not None:
            self.learn(queue_id, origin)
        heapq.heappush(self._heap, (due, queue_id))

    def discard(self, queue_id: str) -> None:
        """Forget a message."""
        if self._due.pop(queue_id, None) is not None:
            _take_one(self.hours, _hour(queue_id))
        self._forget_origin(queue_id)
        self._forced.discard(queue_id)

    def _forget_origin(self, queue_id: str) -> None:
        for domain in self.origins.pop(queue_id, ())[1:]:
            _take_one(self.domains, domain)

    def learn(self, queue_id: str, origin: Origin) -> None:
        """Remember the sender and the domains of a message that is here."""
        if queue_id in self._due:
            self._forget_origin(queue_id)
            self.origins[queue_id] = origin
            self.domains.update(origin[1:])

    def start_scan(self, entries: Iterator[tuple[str, stat_result]] | None) -> None:
        """Begin to fill the index from (id, status) pairs; None: no more for now."""
        self._scan = entries

    def scan_some(self, count: int) -> bool:
        """Enter up to count messages of the scan; False when it is over."""
        if self._scan is None:
            return False
        for _ in range(count):
            found = next(self._scan, None)
            if found is None:
                self._scan = None
                self.is_whole = True
                return False
            if found[0] not in self._due:
                self.add(found[0], found[1].st_mtime)
        return True

    def flush(self) -> int:
        """Make everything due now, whatever transports are deferred; returns how many."""
        return sum(self.force(queue_id) for queue_id in self.ids())

    def ids(self) -> list[str]:
        """Return the ids of all deferred messages that are known."""
        return list(self._due)

    def force(self, queue_id: str) -> bool:
        """Make one message due now, whatever transports are deferred; False when it is not here."""
        if queue_id not in self._due:
            return False
        self._forced.add(queue_id)
        self.is_asked_for = True
        self.add(queue_id, 0.0)
        return True

    def mend_clock(self, now: float) -> None:
        """Make due what a clock that was set back has put too far ahead."""
        for queue_id, due in list(self._due.items()):
            if due > now and self.schedule.is_due(now, due):
                self.add(queue_id, now)

    def pop_due(self, now: float) -> tuple[str, bool] | None:
        """Take the next due message, with whether it was flushed; None when nothing is due."""
        while self._heap and self._heap[0][0] <= now:
            due, queue_id = heapq.heappop(self._heap)
            if self._due.get(queue_id) == due:
                forced = queue_id in self._forced
                self.discard(queue_id)
                return queue_id, forced
        return None

    def next_due(self) -> float | None:
        """Return when the next message is due."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
