"""The role lock: one holder, freed by its death, and never held on nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest

from sendmail_py.spool import lock

ROOT = Path(__file__).resolve().parents[3]
_HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from sendmail_py.spool.lock import take
print(take(sys.argv[2]), flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(path: Path) -> Iterator[tuple[subprocess.Popen[str], bool]]:
    """Yield a process that tried to take the lock, and whether it got it."""
    words = [sys.executable, "-c", _HOLDER, str(ROOT), str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline() == "True\n"
        finally:
            process.kill()
            process.wait(60)


def test_a_lock_is_one_processs_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "qmgr"
    with another_process(path) as (holder, got_it):
        assert got_it
        assert not lock.take(str(path))
        holder.send_signal(signal.SIGKILL)
        holder.wait(60)
        assert lock.take(str(path))
    with another_process(path) as (_, got_it):
        assert not got_it


def test_a_lock_file_unlinked_under_its_holder_is_not_mistaken_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "qmgr"
    assert lock.take(str(path))
    path.unlink()
    path.write_bytes(b"")
    assert not lock._is_held(str(path))
    assert lock.take(str(path)) and lock._is_held(str(path))


def test_a_soft_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "FileLock", filelock.SoftFileLock)
    assert not lock.take(str(tmp_path / "qmgr"))


def test_a_lock_held_by_another_process_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "qmgr"
    with another_process(path) as (_, got_it):
        assert got_it
        assert not lock._is_held(str(path))


def test_a_program_that_is_started_does_not_inherit_the_lock(tmp_path: Path) -> None:
    assert lock.take(str(tmp_path / "qmgr"))
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        assert target != str(tmp_path / "qmgr") or not os.get_inheritable(int(number))
