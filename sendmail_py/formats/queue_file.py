"""The queue file, format 1: an envelope that `less` can show, the content, then history.

    sendmail-py-queue 1
    id: 660EE6B8F4E4051A2B3
    arrived: 1795435041.123456 Mon, 23 Nov 2026 11:57:21 +0000
    submitter: uid=1000 login=alice pid=4711 cwd="/home/alice" command=""
    from: <alice@example.org>
    to: [ ] <bob@example.net> notify=FAILURE,DELAY orcpt=rfc822;bob@example.net
    flags: [ ] delay-warned  [ ] expire  [ ] queue-only
    size: 0000001532

    (size octets of content, LF line ends)
    2026-11-23T12:01:07Z <bob@example.net> deferred 4.4.1 relay=mx[192.0.2.7]:25 "Connection timed out"

Escape grammar: an octet outside printable ASCII, and `"` `\\` `<` `>`, and a blank in an address,
stands as \\xNN; valid printable UTF-8 stays as it is. The reader is strict: an unknown version, a
line without its colon or a bad escape is refused; lines with unknown names are kept. Light:
imported by sendmail(1).
"""

import time

from ..core.address import Address
from ..core.envelope import Envelope, Mark, Recipient, Submitter
from ..core.errors import QueueFileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[Envelope, str], None]

MAGIC = b"sendmail-py-queue 1\n"
SIZE_DIGITS = 10
HEAD_LIMIT = 16 << 20  # of a submitted file: some 300,000 recipients
COMMAND_LIMIT = 256
_MARKS = (Mark.PENDING, Mark.DELIVERED, Mark.FAILED)
_MARK_COLUMN = len("to: [")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.@;:,[]()")


def escape(text: str) -> str:
    """Write a value so that it holds no blank, quote, bracket or control character."""
    if _PLAIN.issuperset(text):
        return text
    return "".join(c if c in _PLAIN or (c > "\x7f" and c.isprintable()) else _octets(c) for c in text)


def quote(text: str) -> str:
    """Write a value between double quotes; blanks stay readable."""
    return '"' + " ".join(escape(word) for word in text.split(" ")) + '"'


def _octets(c: str) -> str:
    return "".join(f"\\x{octet:02x}" for octet in c.encode("utf-8", "surrogateescape"))


def unescape(text: str) -> str:
    """Read what escape() wrote; raises QueueFileError for a bad escape."""
    if "\\" not in text:
        return text
    first, *parts = text.encode("utf-8", "surrogateescape").split(b"\\")
    out = [first]
    for part in parts:
        digits = part[1:3]
        # int() alone would take " 1", "+1" and "1" too.
        if part[:1] != b"x" or len(digits) != 2 or not _HEX.issuperset(digits):
            raise QueueFileError(f"bad escape in {text!r}")
        out.append(bytes((int(digits, 16),)) + part[3:])
    return b"".join(out).decode("utf-8", "surrogateescape")


def path_text(address: Address) -> str:
    """Write an address between angle brackets."""
    return f"<{escape(str(address))}>"


def _read_path(text: str) -> Address:
    if text[:1] != "<" or text[-1:] != ">":
        raise QueueFileError(f"address expected: {text!r}")
    try:
        return Address.parse(unescape(text[1:-1]))
    except ValueError as error:
        raise QueueFileError(f"{error}: {text!r}") from None


# --- writing ---------------------------------------------------------------------------------


def render(envelope: Envelope) -> bytes:
    """Return the head of a queue file, up to the content; sets the offsets in the envelope."""
    seconds = envelope.arrived_at // 1_000_000
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))
    head = f"id: {envelope.queue_id}\n" if envelope.queue_id else ""
    head += f"arrived: {seconds}.{envelope.arrived_at % 1_000_000:06} {date}\n{_submitter_line(envelope.submitter)}\n"
    if envelope.reverse_path is not None:
        head += f"from: {path_text(envelope.reverse_path)}\n"
    chunks = [MAGIC, head.encode("utf-8", "surrogateescape")]
    offset = len(chunks[0]) + len(chunks[1])
    for recipient in envelope.recipients:
        line = _recipient_line(recipient).encode("utf-8", "surrogateescape")
        recipient.offset = offset + _MARK_COLUMN
        offset += len(line)
        chunks.append(line)
    tail = "".join(line + "\n" for line in _tail_lines(envelope))
    chunks.append(f"{tail}size: {envelope.size:0{SIZE_DIGITS}}\n\n".encode("utf-8", "surrogateescape"))
    envelope.content_offset = offset + len(chunks[-1])
    return b"".join(chunks)


