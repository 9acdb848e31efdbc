"""qmgr's side of its agents: batches out with their descriptors, one result per recipient back.

Success comes only from an explicit result. A batch that an agent ends without a result for
someone defers him; what an agent that is gone had not answered for is handed back, to be tried
with another. Agents are started by master when asked for.
"""

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.delivery import Delivery
from ..core.envelope import Recipient
from ..core.result import DeliveryResult, deferred
from ..core.route import LMTP, LOCAL, MAILBOXES, SMTP, VIRTUAL
from ..formats.batch import Batch, Report, decode_hosts, decode_reports, encode_batch
from ..formats.xtext import original_recipient
from ..host.sockets import receive_record, send_record
from ..protocol import transcript
from .destination import Work
from .messages import Entry

BATCHES_UNDER_WAY = {LOCAL: 8, VIRTUAL: 8, SMTP: 80, LMTP: 40}
_AT_MOST = 100  # batches with an agent, those that it has set aside among them
_BUSY = 4
_NO_ANSWER = deferred("4.3.0", "the delivery agent gave no result")


@dataclass(slots=True, eq=False)
class _Sent:
    """A batch that is with an agent: the work, and who still lacks a result."""

    work: Work
    open: list[dict[int, int]]  # by delivery: position in the delivery -> index in the message


@dataclass(slots=True, eq=False)
class Agent:
    """One agent process."""

    transport: str
    end: socket.socket
    sent: dict[int, _Sent] = field(default_factory=dict)
    aside: set[int] = field(default_factory=set)

    def load(self) -> int:
        """Return how many batches keep it busy; those that wait for a lock or a program do not."""
        return len(self.sent) - len(self.aside)


class Listener(Protocol):
    """Who is told what becomes of entries."""

    def entry_ended(self, entry: Entry) -> None:
        """Take note that every recipient of an entry has a result."""

    def entry_lost(self, entry: Entry) -> None:
        """Take back an entry (or the rest of one) that an agent did not answer for."""

    def entry_handed_back(self, entry: Entry, report: Report) -> None:
        """Take charge of an entry, which an agent gives back to be expanded or routed, and of the descriptor."""

    def work_ended(self, work: Work) -> None:
        """Take note that a batch is over."""

    def hosts_found(self, work: Work, hosts: list[str]) -> None:
        """Take the mail hosts that a destination has: what a batch without messages asks for."""

    def session_noted(self, notice: transcript.Notice) -> None:
        """Take what the postmaster is to hear of a session with another host."""


