"""Lists of users who may do something, as Postfix reads them."""

import pytest

from sendmail_py.core.access_list import check_patterns, is_allowed, is_for_everybody

FILES = {
    "/users": "# who may\nalice, bob\n  carol\n!dave\n",
    "/all": "static:all\n",
    "/loop": "/loop\n",
    "/outer": "zoe /users\n",
}


@pytest.mark.parametrize(
    ("patterns", "allowed", "denied"),
    [
        ("static:anyone", "root alice unknown", ""),
        ("", "", "root alice unknown"),
        ("alice bob", "alice bob Alice", "root ali alicea unknown"),
        ("!www, static:all", "alice root", "www WWW"),
        ("!www !mallory static:anyone", "alice", "www mallory"),
        ("alice !alice static:all", "alice", ""),
        ("!alice alice", "", "alice bob"),
        ("static:all !alice", "alice", ""),
        ("!static:all alice", "", "alice root"),
        ("!!alice", "alice", "bob"),
        ("/users", "alice bob carol", "dave root"),
        ("!/users static:all", "dave root", "alice bob carol"),
        ("/outer", "zoe alice", "dave root"),
        ("!/all alice", "", "alice"),
        ("unknown", "unknown", "root"),
    ],
)
def test_the_first_pattern_that_matches_decides(patterns: str, allowed: str, denied: str) -> None:
    rules = patterns.replace(",", " ").split()
    check_patterns(rules)
    assert {name: is_allowed(rules, name, FILES.__getitem__) for name in (allowed + " " + denied).split()} == {
        **dict.fromkeys(allowed.split(), True),
        **dict.fromkeys(denied.split(), False),
    }


def test_only_a_list_that_begins_with_everybody_needs_no_names() -> None:
    assert is_for_everybody(["static:anyone"]) and is_for_everybody(["static:all", "!www"])
    assert not is_for_everybody([]) and not is_for_everybody(["!www", "static:all"])


@pytest.mark.parametrize("pattern", ["hash:/etc/users", "!ldap:x", "staticx:y", ":"])
def test_a_table_of_another_type_is_an_error_and_allows_nobody(pattern: str) -> None:
    with pytest.raises(ValueError, match="static:anyone expected"):
        check_patterns(["alice", pattern])
    with pytest.raises(ValueError, match="static:anyone expected"):
        is_allowed([pattern], "alice", FILES.__getitem__)


def test_a_file_that_names_itself_is_an_error_and_does_not_hang() -> None:
    with pytest.raises(ValueError, match="too many files"):
        is_allowed(["/loop"], "alice", FILES.__getitem__)


def test_a_file_that_cannot_be_read_is_the_readers_error() -> None:
    with pytest.raises(KeyError):
        is_allowed(["alice", "/missing"], "bob", FILES.__getitem__)
    assert is_allowed(["alice", "/missing"], "alice", FILES.__getitem__)