def size_offset(envelope: Envelope) -> int:
    """Return where the digits of the size stand, for a writer that learns it last."""
    return envelope.content_offset - SIZE_DIGITS - 2


def size_digits(size: int) -> bytes:
    """Return the digits of a size as they stand in the file."""
    return f"{size:0{SIZE_DIGITS}}".encode()


def _submitter_line(s: Submitter) -> str:
    command = quote(s.command[:COMMAND_LIMIT])
    line = f"submitter: uid={s.uid} login={escape(s.login)} pid={s.pid} cwd={quote(s.cwd)} command={command}"
    for name, value in (("helo", s.helo), ("protocol", s.protocol), ("sasl", s.sasl_username)):
        if value:
            line += f" {name}={escape(value)}"
    return line


def _recipient_line(recipient: Recipient) -> str:
    line = f"to: [{recipient.mark}] {path_text(recipient.forward_path)}"
    if recipient.notify:
        line += " notify=" + ",".join(recipient.notify)
    if recipient.original:
        line += " orcpt=" + escape(recipient.original)
    return line + "\n"


def _tail_lines(e: Envelope) -> list[str]:
    flags = ((e.delay_warned, "delay-warned"), (e.expire, "expire"), (e.queue_only, "queue-only"))
    lines = ["flags: " + "  ".join(f"[{'x' if on else ' '}] {name}" for on, name in flags)]
    if e.body:
        lines.append("body: " + e.body)
    if e.smtputf8:
        lines.append("smtputf8: yes")
    if e.envid:
        lines.append("envid: " + escape(e.envid))
    if e.ret:
        lines.append("ret: " + e.ret)
    if e.maildrop:
        lines.append(f"maildrop: {e.maildrop[0]} {e.maildrop[1]} {e.maildrop[2]}")
    if e.parent:
        lines.append(f"parent: {e.parent[0]} {e.parent[1]}")
    if e.visited:
        lines.append("visited: " + " ".join(escape(name) for name in e.visited))
    if e.controlling_uid >= 0:
        lines.append(f"controlling-uid: {e.controlling_uid}")
    if e.client:
        lines.append("client: " + escape(e.client))
    if e.origin:
        lines.append("origin: " + escape(e.origin))
    if e.refused:
        lines.append("refused: " + quote(e.refused))
    if e.full_name:
        lines.append("full-name: " + quote(e.full_name))
    return lines + e.unknown


# --- reading ---------------------------------------------------------------------------------


def head_end(data: bytes) -> int:
    """Return where the content begins, or -1 when the head is not all there yet."""
    end = data.find(b"\n\n")
    return end + 2 if end >= 0 else -1


def parse(data: bytes) -> Envelope:
    """Read the head of a queue file; raises QueueFileError."""
    if not data.startswith(MAGIC):
        raise QueueFileError("not a queue file, or one of a version this program does not know")
    end = data.find(b"\n\n")
    if end < 0:
        raise QueueFileError("the head of the queue file is torn")
    e = Envelope("", 0, None, [], Submitter(-1))
    e.content_offset = end + 2
    offset = len(MAGIC)
    e.size = -1
    try:
        for raw in data[offset:end].split(b"\n"):
            line = raw.decode("utf-8", "surrogateescape")
            if line.startswith("to:"):
                e.recipients.append(_read_recipient(line, offset + _MARK_COLUMN))
            else:
                name, colon, value = line.partition(": ")
                if not colon:
                    raise QueueFileError(f"line without a name: {line[:60]!r}")
                reader = _READERS.get(name)
                if reader:
                    reader(e, value)
                else:
                    e.unknown.append(line)
            offset += len(raw) + 1
    except (ValueError, KeyError, IndexError) as error:
        raise QueueFileError(f"bad line in the queue file: {raw[:80]!r}") from error
    if e.size < 0:
        raise QueueFileError("the queue file does not say its size")
    return e


def _read_recipient(line: str, offset: int) -> Recipient:
    mark = line[_MARK_COLUMN]
    if not line.startswith("to: [") or mark not in _MARKS or line[_MARK_COLUMN + 1 : _MARK_COLUMN + 3] != "] ":
        raise QueueFileError(f"bad mark: {line[:60]!r}")
    path, *options = line[_MARK_COLUMN + 3 :].split(" ")
    recipient = Recipient(_read_path(path), mark=mark, offset=offset)
    for option in options:
        name, _, value = option.partition("=")
        if name == "notify":
            recipient.notify = tuple(value.split(","))
        elif name == "orcpt":
            recipient.original = unescape(value)
        else:
            raise QueueFileError(f"unknown recipient option: {option!r}")
    return recipient


