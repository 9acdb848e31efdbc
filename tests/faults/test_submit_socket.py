"""Kills and errors in pickup while it takes a message over the submit socket: never lost, and at worst twice.

Exit 0 stands for one delivery. After 75 the message may have been taken all the same, so that
trying again may deliver it a second time, as with SMTP when the last reply is lost.
"""

import pytest

from tests.faults.harness import Patient, message, new_marker
from tests.faults.tracing import Fault, Strace, threads_of, was_hit
from tests.integration.instance import is_alive

pytestmark = pytest.mark.real("strace")

KILL, EIO, FULL = "signal=SIGKILL", "error=EIO", "error=ENOSPC"
SITES = [
    ("main", "recvmsg", 1, (KILL, EIO)),  # in the middle of the message
    ("main", "write", 1, (KILL, EIO, FULL)),  # into the file without a name
    ("main", "rename", 1, (KILL, EIO)),  # the empty file gets its id
    ("pool", "openat", 1, (KILL, FULL)),  # the copy in tmp/
    ("pool", "write", 1, (KILL,)),  # of the copy, or the word to the loop that it has been read
    ("pool", "fsync", 1, (KILL, EIO, FULL)),  # of the copy
    ("pool", "rename", 1, (KILL, EIO)),  # to incoming/
    ("pool", "fsync", 2, (KILL, EIO)),  # of incoming/
    ("main", "sendmsg", 2, (KILL, EIO)),  # the answer
]
FAULTS = [Fault(kind, call, "", number, effect) for kind, call, number, effects in SITES for effect in effects]


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    top = tmp_path_factory.mktemp("submit")
    patient = Patient(top / "p")
    (top / "main.cf").write_text(f"queue_directory = {top}/nowhere\nrun_directory = {patient.path}/run\n")
    patient.outside = patient.environment | {"MAIL_CONFIG": str(top)}
    patient.start()
    yield patient
    patient.stop()


def hand_over(patient: Patient, text: bytes) -> int:
    """Submit a message over the socket; returns sendmail's exit code."""
    done = patient.run("sendmail", "-i", "games", input=text, env=patient.outside)
    assert done.returncode in (0, 75) and done.stderr.count(b"\n") == bool(done.returncode), done
    return done.returncode


def warm(patient: Patient) -> int:
    """Wait until pickup and its threads are there; returns its pid."""
    patient.wait_for(lambda: hand_over(patient, b"Subject: warm\n\nwarm\n") == 0, "pickup takes mail")
    pid = patient.ready("pickup", "qmgr")["pickup"]
    patient.wait_settled()
    return pid


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_while_mail_is_handed_over_loses_nothing_that_was_accepted(patient: Patient, fault: Fault) -> None:
    marker = new_marker()
    pid = warm(patient)
    strace = Strace(patient.path / "trace", threads_of(pid, fault.kind), [], fault)
    try:
        status = hand_over(patient, message(marker))
    finally:
        lines = strace.end()
    assert was_hit(lines) or not is_alive(pid), lines[-5:]
    patient.ready("pickup", "qmgr")
    patient.wait_settled()
    first = patient.copies("games", marker)
    assert first == 1 if status == 0 else first <= 1
    if fault.effect != KILL and fault.syscall != "sendmsg":
        assert (status, first) == (75, 0)
    if status:
        warm(patient)
        assert hand_over(patient, message(marker)) == 0
        patient.wait_settled()
        assert patient.copies("games", marker) == first + 1


def test_what_a_killed_pickup_had_taken_is_delivered_by_the_next_one_at_once(patient: Patient) -> None:
    patient.configure(queue_run_delay="1h", maildrop_scan_delay="1h")
    patient.mailctl("reload", check=True)
    marker = new_marker()
    pid = warm(patient)
    strace = Strace(patient.path / "trace", threads_of(pid, "main"), [], Fault("main", "sendmsg", "", 2))
    try:
        assert hand_over(patient, message(marker)) == 75
    finally:
        assert was_hit(strace.end()) or not is_alive(pid)
    patient.wait_for(lambda: patient.copies("games", marker) == 1, "it is delivered")
