"""Questions to policy services, and their answers, as octets."""

import pytest

from sendmail_py.protocol.policy import PolicyError, answer, question


def test_a_question_is_lines_and_an_empty_one() -> None:
    assert question({"request": "smtpd_access_policy", "size": 0}) == b"request=smtpd_access_policy\nsize=0\n\n"


@pytest.mark.parametrize("value", ["a\n\naction=OK", "a\rb", "a\0b"])
def test_no_value_begins_another_line(value: str) -> None:
    octets = question({"helo_name": value, "size": 1})
    assert octets.count(b"\n") == 3
    assert not {0, 13} & set(octets)


def test_an_answer_is_its_action() -> None:
    assert answer(b"action=DEFER_IF_PERMIT Service is unavailable") == "DEFER_IF_PERMIT Service is unavailable"
    assert answer(b"x=y\naction=550 na\xc3\xafve ") == "550 naïve"


@pytest.mark.parametrize(
    "lines",
    [b"", b"OK", b"action=", b"action= ", b"action=OK\naction=OK", b"action=\xff", b"action=\0"],
)
def test_what_is_no_answer_is_an_error(lines: bytes) -> None:
    with pytest.raises(PolicyError):
        answer(lines)
