"""The passes of messages through active/: routing, handing out to agents, and the end of each pass.

A pass gives every pending recipient exactly one result. What needed no agent is decided (and
logged) here; what must be durable is done in the pool's threads.
"""

import selectors
import socket
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from ..core.config import Config
from ..core.envelope import MAILBOX, Mark, Recipient
from ..core.result import DeliveryResult, Outcome, deferred, delivered, failed, softened
from ..core.route import DISCARD, ERROR, LMTP, LOCAL, RETRY, SMTP, VIRTUAL, Route
from ..formats.batch import HandBack, Report
from ..host.alias_files import AliasFiles
from ..host.syslog import Log
from ..routing.schedule import Schedule
from ..spool.layout import ACTIVE, INCOMING
from ..spool.store import Store
from .active_queue import ActiveQueue, Entry, Message, Work
from .agent import result_line
from .agents import Agent, Agents
from .child_messages import Expanded, Plan
from .endings import Endings
from .expansion import Decision, Expander
from .finishing import Ended, Finisher
from .open_messages import OpenMessages
from .pool import Pool
from .reports import QUEUE_ONLY, STOPPING
from .routes import routing_of

_LONGEST_RETRY = 60.0
_DEFERRED_TRANSPORT = deferred("4.3.2", "deferred transport")
_LOST_LIMIT = 3
_LOST = deferred("4.3.0", "the delivery agent ended before it answered")


class Owner(Protocol):
    """What passes need from qmgr."""

    def want(self, transport: str) -> None:
        """Ask master for an agent."""

    def ended(self, ended: Ended) -> None:
        """Take note that a message has left active/."""

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""


