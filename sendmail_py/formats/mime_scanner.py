"""The parts of a MIME message in a stream: header fields of parts and of attached messages, and lines of bodies.

Pure; fed with blocks of what follows a message's own header, it never holds more than a field or a
line. Every item has its offset in the stream. Guarantees: a boundary is looked for in every line
of every length; nothing that a message says makes the work more than linear in its size.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from .header import is_field

_TYPE = re.compile(rb"\s*([^\s;/()]+)\s*/\s*([^\s;()]+)")
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_OPAQUE = (b"base64", b"quoted-printable")  # an attached message that is encoded has no header to be seen
_LONGEST_FIELD = 65536
_LONGEST_LINE = 1 << 20  # a longer one is looked at in part


class Kind(Enum):
    """What an item is: a field of a MIME part's header, one of an attached message's, a line of a body."""

    MIME = "mime"
    NESTED = "nested"
    BODY = "body"


class TooDeep(ValueError):
    """Parts within parts within parts, beyond the limit."""


@dataclass(frozen=True, slots=True)
class Item:
    """One field with its folding, or one line, with its line end, at its offset in the stream."""

    kind: Kind
    offset: int
    raw: bytes


class _Type:
    """What the header of a part says of its content."""

    def __init__(self, is_digest: bool = False) -> None:
        self.major, self.minor = (b"message", b"rfc822") if is_digest else (b"text", b"plain")
        self.boundary = b""
        self.encoding = b""

    def read(self, field: bytes) -> None:
        """Take a header field for what it says of the content."""
        name, _, value = field.partition(b":")
        name = name.strip().lower()
        if name == b"content-type" and (found := _TYPE.match(value)):
            self.major, self.minor = found[1].lower(), found[2].lower()
            self.boundary = _boundary(value.replace(b"\r", b"").replace(b"\n", b""))
        elif name == b"content-transfer-encoding":
            self.encoding = value.strip().lower()

    @property
    def is_multipart(self) -> bool:
        """True where parts follow that a boundary begins."""
        return self.major == b"multipart" and bool(self.boundary)

    @property
    def is_message(self) -> bool:
        """True where a message follows whose header can be seen."""
        return self.major == b"message" and self.minor in (b"rfc822", b"global") and self.encoding not in _OPAQUE


def _boundary(value: bytes) -> bytes:
    found = _BOUNDARY.search(value)
    if found is None:
        return b""
    return re.sub(rb"\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]


def has_parts(header: Iterable[bytes]) -> bool:
    """Say whether a message with these fields has headers beside its own, which a scanner would find."""
    found = _Type()
    for field in header:
        found.read(field)
    return found.is_multipart or found.is_message


class MimeScanner:
    """Finds the items of one message; body_limit is how many octets of each body are wanted as lines.

    header are the fields of the message itself, which are no items.
    """

    def __init__(self, header: Iterable[bytes], body_limit: int, nesting_limit: int, boundary_limit: int) -> None:
        self._body_limit = body_limit
        self._nesting_limit = nesting_limit
        self._boundary_limit = boundary_limit
        self._boundaries: list[tuple[bytes, bool]] = []  # the outermost first; is it a digest?
        self._header: Kind | None = None  # the kind of header that we are in; None: a body
        self._wanted = 0
        self._type = _Type()
        self._field: list[bytes] = []  # its lines
        self._field_size = 0
        self._field_at = 0
        self._taken = 0
        self._left = b""
        self._in_line = False  # what comes next continues a line whose beginning was seen
        for field in header:
            self._type.read(field)
        self._end_header()

    def feed(self, data: bytes, is_last: bool = False) -> Iterator[Item]:
        """Yield what a block brings; raises TooDeep."""
        start = self._taken - len(self._left)
        self._taken += len(data)
        data = self._left + data
        position = 0
        while (begin := self._line_begin(data, position, is_last)) >= 0:
            end = data.find(b"\n", begin) + 1
            if not end and not is_last and len(data) - begin <= _LONGEST_LINE:
                position = begin
                break
            position = end or len(data)
            self._in_line = not end
            yield from self._line(data[begin:position], start + begin)
        else:
            position = ~begin
        self._left = data[position:]
        if is_last:
            yield from self._end_field()

    def _line_begin(self, data: bytes, position: int, is_last: bool) -> int:
        """Return where the next line begins that matters; where none does, ~position of what is not known yet."""
        if self._in_line:
            position = data.find(b"\n", position) + 1 or len(data)
            self._in_line = data[position - 1 : position] != b"\n"
        if position == len(data):
            return ~position
        if self._header is not None or self._wanted > 0 or data.startswith(b"--", position):
            return position
        if (found := data.find(b"\n--", position)) >= 0:
            return found + 1
        last = max(position, data.rfind(b"\n", position) + 1)
        if not is_last and b"--".startswith(data[last:]):
            return ~last
        self._in_line = last < len(data)
        return ~len(data)

    def _line(self, line: bytes, offset: int) -> Iterator[Item]:
        if self._boundaries and line.startswith(b"--") and self._is_boundary(line[2:].rstrip(b"\r\n")):
            yield from self._boundary_line(line, offset)
        elif self._header is None:
            if self._wanted > 0:
                self._wanted -= len(line)
                yield Item(Kind.BODY, offset, line)
        elif line[:1] in (b" ", b"\t") and self._field:
            self._field.append(line)
            self._field_size += len(line)
            if self._field_size > _LONGEST_FIELD:
                yield from self._end_field()
        elif is_field(line):
            yield from self._end_field()
            self._field, self._field_size, self._field_at = [line], len(line), offset
        else:
            yield from self._end_field()
            self._end_header()
            if line.strip(b"\r\n"):
                yield from self._line(line, offset)  # without an empty line before it

    def _is_boundary(self, text: bytes) -> bool:
        return any(text.startswith(boundary) for boundary, _ in self._boundaries)

    def _boundary_line(self, line: bytes, offset: int) -> Iterator[Item]:
        """End the part that a boundary ends, and begin the next; the line itself is one of a body."""
        yield from self._end_field()
        text = line[2:].rstrip(b"\r\n")
        while not text.startswith(self._boundaries[-1][0]):
            self._boundaries.pop()
        boundary, is_digest = self._boundaries[-1]
        if self._body_limit > 0:
            yield Item(Kind.BODY, offset, line)
        if text.startswith(b"--", len(boundary)):
            self._boundaries.pop()
            self._header, self._wanted = None, self._body_limit
        else:
            self._header, self._type = Kind.MIME, _Type(is_digest)

    def _end_field(self) -> Iterator[Item]:
        field, self._field = b"".join(self._field), []
        if field and self._header is not None:
            self._type.read(field)
            yield Item(self._header, self._field_at, field)

    def _end_header(self) -> None:
        """Begin what the header announced: parts, a message with a header of its own, or a body."""
        found, self._type = self._type, _Type()
        self._header, self._wanted = None, self._body_limit
        if found.is_multipart:
            if len(self._boundaries) >= self._nesting_limit:
                raise TooDeep(f"parts are nested deeper than mime_nesting_limit ({self._nesting_limit})")
            self._boundaries.append((found.boundary[: self._boundary_limit], found.minor == b"digest"))
        elif found.is_message:
            self._header = Kind.NESTED
