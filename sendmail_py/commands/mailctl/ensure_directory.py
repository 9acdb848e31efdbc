"""Making a directory, or mending its owner and mode, where others may have put something in its place."""

import os
import stat
from collections.abc import Iterator


def ensure_directory(path: str, mode: int, uid: int, gid: int) -> Iterator[str]:
    """Create a directory or mend its owner and mode, through a descriptor, so that no link is followed."""
    try:
        os.mkdir(path, 0o700)
        done = f"created {path}"
    except FileExistsError:
        done = ""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) != (uid, gid, mode):
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            done = done or f"repaired {path}"
    finally:
        os.close(descriptor)
    if done:
        yield done
