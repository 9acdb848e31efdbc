"""What a process counts for the metrics, from the lines of its log, and the way of it to who keeps the sums.

Guarantees: nothing waits for who keeps the sums. What cannot be sent now is sent with the next lines. Threads may
count at the same time.
"""

import json
import os
import threading
from collections import deque
from typing import Any

from ..formats.metrics import Counts, Key, count_event, observe

_SYNCS = 10_000


class LogCounts:
    """The counts of one process; descriptor is its end of a datagram socket that does not block."""

    def __init__(self, descriptor: int, service: str) -> None:
        self._descriptor = descriptor
        self._service = service
        self._lock = threading.Lock()
        self.counts: Counts = {}
        self.sync_times: deque[float] = deque(maxlen=_SYNCS)  # threads may add to it

    def take(self, events: list[dict[str, Any]]) -> None:
        """Count events, and send what has come together."""
        with self._lock:
            for event in events:
                count_event(self.counts, self._service, event)
            while self.sync_times:
                observe(self.counts, "fsync_seconds", self.sync_times.popleft())
            if self.counts:
                try:
                    os.write(self._descriptor, encode(self.counts))
                    self.counts.clear()
                except OSError:
                    pass  # full, or nobody is there: the next one takes them along


def encode(counts: Counts) -> bytes:
    """Return counts as a datagram."""
    return json.dumps([[name, list(labels), value] for (name, labels), value in counts.items()]).encode()


def decode(data: bytes) -> Counts:
    """Return the counts of a datagram; raises ValueError, TypeError."""
    rows: list[tuple[Key, float]] = [
        ((str(name), tuple(map(str, labels))), float(value)) for name, labels, value in json.loads(data)
    ]
    return dict(rows)
