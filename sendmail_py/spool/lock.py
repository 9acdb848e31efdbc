"""The role lock: one mover of the queue at a time.

flock(2) through the filelock library on lock/qmgr; the kernel frees it when its holder dies.
The file is never unlinked on purpose, and a lock that turns out to be held on no file, or a
soft lock (a file that merely exists), is refused.
"""

import fcntl
import os

from filelock import FileLock, Timeout

from .layout import LOCK

_held: list[FileLock] = []


def take_role(top: str, role: str) -> bool:
    """Take the lock of a role on a queue for the rest of this process; False when another has it."""
    return take(f"{top}/{LOCK}/{role}")


def take(path: str) -> bool:
    """Take a lock file for the rest of this process; False when another process has it."""
    for _ in range(10):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        if _is_held(path):
            _held.append(lock)
            return True
        lock.release()
    return False


def release(path: str) -> None:
    """Let go of a lock that take() has taken."""
    for lock in [lock for lock in _held if lock.lock_file == path]:
        _held.remove(lock)
        lock.release()


def _is_held(path: str) -> bool:
    """Say whether this process holds a flock on the file that is now at path."""
    if not _is_open_here(os.path.realpath(path)):
        return False
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_open_here(path: str) -> bool:
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}") == path:
                return True
        except OSError:
            continue
    return False
