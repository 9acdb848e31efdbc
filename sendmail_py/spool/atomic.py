"""The only place that writes, fsyncs and renames files of the queue.

What these functions return from without an error is done; durable only where it says so.
"""

import contextlib
import errno
import functools
import os
import time
from collections import deque
from collections.abc import Iterable

# Where it is a deque: the seconds that each fsync has taken, for whoever counts them.
sync_times: deque[float] | None = None
_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_NAMELESS = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
# What says nothing about whether a file can come into being without a name and get one later. All else says no: a file
# system that cannot, and a /proc that is missing, closed to this user, or forbidden by a sandbox.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EIO)


def create(path: str, mode: int = 0o600) -> int:
    """Create or empty a private file and return its descriptor."""
    return os.open(path, _NEW, mode)


@functools.cache
def names_late(directory: str) -> bool:
    """Say whether a file without a name can be had in a directory, and get its name there later. Raises OSError."""
    path = f"{directory}/name.{os.getpid()}"
    try:
        descriptor = create_nameless(directory)
        try:
            with contextlib.suppress(FileExistsError):  # another thread is trying too, or was killed here
                give_name(descriptor, path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return False
    return True


def create_nameless(directory: str, mode: int = 0o600) -> int:
    """Create a private file without a name, which ends with its descriptor, and return that; see names_late()."""
    return os.open(directory, _NAMELESS, mode)


def give_name(descriptor: int, path: str) -> None:
    """Give a file that was created without a name the name that it has from now on, which nothing else may have."""
    # With a descriptor beside it, which an absolute path has no use for, link() follows the way through /proc.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def write_all(descriptor: int, chunks: Iterable[bytes]) -> int:
    """Write every octet; returns how many."""
    total = 0
    for chunk in chunks:
        view = memoryview(chunk)
        total += len(view)
        while view:
            view = view[os.write(descriptor, view) :]
    return total


def overwrite(descriptor: int, data: bytes, offset: int) -> None:
    """Overwrite octets in place; raises OSError when it could not all be written."""
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(5, "short write")


def replace_text(temporary: str, path: str, text: str, mode: int) -> None:
    """Write a small file under a temporary name and put it in place as a whole; not durable."""
    descriptor = create(temporary)
    try:
        write_all(descriptor, (text.encode(),))
        os.fchmod(descriptor, mode)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def rename(source: str, target: str) -> None:
    """Rename; a missing hash directory of the target is made. Raises FileNotFoundError where the source is missing."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        # Whether the directory is there by now says nothing: another thread may have made it since.
        if not os.path.lexists(source):
            raise
        parent = os.path.dirname(target)
        with contextlib.suppress(FileExistsError):
            os.mkdir(parent, 0o700)
        sync_directory(os.path.dirname(parent))
        os.rename(source, target)


def sync(descriptor: int) -> None:
    """Make what an open file holds durable; raises OSError."""
    started = time.monotonic()
    os.fsync(descriptor)
    if sync_times is not None:
        sync_times.append(time.monotonic() - started)


def sync_file(path: str) -> None:
    """Make a file's content and name durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def let_go(descriptor: int) -> None:
    """Close a file of which nothing is wanted any more; never raises, for the number is another's from here on."""
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
