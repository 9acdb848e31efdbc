"""The queue manager's own objects under a simulated clock and network: days of queue life in seconds.

ActiveQueue, EntryOrder, DeferredIndex, Schedule, Room, the windows and the limits are those that qmgr uses; what is
simulated is time, the disk, the agents and the other hosts. Every promise is checked while it runs:

- each recipient ends exactly once: delivered, bounced or held;
- a limit (of a destination, of a provider, of a rate, of the active queue) is never exceeded;
- what may go out does go out, unless all agents are busy: nobody starves;
- a retry comes no sooner than minimal_backoff, no later than maximal_backoff.
"""

import heapq
import itertools
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sendmail_py.core.address import NULL_SENDER, Address
from sendmail_py.core.envelope import Envelope, Mark, Recipient, Submitter
from sendmail_py.core.result import DeliveryResult, Outcome, Scope, deferred, delivered, failed
from sendmail_py.core.route import SMTP, Route
from sendmail_py.routing.destination_limits import Limit
from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.active_queue import ActiveQueue, Policies
from sendmail_py.services.deferred_index import DeferredIndex, origin_of
from sendmail_py.services.destination import Work, verdict
from sendmail_py.services.entry_order import EntryOrder
from sendmail_py.services.messages import Entry, Message
from sendmail_py.services.room import Room
from sendmail_py.spool.queue_id import base_id

BEGIN = 1_700_000_000.0
DOWN = deferred("4.4.1", "connect: Connection timed out", Scope.HOST)
LATER = deferred("4.2.2", "450 try later")
NO = failed("5.1.1", "550 unknown")
YES = delivered("250 ok")
_LOST_LIMIT = 3


@dataclass
class Host:
    """A simulated destination. up is how much of its days it answers, later and no are shares of its replies."""

    name: str
    mail_host: str = ""
    up: float = 1.0
    later: float = 0.0
    no: float = 0.0
    seconds: float = 0.2  # for one message
    timeout: float = 30.0

    def is_up(self, now: float) -> bool:
        """Say whether it answers in this hour."""
        return random.Random(f"{self.name} {int(now // 3600)}").random() < self.up


@dataclass
class Life:
    """What became of one message, and when it may be tried again."""

    arrived: float
    ends: Counter[int] = field(default_factory=Counter)
    outcomes: dict[int, str] = field(default_factory=dict)
    not_before: float = 0.0
    envelope: Envelope | None = None
    is_held: bool = False
    attempts: int = 0


