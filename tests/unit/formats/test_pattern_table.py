"""Pattern tables: regexp_table(5) and pcre_table(5) as they stand in alias_maps."""

import re

import pytest

from sendmail_py.formats.pattern_table import PatternTable


def look_up(text: str, name: str) -> str | None:
    table = PatternTable(text)
    assert table.faults == []
    return table.look_up(name)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sales-de", "alice"),
        ("SALES-de", "alice"),
        ("x", None),
        ("team7", "bob, carol"),
        ("team77", None),
        ("a/b", "dan"),
    ],
)
def test_the_first_pattern_that_fits_gives_the_result(name: str, found: str | None) -> None:
    text = "# a comment\n\n/^sales-/  alice\n/^team[[:digit:]]$/ bob,\n\tcarol\n/^sales-de$/ late\n/a\\/b/ dan\n"
    assert look_up(text, name) == found


def test_flags_turn_what_they_name_on_or_off_and_case_does_not_count_at_first() -> None:
    assert (look_up("/^bob/ x\n", "BOB"), look_up("/^bob/i x\n", "BOB")) == ("x", None)
    assert look_up("/^ b o b $/x x\n", "bob") == "x"


def test_a_negated_pattern_fits_what_the_pattern_does_not() -> None:
    text = "!/^a/ other\n/^ab/ ab\n"
    assert (look_up(text, "bob"), look_up(text, "abc"), look_up(text, "ax")) == ("other", "ab", None)


def test_blocks_apply_only_where_their_condition_holds_and_nest() -> None:
    text = "if /^list-/\nif !/-old$/\n/one/ first\nendif\n/one/ second\nendif\n/./ rest\n"
    assert [look_up(text, n) for n in ("list-one", "list-one-old", "one")] == ["first", "second", "rest"]


def test_other_marks_than_slashes_may_enclose_a_pattern() -> None:
    assert look_up("%^a/b$% x\n", "a/b") == "x"
    assert look_up("|^(a|b)$| x\n".replace("(a|b)", "a"), "a") == "x"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("/unclosed\n", "not closed"),
        ("/a(/ x\n", "unterminated"),
        ("/a/\n", "without a result"),
        ("/(a)/ $1\n", r"\$number"),
        ("/(a)/ x${1}y\n", r"\$number"),
        ("/a/q x\n", 'unknown flag "q"'),
        ("/[[:nothing:]]/ x\n", "unknown class"),
        ("bob alice\n", "between two marks"),
        ("endif\n", "without its if"),
        ("if /a/\n/b/ x\n", "without its endif"),
        ("/a/ two words\n", "comma"),
    ],
)
def test_a_line_that_cannot_be_used_is_a_fault(text: str, fault: str) -> None:
    (found,) = PatternTable(text).faults
    assert re.search(fault, found.text), found


def test_outside_alias_tables_groups_of_the_pattern_stand_in_the_result() -> None:
    table = PatternTable("/^(.*)@old\\.test$/ $1@new.test\n/^(a)|(b)$/ <${2}>$(1)$$1\n!/x/ none\n", is_alias=False)
    assert table.faults == []
    found = [table.look_up(key) for key in ("Bob@old.test", "a", "b", "c", "x")]
    assert found == ["Bob@new.test", "<>a$1", "<b>$1", "none", None]


@pytest.mark.parametrize("line", ["/a/ $1", "!/(a)/ $1", "/(a)/ ${2}"])
def test_a_group_that_the_pattern_has_not_is_a_fault(line: str) -> None:
    assert "no such group" in PatternTable(f"{line}\n", is_alias=False).faults[0].text
