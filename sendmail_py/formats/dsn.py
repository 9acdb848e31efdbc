"""Delivery reports (RFC 3461, 3464, 6522): what a sender is told of recipients that failed, or that he asked about.

Three parts: text for people, fields for programs, and the original or its header. Nothing that
a remote server said can add a line, a field or a part: control characters become blanks, long
lines are folded, and the boundary is one that the content does not hold.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..core.address import Address
from ..core.envelope import Recipient
from ..core.result import DeliveryResult
from . import xtext
from .bounce_templates import Wording
from .report_kinds import Kind, action_of, reason_of, status_of
from .submission_header import change_field
from .trace_headers import clean, message_id, rfc5322_date

_WIDTH = 79
_LONGEST_WORD = 500
_LONGEST_REASON = 4000


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What a DSN tells, row by row.

    queue_id, arrived_at, envid, sender, smtputf8 and original_id (its Message-Id, when the DSN is
    to refer to it) are the original's; to, bounce_id, now and wording belong to the DSN. Times are
    in microseconds since the epoch, utc_offset in seconds east; retry_until, 0 for none, is when a
    delay becomes a failure. header is the original's header section; body is None when only the
    header goes back (RET=HDRS, larger than bounce_size_limit, or no failure).
    """

    kind: Kind
    host: str
    queue_id: str
    arrived_at: int
    sender: Address
    to: Address
    wording: Wording
    rows: Sequence[tuple[Recipient, DeliveryResult]]
    header: bytes
    body: bytes | None
    bounce_id: str
    now: int
    utc_offset: int = 0
    envid: str = ""
    smtputf8: bool = False
    retry_until: int = 0
    original_id: str = ""


def build(report: StatusReport) -> Iterator[bytes]:
    """Yield the octets of the DSN, line ends LF."""
    text = _text_part(report)
    status = _status_part(report)
    original = _original_part(report)
    boundary = _boundary(report, [text, status, *original])
    eight_bit = not all(part.isascii() for part in (text, status, *original))
    yield _head(report, boundary, eight_bit).encode("utf-8", "replace")
    for part in (text, status, b"".join(original)):
        yield b"\n--" + boundary.encode() + b"\n" + part
    yield b"\n--" + boundary.encode() + b"--\n"


def _head(report: StatusReport, boundary: str, eight_bit: bool) -> str:
    seconds = report.now // 1_000_000
    lines = [
        f"Date: {rfc5322_date(seconds, report.utc_offset)}",
        _originator(report),
        f"Subject: {report.wording.subject}",
        f"To: {clean(str(report.to))}",
        f"Message-Id: {message_id(seconds, report.bounce_id, report.host)}",
        *_references(report.original_id),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        *(["Content-Transfer-Encoding: 8bit"] if eight_bit else []),
        "",
        "This is a MIME-encapsulated message.",
    ]
    return "\n".join(lines) + "\n"


def _originator(report: StatusReport) -> str:
    """Return the From field; an address without a domain gets this host's."""
    field = change_field(b"from", f"From: {report.wording.sender}".encode("ascii", "replace"), report.host)
    return clean(field.decode("ascii", "replace"))


def _references(original_id: str) -> list[str]:
    """Return the fields that put the report beside its message (enable_threaded_bounces)."""
    is_one_word = original_id.isascii() and " " not in original_id and len(original_id) <= _LONGEST_WORD
    return [f"References: {original_id}", f"In-Reply-To: {original_id}"] if original_id and is_one_word else []


def _boundary(report: StatusReport, parts: Iterable[bytes]) -> str:
    stem = f"{report.bounce_id}.{report.now}/{report.host}"[:60]
    content = list(parts)
    boundary = stem
    attempt = 0
    while any(boundary.encode() in part for part in content):
        attempt += 1
        boundary = f"{attempt}.{stem}"
    return boundary


def _text_part(report: StatusReport) -> bytes:
    blocks = [report.wording.text]
    for recipient, result in report.rows:
        wanted = _original_address(recipient)
        address = clean(str(recipient.forward_path))
        expanded = f" (expanded from <{wanted}>)" if wanted and wanted != address else ""
        blocks.append(_fold(f"<{address}>{expanded}: {_printable(reason_of(report.kind, result))}") + "\n")
    body = "\n".join(blocks)
    plain = body.isascii()
    head = f"Content-Description: Notification\nContent-Type: text/plain; charset={'us-ascii' if plain else 'utf-8'}\n"
    encoding = "" if plain else "Content-Transfer-Encoding: 8bit\n"
    return f"{head}{encoding}\n{body}".encode()


