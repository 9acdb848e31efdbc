"""Locking a mailbox: the dot-lock and fcntl's lock together, as mail readers expect.

Nothing here waits: a lock that another process holds raises Busy, with nothing left behind,
and the caller tries again later. All calls are made with the rights of the user (and the
directory's group), so a lock cannot be made to touch anything else.
"""

import contextlib
import errno
import fcntl
import os
import time

KEEP_FRESH_SECONDS = 60
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


class Busy(Exception):
    """Another process holds the lock."""


class DotLock:
    """NAME.lock beside the mailbox, made by link(2) so that it appears whole, with our pid."""

    def __init__(self, directory: int, name: str) -> None:
        self._directory = directory
        self._name = name + ".lock"
        self._inode = 0
        self._touched = 0.0

    def acquire(self, stale_after: int) -> bool:
        """Take the lock; False where the directory does not let this user make one.

        A lock older than stale_after seconds whose process is gone is removed first. Raises
        Busy, and OSError when the disk fails.
        """
        temporary = f".lk{os.urandom(4).hex()}.{self._name}"
        try:
            self._inode = self._write(temporary)
        except OSError as error:
            if error.errno in _NO_RIGHT:
                return False
            raise
        try:
            if not self._link(temporary) and not (self._remove_stale(stale_after) and self._link(temporary)):
                raise Busy
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._directory)
        self._touched = time.monotonic()
        return True

    def keep_fresh(self) -> None:
        """Show that the lock is in use, once a minute: others remove what looks forgotten."""
        now = time.monotonic()
        if self._inode and now - self._touched > KEEP_FRESH_SECONDS:
            self._touched = now
            with contextlib.suppress(OSError):
                os.utime(self._name, dir_fd=self._directory, follow_symlinks=False)

    def release(self) -> None:
        """Remove the lock, if it is there and ours."""
        if not self._inode:
            return
        with contextlib.suppress(OSError):
            if os.stat(self._name, dir_fd=self._directory, follow_symlinks=False).st_ino == self._inode:
                os.unlink(self._name, dir_fd=self._directory)
        self._inode = 0

    def _write(self, temporary: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o644, dir_fd=self._directory)
        try:
            os.write(descriptor, b"%d\n" % os.getpid())
            return os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)

    def _link(self, temporary: str) -> bool:
        try:
            os.link(
                temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory, follow_symlinks=False
            )
        except FileExistsError:
            return False
        return True

    def _remove_stale(self, stale_after: int) -> bool:
        try:
            status = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            if time.time() - status.st_mtime <= stale_after or self._is_alive():
                return False
            os.unlink(self._name, dir_fd=self._directory)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _is_alive(self) -> bool:
        """Say whether the lock names a living process; a lock without a readable pid names none.

        One that names this process is a leftover that could not be removed: it holds one lock at a time.
        """
        try:
            descriptor = os.open(
                self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._directory
            )
        except OSError:
            return False
        try:
            digits = os.read(descriptor, 32).strip()
        finally:
            os.close(descriptor)
        if not digits.isdigit() or not 0 < int(digits) < 1 << 31:
            return False
        if int(digits) == os.getpid():
            return False
        try:
            os.kill(int(digits), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's, but there
        return True


def lock_file(descriptor: int) -> None:
    """Take fcntl's lock on an open mailbox; it goes when the file is closed. Raises Busy or OSError."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise Busy from error
        raise
