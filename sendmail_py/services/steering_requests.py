"""hold, release, delete, expire and requeue as they are asked of qmgr, which knows more than the disk says.

What is at rest is done at once (steering.py), or deleted by threads (deletions.py). A message under
delivery gets what was asked for when its pass has ended, one that is still in maildrop/ when pickup
brings it: until then it is a wish, which a crash forgets.
"""

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Any

from ..spool.contents import waiting
from ..spool.layout import ACTIVE, CORRUPT, DEFERRED, HOLD, INCOMING, MAILDROP
from ..spool.queue_id import is_queue_id
from ..spool.store import Store
from ..spool.wishes import take as take_wishes
from .deferred_index import DeferredIndex
from .deletions import Deleted, Deletions, Submit, at_once
from .messages import Message
from .public import Answer, Handler, Refused
from .steering import (
    DELETE,
    EXPIRE,
    EXPIRE_NOW,
    GONE,
    HOLD_EXPIRED,
    HOLD_VERB,
    LOG_LINES,
    MAILDROP_VERBS,
    RELEASE,
    REQUEUE,
    VERBS,
    Steering,
    is_held,
    most_at_once,
    together,
)
from .waiting import Later

_NAMED_AT_ONCE = 1000
_EXPECTED = 1000  # pickup has a hundred open at most