def _read_arrived(e: Envelope, value: str) -> None:
    seconds, _, micros = value.partition(" ")[0].partition(".")
    e.arrived_at = int(seconds) * 1_000_000 + int(micros)


def _read_submitter(e: Envelope, value: str) -> None:
    fields = dict(_submitter_fields(value))
    s = e.submitter = Submitter(int(fields["uid"]), fields.get("login", ""), int(fields.get("pid", "0")))
    s.cwd, s.command = fields.get("cwd", ""), fields.get("command", "")
    s.helo, s.protocol, s.sasl_username = fields.get("helo", ""), fields.get("protocol", ""), fields.get("sasl", "")


def _submitter_fields(text: str) -> "list[tuple[str, str]]":
    fields = []
    while text:
        name, _, rest = text.partition("=")
        if rest[:1] == '"':
            value, _, text = rest[1:].partition('"')
            text = text.lstrip(" ")
        else:
            value, _, text = rest.partition(" ")
        fields.append((name, unescape(value)))
    return fields


def _read_flags(e: Envelope, value: str) -> None:
    e.delay_warned = "[x] delay-warned" in value
    e.expire = "[x] expire" in value
    e.queue_only = "[x] queue-only" in value


def _read_maildrop(e: Envelope, value: str) -> None:
    name, inode, ctime = value.split(" ")
    e.maildrop = name, int(inode), int(ctime)


def _read_parent(e: Envelope, value: str) -> None:
    parent, offset = value.split(" ")
    e.parent = parent, int(offset)


def _read_visited(e: Envelope, value: str) -> None:
    e.visited = tuple(unescape(name) for name in value.split(" "))


def _read_size(e: Envelope, value: str) -> None:
    if len(value) != SIZE_DIGITS or not (value.isascii() and value.isdigit()) or e.size >= 0:
        raise QueueFileError("bad size")
    e.size = int(value)


def _as_it_is(value: str) -> str:
    return value


def _setter(name: str, read: "Callable[[str], object]" = _as_it_is) -> "Reader":
    def reader(e: Envelope, value: str) -> None:
        setattr(e, name, read(value))

    return reader


_READERS: "dict[str, Reader]" = {
    "id": _setter("queue_id"),
    "arrived": _read_arrived,
    "submitter": _read_submitter,
    "from": _setter("reverse_path", _read_path),
    "flags": _read_flags,
    "body": _setter("body"),
    "smtputf8": _setter("smtputf8", lambda value: value == "yes"),
    "envid": _setter("envid", unescape),
    "ret": _setter("ret"),
    "maildrop": _read_maildrop,
    "parent": _read_parent,
    "visited": _read_visited,
    "controlling-uid": _setter("controlling_uid", int),
    "client": _setter("client", unescape),
    "origin": _setter("origin", unescape),
    "refused": _setter("refused", lambda value: unescape(value.strip('"'))),
    "full-name": _setter("full_name", lambda value: unescape(value.strip('"'))),
    "size": _read_size,
}


# --- history ---------------------------------------------------------------------------------


def history_line(seconds: int, address: Address, outcome: str, status: str, relay: str, reason: str) -> bytes:
    """Return one line of history; seconds since the epoch."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    line = f"{stamp} {path_text(address)} {outcome} {status} relay={escape(relay)} {quote(reason)}\n"
    return line.encode("utf-8", "surrogateescape")


def read_history(data: bytes) -> "list[tuple[str, Address, str, str, str, str]]":
    """Read the lines after the content as (stamp, address, outcome, status, relay, reason).

    A line torn by a crash is left out: history informs, it decides nothing.
    """
    rows = []
    for raw in data.split(b"\n"):
        fields = raw.decode("utf-8", "surrogateescape").split(" ", 5)
        if len(fields) == 6 and fields[4].startswith("relay=") and _is_quoted(fields[5]):
            try:
                address = _read_path(fields[1])
                rows.append(
                    (fields[0], address, fields[2], fields[3], unescape(fields[4][6:]), unescape(fields[5][1:-1]))
                )
            except QueueFileError:
                continue
    return rows


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]
