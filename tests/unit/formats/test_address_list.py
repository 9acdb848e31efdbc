"""Address lists: the forms that callers really use, and the RFC 5322 grammar at random."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.address import Address
from sendmail_py.formats.address_list import parse_address_list


def addresses(text: str, lenient: bool = False) -> list[tuple[str, str]]:
    return [(m.address.local_part, m.address.domain) for m in parse_address_list(text, lenient)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root", [("root", "")]),
        ("a@x", [("a", "x")]),
        ("a@x,b@y", [("a", "x"), ("b", "y")]),
        (" a@x , , b@y ,", [("a", "x"), ("b", "y")]),
        ("", []),
        ("<>", [("", "")]),
        ("Null <>", [("", "")]),
        ("<a@x>", [("a", "x")]),
        ("Alice Example <a@x>", [("a", "x")]),
        ('"Example, Alice" <a@x>, bob', [("a", "x"), ("bob", "")]),
        ("John Q. Public <j@x>", [("j", "x")]),
        ("bob@x.org <bob@x.org>", [("bob", "x.org")]),
        ("[List] Re: <l@x>", [("l", "x")]),
        (":) <l@x>", [("l", "x")]),
        ("root (Cron Daemon)", [("root", "")]),
        ('"(Cron Daemon)" <alice>', [("alice", "")]),
        ("Anacron <root>", [("root", "")]),
        ("a (one (two) \\) three) @ (four) x . (five) org", [("a", "x.org")]),
        ("undisclosed-recipients:;", []),
        ("undisclosed-recipients: ;", []),
        ("friends: a@x, Bee <b@y>;, c@z", [("a", "x"), ("b", "y"), ("c", "z")]),
        ("a@x; b@y", [("a", "x"), ("b", "y")]),
        ("<@a,@b:c@d>", [("c", "d")]),
        ("a@[192.0.2.1]", [("a", "[192.0.2.1]")]),
        ("a@[IPv6:2001:db8::1]", [("a", "[IPv6:2001:db8::1]")]),
        ('"a b"@x', [("a b", "x")]),
        ('"a\\"b\\\\c"@x', [('a"b\\c', "x")]),
        ('"a@b"@x', [("a@b", "x")]),
        ('"".a@x', [(".a", "x")]),
        ("o\\'b@x", [("o'b", "x")]),
        ("=?utf-8?q?J=C3=B6rg?= <j@x>", [("j", "x")]),
        ("Jörg <jörg@exämple.org>", [("jörg", "exämple.org")]),
        ("J\udcf6rg <j@x>", [("j", "x")]),
        ("a..b.@docomo.ne.jp", [("a..b.", "docomo.ne.jp")]),
        ("a@example.org.", [("a", "example.org")]),
        ("-F", [("-F", "")]),
        ("-fbounce@x, -odq", [("-fbounce", "x"), ("-odq", "")]),
        ("|/bin/cat", [("|/bin/cat", "")]),
        ("host!user%gate", [("host!user%gate", "")]),
    ],
)
def test_address_lists_are_read_as_mailers_read_them(text: str, expected: list[tuple[str, str]]) -> None:
    assert addresses(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a b", "a@", "@x", "a@x y", "a@b@c", "a@b..c", "a@.b", "<a@x", "a@x>", "<a@x> b", '"a', "(a", "a@[x", "<@a>",
        "<@a:>", "user:secret@x", ":include:/etc/passwd", '"a"b@x', "a,b:c", ".", '""', "a@x[1]", "<a,b>", "a\rb@x",
        "a\nb@x", "a\0@x", "a\x1b@x", "a@x\r\nBcc: b@y", '"a\nb"@x', ")", 'a@"x"', "<<a>",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_address_list(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ["a", "b"]),
        ("a@x b@y,c", ["a@x", "b@y", "c"]),
        ("a @ x", ["a@x"]),
        ("root (Cron Daemon)", ["root"]),
        ("Alice B <a@x>, b c", ["a@x", "b", "c"]),
        ('Alice B <a@x> b c <d> "e f" g', ["a@x", "d", '"e f"', "g"]),
        ("<a@x><b>", ["a@x", "b"]),
        ("A > B <a@x>", ["a@x"]),
        ('a "b c"', ["a", '"b c"']),
        ('b "c d" . e@y', ["b", '"c d.e"@y']),
        ("a@x (one) b (two)", ["a@x", "b"]),
        ("a@[192.0.2.1] b", ["a@[192.0.2.1]", "b"]),
        ("John Q. Public <j@x>", ["j@x"]),
    ],
)
def test_a_comma_may_be_missing_where_recipients_are_named(text: str, expected: list[str]) -> None:
    assert [str(m.address) for m in parse_address_list(text, lenient=True)] == expected


@pytest.mark.parametrize("text", ["undisclosed-recipients:", "Undisclosed recipients: ", ", undisclosed-recipients:,"])
def test_undisclosed_recipients_are_nobody_also_without_their_end(text: str) -> None:
    assert parse_address_list(text, lenient=True) == []


@pytest.mark.parametrize(
    "text",
    ["user:secret@x", "mailto:bob@x", ":include:/etc/passwd", ":", "bob To: carol", "bob To:", "Team: bob, carol"],
)
def test_nobody_is_lost_to_a_colon_without_its_semicolon(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_address_list(text, lenient=True)


@pytest.mark.parametrize("text", ["bob (x", "bob>", "bob > ", "bob ( x y", "<bob> (the"])
def test_a_bracket_too_many_or_too_few_behind_a_recipient_loses_nobody(text: str) -> None:
    assert addresses(text, lenient=True) == [("bob", "")]
    with pytest.raises(ValueError, match="address"):
        addresses(text)


@pytest.mark.parametrize("text", ["bob (x, carol", "bob (x <carol>", "bob (x@y", "(bob", ">", "carol, >"])
def test_a_bracket_that_could_hide_a_recipient_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        addresses(text, lenient=True)


def test_positions_name_the_address_inside_its_brackets() -> None:
    text = 'root (Cron Daemon), "A, B" <bob >, g: carol;'
    assert [text[m.start : m.end] for m in parse_address_list(text)] == ["root", "bob", "carol"]


def test_the_display_name_is_kept_as_written() -> None:
    assert [m.display for m in parse_address_list('"A, B" <a>, C D <b>, e')] == ['"A, B"', "C D", ""]


def test_ten_thousand_addresses_are_read() -> None:
    assert len(addresses(", ".join(f"User {i} <u{i}@example.org>" for i in range(10_000)))) == 10_000


def test_deep_comments_need_no_stack() -> None:
    assert addresses("(" * 50_000 + ")" * 50_000 + "a") == [("a", "")]


def test_the_fast_start_pays_for_no_heavy_module() -> None:
    heavy = "re enum typing dataclasses collections string email datetime".split()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import sendmail_py.formats.header, sendmail_py.formats.address_list\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    root = str(Path(__file__).resolve().parents[3])
    command = [sys.executable, "-IS", "-c", code, root]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "[]"


# The grammar of RFC 5322 3.4 and 4.4, spoken at random.

ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~é漢"
atoms = st.text(ATEXT, min_size=1, max_size=6)
comments = st.recursive(
    st.text(' abc,<>@:;"', max_size=5).map(lambda t: f"({t})"),
    lambda inner: inner.map(lambda t: f"(x{t}y)"),
    max_leaves=3,
)
cfws = st.one_of(st.just(""), st.sampled_from([" ", "\t", "  "]), comments, comments.map(lambda c: f" {c} "))
quoted_values = st.text(ATEXT + ' ,<>@:;()[]."\\', min_size=1, max_size=6)


def quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


words = st.one_of(atoms.map(lambda a: (a, a)), quoted_values.map(lambda v: (quote(v), v)))


@st.composite
def addr_specs(draw: st.DrawFn) -> tuple[str, tuple[str, str]]:
    local = draw(st.lists(words, min_size=1, max_size=3))
    text = ".".join(draw(cfws) + spelled + draw(cfws) for spelled, _ in local)
    if draw(st.booleans()):
        domain = "[192.0.2.1]"
        spelled_domain = domain
    else:
        labels = draw(st.lists(st.text("abc-09é", min_size=1, max_size=4), min_size=1, max_size=3))
        domain = ".".join(labels)
        spelled_domain = ".".join(draw(cfws) + label + draw(cfws) for label in labels)
    return f"{text}@{draw(cfws)}{spelled_domain}{draw(cfws)}", (".".join(value for _, value in local), domain)


@st.composite
def mailboxes(draw: st.DrawFn) -> tuple[str, tuple[str, str]]:
    spec, meaning = draw(addr_specs())
    if draw(st.booleans()):
        return spec, meaning
    phrase = draw(cfws).join(spelled for spelled, _ in draw(st.lists(words, max_size=3)))
    route = draw(st.sampled_from(["", "@a:", "@a,@b.c:"]))
    return f"{phrase}{draw(cfws)}<{route}{spec}>{draw(cfws)}", meaning


@given(st.lists(mailboxes(), max_size=4), st.booleans())
def test_every_mailbox_of_the_grammar_means_what_was_meant(
    boxes: list[tuple[str, tuple[str, str]]], group: bool
) -> None:
    text = ",".join(spelled for spelled, _ in boxes)
    if group:
        text = f"friends:{text};"
    assert addresses(text) == [meaning for _, meaning in boxes]


@given(quoted_values, st.sampled_from(["", "example.org"]))
def test_what_an_address_prints_reads_back(local_part: str, domain: str) -> None:
    address = Address(local_part, domain)
    assert [m.address for m in parse_address_list(str(address))] == [address]


@given(st.text())
def test_any_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    for lenient in (False, True):
        try:
            parsed = parse_address_list(text, lenient)
        except ValueError:
            continue
        for mailbox in parsed:
            assert "\n" not in str(mailbox.address)
