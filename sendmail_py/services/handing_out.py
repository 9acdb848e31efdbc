"""Batches go out to agents, as many as these take; what was parked or deleted meanwhile does not."""

import selectors
import socket
import time
from collections.abc import Callable

from ..core.result import DeliveryResult
from ..host.syslog import Log
from .active_queue import ActiveQueue
from .agents import Agent, Agents
from .destination import Work
from .messages import Entry
from .notices import GONE, WITHDRAWN
from .outcomes import Outcomes
from .steering import DELETE, HOLD_VERB


class HandingOut:
    """What goes to the agents.

    put_off() has something done after the pause that follows an error; is_gone() says that a message has no file.
    """

    def __init__(
        self,
        agents: Agents,
        active: ActiveQueue,
        outcomes: Outcomes,
        selector: selectors.BaseSelector,
        log: Log,
        put_off: Callable[[Callable[[], None]], None],
        is_gone: Callable[[str], bool],
    ) -> None:
        self._agents = agents
        self._active = active
        self._outcomes = outcomes
        self._selector = selector
        self._log = log
        self._put_off = put_off
        self._is_gone = is_gone

    def dispatch(self) -> None:
        """Hand out what agents can take."""
        self._agents.is_blocked = False
        self._active.tick(time.monotonic())
        for transport in self._active.transports():
            while True:
                agent = self._agents.free(transport)
                work = self._active.pick(transport, self._agents.is_scarce(transport)) if agent else None
                if agent is None or work is None:
                    break
                if not self._withdraw(work):
                    continue
                if not self._send(agent, work):
                    break

    def _withdraw(self, work: Work) -> bool:
        """Take what was parked or deleted meanwhile out of a batch; False when nothing is left of it."""
        unwanted = [entry for entry in work.entries if entry.message.wish in (HOLD_VERB, DELETE)]
        if not unwanted:
            return True
        return self._take_out(work, unwanted, WITHDRAWN)

    def _take_out(self, work: Work, entries: list[Entry], why: DeliveryResult) -> bool:
        """End some of a batch; False when nothing is left of it."""
        work.entries = [entry for entry in work.entries if entry not in entries]
        if not work.entries:
            self._active.ended(work)
        for entry in entries:
            self._outcomes.end_all(entry.message, entry.indexes, why)
        return bool(work.entries)

    def _send(self, agent: Agent, work: Work) -> bool:
        try:
            if self._agents.send(agent, work):
                return True
        except OSError as error:
            gone = [entry for entry in work.entries if self._is_gone(entry.message.queue_id)]
            if gone:
                if self._take_out(work, gone, GONE):
                    self._active.put_back(work)
                return True
            name = work.entries[0].message.queue_id if work.entries else work.destination.nexthop
            self._log.error(f"{name}: cannot be handed out: {error}")
            self._put_off(lambda: self._active.put_back(work))
            return False
        self._active.put_back(work)
        return False

    def add_agent(self, transport: str, descriptor: int) -> None:
        """Take up a new agent that master started."""
        agent = self._agents.add(transport, socket.socket(fileno=descriptor))
        self._selector.register(agent.end, selectors.EVENT_READ, lambda: self._heard(agent))

    def _heard(self, agent: Agent) -> None:
        end = agent.end
        if not self._agents.receive(agent):
            self._selector.unregister(end)
