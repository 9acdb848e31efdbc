"""Content in chunks (RFC 3030): BDAT says how many octets follow, and so many are read, no matter what they are.

Guarantees: an announced octet is content or is dropped, never read as a command; a dot is a dot;
a last line without an end gets one. What is dropped of one transaction is at most half the limit of
a message more than that limit.
"""

from dataclasses import replace

from . import server_replies as replies
from .commands import Verb
from .reply import Reply
from .server_commands import Chunk


class ChunkReader:
    """Reads what BDAT announces. current is the chunk whose octets are coming."""

    def __init__(self, size_limit: str) -> None:
        self._limit = int(size_limit or "0")
        self.current: Chunk | None = None
        self._left = 0
        self._total = 0  # of the transaction, with what was dropped
        self._last = b"\n"

    def begin(self, chunk: Chunk, refusal: Reply | None) -> bool:
        """Begin a chunk, which is to be refused or not; False where it is too large even to be dropped."""
        self._total += chunk.size
        if self._limit and self._total > self._limit:
            if self._total > self._limit * 3 // 2:
                return False
            refusal = refusal or replies.CHUNK_TOO_LARGE
        self.current = replace(chunk, answer=refusal) if refusal else chunk
        self._left = chunk.size
        return True

    def read(self, buffer: bytes, at: int) -> tuple[bytes, int]:
        """Return content, and how many octets of the buffer were used; at the chunk's end current is None."""
        chunk = self.current
        assert chunk
        data = buffer[at : at + self._left]
        self._left -= len(data)
        is_kept = chunk.answer.code < 400
        if data and is_kept:
            self._last = data[-1:]
            return data, len(data)
        if self._left:
            return b"", len(data)
        if is_kept and chunk.verb is Verb.LAST and self._last != b"\n":
            self._last = b"\n"
            return b"\r\n", 0
        self.current = None
        return b"", len(data)

    def forget(self) -> None:
        """Begin anew: the transaction is over."""
        self.current = None
        self._left = self._total = 0
        self._last = b"\n"
