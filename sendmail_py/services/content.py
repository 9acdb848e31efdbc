"""Content as intake and the SMTP client read it from an open file: the header whole, the body in blocks.

Guarantees: a large body is never in memory, and CRLF is LF in what is yielded; any other CR stays.
"""

import os
from collections.abc import Iterable, Iterator, Sequence

from ..formats.checks import Edit, edited
from ..formats.header import split_header

_BLOCK = 262144
_HEADER_LIMIT = 16 << 20


class Body:
    """A body that can be read more than once: octets that are there, then a part of an open file (or of octets)."""

    __slots__ = ("_head", "_offset", "_rest", "_source", "edits")

    def __init__(self, head: bytes, source: int | bytes = b"", offset: int = 0, rest: int = 0) -> None:
        self._head = head
        self._source = source
        self._offset = offset
        self._rest = rest
        self.edits: Sequence[Edit] = ()

    def raw(self) -> Iterator[bytes]:
        """Yield the body as it came."""
        yield self._head
        yield from blocks(self._source, self._offset, self._rest)

    def blocks(self) -> Iterator[bytes]:
        """Yield the body as it is to be: with its edits, and LF for CRLF."""
        parts = edited(self.raw(), self.edits) if self.edits else self.raw()
        yield from unix_line_ends(b"", parts)

    @property
    def whole(self) -> bytes | None:
        """The body as it is to be, where it is all in memory."""
        if self._rest:
            return None
        return b"".join(self.blocks()) if self.edits else unix_line_ends_whole(self._head)


def split_content(source: int | bytes, offset: int, size: int) -> tuple[bytes, Iterator[bytes] | None]:
    """Return the beginning with the whole header in it, and blocks of what follows (None: nothing)."""
    head = _read(source, min(size, _BLOCK), offset)
    while len(head) < size and len(head) < _HEADER_LIMIT and split_header(head, whole=False) is None:
        more = _read(source, min(size - len(head), len(head)), offset + len(head))
        if not more:
            break
        head += more
    if len(head) >= size:
        return head, None
    return head, blocks(source, offset + len(head), size - len(head))


def _read(source: int | bytes, size: int, offset: int) -> bytes:
    return source[offset : offset + size] if isinstance(source, bytes) else os.pread(source, size, offset)


def blocks(source: int | bytes, offset: int, size: int) -> Iterator[bytes]:
    """Yield size octets of an open file from offset on, in blocks."""
    while size > 0:
        block = _read(source, min(_BLOCK, size), offset)
        if not block:
            raise OSError(5, "the message ends too early")
        yield block
        offset += len(block)
        size -= len(block)


def unix_line_ends_whole(data: bytes) -> bytes:
    """Return the text with CRLF as LF; any other CR stays."""
    return data.replace(b"\r\n", b"\n")


def unix_line_ends(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    """The same for a text in blocks."""
    data = first
    for block in rest:
        held = b"\r" if data.endswith(b"\r") else b""
        yield unix_line_ends_whole(data[: len(data) - len(held)])
        data = held + block
    yield unix_line_ends_whole(data)
