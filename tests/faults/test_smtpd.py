"""Kills and errors in smtpd at the system calls between the final dot and its answer; and a power cut after the 250.

250 stands for one delivery. Without an answer the message may have been taken all the same, so that
trying again may deliver it a second time; after 451 or 452 it was not taken.
"""

import contextlib
import os
import shutil
import smtplib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.harness import Patient, message, new_marker
from tests.faults.test_power_cut import Disk, each_file_system, kill_all, missing
from tests.faults.tracing import WHOLE, Fault, Strace, threads_of, was_hit
from tests.integration.instance import LIMIT, ROOT
from tests.integration.smtp_server import Served

KILL, EIO, FULL = "signal=SIGKILL", "error=EIO", "error=ENOSPC"
DISK = [
    ("openat", 1, (KILL, FULL, "error=EMFILE")),  # the queue file, in tmp/ without a name
    ("write", 1, (KILL, FULL, EIO)),
    ("linkat", 1, (KILL, EIO)),  # its name, in incoming/
    ("fsync", 1, (KILL, EIO, FULL)),  # of the file, which makes the name last too
    ("fchmod", 1, (KILL, EIO)),  # from here on it counts
]
# A message that is alone is written by the main thread, one beside others by the pool's.
SITES = [("main", "recvfrom", 1, (KILL,)), *(("main", *site) for site in DISK), ("main", "sendto", 1, (KILL,))]
SITES += [("pool", *site) for site in DISK]
FAULTS = [Fault(kind, call, "", number, effect) for kind, call, number, effects in SITES for effect in effects]
# Where the file system wants a name from the beginning: what is other there, and all that comes before and after it.
EARLY = [("rename", 1, (KILL, EIO)), ("fsync", 1, (KILL, EIO))]
EARLY_FAULTS = [Fault(kind, call, "", 1, effect) for kind in ("main", "pool") for call, _, e in EARLY for effect in e]


def early_tree(path):
    """Return a tree for which no file system has files without a name."""
    shutil.copytree(ROOT / "bin", path / "bin", symlinks=True)
    shutil.copytree(ROOT / "sendmail_py", path / "sendmail_py", ignore=shutil.ignore_patterns("__pycache__"))
    os.symlink(ROOT / ".venv", path / ".venv")
    module = path / "sendmail_py/spool/atomic.py"
    text = module.read_text()
    assert " | os.O_TMPFILE" in text
    module.write_text(text.replace(" | os.O_TMPFILE", ""))
    return path


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

    def _takes_mail_quickly(self) -> bool:
        """After a message that was slow the next one is left to a thread, even when it is alone."""
        started = time.monotonic()
        return self.hand_over(b"Subject: warm\n\nwarm\n") == 250 and time.monotonic() - started < 0.1

    def warm(self) -> int:
        """Wait until smtpd, its threads and all others are there, and the disk is no slow one; returns its pid."""
        self.wait_for(self._takes_mail_quickly, "smtpd takes mail")
        self.wait_settled()
        return self.ready("smtpd", "qmgr")["smtpd"]


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    with Receiver(tmp_path_factory.mktemp("smtpd") / "p") as patient:
        patient.start()
        yield patient


@pytest.fixture(scope="module")
def early_patient(tmp_path_factory):
    path = tmp_path_factory.mktemp("early")
    with Receiver(path / "p", tree=early_tree(path / "tree")) as patient:
        patient.start()
        yield patient


@pytest.mark.real("strace")
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_between_the_final_dot_and_its_answer_loses_nothing_that_was_accepted(patient, fault):
    assert disturb(patient, fault) == set()


@pytest.mark.real("strace")
@pytest.mark.parametrize("fault", EARLY_FAULTS, ids=str)
def test_nor_does_one_where_a_file_has_its_name_from_the_beginning(early_patient, fault):
    left = disturb(early_patient, fault)
    assert fault.effect == KILL or left == set()  # a kill leaves a torn file, which goes when it is old


def disturb(patient, fault):
    """Hand a message over with a fault, see what became of it, and hand it over again; returns what is left in tmp/."""
    marker = new_marker()
    pid = patient.warm()
    before = set(os.listdir(patient.queue / "tmp"))
    with contextlib.ExitStack() as stack:
        if fault.kind == "pool":
            other = stack.enter_context(patient.connect())
            other.reply()
            other.to_data()
        line = stack.enter_context(patient.connect())
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
    return set(os.listdir(patient.queue / "tmp")) - before


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
            promised = list(accepted)
            disk.cut()
            kill_all(pids)
            for job in jobs:
                job.result()
        disk.repower()
        with patient:
            patient.start()
            patient.wait_settled()
            assert missing(patient, promised) == [], patient.log()
