"""Appending a batch to an mbox file: one lock, one fsync, and all or nothing.

The file is opened as the user, and only if it is the user's own regular file with one name.
After any error it is cut back to its old size and no message of the batch counts as delivered.
Only a message with a fault of its own (too large, unreadable) is left out alone. The cost does
not depend on the size of the mailbox.
"""

import contextlib
import errno
import os
import resource
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..core.config import Config
from ..core.result import DeliveryResult, deferred, delivered, failed, from_errno
from ..formats import mbox
from ..host.privileges import acts_for_others, effective
from ..host.users import User
from .copy import PIECE, ContentError, Copy
from .mailbox_lock import DotLock, lock_file

_BUFFERS = 500  # well under IOV_MAX
_OPEN = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mailbox is. in_spool: the directory is the administrator's, otherwise the user's.

    is_virtual: the parameters of virtual mailboxes say how it is locked and how large it may be.
    """

    directory: str
    name: str
    in_spool: bool
    is_virtual: bool = False


class Refused(Exception):
    """The file in the mailbox's place is not one to write to."""


class Full(Exception):
    """The message does not fit into the mailbox."""


def append(copies: list[Copy], user: User, place: Place, config: Config) -> None:
    """Append these messages and give each its result; raises Busy when the mailbox is locked."""
    what = f"cannot update mailbox {place.directory}/{place.name} for user {user.name}"
    try:
        with _opened(user, place, config) as box, effective(user.uid, user.gid, list(user.groups)):
            box.append(copies, what)
    except Refused as refusal:
        _end_rest(copies, deferred("4.2.0", f"{what}: {refusal}"))
    except OSError as error:
        _end_rest(copies, from_errno(error, what))


def _end_rest(copies: list[Copy], result: DeliveryResult) -> None:
    for copy in copies:
        copy.delivery.end_all(result)


@contextlib.contextmanager
def _opened(user: User, place: Place, config: Config) -> Iterator["_Box"]:
    """Lock and open the mailbox, with the rights that its directory asks for; undo it at the end."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if place.in_spool:
        directory = os.open(place.directory, flags)
    else:
        with effective(user.uid, user.gid, list(user.groups)):
            directory = os.open(place.directory, flags)
    try:
        gid, groups = user.gid, list(user.groups)
        if place.in_spool:
            status = os.fstat(directory)
            gid, groups = _spool_group(status, user)
            if acts_for_others() and status.st_uid == 0 and not status.st_mode & 0o022:
                _create_as_root(directory, place.name, user)
        box = _Box(directory, place, config)
        with effective(user.uid, gid, groups):
            box.open(config)
        try:
            yield box
        finally:
            with effective(user.uid, gid, groups):
                box.close()
    finally:
        os.close(directory)


def _spool_group(status: os.stat_result, user: User) -> tuple[int, list[int]]:
    """Return the group to act with: the directory's, where only that one may create files."""
    if status.st_mode & 0o020 and not status.st_mode & 0o002:
        return status.st_gid, [status.st_gid]
    return user.gid, list(user.groups)


def _create_as_root(directory: int, name: str, user: User) -> None:
    """Make an empty mailbox where only root may: whole under its name, or not at all."""
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        return
    temporary = f".new{os.getpid()}.{name}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
    )
    try:
        os.fchown(descriptor, user.uid, user.gid)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    finally:
        os.close(descriptor)
        os.unlink(temporary, dir_fd=directory)
    os.fsync(directory)


