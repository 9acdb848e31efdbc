"""The queue's directories: made, checked, mended, and never through a link."""

import os
import stat
from pathlib import Path

import pytest

from sendmail_py.core.errors import SpoolError
from sendmail_py.spool import directories
from sendmail_py.spool.directories import check, create
from sendmail_py.spool.layout import MAILDROP, PRIVATE, TRIGGER

UID, GID = os.getuid(), os.getgid()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    create(f"{tmp_path}/queue", UID, GID)
    return tmp_path / "queue"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_modes_are_right_under_any_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        create(f"{tmp_path}/queue", UID, GID)
    finally:
        os.umask(old)
    top = tmp_path / "queue"
    assert [mode(top / name) for name in PRIVATE] == [0o700] * len(PRIVATE)
    assert mode(top / MAILDROP) == 0o3733
    assert mode(top / TRIGGER) == 0o622 and stat.S_ISFIFO((top / TRIGGER).stat().st_mode)
    assert mode(top) == (0o755 if UID == 0 else 0o700)


def test_a_queue_just_made_passes_the_check_and_is_not_made_again(top: Path) -> None:
    check(str(top), UID)
    assert create(str(top), UID, GID) == []
    assert os.listdir(top / MAILDROP) == []


@pytest.mark.parametrize("name", [*PRIVATE, MAILDROP, TRIGGER])
def test_what_is_missing_or_has_a_wrong_mode_is_named_and_then_mended(top: Path, name: str) -> None:
    path = top / name
    path.chmod(0o711)
    with pytest.raises(SpoolError, match=f"{name} has mode 711.*mailctl setup"):
        check(str(top), UID)
    assert create(str(top), UID, GID) == [f"repaired {path}"]
    check(str(top), UID)
    path.unlink() if name == TRIGGER else path.rmdir()
    with pytest.raises(SpoolError, match=f"{name}: No such file.*mailctl setup"):
        check(str(top), UID)
    assert create(str(top), UID, GID) == [f"created {path}"]
    check(str(top), UID)


@pytest.mark.parametrize("name", [*PRIVATE, MAILDROP, TRIGGER])
def test_a_link_in_the_place_of_a_directory_is_neither_followed_nor_changed(
    top: Path, tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    path = top / name
    path.unlink() if name == TRIGGER else path.rmdir()
    path.symlink_to(elsewhere)
    with pytest.raises(SpoolError, match="is in the way"):
        create(str(top), UID, GID)
    with pytest.raises(SpoolError):
        check(str(top), UID)
    assert mode(elsewhere) == 0o755 and os.listdir(elsewhere) == []


def test_a_file_in_the_place_of_a_directory_is_refused(top: Path) -> None:
    (top / "tmp").rmdir()
    (top / "tmp").write_bytes(b"")
    with pytest.raises(SpoolError, match="not a directory"):
        create(str(top), UID, GID)


def test_a_queue_of_another_user_is_refused(top: Path) -> None:
    with pytest.raises(SpoolError, match="belongs to uid"):
        check(str(top), UID + 1)


def test_making_a_queue_again_leaves_the_mail_in_it_alone(top: Path) -> None:
    message = top / "hold" / "0123456789ABC"
    message.write_bytes(b"mail")
    message.chmod(0o600)
    (top / "hold").chmod(0o777)
    create(str(top), UID, GID)
    assert message.read_bytes() == b"mail" and mode(message) == 0o600


def test_the_probe_that_a_killed_process_left_does_not_hinder_the_next_of_its_number(top: Path) -> None:
    left = top / MAILDROP / f".probe.{os.getpid()}"
    left.write_bytes(b"")
    check(str(top), UID)
    assert not left.exists()


def test_a_file_system_that_does_not_keep_the_mode_of_files_is_refused(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "COMPLETE_MODE", 0o10000 | 0o640)  # a bit that no file system keeps
    with pytest.raises(SpoolError, match="cannot hold the queue"):
        check(str(top), UID)
    assert os.listdir(top / MAILDROP) == []


def test_a_queue_on_another_file_system_is_refused(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert directories.elsewhere(str(top)) == []
    real = os.lstat

    class Posix:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def lstat(self, path: str) -> os.stat_result:
            status = real(path)
            return os.stat_result((*status[:2], 999, *status[3:])) if path.endswith("/deferred") else status

    monkeypatch.setattr(directories, "posix", Posix())
    with pytest.raises(SpoolError, match=r"/deferred is on another file system"):
        check(str(top), UID)
    assert directories.elsewhere(str(top)) == [f"{top}/deferred"]
