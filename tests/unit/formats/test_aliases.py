"""aliases(5) text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.formats.aliases import Kind, parse, parse_list

TEXT = """\
# the usual
postmaster:    root
Root:   alice@example.org,
        # a comment between
        "bob smith"@example.org

\t, carol
"odd name": \\dave
list: :include:/etc/mail/list, "|/usr/bin/prog -a, b", /var/log/copy, "/tmp/with, comma"
people: Bob Smith <bob@x>, carol (likes, commas), "Al, D" <al@x>
"""


def test_an_alias_file_is_read_with_its_line_numbers() -> None:
    entries, faults = parse(TEXT)
    assert not faults
    assert [(e.name, e.line, [(t.kind, t.text) for t in e.targets]) for e in entries] == [
        ("postmaster", 2, [(Kind.ADDRESS, "root")]),
        ("root", 3, [
            (Kind.ADDRESS, "alice@example.org"), (Kind.ADDRESS, '"bob smith"@example.org'), (Kind.ADDRESS, "carol"),
        ]),
        ("odd name", 8, [(Kind.ADDRESS, "dave")]),
        ("list", 9, [
            (Kind.INCLUDE, "/etc/mail/list"), (Kind.COMMAND, "/usr/bin/prog -a, b"),
            (Kind.FILE, "/var/log/copy"), (Kind.FILE, "/tmp/with, comma"),
        ]),
        ("people", 10, [(Kind.ADDRESS, "bob@x"), (Kind.ADDRESS, "carol"), (Kind.ADDRESS, "al@x")]),
    ]  # fmt: skip
    assert [t.real_user for t in entries[2].targets] == [True]
    assert str(entries[1].targets[1].address) == '"bob smith"@example.org'


@pytest.mark.parametrize(
    "line, word",
    [
        ("no colon here", "expected: name: value"),
        ("bob:", "has no value"),
        ("bob: carol dave", "a comma missing?"),
        ("bob: |", "nothing after the mark"),
        ("bob: :include:", "nothing after the mark"),
        ('bob: "carol', "is not closed"),
        ("bob: <carol", "is not closed"),
        ("bob: (carol", "is not closed"),
        ("two words: carol", "cannot be the name"),
        ("bob@example.org: carol", "cannot be the name"),
        ("  carol", "nothing before it"),
        ("bob: @example.org", "not an address"),
    ],
)
def test_a_fault_names_its_line_and_hides_no_other(line: str, word: str) -> None:
    entries, faults = parse("# comment\n" + line + "\nroot: alice\n")
    assert [(fault.line, word in fault.text) for fault in faults] == [(2, True)]
    assert faults[0].name in ("", "bob")
    assert [entry.name for entry in entries] == ["root"]


def test_of_two_entries_the_first_counts() -> None:
    entries, faults = parse("bob: a\nBOB: b\n")
    assert [entry.targets[0].text for entry in entries] == ["a"]
    assert [(f.line, f.text) for f in faults] == [(2, 'duplicate entry "bob", first on line 1')]


@given(st.text(alphabet='ab,@:|/\\"<>()# \n\t'))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    entries, faults = parse(text)
    assert all(entry.targets for entry in entries)
    assert all(1 <= item.line <= text.count("\n") + 1 for item in [*entries, *faults])


@given(st.lists(st.text(alphabet="abcXYZ019._+-", min_size=1).filter(lambda s: s[0] != "|"), max_size=8))
def test_a_list_of_plain_names_comes_back(names: list[str]) -> None:
    assert [target.text for target in parse_list(" , ".join(names))] == names


@pytest.mark.parametrize("text", ["(", "<", "a ", '"a" "b'])
def test_a_complaint_quotes_only_the_beginning_of_a_long_line(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_list(text * 20_001)
    assert len(str(raised.value)) < 300
