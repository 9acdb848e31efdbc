"""What is in the queue, read from the disk: for mailq, counts, and status.

A maildrop original whose copy is in the queue counts once. Entries come one at a time.
"""

import os
import pwd
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from ..core.address import Address
from ..core.envelope import Envelope
from ..core.errors import QueueFileError
from ..formats import queue_reader
from ..formats.listing import ListedMessage
from .layout import MAILDROP
from .store import STATES, Store, read_head

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_PIECE = 16384  # octets: a head, and all of a small message


def waiting(store: Store) -> Iterator[tuple[str, str, str]]:
    """Yield (queue name, queue id, path) of every message, opening none."""
    seen = set()
    for state in STATES:
        for queue_id in store.names(state):
            if queue_id not in seen:
                seen.add(queue_id)
                yield state, queue_id, store.path(state, queue_id)
    for queue_id, path in store.original_paths():
        if queue_id not in seen:
            yield MAILDROP, queue_id, path


def counted(store: Store, known: Mapping[str, Collection[str]] = MappingProxyType({})) -> dict[str, int]:
    """Return the number of messages in each queue that has some; known are the ids in queues that need no look."""
    counts: dict[str, int] = {}
    elsewhere = known.values()
    for state in STATES:
        if state in known:
            counts[state] = len(known[state])
        else:  # one may be moving
            counts[state] = sum(not any(name in ids for ids in elsewhere) for name in store.names(state))
    counts[MAILDROP] = sum(store.find(queue_id) is None for queue_id in store.originals())
    return {state: number for state, number in counts.items() if number}


def listed(store: Store) -> Iterator[ListedMessage | None]:
    """Yield each message as mailq shows it; None for one that has just left or cannot be read."""
    for state, queue_id, path in waiting(store):
        yield _listed(state, queue_id, path)


def _listed(state: str, queue_id: str, path: str) -> ListedMessage | None:
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return None
    try:
        envelope, history = _read(descriptor)
        reasons = _reasons(history)
        arrived, owner = envelope.arrived_at, -1
        if state == MAILDROP:
            status = os.fstat(descriptor)
            arrived, owner = status.st_ctime_ns // 1000, status.st_uid
    except (OSError, QueueFileError):
        return None
    finally:
        os.close(descriptor)
    recipients = [(str(r.forward_path), reasons.get(r.forward_path, "")) for r in envelope.pending()]
    return ListedMessage(state, queue_id, arrived, envelope.size, _sender(envelope, owner), recipients, envelope.expire)


def _read(descriptor: int) -> tuple[Envelope, bytes]:
    """Return what is shown of an open queue file, and its history: one read will mostly do."""
    data = os.pread(descriptor, _PIECE, 0)
    size = len(data) if len(data) < _PIECE else os.fstat(descriptor).st_size
    is_all_there = queue_reader.head_end(data) >= 0
    envelope = queue_reader.parse(data, queue_reader.LISTED) if is_all_there else read_head(descriptor)
    start = envelope.content_offset + envelope.size
    if start > size:
        raise QueueFileError("the content of the queue file is torn")
    return envelope, data[start:] if size <= len(data) else os.pread(descriptor, size - start, start)


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