class Simulation:
    """One queue, its hosts, and its time."""

    def __init__(
        self,
        chance: random.Random,
        hosts: list[Host],
        policies: Policies,
        schedule: Schedule,
        slots: int = 20,
        active_limit: int = 50,
        recipient_limit: int = 100,
        lost: float = 0.0,
    ) -> None:
        self.chance = chance
        self.hosts = {host.name: host for host in hosts}
        self.schedule = schedule
        self.slots = slots
        self.lost = lost
        self.now = BEGIN
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.active = ActiveQueue(policies)
        self.policies = self.active.policies
        self.deferred = DeferredIndex(schedule)
        self.incoming: deque[str] = deque()
        self.room = Room()
        self.room.configure(recipient_limit, 3)
        self.order = EntryOrder(self.incoming, self.deferred, self.room)
        self.order.limit = active_limit
        self.messages: dict[str, Message] = {}
        self.lives: dict[str, Life] = {}
        self.out: list[Work] = []
        self.sent: dict[Limit, list[float]] = defaultdict(list)  # when messages went out, by limit
        self.longest_wait = 0.0
        self.rest_until: dict[str, float] = {}  # by the pauses between messages to one destination

    # --- what happens from outside ----------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Have something happen."""
        heapq.heappush(self.events, (when, next(self.numbers), action))

    def submit(self, recipients: list[str], is_bounce: bool = False) -> str:
        """Take a message for these hosts."""
        queue_id = base_id(int(self.now * 1e6), len(self.lives) + 1)
        to = [Recipient(Address(f"u{n}", name)) for n, name in enumerate(recipients)]
        sender = NULL_SENDER if is_bounce else Address("alice", "here.example")
        envelope = Envelope(queue_id, int(self.now * 1e6), sender, to, Submitter(1000))
        self.lives[queue_id] = Life(self.now, envelope=envelope)
        self.incoming.append(queue_id)
        return queue_id

    def hold(self) -> None:
        """Hold a message, if there is one and it is deferred."""
        queue_id = self.chance.choice([*self.lives, ""])
        if queue_id in self.deferred:
            self.deferred.discard(queue_id)
            self.lives[queue_id].is_held = True

    def flush(self) -> None:
        """Want an attempt at everything now."""
        for queue_id in self.deferred.ids():
            self.lives[queue_id].not_before = self.now
        self.deferred.flush()
        self.active.revive_all()

    def reload(self) -> None:
        """Read the same configuration again: what is under way, and when a rate allows more, is not forgotten."""
        limits = [Limit(tuple(old.names), old.concurrency, old.pause) for old in self.policies.limits]
        self.active.configure(replace(self.policies, limits=limits))
        self.policies = self.active.policies

    # --- the loop ---------------------------------------------------------------------------------

    def run(self, until: float) -> None:
        """Let time pass."""
        while True:
            self.settle()
            due = self.order.next_due(len(self.messages))
            times = [self.events[0][0] if self.events else None, due, self.active.next_tick()]
            coming = [at for at in times if at is not None]
            if not coming or min(coming) > until:
                return
            assert min(coming) > self.now or self.events[0][0] <= self.now, "a turn that changes nothing"
            self.now = max(self.now, min(coming))
            self.active.tick(self.now)
            while self.events and self.events[0][0] <= self.now:
                heapq.heappop(self.events)[2]()

    def settle(self) -> None:
        """Do what qmgr does in its turns, until nothing changes."""
        self.active.tick(self.now)
        while (entrant := self.order.next(self.now, len(self.messages))) is not None:
            envelope = self.lives[entrant[0]].envelope
            assert envelope is not None
            if not self.order.must_wait(entrant, len(envelope.recipients)):
                self.begin(envelope)
        self.dispatch()

    def begin(self, envelope: Envelope) -> None:
        """Begin a pass."""
        life = self.lives[envelope.queue_id]
        assert life.not_before <= self.now, "tried before its time"
        message = Message(envelope.queue_id, envelope, -1, int(self.now * 1e6))
        self.messages[envelope.queue_id] = message
        assert len(self.messages) <= self.order.limit
        self.room.take(message)
        message.waiting = 1
        routed = []
        for index, recipient in enumerate(envelope.recipients):
            if recipient.mark != Mark.PENDING:
                continue
            route = Route(SMTP, recipient.forward_path.domain, recipient.forward_path)
            suspended = self.active.suspended(route)
            if suspended is not None:
                message.attempted = True
                message.results[index] = suspended
            else:
                routed.append((index, route))
        self.active.add(message, routed)
        self.end_entry(message)

    def dispatch(self) -> None:
        """Hand out what agents can take, and see that nothing is left which they could."""
        while len(self.out) < self.slots:
            work = self.active.pick(SMTP, self.is_scarce())
            if work is None:
                break
            self.send(work)
        self.check_limits()
        if len(self.out) < self.slots:
            for destination in self.active._destinations.values():
                assert not destination.may_run() or self.excuse(destination), f"{destination.nexthop} starves"

    def is_scarce(self) -> bool:
        return 4 * len(self.out) >= 3 * self.slots

    def excuse(self, destination: object) -> bool:
        """Say whether something keeps a destination from what it could use."""
        running, limits = destination.running, destination.limits  # type: ignore[attr-defined]
        if running and self.is_scarce():
            return True
        return any(not limit.has_room() or limit.free_at > self.now for limit in limits or ())

    def send(self, work: Work) -> None:
        """Let an agent work on a batch, or look for mail hosts."""
        self.out.append(work)
        host = self.hosts[work.destination.nexthop]
        if not work.entries:
            self.at(self.now + 0.1, lambda: self.answer_hosts(work, host))
            return
        assert self.now >= self.rest_until.get(host.name, 0.0) - 1e-6, f"{host.name} has had no pause"
        for limit in work.limits:
            self.sent[limit] += [self.now] * len(work.entries)
        for entry in work.entries:
            self.lives[entry.message.queue_id].attempts += 1
        is_up = host.is_up(self.now)
        seconds = host.seconds * len(work.entries) if is_up else host.timeout
        is_lost = self.chance.random() < self.lost
        self.at(self.now + seconds, lambda: self.lose(work) if is_lost else self.answer(work, host, is_up))

    def answer_hosts(self, work: Work, host: Host) -> None:
        self.out.remove(work)
        if self.chance.random() < 0.9:
            self.active.found_hosts(work, [host.mail_host or host.name])
        self.active.ended(work)

    def answer(self, work: Work, host: Host, is_up: bool) -> None:
        """End a batch with what its host says."""
        for entry in work.entries:
            for index in entry.indexes:
                entry.message.results[index] = self.reply(host) if is_up else DOWN
            entry.message.attempted = True
            self.end_entry_later(entry)
        self.end_work(work)

    def reply(self, host: Host) -> DeliveryResult:
        draw = self.chance.random()
        return LATER if draw < host.later else NO if draw < host.later + host.no else YES

    def lose(self, work: Work) -> None:
        """End a batch whose agent died: nobody has a result."""
        for entry in work.entries:
            entry.message.lost += 1
            if entry.message.lost <= _LOST_LIMIT:
                self.active.add_again(entry)
                continue
            for index in entry.indexes:
                entry.message.results[index] = LATER
            self.end_entry_later(entry)
        self.end_work(work)

    def end_work(self, work: Work) -> None:
        self.out.remove(work)
        said = verdict(work)
        if said is not None:
            self.rest_until[work.destination.nexthop] = self.now + self.policies.of_transport(SMTP).rate_delay
        given_up = self.active.ended(work, said)
        dead = work.destination.dead
        for entry in given_up:
            assert dead is not None
            entry.message.attempted = True
            for index in entry.indexes:
                entry.message.results[index] = dead
            self.end_entry(entry.message)

    def end_entry_later(self, entry: Entry) -> None:
        self.at(self.now, lambda: self.end_entry(entry.message))

    # --- the end of a pass --------------------------------------------------------------------------

    def end_entry(self, message: Message) -> None:
        message.waiting -= 1
        assert message.waiting >= 0
        if not message.waiting:
            self.end_pass(message)

    def end_pass(self, message: Message) -> None:
        """Give recipients their ends, and the message its next time."""
        e, life = message.envelope, self.lives[message.queue_id]
        assert message.results.keys() == {n for n, r in enumerate(e.recipients) if r.mark == Mark.PENDING}
        is_expired = message.attempted and self.schedule.is_expired(self.now, life.arrived, not e.sender)
        for index, result in message.results.items():
            if result.outcome is Outcome.DEFERRED and not is_expired:
                continue
            is_sent = result.outcome is Outcome.DELIVERED
            e.recipients[index].mark = Mark.DELIVERED if is_sent else Mark.FAILED
            life.ends[index] += 1
            life.outcomes[index] = "delivered" if is_sent else "bounced"
        del self.messages[message.queue_id]
        self.room.give_back(message)
        if e.pending():
            due = self.schedule.next_attempt(self.now, life.arrived, self.chance.random())
            s = self.schedule
            assert self.now + s.minimal_backoff <= due <= self.now + max(s.minimal_backoff, s.maximal_backoff)
            life.not_before = due
            self.deferred.add(message.queue_id, due, origin_of(e))
        else:
            self.longest_wait = max(self.longest_wait, self.now - life.arrived)

    # --- checks ---------------------------------------------------------------------------------------

    def check_limits(self) -> None:
        """See that no limit is exceeded."""
        real = [work for work in self.out if work.entries]
        running = Counter(work.destination.nexthop for work in real)
        for nexthop, count in running.items():
            assert count <= self.policies.of_transport(SMTP).limit, f"{nexthop} has {count} connections"
        for limit in self.policies.limits:
            names = [work for work in real if self.falls_under(work.destination.nexthop, limit)]
            assert not limit.concurrency or len(names) <= limit.concurrency, f"{limit.names}: {len(names)}"

    def falls_under(self, nexthop: str, limit: Limit) -> bool:
        host = self.hosts[nexthop]
        return limit.is_for(host.name) or limit.is_for(host.mail_host or host.name)

    def check_rates(self) -> None:
        """See that no window of time has more messages than a rate allows."""
        for limit, times in self.sent.items():
            if not limit.pause:
                continue
            for earlier, later in itertools.pairwise(times):
                assert later - earlier >= limit.pause - 1e-6, f"{limit.names}: a pause of {later - earlier}"

    def check_ends(self) -> None:
        """See that every message has ended, each recipient once."""
        for queue_id, life in self.lives.items():
            assert life.envelope is not None
            if life.is_held:
                assert queue_id not in self.deferred and queue_id not in self.messages
                continue
            assert life.ends == dict.fromkeys(range(len(life.envelope.recipients)), 1), f"{queue_id}: {life.ends}"
        assert not self.messages and not len(self.deferred) and not self.out
        assert not self.active._destinations or all(d.dead or d.rests for d in self.active._destinations.values())
