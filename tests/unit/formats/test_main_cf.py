"""The syntax of main.cf, and changes in place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.errors import ConfigError
from sendmail_py.formats import main_cf

TEXT = """\
# head
relayhost = [gate.example.org]
  :587
# between
   , and more
myorigin = example.org

relayhost = second
"""


def values(text: str) -> dict[str, str]:
    return {name: setting.text for name, setting in main_cf.parse(text, "main.cf")[0].items()}


def test_a_line_that_begins_with_white_space_continues_the_one_before() -> None:
    assert values("a = 1\n\t2\n  3\n") == {"a": "1 2 3"}


def test_comments_and_empty_lines_may_stand_within_a_continued_line() -> None:
    assert values("a = 1\n# no\n\n   # no\n  2\nb = 3") == {"a": "1 2", "b": "3"}


def test_the_last_of_several_settings_counts_and_knows_its_line() -> None:
    settings, _ = main_cf.parse(TEXT, "main.cf")
    assert (settings["relayhost"].text, settings["relayhost"].origin) == ("second", "main.cf:8")


def test_a_value_may_hold_equals_signs_and_number_signs() -> None:
    assert values("a = b=c # d") == {"a": "b=c # d"}


def test_a_value_may_be_empty() -> None:
    assert values("a =\nb=") == {"a": "", "b": ""}


def test_carriage_returns_at_line_ends_are_no_part_of_a_value() -> None:
    assert values("a = 1\r\nb = 2\r\n") == {"a": "1", "b": "2"}


@pytest.mark.parametrize("line", ["no equals sign", "= value", "two words = x", "a-b = c"])
def test_a_line_that_is_no_setting_is_complained_of_and_the_rest_counts(line: str) -> None:
    settings, complaints = main_cf.parse(f"{line}\ngood = 1\n", "main.cf")
    assert list(settings) == ["good"]
    assert complaints == [f"main.cf:1: `name = value` expected: {line}"]


def test_an_edit_keeps_comments_and_replaces_continuations_and_repetitions() -> None:
    assert main_cf.edit(TEXT, "relayhost", "new") == "# head\nrelayhost = new\n# between\nmyorigin = example.org\n\n"


def test_an_edit_adds_a_name_that_was_not_set_at_the_end() -> None:
    assert main_cf.edit("a = 1\n\n\n", "b", "2") == "a = 1\nb = 2\n"
    assert main_cf.edit("", "b", "2") == "b = 2\n"


def test_an_edit_without_a_value_removes_the_name() -> None:
    assert main_cf.edit(TEXT, "relayhost", None) == "# head\n# between\nmyorigin = example.org\n\n"


def test_an_edit_leaves_the_continuation_of_another_name_alone() -> None:
    assert values(main_cf.edit("a = 1\n  2\nb = 3\n  4\n", "b", "5")) == {"a": "1 2", "b": "5"}


def test_an_edit_finds_a_first_line_that_begins_with_white_space() -> None:
    assert main_cf.edit("  a = 1\nb = 2\n", "a", "3") == "a = 3\nb = 2\n"


def test_a_value_with_a_line_break_is_refused() -> None:
    with pytest.raises(ConfigError, match="line break"):
        main_cf.edit("", "a", "1\nb = 2")


NAMES = st.sampled_from(["a", "b", "relayhost"])
LINES = st.one_of(
    st.builds("{} = {}".format, NAMES, st.sampled_from(["", "1", "x y", "= #"])),
    st.sampled_from(["", "# c", "  more", "\tmore = x", "  # c", "junk", " "]),
)


@given(st.lists(LINES), NAMES, st.one_of(st.none(), st.sampled_from(["", "new", "n w"])))
def test_an_edit_changes_one_name_and_no_other(lines: list[str], name: str, value: str | None) -> None:
    text = "\n".join(lines) + "\n"
    expected = {key: old for key, old in values(text).items() if key != name} | ({} if value is None else {name: value})
    assert values(main_cf.edit(text, name, value)) == expected
