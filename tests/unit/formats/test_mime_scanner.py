"""What the tables see of a MIME message: fields of parts and of attached messages, and lines of bodies."""

import email
import email.message
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.formats.header import split_header
from sendmail_py.formats.mime_scanner import Item, Kind, MimeScanner, TooDeep, has_parts

MESSAGE = b"""\
Content-Type: multipart/mixed;
\tboundary="out;er"

preamble
--out;er
Content-Type: text/plain
X-Folded: a
 b

first
--out;er
Content-Type: message/rfc822

Subject: attached
Content-Type: multipart/alternative; boundary=in

--in
Content-Disposition: attachment; filename=x.exe

MZ
--in--
after
--out;er
Content-Type: message/rfc822
Content-Transfer-Encoding: base64

U3ViamVjdDogeA==
--out;er--
epilogue
"""
SEEN = [
    ("body", b"preamble\n"),
    ("body", b"--out;er\n"),
    ("mime", b"Content-Type: text/plain\n"),
    ("mime", b"X-Folded: a\n b\n"),
    ("body", b"first\n"),
    ("body", b"--out;er\n"),
    ("mime", b"Content-Type: message/rfc822\n"),
    ("nested", b"Subject: attached\n"),
    ("nested", b"Content-Type: multipart/alternative; boundary=in\n"),
    ("body", b"--in\n"),
    ("mime", b"Content-Disposition: attachment; filename=x.exe\n"),
    ("body", b"MZ\n"),
    ("body", b"--in--\n"),
    ("body", b"after\n"),
    ("body", b"--out;er\n"),
    ("mime", b"Content-Type: message/rfc822\n"),
    ("mime", b"Content-Transfer-Encoding: base64\n"),
    ("body", b"U3ViamVjdDogeA==\n"),
    ("body", b"--out;er--\n"),
    ("body", b"epilogue\n"),
]


def scan(message: bytes, size: int = 1 << 20, body_limit: int = 1 << 20, nesting: int = 100) -> list[Item]:
    """Scan a message that comes in blocks of a size; every item must stand where it says."""
    sections = split_header(message)
    assert sections is not None
    header = email.message_from_bytes(message[: sections.body], policy=email.policy.compat32)
    scanner = MimeScanner([f"{n}: {v}\n".encode() for n, v in header.items()], body_limit, nesting, 2048)
    body = message[sections.body :]
    items = [item for i in range(0, len(body), size) for item in scanner.feed(body[i : i + size])]
    items += scanner.feed(b"", is_last=True)
    assert all(body.startswith(item.raw, item.offset) for item in items)
    return items


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_fields_and_lines_are_found_however_the_stream_is_cut(size: int, line_end: bytes) -> None:
    found = [(item.kind.value, item.raw) for item in scan(MESSAGE.replace(b"\n", line_end), size)]
    assert found == [(kind, raw.replace(b"\n", line_end)) for kind, raw in SEEN]


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_headers_are_found_behind_large_bodies_of_which_no_line_is_wanted(size: int) -> None:
    message = MESSAGE.replace(b"first\n", b"-x\n" + b"--no\n-\n" * 30 + b"y" * 3000 + b"\n-")
    found = [
        (item.kind.value, item.raw) for item in scan(message.replace(b"\n-" + b"--out", b"\n--out"), size, body_limit=0)
    ]
    assert found == [row for row in SEEN if row[0] != "body"]


def test_the_limit_is_one_of_each_body() -> None:
    lines = [
        item.raw for item in scan(MESSAGE.replace(b"first", b"first\nsecond"), body_limit=4) if item.kind is Kind.BODY
    ]
    assert b"first\n" in lines and b"MZ\n" in lines and b"second\n" not in lines


def test_a_digest_holds_messages_and_a_part_without_a_header_is_a_body() -> None:
    head = b"Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: one\n\nx\n--d\nno field\nat all\n"
    assert [(i.kind.value, i.raw) for i in scan(head) if not i.raw.startswith(b"--")] == [
        ("nested", b"Subject: one\n"),
        ("body", b"x\n"),
        ("body", b"no field\n"),
        ("body", b"at all\n"),
    ]


def test_parts_nested_too_deep_are_an_error() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=%d.\n\n--%d.\n" % (n, n) for n in range(12))
    assert scan(deep, nesting=12)
    with pytest.raises(TooDeep, match="mime_nesting_limit"):
        scan(deep, nesting=11)


@given(
    st.lists(
        st.sampled_from([*MESSAGE.splitlines(keepends=True), b"--\n", b"-", b"--in", b"x" * 50 + b"\n"]), max_size=40
    )
)
def test_any_order_of_lines_is_seen_alike_whole_and_octet_by_octet(lines: list[bytes]) -> None:
    message = MESSAGE[:60] + b"\n" + b"".join(lines)
    assert scan(message) == scan(message, 1)
    assert [i for i in scan(message, 3) if i.kind is not Kind.BODY] == [
        i for i in scan(message, body_limit=0) if i.kind is not Kind.BODY
    ]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Content-Type: text/plain", False),
        (b"Content-Type: multipart/mixed; boundary=x", True),
        (b"content-TYPE :\n multipart/mixed;\n boundary=x", True),
        (b"Content-Type: multipart/mixed", False),
        (b"Content-Type: message/rfc822", True),
        (b"Subject: multipart/mixed; boundary=x", False),
    ],
)
@pytest.mark.parametrize("body", [b"", b"--x\n\nSubject: x\n\n--x\n", b"Subject: x\n\n--x\nA: b\n"])
def test_a_message_without_parts_has_no_headers_but_its_own(field: bytes, expected: bool, body: bytes) -> None:
    assert has_parts([b"Subject: y\n", field + b"\n"]) is expected
    scanner = MimeScanner([b"Subject: y\n", field + b"\n"], 0, 100, 2048)
    items = [*scanner.feed(body), *scanner.feed(b"", is_last=True)]
    assert expected or not items


def test_pythons_email_package_finds_the_same_fields() -> None:
    seen = [item.raw.partition(b":")[0].decode() for item in scan(MESSAGE) if item.kind is not Kind.BODY]
    parts = list(email.message_from_bytes(MESSAGE, policy=email.policy.compat32).walk())[1:]
    expected = [name for part in parts for name in part]
    assert sorted(seen) == sorted(expected)
