"""The dot-lock."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendmail_py.delivery import mailbox_lock
from sendmail_py.delivery.mailbox_lock import Busy, DotLock, lock_file


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_lock_holds_our_pid_and_leaves_nothing_behind(tmp_path: Path, directory: int) -> None:
    lock = DotLock(directory, "bob")
    assert lock.acquire(500)
    assert (tmp_path / "bob.lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(Busy):
        DotLock(directory, "bob").acquire(500)
    assert os.listdir(tmp_path) == ["bob.lock"]
    lock.release()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_another_has_replaced_is_left_alone(tmp_path: Path, directory: int) -> None:
    lock = DotLock(directory, "bob")
    lock.acquire(500)
    (tmp_path / "other").write_text("1\n")
    (tmp_path / "other").rename(tmp_path / "bob.lock")
    lock.release()
    assert (tmp_path / "bob.lock").read_text() == "1\n"


def test_a_long_held_lock_is_kept_fresh(tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = DotLock(directory, "bob")
    lock.acquire(500)
    os.utime(tmp_path / "bob.lock", (1000, 1000))
    lock.keep_fresh()
    assert (tmp_path / "bob.lock").stat().st_mtime == 1000
    monkeypatch.setattr(mailbox_lock, "KEEP_FRESH_SECONDS", -1)
    lock.keep_fresh()
    assert (tmp_path / "bob.lock").stat().st_mtime > time.time() - 3600


def test_where_no_lock_may_be_made_there_is_none(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert not DotLock(directory, "bob").acquire(500)


def test_a_lock_of_fcntl_held_by_another_process_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "bob"
    path.touch()
    program = (
        f"import fcntl, sys; f = open({str(path)!r}, 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print(1, flush=True); sys.stdin.read()"
    )
    with (
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        path.open("r+b") as box,
    ):
        assert holder.stdout and holder.stdout.readline() == b"1\n"
        with pytest.raises(Busy):
            lock_file(box.fileno())
        holder.communicate(timeout=60)
        lock_file(box.fileno())
        fcntl.lockf(box, fcntl.LOCK_UN)
