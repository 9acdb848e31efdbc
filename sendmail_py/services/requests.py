"""What can be asked of qmgr over the public socket, each verb a function on its state."""

import contextlib
import os
from collections import deque
from collections.abc import Collection
from itertools import islice
from typing import Any

from ..core.errors import QueueFileError
from ..formats.selection import Selection, from_rows
from ..spool.contents import listed, waiting
from ..spool.layout import ACTIVE, DEFERRED, HOLD, INCOMING, MAILDROP
from ..spool.maildrop import is_name
from ..spool.queue_id import is_queue_id
from ..spool.store import Store, is_there, read_head
from .deferred_index import DeferredIndex
from .public import Answer, Handler, Refused, listing_answer
from .waiting import Later, Waiting

_SCANNED_AT_ONCE = 500
_OPENED_AT_ONCE = 25


class Requests:
    """The verbs. They touch the deferred index and the list of what is incoming, nothing else of qmgr.

    active holds the ids of the messages under delivery.
    """

    def __init__(
        self, store: Store, deferred: DeferredIndex, incoming: deque[str], active: Collection[str] = frozenset()
    ) -> None:
        self.store = store
        self.deferred = deferred
        self.incoming = incoming
        self.active = active
        self.waiting = Waiting()
        self.handlers: dict[str, Handler] = {
            "list": self._list,
            "count": self._count,
            "flush": self._flush,
            "wait": self._wait,
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
        try:
            selection = from_rows(request.get("limits", []))
        except ValueError as error:
            raise Refused(str(error)) from error
        if not selection.limits:
            return iter([{"flushed": self.deferred.flush()}])
        if not selection.is_by_id:
            return self._flush_some(selection)
        chosen = [queue_id for queue_id in self.deferred.ids() if selection.selects(queue_id)]
        return iter([{"flushed": sum(map(self.deferred.force, chosen))}])

    def _flush_some(self, selection: Selection) -> Answer:
        """Flush what a look into each message selects, some messages a piece of the answer."""
        ids = iter(self.deferred.ids())
        while piece := list(islice(ids, _OPENED_AT_ONCE)):
            yield {"flushed": sum(self.deferred.force(queue_id) for queue_id in piece if self._is(queue_id, selection))}

    def _is(self, queue_id: str, selection: Selection) -> bool:
        with contextlib.suppress(OSError, QueueFileError):  # it has just left, or nobody can tell what it is
            descriptor = self.store.open(DEFERRED, queue_id)
            try:
                e = read_head(descriptor)
            finally:
                os.close(descriptor)
            return selection.selects(queue_id, str(e.sender), [str(r.forward_path) for r in e.pending()])
        return False

    def _wait(self, request: dict[str, Any]) -> Answer | Later:
        """Answer when the first passes of a message and of its children have ended: at once, when they have by now."""
        queue_id, name = request["id"], request.get("maildrop", "")
        if not is_queue_id(queue_id) or (name and not is_name(name)):
            raise Refused("a queue id expected")
        ids = [q for q in (*self.active, *self.incoming) if q.startswith(queue_id) and q != queue_id]
        if self._is_still_to_come(queue_id, name):
            ids.append(queue_id)
        if not ids:
            return iter(())
        later = self.waiting.add(ids)
        if later is None:
            raise Refused("too many wait")
        return later

    def _is_still_to_come(self, queue_id: str, name: str) -> bool:
        """Say whether the first pass of a message has not ended. Its original goes before its copy does."""
        if queue_id in self.active or queue_id in self.incoming:
            return True
        state = self.store.find(queue_id)
        if state is None:
            return bool(name) and is_there(f"{self.store.top}/{MAILDROP}/{name}")
        return state in (INCOMING, ACTIVE)

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
