"""What the queue manager writes to the postmaster: notices of errors and of sessions, and the
digest of withheld reports.

Written in the pool's threads; what cannot be written is a line in the log.
"""

import time
from collections.abc import Callable

from ..host.syslog import Log
from ..protocol.transcript import Notice
from ..routing.report_rate import ReportRate
from .notices import SOFTWARE
from .pool import Pool
from .reports import Reporter


class Postmaster:
    """reporter() writes; note() takes a line for the log, and new_message() the id of what was written."""

    def __init__(
        self,
        pool: Pool,
        log: Log,
        reporter: Callable[[], Reporter],
        note: Callable[[str], None],
        new_message: Callable[[str], None],
    ) -> None:
        self._pool = pool
        self._log = log
        self._reporter = reporter
        self._note = note
        self._new_message = new_message
        self.rate = ReportRate(0)

    def send_digest(self) -> None:
        """Tell the postmaster of reports that were withheld, when their hour is over."""
        self._write(self._reporter().send_digest, "digest of withheld reports")

    def tell_of_error(self, subject: str, lines: list[str]) -> None:
        """Tell the postmaster what is wrong with the mail system."""
        reporter = self._reporter()
        self._write(lambda: reporter.tell_of(SOFTWARE, subject, lines), "notice")

    def tell_of_session(self, notice: Notice) -> None:
        """Tell the postmaster of a session, where he wants to hear of it and has not heard of too many in this hour."""
        reporter, now = self._reporter(), time.time()
        if not reporter.notices.recipient_of(notice.name) or not self.rate.has_room(notice.name, now):
            return
        lines = notice.lines
        if self.rate.is_used_up(notice.name, now):
            limit = f"session_notice_rate_limit = {self.rate.limit}"
            self._log.warning(f"the postmaster hears of no more sessions in this hour: {notice.name}: {limit}")
            lines = [*lines, f"In this hour there are no more notices of this class ({notice.name}): {limit}."]
        self._write(lambda: reporter.tell_of(notice.name, notice.subject, lines), "notice")

    def _write(self, write: Callable[[], tuple[str, str]], what: str) -> None:
        """Have a message written in a thread; it is the queue id, or "", and an error that come back."""

        def done(told: tuple[str, str]) -> None:
            queue_id, error = told
            if error:
                self._log.error(f"the postmaster's {what} cannot be written: {error}")
            elif queue_id:
                self._note(f"{queue_id}: postmaster {what}")
                self._new_message(queue_id)

        self._pool.submit(write, done)
