"""Users: unknown is not the same as unavailable."""

import errno
import os
import pwd

import pytest

from sendmail_py.host import users
from sendmail_py.host.users import User, UserCache


def test_a_user_is_found_as_python_finds_it() -> None:
    for entry in pwd.getpwall()[:10]:
        expected = (entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell, entry.pw_gecos)
        user = users.by_name(entry.pw_name)
        assert user and (user.name, user.uid, user.gid, user.home, user.shell, user.gecos) == expected
        assert set(user.groups) == set(os.getgrouplist(entry.pw_name, entry.pw_gid))


def test_a_user_is_found_by_number() -> None:
    root = users.by_uid(0)
    assert root and root.name == "root"
    assert users.by_uid(4_000_000_123) is None


def test_no_such_user_is_none() -> None:
    assert users.by_name("no-such-user-here") is None
    assert users.by_name("") is None
    assert users.by_name("root\0x") is None


@pytest.mark.parametrize(
    "code, unknown",
    [
        (0, True),
        (errno.ESRCH, True),
        (errno.ENOENT, False),
        (errno.EIO, False),
        (errno.EMFILE, False),
        (errno.ETIMEDOUT, False),
    ],
)
def test_only_no_such_entry_means_unknown(code: int, unknown: bool) -> None:
    def answer(*args: object) -> int:
        return code

    if unknown:
        assert users._look_up(answer, None) is None
    else:
        with pytest.raises(OSError):
            users._look_up(answer, None)


def test_a_buffer_that_is_too_small_is_made_larger() -> None:
    sizes = []

    def answer(key: object, entry: object, buffer: object, size: object, found: object) -> int:
        sizes.append(size.value)  # type: ignore[attr-defined]
        return errno.ERANGE if len(sizes) < 3 else 0

    assert users._look_up(answer, None) is None
    assert sizes == [1024, 4096, 16384]


class Directory:
    """A name service with a counter and a clock."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0
        self.broken = False

    def look_up(self, name: str) -> User | None:
        self.asked.append(name)
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        return User("bob", 1000, 1000, "/home/bob", "/bin/sh", "") if name == "bob" else None


def test_an_answer_is_kept_for_a_few_seconds() -> None:
    directory = Directory()
    cache = UserCache(directory.look_up, lambda: directory.now)
    for _ in range(3):
        assert cache.find("bob") and cache.find("al") is None
    assert directory.asked == ["bob", "al"]
    directory.now = users.CACHE_SECONDS
    assert cache.find("bob")
    assert directory.asked == ["bob", "al", "bob"]


def test_a_name_is_tried_as_given_and_then_in_lower_case() -> None:
    directory = Directory()
    assert UserCache(directory.look_up).find("BOB")
    assert directory.asked == ["BOB", "bob"]


def test_a_failure_is_raised_and_not_kept() -> None:
    directory = Directory()
    cache = UserCache(directory.look_up)
    directory.broken = True
    with pytest.raises(OSError):
        cache.find("bob")
    directory.broken = False
    assert cache.find("bob")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_that_cannot_be_a_file_is_never_asked_for(name: str) -> None:
    directory = Directory()
    assert UserCache(directory.look_up).find(name) is None
    assert directory.asked == []
