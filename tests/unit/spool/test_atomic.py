"""Renames into hash directories that may not be there yet."""

import threading
from pathlib import Path

import pytest

from sendmail_py.spool import atomic


def test_threads_that_need_the_same_new_directory_all_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deferred").mkdir()
    names = [f"m{n}" for n in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    together = threading.Barrier(len(names), timeout=10)
    is_directory = atomic.os.path.isdir

    def all_see_it_missing(path: str) -> bool:
        found = is_directory(path)
        together.wait()
        return found

    monkeypatch.setattr(atomic.os.path, "isdir", all_see_it_missing)
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
        thread.join(20)
    assert errors == []
    assert sorted(path.name for path in (tmp_path / "deferred" / "AB").iterdir()) == names


def test_a_missing_source_stays_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.rename(f"{tmp_path}/nothing", f"{tmp_path}/target")
