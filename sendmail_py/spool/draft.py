"""A new message on its way into the queue: written in tmp/ without a name, then named, then fsynced.

Guarantees: after commit() content and name are on disk, by one fsync: one that comes after a link (or a rename, where
the file system wants a passing name) makes the name last too. Until then its mode says so, and nobody who looks
through the directory takes it (Store.settled): whatever goes wrong before, discard() leaves nothing, and nothing has
been delivered.
"""

import contextlib
import os
from collections.abc import Iterable

from ..core.envelope import Envelope
from . import atomic, message_file
from .layout import INCOMING, UNSETTLED_MODE
from .queue_id import base_id
from .store import Store


class Draft:
    """One message. queue_id holds the inode of its file, so it is known when the file is. Raises OSError."""

    __slots__ = ("_descriptor", "_path", "_store", "queue_id")

    def __init__(self, store: Store, arrived_at: int) -> None:
        self._store = store
        self._descriptor, self._path = store.new_file(UNSETTLED_MODE)
        self.queue_id = base_id(arrived_at, os.fstat(self._descriptor).st_ino)

    def write(self, envelope: Envelope, content: Iterable[bytes]) -> None:
        """Write envelope and content; sets the size. Where it is known, a small message is one write."""
        message_file.write(self._descriptor, envelope, content)

    def commit(self, state: str = INCOMING) -> None:
        """Give the message its place; on return it will last."""
        target = self._store.path(state, self.queue_id)
        if self._path:
            atomic.rename(self._path, target)
        else:
            atomic.give_name(self._descriptor, target)
        self._path = target
        atomic.sync(self._descriptor)
        os.fchmod(self._descriptor, 0o600)
        self.close()

    def discard(self) -> None:
        """Remove what is there, perhaps without being durable: it was not accepted."""
        self.close()
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def close(self) -> None:
        """Close the file: of what is on disk an error here takes nothing back, and of the rest nothing is kept."""
        descriptor, self._descriptor = self._descriptor, -1
        atomic.let_go(descriptor)
