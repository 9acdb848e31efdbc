"""The routing of messages that have come into active/: a great one a piece at a time, so that nobody waits for it."""

from collections import deque
from dataclasses import dataclass

from ..core.envelope import Mark
from ..core.result import DeliveryResult
from ..core.route import Route
from .active_queue import ActiveQueue
from .messages import Message
from .notices import STOPPING
from .outcomes import Outcomes

_ROUTED_A_TURN = 200


@dataclass(slots=True)
class _Unrouted:
    """A message that is being routed: the recipients that are still to be, and the routes of those that are."""

    message: Message
    state: str
    indexes: deque[int]
    routed: list[tuple[int, Route]]


class FirstRouting:
    """The messages that are being routed, on their way into the active queue."""

    def __init__(self, active: ActiveQueue, outcomes: Outcomes) -> None:
        self._active = active
        self._outcomes = outcomes
        self._unrouted: deque[_Unrouted] = deque()

    def begin(self, message: Message, state: str) -> None:
        """Route a message that came from state: at once, unless it has very many recipients."""
        e = message.envelope
        pending = [index for index, recipient in enumerate(e.recipients) if recipient.mark == Mark.PENDING]
        size = f"size={e.size}, nrcpt={len(pending)}"
        self._outcomes.note(f"{message.queue_id}: from=<{e.sender}>, {size} (queue active)")
        message.waiting = 1  # keeps the pass open until everything is routed
        unrouted = _Unrouted(message, state, deque(pending), [])
        if len(pending) <= _ROUTED_A_TURN:
            self._route(unrouted, len(pending))
        else:
            self._unrouted.append(unrouted)

    def some(self) -> bool:
        """Route a piece of a message with many recipients; True when there is more to do at once."""
        if self._unrouted:
            unrouted = self._unrouted.popleft()
            if not self._route(unrouted, _ROUTED_A_TURN):
                self._unrouted.append(unrouted)
        return bool(self._unrouted)

    def _route(self, unrouted: _Unrouted, count: int) -> bool:
        """Route some recipients, and queue them all when the last one is; True then."""
        message, indexes = unrouted.message, unrouted.indexes
        outcomes = self._outcomes
        for index in [indexes.popleft() for _ in range(min(count, len(indexes)))]:
            decision = outcomes.decisions.first(message, message.envelope.recipients[index], unrouted.state)
            if isinstance(decision, Route):
                unrouted.routed.append((index, decision))
            elif isinstance(decision, DeliveryResult):
                outcomes.decided(message, index, decision)
            else:
                outcomes.expand(message, [index], decision)
        if indexes:
            return False
        self._active.add(message, unrouted.routed)
        outcomes.end_entry(message)
        return True

    def give_up(self) -> None:
        """For a stop: end what has begun; what nothing has happened to stays as it is."""
        for unrouted in self._unrouted:
            message = unrouted.message
            if message.waiting > 1 or message.results:
                indexes = (*unrouted.indexes, *(index for index, _ in unrouted.routed))
                self._outcomes.end_all(message, indexes, STOPPING)
        self._unrouted.clear()
