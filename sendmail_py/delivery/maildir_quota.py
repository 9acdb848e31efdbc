"""The quota of a Maildir, where its file maildirsize says one (Maildir++, as Dovecot, Courier and Exim keep it).

The first line is the limit (10000000S,1000C), each further line a change of size and count; their sum is
what is used. Who delivers adds a line. The file is the user's own and may say anything: what is no
quota is none, and no content of it makes us read or count without end.
"""

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator

_NAME = "maildirsize"
_LONGEST = 5120  # octets; a longer file is written anew, as all programs do
_FRESH = 15 * 60  # seconds for which a sum that was counted is believed when it says "full"
_MOST = 50_000  # messages that are counted; a larger mailbox is what its file says
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SIZE_IN_NAME = re.compile(r",S=(\d{1,18})(?:[,:]|$)")


class Quota:
    """The limit and the use of one Maildir; has_room() is asked before each message, add() told after."""

    def __init__(self, root: int, text: bytes, mtime: float) -> None:
        self._root = root
        lines = text.split(b"\n")
        self._limit = lines[0].strip()
        self._most = _limits(self._limit)
        self._changes = [change for line in lines[1:] if (change := _change(line))]
        self._is_settled = len(self._changes) < 2 and time.time() - mtime < _FRESH and len(text) <= _LONGEST
        self._size, self._count = (sum(values) for values in zip((0, 0), *self._changes, strict=True))
        self._new = 0, 0

    def has_room(self, size: int) -> bool:
        """Say whether a message of this size fits in; where it does not seem to, what is there is counted."""
        if not self._fits(size) and not self._is_settled:
            self._count_again()
        return self._fits(size)

    def _fits(self, size: int) -> bool:
        most_size, most_count = self._most
        fits = not most_size or self._size + size <= most_size
        return fits and (not most_count or self._count < most_count)

    def add(self, size: int) -> None:
        """Note a message that will be delivered."""
        self._size += size
        self._count += 1
        self._new = self._new[0] + size, self._new[1] + 1

    def take_back(self, size: int) -> None:
        """Note that one was not delivered after all."""
        self._size -= size
        self._count -= 1
        self._new = self._new[0] - size, self._new[1] - 1

    def write(self) -> None:
        """Add what was delivered to the file; a failure is made good when somebody counts again."""
        if self._new[1] <= 0:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            descriptor = os.open(_NAME, flags, dir_fd=self._root)
            try:
                os.write(descriptor, b"%d %d\n" % self._new)
            finally:
                os.close(descriptor)

    def _count_again(self) -> None:
        """Replace the sum by what is there now, in the file too."""
        self._is_settled = True
        with contextlib.suppress(OSError, _TooMany):
            size, count = _counted(self._root)
            self._size, self._count = size + self._new[0], count + self._new[1]
        with contextlib.suppress(OSError):
            _replace(self._root, b"%s\n%d %d\n" % (self._limit, self._size - self._new[0], self._count - self._new[1]))


class _TooMany(Exception):
    """There are more messages than are counted in one delivery."""


def read_quota(root: int) -> Quota | None:
    """Return the quota of the Maildir that this descriptor is of, None where there is none."""
    try:
        descriptor = os.open(_NAME, _READ, dir_fd=root)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EACCES, errno.ENXIO):
            return None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        quota = Quota(root, os.read(descriptor, 16 * _LONGEST), status.st_mtime)
    finally:
        os.close(descriptor)
    return quota if any(quota._most) else None


def _limits(line: bytes) -> tuple[int, int]:
    """Read 10000000S,1000C; 0 is no limit, and so is what is not understood."""
    size = count = 0
    for word in line.split(b","):
        number, kind = word.strip()[:-1], word.strip()[-1:].upper()
        if number.isdigit() and len(number) < 19:
            size, count = (int(number), count) if kind == b"S" else (size, int(number)) if kind == b"C" else (0, 0)
    return size, count


def _change(line: bytes) -> tuple[int, int] | None:
    words = line.split()
    try:
        return (int(words[0][:20]), int(words[1][:20])) if len(words) == 2 else None
    except ValueError:
        return None


def _counted(root: int) -> tuple[int, int]:
    """Return the size and number of all messages in the Maildir and its folders."""
    size = count = 0
    for name in _directories(root):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for length in _lengths(root, name):
                size, count = size + length, count + 1
                if count > _MOST:
                    raise _TooMany
    return size, count


def _directories(root: int) -> Iterator[str]:
    names = os.listdir(root)
    if len(names) > _MOST // 10:
        raise _TooMany
    for folder in ("", *(name for name in names if name.startswith("."))):
        yield from (f"{folder}/{part}".lstrip("/") for part in ("new", "cur"))


def _lengths(root: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, _DIRECTORY, dir_fd=root)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                named = _SIZE_IN_NAME.search(entry.name)
                with contextlib.suppress(FileNotFoundError):  # its reader took it just now
                    yield int(named[1]) if named else entry.stat(follow_symlinks=False).st_size
    finally:
        os.close(descriptor)


def _replace(root: int, text: bytes) -> None:
    temporary = f"tmp/{_NAME}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=root)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=root)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
    os.rename(temporary, _NAME, src_dir_fd=root, dst_dir_fd=root)
