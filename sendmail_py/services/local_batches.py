"""What local does with a batch: the order of decisions (docs/local-delivery.md), and the results.

What cannot be done at once - a mailbox that is locked, a program - waits aside while the rest
goes on. Each delivery of a batch ends once: with a result, or handed back to qmgr.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.envelope import MAILBOX
from ..core.result import DeliveryResult, Settled, deferred, delivered
from ..core.route import VIRTUAL
from ..delivery import forward, virtual_mailbox
from ..delivery.copy import copy_of
from ..delivery.local_user import (
    LOCK_FAILED,
    Busy,
    Users,
    check_home,
    command,
    end_all,
    to_file,
    to_mailbox,
    unknown,
)
from ..delivery.mailbox_commands import MailboxCommands
from ..formats.batch import Batch, HandBack
from ..host.privileges import RightsError, acts_for_others
from ..host.programs import Command
from ..host.syslog import Log
from ..host.users import User
from .agent import AgentChannel
from .programs import Job, Programs

_BATCHES_OF_A_USER = 10  # that wait for programs and locks: qmgr has a hundred with us, and others want some
_REASON = 6000  # characters: a program's output has 4096 octets
_NO_ROOM = deferred("4.3.0", "too much mail waits for programs")


@dataclass(slots=True, eq=False)
class Work:
    """A batch under way: the deliveries that have not ended, by their place in it."""

    batch: Batch
    left: set[int]
    user: tuple[int, str] = (-1, "")  # for whose programs and files they may have to wait
    is_counted: bool = False

    def pick(self, places: list[int]) -> list[Delivery]:
        """Return the deliveries at these places."""
        return [self.batch.deliveries[place] for place in places]


@dataclass(slots=True, eq=False)
class Part:
    """Deliveries to one mailbox or file that are made together, under one lock."""

    work: Work
    places: list[int]
    deliver: Callable[[list[Delivery]], None]
    attempts: int = 0
    due: float = 0.0


class Batches:
    """All batches that are under way; there is room for some whose end takes time."""

    def __init__(self, config: Config, log: Log, channel: AgentChannel, programs: Programs, room: int) -> None:
        self._log = log
        self._channel = channel
        self._programs = programs
        self._room = room
        self._waiting: list[Part] = []
        self._open = 0
        self._batches_of: Counter[tuple[int, str]] = Counter()
        self._is_leaving = False
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Go by a configuration from now on."""
        self._config = config
        self._users = Users(config)
        self._commands = MailboxCommands(config, self._log.warning)

    # --- the order of decisions (docs/local-delivery.md) ------------------------------------

    def take(self, batch: Batch) -> None:
        """Begin with a new batch."""
        work = Work(batch, set(range(len(batch.deliveries))))
        self._open += 1
        places = list(work.left)
        try:
            self._begin(work, places)
        except Settled as settled:
            self._settle(work, places, settled.result)
        except RightsError:
            raise
        except Exception as error:
            self._fault(work, places, error)

    def _begin(self, work: Work, places: list[int]) -> None:
        target = work.batch.target
        if work.batch.transport == VIRTUAL:
            return self._to_virtual(work, places)
        if target and target != MAILBOX:
            user, is_default = self._users.rights(work.batch.uid)
            if target.startswith("|"):
                return self._run(work, places, lambda one: command(one, target[1:], user, is_default, "", self._config))
            places = self._unverified(work, places, f"delivers to file: {target}")
            work.user = user.uid, target if is_default or not acts_for_others() else ""
            return self._deliver(Part(work, places, lambda some: to_file(some, user, target, self._config)))
        user_or_none = self._users.recipient(work.batch.nexthop)
        if user_or_none is None:
            return self._unknown(work, places)
        check_home(user_or_none, self._config)
        if target != MAILBOX:
            places = self._without_forwarded(work, places, user_or_none)
        return self._to_mailbox(work, places, user_or_none)

    def _unknown(self, work: Work, places: list[int]) -> None:
        if self._config.mailbox_transport or self._config.fallback_transport or self._config.luser_relay:
            return self._hand_back(work, places, HandBack.UNKNOWN)
        return self._settle(work, places, unknown(work.batch.nexthop))

    def _without_forwarded(self, work: Work, places: list[int], user: User) -> list[int]:
        """Hand back what the user's .forward sends elsewhere; return the places that are for the mailbox."""
        found: dict[str, forward.Forward | Settled | None] = {}
        rest = []
        for place in places:
            recipient = work.batch.deliveries[place].recipients[0]
            if recipient.extension not in found:
                try:
                    found[recipient.extension] = forward.find(user, recipient, self._config, self._log.warning)
                except Settled as settled:
                    found[recipient.extension] = settled
            what = found[recipient.extension]
            if what is None or (isinstance(what, forward.Forward) and what.is_just(user)):
                rest.append(place)
            elif isinstance(what, Settled):
                self._settle(work, [place], what.result)
            elif self._unverified(work, [place], f"forward via file: {what.path}"):
                self._forward(work, place, what, user)
        return rest

    def _forward(self, work: Work, place: int, found: forward.Forward, user: User) -> None:
        if copy_of(work.batch.deliveries[place]) is None:  # a loop: it ends here
            return self._ended(work, place)
        descriptor = os.memfd_create("forward", os.MFD_CLOEXEC)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(found.lines())
        os.lseek(descriptor, 0, os.SEEK_SET)
        self._channel.report_expansion(work.batch, place, descriptor, user.uid)
        return self._ended(work, place)

    def _to_mailbox(self, work: Work, places: list[int], user: User) -> None:
        if places and self._config.mailbox_transport:
            return self._hand_back(work, places, HandBack.MAILBOX)
        line = self._commands.line_for(user)
        if line:
            return self._run(work, places, lambda one: command(one, line, user, False, user.name, self._config))
        places = self._unverified(work, places, "delivers to mailbox")
        work.user = user.uid, ""
        return self._deliver(Part(work, places, lambda some: to_mailbox(some, user, self._config)))

    def _to_virtual(self, work: Work, places: list[int]) -> None:
        batch = work.batch
        places = self._unverified(work, places, "delivers to mailbox")
        work.user = batch.uid, batch.nexthop
        deliver = partial(virtual_mailbox.deliver, config=self._config)
        return self._deliver(Part(work, places, lambda some: deliver(some, batch.nexthop, batch.uid, batch.target)))

    def _unverified(self, work: Work, places: list[int], would: str) -> list[int]:
        """Answer for deliveries that only ask what would be done; return the places of the others."""
        asking = [place for place in places if work.batch.deliveries[place].verify]
        self._settle(work, asking, delivered(would))
        return [place for place in places if place not in asking] if asking else places

    # --- programs, and what may find a lock -------------------------------------------------

    def _run(self, work: Work, places: list[int], what: Callable[[Delivery], Command]) -> None:
        if not places:
            return None
        commands = {place: what(work.batch.deliveries[place]) for place in places}
        places = self._unverified(work, places, f"delivers to command: {commands[places[0]].line}")
        jobs = [
            Job(work.batch.deliveries[place], commands[place], partial(self._ended, work, place)) for place in places
        ]
        if not jobs:
            return None
        work.user = jobs[0].key()
        if not self._may_wait(work):
            return self._settle(work, places, _NO_ROOM)
        for job in jobs:
            self._programs.add(job)
        return self._channel.set_aside(work.batch)

    def _deliver(self, part: Part) -> None:
        if not part.places:
            return None
        part.attempts += 1
        deliveries = part.work.pick(part.places)
        try:
            part.deliver(deliveries)
        except Busy:
            is_last = part.attempts >= max(1, self._config.deliver_lock_attempts)
            if is_last or self._is_leaving or not self._may_wait(part.work):
                return self._settle(part.work, part.places, LOCK_FAILED)
            part.due = time.monotonic() + self._config.deliver_lock_delay * _random_part()
            self._waiting.append(part)
            return self._channel.set_aside(part.work.batch)
        except RightsError:
            raise
        except Exception as error:
            return self._fault(part.work, part.places, error)
        return self._all_ended(part.work, part.places)

    def _may_wait(self, work: Work) -> bool:
        """Say whether there is room for a batch that takes time, and count it among its user's."""
        if self._open > self._room:
            return False
        if not work.is_counted:
            if self._batches_of[work.user] >= _BATCHES_OF_A_USER:
                return False
            self._batches_of[work.user] += 1
            work.is_counted = True
        return True

    def next_due(self) -> float | None:
        """Return when something that is locked is to be tried again (monotonic), None when nothing is."""
        return min((part.due for part in self._waiting), default=None)

    def retry_due(self, now: float) -> None:
        """Try again what has waited long enough for its lock."""
        due = [part for part in self._waiting if part.due <= now]
        if due:
            self._waiting = [part for part in self._waiting if part.due > now]
            for part in due:
                self._deliver(part)

    def leave(self) -> None:
        """Let nothing wait for a lock any more: its mail is deferred."""
        self._is_leaving = True
        waiting, self._waiting = self._waiting, []
        for part in waiting:
            self._settle(part.work, part.places, LOCK_FAILED)

    # --- results ----------------------------------------------------------------------------

    def _fault(self, work: Work, places: list[int], error: Exception) -> None:
        name = type(error).__name__
        self._log.error(f"delivery to {work.batch.nexthop}: {name}: {error}")
        left = [place for place in places if place in work.left]
        self._settle(work, left, deferred("4.3.0", f"internal error: {name}"))

    def _settle(self, work: Work, places: list[int], result: DeliveryResult) -> None:
        end_all(work.pick(places), result)
        self._all_ended(work, places)

    def _hand_back(self, work: Work, places: list[int], back: HandBack) -> None:
        for place in places:
            self._channel.report_elsewhere(work.batch, place, back)
            self._ended(work, place)

    def _all_ended(self, work: Work, places: list[int]) -> None:
        for place in places:
            self._ended(work, place)

    def _ended(self, work: Work, place: int) -> None:
        """Report what a delivery came to; after the last one the batch is over."""
        if place not in work.left:
            return
        work.left.remove(place)
        delivery = work.batch.deliveries[place]
        delivery.results = [result and _reported(result, work.batch.transport) for result in delivery.results]
        for recipient in range(len(delivery.recipients)):
            self._channel.report(work.batch, place, recipient)
        if not work.left:
            self._channel.end_batch(work.batch)
            self._open -= 1
            self._batches_of[work.user] -= work.is_counted
            if not self._batches_of[work.user]:
                del self._batches_of[work.user]


def _reported(result: DeliveryResult, relay: str) -> DeliveryResult:
    """Return a result as qmgr and the log get it; a user's paths and commands may be of any length."""
    return replace(result, relay=relay, reason=result.reason[:_REASON], diagnostic=result.diagnostic[:_REASON])


def _random_part() -> float:
    """Return a number from 0.1 to 1, so that two programs do not meet at a lock again and again."""
    return 0.1 + 0.9 * os.urandom(1)[0] / 255
