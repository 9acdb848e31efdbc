"""Who may start a queue manager of his own, and beside whom."""

import os
from pathlib import Path

import pytest

from sendmail_py.commands import daemonless
from sendmail_py.core.config import Config, Setting
from sendmail_py.spool.store import Store


def config_of(store: Store, run: Path, value: str = "yes") -> Config:
    settings = {"queue_directory": store.top, "run_directory": str(run), "daemonless": value}
    return Config({name: Setting(text, "test") for name, text in settings.items()})


def test_root_and_the_owner_of_the_queue_may_and_nobody_else(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.getuid()
    config = config_of(store, tmp_path)
    answers = []
    for uid in (0, owner, owner + 1):
        monkeypatch.setattr(os, "getuid", lambda uid=uid: uid)
        answers.append(daemonless.may_run(config))
    assert answers == [True, True, False]
    monkeypatch.setattr(os, "getuid", lambda: owner)
    assert not daemonless.may_run(config_of(store, tmp_path, "no"))


def test_without_a_queue_nobody_may(tmp_path: Path) -> None:
    assert not daemonless.may_run(config_of(Store(f"{tmp_path}/nowhere"), tmp_path))


def test_without_a_master_no_services_stay(store: Store, tmp_path: Path) -> None:
    assert not daemonless.services_stay(config_of(store, tmp_path / "no run directory"))
    (tmp_path / "master.lock").touch()
    assert not daemonless.services_stay(config_of(store, tmp_path))
