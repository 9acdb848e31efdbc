"""Messages that wait to be made anew (requeuing.py), of which a few are under way in qmgr's threads.

Thousands may be asked for at one time, and the threads have other work: what still waits here can be
parked or deleted at once.
"""

from collections import deque
from collections.abc import Callable

from ..core.config import Config
from ..core.envelope import Mark
from ..core.result import DeliveryResult
from ..host.syslog import Log
from ..spool.store import Store
from .messages import Message
from .notices import WITHDRAWN
from .pool import Pool
from .requeuing import Requeuer
from .steering import DELETE, HOLD_VERB

_AT_ONCE = 8


class Requeues:
    """The line; ended() is told of each message whose recipients have their results, note() takes log lines."""

    def __init__(
        self, pool: Pool, store: Store, log: Log, ended: Callable[[Message], None], note: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._store = store
        self._log = log
        self._ended = ended
        self._note = note
        self._waiting: deque[Message] = deque()
        self._under_way = 0

    def configure(self, config: Config) -> None:
        """Take what the configuration says; also after a reload."""
        self._config = config
        self._requeuer: Requeuer | None = None

    def add(self, message: Message) -> None:
        """Take a message of active/, whose pass then ends without attempts."""
        message.wish, message.waiting = "", 1
        self._waiting.append(message)
        self._begin_some()

    def clear(self) -> None:
        """Begin no more: what waits is as it was."""
        self._waiting.clear()

    def _begin_some(self) -> None:
        while self._waiting and self._under_way < _AT_ONCE:
            message = self._waiting.popleft()
            indexes = [i for i, r in enumerate(message.envelope.recipients) if r.mark == Mark.PENDING]
            if message.wish in (HOLD_VERB, DELETE):
                self._end(message, indexes, WITHDRAWN)
            else:
                self._begin(message, indexes)

    def _begin(self, message: Message, indexes: list[int]) -> None:
        def done(result: DeliveryResult) -> None:
            self._under_way -= 1
            self._end(message, indexes, result)
            self._begin_some()

        requeuer = self._requeuer = self._requeuer or Requeuer(self._config, self._store, self._log.warning)
        self._under_way += 1
        self._pool.submit(lambda: requeuer.requeue(message), done)

    def _end(self, message: Message, indexes: list[int], result: DeliveryResult) -> None:
        message.results = dict.fromkeys(indexes, result)
        self._note(f"{message.queue_id}: {result.reason}")
        self._ended(message)
