"""pickup's loop: names that come through the trigger, scans, the submit socket, filters, and master's word."""

import os
import selectors
import time
from typing import TYPE_CHECKING

from ..spool.layout import TRIGGER
from .submit import SubmitServer

if TYPE_CHECKING:
    from .pickup import Pickup

_TRIGGER_OCTETS = 65536
# After names have come the next may come together, for so long for each message taken, and no longer: a single
# message never waits, and in a stream of them each costs less to those who submit at the same time.
_GATHERING = 0.025
_LONGEST_GATHERING = 0.2
_SWEEP_SECONDS = 5.0
_LAST_SECONDS = 5.0


class Loop:
    """The loop of one pickup."""

    def __init__(self, pickup: "Pickup") -> None:
        service = pickup.service
        self.pickup = pickup
        self.is_leaving = False
        self.gathers_until = 0.0  # while it is not 0, nobody listens to the trigger
        self.selector = selectors.DefaultSelector()
        self.server = SubmitServer(pickup, self.selector)
        self.trigger = os.open(f"{pickup.top}/{TRIGGER}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.listener = service.socket("submit")
        self._listen()
        self.selector.register(self.listener, selectors.EVENT_READ, lambda: self.server.accept(self.listener))
        self.selector.register(service.lifeline, selectors.EVENT_READ, self._leave)
        if pickup.filtering:
            self.selector.register(pickup.filtering.pool.wake, selectors.EVENT_READ, pickup.filtering.pool.collect)

    def serve(self) -> None:
        """Run until master says stop, or reload (it starts a fresh pickup then), and end what has begun."""
        pickup = self.pickup
        while not self.is_leaving:
            self._turn(self._pause())
            if 0 < self.gathers_until <= time.monotonic():
                self._listen()
            if time.monotonic() >= pickup.next_scan:
                pickup.scan()
            pickup.qmgr.tell()
            pickup.admission.publish()
        end = time.monotonic() + _LAST_SECONDS
        while (self.server.open or (pickup.filtering and pickup.filtering.names)) and time.monotonic() < end:
            self._turn(0.2)
        pickup.qmgr.tell()
        pickup.admission.keep()

    def _turn(self, pause: float) -> None:
        """Do what has come; after master's word no new mail, which is for who has the new configuration."""
        lifeline, new = self.pickup.service.lifeline, (self.trigger, self.listener)
        keys = [key for key, _ in self.selector.select(pause)]
        for key in sorted(keys, key=lambda key: key.fileobj is not lifeline):
            if not (self.is_leaving and key.fileobj in new):
                key.data()
        self.server.sweep()

    def _pause(self) -> float:
        pause = max(0.0, self.pickup.next_scan - time.monotonic())
        opening = self.pickup.admission.next_opening()
        if opening:
            pause = min(pause, opening)
        if self.gathers_until:
            pause = min(pause, max(0.0, self.gathers_until - time.monotonic()))
        return min(pause, _SWEEP_SECONDS) if self.server.open else pause

    def _triggered(self) -> None:
        self.pickup.triggered(os.read(self.trigger, _TRIGGER_OCTETS))
        self.selector.unregister(self.trigger)
        pause = min(_GATHERING * max(1, self.pickup.number), _LONGEST_GATHERING)
        self.gathers_until = time.monotonic() + pause

    def _listen(self) -> None:
        self.gathers_until = 0.0
        self.selector.register(self.trigger, selectors.EVENT_READ, self._triggered)

    def _leave(self) -> None:
        self.pickup.service.order()
        self.is_leaving = True
        gathers, self.gathers_until = self.gathers_until, 0.0
        for end in (self.pickup.service.lifeline, self.listener, *(() if gathers else (self.trigger,))):
            self.selector.unregister(end)
