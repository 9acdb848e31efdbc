"""The alias files: read as text, in order, and again when they change."""

import os
from pathlib import Path

import pytest

from sendmail_py.host.alias_files import AliasFiles, source_of


def names(aliases: AliasFiles, name: str) -> list[str] | None:
    found = aliases.look_up(name)
    return None if found is None else [target.text for target in found.targets]


@pytest.mark.parametrize(
    "source", ["/etc/aliases", "hash:/etc/aliases", "lmdb:/etc/aliases", "proxy:texthash:/etc/aliases"]
)
def test_a_type_before_the_path_is_accepted(source: str) -> None:
    assert source_of(source).path == "/etc/aliases"


@pytest.mark.parametrize("source", ["ldap:/etc/ldap.cf", "mysql:/x", "nis:mail.aliases"])
def test_a_type_that_is_not_known_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="not supported"):
        AliasFiles([source], print)


def test_the_first_file_that_has_a_name_decides_and_a_missing_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a: first\n")
    (tmp_path / "two").write_text("a: second\nb: second\n")
    aliases = AliasFiles([f"{tmp_path}/none", f"hash:{tmp_path}/one", f"{tmp_path}/two"], print)
    assert (names(aliases, "a"), names(aliases, "b"), names(aliases, "c")) == (["first"], ["second"], None)


def test_a_file_that_changes_comes_or_goes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "aliases"
    aliases = AliasFiles([str(path)], print)
    assert names(aliases, "a") is None
    path.write_text("a: one\n")
    assert names(aliases, "a") == ["one"]
    (tmp_path / "new").write_text("a: two\n")
    os.rename(tmp_path / "new", path)
    assert names(aliases, "a") == ["two"]
    path.unlink()
    assert names(aliases, "a") is None


def test_a_faulty_line_concerns_its_own_name_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "aliases").write_text('good: bob\nbad: "unclosed\n')
    told: list[str] = []
    aliases = AliasFiles([f"{tmp_path}/aliases"], told.append)
    assert names(aliases, "good") == ["bob"] == names(aliases, "good")
    with pytest.raises(ValueError, match="aliases, line 2: "):
        aliases.look_up("bad")
    assert len(told) == 1 and told[0].startswith(f"{tmp_path}/aliases, line 2: ")


def test_a_file_that_cannot_be_read_is_an_error_each_time_and_not_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "aliases").mkdir()
    (tmp_path / "other").write_text("a: b\n")
    aliases = AliasFiles([f"{tmp_path}/other", f"{tmp_path}/aliases"], print)
    for _ in range(2):
        with pytest.raises(OSError):
            aliases.look_up("a")
    (tmp_path / "aliases").rmdir()
    assert names(aliases, "a") == ["b"]


def test_octets_that_are_no_utf_8_survive(tmp_path: Path) -> None:
    (tmp_path / "aliases").write_bytes(b"a: b\xff\n")
    assert names(AliasFiles([f"{tmp_path}/aliases"], print), "a") == ["b\udcff"]
