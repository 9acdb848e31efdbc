"""Instances whose services are disturbed, many cases on them, and the verdict on each.

The verdict asks the disk and the log: every accepted message in its mailboxes once, or once more
with a log line that says so, and nothing left behind.
"""

import mailbox
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from sendmail_py.host.sockets import connect, receive_record, send_record
from sendmail_py.spool.queue_id import base_id
from tests.faults.tracing import Fault, Strace, threads_of
from tests.integration.instance import Instance, is_alive

QUICK = {
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "2s",
    "queue_run_delay": "1s",
    "maildrop_scan_delay": "1s",
    "stale_lock_time": "1s",
    "deliver_lock_delay": "1s",
    "service_throttle_time": "1s",
}
_TRIES = 3  # of a fault that did not happen
STATES = ("maildrop", "incoming", "active", "deferred")
Given = TypeVar("Given")
_REPEATED = r": {0}: .*may be repeated"


class Patient(Instance):
    """An instance with short pauses, and with eyes for its own disk."""

    def __init__(self, path: Path, **settings: object) -> None:
        super().__init__(path, **QUICK | settings)
        self.queue = self.path / "queue"
        self.log_start = 0

    def services(self) -> dict[str, int]:
        """Return the pids of the services that are ready, asked over the control socket."""
        try:
            with connect(f"{self.path}/run/control", timeout=5) as end:
                send_record(end, {"verb": "status"})
                received = receive_record(end)
        except OSError:
            return {}
        rows = received[0]["services"] if received is not None else []
        return {row["name"]: row["pid"] for row in rows if row["ready"] and is_alive(row["pid"])}

    def ready(self, *names: str) -> dict[str, int]:
        """Wait until these services are ready; returns their pids."""
        return self.wait_for(lambda: (s := self.services()).keys() >= set(names) and s, f"{names} are ready")

    def kill(self, service: str) -> None:
        """End a service with SIGKILL, as soon as it is ready, and wait until it is dead."""
        pid = self.ready(service)[service]
        os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: not is_alive(pid), f"{service} is dead")

    def begin_case(self) -> None:
        """Remember where the log stands."""
        log = self.path / "maillog"
        self.log_start = log.stat().st_size if log.exists() else 0

    def case_log(self) -> str:
        """Return what was logged since begin_case()."""
        log = self.path / "maillog"
        return log.read_bytes()[self.log_start :].decode("utf-8", "replace") if log.exists() else ""

    def queued(self) -> list[str]:
        """Return what is in the queue, as STATE/NAME."""
        found = []
        for state in STATES:
            for directory, _, names in os.walk(self.queue / state):
                found += [f"{os.path.relpath(directory, self.queue)}/{name}" for name in names]
        return [name for name in found if not self.is_leftover(name)]

    def is_leftover(self, name: str) -> bool:
        """Say whether this is the file of a killed submitter: never complete, so never accepted."""
        try:
            return name.startswith("maildrop/") and os.lstat(self.queue / name).st_mode & 0o777 == 0o600
        except FileNotFoundError:
            return True

    def wait_settled(self) -> None:
        """Wait until the queue is empty."""
        self.wait_for(lambda: not (self.queued() or self.queued()), "the queue is empty")  # one look may miss a move

    def copies(self, user: str, marker: str) -> int:
        """Return how many messages of a mailbox contain a marker; the mailbox must be a good one."""
        path = self.path / "mail" / user
        if not path.exists():
            return 0
        box = mailbox.mbox(path, create=False)
        try:
            texts = [message.as_bytes() for message in box]
        finally:
            box.close()
        return sum(marker.encode() in text for text in texts)

    def verdict(self, marker: str, wanted: dict[str, str]) -> str:
        """Say what is wrong with the mail of a case, "" if nothing; wanted maps users to queue id patterns."""
        faults = []
        log = self.case_log()
        for user, queue_id in wanted.items():
            count = self.copies(user, marker)
            explained = re.search(_REPEATED.format(queue_id), log) is not None
            if count != 1 and not (count == 2 and explained):
                faults.append(f"{count} copies for {user}{' (explained)' if explained else ''}")
        if left := os.listdir(self.queue / "tmp") + os.listdir(self.queue / "corrupt"):
            faults.append(f"left behind: {left}")
        return "; ".join(faults)


