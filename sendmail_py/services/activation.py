"""The way of messages into active/: opened, read, moved, and handed to the passes.

When new mail waits for it nevertheless, who brings it is told to slow down.
"""

import contextlib
import os
import time
from collections import deque

from ..core.config import Config
from ..core.errors import QueueFileError
from ..spool.flow import say as say_slow
from ..spool.layout import ACTIVE, CORRUPT, HOLD
from ..spool.message_file import read_head
from .deferred_index import DeferredIndex
from .entry_order import Entrant, EntryOrder
from .messages import Message
from .passes import Passes
from .requests import Requests
from .steering import HOLD_VERB

_ACTIVATIONS_A_TURN = 50
_BESIDE_STEERING = 10  # while somebody holds, releases or deletes a great many
_STEERING_LASTS = 0.05  # seconds from one of his requests to the next
_SLOW = "more mail comes than can be delivered: it is taken slowly"
_AT_ONCE = "mail is taken at once again"


_OF_CORRUPT = (
    f"The file lies in {CORRUPT}/ of the queue, and nothing is done with it. It is text, and may tell whose mail",
    "it is; `mailctl queue delete ID` removes it.",
)


class _NoRoom(Exception):
    """A message has too many recipients to come in now."""


class Activation:
    """The way from incoming/ and deferred/ to active/."""

    def __init__(self, passes: Passes, deferred: DeferredIndex, incoming: deque[str], requests: Requests) -> None:
        self._passes = passes
        self._store = passes.store
        self._log = passes.log
        self._waiting = requests.waiting
        self._steering = requests.steering
        self._order = EntryOrder(incoming, deferred, passes.room)
        self._is_slow = False

    def configure(self, config: Config) -> None:
        """Take what the configuration says; also after a reload."""
        self._order.limit = max(1, config.qmgr_message_active_limit)

    def begin(self) -> None:
        """Take back what an earlier queue manager said of too much mail."""
        say_slow(self._store.top, False)

    def some(self, now: float) -> bool:
        """Bring a few messages into active/; True when more could come at once."""
        is_steered = time.monotonic() - self._steering.asked_at < _STEERING_LASTS
        count = _BESIDE_STEERING if is_steered else _ACTIVATIONS_A_TURN
        return all(self._activate_next(now) for _ in range(count))

    def next_due(self) -> float | None:
        """Return when the next retry can come in, as far as that is known now."""
        return self._order.next_due(len(self._passes.messages))

    def mind_flow(self) -> None:
        """Have mail come in slowly while more waits for the active queue than a quarter of it."""
        is_slow = self._order.backlog() > self._order.limit // (8 if self._is_slow else 4)
        if is_slow != self._is_slow:
            self._is_slow = is_slow
            with contextlib.suppress(OSError):  # with no room on the disk no mail comes in anyway
                say_slow(self._store.top, is_slow)
            self._log.info(_SLOW if is_slow else _AT_ONCE)

    def _activate_next(self, now: float) -> bool:
        entrant = self._order.next(now, len(self._passes.messages))
        if entrant is not None:
            self._activate(entrant)
        return entrant is not None

    def _activate(self, entrant: Entrant) -> None:
        queue_id, state, _ = entrant
        if queue_id in self._passes.messages:
            return
        if self._steering.deletions.postpones(queue_id, lambda: self._activate(entrant)):
            return
        wish = ""
        try:
            wish = self._steering.wish_for(queue_id)
            is_parked = wish == HOLD_VERB and self._store.moved(queue_id, state, HOLD)
            message = None if is_parked else self._take(entrant)
        except _NoRoom:
            self._steering.wish(queue_id, wish)
            return
        except FileNotFoundError:
            self._waiting.ended(queue_id)
            return  # an administrator removed it, or it was told twice
        except OSError as error:
            self._log.error(f"{queue_id}: {error}; it is tried again")
            self._steering.wish(queue_id, wish)
            self._passes.owner.after(self._passes.retry_pause, lambda: self._activate(entrant))
            return
        if message is not None:
            message.wish = wish
            self._passes.begin(message, state)
        else:
            self._waiting.ended(queue_id)

    def _take(self, entrant: Entrant) -> Message | None:
        """Read a message and move it to active/; raises _NoRoom for a large one; None for a corrupt one, put aside."""
        queue_id, state, forced = entrant
        descriptor = self._store.open(state, queue_id)
        try:
            envelope = read_head(descriptor)
            if self._order.must_wait(entrant, len(envelope.recipients)):
                raise _NoRoom
            self._store.move(queue_id, state, ACTIVE)
        except QueueFileError as error:
            os.close(descriptor)
            self._store.move(queue_id, state, CORRUPT)
            text = f"{queue_id}: moved to {CORRUPT}/: {error}"
            self._log.error(text)
            self._passes.postmaster.tell_of_error("A message cannot be read", [text, "", *_OF_CORRUPT])
            return None
        except BaseException:
            os.close(descriptor)
            raise
        message = Message(queue_id, envelope, descriptor, time.time_ns() // 1000, forced)
        self._passes.open_messages.keep(message)
        return message
