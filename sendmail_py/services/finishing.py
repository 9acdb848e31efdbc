"""The end of a pass: marks, bounce, history, and where the message goes next.

Order is what makes a crash harmless. A bounce is written, durable, into tmp/; then the marks it
answers for are made durable; then it is released. A message that stays is given its next time,
renamed, made durable, and only then is its maildrop original removed. A message that leaves is
removed after its original: a copy without an original is at worst delivered once more, an
original without a copy would be taken for new mail.
"""

import os
import time
from dataclasses import dataclass, field, replace

from ..core.address import NULL_SENDER
from ..core.config import Config
from ..core.envelope import Envelope, Mark, Recipient, Submitter
from ..core.result import DeliveryResult, Outcome, deferred
from ..formats.dsn import FailureReport, build
from ..formats.header import split_header
from ..formats.queue_file import history_line
from ..routing.schedule import Schedule
from ..spool.layout import ACTIVE, DEFERRED, INCOMING, TMP
from ..spool.queue_id import child_id
from ..spool.store import Store
from .active_queue import Message

STOPPING = deferred("4.3.2", "the queue manager is stopping")  # what a stop leaves undone, by no fault of the mail

_HEADER_LIMIT = 1 << 20


@dataclass(slots=True)
class Ended:
    """What became of a message: due (None: it is gone), its bounce, lines for the log, an error."""

    message: Message
    due: float | None = None
    children: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    error: OSError | None = None


