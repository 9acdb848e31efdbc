"""The content of a message while it comes in: in memory while it is small, then in a file without a name.

What goes wrong meanwhile is an answer, given when the client has said all.
"""

import errno
from collections.abc import Callable

from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..spool import atomic

_IN_MEMORY = 1 << 16
_PIECES = 64  # so many are made one: small ones take many times the memory of what they hold
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TROUBLE = replies.reply(451, "4.3.0", "Error: queue file write error")
NO_ROOM = replies.reply(452, "4.3.1", "Insufficient system storage")


def trouble(error: OSError) -> Reply:
    """Return the answer where the disk fails: worth another attempt."""
    return NO_ROOM if error.errno in _NO_ROOM else TROUBLE


class Incoming:
    """The content of one message while it comes in."""

    __slots__ = ("_descriptor", "_limit", "_new_file", "_pieces", "has_bare_newline", "last", "size", "trouble")

    def __init__(self, new_file: Callable[[], int], limit: int) -> None:
        self._new_file = new_file
        self._limit = limit
        self._pieces: list[bytes] = []
        self._descriptor = -1
        self.size = 0
        self.last = b""
        self.has_bare_newline = False
        self.trouble: Reply | None = None

    def write(self, data: bytes) -> None:
        """Take a block; after trouble the rest passes by unwritten."""
        self.size += len(data)
        lone_start = data[:1] == b"\n" and self.last != b"\r"
        if lone_start or data.count(b"\n") - (data[:1] == b"\n") != data.count(b"\r\n"):
            self.has_bare_newline = True
        self.last = data[-1:]
        if self.trouble:
            return
        if self._limit and self.size > self._limit:
            self._fail(replies.TOO_LARGE)
            return
        self._pieces.append(data)
        if len(self._pieces) > _PIECES:
            self._pieces = [b"".join(self._pieces)]
        if self._descriptor >= 0 or self.size > _IN_MEMORY:
            try:
                self._to_file(self._new_file)
            except OSError as error:
                self._fail(trouble(error))

    def _to_file(self, new_file: Callable[[], int]) -> None:
        if self._descriptor < 0:
            self._descriptor = new_file()
        pieces, self._pieces = self._pieces, []
        atomic.write_all(self._descriptor, pieces)

    def _fail(self, answer: Reply) -> None:
        self.trouble = answer
        self.close()

    def whole(self) -> int | bytes:
        """Return the whole content, or a file that holds it."""
        return self._descriptor if self._descriptor >= 0 else b"".join(self._pieces)

    def close(self) -> None:
        """Forget the content."""
        self._pieces.clear()
        descriptor, self._descriptor = self._descriptor, -1
        atomic.let_go(descriptor)

    def __del__(self) -> None:
        self.close()
