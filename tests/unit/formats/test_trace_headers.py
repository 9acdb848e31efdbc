"""Dates, Received fields and text from outside."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.address import Address
from sendmail_py.formats.trace_headers import clean, received_from_client, rfc5322_date


@pytest.mark.parametrize(
    ("seconds", "offset", "expected"),
    [
        (0, 0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (1795435041, 3600, "Mon, 23 Nov 2026 12:57:21 +0100"),
        (1795435041, -12600, "Mon, 23 Nov 2026 08:27:21 -0330"),
        (1795435041, 20700, "Mon, 23 Nov 2026 17:42:21 +0545"),
    ],
)
def test_a_date_is_local_with_its_offset(seconds: int, offset: int, expected: str) -> None:
    assert rfc5322_date(seconds, offset) == expected


@given(st.integers(0, 4_000_000_000), st.integers(-14 * 60, 14 * 60))
def test_every_date_reads_back_as_the_same_moment(seconds: int, minutes: int) -> None:
    assert parsedate_to_datetime(rfc5322_date(seconds, minutes * 60)).timestamp() == seconds


def test_the_received_field_of_a_client_is_that_of_rfc_5321() -> None:
    field = received_from_client(
        "mail.example.net", ("mx.example.net", "192.0.2.7"), "host", "ESMTPS", "6A24", "DATE", Address("bob", "x")
    )
    assert field == (
        "Received: from mail.example.net (mx.example.net [192.0.2.7])\n"
        "\tby host (sendmail-py) with ESMTPS id 6A24\n"
        "\tfor <bob@x>; DATE\n"
    )


def test_a_client_cannot_end_the_received_field() -> None:
    field = received_from_client("a;\r\nBcc: x (", ("", "::1"), "host", "SMTP", "6A24", "DATE")
    assert field == "Received: from a???Bcc:?x?? (unknown [::1])\n\tby host (sendmail-py) with SMTP id 6A24; DATE\n"


@given(st.text())
def test_clean_text_holds_no_line_break_and_can_be_written(text: str) -> None:
    cleaned = clean(text + "\udc80\n\x85\u2028")
    assert len(cleaned.splitlines()) == 1
    cleaned.encode()
