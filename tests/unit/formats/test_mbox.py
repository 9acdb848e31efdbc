"""mbox text: quoting, chunks, separators, and what Python's own reader makes of it."""

import mailbox
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sendmail_py.core.address import NULL_SENDER, Address
from sendmail_py.formats import mbox

WHEN = time.struct_time((2026, 11, 3, 11, 57, 21, 1, 307, 0))
PARTS = st.sampled_from([b"From ", b"\n", b"Fro", b"m ", b">", b"F", b"x", b"\n\n", b"\r\n", b"\0\xff", b" "])
CONTENT = st.lists(PARTS, max_size=30).map(b"".join)


def test_the_from_line_has_the_form_of_asctime() -> None:
    assert mbox.from_line(Address("alice", "example.org"), WHEN) == b"From alice@example.org Tue Nov  3 11:57:21 2026\n"


def test_the_null_sender_is_mailer_daemon_in_the_from_line() -> None:
    assert mbox.from_line(NULL_SENDER, WHEN).startswith(b"From MAILER-DAEMON Tue ")


def test_blanks_in_the_sender_do_not_split_the_from_line() -> None:
    assert mbox.from_line(Address("a  b", "x"), WHEN).split(b" ")[1] == b'"a_b"@x'


def test_every_from_line_is_quoted() -> None:
    content = b"From a\nFrom: b\n\nFrom c\n From d\n>From e\n"
    assert b"".join(mbox.entry(content)) == b">From a\nFrom: b\n\n>From c\n From d\n>From e\n\n"


def test_content_without_a_last_line_end_gets_one() -> None:
    assert b"".join(mbox.entry(b"a\n\nb")) == b"a\n\nb\n\n"


@given(CONTENT, st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_chunks_give_the_same_octets_as_the_whole(content: bytes, lengths: list[int]) -> None:
    chunks, position = [], 0
    while position < len(content):
        length = lengths[len(chunks) % len(lengths)]
        chunks.append(content[position : position + length])
        position += length
    assert b"".join(mbox.entry_chunks(chunks)) == b"".join(mbox.entry(content))


@given(CONTENT)
def test_no_line_of_the_content_can_begin_a_message(content: bytes) -> None:
    written = b"".join(mbox.entry(content))
    assert not written.startswith(b"From ") and b"\nFrom " not in written
    assert written.endswith(b"\n\n") or written == b"\n"


@settings(max_examples=30)
@given(contents=st.lists(CONTENT, min_size=1, max_size=5))
def test_pythons_reader_finds_as_many_messages_as_were_written(tmp_path_factory: object, contents: list[bytes]) -> None:
    path = Path(tmp_path_factory.mktemp("mbox")) / "box"  # type: ignore[attr-defined]
    head = mbox.from_line(NULL_SENDER, WHEN) + b"Subject: x\n\n"
    path.write_bytes(b"".join(head + b"".join(mbox.entry(c)) for c in contents))
    assert len(mailbox.mbox(path)) == len(contents)


def test_a_torn_end_is_completed_before_the_next_message() -> None:
    assert [mbox.separator(tail) for tail in (b"", b"\n\n", b"a\n", b"ab", b"\n", b"a")] == [
        b"",
        b"",
        b"\n",
        b"\n\n",
        b"\n",
        b"\n\n",
    ]
