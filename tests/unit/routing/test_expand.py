"""Expansion of local names."""

import itertools
from collections.abc import Iterable, Iterator

from sendmail_py.core.address import Address
from sendmail_py.core.result import DeliveryResult, Outcome
from sendmail_py.formats.aliases import parse
from sendmail_py.routing.expand import Final, expand, is_unchanged


def run(name: str, aliases: str = "", files: dict[str, Iterable[str]] | None = None, local: str = "here") -> list[str]:
    """Expand against alias text; users come back as names, a problem as its status."""
    entries, faults = parse(aliases)
    assert not faults
    table = {entry.name: entry.targets for entry in entries}

    def read(path: str) -> Iterable[str]:
        if files and path in files:
            return files[path]
        raise FileNotFoundError(2, "No such file or directory")

    found = expand(name, table.get, read, lambda domain: domain == local)
    return [
        f.status if isinstance(f, DeliveryResult) else "discard" if f.address is None else str(f.address) for f in found
    ]


def test_a_name_without_an_alias_is_itself() -> None:
    assert run("bob") == ["bob"]
    finals = [f for f in expand("Bob", lambda name: None, lambda path: []) if isinstance(f, Final)]
    assert is_unchanged("Bob", finals) and not is_unchanged("al", finals)


def test_aliases_nest_and_ignore_case() -> None:
    assert run("STAFF", "staff: Bob, dev\ndev: carol, dave@x\nbob: robert\n") == ["robert", "carol", "dave@x"]


def test_an_alias_that_names_itself_means_the_user() -> None:
    assert run("bob", "bob: bob, carol@x\n") == ["bob", "carol@x"]
    assert run("bob", "bob: \\bob, carol@x\ncarol: no\n") == ["bob", "carol@x"]
    assert run("bob", "bob: bob@here, carol@x\n") == ["bob", "carol@x"]


def test_a_circle_ends() -> None:
    assert run("a", "a: b\nb: c, x@y\nc: a, b\n") == ["a", "b", "x@y"]


def test_duplicates_are_merged_and_an_alias_is_expanded_once() -> None:
    assert run("l", "l: x, y, Bob, bob@x, bob@X\nx: bob\ny: x, bob@x\n") == ["bob", "bob@x"]


def test_postmaster_always_resolves() -> None:
    assert run("Postmaster") == ["root"]
    assert run("MAILER-DAEMON", "root: alice@x\n") == ["alice@x"]
    assert run("postmaster", "postmaster: bob\n") == ["bob"]


def test_include_files_are_read_with_comments_and_further_includes() -> None:
    files = {"/l": ["# who\n", "\n", "bob, carol@x\n", ":include:/m\n"], "/m": ["dave,\n", ":include:/l"]}
    assert run("l", "l: :include:/l, end\n", files) == ["bob", "carol@x", "dave", "end"]


def test_an_include_file_that_cannot_be_read_defers_everything() -> None:
    assert run("l", "l: bob, :include:/missing, carol\n") == ["bob", "4.3.0"]
    assert run("l", "l: :include:/l\n", {"/l": ["bob\n", "two words\n"]}) == ["bob", "4.3.5"]


def test_programs_and_files_are_deferred_but_dev_null_discards() -> None:
    assert run("p", 'p: "|prog"\n') == ["4.3.5"]
    assert run("p", "p: /var/log/x\n") == ["4.3.5"]
    assert run("p", "p: /dev/null\n") == ["discard"]


def test_an_alias_look_up_that_fails_defers() -> None:
    def broken(name: str) -> None:
        raise OSError(5, "Input/output error")

    (result,) = expand("bob", broken, lambda path: [])
    assert isinstance(result, DeliveryResult) and result.outcome is Outcome.DEFERRED
    assert result.reason == 'cannot look up alias "bob": Input/output error'


def test_an_alias_whose_line_has_a_fault_defers() -> None:
    def faulty(name: str) -> None:
        raise ValueError("line 3: a comma missing?")

    (result,) = expand("bob", faulty, lambda path: [])
    assert isinstance(result, DeliveryResult) and (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.5")
    assert result.reason == 'alias "bob": line 3: a comma missing?'


def test_a_long_include_file_is_read_only_as_far_as_it_is_asked_for() -> None:
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for taken in itertools.count(1):
            yield f"user{taken}@example.org\n"

    entries, _ = parse("l: :include:/endless\n")
    found = expand("l", {"l": entries[0].targets}.get, lambda path: lines())
    assert list(itertools.islice(found, 1000))[-1] == Final(Address("user1000", "example.org"))
    assert taken == 1000


def test_deep_nesting_needs_no_recursion() -> None:
    text = "".join(f"a{n}: a{n + 1}\n" for n in range(5000))
    assert run("a0", text) == ["a5000"]
