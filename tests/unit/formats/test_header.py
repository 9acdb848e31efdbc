"""The header section: where it ends, and fields that come back octet for octet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.formats.header import fields, map_fields, recipients_from_header, split_header


def parts(data: bytes) -> tuple[bytes, bytes]:
    sections = split_header(data)
    assert sections
    return data[sections.start : sections.end], data[sections.body :]


@pytest.mark.parametrize(
    ("data", "header", "body"),
    [
        (b"A: 1\nB: 2\n\nbody\n", b"A: 1\nB: 2\n", b"body\n"),
        (b"A: 1\r\nB: 2\r\n\r\nbody\n", b"A: 1\r\nB: 2\r\n", b"body\n"),
        (b"A: 1\r\nB: 2\n\r\nbody\n", b"A: 1\r\nB: 2\n", b"body\n"),
        (b"A: 1\nB: 2\r\n\nbody\n", b"A: 1\nB: 2\r\n", b"body\n"),
        (b"A: 1\n b\n\tc\n\nbody", b"A: 1\n b\n\tc\n", b"body"),
        (b"A: 1\r\n b\r\n\r\nbody", b"A: 1\r\n b\r\n", b"body"),
        (b"Subject : x\n\nbody", b"Subject : x\n", b"body"),
        (b"no header at all\nB: 2\n", b"", b"no header at all\nB: 2\n"),
        (b"two words: no field\n", b"", b"two words: no field\n"),
        (b" folded first\n", b"", b" folded first\n"),
        (b"A: 1\ntext\n\nbody", b"A: 1\n", b"text\n\nbody"),
        (b"A: 1\n: 2\n", b"A: 1\n", b": 2\n"),
        (b"\nbody\n", b"", b"body\n"),
        (b"", b"", b""),
        (b"A: 1", b"A: 1", b""),
        (b"A: 1\n", b"A: 1\n", b""),
        (b"A: 1\nfinal", b"A: 1\n", b"final"),
        (b"plain", b"", b"plain"),
        (b"A: 1\n ", b"A: 1\n ", b""),
        (b"From alice Mon Nov 23\nA: 1\n\nbody", b"A: 1\n", b"body"),
        (b">From alice Mon Nov 23\r\nFrom b\nA: 1\n\nFrom c\n", b"A: 1\n", b"From c\n"),
        (b"From alice", b"", b""),
        (b"From: alice\n\n", b"From: alice\n", b""),
        (b"A\xe9: 1\n\n", b"", b"A\xe9: 1\n\n"),
        (b"A: \xe9\0\n\nx", b"A: \xe9\0\n", b"x"),
    ],
)
def test_the_header_ends_where_callers_mean_it_to(data: bytes, header: bytes, body: bytes) -> None:
    assert parts(data) == (header, body)


def test_a_missing_empty_line_shows_in_the_offsets() -> None:
    missing, there = split_header(b"A: 1\ntext\n"), split_header(b"A: 1\n\ntext\n")
    assert missing and there
    assert missing.body == missing.end
    assert there.body == there.end + 1


@given(st.binary(max_size=40), st.integers(0, 60))
def test_a_beginning_gives_no_answer_that_the_whole_contradicts(tail: bytes, cut: int) -> None:
    data = b"A: 1\r\n b\nB: 2\n" + tail
    early, whole = split_header(data[:cut], whole=False), split_header(data)
    assert whole
    assert early is None or (early.start, early.end, early.body) == (whole.start, whole.end, whole.body)


@given(st.binary(max_size=200))
def test_fields_joined_again_are_the_header(data: bytes) -> None:
    header, _ = parts(data)
    assert b"".join(raw for _, raw in fields(header)) == header


def test_fields_keep_their_folding_and_lose_only_the_case_of_the_name() -> None:
    header = b"BCC: a\r\n b\r\nSubject : \xe9\0\nx:\n"
    assert list(fields(header)) == [(b"bcc", b"BCC: a\r\n b\r\n"), (b"subject", b"Subject : \xe9\0\n"), (b"x", b"x:\n")]


def test_a_dropped_field_goes_with_its_continuations() -> None:
    header = b"A: 1\nBCC: x,\n y\nB: 2\n"
    assert map_fields(header, lambda name, raw: b"" if name == b"bcc" else raw) == b"A: 1\nB: 2\n"


def test_a_hundred_thousand_fields_and_a_huge_line_are_nothing_special() -> None:
    header = b"X: y\n" * 100_000 + b"Z: " + b"z" * 1_000_000 + b"\n"
    assert parts(header + b"\nbody") == (header, b"body")
    assert sum(1 for _ in fields(header)) == 100_001


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"To: a@x\nTo: b@x\nCc: c@x\n", ["a@x", "b@x", "c@x"]),
        (b"To:\r\nTo: a@x\r\n", ["a@x"]),
        (b"BCC: a@x\n", ["a@x"]),
        (b'To: "X, Y"\r\n <xy@x>\r\n', ["xy@x"]),
        (b"To : a@x\n", ["a@x"]),
        (b"To: undisclosed-recipients:;\nBcc: a@x\n", ["a@x"]),
        (b"To: a@x\nResent-To: b@x\nresent-bcc: c@x\n", ["b@x", "c@x"]),
        (b"To: not an address\nResent-To: b@x\n", ["b@x"]),
        (b"To: a@x\nResent-From: b@x\n", ["a@x"]),
        (b"To: J\xf6rg <j@x>, <>\n", ["j@x"]),
        (b"To: -F, -fbounce@x\n", ["-F", "-fbounce@x"]),
        (b"From: a@x\nReply-To: b@x\n", []),
    ],
)
def test_minus_t_takes_the_recipients_that_the_header_names(header: bytes, expected: list[str]) -> None:
    assert [str(address) for address in recipients_from_header(header)] == expected


def test_what_cannot_be_read_is_a_bare_address_and_the_others_are_found() -> None:
    found = recipients_from_header(b"To: a@x, bob@\nCc: c@x\n")
    assert [(a.local_part, a.domain) for a in found] == [("a", "x"), ("bob@", ""), ("c", "x")]


def test_a_bare_carriage_return_is_no_fold() -> None:
    with pytest.raises(ValueError, match="line break"):
        recipients_from_header(b"To: a@x,\r b@y\n")
