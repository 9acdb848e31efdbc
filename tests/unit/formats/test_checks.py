"""Verdicts of header_checks and body_checks, and what they make of the lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.address import Address
from sendmail_py.formats.checks import Checked, Edit, apply, edited, parse_action

LINES = [b"Subject: x\n", b"X-Spam: yes\n", b"To: a\n\tb\n"]


def run(*verdicts: str | None, kind: str = "header") -> tuple[list[bytes], Checked]:
    checked = Checked()
    places = apply(LINES, verdicts, kind, checked, lambda line: line.decode().strip())
    return [line for place in places for line in place], checked


def test_lines_without_a_verdict_stay_octet_for_octet() -> None:
    assert run(None, "DUNNO", "OK")[0] == LINES


def test_ignore_strip_replace_and_prepend_change_the_lines() -> None:
    assert run(None, "IGNORE", None)[0] == [LINES[0], LINES[2]]
    assert run("strip", None, None)[0] == LINES[1:]
    assert run(None, "REPLACE X-Was: spam", None)[0] == [LINES[0], b"X-Was: spam\n", LINES[2]]
    assert run(None, None, "PREPEND X-New: 1")[0] == [*LINES[:2], b"X-New: 1\n", LINES[2]]
    assert run("REPLACE no field", None, None, kind="body")[0][0] == b"no field\n"


@pytest.mark.parametrize(
    ("verdict", "refused"),
    [
        ("REJECT", "5.7.1 message content rejected"),
        ("reject no such thing", "5.7.1 no such thing"),
        ("REJECT 5.6.9 odd", "5.6.9 odd"),
        ("REJECT 4.7.1 later", "4.7.1 later"),
    ],
)
def test_a_refusal_has_a_status_and_ends_the_checks(verdict: str, refused: str) -> None:
    lines, checked = run(verdict, "DISCARD", "IGNORE")
    assert (checked.refused, checked.discarded, lines) == (refused, "", LINES)


def test_hold_redirect_and_copies_are_noted_with_the_line() -> None:
    _, checked = run("HOLD look at it", "REDIRECT boss@x.test", "BCC archive@x.test")
    assert checked.held and checked.redirect == Address("boss", "x.test")
    assert checked.copies == [Address("archive", "x.test")]
    assert checked.notes[0] == ("hold", "header", "Subject: x", "look at it")
    assert [note[0] for note in checked.notes] == ["hold", "redirect", "bcc"]


def test_warnings_change_nothing_but_the_log() -> None:
    lines, checked = run("WARN odd", "INFO", None)
    assert lines == LINES and [note[0] for note in checked.notes] == ["warning", "info"]


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("FILTER smtp:[x]", "FILTER is not supported"),
        ("REJECTED x", "no such action"),
        ("REPLACE", "needs a text"),
        ("REPLACE no field", "header field"),
        ("PREPEND: x", "no such action"),
        ("REDIRECT here", "domain"),
        ("BCC a@b, c@d", "domain"),
    ],
)
def test_what_is_no_verdict_is_an_error(verdict: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_action(verdict, is_header=True)


@given(
    st.binary(max_size=40), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5), st.binary(max_size=3)), max_size=5)
)
def test_edits_are_made_in_a_stream_however_it_is_cut(data: bytes, rows: list[tuple[int, int, bytes]]) -> None:
    edits, expected, position = [], b"", 0
    for gap, length, new in rows:
        offset = position + gap
        if offset + length > len(data) or offset >= len(data):
            break
        edits.append(Edit(offset, length, new))
        expected += data[position:offset] + new
        position = offset + length
    expected += data[position:]
    for size in (1, 3, 50):
        blocks = [data[i : i + size] for i in range(0, len(data), size)]
        assert b"".join(edited(blocks, edits)) == expected
