"""qmgr: the only mover of the queue. Brings mail into active/, has it delivered, ends it.

One loop, no disk waits in it: what must be durable goes through a few threads. A message is in
active/ exactly while attempts may be under way, so what is found there at start is mail whose
delivery a crash may have repeated, and the log says so.
"""

import contextlib
import os
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Callable

from ..host.sockets import may_steer, peer_uid
from ..spool.directories import check
from ..spool.format import claim
from ..spool.layout import ACTIVE, DEFERRED, INCOMING
from ..spool.recovery import recover_children, remove_leftovers
from ..spool.store import SETTLING, Store
from .activation import Activation
from .deferred_index import DeferredIndex, origin_of
from .finishing import Ended
from .once import leaves
from .passes import Passes
from .permissions import Permissions
from .public import OPEN_TO_ALL, Asker
from .requests import Requests
from .role import wait_for_role
from .service import Service
from .waiting import Later

_SCANNED_A_TURN = 500
_LONGEST_PAUSE = 60.0
_BLOCKED_PAUSE = 0.01
_LEFTOVER_AGE = 36 * 3600
_CONNECTIONS_OF_A_USER = 10
_RESTING_OF_A_USER = 50


class QueueManager:
    """The state of the service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.log = service.log
        self.store = Store(service.config.queue_directory)
        self.incoming: deque[str] = deque()
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.leaves = leaves(service.config)
        self.is_idle = False
        self.stop_by: float | None = None
        self.asking: Counter[int] = Counter()
        self.resting: Counter[int] = Counter()
        self.permissions = Permissions(service.config, OPEN_TO_ALL)
        self.selector = selectors.DefaultSelector()
        self.passes = Passes(service.config, self.store, self.log, self.selector, self)
        self.deferred = DeferredIndex(self.passes.schedule)
        passes = self.passes
        self.requests = Requests(
            self.store,
            self.deferred,
            self.incoming,
            passes.messages,
            passes.outcomes.note,
            passes.session_noted,
            passes.pool.submit,
        )
        self.activation = Activation(self.passes, self.deferred, self.incoming, self.requests)
        self.activation.configure(service.config)

    # --- what passes need -------------------------------------------------------------------

    def want(self, transport: str) -> None:
        """Ask master for an agent."""
        self.service.tell({"want": transport})

    def new_message(self, queue_id: str) -> None:
        """Take note that a message of our own is in incoming/."""
        self.incoming.append(queue_id)

    def ended(self, ended: Ended) -> None:
        """Take note that a message has left active/."""
        self.incoming.extend(ended.children)
        self.requests.steering.fulfil_for(ended.message, ended.children)
        self.requests.waiting.ended(ended.message.queue_id, ended.children, ended.error is None)
        if ended.due is not None:
            self.deferred.add(ended.message.queue_id, ended.due, origin_of(ended.message.envelope))
            self.requests.steering.fulfil(ended.message)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self.later.append((time.monotonic() + seconds, action))

    # --- start ------------------------------------------------------------------------------

    def recover(self) -> None:
        """Settle what an earlier queue manager left: its children, and what was in active/."""
        for queue_id, what in recover_children(self.store):
            self.log.info(f"{queue_id}: {what} after a crash between an expansion or bounce and its mark")
        for name in remove_leftovers(self.store, time.time() - _LEFTOVER_AGE):
            self.log.info(f"removed tmp/{name}: never finished")
        for queue_id, _ in list(self.store.entries(ACTIVE)):
            if not self.store.moved(queue_id, ACTIVE, INCOMING):
                continue  # pickup has removed a torn copy, to take its original again
            self.log.info(f"{queue_id}: was being delivered when the queue manager ended; a delivery may be repeated")
        self.requests.steering.remember()
        self.activation.begin()
        self.find_incoming()
        self.find_deferred()

    # --- requests ---------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take up a connection on the public socket, unless its user has too many."""
        try:
            end = listener.accept()[0]
        except OSError:
            return
        uid = peer_uid(end)
        if self.asking[uid] >= _CONNECTIONS_OF_A_USER and not may_steer(uid):
            end.close()
            return
        self.asking[uid] += 1
        asker = Asker(end, uid, self.requests.handlers, self.permissions)
        self.selector.register(asker, selectors.EVENT_READ, lambda: self._serve(asker))

    def _serve(self, asker: Asker) -> None:
        if asker.fileno() < 0:
            return  # it hung up in the very turn in which it was answered
        if not asker.serve():
            self._close(asker)
        elif asker.later is not None:
            self._let_rest(asker, asker.later)
        elif asker.is_answering:
            self.selector.modify(asker, selectors.EVENT_WRITE, lambda: self._serve(asker))

    def _let_rest(self, asker: Asker, later: Later) -> None:
        """Keep a connection that waits beside those that are being answered, unless its user has too many."""
        self.asking[asker.uid] -= 1
        asker.rests = True
        self.resting[asker.uid] += 1
        later.ready = lambda: self._serve(asker)
        if self.resting[asker.uid] > _RESTING_OF_A_USER and not may_steer(asker.uid):
            self._close(asker)

    def _close(self, asker: Asker) -> None:
        self.selector.unregister(asker)
        asker.close()
        (self.resting if asker.rests else self.asking)[asker.uid] -= 1

    # --- the loop ---------------------------------------------------------------------------------

    def told_by_master(self) -> None:
        """Do what master says: a new agent, look for mail that nobody told of, a new configuration, or stop."""
        record, descriptors = self.service.told()
        what = record["do"]
        if what == "agent":
            self.passes.handing_out.add_agent(record["transport"], descriptors[0])
        elif what == "no-agent":
            self.passes.agents.not_started(record["transport"])
        elif what == "look":
            self.find_incoming()
        elif what == "reload":
            self.service.reconfigure(record, descriptors)
            self.permissions = Permissions(self.service.config, OPEN_TO_ALL)
            self.passes.configure(self.service.config)
            self.activation.configure(self.service.config)
            self.deferred.schedule = self.passes.schedule
        elif what == "stop":
            self.stop_by = time.monotonic() + self.service.config.stop_timeout
            self.passes.put_aside()

    def turn(self, more: bool) -> bool:
        """Do one round of the loop; returns whether there is work for another at once."""
        ready = self.selector.select(0 if more else self._pause())
        self.passes.active.tick(time.monotonic())  # what has ended while we slept ends now: pauses begin with it
        for key, _ in ready:
            key.data()
        now = time.time()
        more = False
        if self.stop_by is None:
            more = self._scan_some()
            if self.deferred.is_asked_for:
                self.deferred.is_asked_for = False
                self.passes.active.revive_all()
            more = self.activation.some(now) or more
            more = self.passes.routing.some() or more
            self.passes.handing_out.dispatch()
        self.activation.mind_flow()
        self._do_later()
        self.passes.end_turn()
        if self.leaves:
            self._tell_idleness(more)
        return more

    def _tell_idleness(self, more: bool) -> None:
        """Tell master when there is nothing left to do now, and when there is something again."""
        due = self.activation.next_due()
        is_idle = not (more or self.passes.messages or self.incoming or self.passes.pool.running)
        is_idle = is_idle and (due is None or due > time.time())
        if is_idle != self.is_idle:
            self.is_idle = is_idle
            with contextlib.suppress(OSError):  # without a master there is a stop to come
                self.service.tell({"idle": is_idle})

    def _pause(self) -> float:
        pause = _LONGEST_PAUSE
        due = self.activation.next_due()
        if due is not None and self.stop_by is None:
            pause = min(pause, max(0.0, due - time.time()))
        tick = self.passes.active.next_tick()
        if tick is not None:
            pause = min(pause, max(0.0, tick - time.monotonic()))
        if self.later:
            pause = min(pause, max(0.0, min(at for at, _ in self.later) - time.monotonic()))
        if self.passes.agents.is_blocked:
            pause = min(pause, _BLOCKED_PAUSE)
        return min(pause, 0.2) if self.stop_by is not None else pause

    def _do_later(self) -> None:
        now = time.monotonic()
        due = [action for at, action in self.later if at <= now]
        self.later = [(at, action) for at, action in self.later if at > now]
        for action in due:
            action()

    def find_incoming(self) -> None:
        """Look for mail that nobody told us of, and again where some is still being made durable."""
        try:
            has_more = self.requests.find_incoming()
        except OSError as error:  # deliveries are under way, which an end of ours would repeat
            self.log.error(f"{INCOMING}/: {error}; it is looked into at the next queue run")
            return
        if has_more:
            self.after(SETTLING, self.find_incoming)

    def find_deferred(self) -> None:
        """Begin to learn what is in deferred/."""
        self.deferred.start_scan(self.store.entries(DEFERRED))

    def _scan_some(self) -> bool:
        """Learn of some more of it; True when there is more."""
        try:
            return self.deferred.scan_some(_SCANNED_A_TURN)
        except OSError as error:
            self.log.error(f"{DEFERRED}/: {error}; it is read again")
            self.deferred.start_scan(None)
            self.after(self.passes.retry_pause, self.find_deferred)
            return False

    def queue_run(self) -> None:
        """Every queue_run_delay: look for lost mail and for times that a set-back clock made far; send the digest."""
        self.deferred.mend_clock(time.time())
        self.find_incoming()
        self.passes.postmaster.send_digest()
        self.after(self.service.config.queue_run_delay, self.queue_run)

    def is_stopped(self) -> bool:
        """Say whether a stop is complete: nothing under way, or no more time."""
        if self.stop_by is None:
            return False
        return (not self.passes.agents.is_busy() and not self.passes.pool.running) or time.monotonic() > self.stop_by


def run(service: Service) -> None:
    """Serve until master says stop."""
    check(service.config.queue_directory, os.getuid())
    if not wait_for_role(service, "another queue manager holds this queue", is_reloaded=True):
        return
    claim(service.config.queue_directory)
    manager = QueueManager(service)
    manager.recover()
    selector = manager.selector
    selector.register(service.lifeline, selectors.EVENT_READ, manager.told_by_master)
    selector.register(manager.passes.pool.wake, selectors.EVENT_READ, manager.passes.pool.collect)
    listener = service.socket("public")
    selector.register(listener, selectors.EVENT_READ, lambda: manager.accept(listener))
    manager.queue_run()
    service.ready()
    more = True
    while not manager.is_stopped():
        more = manager.turn(more)
    manager.passes.leave()
