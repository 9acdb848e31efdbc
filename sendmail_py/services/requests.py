"""What can be asked of qmgr over the public socket, each verb a function on its state."""

from collections import deque
from typing import Any

from ..spool.contents import listed, waiting
from ..spool.layout import DEFERRED, HOLD, INCOMING
from ..spool.queue_id import is_queue_id
from ..spool.store import Store
from .deferred_index import DeferredIndex
from .public import Answer, Handler, Refused, listing_answer

_SCANNED_AT_ONCE = 500


class Requests:
    """The verbs. They touch the deferred index and the list of what is incoming, nothing else of qmgr."""

    def __init__(self, store: Store, deferred: DeferredIndex, incoming: deque[str]) -> None:
        self.store = store
        self.deferred = deferred
        self.incoming = incoming
        self.handlers: dict[str, Handler] = {
            "list": self._list,
            "count": self._count,
            "flush": self._flush,
            "incoming": self._told_of,
            "release": self._release,
            "hold": self._hold,
        }

    def find_incoming(self) -> None:
        """Look into incoming/ for mail that nobody told us of."""
        known = set(self.incoming)
        self.incoming.extend(sorted(q for q, _ in self.store.entries(INCOMING) if q not in known))

    def _list(self, request: dict[str, Any]) -> Answer:
        return listing_answer(listed(self.store))

    def _count(self, request: dict[str, Any]) -> Answer:
        counts: dict[str, int] = {}
        for state, _, _ in waiting(self.store):
            counts[state] = counts.get(state, 0) + 1
        return iter([{"counts": counts}])

    def _flush(self, request: dict[str, Any]) -> Answer:
        self.find_incoming()
        while self.deferred.scan_some(_SCANNED_AT_ONCE):
            pass
        return iter([{"flushed": self.deferred.flush()}])

    def _told_of(self, request: dict[str, Any]) -> Answer:
        self.incoming.extend(queue_id for queue_id in request["ids"] if is_queue_id(queue_id))
        return iter(())

    def _release(self, request: dict[str, Any]) -> Answer:
        done = self._moved(request["ids"], HOLD, INCOMING)
        self.incoming.extend(done)
        return iter([{"ids": done}])

    def _hold(self, request: dict[str, Any]) -> Answer:
        done = self._moved(request["ids"], DEFERRED, HOLD)
        for queue_id in done:
            self.deferred.discard(queue_id)
        return iter([{"ids": done}])

    def _moved(self, ids: list[str], source: str, target: str) -> list[str]:
        """Move the named messages, or with ALL every one; returns those that were there."""
        names = [q for q, _ in self.store.entries(source)] if ids == ["ALL"] else ids
        if not all(is_queue_id(name) for name in names):
            raise Refused("queue ids expected")
        return [name for name in names if self.store.moved(name, source, target)]
