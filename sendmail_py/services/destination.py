"""One destination of the active queue: what waits for it, and how much of it may be under way."""

from collections import deque
from dataclasses import dataclass, field

from ..core.result import DeliveryResult, Outcome, Scope
from ..core.route import MAILBOXES
from ..routing.concurrency import Window
from ..routing.destination_limits import Limit
from .messages import Entry
from .turns import NO_TURN

Key = tuple[str, str, int, str]  # of a destination, as Route.destination() gives it

BATCH_MESSAGES = 50
BATCH_RECIPIENTS = 500
_SPREAD = 5


@dataclass(slots=True, eq=False)
class Destination:
    """What waits for one place, by the fields of its routes, and how much of it may be under way.

    ring has what waits by message, so that messages take turns. limits are the lines of destination_limits
    that it falls under, None while that is not known. dead is why it is left alone, with the time until when.
    """

    transport: str
    nexthop: str
    uid: int
    target: str
    window: Window
    turn: int = NO_TURN
    ring: deque[list[Entry]] = field(default_factory=deque)  # of a message: what waits, the first last
    waiting: int = 0
    running: int = 0
    limits: tuple[Limit, ...] | None = ()
    is_asked_about: bool = False
    rests: bool = False
    dead: DeliveryResult | None = None

    def key(self) -> Key:
        """Return what Route.destination() says of its routes."""
        return self.transport, self.nexthop, self.uid, self.target

    def may_run(self) -> bool:
        """Say whether something waits that its own limits allow."""
        if self.rests or self.dead or self.is_asked_about:
            return False
        return self.waiting > 0 and self.running < self.window.size

    def append(self, entries: list[Entry]) -> None:
        """Queue entries of one message."""
        entries.reverse()
        self.ring.append(entries)
        self.waiting += len(entries)

    def prepend(self, entries: list[Entry]) -> None:
        """Queue entries before all others."""
        self.ring.extendleft([entry] for entry in reversed(entries))
        self.waiting += len(entries)

    def take(self) -> list[Entry]:
        """Take a batch: all that fits for a mailbox, a share for a host that several sessions serve."""
        p = self.window.policy
        is_mailbox = self.transport in MAILBOXES
        most = min(BATCH_MESSAGES, self.waiting if is_mailbox else len(self.ring))  # a message once: others wait
        if any(limit.pause for limit in self.limits or ()) or p.rate_delay:
            most = 1
        elif p.limit > 1:
            most = max(1, min(most, self.waiting // _SPREAD))
        taken: list[Entry] = []
        recipients = 0
        while len(taken) < most:
            recipients += len(self.ring[0][-1].indexes)
            if taken and recipients > BATCH_RECIPIENTS:
                break
            entries = self.ring.popleft()
            taken.append(entries.pop())
            if entries:
                self.ring.append(entries)
        self.waiting -= len(taken)
        return taken

    def take_all(self) -> list[Entry]:
        """Take everything."""
        left = [entry for entries in self.ring for entry in reversed(entries)]
        self.ring.clear()
        self.waiting = 0
        return left


@dataclass(slots=True, eq=False)
class Work:
    """A choice: entries for one destination that go out as one batch; none: its mail hosts are asked for."""

    destination: Destination
    entries: list[Entry]
    limits: tuple[Limit, ...] = ()


def verdict(work: Work) -> DeliveryResult | bool | None:
    """Return what a batch that has ended says of its host: True: it answered; a result: it failed; None: nothing."""
    failure = None
    if work.destination.transport in MAILBOXES:
        return None
    for entry in work.entries:
        for index in entry.indexes:
            result = entry.message.results.get(index)
            if result is None:
                continue
            if result.outcome is not Outcome.DEFERRED or result.scope is not Scope.HOST:
                return True
            failure = result
    return failure
