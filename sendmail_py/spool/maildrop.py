"""Writing into maildrop/: the submitter's half of the promise that accepted mail is safe.

A file is created under its final name, mode 0600 (being written); it gets mode 0640 (complete)
and is then fsynced, in this order, because on ext4 and XFS the fsync that follows is what makes
both the name and the mode last. After finish() returned, the mail survives a power cut.
Everything else removes the file again. Light: imported by sendmail(1).
"""

import posix
import time

from ..core.mail_error import SpoolError
from .layout import COMPLETE_MODE, INCOMING, MAILDROP, MAILDROP_MODE, TRIGGER, UNFINISHED_MODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_FLAGS = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW
_LONG_SILENCE = 24 * 3600  # pickup removes what has been silent for 36 hours
_NAME = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-"


def is_name(name: str) -> bool:
    """Say whether pickup looks at a file of this name."""
    return 0 < len(name) <= 64 and name[0] != "." and not name.strip(_NAME)


def _is_kept_out(error: OSError) -> bool:
    """Say whether this is what a caller meets whose unit, container or mount keeps it out of the spool."""
    import errno  # only here: a plain submission starts faster without it

    # EOVERFLOW: a user namespace in which the caller has no uid
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EOVERFLOW)


def check_space(top: str, message_size_limit: int, queue_minfree: int) -> None:
    """Refuse mail while there is little room; raises SpoolError (exit 75).

    For who is kept out of the spool nothing is checked: a Drop will tell.
    """
    try:
        room = posix.statvfs(top)
    except OSError as error:
        if _is_kept_out(error):
            return
        raise SpoolError(f"queue {top}: {error.strerror}") from error
    free = room.f_bavail * room.f_frsize
    if free < max(message_size_limit * 3 // 2, queue_minfree) or (room.f_files and not room.f_favail):
        raise SpoolError(f"queue {top}: not enough free space ({free} octets)")


class Drop:
    """One file being written into maildrop/. Its methods raise SpoolError, and then it is gone.

    Its error says no_way_in when it is the caller who cannot create files there.
    """

    queue_id = ""  # pickup will give it one, from the identity of the finished file: ctime in nanoseconds, inode
    identity = (0, 0)

    def __init__(self, top: str) -> None:
        self.top = top
        try:
            self._create()
        except OSError as error:
            failure = SpoolError(f"queue {top}/{MAILDROP}: {error.strerror}")
            failure.no_way_in = _is_kept_out(error)
            raise failure from error

    def _create(self) -> None:
        self.path = ""
        while not self.path:
            name = f"{time.time_ns() // 1000:013X}.{posix.getpid():X}"
            path = f"{self.top}/{MAILDROP}/{name}"
            try:
                self.descriptor = posix.open(path, _FLAGS, UNFINISHED_MODE)
            except FileExistsError:
                continue
            self.name, self.path = name, path

    def write(self, data: bytes) -> None:
        """Append octets."""
        try:
            while data:
                data = data[posix.write(self.descriptor, data) :]
        except OSError as error:
            self.abandon()
            raise SpoolError(f"queue file: write: {error.strerror}") from error

    def rewrite(self, offset: int, data: bytes) -> None:
        """Overwrite octets at an offset."""
        try:
            if posix.pwrite(self.descriptor, data, offset) != len(data):
                raise OSError(5, "short write")
        except OSError as error:
            self.abandon()
            raise SpoolError(f"queue file: write: {error.strerror}") from error

    def finish(self) -> None:
        """Make the file complete and durable. From here the mail is safe.

        What can be refused is looked at before: pickup may deliver what is complete, and a refusal would have it sent
        once more. Only its fsync comes later; one that fails counts where pickup was not faster.
        """
        try:
            status = self._checked()
            posix.fchmod(self.descriptor, COMPLETE_MODE)
        except OSError as error:
            self._refuse(f"queue file: {error.strerror}", error)
        try:
            posix.fsync(self.descriptor)
        except OSError as error:
            if _is_there(self.path):
                self._refuse(f"queue file: {error.strerror}", error)
        try:
            status = posix.fstat(self.descriptor)
            if status.st_mode & 0o7777 != COMPLETE_MODE:  # nobody delivers this
                self._refuse(f"queue {self.top}/{MAILDROP}: files get another mode than they are given")
            posix.close(self.descriptor)
        except OSError:
            pass  # everything is on disk: an error here takes nothing back
        self.identity = (status.st_ctime_ns, status.st_ino)

    def _checked(self) -> posix.stat_result:
        """Return the status of the file, which pickup will take; raises OSError."""
        status = posix.fstat(self.descriptor)
        if not status.st_nlink or time.time() - status.st_mtime > _LONG_SILENCE:
            self._write_again()
            status = posix.fstat(self.descriptor)
        parent = posix.stat(f"{self.top}/{MAILDROP}")
        owner = posix.stat(f"{self.top}/{INCOMING}").st_uid
        if parent.st_mode & 0o7777 != MAILDROP_MODE or parent.st_uid != owner or status.st_gid != parent.st_gid:
            self._refuse(f"queue {self.top}/{MAILDROP}: wrong owner, group or mode; repair it with `mailctl setup`")
        return status

    def _refuse(self, text: str, error: "OSError | None" = None) -> "NoReturn":
        self.abandon()
        raise SpoolError(text) from error

    def _write_again(self) -> None:
        """Write what the file holds into a new one: what is silent for too long is removed by pickup, perhaps now."""
        old, offset = self.descriptor, 0
        name = self.path if posix.fstat(old).st_nlink else ""
        try:
            self._create()
            while data := posix.pread(old, 65536, offset):
                offset += len(data)
                while data:
                    data = data[posix.write(self.descriptor, data) :]
        finally:
            posix.close(old)
            _remove(name)

    def announce(self) -> None:
        """Tell pickup about the finished file."""
        poke(self.top, self.name)

    def abandon(self) -> None:
        """Remove the file: nothing was accepted."""
        _remove(self.path)
        try:
            posix.close(self.descriptor)
        except OSError:
            pass


def _is_there(path: str) -> bool:
    try:
        posix.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except OSError:
        pass


def poke(top: str, name: str) -> None:
    """Tell pickup about a new file; when nobody listens, it is found later. Never raises OSError."""
    try:
        descriptor = posix.open(f"{top}/{TRIGGER}", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
        try:
            posix.write(descriptor, b"\n" + name.encode() + b"\n")  # a line of its own, whatever stands before it
        finally:
            posix.close(descriptor)
    except OSError:
        pass
