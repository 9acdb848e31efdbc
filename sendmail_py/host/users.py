"""System users: who exists, asked so that "unknown" and "cannot tell just now" stay apart.

Python's pwd module raises KeyError for both, and a broken LDAP server would bounce everybody's
mail; so getpwnam_r is called itself. Answers are kept for a few seconds, because one batch of
mail follows another to the same users.
"""

import ctypes
import errno
import os
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

CACHE_SECONDS = 5.0
_CACHE_SIZE = 1000
_BUFFER_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class User:
    """One entry of the user data base; groups are all groups of the user, its own among them."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    gecos: str
    groups: tuple[int, ...] = ()


class _Passwd(ctypes.Structure):
    """The struct passwd of Linux, the same in glibc and musl."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("password", ctypes.c_char_p),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("gecos", ctypes.c_char_p),
        ("home", ctypes.c_char_p),
        ("shell", ctypes.c_char_p),
    )


_LIBC = ctypes.CDLL(None)


def by_name(name: str) -> User | None:
    """Look a user up; None when there is no such user. Raises OSError when that cannot be told."""
    octets = name.encode("utf-8", "surrogateescape")
    if not octets or b"\0" in octets:
        return None
    return _look_up(_LIBC.getpwnam_r, ctypes.c_char_p(octets))


def by_uid(uid: int) -> User | None:
    """Look a user up by number; None when there is none. Raises OSError when that cannot be told."""
    return _look_up(_LIBC.getpwuid_r, ctypes.c_uint32(uid))


def usable_as_file_name(name: str) -> bool:
    """Say whether a user's name can be the name of a mailbox file."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _look_up(function: Callable[..., int], key: object) -> User | None:
    size = 1024
    while True:
        entry, found, buffer = _Passwd(), ctypes.c_void_p(), ctypes.create_string_buffer(size)
        code = function(key, ctypes.byref(entry), buffer, ctypes.c_size_t(size), ctypes.byref(found))
        if code == errno.EINTR:
            continue
        if code != errno.ERANGE or size >= _BUFFER_LIMIT:
            break
        size *= 4
    if code == errno.ENOENT:  # not "no such entry", which is 0: an LDAP module says it whose daemon is down
        raise OSError(errno.EAGAIN, "the name service does not answer")
    if code not in (0, errno.ESRCH):
        raise OSError(code, os.strerror(code))
    return _user(entry) if found.value else None


def _user(entry: _Passwd) -> User:
    name, home, shell, gecos = (
        (octets or b"").decode("utf-8", "surrogateescape")
        for octets in (entry.name, entry.home, entry.shell, entry.gecos)
    )
    return User(name, entry.uid, entry.gid, home, shell, gecos, tuple(os.getgrouplist(name, entry.gid)))


Key = TypeVar("Key", bound=Hashable)


class _Cache(Generic[Key]):
    """Look-ups, each answer kept for a few seconds; a failure is not kept."""

    def __init__(self, look_up: Callable[[Key], User | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._kept: dict[Key, tuple[float, User | None]] = {}

    def find(self, key: Key) -> User | None:
        """Return the user, or None when there is none; raises OSError when that cannot be told."""
        now = self._clock()
        kept = self._kept.get(key)
        if kept and now - kept[0] < CACHE_SECONDS:
            return kept[1]
        user = self._ask(key)
        if len(self._kept) >= _CACHE_SIZE:
            self._kept.clear()
        self._kept[key] = now, user
        return user

    def _ask(self, key: Key) -> User | None:
        return self._look_up(key)


class UidCache(_Cache[int]):
    """Look-ups by number."""

    def __init__(self, look_up: Callable[[int], User | None] = by_uid) -> None:
        super().__init__(look_up)


class UserCache(_Cache[str]):
    """Look-ups by name as mail needs them: as given or in lower case, and only what can name a file."""

    def __init__(
        self, look_up: Callable[[str], User | None] = by_name, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(look_up, clock)

    def _ask(self, key: str) -> User | None:
        for spelling in dict.fromkeys((key, key.lower())):
            user = self._look_up(spelling) if usable_as_file_name(spelling) else None
            if user and usable_as_file_name(user.name):
                return user
        return None
