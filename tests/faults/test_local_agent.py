"""Kills and errors at every system call of local that touches a mailbox."""

import pytest

from tests.faults.harness import Patient, assert_well, first_id, message, new_marker, patients, run_cases
from tests.faults.tracing import WHOLE, Fault, Strace, faults_in, sample, threads_of, was_hit, with_effects

pytestmark = pytest.mark.real("strace")


def paths_of(patient: Patient) -> dict[str, str]:
    return {f"{patient.path}/mail/games": "mailbox", f"{patient.path}/mail": "directory"}


def deliver(patient: Patient, fault: Fault | None, is_new: bool) -> tuple[str, list[str]]:
    """Deliver one message under strace; returns its marker and the trace."""
    patient.begin_case()
    if is_new:
        (patient.path / "mail" / "games").unlink(missing_ok=True)
    pid = patient.ready("pickup", "qmgr", "local")["local"]
    wanted = [p for p, pattern in paths_of(patient).items() if fault is None or pattern == fault.path]
    strace = Strace(patient.path / "trace", threads_of(pid, "main"), wanted, fault)
    marker = new_marker()
    try:
        patient.submit(message(marker), "games")
        patient.wait_settled()
    finally:
        lines = strace.end()
    return marker, lines


@pytest.mark.parametrize("is_new", [False, True], ids=["old-mailbox", "new-mailbox"])
def test_a_fault_in_local_neither_loses_mail_nor_repeats_it_in_silence(tmp_path, is_new):
    sick = patients(tmp_path, 6 if WHOLE else 3)

    def case(patient: Patient, fault: Fault) -> str | None:
        marker, lines = deliver(patient, fault, is_new)
        if not was_hit(lines):
            return None
        if left := [n.name for n in (patient.path / "mail").iterdir() if n.suffix != ".lock" and n.name[0] != "."][1:]:
            return f"strange files {left}"
        return patient.verdict(marker, {"games": first_id(patient)})

    try:
        _, lines = deliver(sick[0], None, is_new)
        faults = with_effects(faults_in(lines, "main", paths_of(sick[0])))
        assert {"openat", "writev", "fsync", "linkat", "unlinkat"} <= {fault.syscall for fault in faults}
        faults = sample(faults, 7)
        assert_well(run_cases(sick, faults, case), faults)
    finally:
        for patient in sick:
            patient.stop()
