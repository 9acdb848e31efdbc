"""Becoming another user: for good (a service) or for a while (a mailbox).

Every change is verified; a change that cannot be verified raises, so nothing goes on with
rights it should not have. Effective ids are for single-threaded processes only: glibc shares
groups among threads.
"""

import contextlib
import os
import pwd
from collections.abc import Iterator


def drop_to(user: str) -> None:
    """Become a system user for good: groups, real, effective and saved ids.

    Raises KeyError for an unknown user, PermissionError when the change did not hold.
    """
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if os.getresuid() != (entry.pw_uid,) * 3 or os.getresgid() != (entry.pw_gid,) * 3:
        raise PermissionError(f"could not become {user}")
    with contextlib.suppress(PermissionError):
        os.setuid(0)
        raise RuntimeError("root could be regained")


@contextlib.contextmanager
def effective(uid: int, gid: int, groups: list[int]) -> Iterator[None]:
    """Act as a user for the length of the block; the real uid stays root.

    As an ordinary user this does nothing. Raises PermissionError when the change did not hold.
    """
    if os.getuid() != 0:
        yield
        return
    try:
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        if (os.geteuid(), os.getegid()) != (uid, gid):
            raise PermissionError(f"could not act as uid {uid} gid {gid}")
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])
