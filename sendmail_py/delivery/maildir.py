"""Delivery into a Maildir, as the user, in a way that a replay leaves one copy.

The file's name follows from the message and the user, so a message that was delivered before a
crash, and is tried again after it, is found there. The files of a batch are synced before they
appear in new/, and new/ once for all of them. A quota in maildirsize is kept to.
"""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable

from ..core.delivery import Delivery
from ..core.result import DeliveryResult, delivered, failed, from_errno
from ..formats.delivery_fields import encode
from ..host.privileges import effective
from ..host.users import User
from .copy import ContentError, Copy
from .maildir_quota import read_quota

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_STEP = 5.0
_sure_since = [time.time()]

DELIVERED = delivered("delivered to maildir")
WAS_THERE = delivered("delivered to maildir (was there already)")


def store(copies: list[Copy], user: User, path: str, base: str = "") -> None:
    """Store these messages in the Maildir at path and give each its result; below base, directories are made."""
    what = f"cannot deliver to maildir {path} for user {user.name}"
    try:
        with effective(user.uid, user.gid, list(user.groups)), contextlib.ExitStack() as opened:
            _Maildir(path, opened, base).store(copies, user.name, what)
    except OSError as error:
        for copy in copies:
            copy.delivery.end_all(from_errno(error, what))


def folder_of(extension: str, user: User, path: str) -> str:
    """Return the folder of the Maildir at path that mail with this extension is for, "" for the Maildir itself.

    It has the extension's name after a dot, as Maildir++ has it, and must be there.
    """
    words = extension.split(".")
    if not all(words) or not extension.isascii() or not extension.isprintable() or set(extension) & set("/&\\"):
        return ""
    with effective(user.uid, user.gid, list(user.groups)), contextlib.suppress(OSError):
        if stat.S_ISDIR(os.lstat(f"{path}/.{extension}").st_mode):
            return f".{extension}"
    return ""


def file_name(copy: Copy, user_name: str) -> str:
    """Return the name of this message in this user's Maildir, the same at every attempt."""
    unique = f"{copy.delivery.arrived_at // 1_000_000}.Q{copy.delivery.queue_id}U{user_name}.{os.uname().nodename}"
    octets = (b"\\%03o" % c if c in b"/:\\" or c <= 32 or c == 127 else bytes((c,)) for c in encode(unique))
    return os.fsdecode(b"".join(octets))


