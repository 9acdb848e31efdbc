"""mbox: how one message stands in a mailbox file (mboxo, with every "From " line quoted).

Pure. A message can be written whole or in chunks of any size; both give the same octets. Each
message ends with one empty line, so whatever follows starts at the beginning of a line.
"""

import time
from collections.abc import Iterable, Iterator

from ..core.address import Address
from .delivery_fields import encode

_FROM = b"\nFrom "
_QUOTED = b"\n>From "


def from_line(sender: Address, when: time.struct_time) -> bytes:
    """Return the From_ line. when is local time; readers split the line at blanks, so the sender holds none."""
    name = "_".join(str(sender).split()) or "MAILER-DAEMON"
    return encode(f"From {name} {time.asctime(when)}\n")


def separator(tail: bytes) -> bytes:
    """Return what must precede a new message in a mailbox that ends with these (two) octets.

    Nothing, unless another program or a crash left the last message unfinished.
    """
    if not tail or tail.endswith(b"\n\n"):
        return b""
    return b"\n" if tail.endswith(b"\n") else b"\n\n"


def entry(content: bytes) -> list[bytes]:
    """Return the content quoted and ended, as buffers to write one after the other."""
    if content.find(_FROM) >= 0:
        content = content.replace(_FROM, _QUOTED)
    end = b"\n" if not content or content.endswith(b"\n") else b"\n\n"
    return [b">", content, end] if content.startswith(_FROM[1:]) else [content, end]


def entry_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Do the same for content that comes in chunks; holds no more than a chunk."""
    carry = b"\n"  # stands for the line end before the content, which is not written again
    skip = 1
    last = b""
    for chunk in chunks:
        data = carry + chunk
        held = _begun(data)
        carry = data[len(data) - held :]
        done = data[: len(data) - held].replace(_FROM, _QUOTED)
        if done:
            yield done[skip:]
            skip = 0
        last = chunk[-1:] or last
    yield carry[skip:] + (b"\n" if last in (b"", b"\n") else b"\n\n")


def _begun(data: bytes) -> int:
    """Return how many octets at the end of data may be the beginning of a From_ line."""
    for length in range(min(len(_FROM) - 1, len(data)), 0, -1):
        if data.endswith(_FROM[:length]):
            return length
    return 0
