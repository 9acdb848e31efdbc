"""The passes of messages through active/: from their routing over what agents say of them to the end.

A pass gives every pending recipient exactly one result: by an agent, or by outcomes.py where none is
needed; what must be durable is done in the pool's threads.
"""

import selectors
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from ..core.config import Config
from ..core.envelope import MAILBOX, Mark
from ..core.result import DeliveryResult, Outcome, deferred
from ..core.route import LMTP, LOCAL, SMTP, VIRTUAL, Route
from ..formats.batch import HandBack, Report
from ..host.syslog import Log
from ..protocol.transcript import Notice
from ..routing.schedule import Schedule
from ..spool.layout import ACTIVE, INCOMING
from ..spool.store import Store
from .active_queue import SUSPENDED, ActiveQueue
from .agents import Agents
from .decisions import Decisions
from .destination import Work, verdict
from .destination_policies import policies_of
from .endings import Endings
from .finishing import Ended, Finisher
from .first_routing import FirstRouting
from .handing_out import HandingOut
from .messages import Entry, Message
from .notices import STOPPING
from .open_messages import OpenMessages
from .outcomes import Outcomes
from .pool import Pool
from .postmaster import Postmaster
from .reports import Reporter, templates_of
from .requeues import Requeues
from .room import Room
from .steering import REQUEUE
from .withheld import Withheld

_LONGEST_RETRY = 60.0
_LOST_LIMIT = 3
_LOST = deferred("4.3.0", "the delivery agent ended before it answered")


class Owner(Protocol):
    """What passes need from qmgr."""

    def want(self, transport: str) -> None:
        """Ask master for an agent."""

    def new_message(self, queue_id: str) -> None:
        """Take note that a message of our own is in incoming/."""

    def ended(self, ended: Ended) -> None:
        """Take note that a message has left active/."""

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""


