"""What is in the queue, read from the disk: for mailq, counts, and status.

A maildrop original whose copy is in the queue counts once. Entries come one at a time.
"""

import os
import pwd
from collections.abc import Iterator

from ..core.address import Address
from ..core.envelope import Envelope
from ..core.errors import QueueFileError
from ..formats import queue_reader
from ..formats.listing import ListedMessage
from .layout import MAILDROP
from .store import STATES, Store, read_head, read_history


def waiting(store: Store) -> Iterator[tuple[str, str, str]]:
    """Yield (queue name, queue id, path) of every message, opening none."""
    seen = set()
    for state in STATES:
        for queue_id, _ in store.entries(state):
            if queue_id not in seen:
                seen.add(queue_id)
                yield state, queue_id, store.path(state, queue_id)
    for queue_id, path in store.original_paths():
        if queue_id not in seen:
            yield MAILDROP, queue_id, path


def listed(store: Store) -> Iterator[ListedMessage | None]:
    """Yield each message as mailq shows it; None for one that has just left or cannot be read."""
    for state, queue_id, path in waiting(store):
        yield _listed(state, queue_id, path)


def _listed(state: str, queue_id: str, path: str) -> ListedMessage | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        envelope = read_head(descriptor)
        reasons = _reasons(read_history(descriptor, envelope))
        status = os.fstat(descriptor)
        arrived = envelope.arrived_at if state != MAILDROP else status.st_ctime_ns // 1000
    except (OSError, QueueFileError):
        return None
    finally:
        os.close(descriptor)
    recipients = [(str(r.forward_path), reasons.get(r.forward_path, "")) for r in envelope.pending()]
    return ListedMessage(
        state, queue_id, arrived, envelope.size, _sender(envelope, status.st_uid), recipients, envelope.expire
    )


def _sender(envelope: Envelope, owner: int) -> str:
    """Return the sender; for a submitted file that names none, the login of its owner."""
    if envelope.reverse_path is not None:
        return str(envelope.sender)
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"uid-{owner}"


def _reasons(history: bytes) -> dict[Address, str]:
    return {row[1]: row[5] for row in queue_reader.read_history(history) if row[2] == "deferred"}
