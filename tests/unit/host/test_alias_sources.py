"""The kinds of alias maps on a real disk, and whose rights what they name is used with."""

import os
import sqlite3
from pathlib import Path

import pytest

from sendmail_py.host import sqlite
from sendmail_py.host.alias_files import AliasFiles, source_of
from sendmail_py.host.alias_sources import read_include

is_root = pytest.mark.real(root=True)


def found(name: str, *sources: str) -> tuple[list[str], int] | None:
    alias = AliasFiles(sources, print).look_up(name)
    return None if alias is None else ([str(target) for target in alias.targets], alias.uid)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return the sqlite_table file of a database with a few aliases."""
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("CREATE TABLE aliases (name TEXT, target TEXT)")
        rows = [("sales", "alice, bob@far.example"), ("two", "a"), ("two", "b"), ("none", ""), ("o'hara", "|prog x")]
        connection.executemany("INSERT INTO aliases VALUES (?, ?)", rows)
    connection.close()
    path = tmp_path / "aliases.cf"
    path.write_text(f"dbpath = {tmp_path}/db\nquery = SELECT target FROM aliases WHERE name = '%s'\n")
    return path


def test_an_sqlite_database_is_asked_for_each_name(database: Path) -> None:
    source = f"sqlite:{database}"
    assert found("sales", source) == (["alice", "bob@far.example"], -1)
    assert found("two", source) == (["a", "b"], -1)
    assert found("o'hara", source) == (["|prog x"], -1)
    assert found("none", source) is None and found("nobody", source) is None


def test_a_database_that_cannot_be_asked_is_an_error_and_not_an_empty_one(database: Path, tmp_path: Path) -> None:
    os.rename(tmp_path / "db", tmp_path / "away")
    with pytest.raises(OSError):
        found("sales", f"sqlite:{database}")
    (tmp_path / "db").write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match="not a database"):
        found("sales", f"sqlite:{database}")
    with pytest.raises(OSError):
        found("sales", f"sqlite:{tmp_path}/missing.cf")


def test_a_query_without_end_is_stopped(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SECONDS", 0.1)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n WHERE '%s' != ''"
    database.write_text(f"dbpath = {tmp_path}/db\nquery = {endless}\n")
    with pytest.raises(OSError, match="interrupted"):
        found("sales", f"sqlite:{database}")


def test_pattern_tables_and_text_stand_together_and_the_first_that_has_a_name_decides(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("team1: carol\n")
    (tmp_path / "patterns").write_text("/^team/ alice, bob\n")
    text, patterns = f"hash:{tmp_path}/text", f"regexp:{tmp_path}/patterns"
    assert found("team1", text, patterns) == (["carol"], -1)
    assert found("team1", patterns, text) == (["alice", "bob"], -1) == found("team2", text, f"pcre:{tmp_path}/patterns")
    assert found("other", text, patterns) is None


def test_a_pattern_table_with_a_fault_is_an_error_for_every_name_for_it_may_mean_any(tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text("/^team/ alice\n/unclosed\n")
    with pytest.raises(ValueError, match="patterns, line 2: "):
        found("other", f"regexp:{tmp_path}/patterns")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        found("x", f"{tmp_path}/fifo")
    with pytest.raises(OSError, match="not a regular file"):
        read_include(f"{tmp_path}/fifo", -1)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="absolute"):
        source_of("hash:aliases")


@is_root
def test_the_rights_are_those_of_the_owner_and_default_privs_for_root(tmp_path: Path) -> None:
    for name, text in (("text", "a: |prog\n"), ("patterns", "/^a/ |prog\n")):
        path = tmp_path / name
        path.write_text(text)
        source = f"{'regexp:' if name == 'patterns' else ''}{path}"
        assert found("a", source) == (["|prog"], -1)
        os.chown(path, 1234, -1)
        assert found("a", source) == (["|prog"], 1234)


@is_root
@pytest.mark.parametrize("who", ["aliases.cf", "db"])
def test_a_database_has_the_rights_of_whoever_may_change_what_it_says(database: Path, tmp_path: Path, who: str) -> None:
    os.chown(tmp_path / who, 1234, -1)
    assert found("sales", f"sqlite:{database}") == (["alice", "bob@far.example"], 1234)


@is_root
def test_a_user_may_include_his_own_files_and_those_that_everybody_may_read(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("bob\n")
    path.chmod(0o640)
    assert list(read_include(str(path), -1)[1]) == ["bob\n"]
    with pytest.raises(OSError, match="uid 1234, who owns the alias, may not read it"):
        read_include(str(path), 1234)
    path.chmod(0o644)
    assert read_include(str(path), 1234)[0] == -1
    path.chmod(0o600)
    os.chown(path, 1234, -1)
    owner, lines = read_include(str(path), 1234)
    assert (owner, list(lines)) == (1234, ["bob\n"])


@is_root
@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "linked directory"])
def test_a_list_behind_a_link_has_nobodys_rights(tmp_path: Path, kind: str) -> None:
    (tmp_path / "theirs").mkdir()
    path = tmp_path / "theirs" / "notes"
    path.write_text("|program\n")
    os.chown(path, 1234, -1)
    assert read_include(str(path), -1)[0] == 1234
    link = tmp_path / "list"
    if kind == "symbolic link":
        link.symlink_to(path)
    elif kind == "hard link":
        link.hardlink_to(path)
    else:
        link.symlink_to(tmp_path / "theirs")
        link /= "notes"
    owner, lines = read_include(str(link), -1)
    assert (owner, list(lines)) == (-1, ["|program\n"])


@is_root
@pytest.mark.parametrize("kind", ["", "regexp:"])
def test_an_alias_file_behind_a_link_has_nobodys_rights(tmp_path: Path, kind: str) -> None:
    path, link = tmp_path / "theirs", tmp_path / "aliases"
    path.write_text("a: |program\n" if not kind else "/^a$/ |program\n")
    os.chown(path, 1234, -1)
    link.symlink_to(path)
    assert found("a", f"{kind}{path}") == (["|program"], 1234)
    assert found("a", f"{kind}{link}") == (["|program"], -1)