class Finisher:
    """Ends passes for one queue; its methods run in qmgr's threads."""

    def __init__(self, config: Config, store: Store, schedule: Schedule) -> None:
        self.config = config
        self.store = store
        self.schedule = schedule

    @staticmethod
    def is_simple(message: Message) -> bool:
        """Say whether every recipient is delivered, so that the message is just removed."""
        return not message.unreleased and all(r.outcome is Outcome.DELIVERED for r in message.results.values())

    def remove(self, message: Message) -> Ended:
        """End a message whose recipients are all done; never raises OSError."""
        ended = Ended(message)
        try:
            self._remove(message, ended)
        except OSError as error:
            ended.error = error
        return ended

    def _remove(self, message: Message, ended: Ended) -> None:
        if message.envelope.maildrop:
            self.store.remove_original(message.envelope.maildrop)
        self.store.remove(ACTIVE, message.queue_id)
        ended.lines.append(f"{message.queue_id}: removed")

    def end_pass(self, message: Message) -> Ended:
        """End a pass with failures, deferrals or children; never raises OSError.

        After an error it can be called again: what is done is not done twice.
        """
        ended = Ended(message)
        try:
            if not message.is_marked:
                self._mark(message, ended)
            if message.unreleased:
                self._release(message, ended)
            if message.envelope.pending():
                self._defer(message, time.time(), ended)
            else:
                self._remove(message, ended)
        except OSError as error:
            ended.error = error
        return ended

    def _mark(self, message: Message, ended: Ended) -> None:
        """Write the bounce into tmp/, then the marks of this pass and its history."""
        now = time.time()
        failures, deferrals = self._sort(message, now, ended)
        e = message.envelope
        reported = [(r, result) for r, result in failures if not r.notify or "FAILURE" in r.notify]
        bounce = ""
        if reported and e.sender:
            bounce = self._write_bounce(message, reported, now, ended)
        elif reported:
            ended.lines.append(f"{message.queue_id}: undeliverable bounce dropped: its sender is the null sender")
        marks = [(r, Mark.FAILED) for r, _ in failures]
        marks += [
            (e.recipients[i], Mark.DELIVERED) for i, x in message.results.items() if x.outcome is Outcome.DELIVERED
        ]
        history = b"".join(self._history(now, r, result) for r, result in failures + deferrals) if deferrals else b""
        error = self.store.mark(ACTIVE, message.queue_id, marks, history, durable=bool(bounce))
        if error is not None:
            ended.lines.append(not_durable(message, error))
        message.is_marked = True
        if bounce:
            message.unreleased.append(bounce)

    def _release(self, message: Message, ended: Ended) -> None:
        """Release the children, durable before the parent may go; called again until that is so."""
        for child in message.unreleased:
            if self.store.moved(child, TMP, INCOMING):
                ended.children.append(child)
        self.store.sync_incoming()
        message.unreleased.clear()

    def _sort(
        self, message: Message, now: float, ended: Ended
    ) -> tuple[list[tuple[Recipient, DeliveryResult]], list[tuple[Recipient, DeliveryResult]]]:
        """Return what has failed for good and what stays, with the reasons."""
        e = message.envelope
        expired = message.attempted and self.schedule.is_expired(now, e.arrived_at / 1e6, not e.sender)
        failures, deferrals = [], []
        for index, result in sorted(message.results.items()):
            recipient = e.recipients[index]
            if result.outcome is Outcome.FAILED:
                failures.append((recipient, result))
            elif result.outcome is Outcome.DEFERRED and expired and result is not STOPPING:
                failures.append((recipient, replace(result, reason=f"{result.reason} (message expired)")))
            elif result.outcome is Outcome.DEFERRED:
                deferrals.append((recipient, result))
        if expired and failures:
            ended.lines.append(f"{message.queue_id}: from=<{e.sender}>, status=expired, returned to sender")
        return failures, deferrals

    def _history(self, now: float, recipient: Recipient, result: DeliveryResult) -> bytes:
        return history_line(
            int(now), recipient.forward_path, result.outcome.value, result.status, result.relay, result.reason
        )

    def _defer(self, message: Message, now: float, ended: Ended) -> None:
        """Give a message its next time and move it; from the move on the pass has ended, whatever fails.

        An original is removed only when its copy is known to be durable: after a failed fsync it
        stays until the message is finished, since another fsync would prove nothing.
        """
        queue_id = message.queue_id
        waiting = [result for result in message.results.values() if result.outcome is Outcome.DEFERRED]
        if waiting and all(result is STOPPING for result in waiting):
            due = now  # nothing spoke against it: the next start goes on where this one ended
        else:
            due = self.schedule.next_attempt(now, message.envelope.arrived_at / 1e6)
        self.store.set_due(ACTIVE, queue_id, due)
        self.store.move(queue_id, ACTIVE, DEFERRED)
        ended.due = due
        try:
            self.store.sync(DEFERRED, queue_id)
            if message.envelope.maildrop:
                self.store.remove_original(message.envelope.maildrop)
        except OSError as error:
            ended.lines.append(not_durable(message, error))

    def _write_bounce(
        self, message: Message, failures: list[tuple[Recipient, DeliveryResult]], now: float, ended: Ended
    ) -> str:
        e = message.envelope
        first = failures[0][0]
        bounce_id = child_id(message.queue_id, e.recipients.index(first), 0)
        report = self._report(message, failures, bounce_id, now)
        submitter = Submitter(os.getuid(), "MAILER-DAEMON", os.getpid())
        bounce = Envelope(bounce_id, int(now * 1e6), NULL_SENDER, [Recipient(e.sender)], submitter)
        bounce.parent = message.queue_id, first.offset
        bounce.smtputf8 = not e.sender.is_ascii
        self.store.write(bounce, build(report), durable=True)
        ended.lines.append(f"{message.queue_id}: sender non-delivery notification: {bounce_id}")
        return bounce_id

    def _report(
        self, message: Message, failures: list[tuple[Recipient, DeliveryResult]], bounce_id: str, now: float
    ) -> FailureReport:
        e = message.envelope
        limit = self.config.bounce_size_limit
        whole = e.size <= limit and e.ret != "HDRS"
        descriptor = self.store.open(ACTIVE, message.queue_id)
        try:
            content = os.pread(descriptor, e.size if whole else min(e.size, _HEADER_LIMIT), e.content_offset)
        finally:
            os.close(descriptor)
        sections = split_header(content)
        assert sections is not None
        header, body = content[: sections.end], content[sections.body :]
        offset = time.localtime(now).tm_gmtoff
        return FailureReport(
            self.config.myhostname, message.queue_id, e.arrived_at, e.sender, failures, header, body if whole else None,
            bounce_id, int(now * 1e6), offset, e.envid, e.smtputf8,
        )  # fmt: skip


def not_durable(message: Message, error: OSError) -> str:
    """Return the log line for an fsync that failed where nothing is lost by it."""
    return f"warning: {message.queue_id}: a power cut now could repeat a delivery: {error}"
