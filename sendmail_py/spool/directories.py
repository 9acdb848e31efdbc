"""Creating and checking the directories of the queue.

Services only check; set-up (or `mailctl init`) creates. Nothing but the directories themselves
is touched, and no link is followed.
"""

import errno
import posix

from ..core.errors import SpoolError
from .layout import COMPLETE_MODE, LOCK, MAILDROP, MAILDROP_MODE, PRIVATE, TRIGGER, UNFINISHED_MODE

_TYPE = 0o170000
_DIRECTORY = 0o040000
_FIFO = 0o010000
# Nothing can be tried there then; and the services have to start all the same: what they deliver makes room.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ONE_FILE_SYSTEM = tuple(name for name in PRIVATE if name != LOCK)  # a message changes its queue by a rename


def create(top: str, uid: int, gid: int) -> list[str]:
    """Create or mend the queue's directories and FIFO; returns a line for each thing done.

    Only the directories themselves are touched, never what they hold, and no link is followed.
    As root the top belongs to root. Raises SpoolError for a name that is something else.
    """
    done = []
    as_root = posix.getuid() == 0
    done += _directory(top, 0o755 if as_root else 0o700, 0 if as_root else uid, 0 if as_root else gid)
    for name in PRIVATE:
        done += _directory(f"{top}/{name}", 0o700, uid, gid)
    done += _directory(f"{top}/{MAILDROP}", MAILDROP_MODE, uid, gid)
    done += _fifo(f"{top}/{TRIGGER}", uid, gid)
    return done


def _directory(path: str, mode: int, uid: int, gid: int) -> list[str]:
    try:
        posix.mkdir(path, 0o700)
        made = True
    except FileExistsError:
        made = False
    return _settle(path, _DIRECTORY, mode, uid, gid, made)


def _fifo(path: str, uid: int, gid: int) -> list[str]:
    try:
        posix.mkfifo(path, 0o600)
        made = True
    except FileExistsError:
        made = False
    return _settle(path, _FIFO, 0o622, uid, gid, made)


def _settle(path: str, kind: int, mode: int, uid: int, gid: int, made: bool) -> list[str]:
    status = posix.lstat(path)
    if status.st_mode & _TYPE != kind:
        raise SpoolError(f"{path} is in the way: not a {'directory' if kind == _DIRECTORY else 'FIFO'}")
    if (status.st_uid, status.st_gid) != (uid, gid):
        posix.chown(path, uid, gid, follow_symlinks=False)
    elif status.st_mode & 0o7777 == mode:
        return [f"created {path}"] if made else []
    posix.chmod(path, mode)
    return [f"{'created' if made else 'repaired'} {path}"]


def check(top: str, uid: int) -> None:
    """Check the directories that a service needs, and that maildrop/ does what it promises.

    Raises SpoolError with the command that repairs it.
    """
    for name in (*PRIVATE, MAILDROP, TRIGGER):
        path = f"{top}/{name}"
        try:
            status = posix.lstat(path)
        except OSError as error:
            raise SpoolError(f"{path}: {error.strerror}; create the queue with `mailctl setup`") from error
        if name in _ONE_FILE_SYSTEM and status.st_dev != posix.stat(top).st_dev:
            raise SpoolError(f"{path} is on another file system than {top}: no message can be moved there")
        if status.st_uid != uid:
            raise SpoolError(f"{path} belongs to uid {status.st_uid}, not to {uid}; repair it with `mailctl setup`")
        wanted = _FIFO | 0o622 if name == TRIGGER else _DIRECTORY | (MAILDROP_MODE if name == MAILDROP else 0o700)
        if status.st_mode != wanted:
            raise SpoolError(
                f"{path} has mode {status.st_mode & 0o7777:o}, not {wanted & 0o7777:o}; repair it with `mailctl setup`"
            )
    try:
        _probe(f"{top}/{MAILDROP}")
    except OSError as error:
        if error.errno not in _FULL:
            raise SpoolError(f"{top}/{MAILDROP}: {error.strerror}") from error


def elsewhere(top: str) -> list[str]:
    """Return the queues that are on another file system than the top."""
    device = posix.stat(top).st_dev
    return [f"{top}/{name}" for name in _ONE_FILE_SYSTEM if posix.lstat(f"{top}/{name}").st_dev != device]


def _probe(maildrop: str) -> None:
    """Create a file to see that the group is inherited here (overlayfs, NFS, fsGroup volumes may differ)."""
    path = f"{maildrop}/.probe.{posix.getpid()}"
    try:
        posix.unlink(path)  # of a process of this number that was killed here
    except FileNotFoundError:
        pass
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, UNFINISHED_MODE)
    try:
        posix.fchmod(descriptor, COMPLETE_MODE)
        status = posix.fstat(descriptor)
        if status.st_gid != posix.stat(maildrop).st_gid or status.st_mode & 0o7777 != COMPLETE_MODE:
            raise SpoolError(
                f"{maildrop}: files here do not inherit the directory's group; this file system cannot hold the queue"
            )
    finally:
        posix.close(descriptor)
        posix.unlink(path)
