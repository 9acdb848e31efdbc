"""The end of a pass: marks, reports, history, and where the message goes next.

Order is what makes a crash harmless. A bounce or report is written, durable, into tmp/; then the
marks that answer for it are made durable; then it is released. A message that stays is given its next time,
renamed, made durable, and only then is its maildrop original removed. A message that leaves is
removed after its original: a copy without an original is at worst delivered once more, an
original without a copy would be taken for new mail.
"""

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..core.config import Config
from ..core.envelope import Box, Mark, Recipient
from ..core.result import DeliveryResult, Outcome
from ..formats.queue_file import history_line
from ..routing.schedule import Schedule
from ..spool.layout import ACTIVE, DEFERRED, INCOMING, TMP
from ..spool.store import Store
from .messages import Message
from .notices import STOPPING, WITHDRAWN, Results, is_asked_for, is_final
from .reports import Reporter
from .steering import DELETE, LOG_LINES


@dataclass(slots=True)
class Ended:
    """What became of a message: due (None: it is gone), its children, lines for the log, an error."""

    message: Message
    due: float | None = None
    children: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    error: OSError | None = None


class Finisher:
    """Ends passes for one queue; its methods run in qmgr's threads."""

    def __init__(self, config: Config, store: Store, schedule: Schedule, reporter: Reporter | None = None) -> None:
        self.config = config
        self.store = store
        self.schedule = schedule
        self.reporter = reporter or Reporter(config, store)

    @staticmethod
    def is_simple(message: Message) -> bool:
        """Say whether every recipient is delivered and nobody is told, so that the message is just removed."""
        if message.unreleased or is_asked_for(message.envelope):
            return False
        return all(r.outcome is Outcome.DELIVERED for r in message.results.values())

    def remove(self, message: Message) -> Ended:
        """End a message whose recipients are all done; never raises OSError."""
        ended = Ended(message)
        try:
            self._remove(message, ended)
        except OSError as error:
            self._failed(ended, error)
        return ended

    def _remove(self, message: Message, ended: Ended, what: str = "removed") -> None:
        if message.envelope.maildrop:
            self.store.originals.remove(message.envelope.maildrop)
        self.store.remove(ACTIVE, message.queue_id)
        ended.lines.append(f"{message.queue_id}: {what}")

    def end_passes(self, messages: Iterable[Message]) -> list[Ended]:
        """End passes with failures, deferrals or children; never raises what one message brings about.

        After an error it can be called again: what is done is not done twice. All that stays is
        moved before the first of it is made durable, which is most of the work for the rest.
        """
        all_ended = [self._end_pass(message) for message in messages]
        for ended in all_ended:
            if ended.due is not None:
                self._make_durable(ended)
        return all_ended

    def _end_pass(self, message: Message) -> Ended:
        ended = Ended(message)
        try:
            if _is_withdrawn(message):
                self._remove(message, ended, LOG_LINES[DELETE])
                return ended
            if not message.is_marked:
                self._remove_unwanted(message, ended)
                self._mark(message, ended)
            if message.unreleased:
                self._release(message, ended)
            if message.envelope.pending():
                self._defer(message, time.time(), ended)
            else:
                self._remove(message, ended)
        except OSError as error:
            self._failed(ended, error)
        except Exception as error:  # a defect: the message waits; a queue manager that ended would deliver it again
            ended.error = OSError(f"internal error: {type(error).__name__}: {error}")
        return ended

    def _remove_unwanted(self, message: Message, ended: Ended) -> None:
        """Remove what a deleted message has become in this pass: it waits in tmp/ still, and is not on its way."""
        while message.wish == DELETE and message.unreleased:
            with contextlib.suppress(FileNotFoundError):
                self.store.remove(TMP, message.unreleased[-1])
            ended.lines.append(f"{message.unreleased.pop()}: {LOG_LINES[DELETE]}")

    def _failed(self, ended: Ended, error: OSError) -> None:
        """Keep an error, for another try; but a message whose file somebody has taken away ends here."""
        ended.error = error
        try:
            if isinstance(error, FileNotFoundError) and self.store.is_gone(ended.message.queue_id):
                self._end_without_file(ended)
                ended.error = None
        except OSError as another:
            ended.error = another

    def _end_without_file(self, ended: Ended) -> None:
        """End a message whose file is gone. What waits goes on where its original is still there, at the next start.

        That would make its children again, so they are not released then.
        """
        message = ended.message
        e = message.envelope
        waits = sum(not is_final(e, result) for result in message.results.values())
        goes_on = waits and e.maildrop and self.store.originals.has(e.maildrop)
        if not goes_on:
            if message.unreleased:
                self._release(message, ended)
            if e.maildrop:
                self.store.originals.remove(e.maildrop)
        what = f"somebody has taken it out of active/; {waits} of its recipients still waited"
        more = ", and are tried again at the next start, from maildrop/" if goes_on else ""
        ended.lines.append(f"warning: {message.queue_id}: {what}{more}")

    def _mark(self, message: Message, ended: Ended) -> None:
        """Write the reports into tmp/, then the marks of this pass and its history."""
        now = time.time()
        results = self._settled(message, now, ended)
        e = message.envelope
        written = self.reporter.write(message, results, now, ended.lines)
        # A box comes first: a message whose recipients are all marked would not be looked at for it again.
        marks: list[tuple[Recipient | Box, str]] = [(box, Mark.DELIVERED) for box in written.boxes]
        marks += [(e.recipients[i], _mark_of(result)) for i, result in results.items() if is_final(e, result)]
        stays = any(not is_final(e, result) for result in results.values())
        # A listing finds why a message waits fastest in the last line.
        told = sorted(results.items(), key=lambda row: row[1].outcome is Outcome.DEFERRED) if stays else []
        history = b"".join(self._history(now, e.recipients[i], result) for i, result in told)
        error = self.store.mark(ACTIVE, message.queue_id, marks, history, durable=bool(written.children))
        if error is not None:
            ended.lines.append(not_durable(message, error))
        message.is_marked = True
        message.unreleased += written.children

    def _release(self, message: Message, ended: Ended) -> None:
        """Release the children, durable before the parent may go; called again until that is so."""
        for child in message.unreleased:
            if self.store.moved(child, TMP, INCOMING):
                ended.children.append(child)
        self.store.sync_incoming()
        message.unreleased.clear()

    def _settled(self, message: Message, now: float, ended: Ended) -> Results:
        """Return the results in the order of the recipients; what has waited too long has failed."""
        e = message.envelope
        expired = message.attempted and self.schedule.is_expired(now, e.arrived_at / 1e6, not e.sender)
        results = dict(sorted(message.results.items()))
        if not (expired or e.expire) or e.verify:
            return results
        for index, result in results.items():
            if result.outcome is Outcome.DEFERRED and result not in (STOPPING, WITHDRAWN):
                reason = f"{result.reason} (message expired{'' if expired else ' by the administrator'})"
                results[index] = replace(result, outcome=Outcome.FAILED, reason=reason)
        if any(result.outcome is Outcome.FAILED for result in results.values()):
            how = "expired" if expired else "force-expired"
            ended.lines.append(f"{message.queue_id}: from=<{e.sender}>, status={how}, returned to sender")
        return results

    def _history(self, now: float, recipient: Recipient, result: DeliveryResult) -> bytes:
        return history_line(
            int(now), recipient.forward_path, result.outcome.value, result.status, result.relay, result.reason
        )

    def _defer(self, message: Message, now: float, ended: Ended) -> None:
        """Give a message its next time and move it; from the move on the pass has ended, whatever fails."""
        queue_id = message.queue_id
        waiting = [result for result in message.results.values() if result.outcome is Outcome.DEFERRED]
        if waiting and all(result is STOPPING for result in waiting):
            due = now  # nothing spoke against it: the next start goes on where this one ended
        else:
            due = self.schedule.next_attempt(now, message.envelope.arrived_at / 1e6, os.urandom(1)[0] / 255)
        self.store.set_due(ACTIVE, queue_id, due)
        self.store.move(queue_id, ACTIVE, DEFERRED)
        ended.due = due

    def _make_durable(self, ended: Ended) -> None:
        """Make a message that stays durable, then remove its original.

        After a failed fsync the original stays until the message is finished, since another
        fsync would prove nothing.
        """
        message = ended.message
        try:
            self.store.sync(DEFERRED, message.queue_id)
            if message.envelope.maildrop:
                self.store.originals.remove(message.envelope.maildrop)
        except OSError as error:
            ended.lines.append(not_durable(message, error))


def _is_withdrawn(message: Message) -> bool:
    """Say whether an administrator had a message deleted before anything was done with it in this pass."""
    return message.wish == DELETE and not message.unreleased and all(r == WITHDRAWN for r in message.results.values())


def _mark_of(result: DeliveryResult) -> str:
    return Mark.DELIVERED if result.outcome is Outcome.DELIVERED else Mark.FAILED


def not_durable(message: Message, error: OSError) -> str:
    """Return the log line for an fsync that failed where nothing is lost by it."""
    return f"warning: {message.queue_id}: a power cut now could repeat a delivery: {error}"
