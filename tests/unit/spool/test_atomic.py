"""Renames into hash directories that may not be there yet; files that get their names late."""

import errno
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sendmail_py.spool import atomic


def test_threads_that_need_the_same_new_directory_all_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deferred").mkdir()
    names = [f"m{n}" for n in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    together = threading.Barrier(len(names), timeout=60)
    exists = atomic.os.path.lexists

    def all_see_it_missing(path: str) -> bool:
        together.wait()
        return exists(path)

    monkeypatch.setattr(atomic.os.path, "lexists", all_see_it_missing)
    errors: list[OSError] = []

    def rename(name: str) -> None:
        try:
            atomic.rename(f"{tmp_path}/{name}", f"{tmp_path}/deferred/AB/{name}")
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=rename, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert sorted(path.name for path in (tmp_path / "deferred" / "AB").iterdir()) == names


def test_a_directory_that_another_thread_has_made_since_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deferred").mkdir()
    (tmp_path / "m").write_bytes(b"")
    exists = atomic.os.path.lexists

    def while_the_other_makes_it(path: str) -> bool:
        (tmp_path / "deferred" / "AB").mkdir()
        return exists(path)

    monkeypatch.setattr(atomic.os.path, "lexists", while_the_other_makes_it)
    atomic.rename(f"{tmp_path}/m", f"{tmp_path}/deferred/AB/m")
    assert (tmp_path / "deferred" / "AB" / "m").exists()


def test_a_missing_source_stays_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.rename(f"{tmp_path}/nothing", f"{tmp_path}/target")


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    assert atomic.names_late(str(tmp_path))
    descriptor = atomic.create_nameless(str(tmp_path), 0o400)
    try:
        atomic.write_all(descriptor, (b"whole",))
        assert list(tmp_path.iterdir()) == []
        atomic.give_name(descriptor, f"{tmp_path}/name")
    finally:
        os.close(descriptor)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("name", b"whole")]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EBADF])
def test_a_host_where_files_have_names_from_the_beginning_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))  # /proc is missing or closed, or the file system has no links

    monkeypatch.setattr(atomic.os, "link", refused)
    assert not atomic.names_late(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.EROFS])
def test_what_passes_by_itself_says_nothing_about_what_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(OSError, match=re.escape(os.strerror(number))):
        patch.setattr(atomic.os, "link", failing)
        atomic.names_late(str(tmp_path))
    assert atomic.names_late(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_threads_that_find_out_together_all_find_the_same(tmp_path: Path) -> None:
    (tmp_path / f"name.{os.getpid()}").write_bytes(b"")  # of another that was killed
    together = threading.Barrier(6, timeout=60)

    def find_out(_: int) -> bool:
        together.wait()
        return atomic.names_late(str(tmp_path))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(find_out, range(6))) == [True] * 6
    assert list(tmp_path.iterdir()) == []