class _Maildir:
    """A Maildir with its three directories open; they are closed by the given stack."""

    def __init__(self, path: str, opened: contextlib.ExitStack, base: str = "") -> None:
        self._opened = opened
        try:
            self._open(path)
        except FileNotFoundError:
            _create(path, base)
            self._open(path)
        self._seen: set[str] | None = None
        self._names: set[str] = set()
        self._quota = read_quota(self._directory(_root_of(path)))

    def _open(self, path: str) -> None:
        self._tmp, self._new, self._cur = (self._directory(f"{path}/{name}") for name in ("tmp", "new", "cur"))

    def _directory(self, path: str) -> int:
        descriptor = os.open(path, _DIRECTORY)
        self._opened.callback(os.close, descriptor)
        return descriptor

    def store(self, copies: list[Copy], user_name: str, what: str) -> None:
        """Write and sync all files, then show them, then sync the directory."""
        there = []
        written = []
        self._names = {file_name(copy, user_name) for copy in copies}
        for copy in copies:
            name = file_name(copy, user_name)
            try:
                if self._is_there(copy, name):
                    there.append(copy)
                    _remove(self._tmp, name)  # the other name, where a crash came between the two steps
                elif self._quota and not self._quota.has_room(_size(copy)):
                    copy.end(failed("5.2.2", f"{what}: the mailbox is full"))
                else:
                    written.append((copy, name, self._write(copy, name)))
                    self._note(copy)
            except ContentError as error:
                copy.end(error.result)
            except OSError as error:
                copy.end(from_errno(error, what))
        shown = [(copy, name) for copy, name, fd in written if self._show(copy, name, fd, what)]
        self._settle(there, shown, what)

    def _note(self, copy: Copy) -> None:
        if self._quota:
            self._quota.add(_size(copy))

    def _is_there(self, copy: Copy, name: str) -> bool:
        """Say whether an earlier attempt delivered this message, read since then or not."""
        if _exists(self._new, name):
            return True
        if not _may_be_read(copy.delivery):
            return False  # without a look: cur/ may be large
        if self._seen is None:
            with os.scandir(self._cur) as entries:  # of millions of names, those of this batch alone are kept
                self._seen = self._names.intersection(entry.name.partition(":")[0] for entry in entries)
        return name in self._seen

    def _write(self, copy: Copy, name: str) -> int:
        """Write tmp/name and return its descriptor; leaves nothing behind when it raises."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._tmp)  # what a crash left; nobody else uses this name
        descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=self._tmp)
        try:
            head = copy.fields
            for piece in copy.pieces():
                _write_all(descriptor, [head, piece])
                head = b""
            _write_all(descriptor, [head])
        except BaseException:
            os.close(descriptor)
            _remove(self._tmp, name)
            raise
        return descriptor

    def _show(self, copy: Copy, name: str, descriptor: int, what: str) -> bool:
        """Sync the file and move it to new/; False (and its result) when that fails."""
        try:
            try:
                os.fsync(descriptor)
                self._move(name, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            _remove(self._tmp, name)
            if self._quota:
                self._quota.take_back(_size(copy))
            copy.end(from_errno(error, what))
            return False
        return True

    def _move(self, name: str, descriptor: int) -> None:
        """Show the file that was written here. By its name it may be half of what the next agent writes.

        A queue manager that was killed leaves this one behind, and the one after it hands out the same message.
        """
        try:
            try:
                os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=self._new)
            except FileNotFoundError:
                if os.path.exists("/proc/self/fd"):
                    raise  # the name is another's by now
                os.link(name, name, src_dir_fd=self._tmp, dst_dir_fd=self._new, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(name, name, src_dir_fd=self._tmp, dst_dir_fd=self._new)
        else:
            _remove(self._tmp, name)

    def _settle(self, there: list[Copy], shown: list[tuple[Copy, str]], what: str) -> None:
        """Make the names last, and only then call anything delivered."""
        try:
            if there or shown:
                os.fsync(self._new)
            if there:
                os.fsync(self._cur)
        except OSError as error:
            _sure_since[:] = [time.time()]  # a reader may have moved one to cur/ by now
            for _, name in shown:
                _remove(self._new, name)  # otherwise the next attempt would trust it
            _end(there, from_errno(error, what))
            _end((copy for copy, _ in shown), from_errno(error, what))
            return
        if self._quota:
            self._quota.write()
        _end(there, WAS_THERE)
        _end((copy for copy, _ in shown), DELIVERED)


def _may_be_read(delivery: Delivery) -> bool:
    """Say whether an earlier attempt may have delivered a message. What arrived after this process began is new to it.

    Not where the clock was set back since: by a second or two, or so far that it was taken up before it had arrived.
    """
    return delivery.arrived_at / 1e6 < _sure_since[0] + _STEP or delivery.active_at < delivery.arrived_at


def _root_of(path: str) -> str:
    """Return the Maildir that a folder belongs to, and whose quota counts; a Maildir is its own.

    A file maildirfolder says nothing: Dovecot puts one into Maildirs too.
    """
    parent, name = os.path.split(path)
    return parent if name.startswith(".") and os.path.lexists(f"{parent}/cur") else path


def _size(copy: Copy) -> int:
    return len(copy.fields) + copy.delivery.size


def _remove(directory: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=directory)


def _end(copies: Iterable[Copy], result: DeliveryResult) -> None:
    for copy in copies:
        copy.end(result)


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write_all(descriptor: int, buffers: list[bytes]) -> None:
    rest = sum(map(len, buffers))
    while rest:
        count = os.writev(descriptor, buffers)
        rest -= count
        if rest:
            buffers = [b"".join(buffers)[count:]]


def _create(path: str, base: str) -> None:
    """Make the Maildir, what is missing of its three directories and of those below base, all of mode 0700; sync them.

    base is not made: where it is not there, the disk may not be mounted yet.
    """
    above = []
    parent = os.path.dirname(path)
    while base and parent.startswith(f"{base}/"):
        above.append(parent)
        parent = os.path.dirname(parent)
    for directory in (*reversed(above), path, f"{path}/tmp", f"{path}/new", f"{path}/cur"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
    for directory in (path, *above, parent):
        descriptor = os.open(directory, _DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
