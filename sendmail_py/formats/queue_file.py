"""The queue file, format 1: an envelope that `less` can show, the content, then history.

    sendmail-py-queue 1
    id: 660EE6B8F4E4051A2B3
    arrived: 1795435041.123456 Mon, 23 Nov 2026 11:57:21 +0000
    submitter: uid=1000 login=alice pid=4711 cwd="/home/alice" command=""
    from: <alice@example.org>
    to: [ ] <bob@example.net> notify=FAILURE,DELAY orcpt=rfc822;bob@example.net
    to: [ ] <carol@example.org> target="|/usr/bin/vacation carol"
    flags: [ ] delay-warned  [ ] expire  [ ] queue-only  [ ] report  [ ] verify  [ ] reported
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
from ..core.envelope import Envelope, Recipient, Submitter
from .queue_text import MAGIC, NO_FLAGS, SIZE_DIGITS, arrived_line, escape, quote, submitter_line

HEAD_LIMIT = 16 << 20  # of a submitted file: some 300,000 recipients
MARK_COLUMN = len("to: [")
FLAGS = ("delay-warned", "expire", "queue-only", "report", "verify", "reported")
_BOXES = {False: "[ ] ", True: "[x] "}
_FLAG_COLUMNS = {"delay-warned": 8, "expire": 26, "queue-only": 38, "report": 54, "verify": 66, "reported": 78}


def path_text(address: Address) -> str:
    """Write an address between angle brackets."""
    return f"<{escape(str(address))}>"


# --- writing ---------------------------------------------------------------------------------


def render(envelope: Envelope) -> bytes:
    """Return the head of a queue file, up to the content; sets the offsets in the envelope."""
    head = f"id: {envelope.queue_id}\n" if envelope.queue_id else ""
    head += f"{arrived_line(envelope.arrived_at)}{_submitter_line(envelope.submitter)}\n"
    if envelope.reverse_path is not None:
        head += f"from: {path_text(envelope.reverse_path)}\n"
    chunks = [MAGIC, head.encode("utf-8", "surrogateescape")]
    offset = len(chunks[0]) + len(chunks[1])
    for recipient in envelope.recipients:
        line = _recipient_line(recipient).encode("utf-8", "surrogateescape")
        recipient.offset = offset + MARK_COLUMN
        offset += len(line)
        chunks.append(line)
    envelope.boxes = {name: offset + column for name, column in _FLAG_COLUMNS.items()}
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
    line = submitter_line(s.uid, s.login, s.pid, s.cwd, s.command)
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
    if recipient.target:
        line += " target=" + quote(recipient.target)
    return line + "\n"


def _tail_lines(e: Envelope) -> list[str]:
    values = (e.delay_warned, e.expire, e.queue_only, e.report, e.verify, e.reported)
    lines = [NO_FLAGS[:-1]]
    if True in values:
        lines = ["flags: " + "  ".join(_BOXES[on] + name for name, on in zip(FLAGS, values, strict=True))]
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


# --- history ---------------------------------------------------------------------------------


def history_line(seconds: int, address: Address, outcome: str, status: str, relay: str, reason: str) -> bytes:
    """Return one line of history; seconds since the epoch."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    line = f"{stamp} {path_text(address)} {outcome} {status} relay={escape(relay)} {quote(reason)}\n"
    return line.encode("utf-8", "surrogateescape")