class Passes:
    """All messages that are in active/, and the agents they go to."""

    def __init__(self, config: Config, store: Store, log: Log, selector: selectors.BaseSelector, owner: Owner) -> None:
        self.store = store
        self.log = log
        self.selector = selector
        self.owner = owner
        self.pool = Pool()
        self.lines: list[str] = []
        self.messages: dict[str, Message] = {}
        self.open_messages = OpenMessages(store)
        self.is_stopping = False
        limits = {LOCAL: 1, VIRTUAL: 1, LMTP: 1, SMTP: max(1, config.smtp_process_limit)}
        self.agents = Agents(limits, self.open_messages.take, owner.want, self)
        self.active = ActiveQueue()
        self.endings = Endings(self.pool, self._ended)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take what the configuration says; also after a reload."""
        self.active.configure(
            config.default_destination_concurrency_limit,
            config.default_destination_recipient_limit,
            {
                SMTP: (config.smtp_destination_concurrency_limit, config.smtp_destination_recipient_limit),
                LMTP: (config.lmtp_destination_concurrency_limit, config.lmtp_destination_recipient_limit),
            },
        )
        self.schedule = Schedule.of(config)
        self.retry_pause = min(_LONGEST_RETRY, config.minimal_backoff_time)
        self.routing = routing_of(config, self.log.warning)
        self.soft_bounce: bool = config.soft_bounce
        self.expander = Expander(config, self.store, self.routing, AliasFiles(config.alias_maps, self.log.warning))
        self.endings.finisher = Finisher(config, self.store, self.schedule)
        self.deferred_transports = frozenset(config.defer_transports)

    def begin(self, message: Message, state: str) -> None:
        """Begin a pass for a message that is now in active/ and came from state."""
        e = message.envelope
        self.messages[message.queue_id] = message
        self.lines.append(
            f"{message.queue_id}: from=<{e.sender}>, size={e.size}, nrcpt={len(e.pending())} (queue active)"
        )
        routed: list[tuple[int, Route]] = []
        message.waiting = 1  # keeps the pass open until everything is routed
        for index, recipient in enumerate(e.recipients):
            if recipient.mark != Mark.PENDING:
                continue
            decision = self._decide(message, recipient, state)
            if isinstance(decision, Route):
                routed.append((index, decision))
            elif isinstance(decision, DeliveryResult):
                self._decided(message, index, decision)
            else:
                self._expand(message, [index], decision)
        self.active.add(message, routed)
        self._end_entry(message)

    def _decide(self, message: Message, recipient: Recipient, state: str) -> Decision:
        e = message.envelope
        if e.refused:
            status, _, text = e.refused.partition(" ")
            return delivered(text, status) if status[0] == "2" else failed(status, text)
        if e.queue_only and state == INCOMING and not message.forced:
            return QUEUE_ONLY
        return self._allowed(message, self.expander.decide(e, recipient))

    def _allowed(self, message: Message, decision: Decision) -> Decision:
        if not isinstance(decision, Route):
            return decision
        if decision.transport in (ERROR, RETRY):
            status, _, text = decision.nexthop.partition(" ")
            return failed(status, text) if decision.transport == ERROR else deferred(status, text)
        if decision.transport == DISCARD:
            return delivered(decision.nexthop, relay="none")
        if decision.transport in self.deferred_transports and not message.forced:
            return _DEFERRED_TRANSPORT
        return decision

    def _decided(self, message: Message, index: int, result: DeliveryResult) -> None:
        """Take a result that needed no agent, and log it as an agent would."""
        if self.soft_bounce:
            result = softened(result)
        message.results[index] = result
        recipient, e = message.envelope.recipients[index], message.envelope
        since = (e.arrived_at, message.active_at)
        self.lines.append(
            result_line(
                message.queue_id, str(recipient.forward_path), recipient.original, result, since, (0.0, 0.0), e.verify
            )
        )

    def _expand(self, message: Message, indexes: list[int], plan: Plan) -> None:
        message.waiting += 1

        def done(expanded: Expanded) -> None:
            self.lines += expanded.lines
            for index in expanded.indexes:
                self._decided(message, index, expanded.result)
            self._end_entry(message)

        self.pool.submit(lambda: self.expander.expand(message, indexes, plan), done)

    # --- out to agents, and back ----------------------------------------------------------------

    def dispatch(self) -> None:
        """Hand out what agents can take."""
        self.agents.is_blocked = False
        for transport in self.active.transports():
            while True:
                agent = self.agents.free(transport)
                work = self.active.pick(transport) if agent else None
                if agent is None or work is None:
                    break
                if not self._send(agent, work):
                    break

    def _send(self, agent: Agent, work: Work) -> bool:
        try:
            if self.agents.send(agent, work):
                return True
        except OSError as error:
            self.log.error(f"{work.entries[0].message.queue_id}: cannot be handed out: {error}")
            self.owner.after(self.retry_pause, lambda: self.active.put_back(work))
            return False
        self.active.put_back(work)
        return False

    def add_agent(self, transport: str, descriptor: int) -> None:
        """Take up a new agent that master started."""
        agent = self.agents.add(transport, socket.socket(fileno=descriptor))
        self.selector.register(agent.end, selectors.EVENT_READ, lambda: self._heard(agent))

    def _heard(self, agent: Agent) -> None:
        end = agent.end
        if not self.agents.receive(agent):
            self.selector.unregister(end)

    def work_ended(self, work: Work) -> None:
        """Take note that a batch is over."""
        self.active.ended(work.destination)

    def entry_ended(self, entry: Entry) -> None:
        """Take note that every recipient of an entry has a result."""
        if entry.message.waiting > 1:
            self._mark_early(entry)
        self._end_entry(entry.message)

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
        self.lines.append(f"{message.queue_id}: {what}")
        if message.lost <= _LOST_LIMIT:
            self.active.add_again(entry)
            return
        for index in entry.indexes:
            self._decided(message, index, _LOST)
        self._end_entry(message)

    def entry_handed_back(self, entry: Entry, report: Report) -> None:
        """Take charge of an entry whose user has a .forward, or whose mailbox is elsewhere."""
        message = entry.message
        message.attempted = True
        if report.back is HandBack.FORWARD:
            entry = self._without_real_users(entry)
        decision = self._allowed(message, self.expander.handed_back(message.envelope, entry.routes[0], report))
        if isinstance(decision, Route) and self.is_stopping:
            decision = STOPPING
        if isinstance(decision, Route):
            message.waiting += 1
            self.active.add_again(Entry(message, entry.indexes, [decision] * len(entry.indexes)))
        elif isinstance(decision, DeliveryResult):
            for index in entry.indexes:
                self._decided(message, index, decision)
        else:
            self._expand(message, entry.indexes, decision)
        self._end_entry(message)

    def _without_real_users(self, entry: Entry) -> Entry:
        """Part those who are for the mailbox whatever a .forward says, and queue them for it."""
        rows = list(zip(entry.indexes, entry.routes, strict=True))
        real = [row for row in rows if row[1].target == MAILBOX]
        if not real:
            return entry
        message = entry.message
        if self.is_stopping:
            for index, _ in real:
                self._decided(message, index, STOPPING)
        else:
            message.waiting += 1
            self.active.add_again(Entry(message, [i for i, _ in real], [route for _, route in real]))
        others = [row for row in rows if row[1].target != MAILBOX]
        return Entry(message, [i for i, _ in others], [route for _, route in others])

    def put_aside(self) -> None:
        """For a stop: end what has not been handed out, keeping what other recipients came to."""
        self.is_stopping = True
        entries = self.active.drain()
        left = Counter(entry.message.queue_id for entry in entries)
        for entry in entries:
            message = entry.message
            if not message.results and left[message.queue_id] == message.waiting:
                continue  # nothing has happened to it: leave() moves it back whole
            for index in entry.indexes:
                self._decided(message, index, STOPPING)
            self._end_entry(message)

    def leave(self) -> None:
        """Put back what nothing happened to, so that the next start does not take it for interrupted."""
        if not self.agents.is_busy() and not self.pool.running:
            for queue_id, message in self.messages.items():
                if not message.results:
                    self.store.move(queue_id, ACTIVE, INCOMING)
        self.end_turn()

    # --- the end of a pass ------------------------------------------------------------------------

    def _end_entry(self, message: Message) -> None:
        message.waiting -= 1
        if message.waiting:
            return
        self.open_messages.close(message)
        self.endings.add(message)

    def _ended(self, ended: Ended) -> None:
        message = ended.message
        self.lines += ended.lines
        self.owner.ended(ended)
        if ended.error is not None:
            self.log.error(
                f"{message.queue_id}: the end of its delivery cannot be written: {ended.error}; it is tried again"
            )
            self.owner.after(self.retry_pause, lambda: self.endings.add_again(message))
            return
        del self.messages[message.queue_id]

    def end_turn(self) -> None:
        """Write the log lines that have come together, then end the passes that are over."""
        lines, self.lines = self.lines, []
        if lines:
            self.log.lines(lines)
        self.endings.begin()