def original_id(patient: Patient) -> tuple[str, str]:
    """Return the maildrop path and the queue id of the one message that waits there."""
    (name,) = [n for n in os.listdir(patient.queue / "maildrop") if n[0] != "."]
    path = f"{patient.queue}/maildrop/{name}"
    status = os.lstat(path)
    return path, base_id(status.st_ctime_ns // 1000, status.st_ino)


def halted(patient: Patient, service: str) -> int:
    """Have a service stand still and return its pid. One that ends just now, by the case before, has a successor."""
    while True:
        pid = patient.ready("pickup", "qmgr")[service]
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            continue
        return pid


def under_strace(
    patient: Patient,
    service: str,
    kind: str,
    fault: Fault | None,
    give: Callable[[], tuple[dict[str, str], Given]],
    wait: Callable[[], object],
) -> tuple[Given, list[str]]:
    """Have a service work under strace until wait() returns; returns what it was given, and the trace.

    It stands still while give() finds it work, and says which paths count and what their patterns are.
    """
    pid = halted(patient, service)
    try:
        patterns, given = give()
        paths = [path for path, pattern in patterns.items() if fault is None or pattern == fault.path]
        strace = Strace(patient.path / "trace", threads_of(pid, kind), paths, fault)
    finally:
        os.kill(pid, signal.SIGCONT)
    try:
        wait()
    finally:
        lines = strace.end()
    return given, lines


# --- many cases ------------------------------------------------------------------------------

Case = Callable[[Patient, Fault], str | None]


@dataclass
class Report:
    """What many cases came to: complaints, and how many faults never happened."""

    complaints: list[str]
    missed: list[Fault]
    hit: list[Fault]


def run_cases(patients: list[Patient], faults: list[Fault], case: Case) -> Report:
    """Run each fault on one of the patients, in parallel; one that did not happen is tried again, a call before it.

    A case returns None when its fault did not happen, "" when all was well, else the complaint.
    """
    waiting: SimpleQueue[tuple[Fault, int]] = SimpleQueue()
    for fault in faults:
        waiting.put((fault, _TRIES))
    report = Report([], [], [])
    lock = threading.Lock()

    def work(patient: Patient) -> None:
        while True:
            try:
                fault, left = waiting.get_nowait()
            except Empty:
                return
            try:
                outcome = case(patient, fault)
            except Exception as error:
                with lock:
                    report.complaints.append(f"{fault}: {type(error).__name__}: {error}\n{patient.case_log()}")
                return  # this patient cannot be trusted any more
            with lock:
                if outcome is None and left > 1:
                    waiting.put((fault.earlier(), left - 1))
                elif outcome is None:
                    report.missed.append(fault)
                else:
                    report.hit.append(fault)
                if outcome:
                    report.complaints.append(f"{fault}: {outcome}\n{patient.case_log()}")

    with ThreadPoolExecutor(len(patients)) as pool:
        for done in [pool.submit(work, patient) for patient in patients]:
            done.result()
    return report


def assert_well(report: Report, faults: list[Fault]) -> None:
    """Assert that no case complained, and that every kind of call was really disturbed."""
    assert not report.complaints, f"{len(report.complaints)} of {len(faults)}:\n" + "\n".join(report.complaints[:5])
    assert len(report.hit) + len(report.missed) == len(faults)
    print(f"{len(report.hit)} faults, {len(report.missed)} that did not come about:", *report.missed, sep="\n")
    names = {fault.syscall for fault in faults}
    assert names == {fault.syscall for fault in report.hit}, f"never disturbed: {report.missed}"


def patients(tmp_path: Path, count: int, **settings: object) -> list[Patient]:
    """Return running instances, whose agents run too."""
    made = [Patient(tmp_path / f"p{number}", **settings) for number in range(count)]
    for patient in made:
        patient.start()
        patient.submit(b"Subject: first\n\nwarm\n", "games")
    for patient in made:
        patient.wait_settled()
        patient.ready("pickup", "qmgr", "local")
    return made


_numbers = iter(range(1, 10**9))


def new_marker() -> str:
    """Return a text that occurs in one message only."""
    return f"marker-{time.time_ns():x}-{next(_numbers)}-end"


def message(marker: str) -> bytes:
    """Return a message that carries a marker."""
    return f"Subject: {marker}\n\nhello\n".encode()


def first_id(patient: Patient) -> str:
    """Return the queue id of the first message that became active in this case."""
    found = re.search(r"qmgr\[\d+\]: ([0-9A-F]+): from=.*queue active", patient.case_log())
    assert found is not None, "no message became active"
    return found[1]
