"""Recipients and senders as arguments of sendmail(1) name them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.commands.addresses import recipients, sender
from sendmail_py.core.errors import MessageError
from sendmail_py.formats.address_list import RealUser
from sendmail_py.protocol.commands import is_sendable


@pytest.mark.parametrize(
    ("text", "expected"), [("(carol)", ["carol"]), (" (carol) ", ["carol"]), ("bob (carol)", ["bob"]), ("()", [])]
)
def test_parentheses_are_a_comment_unless_they_hold_all_there_is(text: str, expected: list[str]) -> None:
    assert [str(address) for address in recipients(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\bob", ["bob"]),
        ("bob, \\carol <dave>, <\\erin@x>", ["erin@x"]),
        ("(\\bob)", ["bob"]),
        ('b\\ob, "\\\\bob", "\\bob"', []),
    ],
)
def test_a_backslash_before_a_recipient_asks_for_the_user_himself(text: str, expected: list[str]) -> None:
    assert [str(address) for address in recipients(text) if isinstance(address, RealUser)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Alice <a@x>", ("a", "x")),
        ('"quo te"@x', ("quo te", "x")),
        ('quo te\\"d@example.org;id', ('quo te"d', "example.org;id")),
        ("John Smith", ("John Smith", "")),
        ("a@b@c", ("a@b", "c")),
        ("wordpress@", ("wordpress", "")),
        ("a@b, c@d", ("a", "b")),
        ("Alice <a@x>, b", ("a", "x")),
    ],
)
def test_a_sender_that_cannot_be_read_is_taken_as_it_stands(text: str, expected: tuple[str, str]) -> None:
    address = sender(text)
    assert (address.local_part, address.domain) == expected


@pytest.mark.parametrize(
    "text", ["a@b> SIZE=1", "a@b c", "a@b:c", "@", "@b", "", "g:;", "(a)", 'a"@"b', "a\rb@c", "a\nb"]
)
def test_a_sender_whose_domain_could_end_a_command_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="address"):
        sender(text)


@pytest.mark.parametrize("text", ["b\udcf6b@y.test", "x@b\udcf6b.test"])
def test_a_sender_that_is_no_utf_8_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="UTF-8"):
        sender(text)


@given(st.text(alphabet="aé.@<>\"'`;:,()[]\\ \t\x7f\udcf6=!%"))
def test_a_sender_that_is_taken_can_be_sent_so_that_no_mail_is_lost_on_the_way(text: str) -> None:
    try:
        address = sender(text)
    except MessageError:
        return
    assert is_sendable(address)
