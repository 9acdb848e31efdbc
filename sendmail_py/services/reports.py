"""What the sender is told at the end of a pass: bounces, and the reports that he asked for.

A report is a child of its message: written, durable, into tmp/ before the box that answers for it
(the mark of its first recipient, or for sendmail -v a box of its own), released after it. So a
crash anywhere sends no report twice and loses none, save that a recipient who had his mark before
the crash is missing in it.
"""

import os
import time
from dataclasses import dataclass, field

from ..core.address import NULL_SENDER
from ..core.config import Config
from ..core.envelope import Box, Envelope, Recipient, Submitter
from ..core.result import DeliveryResult, Handover, Outcome, deferred
from ..formats.dsn import StatusReport, build
from ..formats.header import split_header
from ..formats.report_kinds import Kind
from ..formats.xtext import original_recipient
from ..spool.layout import ACTIVE
from ..spool.queue_id import child_id
from ..spool.store import Store
from .active_queue import Message

STOPPING = deferred("4.3.2", "the queue manager is stopping")  # what a stop leaves undone, by no fault of the mail
QUEUE_ONLY = deferred("4.3.2", "queued only, as its sender asked")

Results = dict[int, DeliveryResult]  # by the index of the recipient

_HEADER_LIMIT = 1 << 20
_LOG_NAMES = {Kind.FAILURE: "non-delivery notification"}


@dataclass(slots=True)
class Written:
    """Children that wait in tmp/, and boxes to mark beside those of the recipients."""

    children: list[str] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)


def is_asked_for(envelope: Envelope) -> bool:
    """Say whether somebody may want to hear of success."""
    return envelope.report or envelope.verify or any("SUCCESS" in r.notify for r in envelope.recipients)


def is_final(envelope: Envelope, result: DeliveryResult) -> bool:
    """Say whether a recipient is done with this result; a verification tries everybody once."""
    return result.outcome is not Outcome.DEFERRED or (envelope.verify and result is not STOPPING)


def without_success(notify: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the members of an expansion are told (RFC 3461 5.2.7.3 b); nothing left means never."""
    return tuple(word for word in notify if word != "SUCCESS") or (("NEVER",) if notify else ())


class Reporter:
    """Writes the reports of one queue."""

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self.store = store

    def write(self, message: Message, results: Results, now: float, lines: list[str]) -> Written:
        """Write what the results of a pass call for; lines are for the log. Raises OSError."""
        e = message.envelope
        written = Written()
        for kind, indexes, number, offset in _wanted(e, results):
            if kind is Kind.DELIVERY:
                written.boxes.append(Box(offset))
            if not e.sender:
                lines.append(_dropped(message.queue_id, kind))
                continue
            rows = [(_as_reported(message, index), results[index]) for index in indexes]
            place = indexes[0] if kind is Kind.FAILURE else len(e.recipients)
            child = _child(e, child_id(message.queue_id, place, number), now)
            child.parent = message.queue_id, offset
            self.store.write(child, build(self._report(message, kind, rows, child.queue_id, now)), durable=True)
            written.children.append(child.queue_id)
            name = _LOG_NAMES.get(kind, "delivery status notification")
            lines.append(f"{message.queue_id}: sender {name}: {child.queue_id}")
        return written

    def _report(
        self, message: Message, kind: Kind, rows: list[tuple[Recipient, DeliveryResult]], report_id: str, now: float
    ) -> StatusReport:
        e = message.envelope
        whole = kind is Kind.FAILURE and e.size <= self.config.bounce_size_limit and e.ret != "HDRS"
        descriptor = self.store.open(ACTIVE, message.queue_id)
        try:
            content = os.pread(descriptor, e.size if whole else min(e.size, _HEADER_LIMIT), e.content_offset)
        finally:
            os.close(descriptor)
        sections = split_header(content)
        assert sections is not None
        header, body = content[: sections.end], content[sections.body :]
        offset = time.localtime(now).tm_gmtoff
        return StatusReport(
            kind, self.config.myhostname, message.queue_id, e.arrived_at, e.sender, rows, header,
            body if whole else None, report_id, int(now * 1e6), offset, e.envid, e.smtputf8,
        )  # fmt: skip


def _child(e: Envelope, queue_id: str, now: float) -> Envelope:
    """Return the envelope of a report to the sender of a message."""
    submitter = Submitter(os.getuid(), "MAILER-DAEMON", os.getpid())
    child = Envelope(queue_id, int(now * 1e6), NULL_SENDER, [Recipient(e.sender)], submitter)
    child.smtputf8 = not e.sender.is_ascii
    return child


def _wanted(e: Envelope, results: Results) -> list[tuple[Kind, list[int], int, int]]:
    """Return what to write: the kind, the recipients in it, the child's number, and the offset of its box.

    A recipient is in one bounce and in one report of success at most, so the first one's index makes a
    number that no other pass uses; a delivery report is written once, and has 0.
    """
    order = sorted(results)
    if e.verify:
        told = [i for i in order if is_final(e, results[i]) and not _is_told_by_children(results[i])]
        return [_row(e, Kind.VERIFICATION, told)] if told else []
    failures = [i for i in order if results[i].outcome is Outcome.FAILED and _wants(e.recipients[i], "FAILURE")]
    wanted = [(Kind.FAILURE, failures, 0, e.recipients[failures[0]].offset)] if failures else []
    succeeded = [i for i in order if _is_success(e.recipients[i], results[i])]
    if e.report and not e.reported and any(results[i] not in (STOPPING, QUEUE_ONLY) for i in order):
        told = [i for i in order if i in succeeded or not _is_told_by_children(results[i])]
        if told:
            return [*wanted, (Kind.DELIVERY, told, 0, e.reported_offset)]
    return [*wanted, _row(e, Kind.SUCCESS, succeeded)] if succeeded else wanted


def _row(e: Envelope, kind: Kind, told: list[int]) -> tuple[Kind, list[int], int, int]:
    return kind, told, told[0] + 1, e.recipients[told[0]].offset


def _wants(recipient: Recipient, what: str) -> bool:
    return not recipient.notify or what in recipient.notify


def _is_success(recipient: Recipient, result: DeliveryResult) -> bool:
    """Say whether a result is to be reported as RFC 3461 5.2 has it; who was entrusted with that does it himself."""
    done = result.outcome is Outcome.DELIVERED and result.handover is not Handover.ENTRUSTED
    return done and "SUCCESS" in recipient.notify


def _is_told_by_children(result: DeliveryResult) -> bool:
    """Say whether the recipients that took this one's place will be reported on."""
    return result.handover is Handover.EXPANDED


def _as_reported(message: Message, index: int) -> Recipient:
    """Return a recipient with the address that was tried in the end, and the one it came from."""
    recipient = message.envelope.recipients[index]
    final = message.addresses.get(index)
    if final is None:
        return recipient
    return Recipient(final, recipient.original or original_recipient(recipient.forward_path), recipient.notify)


def _dropped(queue_id: str, kind: Kind) -> str:
    what = "undeliverable bounce dropped" if kind is Kind.FAILURE else "no delivery report"
    return f"{queue_id}: {what}: its sender is the null sender"
