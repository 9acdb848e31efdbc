"""What the sender is told at the end of a pass: bounces, delay warnings, and the reports that he asked for.

A report is a child of its message: written, durable, into tmp/ before the box that answers for it
(the mark of its first recipient, or a flag's box), released after it. So a crash anywhere sends no
report twice and loses none, save that a recipient who had his mark before the crash is missing in
it. notices.py decides who is told what; here it is written.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..core.config import Config
from ..core.envelope import Box, Envelope, Recipient, Submitter
from ..core.result import DeliveryResult
from ..formats.bounce_templates import BUILT_IN, Template, read, wording
from ..formats.dsn import StatusReport, build
from ..formats.header import split_header
from ..formats.report_kinds import Kind
from ..formats.submission_header import message_id_of
from ..formats.trace_headers import message_id
from ..formats.xtext import original_recipient
from ..spool.layout import ACTIVE
from ..spool.queue_id import child_id
from ..spool.store import Store
from . import postmaster_mail
from .messages import Message
from .notices import Notice, Notices, Results
from .withheld import Withheld

_HEADER_LIMIT = 1 << 20
_LOG_NAMES = {Kind.FAILURE: "non-delivery notification", Kind.DELAY: "delay notification"}


@dataclass(slots=True)
class Written:
    """Children that wait in tmp/, and boxes to mark beside those of the recipients."""

    children: list[str] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)


class Reporter:
    """Writes the reports of one queue."""

    def __init__(
        self,
        config: Config,
        store: Store,
        templates: dict[Kind, Template] | None = None,
        withheld: Withheld | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.notices = Notices(config)
        self.templates = BUILT_IN | (templates or {})
        self.withheld = withheld or Withheld(config)

    def write(self, message: Message, results: Results, now: float, lines: list[str]) -> Written:
        """Write what the results of a pass call for; lines are for the log. Raises OSError."""
        written = Written()
        for notice in self.notices.of(message.envelope, results, now, lines):
            if notice.flag and not notice.is_copy:
                written.boxes.append(message.envelope.box(notice.flag))
            if self._is_withheld(message.envelope, notice, results, now, lines):
                continue
            written.children.append(self._write(message, notice, results, now))
            whom = "postmaster" if notice.is_copy else "sender"
            name = _LOG_NAMES.get(notice.kind, "delivery status notification")
            report_id = message_id(int(now), written.children[-1], self.config.myhostname)
            lines.append(f"{written.children[-1]}: message-id={report_id}")
            lines.append(f"{message.queue_id}: {whom} {name}: {written.children[-1]}")
        return written

    def tell_of(self, name: str, subject: str, lines: list[str]) -> tuple[str, str]:
        """Tell the postmaster something of a class, where he wants to hear of it; as send_digest()."""
        to = self.notices.recipient_of(name)
        if to is None:
            return "", ""
        try:
            return postmaster_mail.write(self.store, self.config, self.notices.double_bounce, to, subject, lines), ""
        except OSError as error:
            return "", str(error)

    def send_digest(self) -> tuple[str, str]:
        """Write the digest of what was withheld, if its time has come; returns its queue id, or an error."""
        notices = self.notices
        try:
            return self.withheld.send_digest(self.store, self.config, notices.double_bounce, notices.postmaster), ""
        except OSError as error:
            return "", str(error)

    def _is_withheld(self, e: Envelope, notice: Notice, results: Results, now: float, lines: list[str]) -> bool:
        """Say whether a report is one too many for its address in this hour; one that cannot be noted is sent."""
        if not self.withheld.is_too_many(notice.to, now):
            return False
        try:
            self.withheld.note(e, notice, results, now)
        except OSError as error:
            lines.append(f"warning: {e.queue_id}: report_rate_limit does not hold: {error}")
            return False
        lines.append(
            f"warning: {e.queue_id}: report to <{notice.to}> withheld: it has had "
            f"report_rate_limit = {self.withheld.rate.limit} in an hour"
        )
        return True

    def _write(self, message: Message, notice: Notice, results: Results, now: float) -> str:
        rows = [(_as_reported(message, index), results[index]) for index in notice.indexes]
        queue_id = child_id(message.queue_id, notice.place, notice.number)
        submitter = Submitter(os.getuid(), "MAILER-DAEMON", os.getpid())
        child = Envelope(queue_id, int(now * 1e6), notice.sender, [Recipient(notice.to)], submitter)
        child.smtputf8 = not notice.to.is_ascii
        child.parent = message.queue_id, notice.box
        content = b"".join(build(self._report(message, notice, rows, queue_id, now)))
        child.body = "" if content.isascii() else "8BITMIME"
        self.store.write(child, (content,), durable=True)
        return queue_id

    def _report(
        self, message: Message, notice: Notice, rows: list[tuple[Recipient, DeliveryResult]], report_id: str, now: float
    ) -> StatusReport:
        e, kind, config = message.envelope, notice.kind, self.config
        returned = kind is Kind.FAILURE and not notice.is_copy
        header, body = self._original(e, message.queue_id, returned and e.ret != "HDRS")
        lifetime = config.maximal_queue_lifetime if e.sender else config.bounce_queue_lifetime
        return StatusReport(
            kind=kind,
            host=config.myhostname,
            queue_id=message.queue_id,
            arrived_at=e.arrived_at,
            sender=e.sender,
            to=notice.to,
            wording=wording(self.templates[kind], config, notice.is_copy),
            rows=rows,
            header=header,
            body=body,
            bounce_id=report_id,
            now=int(now * 1e6),
            utc_offset=time.localtime(now).tm_gmtoff,
            envid=e.envid,
            smtputf8=e.smtputf8,
            retry_until=e.arrived_at + lifetime * 1_000_000 if kind is Kind.DELAY else 0,
            original_id=message_id_of(header) if config.enable_threaded_bounces else "",
        )

    def _original(self, e: Envelope, queue_id: str, may_be_whole: bool) -> tuple[bytes, bytes | None]:
        """Return header and body of the message; the body only where it may go back, and is not too large to."""
        whole = may_be_whole and e.size <= self.config.bounce_size_limit
        descriptor = self.store.open(ACTIVE, queue_id)
        try:
            content = os.pread(descriptor, e.size if whole else min(e.size, _HEADER_LIMIT), e.content_offset)
        finally:
            os.close(descriptor)
        sections = split_header(content)
        assert sections is not None
        return content[: sections.end], content[sections.body :] if whole else None


def _as_reported(message: Message, index: int) -> Recipient:
    """Return a recipient with the address that was tried in the end, and the one it came from."""
    recipient = message.envelope.recipients[index]
    final = message.addresses.get(index)
    if final is None:
        return recipient
    return Recipient(final, recipient.original or original_recipient(recipient.forward_path), recipient.notify)


def templates_of(config: Config) -> tuple[dict[Kind, Template], list[str]]:
    """Read bounce_template_file; returns what it replaces and, for the log, why something of it does not count."""
    path = config.bounce_template_file
    if not path:
        return {}, []
    try:
        found, faults = read(Path(path).read_bytes(), config)
    except OSError as error:
        return {}, [f"bounce_template_file: {path}: {error.strerror}; the built-in texts are used"]
    return found, [f"bounce_template_file: {path}, {fault}" for fault in faults]