class SteeringRequests:
    """The verbs, on what is on the disk and in qmgr's memory: active holds the messages under delivery by their ids.

    note takes lines for the log.
    """

    def __init__(
        self,
        store: Store,
        deferred: DeferredIndex,
        incoming: deque[str],
        active: Mapping[str, Message],
        note: Callable[[str], None],
        submit: Submit = at_once,
    ) -> None:
        self.store = store
        self.deferred = deferred
        self.incoming = incoming
        self.active = active
        self.steering = Steering(store)
        self.deletions = Deletions(self.steering, submit)
        self._note = note
        self._submit = submit
        self.asked_at = -math.inf  # when something was steered last, by time.monotonic()
        self._wishes: dict[str, str] = {}  # of messages that are to be taken up, by id
        self._expected: deque[str] = deque(maxlen=_EXPECTED)  # those that are to be deleted then
        self.handlers: dict[str, Handler] = {
            "ids": self._ids,
            **dict.fromkeys(VERBS, self._steer),
            DELETE: self._delete,
        }

    def _ids(self, request: dict[str, Any]) -> Answer:
        """Name every message with its state, those that nobody can read too."""
        rows = chain(waiting(self.store), ((CORRUPT, queue_id, "") for queue_id, _ in self.store.entries(CORRUPT)))
        while piece := [[state, queue_id] for state, queue_id, _ in islice(rows, _NAMED_AT_ONCE)]:
            yield {"ids": piece}

    def _asked_for(self, request: dict[str, Any]) -> tuple[str, list[str]]:
        """Return the verb and the ids of a request; raises Refused."""
        verb, ids = request["verb"], request["ids"]
        if len(ids) > most_at_once(verb) or not all(isinstance(name, str) and is_queue_id(name) for name in ids):
            raise Refused("queue ids expected")
        self.asked_at = time.monotonic()
        return verb, ids

    def _steer(self, request: dict[str, Any]) -> Answer | Later:
        """Do what a verb says to some messages; answers with the ids of those for which there was something to do."""
        verb, ids = self._asked_for(request)
        done: list[str] = []
        others: list[str] = []
        errors: list[str] = []
        for queue_id in ids:
            try:
                (done if self._steer_one(verb, queue_id) else others).append(queue_id)
            except OSError as error:
                errors.append(f"{queue_id}: {error}")
        self._steer_others(verb, others, done, errors)
        answer = iter([{"ids": done, "errors": errors}])
        if verb != HOLD_VERB or self.active.keys() >= set(done):
            return answer
        later = Later()
        later.open, later.answer = {HOLD}, answer

        def kept(error: OSError | None) -> None:
            errors.extend([_not_durable(error)] if error else [])
            later.open.clear()
            later.ready()

        self._keep_held(kept)
        return later if later.open else answer

    def _keep_held(self, kept: Callable[[OSError | None], None]) -> None:
        fresh = self.steering.fresh()
        self._submit(lambda: self.steering.keep_held(fresh), kept)

    def _steer_others(self, verb: str, ids: list[str], done: list[str], errors: list[str]) -> None:
        """Steer what is in no queue, but may be in maildrop/ still; adds to what was done, and to errors."""
        try:
            paths = dict(self.store.originals.paths()) if ids and verb in MAILDROP_VERBS else {}
            for queue_id in ids:
                if queue_id in paths and self._steer_original(verb, queue_id, paths[queue_id]):
                    done.append(queue_id)
        except OSError as error:
            errors.append(f"{MAILDROP}/: {error}")

    def _delete(self, request: dict[str, Any]) -> Answer | Later:
        """The same for a deletion, which is answered when all is done."""
        ids = dict.fromkeys(self._asked_for(request)[1])
        done = [queue_id for queue_id in ids if queue_id in self.active]
        for queue_id in done:
            self._steer_active(DELETE, self.active[queue_id])
        others: list[str] = []
        errors: list[str] = []
        later = Later()
        later.open = ids.keys() - done

        def ended(piece: list[str], deleted: Deleted) -> None:
            self._note_gone(deleted[0])
            done.extend(deleted[0])
            others.extend(deleted[1])
            errors.extend(deleted[2])
            later.open.difference_update(piece)
            if not later.open:
                self._steer_others(DELETE, others, done, errors)
                later.ready()

        self.deletions.begin([queue_id for queue_id in ids if queue_id in later.open], ended)
        later.answer = iter([{"ids": done, "errors": errors}])
        return later if later.open else later.answer

    def _note_gone(self, ids: list[str]) -> None:
        for queue_id in ids:
            self._wishes.pop(queue_id, None)
            self.deferred.discard(queue_id)
            self._note(f"{queue_id}: {LOG_LINES[DELETE]}")

    def _steer_one(self, verb: str, queue_id: str) -> bool:
        message = self.active.get(queue_id)
        if message is not None:
            return self._steer_active(verb, message)
        return self._steer_resting(verb, queue_id)

    def _steer_resting(self, verb: str, queue_id: str) -> bool:
        is_let_go = verb == RELEASE and self.wish(queue_id, verb)
        if verb == DELETE:
            self._wishes.pop(queue_id, None)
        state = self.steering.apply(verb, queue_id)
        if state and verb in LOG_LINES:
            self._note(f"{queue_id}: {LOG_LINES[verb]}")
        if verb == REQUEUE and state:
            self._wishes[queue_id] = REQUEUE
        if state in (HOLD, GONE):
            self.deferred.discard(queue_id)
        elif state == INCOMING and verb != EXPIRE:
            self.incoming.append(queue_id)
        elif state == DEFERRED and verb in (EXPIRE_NOW, REQUEUE):
            self.deferred.add(queue_id, 0.0)
            self.deferred.force(queue_id)
        return bool(state) or is_let_go

    def _steer_active(self, verb: str, message: Message) -> bool:
        """Remember what is to become of a message when its pass has ended."""
        if verb in (EXPIRE, EXPIRE_NOW):
            message.envelope.expire = True
            return self.steering.flag_expired(ACTIVE, message.queue_id)
        had, message.wish = message.wish, "" if verb == RELEASE else verb
        return verb != RELEASE or bool(had)

    def _steer_original(self, verb: str, queue_id: str, path: str) -> bool:
        """Do it to what pickup has not taken yet; all but a removal waits until it has."""
        if verb != DELETE:
            return self.wish(queue_id, verb)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            if not self.steering.delete(queue_id):  # pickup may have taken it just now, or have it open yet
                self._expect(queue_id)
            self._note(f"{queue_id}: {LOG_LINES[DELETE]}")
            return True
        return self._steer_one(verb, queue_id)

    def _expect(self, queue_id: str) -> None:
        """Have a message deleted that pickup was perhaps copying; of the last ones, for most never come."""
        if len(self._expected) == _EXPECTED:
            self._wishes.pop(self._expected[0], None)
        self._expected.append(queue_id)
        self._wishes[queue_id] = DELETE

    def remember(self) -> None:
        """Take over what was asked for while no queue manager ran."""
        for queue_id, verb in take_wishes(self.store.top):
            if verb == DELETE:
                self._expect(queue_id)
            elif verb in MAILDROP_VERBS:
                self.wish(queue_id, verb)

    def wish(self, queue_id: str, verb: str) -> bool:
        """Remember what is asked for of a message that is to be taken up; False where there is nothing to take back."""
        before = self._wishes.pop(queue_id, "")
        after = together(before, verb) if verb else before
        if after:
            self._wishes[queue_id] = after
        return verb != RELEASE or after != before

    def wish_for(self, queue_id: str) -> str:
        """Return what was asked for of a message that is taken up now; what can be done is done. Raises OSError."""
        wish = self._wishes.get(queue_id, "") if self._wishes else ""
        if wish == DELETE:
            self.steering.delete(queue_id)
        elif wish in (EXPIRE, EXPIRE_NOW, HOLD_EXPIRED):
            self.steering.expire(queue_id)
        self._wishes.pop(queue_id, None)
        return HOLD_VERB if is_held(wish) else REQUEUE if wish == REQUEUE else ""

    def fulfil(self, message: Message) -> None:
        """Do what was asked for of a message that is in deferred/ now, after its pass."""
        if message.wish:
            self._fulfil(message.wish, message.queue_id)

    def fulfil_for(self, message: Message, children: Iterable[str]) -> None:
        """Do what was asked for while a message was made anew to the new one; other children are mail of their own."""
        for queue_id in children:
            if message.wish and not queue_id.startswith(message.queue_id):
                self._fulfil(message.wish, queue_id)

    def _fulfil(self, verb: str, queue_id: str) -> None:
        """Do what was asked for, or, where the disk does not let it be done, have it done before the next attempt."""
        try:
            self._steer_resting(verb, queue_id)
            if verb == HOLD_VERB:
                self._keep_held(lambda error: self._note(f"warning: {_not_durable(error)}") if error else None)
        except OSError as error:
            self._note(f"error: {queue_id}: {verb}: {error}; it is done before the next attempt")
            self.wish(queue_id, verb)


def _not_durable(error: OSError) -> str:
    return f"{HOLD}/: {error}; a power cut now could let go what was held"
