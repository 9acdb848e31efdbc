"""What mailq shows of each message, read from the disk.

Guarantees: of no message more than some 16 MB are read, whatever is in it; what cannot be read is passed over, and the
others are listed. A look changes nothing: where the file is ours, not even its time of access, which would be
written anew each time, for the mtime of what is deferred lies ahead.
"""

import os
import pwd
from collections.abc import Iterator

from ..core.envelope import Envelope
from ..core.errors import QueueFileError
from ..formats import queue_glance, queue_reader
from ..formats.listing import ListedMessage, shown
from ..formats.queue_file import HEAD_LIMIT
from .contents import waiting
from .layout import MAILDROP
from .store import Store

LIMIT = HEAD_LIMIT + (1 << 20)
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
Recipients = list[tuple[str, str]]  # addresses, and why they wait
_PIECE = 16384  # octets: a head, and all of a small message


def listed(store: Store) -> Iterator[ListedMessage | None]:
    """Yield each message as mailq shows it; None for one that has just left or cannot be read."""
    for state, queue_id, path in waiting(store):
        yield _listed(state, queue_id, path)


def _listed(state: str, queue_id: str, path: str) -> ListedMessage | None:
    try:
        descriptor = _open(path)
    except OSError:
        return None
    try:
        arrived, size, sender, recipients, expired = _read(descriptor)
        owner = -1
        if state == MAILDROP:
            status = os.fstat(descriptor)
            arrived, owner = status.st_ctime_ns // 1000, status.st_uid
    except (OSError, QueueFileError):
        return None
    finally:
        os.close(descriptor)
    sender = _login(owner) if sender is None else sender
    return ListedMessage(state, queue_id, arrived, size, sender, recipients, expired)


def _open(path: str) -> int:
    try:
        return os.open(path, _READ | os.O_NOATIME)
    except PermissionError:  # it is somebody else's
        return os.open(path, _READ)


def _read(descriptor: int) -> tuple[int, int, str | None, Recipients, bool]:
    """Return time, size, sender, recipients and expiry: one read and a glance will mostly do."""
    data = os.pread(descriptor, _PIECE, 0)
    head = queue_glance.head(data)
    if head is None:
        data = _whole_head(descriptor, data)
        head = queue_glance.head(data)
    if head is not None:
        arrived, octets, sender, pending, expired, start = head
        recipients = queue_glance.with_reasons(pending, _history(descriptor, data, start + octets))
        return arrived, octets, sender, recipients, expired
    envelope = queue_reader.parse(data, queue_reader.LISTED)
    recipients = _recipients(envelope, _history(descriptor, data, envelope.content_offset + envelope.size))
    sender = None if envelope.reverse_path is None else shown(str(envelope.reverse_path))
    return envelope.arrived_at, envelope.size, sender, recipients, envelope.expire


def _whole_head(descriptor: int, data: bytes) -> bytes:
    """Return a file from its beginning up to the end of its head and more, given its first piece."""
    while queue_reader.head_end(data) < 0:
        more = os.pread(descriptor, min(len(data), LIMIT - len(data)), len(data))
        if not more:
            break
        data += more
    return data


def _history(descriptor: int, data: bytes, start: int) -> bytes:
    """Return what follows the content, or its last lines where it is too long; data is the beginning of the file."""
    size = len(data) if len(data) < _PIECE else os.fstat(descriptor).st_size
    if start > size:
        raise QueueFileError("the content of the queue file is torn")
    if size <= len(data):
        return data[start:]
    first = max(start, size - max(LIMIT - len(data), _PIECE))
    history = os.pread(descriptor, size - first, first)
    return history if first == start else history.partition(b"\n")[2]


def _recipients(envelope: Envelope, history: bytes) -> Recipients:
    """Return who still waits and why; what queue_glance.with_reasons() does with plain addresses."""
    reasons = {row[1]: row[5] for row in queue_reader.read_history(history) if row[2] == "deferred"}
    pending = [recipient.forward_path for recipient in envelope.pending()]
    return [(shown(str(address)), shown(reasons.get(address, ""))) for address in pending]


def _login(owner: int) -> str:
    """Return the sender of a submitted file that names none."""
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"uid-{owner}"
