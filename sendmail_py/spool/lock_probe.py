"""Whether somebody has a lock, for those who only look: sendmail(1), which sees no library."""

import fcntl
import os


def is_taken(path: str) -> bool:
    """Say whether another process has a lock, without waiting for it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