def _status_part(report: StatusReport) -> bytes:
    lines = [
        f"Reporting-MTA: dns; {report.host}",
        *([_fold(f"Original-Envelope-Id: {_printable(xtext.decode(report.envid))}")] if report.envid else []),
        f"X-Sendmail-Py-Queue-ID: {report.queue_id}",
        f"X-Sendmail-Py-Sender: {_typed(report.sender, report.smtputf8)}",
        f"Arrival-Date: {rfc5322_date(report.arrived_at // 1_000_000, report.utc_offset)}",
    ]
    for recipient, result in report.rows:
        lines += ["", *_recipient_fields(report, recipient, result)]
    text = "\n".join(lines) + "\n"
    head = "Content-Description: Delivery report\nContent-Type: message/"
    if report.smtputf8 and not text.isascii():
        return f"{head}global-delivery-status\nContent-Transfer-Encoding: 8bit\n\n{text}".encode("utf-8", "replace")
    # Delivery status is 7 bit (RFC 3464 2.1); addresses are written so that nothing is lost.
    return f"{head}delivery-status\n\n{text}".encode("ascii", "replace")


def _recipient_fields(report: StatusReport, recipient: Recipient, result: DeliveryResult) -> Iterator[str]:
    kind = report.kind
    yield f"Final-Recipient: {_typed(recipient.forward_path, report.smtputf8)}"
    wanted = _original_address(recipient)
    if wanted:
        type_ = clean(recipient.original.partition(";")[0])
        type_ = "utf-8" if type_.lower() == "rfc822" and not wanted.isascii() else type_
        yield f"Original-Recipient: {type_}; {_escaped(wanted, report.smtputf8)}"
    action = action_of(kind, result)
    yield f"Action: {action}"
    yield f"Status: {status_of(action, result.status)}"
    if result.remote_mta:
        yield _fold(f"Remote-MTA: dns; {_printable(result.remote_mta)}")
    yield _fold(f"Diagnostic-Code: {_printable(result.diagnostic or 'X-Sendmail-Py; ' + reason_of(kind, result))}")
    if report.retry_until:
        yield f"Will-Retry-Until: {rfc5322_date(report.retry_until // 1_000_000, report.utc_offset)}"


def _original_part(report: StatusReport) -> list[bytes]:
    """Return the third part in pieces; a UTF-8 message keeps its type (RFC 6532 3.7, RFC 6533 5)."""
    header = report.header
    whole = report.body is not None
    kinds = ("global", "global-headers") if report.smtputf8 else ("rfc822", "rfc822-headers")
    kind = kinds[0] if whole else kinds[1]
    kind = f"text/{kind}" if kind == "rfc822-headers" else f"message/{kind}"
    body = report.body or b""
    encoding = "" if header.isascii() and body.isascii() else "Content-Transfer-Encoding: 8bit\n"
    title = ("Undelivered " if report.kind is Kind.FAILURE else "") + ("Message" if whole else "Message Headers")
    head = f"Content-Description: {title}\nContent-Type: {kind}\n{encoding}\n".encode()
    line_end = b"" if not header or header.endswith(b"\n") else b"\n"
    return [head, header, line_end, b"\n" + body if whole else b""]


def _original_address(recipient: Recipient) -> str:
    """Return the address of ORCPT, decoded for display only (RFC 3461 4.2); "" without one."""
    return clean(xtext.decode(recipient.original.partition(";")[2]))


def _typed(address: Address, smtputf8: bool) -> str:
    text = clean(str(address))
    return f"{'rfc822' if text.isascii() else 'utf-8'}; {_escaped(text, smtputf8)}"


def _escaped(address: str, smtputf8: bool) -> str:
    r"""Return an address as RFC 6533 3 writes it: \x{HEX} for + = \ and, where all is to be ASCII, for what is not."""
    if address.isascii():
        return address
    return "".join(c if c not in " \\+=" and (smtputf8 or c.isascii()) else f"\\x{{{ord(c):X}}}" for c in address)


def _printable(text: str) -> str:
    text = clean(text)
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + " ..."


def _fold(line: str) -> str:
    """Fold at blanks; a word longer than a line of mail may be is cut (RFC 5322 2.1.1)."""
    words = [word[i : i + _LONGEST_WORD] for word in line.split() for i in range(0, len(word), _LONGEST_WORD)]
    return "\n".join(
        textwrap.wrap(" ".join(words), _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    )
