"""When each deferred message is due, in memory; the truth is the mtime of its file.

At start the index is filled by a scan of names and mtimes, a piece at a time, so that delivery
begins at once; a message is opened only when it is due.
"""

import heapq
from collections.abc import Iterator
from os import stat_result

from ..routing.schedule import Schedule


class DeferredIndex:
    """The due times of the deferred messages, soonest first."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._forced: set[str] = set()
        self._scan: Iterator[tuple[str, stat_result]] | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, queue_id: str) -> bool:
        return queue_id in self._due

    def add(self, queue_id: str, due: float) -> None:
        """Enter a message, or its new time."""
        self._due[queue_id] = due
        heapq.heappush(self._heap, (due, queue_id))

    def discard(self, queue_id: str) -> None:
        """Forget a message."""
        self._due.pop(queue_id, None)
        self._forced.discard(queue_id)

    def start_scan(self, entries: Iterator[tuple[str, stat_result]]) -> None:
        """Begin to fill the index from (id, status) pairs."""
        self._scan = entries

    def scan_some(self, count: int) -> bool:
        """Enter up to count messages of the scan; False when it is over."""
        if self._scan is None:
            return False
        for _ in range(count):
            found = next(self._scan, None)
            if found is None:
                self._scan = None
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
