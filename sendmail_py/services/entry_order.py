"""Which message comes into the active queue next: new mail and retries in turns, large messages as there is room.

No I/O and no clock. Retries leave a fifth of the active queue to new mail, so that a great number of them delays
nobody who writes now.
"""

from collections import deque

from ..spool.layout import DEFERRED, INCOMING
from .deferred_index import DeferredIndex
from .room import Room

Entrant = tuple[str, str, bool]  # queue id, the state it comes from, whether it was flushed


class EntryOrder:
    """What waits to come in: new mail, what is due of the deferred mail, and large messages that found no room."""

    def __init__(self, incoming: deque[str], deferred: DeferredIndex, room: Room) -> None:
        self.limit = 20000
        self._incoming = incoming
        self._deferred = deferred
        self._room = room
        self._large: dict[str, tuple[int, Entrant]] = {}
        self._admitted = ""
        self._is_turn_of_deferred = False

    def backlog(self) -> int:
        """Return how much new mail waits."""
        return len(self._incoming) + len(self._large)

    def next(self, now: float, count: int) -> Entrant | None:
        """Take out who comes next, beside so many messages that are in; None when nobody may."""
        if count >= self.limit:
            return None
        large = self._next_large()
        if large is not None:
            return large
        self._is_turn_of_deferred = not self._is_turn_of_deferred or not self._incoming
        if self._is_turn_of_deferred and self._has_room_for_retries(count):
            due = self._deferred.pop_due(now)
            if due is not None:
                return due[0], DEFERRED, due[1]
        return (self._incoming.popleft(), INCOMING, False) if self._incoming else None

    def _has_room_for_retries(self, count: int) -> bool:
        return count < self.limit - self.limit // 5

    def next_due(self, count: int) -> float | None:
        """Return when the next retry can come in; None while none can, for then the end of another is waited for."""
        return self._deferred.next_due() if self._has_room_for_retries(count) else None

    def _next_large(self) -> Entrant | None:
        queue_id = next(iter(self._large), "")
        if not queue_id or not self._room.has(self._large[queue_id][0]):
            return None
        self._admitted = queue_id
        return self._large.pop(queue_id)[1]

    def must_wait(self, entrant: Entrant, recipients: int) -> bool:
        """Say whether a message has to wait for room, or for others that do; it comes again by itself then."""
        queue_id = entrant[0]
        if self._room.is_small(recipients) or queue_id == self._admitted:
            self._admitted = ""
            return False
        if not self._large and self._room.has(recipients):
            return False
        self._large.setdefault(queue_id, (recipients, entrant))
        return True
