"""Lines as a terminal has room for them."""

import pytest

from sendmail_py.commands import terminal


@pytest.fixture(autouse=True)
def forty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "width", lambda: 40)


def test_a_line_is_broken_between_words_and_goes_on_further_in() -> None:
    line = "  head " + "word " * 9 + "end"
    assert terminal.wrapped(line, 4).split("\n") == ["  head" + " word" * 6, "    word word word end"]


def test_a_word_that_no_line_has_room_for_begins_a_line_and_is_broken_further_in() -> None:
    assert terminal.wrapped("  to " + "a" * 80 + " end", 4).split("\n") == [
        "  to",
        "    " + "a" * 36,
        "    " + "a" * 36,
        "    " + "a" * 8 + " end",
    ]


def test_what_begins_far_to_the_right_and_has_no_room_there_begins_further_in() -> None:
    assert terminal.wrapped(" " * 30 + "a" * 20, 12) == " " * 12 + "a" * 20


def test_colours_take_no_room() -> None:
    line = "\x1b[31mbad\x1b[0m " + "x" * 36
    assert terminal.wrapped(line, 4) == line
    assert terminal.wrapped(line + "x", 4).split("\n") == ["\x1b[31mbad\x1b[0m", "    " + "x" * 36, "    x"]


def test_a_line_goes_on_a_little_further_in_than_it_begins() -> None:
    assert terminal.fitted("  " + "word " * 9 + "end").split("\n")[1] == "      word word end"
