"""The descriptors of messages that wait for an agent: opened once, up to a number, and handed on."""

import contextlib
import os

from ..host.descriptors import allow_descriptors
from ..spool.layout import ACTIVE
from ..spool.store import Store
from .messages import Entry, Message

_LIMIT = 400
_OTHERS = 200  # descriptors: a batch on its way to an agent, who asks, and qmgr's own
_FEWEST = 10


class OpenMessages:
    """The open files of the messages in active/."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._count = 0
        self._limit = max(_FEWEST, min(_LIMIT, allow_descriptors() - _OTHERS))

    def keep(self, message: Message) -> None:
        """Take charge of a message's descriptor; beyond a number it is closed and opened again when needed."""
        self._count += 1
        if self._count > self._limit:
            self.close(message)

    def take(self, entry: Entry) -> int:
        """Return a descriptor of the entry's message that the caller closes."""
        message = entry.message
        if message.descriptor < 0:
            return self._store.open(ACTIVE, message.queue_id)
        if message.waiting > 1:
            return os.dup(message.descriptor)
        descriptor, message.descriptor = message.descriptor, -1
        self._count -= 1
        return descriptor

    def close(self, message: Message) -> None:
        """Let go of a message's descriptor."""
        if message.descriptor >= 0:
            with contextlib.suppress(OSError):  # it was only read from
                os.close(message.descriptor)
            message.descriptor = -1
            self._count -= 1
