"""Kills and errors at every system call of pickup that touches the queue, for one message."""

import os
import signal

import pytest

from tests.faults.harness import Patient, assert_well, message, new_marker, original_id, patients, run_cases
from tests.faults.tracing import WHOLE, Fault, Strace, faults_in, sample, threads_of, was_hit, with_effects

pytestmark = pytest.mark.real("strace")


def paths_of(patient: Patient, original: str, queue_id: str) -> dict[str, str]:
    top = patient.queue
    return {
        original: "original",
        f"{top}/tmp/{queue_id}": "tmp",
        f"{top}/incoming/{queue_id}": "incoming",
        f"{top}/active/{queue_id}": "active",
        f"{top}/maildrop": "maildrop",
    }


def take(patient: Patient, fault: Fault | None) -> tuple[str, str, list[str]]:
    """Have pickup take one message under strace; returns marker, queue id and trace."""
    patient.begin_case()
    pid = patient.ready("pickup", "qmgr")["pickup"]
    marker = new_marker()
    os.kill(pid, signal.SIGSTOP)
    try:
        patient.submit(message(marker), "games")
        original, queue_id = original_id(patient)
        patterns = paths_of(patient, original, queue_id)
        paths = [path for path, pattern in patterns.items() if fault is None or pattern == fault.path]
        strace = Strace(patient.path / "trace", threads_of(pid, "main"), paths, fault)
    finally:
        os.kill(pid, signal.SIGCONT)
    try:
        patient.wait_settled()
    finally:
        lines = strace.end()
    return marker, queue_id, lines


def test_a_fault_in_pickup_neither_loses_mail_nor_repeats_it(tmp_path):
    sick = patients(tmp_path, 6 if WHOLE else 3)

    def case(patient: Patient, fault: Fault) -> str | None:
        marker, queue_id, lines = take(patient, fault)
        return patient.verdict(marker, {"games": queue_id}) if was_hit(lines) else None

    try:
        patient = sick[0]
        _, queue_id, lines = take(patient, None)
        original = next(line.split('"')[1] for line in lines if "/maildrop/" in line)
        faults = with_effects(faults_in(lines, "main", paths_of(patient, original, queue_id)))
        assert {"openat", "write", "rename", "fstat", "newfstatat"} & {fault.syscall for fault in faults}
        faults = sample(faults, 7)
        assert_well(run_cases(sick, faults, case), faults)
    finally:
        for patient in sick:
            patient.stop()
