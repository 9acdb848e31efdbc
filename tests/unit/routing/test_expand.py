"""Expansion of local names: what comes out, with whose rights, and for whose bounces."""

import itertools
from collections.abc import Iterable, Iterator

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import MAILBOX
from sendmail_py.core.result import DeliveryResult, Outcome
from sendmail_py.formats.aliases import Alias, parse, parse_list
from sendmail_py.routing.expand import FORWARD, Expansion, Final, Rules
from sendmail_py.routing.resolve import Routing

Files = dict[str, Iterable[str] | tuple[int, Iterable[str]]]


def rules(**settings: str) -> Rules:
    settings = {"myhostname": "here", "mydestination": "here", "myorigin": "here", **settings}
    config = Config({name: Setting(text, "test") for name, text in settings.items()})
    return Rules(config, Routing(config))


def expansion(aliases: str = "", files: Files | None = None, uid: int = -1, **settings: str) -> Expansion:
    """Return an expansion over alias text; uid is the owner of the alias file."""
    entries, faults = parse(aliases)
    assert not faults
    table = {entry.name: Alias(entry.targets, uid) for entry in entries}

    def read(path: str, uid: int) -> tuple[int, Iterable[str]]:
        found = (files or {}).get(path)
        if found is None:
            raise FileNotFoundError(2, "No such file or directory")
        return found if isinstance(found, tuple) else (-1, found)

    return Expansion(rules(**settings), table.get, read)


def described(found: Final | DeliveryResult) -> str:
    """Return a result as text: users as names, real users as \\name, a problem as its status."""
    if isinstance(found, DeliveryResult):
        return found.status
    if found.address is None:
        return found.target or "discard"
    return found.target + str(found.address)


def run(name: str, aliases: str = "", files: Files | None = None, **settings: str) -> list[str]:
    return [described(found) for found in expansion(aliases, files, **settings).of_name(name)]


def forwarded(user: str, lines: str, aliases: str = "", uid: int = 1000, visited: tuple[str, ...] = ()) -> list[str]:
    it = expansion(aliases)
    it.visited = visited
    return [described(found) for found in it.of_targets(parse_list(lines), FORWARD, user, uid)]


# --- names, lists and circles -----------------------------------------------------------------


def test_a_name_without_an_alias_is_itself() -> None:
    assert run("bob") == ["bob"]


def test_aliases_nest_and_ignore_case() -> None:
    assert run("STAFF", "staff: Bob, dev\ndev: carol, dave@x\nbob: robert\n") == ["robert", "carol", "dave@x"]


def test_an_alias_that_names_itself_means_the_user() -> None:
    assert run("bob", "bob: bob, carol@x\n") == ["bob", "carol@x"]
    assert run("bob", "bob: bob@here, carol@x\n") == ["bob", "carol@x"]


def test_a_name_with_a_backslash_is_only_the_mailbox() -> None:
    assert run("bob", "bob: \\bob, \\carol@here, \\dave@x\ncarol: no\n") == ["\\bob", "\\carol", "dave@x"]


def test_a_circle_ends() -> None:
    assert run("a", "a: b\nb: c, x@y\nc: a, b\n") == ["a", "b", "x@y"]


def test_duplicates_are_merged_and_an_alias_is_expanded_once() -> None:
    assert run("l", "l: x, y, Bob, bob@x, bob@X\nx: bob\ny: x, bob@x\n") == ["bob", "bob@x"]
    assert run("l", 'l: "|a", "|a", /f, x\nx: /f, "|b"\n') == ["|a", "/f", "|b"]


def test_postmaster_always_resolves() -> None:
    assert run("Postmaster") == ["root"]
    assert run("MAILER-DAEMON", "root: alice@x\n") == ["alice@x"]
    assert run("postmaster", "postmaster: bob\n") == ["bob"]


def test_a_name_that_was_visited_is_the_user() -> None:
    it = expansion("bob: carol\n")
    it.visited = ("bob",)
    assert [described(found) for found in it.of_name("bob")] == ["bob"]


def test_deep_nesting_needs_no_recursion() -> None:
    text = "".join(f"a{n}: a{n + 1}\n" for n in range(5000))
    assert run("a0", text) == ["a5000"]


# --- include files --------------------------------------------------------------------------