class Agents:
    """All agents of qmgr. open_message returns a descriptor for an entry's message.

    is_blocked says that an agent's channel was full: a batch was put back for the next turn.
    """

    def __init__(
        self,
        limits: dict[str, int],
        open_message: Callable[[Entry], int],
        want: Callable[[str], None],
        listener: Listener,
    ) -> None:
        self._listener = listener
        self.is_blocked = False
        self._limits = limits
        self._open_message = open_message
        self._want = want
        self._agents: dict[str, list[Agent]] = {transport: [] for transport in limits}
        self._asked: dict[str, int] = dict.fromkeys(limits, 0)
        self._number = 0

    def add(self, transport: str, end: socket.socket) -> Agent:
        """Take up the connection to a new agent."""
        end.setblocking(False)
        self._asked[transport] = max(0, self._asked[transport] - 1)
        agent = Agent(transport, end)
        self._agents[transport].append(agent)
        return agent

    def not_started(self, transport: str) -> None:
        """Note that master could not start an agent that was asked for."""
        self._asked[transport] = max(0, self._asked[transport] - 1)

    def is_busy(self) -> bool:
        """Say whether any batch is under way."""
        return any(agent.sent for agents in self._agents.values() for agent in agents)

    def free(self, transport: str) -> Agent | None:
        """Return an agent that takes another batch; asks master for one when that would help."""
        agents = self._agents[transport]
        best = min(agents, key=Agent.load, default=None)
        if (best is None or best.load() >= _BUSY) and len(agents) + self._asked[transport] < self._limits[transport]:
            self._asked[transport] += 1
            self._want(transport)
        if best is None or best.load() >= BATCHES_UNDER_WAY[transport] or len(best.sent) >= _AT_MOST:
            return None
        return best

    def is_scarce(self, transport: str) -> bool:
        """Say whether three quarters of what the agents of a transport take are in use."""
        load = sum(agent.load() for agent in self._agents[transport])
        return 4 * load >= 3 * self._limits[transport] * BATCHES_UNDER_WAY[transport]

    def send(self, agent: Agent, work: Work) -> bool:
        """Hand a batch to an agent; False when it does not take one now. Raises OSError for a message."""
        self._number += 1
        deliveries: list[Delivery] = []
        places: list[dict[int, int]] = []
        try:
            for entry in work.entries:
                deliveries.append(self._delivery(entry))
                places.append(self._places(entry))
            to = work.destination
            record, descriptors = encode_batch(
                Batch(self._number, agent.transport, to.nexthop, deliveries, to.uid, to.target)
            )
            send_record(agent.end, record, descriptors)
        except BlockingIOError:
            self.is_blocked = True
            return False
        except (BrokenPipeError, ConnectionResetError):
            return False
        finally:
            for delivery in deliveries:
                with contextlib.suppress(OSError):  # it was only read from, and the batch may be out already
                    os.close(delivery.fd)
        agent.sent[self._number] = _Sent(work, places)
        return True

    def _delivery(self, entry: Entry) -> Delivery:
        message, e = entry.message, entry.message.envelope
        recipients = []
        for index, route in zip(entry.indexes, entry.routes, strict=True):
            r = e.recipients[index]
            changed = route.address != r.forward_path
            if changed:
                message.addresses[index] = route.address
            original = r.original or (original_recipient(r.forward_path) if changed else "")
            recipients.append(Recipient(route.address, original, r.notify, extension=route.extension))
        if self._is_one_copy(entry):
            del recipients[1:]
        return Delivery(
            message.queue_id, self._open_message(entry), e.content_offset, e.size, e.sender, recipients,
            e.body, e.smtputf8, e.envid, e.ret, e.arrived_at, message.active_at, e.verify,
        )  # fmt: skip

    @staticmethod
    def _is_one_copy(entry: Entry) -> bool:
        """Say whether one copy serves the whole entry: a mailbox, or one address that was named more than once."""
        routes = entry.routes
        return routes[0].transport in MAILBOXES or (len(routes) > 1 and len({route.address for route in routes}) == 1)

    def _places(self, entry: Entry) -> dict[int, int]:
        return {0: 0} if self._is_one_copy(entry) else dict(enumerate(range(len(entry.indexes))))

    # --- results ----------------------------------------------------------------------------

    def receive(self, agent: Agent) -> bool:
        """Take one record of results; False when the agent is gone (its batches have then ended)."""
        try:
            received = receive_record(agent.end)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            received = None
        if received is not None:
            unused = set(received[1])
            try:
                if "hosts" in received[0]:
                    self._take_hosts(agent, received[0])
                    return True
                if "notice" in received[0]:
                    self._listener.session_noted(transcript.read(received[0]["notice"]))
                    return True
                if received[0].get("aside"):
                    agent.aside |= agent.sent.keys() & {received[0]["batch"]}
                    return True
                number, reports, done = decode_reports(*received)
                self._take(agent, number, reports, done, unused)
                return True
            except (AttributeError, ValueError, KeyError, TypeError, IndexError):
                pass  # an agent that does not keep the protocol is treated as one that died
            finally:
                for descriptor in unused:
                    os.close(descriptor)
        self._remove(agent)
        return False

    def _remove(self, agent: Agent) -> None:
        agent.end.close()
        self._agents[agent.transport].remove(agent)
        for sent in agent.sent.values():
            for entry, left in zip(sent.work.entries, sent.open, strict=True):
                if left:
                    self._listener.entry_lost(self._rest(entry, list(left.values())))
            self._listener.work_ended(sent.work)

    def _rest(self, entry: Entry, places: list[int]) -> Entry:
        if self._is_one_copy(entry):
            return entry
        return Entry(entry.message, [entry.indexes[p] for p in places], [entry.routes[p] for p in places])

    def _take(self, agent: Agent, number: int, reports: list[Report], done: bool, unused: set[int]) -> None:
        sent = agent.sent[number]
        for report in reports:
            place = sent.open[report.delivery].pop(report.recipient)
            if report.result is not None:
                self._answered(sent, report.delivery, place, report.result)
                continue
            unused.discard(report.descriptor)
            self._listener.entry_handed_back(sent.work.entries[report.delivery], report)
        if not done:
            return
        for delivery, left in enumerate(sent.open):
            for recipient in list(left):
                self._answered(sent, delivery, left.pop(recipient), _NO_ANSWER)
        del agent.sent[number]
        agent.aside.discard(number)
        self._listener.work_ended(sent.work)

    def _take_hosts(self, agent: Agent, record: dict[str, Any]) -> None:
        number, hosts = decode_hosts(record)
        work = agent.sent.pop(number).work
        self._listener.hosts_found(work, hosts)
        self._listener.work_ended(work)

    def _answered(self, sent: _Sent, delivery: int, place: int, result: DeliveryResult) -> None:
        entry = sent.work.entries[delivery]
        indexes = entry.indexes if self._is_one_copy(entry) else [entry.indexes[place]]
        for index in indexes:
            entry.message.results[index] = result
        entry.message.attempted = True
        if not sent.open[delivery]:
            self._listener.entry_ended(entry)
