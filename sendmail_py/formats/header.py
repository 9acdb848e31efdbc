"""The header section of a message, as bytes: where it ends, and its fields one by one.

Nothing is serialised again: a field that nobody changes comes back octet for octet, whatever
its folding, line ends or character set. Light: imported by sendmail(1).
"""

from ..core.address import Address
from .address_list import parse_address_list, recipient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# RFC 5322 ftext: printable ASCII without the colon.
_NAME_OCTETS = bytes(c for c in range(33, 127) if c != 58)
_BLANKS = b" \t"
_TO = (b"to", b"cc", b"bcc")
_RESENT_TO = (b"resent-to", b"resent-cc", b"resent-bcc")
_LONGEST_ADDRESS = 998


class Sections:
    """Where the sections of a message lie: fields in [start, end), the body from body.

    start stands after any mbox "From " lines. When body equals end, no empty line parts header
    and body, and whoever writes the message puts one there.
    """

    __slots__ = ("body", "end", "start")

    def __init__(self, start: int, end: int, body: int) -> None:
        self.start = start
        self.end = end
        self.body = body


def split_header(data: bytes, whole: bool = True) -> "Sections | None":
    """Find the end of the header: an empty line (LF or CRLF), or the first line that is no field.

    With whole=False data is a beginning of the message, and None means that the end of the
    header is not in it yet.
    """
    start = _after_mbox_lines(data)
    position = start
    while True:
        line_end = data.find(b"\n", position)
        if line_end < 0:
            if not whole:
                return None
            if position < len(data) and not _belongs(data, position, len(data), position > start):
                return Sections(start, position, position)
            return Sections(start, len(data), len(data))
        if line_end - position < 2 and data[position:line_end] in (b"", b"\r"):
            return Sections(start, position, line_end + 1)
        if not _belongs(data, position, line_end, position > start):
            return Sections(start, position, position)
        position = line_end + 1


def _after_mbox_lines(data: bytes) -> int:
    position = 0
    while True:
        name = position
        while data[name : name + 1] == b">":
            name += 1
        if not data.startswith(b"From ", name):
            return position
        position = data.find(b"\n", name) + 1
        if not position:
            return len(data)


def is_field(line: bytes) -> bool:
    """Say whether a line begins a header field."""
    return _belongs(line, 0, len(line), False)


def _belongs(data: bytes, start: int, end: int, may_continue: bool) -> bool:
    if may_continue and data[start] in _BLANKS:
        return True
    colon = data.find(b":", start, end)
    # A field name may be followed by blanks (RFC 5322 4.5), but holds none.
    name = data[start:colon].rstrip(_BLANKS) if colon > start else b""
    return bool(name) and not name.translate(None, _NAME_OCTETS)


def fields(header: bytes) -> "Iterator[tuple[bytes, bytes]]":
    """Yield each field as (name in lower case, all its octets with folding and line end)."""
    position = 0
    while position < len(header):
        end = header.find(b"\n", position) + 1
        while end and header[end : end + 1] in (b" ", b"\t"):
            end = header.find(b"\n", end) + 1
        raw = header[position : end or len(header)]
        yield raw.partition(b":")[0].rstrip(_BLANKS).lower(), raw
        position += len(raw)


def map_fields(header: bytes, change: "Callable[[bytes, bytes], bytes]") -> bytes:
    """Return the header with each field (name, octets) replaced by what change returns; b"" drops it."""
    return b"".join(change(name, raw) for name, raw in fields(header))


def field_text(raw: bytes) -> str:
    """Return what follows the colon, each octet of a line break in it a blank, so that offsets stay.

    Octets that are no UTF-8 become surrogate escapes.
    """
    value = raw.partition(b":")[2].rstrip(b"\r\n")
    return value.replace(b"\r\n", b"  ").replace(b"\n", b" ").decode("utf-8", "surrogateescape")


def recipients_from_header(header: bytes) -> "list[Address]":
    """Return the recipients that the header names, for -t: To, Cc and Bcc.

    When one of Resent-To, -Cc or -Bcc is there, only these count. What cannot be read is a bare
    address as it stands, so that it bounces and the others get their mail, as with sendmail and
    Postfix. Raises ValueError for a control character, and for what is too long for an address.
    """
    plain = [raw for name, raw in fields(header) if name in _TO]
    resent = [raw for name, raw in fields(header) if name in _RESENT_TO]
    found = []
    for raw in resent or plain:
        text = field_text(raw)
        try:
            found += _recipients(text)
        except ValueError:
            found += [address for part in text.split(",") for address in _recipients_or_text(part)]
    return [address for address in found if address]


def _recipients(text: str) -> "list[Address]":
    return [recipient(mailbox, text) for mailbox in parse_address_list(text, lenient=True)]


def _recipients_or_text(text: str) -> "list[Address]":
    try:
        return _recipients(text)
    except ValueError:
        if len(text) > _LONGEST_ADDRESS or not text.replace("\t", " ").isprintable():
            raise
        return [Address(" ".join(text.split()))]