class _Box:
    """A mailbox that is open and locked."""

    def __init__(self, directory: int, place: Place, config: Config) -> None:
        self._directory = directory
        self._name = place.name
        self._methods = config.virtual_mailbox_lock if place.is_virtual else config.mailbox_delivery_lock
        self._lock = DotLock(directory, place.name)
        self._fd = -1
        self._created = False
        self._limit = _size_limit(config.virtual_mailbox_limit if place.is_virtual else config.mailbox_size_limit)
        self._size = 0
        self._pending: list[bytes] = []
        self._waiting = 0

    def open(self, config: Config) -> None:
        """Take the locks that are asked for and open the file; raises Busy, Refused or OSError."""
        methods = self._methods
        try:
            locked = "dotlock" in methods and self._lock.acquire(config.stale_lock_time)
            if "dotlock" in methods and not locked and "fcntl" not in methods:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._fd = self._open_or_create()
            self._check()
            if "fcntl" in methods:
                lock_file(self._fd)
                self._check()  # it may have been renamed or linked before the lock
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file, which ends fcntl's lock, then remove the dot-lock."""
        descriptor, self._fd = self._fd, -1
        try:
            if descriptor >= 0:
                os.close(descriptor)
        finally:
            self._lock.release()

    def _open_or_create(self) -> int:
        try:
            return os.open(self._name, _OPEN, dir_fd=self._directory)
        except FileNotFoundError:
            self._created = True
            return os.open(self._name, _OPEN | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._directory)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused("it is a symbolic link") from error
            raise

    def _check(self) -> None:
        """Refuse everything but the user's own regular file with one name, still in its place."""
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("it is not a regular file")
        if status.st_nlink != 1:
            raise Refused(f"the file has {status.st_nlink} names")
        if status.st_uid != os.geteuid():
            raise Refused(f"the file belongs to uid {status.st_uid}")
        named = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        if (named.st_dev, named.st_ino) != (status.st_dev, status.st_ino):
            raise Refused("the file was replaced while it was opened")

    def append(self, copies: list[Copy], what: str) -> None:
        """Write all messages and sync; on an error cut the file back and deliver none."""
        old_size = self._size = os.fstat(self._fd).st_size
        written: list[Copy] = []
        when = time.localtime()
        try:
            self._queue([mbox.separator(os.pread(self._fd, 2, max(0, old_size - 2)))])
            for copy in copies:
                if self._add(copy, mbox.from_line(copy.delivery.sender, when) + copy.fields, what):
                    written.append(copy)
                self._lock.keep_fresh()
            self._flush()
            self._sync()
        except OSError as error:
            self._cut_back(old_size)
            result = _of_write_error(error, what, len(written))
            for copy in copies:
                copy.delivery.end_all(result)
            return
        for copy in written:
            copy.end(delivered("delivered to mailbox"))

    def _add(self, copy: Copy, head: bytes, what: str) -> bool:
        """Write one message; False (and its result) when it alone does not fit or cannot be read."""
        try:
            if copy.content is None:
                self._add_large(copy, head)
            else:
                self._put([head, *mbox.entry(copy.content)])
        except ContentError as error:
            copy.end(error.result)
            return False
        except Full:
            copy.end(failed("5.2.2", f"{what}: the mailbox would exceed its limit of {self._limit} octets"))
            return False
        return True

    def _add_large(self, copy: Copy, head: bytes) -> None:
        """Write a message piece by piece, and take it back whole when it does not go in."""
        if self._limit and self._size + len(head) + copy.delivery.size + 1 > self._limit:
            raise Full
        self._flush()
        start = self._size
        try:
            self._put([head])
            for chunk in mbox.entry_chunks(copy.pieces()):
                self._put([chunk])
                self._lock.keep_fresh()
        except (ContentError, Full):
            self._pending.clear()
            self._waiting = 0
            os.ftruncate(self._fd, start)
            self._size = start
            raise

    def _put(self, buffers: list[bytes]) -> None:
        if self._limit and self._size + sum(map(len, buffers)) > self._limit:
            raise Full
        self._queue(buffers)

    def _queue(self, buffers: list[bytes]) -> None:
        length = sum(map(len, buffers))
        self._pending += buffers
        self._size += length
        self._waiting += length
        if self._waiting >= PIECE or len(self._pending) >= _BUFFERS:
            self._flush()

    def _flush(self) -> None:
        buffers, self._pending, rest = self._pending, [], self._waiting
        self._waiting = 0
        while rest:
            count = os.writev(self._fd, buffers)
            rest -= count
            if rest:  # the next call finishes it, or says what is wrong
                buffers = [b"".join(buffers)[count:]]

    def _sync(self) -> None:
        os.fsync(self._fd)
        if self._created:
            os.fsync(self._directory)

    def _cut_back(self, size: int) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)


def _size_limit(ours: int) -> int:
    """Return the largest size a mailbox may reach, 0 for none: ours, or that of the process."""
    process = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    limits = [limit for limit in (ours, process) if limit > 0]
    return min(limits, default=0)


def _of_write_error(error: OSError, what: str, others: int) -> DeliveryResult:
    """Turn a failed write into the result of the whole batch."""
    if error.errno == errno.EFBIG and others > 1:
        return deferred("4.2.2", f"{what}: {os.strerror(errno.EFBIG)}")  # some of them may fit alone
    return from_errno(error, f"{what}: error writing message")
