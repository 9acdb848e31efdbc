"""Who may not submit just now: the list that pickup publishes in maildrop/, as sendmail(1) reads it."""

import posix

from .layout import BLOCKED, MAILDROP

_LIMIT = 262144


def blocked_until(top: str, uid: int) -> int:
    """Return until when pickup says that a user may not submit, in seconds since the epoch; 0 when it says nothing."""
    path = f"{top}/{MAILDROP}"
    try:
        descriptor = posix.open(
            f"{path}/{BLOCKED}", posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
        )
    except OSError:
        return 0
    try:
        status = posix.fstat(descriptor)
        # Anybody can create a file of this name while there is none.
        if status.st_mode & 0o170000 != 0o100000 or status.st_uid != posix.stat(path).st_uid:
            return 0
        text = posix.read(descriptor, _LIMIT)
    except OSError:
        return 0
    finally:
        posix.close(descriptor)
    rows = (line.split() for line in text.split(b"\n"))
    return next((int(row[1]) for row in rows if len(row) > 1 and row[0] == str(uid).encode()), 0)
