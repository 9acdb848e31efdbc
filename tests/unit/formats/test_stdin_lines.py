"""The dot rule of sendmail(1): the same content whatever blocks it comes in."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendmail_py.formats.stdin_lines import DotReader

texts = st.lists(st.sampled_from([b".", b"\n", b"\r", b"a", b"\r\n", b"\n.\n"]), max_size=14).map(b"".join)


def read(blocks: list[bytes]) -> tuple[bytes, bool]:
    """Return the content of these blocks, and whether a lone dot ended it."""
    reader = DotReader()
    out = []
    for block in blocks:
        out.append(reader.feed(block))
        if reader.ended:
            break
    out.append(reader.finish())
    return b"".join(out), reader.ended


def expected(text: bytes) -> tuple[bytes, bool]:
    """Return the same by the rule, line for line."""
    out = []
    for line in text.split(b"\n"):
        if line in (b".", b".\r"):
            return b"".join(one + b"\n" for one in out), True
        out.append(line[1:] if line.startswith(b"..") else line)
    return b"\n".join(out), False


@given(texts)
def test_a_text_read_whole_follows_the_rule_line_for_line(text: bytes) -> None:
    assert read([text]) == expected(text)


@given(texts, st.lists(st.integers(1, 3), min_size=14, max_size=42))
@example(b"a\r\n.\r\nb", [1] * 14)
@example(b"..\n.", [1] * 14)
def test_any_cut_into_blocks_gives_what_the_whole_gives(text: bytes, sizes: list[int]) -> None:
    blocks = []
    for size in sizes:
        blocks.append(text[:size])
        text = text[size:]
    blocks.append(text)
    assert read(blocks) == read([b"".join(blocks)])


@pytest.mark.parametrize(
    ("text", "content", "ended"),
    [
        (b"a\n.\nb\n", b"a\n", True),
        (b"a\r\n.\r\nb", b"a\r\n", True),
        (b".\nrest", b"", True),
        (b"a\n.", b"a\n", True),
        (b"a\n..\nb\n", b"a\n.\nb\n", False),
        (b"a\n...\n", b"a\n..\n", False),
        (b"..", b".", False),
        (b".x\n", b".x\n", False),
        (b".\rx\n", b".\rx\n", False),
        (b"a.\n.b\n", b"a.\n.b\n", False),
        (b"", b"", False),
        (b"\n", b"\n", False),
    ],
)
def test_a_lone_dot_ends_and_two_dots_mean_one(text: bytes, content: bytes, ended: bool) -> None:
    assert read([text]) == (content, ended)
