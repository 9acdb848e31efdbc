"""Reading a queue file, format 1 (queue_file.py describes and writes it).

Strict: an unknown version, a line without its colon, a bad escape, mark or size is refused by a
QueueFileError; lines with unknown names are kept, so that a file of a later format 1 survives.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from ..core.address import Address
from ..core.envelope import MAILBOX, Envelope, Mark, Recipient, Submitter
from ..core.errors import QueueFileError
from .queue_file import FLAGS, MARK_COLUMN
from .queue_text import MAGIC, SIZE_DIGITS

Reader = Callable[[Envelope, str], None]

_MARKS = (Mark.PENDING, Mark.DELIVERED, Mark.FAILED)
_LONGEST_FLAGS = 1000
_FIELD = re.compile(r'([^=]*)=(?:"([^"]*)(?:" *|$)|([^ ]*)(?: |$))')
_HEX = frozenset(b"0123456789abcdefABCDEF")


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


def _read_path(text: str) -> Address:
    if text[:1] != "<" or text[-1:] != ">":
        raise QueueFileError(f"address expected: {text!r}")
    try:
        return Address.parse(unescape(text[1:-1]))
    except ValueError as error:
        raise QueueFileError(f"{error}: {text!r}") from None


def head_end(data: bytes) -> int:
    """Return where the content begins, or -1 when the head is not all there yet."""
    end = data.find(b"\n\n")
    return end + 2 if end >= 0 else -1


def parse(data: bytes, readers: Mapping[str, Reader] | None = None) -> Envelope:
    """Read the head of a queue file, recipients and all else or what some readers read; raises QueueFileError."""
    readers = _READERS if readers is None else readers
    if not data.startswith(MAGIC):
        raise QueueFileError("not a queue file, or one of a version this program does not know")
    end = data.find(b"\n\n")
    if end < 0:
        raise QueueFileError("the head of the queue file is torn")
    e = Envelope("", 0, None, [], Submitter(-1))
    e.content_offset = end + 2
    offset = len(MAGIC)
    e.size = -1
    head = data[offset:end].decode("utf-8", "surrogateescape")
    octets_of = len if head.isascii() else _octets_of
    line = ""
    try:
        for line in head.split("\n"):
            if line.startswith("to:"):
                e.recipients.append(_read_recipient(line, offset + MARK_COLUMN))
            else:
                name, colon, value = line.partition(": ")
                if not colon:
                    raise QueueFileError(f"line without a name: {line[:60]!r}")
                reader = readers.get(name)
                if reader:
                    reader(e, value)
                    if name == "flags":
                        e.boxes = {flag: offset + column for flag, column in _flags(value)[1]}
                else:
                    e.unknown.append(line)
            offset += octets_of(line) + 1
    except (ValueError, KeyError, IndexError) as error:
        raise QueueFileError(f"bad line in the queue file: {line[:80]!r}") from error
    if e.size < 0:
        raise QueueFileError("the queue file does not say its size")
    return e


def _octets_of(line: str) -> int:
    return len(line.encode("utf-8", "surrogateescape"))


def _read_recipient(line: str, offset: int) -> Recipient:
    mark = line[MARK_COLUMN]
    if not line.startswith("to: [") or mark not in _MARKS or line[MARK_COLUMN + 1 : MARK_COLUMN + 3] != "] ":
        raise QueueFileError(f"bad mark: {line[:60]!r}")
    text, has_target, target = line[MARK_COLUMN + 3 :].partition(' target="')
    path, *options = text.split(" ")
    recipient = Recipient(_read_path(path), mark=mark, offset=offset)
    if has_target:
        recipient.target = _read_target(target)
    for option in options:
        name, _, value = option.partition("=")
        if name == "notify":
            recipient.notify = tuple(value.split(","))
        elif name == "orcpt":
            recipient.original = unescape(value)
        else:
            raise QueueFileError(f"unknown recipient option: {option!r}")
    return recipient


def _read_target(text: str) -> str:
    """Read a target, which comes last, up to its closing quote."""
    target = unescape(text[:-1])
    if text[-1:] != '"' or '"' in text[:-1] or (target != MAILBOX and target[:1] not in ("|", "/")):
        raise QueueFileError(f"bad target: {text[:60]!r}")
    return target


def _read_arrived(e: Envelope, value: str) -> None:
    seconds, _, micros = value.partition(" ")[0].partition(".")
    e.arrived_at = int(seconds) * 1_000_000 + int(micros)


def _read_submitter(e: Envelope, value: str) -> None:
    fields = dict(_submitter_fields(value))
    s = e.submitter = Submitter(int(fields["uid"]), fields.get("login", ""), int(fields.get("pid", "0")))
    s.cwd, s.command = fields.get("cwd", ""), fields.get("command", "")
    s.helo, s.protocol, s.sasl_username = fields.get("helo", ""), fields.get("protocol", ""), fields.get("sasl", "")


def _submitter_fields(text: str) -> list[tuple[str, str]]:
    """Return the fields, name=value or name="value"; a value has no quote in it, a quoted one blanks."""
    return [(name, unescape(quoted or plain)) for name, quoted, plain in _FIELD.findall(text)]


def _read_flags(e: Envelope, value: str) -> None:
    e.delay_warned, e.expire, e.queue_only, e.report, e.verify, e.reported = _flags(value)[0]


@lru_cache(maxsize=16)
def _flags(value: str) -> tuple[tuple[bool, ...], tuple[tuple[str, int], ...]]:
    """Return which flags a line sets, and the column of the box of each that it has; most lines are alike."""
    if len(value) > _LONGEST_FLAGS:
        raise QueueFileError("bad flags")  # and what is kept stays small, whoever wrote it
    boxes = value.split("  ")
    line = f"flags: {value}".encode("utf-8", "surrogateescape")
    found = ((name, line.find(b"] " + name.encode())) for name in FLAGS)
    columns = tuple((name, before - 1) for name, before in found if before > 0)
    return tuple(f"[x] {name}" in boxes for name in FLAGS), columns


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


def _setter(name: str, read: Callable[[str], object] = _as_it_is) -> Reader:
    def reader(e: Envelope, value: str) -> None:
        setattr(e, name, read(value))

    return reader


_READERS: dict[str, Reader] = {
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

LISTED = {name: _READERS[name] for name in ("arrived", "from", "flags", "size")}  # what a listing shows
NOT_LISTED = _READERS.keys() - LISTED.keys() - {"id", "submitter"}


def read_history(data: bytes) -> list[tuple[str, Address, str, str, str, str]]:
    """Read the lines after the content as (stamp, address, outcome, status, relay, reason).

    A line torn by a crash is left out: history informs, it decides nothing.
    """
    rows = []
    for raw in filter(None, data.split(b"\n")):
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
