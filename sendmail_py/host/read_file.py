"""Files of the administrator that are read whole, and again when they change.

Guarantees: a look at a file never waits for another process, whatever stands at its path; what was read
before stays until the new text has been read.
"""

import os
import stat
from collections.abc import Callable

Warn = Callable[[str], None]
_Stamp = tuple[int, int, int, int]


def owner_of(status: os.stat_result) -> int:
    """Return the uid whose rights apply to what a file names; never those of whoever owns the queue."""
    return -1 if status.st_uid in (0, os.getuid()) else status.st_uid


def rights_in(path: str, descriptor: int) -> int:
    """Return the uid whose rights apply to what an open file names: its owner's, behind a link nobody's (-1).

    Whoever made the link, or a link in the way to it, chose the file, and need not be its owner.
    """
    status = os.fstat(descriptor)
    is_itself = status.st_nlink == 1 and os.readlink(f"/proc/self/fd/{descriptor}") == os.path.normpath(path)
    return owner_of(status) if is_itself else -1


def open_regular(path: str) -> int:
    """Open a regular file for reading; raises OSError, and never waits for another process."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a regular file")
    return descriptor


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_uid


class ReadFile:
    """One file. may_be_missing: then it is empty."""

    may_be_missing = False

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen: _Stamp | None = None
        self._is_read = False

    def refresh(self, warn: Warn) -> None:
        """Read the file again when it has changed; raises OSError."""
        try:
            stamp: _Stamp | None = _stamp(os.stat(self.path))
        except FileNotFoundError:
            if not self.may_be_missing:
                raise
            stamp = None
        if self._is_read and stamp == self._seen:
            return
        text, uid = "", -1
        if stamp is not None:
            with open(open_regular(self.path), encoding="utf-8", errors="surrogateescape") as file:
                status = os.fstat(file.fileno())
                text, uid, stamp = file.read(), rights_in(self.path, file.fileno()), _stamp(status)
        for fault in self._take(text, uid):
            warn(f"{self.path}, {fault}")
        self._seen, self._is_read = stamp, True

    def _take(self, text: str, uid: int) -> list[str]:
        """Read the text; returns what cannot be used of it."""
        raise NotImplementedError
