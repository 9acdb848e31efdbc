"""The queue as a set of files: one a message, the directory is its state.

    maildrop --copied--> incoming --> active --> (removed)
                            ^            |  \\--> deferred --> active (due)
       smtpd, bounce, ------/            |------> hold (asked for; after its attempt)
       children

Every arrow is one rename, and ARROWS names the legal ones. New messages are written in tmp/ and renamed, or without
a name and linked (new_file). Children (expansions, bounces) wait in tmp/, durable, until the marks they answer for are
durable in their parent: a crash before that discards them, a crash after it releases them.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator

from ..core.envelope import Box, Envelope, Mark, Recipient
from ..core.errors import QueueFileError
from ..formats import queue_file, queue_reader
from . import atomic
from .layout import ACTIVE, COMPLETE_MODE, CORRUPT, DEFERRED, HOLD, INCOMING, MAILDROP, TMP, UNSETTLED_MODE
from .maildrop import is_name
from .queue_id import base_id, hash_directory, is_queue_id

ARROWS = frozenset(
    [(TMP, INCOMING), (INCOMING, ACTIVE), (ACTIVE, DEFERRED), (ACTIVE, HOLD), (ACTIVE, INCOMING), (INCOMING, HOLD)]
    + [
        (DEFERRED, ACTIVE),
        (DEFERRED, HOLD),
        (HOLD, INCOMING),
        (INCOMING, CORRUPT),
        (DEFERRED, CORRUPT),
        (HOLD, CORRUPT),
    ]
)
STATES = (INCOMING, ACTIVE, DEFERRED, HOLD)
SETTLING = 5.0
_HEAD = 16384
_COMPLETE = 0o100000 | COMPLETE_MODE
_numbers = itertools.count()


class Store:
    """The files below one queue_directory."""

    def __init__(self, top: str) -> None:
        self.top = top

    def path(self, state: str, queue_id: str) -> str:
        """Return where a message of this state lies."""
        if state == DEFERRED:
            return f"{self.top}/{DEFERRED}/{hash_directory(queue_id)}/{queue_id}"
        return f"{self.top}/{state}/{queue_id}"

    # --- new messages ---------------------------------------------------------------------

    def nameless(self) -> int:
        """Return a descriptor of an empty file in tmp/ that has no name, and ends with the descriptor."""
        descriptor, path = self.new_file(0o600)
        if path:
            os.unlink(path)
        return descriptor

    def new_file(self, mode: int) -> tuple[int, str]:
        """Return an empty file in tmp/ and its path: "" where it has no name yet, and can be given one.

        A kill leaves nothing of one without a name, and the directory is not waited for: others may be busy there.
        """
        directory = f"{self.top}/{TMP}"
        if atomic.names_late(directory):
            return atomic.create_nameless(directory, mode), ""
        path = self.new_path()
        return atomic.create(path, mode), path

    def new_path(self) -> str:
        """Return a name in tmp/ that no other thread or process uses."""
        return f"{self.top}/{TMP}/new.{os.getpid()}.{next(_numbers)}"

    def write(self, envelope: Envelope, content: Iterable[bytes], durable: bool, born: int = 0) -> str:
        """Write a new message into tmp/ and return its path; sets size and, if "", the id.

        born, in microseconds, is when it is written, where that is not when it arrived: an id is of its own time, for
        the inode in it may have been another message's before.
        Raises OSError, and then the file is gone.
        """
        path = f"{self.top}/{TMP}/{envelope.queue_id}" if envelope.queue_id else self.new_path()
        descriptor = atomic.create(path)
        try:
            if not envelope.queue_id:
                envelope.queue_id = base_id(born or envelope.arrived_at, os.fstat(descriptor).st_ino)
            write_envelope(descriptor, envelope, content)
            if durable:
                atomic.sync(descriptor)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        return path

    def name_child(self, path: str, queue_id: str) -> None:
        """Give a child that was written without an id its own name in tmp/; an fsync after that makes both last."""
        atomic.rename(path, f"{self.top}/{TMP}/{queue_id}")

    def commit(self, path: str, queue_id: str, durable: bool, state: str = INCOMING) -> None:
        """Rename a written message into incoming/ (or hold/); durable: its name is on disk on return."""
        atomic.rename(path, self.path(state, queue_id))
        if durable:
            atomic.sync_directory(f"{self.top}/{state}")

    def sync_incoming(self) -> None:
        """Make the names in incoming/ durable."""
        atomic.sync_directory(f"{self.top}/{INCOMING}")

    # --- moving -----------------------------------------------------------------------------

    def move(self, queue_id: str, source: str, target: str) -> None:
        """Move a message from one state to another; raises OSError, ValueError for no arrow."""
        if (source, target) not in ARROWS:
            raise ValueError(f"no arrow from {source} to {target}")
        atomic.rename(self.path(source, queue_id), self.path(target, queue_id))

    def moved(self, queue_id: str, source: str, target: str) -> bool:
        """Move a message; False when it is not there."""
        try:
            self.move(queue_id, source, target)
        except FileNotFoundError:
            return False
        return True

    def remove(self, state: str, queue_id: str) -> None:
        """Remove a finished message."""
        os.unlink(self.path(state, queue_id))

    def sync(self, state: str, queue_id: str) -> None:
        """Make a message of this state durable: its marks, its history, and its name, once it has been moved here.

        One fsync does it: a rename changes the file's inode too, so the file's own fsync makes last what has made its
        name (ext4, XFS, btrfs; Draft and Drop stand on the same). The directory's after it would flush the disk again.
        """
        atomic.sync_file(self.path(state, queue_id))

    def set_due(self, state: str, queue_id: str, seconds: float) -> None:
        """Write the next attempt (seconds since the epoch) into the file's mtime."""
        os.utime(self.path(state, queue_id), (seconds, seconds))

    # --- reading ----------------------------------------------------------------------------

    def open(self, state: str, queue_id: str) -> int:
        """Open a message read-only and return its descriptor."""
        return os.open(self.path(state, queue_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def entries(self, state: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the id and status of each message of a state, opening none."""
        for directory in self._directories(state):
            with os.scandir(directory) as entries:
                for entry in entries:
                    if not is_queue_id(entry.name):
                        continue
                    try:
                        yield entry.name, entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue

    def settled(self, state: str) -> tuple[list[str], bool]:
        """Return the ids of a state, but those that are still being made durable; says if there are such.

        One that has been so for longer than SETTLING seconds was left by somebody who is gone: it is whole, and counts.
        """
        found, has_more, now = [], False, time.time()
        for queue_id, status in self.entries(state):
            if status.st_mode & 0o777 == UNSETTLED_MODE:
                if 0 <= now - status.st_ctime < SETTLING:
                    has_more = True
                    continue
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(self.path(state, queue_id), 0o600)
            found.append(queue_id)
        return found, has_more

    def names(self, state: str) -> Iterator[str]:
        """Yield the id of each message of a state, looking at none."""
        for directory in self._directories(state):
            yield from filter(is_queue_id, os.listdir(directory))

    def _directories(self, state: str) -> list[str]:
        top = f"{self.top}/{state}"
        return [f"{top}/{name}" for name in sorted(os.listdir(top)) if len(name) == 2] if state == DEFERRED else [top]

    def has(self, state: str, queue_id: str) -> bool:
        """Say whether a message is in this state."""
        return is_there(self.path(state, queue_id))

    def is_gone(self, queue_id: str) -> bool:
        """Say whether somebody has taken a message out of active/; not where active/ itself is away, unmounted say."""
        return is_there(f"{self.top}/{ACTIVE}") and not self.has(ACTIVE, queue_id)

    def find(self, queue_id: str) -> str | None:
        """Return the state of a message, or None. Asks twice, since a message may be moving."""
        for state in STATES * 2:
            if is_there(self.path(state, queue_id)):
                return state
        return CORRUPT if is_there(self.path(CORRUPT, queue_id)) else None

    def originals(self) -> Iterator[str]:
        """Yield the queue id of each complete file in maildrop/, opening none."""
        for queue_id, _ in self.original_paths():
            yield queue_id

    def original_paths(self) -> Iterator[tuple[str, str]]:
        """Yield (queue id, path) of each complete file in maildrop/."""
        with os.scandir(f"{self.top}/{MAILDROP}") as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if is_name(entry.name) and status.st_mode == _COMPLETE and status.st_nlink == 1:
                    yield base_id(status.st_ctime_ns // 1000, status.st_ino), entry.path

    # --- finishing --------------------------------------------------------------------------

    def mark(
        self,
        state: str,
        queue_id: str,
        marks: Iterable[tuple[Recipient | Box, str]],
        history: bytes = b"",
        durable: bool = False,
    ) -> OSError | None:
        """Write marks, in the file and then in the recipients, and append history.

        A mark that is set already is left as it is. Raises OSError when
        something could not be written; returns the error of an fsync: then the marks stand for
        every reader, and only a power cut may undo them.
        """
        descriptor = os.open(self.path(state, queue_id), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            for recipient, mark in marks:
                if recipient.mark == Mark.PENDING:
                    atomic.overwrite(descriptor, mark.encode(), recipient.offset)
                    recipient.mark = mark
            if history:
                os.lseek(descriptor, 0, os.SEEK_END)
                atomic.write_all(descriptor, (history,))
            return _sync_error(descriptor) if durable else None
        finally:
            os.close(descriptor)

    def remove_original(self, key: tuple[str, int, int]) -> None:
        """Remove the maildrop original (name, inode, ctime_ns) of a message, if it is still that file."""
        if self.has_original(key):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.top}/{MAILDROP}/{key[0]}")

    def has_original(self, key: tuple[str, int, int]) -> bool:
        """Say whether the maildrop original of a message is still there."""
        try:
            status = os.lstat(f"{self.top}/{MAILDROP}/{key[0]}")
        except FileNotFoundError:
            return False
        return (status.st_ino, status.st_ctime_ns) == key[1:]


def write_envelope(descriptor: int, envelope: Envelope, content: Iterable[bytes]) -> None:
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


def _sync_error(descriptor: int) -> OSError | None:
    try:
        atomic.sync(descriptor)
    except OSError as error:
        return error
    return None


def is_there(path: str) -> bool:
    """Say whether a name exists; raises OSError when that cannot be told (os.path.lexists would say no)."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def read_head(descriptor: int, limit: int = 0) -> Envelope:
    """Read the envelope of an open queue file; raises QueueFileError also when it is torn.

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
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return read_head(descriptor)
    finally:
        os.close(descriptor)


def read_history(descriptor: int, envelope: Envelope) -> bytes:
    """Return the history lines after the content."""
    start = envelope.content_offset + envelope.size
    return os.pread(descriptor, max(0, os.fstat(descriptor).st_size - start), start)