def test_include_files_are_read_with_comments_and_further_includes() -> None:
    files: Files = {"/l": ["# who\n", "\n", "bob, carol@x\n", ":include:/m\n"], "/m": ["dave,\n", ":include:/l"]}
    assert run("l", "l: :include:/l, end\n", files) == ["bob", "carol@x", "dave", "end"]


def test_an_include_file_that_cannot_be_read_defers_everything() -> None:
    assert run("l", "l: bob, :include:/missing, carol\n") == ["bob", "4.3.0"]
    assert run("l", "l: :include:/l\n", {"/l": ["bob\n", "two words\n"]}) == ["bob", "4.3.5"]


def test_a_long_include_file_is_read_only_as_far_as_it_is_asked_for() -> None:
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for taken in itertools.count(1):
            yield f"user{taken}@example.org\n"

    found = expansion("l: :include:/endless\n", {"/endless": lines()}).of_name("l")
    assert list(itertools.islice(found, 1000))[-1] == Final(Address("user1000", "example.org"))
    assert taken == 1000


# --- programs and files, and whose rights apply -------------------------------------------------


def rights(name: str, aliases: str, files: Files | None = None, uid: int = -1, **settings: str) -> dict[str, int]:
    found = list(expansion(aliases, files, uid, **settings).of_name(name))
    return {final.target: final.uid for final in found if isinstance(final, Final)}


def test_programs_and_files_come_with_the_rights_of_the_owner_of_the_alias_file() -> None:
    assert rights("p", 'p: "|prog a, b", /var/log/x\n') == {"|prog a, b": -1, "/var/log/x": -1}
    assert rights("p", "p: |prog\n", uid=1000) == {"|prog": 1000}
    assert run("p", "p: /dev/null\n") == ["discard"]


def test_an_include_file_has_the_rights_of_the_alias_that_names_it_else_those_of_its_owner() -> None:
    settings = {"allow_mail_to_commands": "alias, forward, include"}
    files: Files = {"/l": (1001, ["|prog\n"])}
    assert rights("p", "p: :include:/l\n", files, **settings) == {"|prog": 1001}
    assert rights("p", "p: :include:/l\n", files, uid=1000, **settings) == {"|prog": 1000}
    assert rights("p", "p: :include:/l\n", {"/l": (-1, ["|prog\n"])}, **settings) == {"|prog": -1}


def test_programs_and_files_in_include_files_are_refused_unless_they_are_allowed_there() -> None:
    for line in ("|prog", "/file"):
        (result,) = expansion("p: :include:/l\n", {"/l": [line]}).of_name("p")
        assert isinstance(result, DeliveryResult) and (result.outcome, result.status) == (Outcome.FAILED, "5.7.1")
        assert "is restricted" in result.reason and '"/l"' in result.reason
    allowed = {"allow_mail_to_files": "include"}
    assert run("p", "p: :include:/l\n", {"/l": ["/file"]}, **allowed) == ["/file"]
    assert run("p", "p: /file\n", **allowed) == ["5.7.1"]
    assert run("p", "p: |prog\n", allow_mail_to_commands="") == ["5.7.1"]


def test_nothing_is_used_with_the_rights_of_root() -> None:
    assert forwarded("root", "|prog", uid=0) == ["4.3.5"]
    assert forwarded("root", "/file", uid=0) == ["4.3.5"]
    assert forwarded("root", "alice@x", uid=0) == ["alice@x"]


# --- .forward -------------------------------------------------------------------------------------


def test_a_user_in_his_own_forward_is_his_mailbox() -> None:
    assert forwarded("bob", "bob, carol") == ["\\bob", "carol"]
    assert forwarded("bob", "\\bob, bob@here, bob@x") == ["\\bob", "bob@x"]


def test_a_user_who_was_forwarded_before_is_his_mailbox_whoever_names_him() -> None:
    assert forwarded("carol", "bob", visited=("~bob",)) == ["\\bob"]
    assert forwarded("bob", "list", "list: bob, carol\nbob: elsewhere\n") == ["\\bob", "carol"]


def test_an_alias_named_in_a_forward_has_its_own_rights_again() -> None:
    it = expansion('list: "|in-alias"\n')
    found = list(it.of_targets(parse_list('list, "|mine"'), FORWARD, "bob", 1000))
    assert found == [Final(None, "|in-alias", -1), Final(None, "|mine", 1000)]


