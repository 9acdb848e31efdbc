"""DKIM signatures (RFC 6376, 8463), relaxed/relaxed: what is signed, and the field that says so.

Pure. Content is what goes over the wire, with CRLF. Guarantees: a body is hashed in blocks, however
large; From is signed once more than it occurs, so that no second one can be added.
"""

import base64
import hashlib
import re
from collections.abc import Iterable

_BLANKS = re.compile(rb"[ \t]+")
_BLOCK = 1 << 16
_SLICE = 1 << 14
_EMPTY = b"\r\n" * (_BLOCK // 2)
# RFC 6376 5.4.1; each is signed as often as it occurs.
SIGNED = (
    b"from sender reply-to to cc subject date message-id in-reply-to references mime-version content-type "
    b"content-transfer-encoding resent-date resent-from resent-to resent-cc list-id list-help list-unsubscribe "
    b"list-unsubscribe-post list-subscribe list-post list-owner list-archive"
).split()
_WIDTH = 72


class BodyHash:
    """SHA-256 of a body in its relaxed form (3.4.4)."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._empty = 0  # line ends whose lines may turn out to be the last, empty ones
        self._tail = b""  # blanks, or a CR, at the end of what has come
        self._has_text = False

    def update(self, data: bytes) -> None:
        """Take a block, cut anywhere."""
        for at in range(0, len(data), _SLICE):  # each blank that is replaced costs many times its size
            self._update(data[at : at + _SLICE])

    def _update(self, data: bytes) -> None:
        data = self._tail + data
        text = data.rstrip(b" \t\r\n")
        trailing = _relaxed(data[len(text) :])
        if text:
            self._add_line_ends()
            self._hash.update(_relaxed(text))
            self._has_text = True
        self._empty += trailing.count(b"\r\n")
        self._tail = trailing.rpartition(b"\n")[2]

    def _add_line_ends(self) -> None:
        while self._empty:
            number = min(self._empty, _BLOCK // 2)
            self._hash.update(_EMPTY[: 2 * number])
            self._empty -= number

    def digest(self) -> bytes:
        """Return the hash."""
        if self._has_text:
            self._hash.update(b"\r\n")
            self._has_text = False
        return self._hash.digest()


def _relaxed(text: bytes) -> bytes:
    if b"\t" in text or b"  " in text:
        text = _BLANKS.sub(b" ", text)
    return text.replace(b" \r\n", b"\r\n")


def relaxed_field(raw: bytes) -> bytes:
    """Return a field in its relaxed form (3.4.2), without its line end."""
    name, _, value = raw.partition(b":")
    value = _BLANKS.sub(b" ", value.replace(b"\r\n", b"").replace(b"\n", b""))
    return name.strip(b" \t").lower() + b":" + value.strip(b" \t")


def signed_names(names: Iterable[bytes]) -> list[bytes]:
    """Return which fields are signed, as h= has them: those that are there, and From once more."""
    there = list(names)
    return [name for name in SIGNED for _ in range(there.count(name))] + [b"from"]


def unsigned_field(domain: str, selector: str, algorithm: str, seconds: int, names: list[bytes], body: bytes) -> bytes:
    """Return the field before it is signed, its lines ended by CRLF; body is the body's hash."""
    lines = [f"DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={domain};", f" s={selector}; t={seconds};"]
    line = " h=" + names[0].decode()
    for name in names[1:]:
        if len(line) + len(name) > _WIDTH:
            lines.append(line + ":")
            line = "  " + name.decode()
        else:
            line += ":" + name.decode()
    lines += [line + ";", f" bh={base64.b64encode(body).decode()};", " b="]
    return "\r\n".join(lines).encode()


def signed_text(fields: Iterable[tuple[bytes, bytes]], names: Iterable[bytes], unsigned: bytes) -> bytes:
    """Return what is signed (3.7): the fields of these names, the last of each first, and the field itself."""
    left: dict[bytes, list[bytes]] = {}
    for name, raw in fields:
        left.setdefault(name, []).append(raw)
    picked = [left[name].pop() for name in names if left.get(name)]
    return b"".join(relaxed_field(raw) + b"\r\n" for raw in picked) + relaxed_field(unsigned)


def signed_field(unsigned: bytes, signature: bytes) -> bytes:
    """Return the whole field, with its line end, for a queue file: lines end in LF."""
    text = base64.b64encode(signature)
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return unsigned.replace(b"\r\n", b"\n") + b"\n  ".join(lines) + b"\n"


def record(key_type: str, public: bytes) -> str:
    """Return the text of the DNS record (3.6.1)."""
    return f"v=DKIM1; k={key_type}; p={base64.b64encode(public).decode()}"


def tags(text: str) -> dict[str, str]:
    """Return the tags of a record, without white space in their values."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): "".join(value.split()) for name, equals, value in pairs if equals}
