"""Reports beyond report_rate_limit: kept in a file of data_directory, and told to the postmaster in one digest an hour.

A line is on disk before the marks that it stands for, and the file goes after the digest is in the
queue: a crash tells the postmaster of something twice, never of nothing.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Envelope
from ..core.result import DeliveryResult
from ..formats.trace_headers import clean
from ..routing.report_rate import HOUR, ReportRate
from ..spool.atomic import write_all
from ..spool.store import Store
from . import postmaster_mail
from .notices import Notice

_FILE_LIMIT = 1 << 20
_SHOWN = 500  # rows of a digest


class Withheld:
    """The count of one queue manager, and its file."""

    def __init__(self, config: Config) -> None:
        self.rate = ReportRate(0)
        self._lock = threading.Lock()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take what a configuration says; the counts stay."""
        self._path = f"{config.data_directory}/withheld-reports"
        self.rate.limit = config.report_rate_limit

    def is_too_many(self, address: Address, now: float) -> bool:
        """Count a report to an address and say whether it is to be withheld."""
        with self._lock:
            return not self.rate.has_room(str(address), now)

    def note(self, e: Envelope, notice: Notice, results: dict[int, DeliveryResult], now: float) -> None:
        """Write down what is not reported, durable; raises OSError."""
        lines = []
        for index in notice.indexes:
            result = results[index]
            row = [int(now), str(notice.to), e.queue_id, str(e.recipients[index].forward_path)]
            lines.append(json.dumps([*row, result.outcome.value, result.status, result.reason]).encode() + b"\n")
        with self._lock:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size < _FILE_LIMIT:  # beyond that the log tells
                    write_all(descriptor, lines)
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def rows(self) -> list[list[str]]:
        """Return what was withheld, [seconds, to, queue id, recipient, outcome, status, reason] each."""
        try:
            text = Path(self._path).read_text("utf-8", "replace")
        except FileNotFoundError:
            return []
        return list(_rows(text))

    def send_digest(self, store: Store, config: Config, sender: Address, to: Address) -> str:
        """Write a digest of an hour that is over into incoming/; returns its queue id, "" for none. Raises OSError."""
        now = time.time()
        with self._lock:
            rows = self.rows()
            if not rows or 0 <= now - float(rows[0][0]) < HOUR:
                return ""
            subject = f"{len(rows)} delivery reports were withheld"
            queue_id = postmaster_mail.write(store, config, sender, to, subject, _digest(rows, config))
            os.unlink(self._path)
        return queue_id


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # torn by a crash
        if isinstance(row, list) and len(row) == 7 and isinstance(row[0], int):
            yield [str(value) for value in row]


def _digest(rows: list[list[str]], config: Config) -> Iterator[str]:
    yield f"An address gets at most report_rate_limit = {config.report_rate_limit} delivery reports in an hour."
    yield "Others were not sent, and their messages are no longer queued unless they are called deferred:"
    sender = ""
    for _, to, queue_id, recipient, outcome, status, reason in sorted(rows[:_SHOWN], key=lambda row: row[1]):
        if to != sender:
            sender = to
            yield f"\nto <{clean(to)}>"
        yield f"  {queue_id}: <{clean(recipient)}> {outcome} {status} {clean(reason)[:400]}"
    if len(rows) > _SHOWN:
        yield f"\nand {len(rows) - _SHOWN} more, which the log names."