def test_an_include_that_is_left_in_a_forward_is_not_read_with_our_rights() -> None:
    it = expansion("", {"/secret": ["bob\n"]})
    (result,) = it.of_targets(parse_list(":include:/secret"), FORWARD, "bob", 1000)
    assert isinstance(result, DeliveryResult) and result.status == "4.3.5"


# --- owners ---------------------------------------------------------------------------------------


def senders(name: str, aliases: str, **settings: str) -> dict[str, str]:
    found = [f for f in expansion(aliases, **settings).of_name(name) if isinstance(f, Final)]
    return {str(f.address): str(f.sender or "") for f in found}


def test_the_owner_of_a_list_becomes_the_sender_for_its_members() -> None:
    assert senders("l", "l: bob, carol@x\nowner-l: alice\n") == {"bob": "owner-l", "carol@x": "owner-l"}
    assert senders("owner-l", "owner-l: alice\nowner-owner-l: dave\n") == {"alice": ""}


def test_the_innermost_list_with_an_owner_decides_and_others_inherit() -> None:
    aliases = "all: bob, l, m\nl: carol\nm: dave\nowner-all: a\nowner-l: b\n"
    assert senders("all", aliases) == {"bob": "owner-all", "carol": "owner-l", "dave": "owner-all"}


def test_the_owner_alias_is_expanded_on_request_if_it_is_one_address() -> None:
    assert senders("l", "l: bob\nowner-l: alice@x\n", expand_owner_alias="yes") == {"bob": "alice@x"}
    assert senders("l", "l: bob\nowner-l: alice, dave\n", expand_owner_alias="yes") == {"bob": "owner-l"}
    assert senders("l", "l: bob\nowner-l: |prog\n", expand_owner_alias="yes") == {"bob": "owner-l"}


# --- extensions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [("bob+news", ["reader"]), ("bob+other", ["robert"]), ("carol+x", ["carol+x"]), ("bob-news", ["bob-news"])],
)
def test_the_whole_name_is_looked_up_before_the_user(name: str, found: list[str]) -> None:
    assert run(name, "bob: robert\nbob+news: reader\n", recipient_delimiter="+") == found


def test_an_extension_that_did_not_match_goes_on_where_that_is_wanted() -> None:
    aliases = "bob: robert, other+own, rob@x, :include:/l\n"
    files: Files = {"/l": ["al\n"]}
    plus = {"recipient_delimiter": "+"}
    assert run("bob+t", aliases, files, **plus) == ["robert", "other+own", "rob@x", "al"]
    wanted = ["robert+t", "other+own", "rob+t@x", "al"]
    assert run("bob+t", aliases, files, propagate_unmatched_extensions="alias", **plus) == wanted


def test_an_alias_for_a_user_with_an_extension_that_leads_to_himself_is_the_user() -> None:
    assert run("bob+t", "bob+t: bob\n", recipient_delimiter="+") == ["bob"]
    assert run("bob+t", "bob: bob+t, carol\n", recipient_delimiter="+") == ["bob+t", "carol"]
    assert forwarded("bob", "bob+x@here") == ["\\bob+x"]


def test_the_names_of_lists_stay_whole_where_the_delimiter_is_a_dash() -> None:
    aliases = "l: bob\nl-request: alice\nowner-l: alice\n"
    assert run("l-request", aliases, recipient_delimiter="-") == ["alice"]
    assert run("owner-l", aliases, recipient_delimiter="-") == ["alice"]
    assert run("l-x", aliases, recipient_delimiter="-") == ["bob"]


# --- what cannot be looked up -------------------------------------------------------------------


def test_an_alias_look_up_that_fails_defers() -> None:
    def broken(name: str) -> None:
        raise OSError(5, "Input/output error")

    (result,) = Expansion(rules(), broken, lambda path, uid: (-1, [])).of_name("bob")
    assert isinstance(result, DeliveryResult) and result.outcome is Outcome.DEFERRED
    assert result.reason == 'cannot look up alias "bob": Input/output error'


def test_an_alias_whose_line_has_a_fault_defers() -> None:
    def faulty(name: str) -> None:
        raise ValueError("line 3: a comma missing?")

    (result,) = Expansion(rules(), faulty, lambda path, uid: (-1, [])).of_name("bob")
    assert isinstance(result, DeliveryResult) and (result.outcome, result.status) == (Outcome.DEFERRED, "4.3.5")
    assert result.reason == 'alias "bob": line 3: a comma missing?'


def test_mailbox_is_written_as_a_backslash() -> None:
    assert MAILBOX == "\\"
