"""The agent's side of its channel to qmgr: batches in, results out, delivery log lines.

An agent (local, smtp) is told when a result is ready by report(); results and log lines are
kept until flush(), which writes the log first, so that what qmgr acts on has been logged.
"""

import contextlib
import os
import socket
import time

from ..core.delivery import Delivery
from ..core.result import DeliveryResult, Outcome, softened
from ..formats.batch import Batch, HandBack, Report, decode_batch, encode_aside, encode_reports
from ..formats.xtext import address_in
from ..host.sockets import receive_record, send_record
from ..host.syslog import Log

FLUSH_COUNT = 50
FLUSH_SECONDS = 0.003
_NO_BRACKETS = {ord("<"): "?", ord(">"): "?"}  # an ORCPT is a stranger's text, and must not look like what follows it


class AgentChannel:
    """One agent's connection to qmgr."""

    def __init__(self, end: socket.socket, log: Log, soft_bounce: bool = False) -> None:
        self.end = end
        self._soft_bounce = soft_bounce
        self.log = log
        self._reports: dict[int, list[Report]] = {}
        self._aside: set[int] = set()
        self._done: set[int] = set()
        self._lines: list[str] = []
        self.waiting = 0

    def receive(self) -> Batch | None:
        """Return the next batch; None when qmgr has closed. Raises BlockingIOError."""
        received = receive_record(self.end)
        return None if received is None else decode_batch(*received)

    def report(
        self, batch: Batch, delivery: int, recipient: int, times: tuple[float, float] = (0.0, 0.0), tls: str = ""
    ) -> None:
        """Queue the result that stands in the delivery, and its log line.

        times are the seconds spent on connecting and on the transmission, tls says how far there was TLS.
        """
        d = batch.deliveries[delivery]
        result = d.results[recipient]
        if result is None:
            return
        if self._soft_bounce and not d.verify:
            result = d.results[recipient] = softened(result)
        self._reports.setdefault(batch.number, []).append(Report(delivery, recipient, result))
        self._lines.append(delivery_line(d, recipient, times, tls))
        self.waiting += 1
        if self.waiting >= FLUSH_COUNT:
            self.flush()

    def report_expansion(self, batch: Batch, delivery: int, descriptor: int, uid: int) -> None:
        """Hand a local delivery back with the user's .forward as its expansion.

        descriptor is an unlinked file with one target a line, as in aliases(5) and with nothing
        left to include; it is closed when it has been sent. uid is the user's.
        """
        self._hand_back(batch, Report(delivery, 0, None, HandBack.FORWARD, uid, descriptor))

    def report_elsewhere(self, batch: Batch, delivery: int, back: HandBack) -> None:
        """Hand a local delivery back for another transport: MAILBOX or UNKNOWN; qmgr logs what comes of it."""
        self._hand_back(batch, Report(delivery, 0, None, back))

    def _hand_back(self, batch: Batch, report: Report) -> None:
        self._reports.setdefault(batch.number, []).append(report)
        self.waiting += 1
        if self.waiting >= FLUSH_COUNT:
            self.flush()

    def set_aside(self, batch: Batch) -> None:
        """Say that a batch waits for a lock or a program, so that others can be handed out meanwhile."""
        self._aside.add(batch.number)

    def end_batch(self, batch: Batch) -> None:
        """Say that no more results follow for this batch, and close its descriptors."""
        self._aside.discard(batch.number)
        self._done.add(batch.number)
        for d in batch.deliveries:
            with contextlib.suppress(OSError):  # it was only read from
                os.close(d.fd)
        self.waiting += 1

    def flush(self) -> None:
        """Write the log lines, then send the results."""
        lines, self._lines = self._lines, []
        if lines:
            self.log.lines(lines)
        reports, self._reports = self._reports, {}
        done, self._done = self._done, set()
        self.waiting = 0
        aside, self._aside = self._aside, set()
        for number in aside:
            send_record(self.end, encode_aside(number))
        for number in reports.keys() | done:
            rows = reports.get(number, [])
            for start in range(0, max(len(rows), 1), FLUSH_COUNT):
                last = start + FLUSH_COUNT >= len(rows)
                self._send(number, rows[start : start + FLUSH_COUNT], last and number in done)

    def _send(self, number: int, rows: list[Report], done: bool) -> None:
        record, descriptors = encode_reports(number, rows, done)
        try:
            send_record(self.end, record, descriptors)
        finally:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):  # the other side has its own by now
                    os.close(descriptor)


def delivery_line(d: Delivery, recipient: int, times: tuple[float, float] = (0.0, 0.0), tls: str = "") -> str:
    """Return Postfix's line for one result: to=, orig_to=, relay=, delay=, delays=, tls=, dsn=, status=."""
    result = d.results[recipient]
    assert result is not None
    r = d.recipients[recipient]
    return result_line(
        d.queue_id, str(r.forward_path), r.original, result, (d.arrived_at, d.active_at), times, d.verify, tls
    )


def result_line(
    queue_id: str,
    address: str,
    original: str,
    result: DeliveryResult,
    since: tuple[int, int],
    times: tuple[float, float],
    verify: bool = False,
    tls: str = "",
) -> str:
    """The same from its parts; since is when the message arrived and became active, in microseconds."""
    wanted = address_in(original)
    orig_to = f" orig_to=<{wanted.translate(_NO_BRACKETS)}>," if wanted and wanted != address else ""
    delay = max(0.0, time.time() - since[0] / 1e6)
    before = min(delay, max(0.0, (since[1] - since[0]) / 1e6))
    in_queue = max(0.0, delay - before - sum(times))
    delays = "/".join(_seconds(t) for t in (before, in_queue, *times))
    features = f"tls={tls}, " if tls else ""
    return (
        f"{queue_id}: to=<{address}>,{orig_to} relay={result.relay}, delay={_seconds(delay)}, delays={delays}, "
        f"{features}dsn={result.status}, status={_status(result, verify)} ({result.reason})"
    )


def _status(result: DeliveryResult, verify: bool) -> str:
    """Return the word for a result; who counts what was sent must not count what was only verified."""
    if not verify:
        return "SOFTBOUNCE" if result.is_soft else result.outcome.value
    return "deliverable" if result.outcome is Outcome.DELIVERED else "undeliverable"


def _seconds(value: float) -> str:
    """Format as Postfix does: two significant digits below 10, none after the point above."""
    if value < 0.005:
        return "0"
    if value >= 10:
        return f"{value:.0f}"
    if value >= 1:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2f}".rstrip("0").rstrip(".")
