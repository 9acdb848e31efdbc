"""local: the service that puts mail into mailboxes. In a root instance it is root, so it is small.

Single-threaded; it parses no mail and reaches messages through descriptors only. A batch whose
mailbox is locked waits aside while others go on, as long as there are descriptors for it. The
channel to qmgr is written blocking, so no result is lost when qmgr is slow, and read only when
something is there.
"""

import os
import resource
import selectors
import time
from dataclasses import dataclass, replace

from ..core.result import deferred
from ..delivery.local_user import LOCK_FAILED, Busy, deliver, end_all
from ..formats.batch import Batch
from ..host.privileges import RightsError
from ..host.sockets import DESCRIPTOR_LIMIT
from ..host.users import UserCache
from .agent import AgentChannel
from .service import Service

_DESCRIPTORS = 8192
_OWN_DESCRIPTORS = 100


@dataclass(slots=True)
class Waiting:
    """A batch whose mailbox is locked: attempts made, and when the next one is due (monotonic)."""

    batch: Batch
    attempts: int
    due: float


class Local:
    """The agent for one channel."""

    def __init__(self, service: Service, channel: AgentChannel) -> None:
        self._config = service.config
        self._log = service.log
        self._channel = channel
        self._users = UserCache()
        self._waiting: list[Waiting] = []
        self._room = max(1, (_descriptors() - _OWN_DESCRIPTORS) // DESCRIPTOR_LIMIT - 1)

    def take(self, batch: Batch) -> None:
        """Attempt a new batch."""
        self._attempt(Waiting(batch, 0, 0.0))

    def retry_due(self) -> None:
        """Attempt again what has waited long enough for its lock."""
        now = time.monotonic()
        due = [waiting for waiting in self._waiting if waiting.due <= now]
        if due:
            self._waiting = [waiting for waiting in self._waiting if waiting.due > now]
            for waiting in due:
                self._attempt(waiting)

    def pause(self) -> float | None:
        """Return the seconds until something is due; None when nothing waits."""
        if not self._waiting:
            return None
        return max(0.0, min(waiting.due for waiting in self._waiting) - time.monotonic())

    def leave(self) -> None:
        """End what still waits for a lock, and send what is known."""
        for waiting in self._waiting:
            self._lock_failed(waiting.batch)
        self._waiting = []
        self._channel.flush()

    def _attempt(self, waiting: Waiting) -> None:
        batch = waiting.batch
        waiting.attempts += 1
        try:
            deliver(batch.deliveries, batch.nexthop, self._users, self._config)
        except Busy:
            is_last = waiting.attempts >= max(1, self._config.deliver_lock_attempts)
            if is_last or len(self._waiting) >= self._room:
                return self._lock_failed(batch)
            waiting.due = time.monotonic() + self._config.deliver_lock_delay * _random_part()
            self._waiting.append(waiting)
            return None
        except RightsError:
            raise
        except Exception as error:
            self._log.error(f"delivery to {batch.nexthop}: {type(error).__name__}: {error}")
            end_all(batch.deliveries, deferred("4.3.0", f"internal error: {type(error).__name__}"))
        return self._report(batch)

    def _lock_failed(self, batch: Batch) -> None:
        end_all(batch.deliveries, LOCK_FAILED)
        self._report(batch)

    def _report(self, batch: Batch) -> None:
        for i, delivery in enumerate(batch.deliveries):
            delivery.results = [result and replace(result, relay="local") for result in delivery.results]
            for j in range(len(delivery.recipients)):
                self._channel.report(batch, i, j)
        self._channel.end_batch(batch)


def _descriptors() -> int:
    """Return how many descriptors this process may have open, after asking for enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _random_part() -> float:
    """Return a number from 0.1 to 1, so that two programs do not meet at a lock again and again."""
    return 0.1 + 0.9 * os.urandom(1)[0] / 255


def run(service: Service) -> None:
    """Deliver what qmgr hands over until master says stop or either of them is gone."""
    end = service.socket("agent")
    end.setblocking(True)
    channel = AgentChannel(end, service.log)
    service.ready()
    try:
        _serve(service, channel, Local(service, channel))
    except (BrokenPipeError, ConnectionResetError):
        return  # qmgr is gone: what it did not hear of, it will hand over again


def _serve(service: Service, channel: AgentChannel, local: Local) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(service.lifeline, selectors.EVENT_READ)
        selector.register(channel.end, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select(0)}
            if not ready:
                channel.flush()
                ready = {key.fileobj for key, _ in selector.select(local.pause())}
            if service.lifeline in ready and service.told()[0].get("do") in ("stop", "reload"):
                return local.leave()
            local.retry_due()
            if channel.end in ready:
                batch = channel.receive()
                if batch is None:
                    return None
                local.take(batch)
