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

from ..core.envelope import Box, Envelope, Recipient
from . import atomic, message_file
from .layout import ACTIVE, CORRUPT, DEFERRED, HOLD, INCOMING, TMP, UNSETTLED_MODE
from .originals import Originals
from .queue_id import base_id, hash_directory, is_queue_id

ARROWS = frozenset(
    {
        (TMP, INCOMING),
        (INCOMING, ACTIVE),
        (INCOMING, HOLD),
        (INCOMING, CORRUPT),
        (ACTIVE, DEFERRED),
        (ACTIVE, HOLD),
        (ACTIVE, INCOMING),
        (DEFERRED, ACTIVE),
        (DEFERRED, HOLD),
        (DEFERRED, CORRUPT),
        (HOLD, INCOMING),
        (HOLD, CORRUPT),
    }
)
STATES = (INCOMING, ACTIVE, DEFERRED, HOLD)
SETTLING = 5.0
_PROCESS = os.urandom(8).hex()
_numbers = itertools.count()


class Store:
    """The files below one queue_directory."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.originals = Originals(top)

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
        """Return a name in tmp/ that no other thread or process uses, nor one of the same pid in another container."""
        return f"{self.top}/{TMP}/new.{os.getpid()}.{_PROCESS}.{next(_numbers)}"

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
            message_file.write(descriptor, envelope, content)
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

    def sync_hold(self) -> None:
        """Make the names in hold/ durable."""
        atomic.sync_directory(f"{self.top}/{HOLD}")

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
        return os.open(self.path(state, queue_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)

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

    # --- finishing --------------------------------------------------------------------------

    def mark(
        self,
        state: str,
        queue_id: str,
        marks: Iterable[tuple[Recipient | Box, str]],
        history: bytes = b"",
        durable: bool = False,
    ) -> OSError | None:
        """Write marks and history into a message, as message_file.mark() does; raises OSError."""
        descriptor = os.open(self.path(state, queue_id), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return message_file.mark(descriptor, marks, history, durable)
        finally:
            os.close(descriptor)


def is_there(path: str) -> bool:
    """Say whether a name exists; raises OSError when that cannot be told (os.path.lexists would say no)."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True
