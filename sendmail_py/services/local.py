"""local: the service that delivers on this host. In a root instance it is root, so it is small.

Single-threaded; it parses no mail and reaches messages through descriptors only. The channel to
qmgr is written blocking, so no result is lost when qmgr is slow, and read only when something is
there.
"""

import selectors
import time

from ..host.descriptors import allow_descriptors
from ..host.sockets import DESCRIPTOR_LIMIT
from .agent import AgentChannel
from .local_batches import Batches
from .programs import Programs
from .service import Service

_DESCRIPTORS = 8192
_OWN_DESCRIPTORS = 100
_LONGEST_PAUSE = 3600.0  # epoll counts milliseconds in 31 bits


class Local:
    """The agent for one channel: it waits for qmgr, master, programs and locks, and does what has become due."""

    def __init__(self, service: Service, channel: AgentChannel, selector: selectors.BaseSelector) -> None:
        self._service = service
        self._channel = channel
        self._selector = selector
        room = max(1, (allow_descriptors(_DESCRIPTORS) - _OWN_DESCRIPTORS) // DESCRIPTOR_LIMIT - 1)
        self._programs = Programs(selector, service.log)
        self._batches = Batches(service.config, service.log, channel, self._programs, room)
        self._leave_by: float | None = None
        self._is_over = False

    def qmgr_speaks(self) -> None:
        """Take the next batch; without qmgr nobody hears of results, so all ends here."""
        try:
            batch = self._channel.receive()
        except (ConnectionResetError, BrokenPipeError):
            batch = None
        if batch is None:
            self._programs.end_running()
            self._is_over = True
        else:
            self._batches.take(batch)

    def master_speaks(self) -> None:
        """Obey: a new configuration, or stop."""
        record, descriptors = self._service.told()
        if record.get("do") == "reload":
            self._service.reconfigure(record, descriptors)
            self._batches.configure(self._service.config)
        elif record.get("do") == "stop" and self._leave_by is None:
            self._selector.unregister(self._service.lifeline)
            self._selector.unregister(self._channel.end)
            self._leave_by = time.monotonic() + self._service.config.stop_timeout
            self._batches.leave()
            self._programs.drop_waiting()

    def turn(self) -> None:
        """Do what has become due."""
        now = time.monotonic()
        self._batches.retry_due(now)
        self._programs.turn(self._service.config.command_time_limit)
        if self._leave_by is not None and (now >= self._leave_by or not self._programs.is_busy()):
            self._programs.end_running()
            self._channel.flush()
            self._is_over = True

    def pause(self) -> float | None:
        """Return the seconds until something is due, none too many; None when nothing waits."""
        times = [at for at in (self._batches.next_due(), self._leave_by) if at is not None]
        pauses = [max(0.0, min(times) - time.monotonic())] if times else []
        programs = self._programs.pause()
        if programs is not None:
            pauses.append(programs)
        return min(*pauses, _LONGEST_PAUSE) if pauses else None

    def serve(self) -> None:
        """Go on until it is over."""
        while not self._is_over:
            events = self._selector.select(0)
            if not events:
                self._channel.flush()
                events = self._selector.select(self.pause())
            for key, _ in events:
                key.data()
            self.turn()


def run(service: Service) -> None:
    """Deliver what qmgr hands over until master says stop or either of them is gone."""
    end = service.socket("agent")
    end.setblocking(True)
    channel = AgentChannel(end, service.log, service.config.soft_bounce)
    with selectors.DefaultSelector() as selector:
        local = Local(service, channel, selector)
        selector.register(service.lifeline, selectors.EVENT_READ, local.master_speaks)
        selector.register(end, selectors.EVENT_READ, local.qmgr_speaks)
        service.ready()
        try:
            local.serve()
        except (BrokenPipeError, ConnectionResetError):
            return  # qmgr is gone: what it did not hear of, it will hand over again
