"""The active queue in memory: what waits for which destination, and what to hand out next.

No I/O and no clock: it is fed facts and returns choices. Destinations of a transport take turns, and so do the
messages that wait for one; a destination never has more batches under way than its limits, one that is dead is
left alone, and every recipient of an added message ends with exactly one result.
"""

import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..core.result import DeliveryResult
from ..core.route import MAILBOXES, SMTP, Route
from ..routing.concurrency import Policy, Window
from ..routing.destination_limits import Limit, host_of
from .destination import BATCH_RECIPIENTS, Destination, Key, Work
from .destination_policies import Policies
from .entries import grouped
from .messages import Entry, Message
from .turns import BUSY, FRESH, NO_TURN, PARKED, Turns

_MAILBOX = Policy(concurrency=1, initial=1, cohorts=0)
SUSPENDED = "delivery temporarily suspended: "
_HOSTS_KNOWN = 10_000
_HOSTS_SECONDS = 3600.0


_DEFAULT = Policies()


class ActiveQueue:
    """Entries by destination, and whose turn it is. tick() tells it the time."""

    def __init__(self, policies: Policies = _DEFAULT) -> None:
        self._destinations: dict[Key, Destination] = {}
        self._turns: defaultdict[str, Turns[Destination]] = defaultdict(Turns)
        self._out: set[Work] = set()
        self._parked: dict[Limit, deque[Destination]] = {}
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._hosts: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._now = 0.0
        self.configure(policies)

    def configure(self, policies: Policies) -> None:
        """Set the limits; recipients of what is queued stay grouped as they are."""
        known = {limit.key(): limit for limit in self._parked}
        limits = [known.pop(limit.key(), limit) for limit in policies.limits]  # a rate outlasts a reload
        self.policies = replace(policies, limits=limits)
        self._parked = {limit: deque() for limit in limits}
        for destination in self._destinations.values():
            destination.window.policy = self._policy(destination.transport)
            destination.window.size = min(destination.window.size, destination.window.policy.limit)
            self._find_limits(destination)
            destination.turn = NO_TURN if destination.turn == PARKED else destination.turn
            self._take_turn(destination)
        for limit in limits:
            limit.running = 0
        for work in self._out:
            work.limits = (work.destination.limits or ()) if work.entries else ()
            for limit in work.limits:
                limit.running += 1

    def _policy(self, transport: str) -> Policy:
        return _MAILBOX if transport in MAILBOXES else self.policies.of_transport(transport)

    # --- in -----------------------------------------------------------------------------------

    def add(self, message: Message, routed: list[tuple[int, Route]]) -> None:
        """Queue the recipients of a message by their routes."""
        entries = grouped(message, routed, lambda transport: self._policy(transport).recipients or BATCH_RECIPIENTS)
        for key, of_one in entries.items():
            message.waiting += len(of_one)
            self._append(key, of_one)

    def add_again(self, entry: Entry) -> None:
        """Queue an entry that an agent did not answer for, or gave back; it still counts in its message."""
        self._append(entry.routes[0].destination(), [entry])

    def _append(self, key: Key, entries: list[Entry]) -> None:
        destination = self._destinations.get(key)
        if destination is None:
            destination = self._destinations[key] = Destination(*key, Window(self._policy(key[0])))
            self._find_limits(destination)
        destination.append(entries)
        self._take_turn(destination)

    def suspended(self, route: Route) -> DeliveryResult | None:
        """Return the result for mail to a destination that is dead, None for any other."""
        destination = self._destinations.get(route.destination())
        return destination.dead if destination else None

    # --- out ----------------------------------------------------------------------------------

    def transports(self) -> list[str]:
        """Return the transports for which something could be handed out."""
        return [transport for transport, turns in self._turns.items() if turns]

    def pick(self, transport: str, is_scarce: bool = False) -> Work | None:
        """Return the next batch of a transport; ended() or put_back() must follow.

        is_scarce: agents are nearly busy, and what is left of them is for destinations with nothing under way.
        """
        turns = self._turns[transport]
        while (destination := turns.next(is_scarce)) is not None:
            if destination.limits is None:
                destination.is_asked_about = True
                return self._begin(destination, [], ())
            blocker = next((limit for limit in destination.limits if not self._has_room(limit)), None)
            if blocker is None:
                return self._begin(destination, destination.take(), destination.limits)
            self._park(destination, blocker)
        return None

    def _begin(self, destination: Destination, entries: list[Entry], limits: tuple[Limit, ...]) -> Work:
        work = Work(destination, entries, limits)
        self._out.add(work)
        destination.running += 1
        for limit in limits:
            limit.begin(self._now, len(entries))
            self._wake(limit)
        self._take_turn(destination)
        return work

    def _wake(self, limit: Limit) -> None:
        if limit.pause:
            self._set_alarm(limit.free_at, lambda: self._unpark(limit))

    def _take_turn(self, destination: Destination) -> None:
        if not destination.may_run():
            return
        turn = BUSY if destination.running else FRESH
        if destination.turn in (NO_TURN, BUSY) and destination.turn != turn:
            self._turns[destination.transport].append(destination, turn)

    def put_back(self, work: Work) -> None:
        """Undo a pick that could not be handed out."""
        work.destination.prepend(work.entries)
        self.ended(work)

    def ended(self, work: Work, verdict: DeliveryResult | bool | None = None) -> list[Entry]:
        """Note that a batch has ended; returns what waited for a destination that is now dead, and is suspended.

        verdict: True when the host took it, the result when the host failed, None when it says nothing of the host.
        """
        destination = work.destination
        self._out.discard(work)
        destination.running -= 1
        destination.is_asked_about = False
        given_up: list[Entry] = []
        if isinstance(verdict, DeliveryResult):
            if destination.dead is None and destination.window.failed():
                given_up = self._suspend(destination, verdict)
        elif verdict:
            self._succeeded(destination)
        self._begin_rest(destination, bool(work.entries) and verdict is not None)
        for limit in work.limits:
            limit.running -= 1
            self._unpark(limit)
        self._take_turn(destination)
        self._forget(destination)
        return given_up

    def _succeeded(self, destination: Destination) -> None:
        if destination.dead is not None:
            self._revive(destination)
        else:
            destination.window.succeeded(destination.running + 1)

    def _forget(self, destination: Destination) -> None:
        """Let go of a destination that nothing is to be remembered of."""
        d = destination
        if not (d.waiting or d.running or d.dead or d.rests) and self._destinations.get(d.key()) is d:
            del self._destinations[d.key()]
            d.turn = NO_TURN

    # --- dead destinations, and pauses ------------------------------------------------------------

    def _suspend(self, destination: Destination, why: DeliveryResult) -> list[Entry]:
        reason = f"{SUSPENDED}{why.reason}"
        dead = destination.dead = replace(why, reason=reason)

        def over() -> None:
            if destination.dead is dead:
                self._revive(destination)

        self._set_alarm(self._now + self.policies.pause_of_dead, over)
        return destination.take_all()

    def _revive(self, destination: Destination) -> None:
        destination.dead = None
        destination.window.revive(destination.running)
        self._take_turn(destination)
        self._forget(destination)

    def revive_all(self) -> None:
        """Forget that destinations are dead: somebody wants attempts now."""
        for destination in [it for it in self._destinations.values() if it.dead]:
            self._revive(destination)

    def _begin_rest(self, destination: Destination, has_delivered: bool) -> None:
        pause = destination.window.policy.rate_delay
        if pause and has_delivered:
            destination.rests = True
            self._set_alarm(self._now + pause, lambda: self._end_rest(destination))

    def _end_rest(self, destination: Destination) -> None:
        destination.rests = False
        self._take_turn(destination)
        self._forget(destination)

    # --- the clock ----------------------------------------------------------------------------------

    def _set_alarm(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._alarms, (when, next(self._numbers), action))

    def tick(self, now: float) -> None:
        """Take note of the time, of any clock that never goes back."""
        self._now = now
        while self._alarms and self._alarms[0][0] <= now:
            heapq.heappop(self._alarms)[2]()

    def next_tick(self) -> float | None:
        """Return when tick() will let something go on."""
        return self._alarms[0][0] if self._alarms else None

    # --- destination_limits -------------------------------------------------------------------------

    def found_hosts(self, work: Work, hosts: Iterable[str]) -> None:
        """Take the mail hosts of a destination that was asked for; ended() must follow."""
        destination = work.destination
        if len(self._hosts) >= _HOSTS_KNOWN:
            del self._hosts[next(iter(self._hosts))]
        self._hosts[destination.nexthop] = self._now + _HOSTS_SECONDS, tuple(host.lower() for host in hosts)
        self._find_limits(destination)

    def _find_limits(self, destination: Destination) -> None:
        """Find the limits that a destination falls under, as far as its mail hosts are known."""
        destination.limits = ()
        limits = self.policies.limits
        if not limits or destination.transport != SMTP:
            return
        until, hosts = self._hosts.get(destination.nexthop, (0.0, ()))
        if until <= self._now and not (hosts and destination.running):
            destination.limits = None
            return
        names = (host_of(destination.nexthop), *hosts)
        destination.limits = tuple(limit for limit in limits if any(map(limit.is_for, names)))

    def _has_room(self, limit: Limit) -> bool:
        return limit.has_room() and limit.free_at <= self._now

    def _park(self, destination: Destination, limit: Limit) -> None:
        self._parked[limit].append(destination)
        destination.turn = PARKED
        for other in destination.limits or ():
            if other is not limit:
                self._unpark(other)

    def _unpark(self, limit: Limit) -> None:
        """Give turns to those that waited for a limit with room: up to the first that is sure to use its turn."""
        parked = self._parked.get(limit)  # None: the configuration has changed
        while parked and self._has_room(limit):
            destination = parked.popleft()
            destination.turn = NO_TURN
            self._take_turn(destination)
            if destination.turn == FRESH:
                return

    # --- the end ------------------------------------------------------------------------------------

    def drain(self) -> list[Entry]:
        """Take everything that has not been handed out, for a stop."""
        left = [entry for destination in self._destinations.values() for entry in destination.take_all()]
        self._destinations = {key: it for key, it in self._destinations.items() if it.running}
        for destination in self._destinations.values():  # its batches will still end
            destination.turn = NO_TURN
        self._turns.clear()
        for parked in self._parked.values():
            parked.clear()
        return left
