"""One message's queue file, open: its envelope and content are written, its envelope and history read, its marks set.

Where the file lies, and under which name, is store.py's to say; docs/queue-format.md has what stands in it.
"""

import os
from collections.abc import Iterable

from ..core.envelope import Box, Envelope, Mark, Recipient
from ..core.errors import QueueFileError
from ..formats import queue_file, queue_reader
from . import atomic

_HEAD = 16384  # octets: most heads are no longer


def write(descriptor: int, envelope: Envelope, content: Iterable[bytes]) -> None:
    """Write envelope and content into an empty file; sets the size. What is in memory, a tuple, is one write."""
    if isinstance(content, tuple):
        envelope.size = sum(map(len, content))
        atomic.write_all(descriptor, (b"".join((queue_file.render(envelope), *content)),))
        return
    placeholder = envelope.size
    atomic.write_all(descriptor, (queue_file.render(envelope),))
    envelope.size = atomic.write_all(descriptor, content)
    if envelope.size != placeholder:
        atomic.overwrite(descriptor, queue_file.size_digits(envelope.size), queue_file.size_offset(envelope))


def mark(
    descriptor: int, marks: Iterable[tuple[Recipient | Box, str]], history: bytes = b"", durable: bool = False
) -> OSError | None:
    """Write marks, in the file and then in the recipients, and append history.

    A mark that is set already is left as it is. Raises OSError when something could not be written; returns the error
    of an fsync: then the marks stand for every reader, and only a power cut may undo them.
    """
    for recipient, text in marks:
        if recipient.mark == Mark.PENDING:
            atomic.overwrite(descriptor, text.encode(), recipient.offset)
            recipient.mark = text
    if history:
        os.lseek(descriptor, 0, os.SEEK_END)
        atomic.write_all(descriptor, (history,))
    return _sync_error(descriptor) if durable else None


def _sync_error(descriptor: int) -> OSError | None:
    try:
        atomic.sync(descriptor)
    except OSError as error:
        return error
    return None


def read_head(descriptor: int, limit: int = 0) -> Envelope:
    """Read the envelope; raises QueueFileError also when the file is torn.

    limit, when given, is the largest head in octets that is read at all.
    """
    data = os.pread(descriptor, _HEAD, 0)
    while queue_reader.head_end(data) < 0:
        if limit and len(data) > limit:
            raise QueueFileError("the head of the queue file is too long")
        more = os.pread(descriptor, max(len(data), _HEAD), len(data))
        if not more:
            break
        data += more
    envelope = queue_reader.parse(data)
    end = envelope.content_offset + envelope.size
    if end > len(data) and end > os.fstat(descriptor).st_size:
        raise QueueFileError("the content of the queue file is torn")
    return envelope


def read_message(path: str) -> Envelope:
    """Read the envelope of the queue file at path; raises QueueFileError, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return read_head(descriptor)
    finally:
        os.close(descriptor)


def read_history(descriptor: int, envelope: Envelope) -> bytes:
    """Return the history lines after the content."""
    start = envelope.content_offset + envelope.size
    return os.pread(descriptor, max(0, os.fstat(descriptor).st_size - start), start)
