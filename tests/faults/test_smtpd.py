"""Kills and errors in smtpd at the system calls between the final dot and its answer; and a power cut after the 250.

250 stands for one delivery. Without an answer the message may have been taken all the same, so that
trying again may deliver it a second time; after 451 or 452 it was not taken.
"""

import contextlib
import os
import signal
import smtplib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.harness import Patient, message, new_marker
from tests.faults.test_power_cut import Disk, each_file_system, missing
from tests.faults.tracing import WHOLE, Fault, Strace, threads_of, was_hit
from tests.integration.instance import LIMIT, is_alive, wait_until
from tests.integration.smtp_server import Served

KILL, EIO, FULL = "signal=SIGKILL", "error=EIO", "error=ENOSPC"
SITES = [
    ("main", "recvfrom", 1, (KILL,)),
    ("pool", "openat", 1, (KILL, FULL)),  # the file that gives the message its id
    ("pool", "rename", 1, (KILL, EIO)),
    ("pool", "memfd_create", 1, (KILL, "error=EMFILE")),
    ("pool", "openat", 2, (KILL, FULL)),  # the queue file in tmp/
    ("pool", "write", 2, (KILL, FULL)),
    ("pool", "write", 3, (KILL, EIO)),
    ("pool", "fsync", 1, (KILL, EIO, FULL)),
    ("pool", "rename", 2, (KILL, EIO)),  # to incoming/
    ("pool", "fsync", 2, (KILL, EIO)),  # of incoming/
    ("main", "sendto", 1, (KILL,)),  # the answer
]
FAULTS = [Fault(kind, call, "", number, effect) for kind, call, number, effects in SITES for effect in effects]


class Receiver(Served, Patient):
    """A patient with an SMTP server."""

    def hand_over(self, text: bytes) -> int:
        """Send a message; returns the code of the last answer, 0 where there was none."""
        try:
            with self.client() as client:
                client.sendmail("alice@a.test", ["games@here.test"], text)
        except smtplib.SMTPDataError as error:
            return error.smtp_code
        except (smtplib.SMTPException, OSError):
            return 0
        return 250

    def warm(self) -> int:
        """Wait until smtpd, its threads and all others are there; returns its pid."""
        self.wait_for(lambda: self.hand_over(b"Subject: warm\n\nwarm\n") == 250, "smtpd takes mail")
        self.wait_settled()
        return self.ready("smtpd", "qmgr")["smtpd"]


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    with Receiver(tmp_path_factory.mktemp("smtpd") / "p") as patient:
        patient.start()
        yield patient


@pytest.mark.real("strace")
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_between_the_final_dot_and_its_answer_loses_nothing_that_was_accepted(patient, fault):
    marker = new_marker()
    pid = patient.warm()
    before = set(os.listdir(patient.queue / "tmp"))  # a kill leaves a torn file, which goes when it is old
    with patient.connect() as line:
        line.reply()
        line.to_data()
        strace = Strace(patient.path / "trace", threads_of(pid, fault.kind), [], fault)
        try:
            line.end.sendall(message(marker).replace(b"\n", b"\r\n") + b".\r\n")
            with contextlib.suppress(ConnectionError):
                answer = ""
                answer = line.reply()
        finally:
            lines = strace.end()
    assert was_hit(lines) or lines[-1:][0].endswith("= ?"), lines[-5:]  # the end of a process may go unwritten
    patient.warm()
    first = patient.copies("games", marker)
    if fault.effect == KILL:
        assert (answer, first) in (("", 0), ("", 1))
    else:
        assert (answer[:3], first) in (("451", 0), ("452", 0)), answer
    assert patient.hand_over(message(marker)) == 250
    patient.wait_settled()
    assert patient.copies("games", marker) == first + 1
    assert fault.effect == KILL or set(os.listdir(patient.queue / "tmp")) == before


@pytest.mark.parametrize("kind", each_file_system)
def test_what_was_answered_with_250_outlasts_a_power_cut(tmp_path, kind):
    with Disk(tmp_path, kind) as disk:
        patient = Receiver(disk.top / "p")
        os.sync()
        patient.start()
        patient.warm()
        accepted = []
        enough = threading.Event()

        def send(_):
            marker = new_marker()
            if patient.hand_over(message(marker)) == 250:
                accepted.append(marker)
            if len(accepted) >= (100 if WHOLE else 30):
                enough.set()

        with ThreadPoolExecutor(6) as pool:
            jobs = [pool.submit(send, number) for number in range(400 if WHOLE else 120)]
            assert enough.wait(2 * LIMIT)
            pids = [patient.master_pid(), *patient.services().values()]
            disk.cut()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for job in jobs:
                job.result()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "the services have ended")
        disk.repower()
        with patient:
            patient.start()
            patient.wait_settled()
            assert missing(patient, accepted) == [], patient.log()
