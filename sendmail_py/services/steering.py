"""What an administrator does with queued messages: hold, release, delete, expire, requeue.

Each verb is one rename, one removal or one octet, by the arrows of spool/store.py, so whoever is killed
half-way has done it for some messages and not begun it for the others. Only who has the role
lock of qmgr may use this: qmgr itself, or mailctl while no qmgr runs. A message under delivery
is not touched here: qmgr does what was asked for when its pass has ended.
"""

import contextlib
import os
from collections.abc import Iterable

from ..core.envelope import Mark
from ..core.errors import QueueFileError
from ..spool.layout import CORRUPT, DEFERRED, HOLD, INCOMING
from ..spool.message_file import read_head
from ..spool.store import Store

HOLD_VERB, RELEASE, DELETE, EXPIRE, EXPIRE_NOW, REQUEUE = "hold", "release", "delete", "expire", "expire-now", "requeue"
VERBS = (HOLD_VERB, RELEASE, DELETE, EXPIRE, EXPIRE_NOW, REQUEUE)
GONE = "gone"
_AT_ONCE, _DELETED_AT_ONCE = 200, 1000  # what a request may name: qmgr has other work, but for deletions it has threads
LOG_LINES = {  # as postsuper has them; of requeuing the new message tells
    HOLD_VERB: "placed on hold",
    RELEASE: "released from hold",
    DELETE: "removed by the administrator",
    EXPIRE: "expired by the administrator",
    EXPIRE_NOW: "expired by the administrator",
}
MAILDROP_VERBS = (HOLD_VERB, RELEASE, DELETE, EXPIRE, EXPIRE_NOW)  # what can be done before pickup has taken a message
HOLD_EXPIRED = "hold+expire"
_HELD, _EXPIRED = (HOLD_VERB, HOLD_EXPIRED), (EXPIRE, EXPIRE_NOW, HOLD_EXPIRED)


def most_at_once(verb: str) -> int:
    """Return how many messages a request may name."""
    return _DELETED_AT_ONCE if verb == DELETE else _AT_ONCE


def together(before: str, verb: str) -> str:
    """Return what two wishes come to for one message that is to be taken up: as if it had been there for both."""
    if before == DELETE or (verb == RELEASE and before not in _HELD):
        return before
    if verb == RELEASE:
        return EXPIRE if before == HOLD_EXPIRED else ""
    if (verb == HOLD_VERB and before in _EXPIRED) or (verb == EXPIRE and before in _HELD):
        return HOLD_EXPIRED
    return verb


def is_held(wish: str) -> bool:
    """Say whether a wish parks a message."""
    return wish in _HELD


class Steering:
    """The verbs on one queue; each returns the state that a message is in then, "" when there was nothing to do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._fresh: list[str] = []
        self._verbs = {
            HOLD_VERB: self.hold,
            RELEASE: self.release,
            DELETE: self.delete,
            EXPIRE: self.expire,
            EXPIRE_NOW: self.expire_now,
            REQUEUE: self.bring_in,
        }

    def apply(self, verb: str, queue_id: str) -> str:
        """Do what a verb says to a message that is not under delivery; raises OSError."""
        return self._verbs[verb](queue_id)

    def hold(self, queue_id: str) -> str:
        """Park a message; what keep_held() is given makes that last."""
        if self.store.moved(queue_id, DEFERRED, HOLD):
            return HOLD
        if not self.store.moved(queue_id, INCOMING, HOLD):
            return ""
        self._fresh.append(queue_id)
        return HOLD

    def fresh(self) -> list[str]:
        """Return what was parked since this was asked for last and was on disk as its original only."""
        found, self._fresh = self._fresh, []
        return found

    def keep_held(self, fresh: Iterable[str]) -> OSError | None:
        """Make what was parked outlast a power cut: nobody could call back what would be delivered then."""
        try:
            for queue_id in fresh:
                with contextlib.suppress(FileNotFoundError):  # it was released, or deleted, since
                    self.store.sync(HOLD, queue_id)
            self.store.sync_hold()
        except OSError as error:
            return error
        return None

    def release(self, queue_id: str) -> str:
        """Let a parked message go on."""
        return INCOMING if self.store.moved(queue_id, HOLD, INCOMING) else ""

    def delete(self, queue_id: str) -> str:
        """Remove a message for good; its original goes first, which would be taken for new mail without a copy."""
        for state in (DEFERRED, HOLD, INCOMING, CORRUPT):
            try:
                self._delete(state, queue_id)
            except FileNotFoundError:
                continue
            return GONE
        return ""

    def _delete(self, state: str, queue_id: str) -> None:
        descriptor = self.store.open(state, queue_id)
        try:
            original = read_head(descriptor).maildrop
        except QueueFileError:
            original = None
        finally:
            os.close(descriptor)
        if original:
            self.store.originals.remove(original)
        self.store.remove(state, queue_id)

    def expire(self, queue_id: str) -> str:
        """Make the next attempt the last one; what is parked stays so."""
        for state in (DEFERRED, HOLD, INCOMING):
            if self.flag_expired(state, queue_id):
                return state
        return ""

    def expire_now(self, queue_id: str) -> str:
        """The same for an attempt that is made at once; what is parked is let go."""
        state = self.expire(queue_id)
        return (self.release(queue_id) or state) if state == HOLD else state

    def flag_expired(self, state: str, queue_id: str) -> bool:
        """Set the flag in a message of this state; False when it is not there."""
        try:
            descriptor = self.store.open(state, queue_id)
            try:
                box = read_head(descriptor).box("expire")
            finally:
                os.close(descriptor)
            self.store.mark(state, queue_id, [(box, Mark.DELIVERED)])
        except (FileNotFoundError, QueueFileError, KeyError):
            return False
        return True

    def bring_in(self, queue_id: str) -> str:
        """Have a message taken up, as requeuing begins."""
        if self.store.moved(queue_id, HOLD, INCOMING):
            return INCOMING
        return next((state for state in (INCOMING, DEFERRED) if self.store.has(state, queue_id)), "")
