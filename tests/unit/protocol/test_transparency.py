"""Content on the wire: line ends, dots and long lines, however the content is cut."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.protocol.transparency import ContentEncoder

_PIECES = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b".", b"\n.\n", b"a", b" ", b"x" * 7, "ä€😀".encode(), b"\x80\x80", b"\0", b"\n\n", b"\r\r"]
)
CONTENT = st.lists(_PIECES | st.binary(max_size=5), max_size=40).map(b"".join)
LIMITS = st.sampled_from([0, 5, 8, 20, 998])


def encode(blocks, limit=998):
    encoder = ContentEncoder(limit)
    return b"".join([*map(encoder.encode, blocks), encoder.end()])


def cut(content, places):
    at = [0, *sorted(p % (len(content) + 1) for p in places), len(content)]
    return [content[a:b] for a, b in itertools.pairwise(at)]


def decode(wire):
    """Do what a server does: undo the dots, CRLF to LF."""
    return b"".join(line.removeprefix(b".") + b"\n" for line in wire.split(b"\r\n")[:-1])


def normal(content):
    text = re.sub(rb"\r+(?=\n|\Z)", b"", content).replace(b"\r", b" ")
    return text + b"\n" if text and not text.endswith(b"\n") else text


@given(CONTENT, LIMITS, st.lists(st.integers(0, 300), max_size=10))
def test_blocks_encode_as_the_whole_does(content, limit, places):
    assert encode(cut(content, places), limit) == encode([content], limit)


@given(CONTENT, LIMITS, st.lists(st.integers(0, 300), max_size=10))
def test_no_cr_or_lf_goes_out_alone_and_no_line_is_one_dot(content, limit, places):
    wire = encode(cut(content, places), limit)
    bare = wire.replace(b"\r\n", b"")
    assert b"\r" not in bare and b"\n" not in bare
    assert b"." not in wire.split(b"\r\n")
    assert not wire or wire.endswith(b"\r\n")


@given(CONTENT)
def test_decoding_gives_the_content_back(content):
    assert decode(encode([content], 0)) == normal(content)


@given(CONTENT, st.integers(8, 30))
def test_unfolding_gives_the_content_back_and_no_line_is_too_long(content, limit):
    lines = decode(encode([content], limit)).split(b"\n")
    assert all(len(line) <= limit for line in lines)
    at = 0
    for line in normal(content).split(b"\n"):
        unfolded = {lines[at]}
        at += 1
        while line not in unfolded:  # what a fold begins with is new, or, in the header, was there
            assert lines[at][:1] in (b" ", b"\t")
            unfolded = {u + more for u in unfolded for more in (lines[at], lines[at][1:]) if line.startswith(u + more)}
            at += 1
    assert at == len(lines)


@given(st.text(st.sampled_from("aäß€😀"), max_size=100), st.integers(8, 30))
def test_a_fold_does_not_cut_a_character(text, limit):
    for line in encode([text.encode()], limit).split(b"\r\n"):
        line.decode()


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b""),
        (b"\n", b"\r\n"),
        (b"a", b"a\r\n"),
        (b".", b"..\r\n"),
        (b".\n.\n..\n", b"..\r\n..\r\n...\r\n"),
        (b"a\r\nb\r\r\nc\r", b"a\r\nb\r\nc\r\n"),
        (b"a\rb\n", b"a b\r\n"),
        (b"a\n\r.\r\nb", b"a\r\n .\r\nb\r\n"),
        (b"a\r\n.\r\nMAIL FROM:<x>\r\n", b"a\r\n..\r\nMAIL FROM:<x>\r\n"),
    ],
)
def test_known_content_has_its_known_form(content, wire):
    assert encode([content]) == wire
    assert encode([bytes([octet]) for octet in content]) == wire


def test_a_long_header_field_stays_one_field():
    folded = encode([b"Subject: " + b"x" * 2000 + b"\n\nbody\n"])
    lines = folded.split(b"\r\n")
    assert [len(line) for line in lines[:3]] == [998, 998, 9 + 2000 - 998 - 997 + 1]
    assert lines[1][:1] == lines[2][:1] == b" "


def test_a_long_field_with_blanks_is_the_same_when_it_is_unfolded():
    field = b"To: " + b", ".join(b"user%d@example.org" % number for number in range(500))
    lines = encode([field + b"\n\n" + field + b"\n"]).split(b"\r\n")
    header = lines[: lines.index(b"")]
    assert b"".join(header) == field and max(map(len, header)) <= 998
    assert all(line[:1] == b" " and line.endswith((b",", b"499@example.org")) for line in header[1:])
    assert [len(line) for line in lines[lines.index(b"") + 1 :][:2]] == [998, 998]  # the body: anywhere


def test_blanks_in_a_row_go_to_the_next_line_together():
    assert encode([b"X: abcdefghij  \tklm\n\n"], 16) == b"X: abcdefghij\r\n  \tklm\r\n\r\n"


def test_a_word_after_the_name_of_its_field_stays_there():
    assert encode([b"X: abcdefghijklmnopqrst\n\n"], 16) == b"X: abcdefghijklm\r\n nopqrst\r\n\r\n"


def test_a_folded_line_that_begins_with_a_dot_gets_one_dot_more():
    assert encode([b"." * 12], 5) == b"......\r\n ....\r\n ...\r\n"


def test_content_without_line_ends_is_not_collected():
    encoder = ContentEncoder(998)
    for _ in range(100):
        assert len(encoder.encode(b"x" * 100_000)) > 99_000