class Passes:
    """All messages that are in active/, and the agents they go to."""

    def __init__(self, config: Config, store: Store, log: Log, selector: selectors.BaseSelector, owner: Owner) -> None:
        self.store = store
        self.log = log
        self.owner = owner
        self.pool = Pool()
        self.messages: dict[str, Message] = {}
        self.open_messages = OpenMessages(store)
        self.is_stopping = False
        limits = {LOCAL: 1, VIRTUAL: 1, LMTP: 1, SMTP: max(1, config.smtp_process_limit)}
        self.agents = Agents(limits, self.open_messages.take, owner.want, self)
        self.active = ActiveQueue()
        self.room = Room()
        self.endings = Endings(self.pool, self._ended)
        self.outcomes = Outcomes(self.pool, self._over)
        self.routing = FirstRouting(self.active, self.outcomes)
        self.handing_out = HandingOut(
            self.agents, self.active, self.outcomes, selector, log, self._put_off, store.is_gone
        )
        self.requeues = Requeues(self.pool, store, log, self.outcomes.end_entry, self.outcomes.note)
        self.withheld = Withheld(config)
        self.postmaster = Postmaster(
            self.pool, log, lambda: self.endings.finisher.reporter, self.outcomes.note, owner.new_message
        )
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take what the configuration says; also after a reload."""
        self.config = config
        self.active.configure(policies_of(config))
        self.room.configure(config.qmgr_message_recipient_limit, config.qmgr_message_recipient_minimum)
        self.schedule = Schedule.of(config)
        self.retry_pause = min(_LONGEST_RETRY, config.minimal_backoff_time)
        self.outcomes.soft_bounce = config.soft_bounce
        self.withheld.configure(config)
        self.postmaster.rate.limit = config.session_notice_rate_limit
        self.requeues.configure(config)
        reporter = self._reporter(config)
        double_bounce = reporter.notices.double_bounce
        self.outcomes.decisions = Decisions(config, self.store, self.log, self.active, double_bounce)
        self.endings.finisher = Finisher(config, self.store, self.schedule, reporter)

    def _reporter(self, config: Config) -> Reporter:
        templates, faults = templates_of(config)
        for fault in faults:
            self.log.warning(fault)
        return Reporter(config, self.store, templates, self.withheld)

    def begin(self, message: Message, state: str) -> None:
        """Begin a pass for a message that is now in active/ and came from state."""
        self.messages[message.queue_id] = message
        self.room.take(message)
        if message.wish == REQUEUE and message.envelope.pending():
            self.requeues.add(message)
            return
        self.routing.begin(message, state)

    # --- what agents say ---------------------------------------------------------------------------

    def work_ended(self, work: Work) -> None:
        """Take note that a batch is over; what waits for a destination that is dead now is deferred."""
        given_up = self.active.ended(work, verdict(work))
        why = work.destination.dead
        if why is None:
            return
        if given_up:
            seconds = f"{self.active.policies.pause_of_dead:.0f}s"
            reason = why.reason.removeprefix(SUSPENDED)
            self.outcomes.note(f"destination {work.destination.nexthop} is left alone for {seconds}: {reason}")
        for entry in given_up:
            entry.message.attempted = True
            self.outcomes.end_all(entry.message, entry.indexes, why)

    def hosts_found(self, work: Work, hosts: list[str]) -> None:
        """Take the mail hosts of a destination, for the limits that it falls under."""
        self.active.found_hosts(work, hosts)

    def session_noted(self, notice: Notice) -> None:
        """Tell the postmaster of a session with another host."""
        self.postmaster.tell_of_session(notice)

    def entry_ended(self, entry: Entry) -> None:
        """Take note that every recipient of an entry has a result."""
        if entry.message.waiting > 1:
            self._mark_early(entry)
        self.outcomes.end_entry(entry.message)

    def _mark_early(self, entry: Entry) -> None:
        """Mark what is delivered while other recipients are under way, so that a crash does not repeat it."""
        message = entry.message
        done = [i for i in entry.indexes if message.results[i].outcome is Outcome.DELIVERED]
        try:
            self.store.mark(ACTIVE, message.queue_id, [(message.envelope.recipients[i], Mark.DELIVERED) for i in done])
        except OSError as error:
            self.log.warning(f"{message.queue_id}: {error}; the mark is written when the pass ends")

    def entry_lost(self, entry: Entry) -> None:
        """Take back an entry that an agent did not answer for: it may have been delivered, or not."""
        message = entry.message
        message.lost += 1
        transport = entry.routes[0].transport
        what = f"the {transport} agent ended before it answered; a delivery may be repeated"
        self.outcomes.note(f"{message.queue_id}: {what}")
        if message.lost <= _LOST_LIMIT:
            self.active.add_again(entry)
            return
        self.outcomes.end_all(message, entry.indexes, _LOST)

    def entry_handed_back(self, entry: Entry, report: Report) -> None:
        """Take charge of an entry whose user has a .forward, or whose mailbox is elsewhere."""
        message = entry.message
        message.attempted = True
        if report.back is HandBack.FORWARD:
            entry = self._without_real_users(entry)
        decision = self.outcomes.decisions.handed_back(message, entry.routes[0], report)
        if isinstance(decision, Route) and self.is_stopping:
            decision = STOPPING
        if isinstance(decision, Route):
            message.waiting += 1
            self.active.add_again(Entry(message, entry.indexes, [decision] * len(entry.indexes)))
        elif isinstance(decision, DeliveryResult):
            for index in entry.indexes:
                self.outcomes.decided(message, index, decision)
        else:
            self.outcomes.expand(message, entry.indexes, decision)
        self.outcomes.end_entry(message)

    def _without_real_users(self, entry: Entry) -> Entry:
        """Part those who are for the mailbox whatever a .forward says, and queue them for it."""
        rows = list(zip(entry.indexes, entry.routes, strict=True))
        real = [row for row in rows if row[1].target == MAILBOX]
        if not real:
            return entry
        message = entry.message
        if self.is_stopping:
            for index, _ in real:
                self.outcomes.decided(message, index, STOPPING)
        else:
            message.waiting += 1
            self.active.add_again(Entry(message, [i for i, _ in real], [route for _, route in real]))
        others = [row for row in rows if row[1].target != MAILBOX]
        return Entry(message, [i for i, _ in others], [route for _, route in others])

    def put_aside(self) -> None:
        """For a stop: end what has not been handed out, keeping what other recipients came to."""
        self.is_stopping = True
        self.routing.give_up()
        self.requeues.clear()
        entries = self.active.drain()
        left = Counter(entry.message.queue_id for entry in entries)
        for entry in entries:
            message = entry.message
            if not message.results and left[message.queue_id] == message.waiting:
                continue  # nothing has happened to it: leave() moves it back whole
            self.outcomes.end_all(message, entry.indexes, STOPPING)

    def leave(self) -> None:
        """Put back what nothing happened to, so that the next start does not take it for interrupted."""
        if not self.agents.is_busy() and not self.pool.running:
            for queue_id, message in self.messages.items():
                if not message.results:
                    self.store.move(queue_id, ACTIVE, INCOMING)
        self.end_turn()

    # --- the end of a pass ------------------------------------------------------------------------

    def _over(self, message: Message) -> None:
        self.open_messages.close(message)
        self.endings.add(message)

    def _put_off(self, action: Callable[[], None]) -> None:
        self.owner.after(self.retry_pause, action)

    def _ended(self, ended: Ended) -> None:
        message = ended.message
        self.outcomes.lines += ended.lines
        self.owner.ended(ended)
        if ended.error is not None:
            self.log.error(
                f"{message.queue_id}: the end of its delivery cannot be written: {ended.error}; it is tried again"
            )
            self._put_off(lambda: self.endings.add_again(message))
            return
        del self.messages[message.queue_id]
        self.room.give_back(message)

    def end_turn(self) -> None:
        """Write the log lines that have come together, then end the passes that are over."""
        lines, self.outcomes.lines = self.outcomes.lines, []
        if lines:
            self.log.lines(lines)
        self.endings.begin()
