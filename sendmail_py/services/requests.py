"""What can be asked of qmgr over the public socket, each verb a function on its state."""

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..formats.listing_records import to_records
from ..protocol import transcript
from ..spool.contents import counted
from ..spool.layout import ACTIVE, DEFERRED, INCOMING, MAILDROP
from ..spool.listed import listed
from ..spool.maildrop import is_name
from ..spool.queue_id import is_queue_id
from ..spool.store import Store, is_there
from .deferred_index import DeferredIndex
from .deletions import Submit, at_once
from .flushing import Flushing
from .messages import Message
from .public import Answer, Handler, Refused
from .steering_requests import SteeringRequests
from .waiting import Later, Waiting

_DOMAINS = 20
_HOUR = 3600.0
_AGES = [(f"{hours * _HOUR:g}", hours * _HOUR) for hours in (1, 6, 24, 72, 120)] + [("+Inf", math.inf)]


class Requests:
    """The verbs. They touch the deferred index, the list of what is incoming, and the wishes of active messages.

    active holds the messages under delivery by their ids; note takes lines for the log, session_noted
    what the postmaster is to hear of a session of the SMTP server, submit jobs for threads.
    """

    def __init__(
        self,
        store: Store,
        deferred: DeferredIndex,
        incoming: deque[str],
        active: Mapping[str, Message],
        note: Callable[[str], None] = lambda line: None,
        session_noted: Callable[[transcript.Notice], None] = lambda notice: None,
        submit: Submit = at_once,
    ) -> None:
        self.store = store
        self.deferred = deferred
        self.incoming = incoming
        self.active = active
        self._session_noted = session_noted
        self.waiting = Waiting()
        self._flushing = Flushing(store, deferred)
        self.steering = SteeringRequests(store, deferred, incoming, active, note, submit)
        self.handlers: dict[str, Handler] = {
            "list": self._list,
            "count": self._count,
            "flush": self._flush,
            "wait": self._wait,
            "gauges": self._gauges,
            "incoming": self._told_of,
            "notice": self._noted,
            **self.steering.handlers,
        }

    def find_incoming(self) -> bool:
        """Look into incoming/ for mail that nobody told us of; True when another look is due after SETTLING seconds."""
        known = set(self.incoming)
        found, has_more = self.store.settled(INCOMING)
        self.incoming.extend(sorted(queue_id for queue_id in found if queue_id not in known))
        return has_more

    def _list(self, request: dict[str, Any]) -> Answer:
        return to_records(listed(self.store))

    def _count(self, request: dict[str, Any]) -> Answer:
        known: dict[str, Collection[str]] = {}
        if self.deferred.is_whole:
            known = {DEFERRED: self.deferred, ACTIVE: self.active}
        return iter([{"counts": counted(self.store, known)}])

    def _gauges(self, request: dict[str, Any]) -> Answer:
        """Answer with numbers for the metrics, none of which costs more in a larger queue."""
        deferred, now = self.deferred, time.time()
        states = {INCOMING: len(self.incoming), ACTIVE: len(self.active), DEFERRED: len(deferred)}
        ages = [
            (name, sum(n for hour, n in deferred.hours.items() if (hour + 1) * 3600 > now - seconds))
            for name, seconds in _AGES
        ]
        return iter([{"states": states, "domains": deferred.domains.most_common(_DOMAINS), "ages": ages}])

    def _flush(self, request: dict[str, Any]) -> Answer:
        self.find_incoming()
        return self._flushing.answer(request)

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

    def _noted(self, request: dict[str, Any]) -> Answer:
        self._session_noted(transcript.read(request))
        return iter(())
