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
