"""mailctl setup: its single steps. The whole, on a machine of its own, is an integration test."""

import os
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.ensure_directory import ensure_directory
from sendmail_py.commands.mailctl.setup import ensure_user, main, with_root_alias
from sendmail_py.core.exitcodes import EX_NOPERM, EX_USAGE

UID, GID = os.getuid(), os.getgid()


def test_without_root_it_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main([], str(tmp_path / "etc")) == EX_NOPERM
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize(
    "address", ["", "root", "Root", "|program", "/file", ":include:/x", "a b", "a,b", '"|x"', "a\nb"]
)
def test_root_alias_takes_one_plain_address_and_not_root(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["--root-alias", address], str(tmp_path)) == EX_USAGE


def test_a_user_that_exists_is_left_alone() -> None:
    commands: list[list[str]] = []
    assert list(ensure_user("root", commands.append)) == []
    assert commands == []


def test_a_missing_user_is_created_as_a_system_user_without_home_or_shell() -> None:
    commands: list[list[str]] = []
    assert list(ensure_user("no-such-user-x", commands.append)) == ["created user no-such-user-x"]
    [command] = commands
    assert command[0] == "useradd"
    assert {"--system", "--no-create-home", "/usr/sbin/nologin", "/nonexistent", "--user-group"} < set(command)


def test_a_group_that_exists_already_becomes_the_new_users_group(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("grp.getgrnam", lambda name: name)
    list(ensure_user("no-such-user-x", commands.append))
    assert "--gid" in commands[0]
    assert "--user-group" not in commands[0]


def test_a_directory_is_created_with_its_mode_and_then_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    assert list(ensure_directory(path, 0o700, UID, GID)) == [f"created {path}"]
    assert os.stat(path).st_mode & 0o7777 == 0o700
    assert list(ensure_directory(path, 0o700, UID, GID)) == []


def test_a_directory_with_another_mode_is_repaired_and_its_files_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o755)
    (path / "file").touch(0o644)
    assert list(ensure_directory(str(path), 0o700, UID, GID)) == [f"repaired {path}"]
    assert (path / "file").stat().st_mode & 0o7777 == 0o644


def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (tmp_path / "state").symlink_to(target)
    with pytest.raises(OSError, match="state"):
        list(ensure_directory(str(tmp_path / "state"), 0o700, UID, GID))
    assert target.stat().st_mode & 0o7777 == 0o755


def test_roots_alias_is_added_at_the_end() -> None:
    assert with_root_alias("", "alice") == "root: alice\n"
    assert with_root_alias("# x\npostmaster: root\n", "alice") == "# x\npostmaster: root\nroot: alice\n"


def test_roots_alias_is_replaced_with_its_continuations_and_repetitions() -> None:
    text = '# root: no\n"Root" : a,\n# between\n  b\nother: x\n  y\nroot: z\n'
    assert with_root_alias(text, "alice") == "# root: no\nroot: alice\n# between\nother: x\n  y\n"


def test_roots_alias_that_is_as_wished_changes_no_octet() -> None:
    text = "a: b\nroot:   alice\n\n# end\n"
    assert with_root_alias(text, "alice") == text
