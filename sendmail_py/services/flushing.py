"""Attempts that somebody asks for: of all deferred mail, or of what is selected.

Which domains and which sender a message has is remembered in memory, once it was deferred here or looked at; so
a flush of one destination opens no more files than are new since the queue manager started.
"""

import contextlib
import os
from itertools import islice
from typing import Any

from ..core.errors import QueueFileError
from ..formats.selection import Selection, from_rows
from ..spool.layout import DEFERRED
from ..spool.message_file import read_head
from ..spool.store import Store
from .deferred_index import DeferredIndex, origin_of
from .public import Answer, Refused

_SCANNED_AT_ONCE = 500
_KNOWN_AT_ONCE = 2000
_OPENED_AT_ONCE = 25


class Flushing:
    """The verb flush."""

    def __init__(self, store: Store, deferred: DeferredIndex) -> None:
        self._store = store
        self._deferred = deferred

    def answer(self, request: dict[str, Any]) -> Answer:
        """Make due what the limits of a request select."""
        while self._deferred.scan_some(_SCANNED_AT_ONCE):
            pass
        try:
            selection = from_rows(request.get("limits", []))
        except ValueError as error:
            raise Refused(str(error)) from error
        if not selection.limits:
            return iter([{"flushed": self._deferred.flush()}])
        if selection.is_by_id:
            chosen = [queue_id for queue_id in self._deferred.ids() if selection.selects(queue_id)]
            return iter([{"flushed": sum(map(self._deferred.force, chosen))}])
        return self._some(selection)

    def _some(self, selection: Selection) -> Answer:
        """Flush what is selected, some messages a piece of the answer."""
        unknown = []
        ids = iter(self._deferred.ids())
        while piece := list(islice(ids, _KNOWN_AT_ONCE)):
            chosen = 0
            for queue_id in piece:
                origin = self._deferred.origins.get(queue_id) if selection.is_by_origin else None
                if origin is None:
                    unknown.append(queue_id)
                elif selection.selects(queue_id, origin[0], [f"@{domain}" for domain in origin[1:]]):
                    chosen += self._deferred.force(queue_id)
            yield {"flushed": chosen}
        ids = iter(unknown)
        while piece := list(islice(ids, _OPENED_AT_ONCE)):
            chosen = sum(self._deferred.force(queue_id) for queue_id in piece if self._is(queue_id, selection))
            yield {"flushed": chosen}

    def _is(self, queue_id: str, selection: Selection) -> bool:
        with contextlib.suppress(OSError, QueueFileError):  # it has just left, or nobody can tell what it is
            descriptor = self._store.open(DEFERRED, queue_id)
            try:
                e = read_head(descriptor)
            finally:
                os.close(descriptor)
            self._deferred.learn(queue_id, origin_of(e))
            return selection.selects(queue_id, str(e.sender), [str(r.forward_path) for r in e.pending()])
        return False
