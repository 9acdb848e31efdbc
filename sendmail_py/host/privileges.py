"""Becoming another user: for good (a service) or for a while (a mailbox).

Every change is verified; a change that cannot be verified raises, so nothing goes on with
rights it should not have. Effective ids are for single-threaded processes only: glibc shares
groups among threads.
"""

import contextlib
import os
import pwd
from collections.abc import Iterator

_one_user = False


def stay_one_user() -> None:
    """Never act as another user in this process: root runs an instance of its own."""
    global _one_user
    _one_user = True


def acts_for_others() -> bool:
    """Say whether this process can be another user for a while: root, unless it is to stay one user."""
    return os.getuid() == 0 and not _one_user


class RightsError(RuntimeError):
    """The process does not have the rights it must have now. No OSError, so that no delivery takes it for its own."""


def drop_to(user: str) -> None:
    """Become a system user for good: groups, real, effective and saved ids.

    Raises KeyError for an unknown user, RightsError when the change did not hold.
    """
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if os.getresuid() != (entry.pw_uid,) * 3 or os.getresgid() != (entry.pw_gid,) * 3:
        raise RightsError(f"could not become {user}")
    with contextlib.suppress(PermissionError):
        os.setuid(0)
        raise RightsError("root could be regained")


@contextlib.contextmanager
def effective(uid: int, gid: int, groups: list[int]) -> Iterator[None]:
    """Act as a user for the length of the block; the real uid stays root.

    As an ordinary user, and after stay_one_user(), this does nothing. Raises RightsError when the
    change, or the way back, did not hold: the process must end then.
    """
    if not acts_for_others():
        yield
        return
    try:
        _switch(uid, gid, groups)
        yield
    finally:
        os_error = _back()
        if os_error:
            raise RightsError("could not become root again") from os_error


def _switch(uid: int, gid: int, groups: list[int]) -> None:
    try:
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
    except OSError as error:
        raise RightsError(f"could not act as uid {uid} gid {gid}") from error
    if (os.geteuid(), os.getegid()) != (uid, gid):
        raise RightsError(f"could not act as uid {uid} gid {gid}")


def _back() -> OSError | None:
    try:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])
    except OSError as error:
        return error
    return None
