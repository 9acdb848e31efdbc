"""Kills and errors at every system call of pickup that touches the queue, for one message.

pickup is told of it through the trigger, or finds it when it scans maildrop/: each is a way of its own, with
system calls of its own, so that a scan which happens to come along belongs to no case.
"""

import os

import pytest

from tests.faults.harness import (
    Patient,
    assert_well,
    message,
    new_marker,
    original_id,
    patients,
    run_cases,
    under_strace,
)
from tests.faults.tracing import WHOLE, Fault, faults_in, sample, was_hit, with_effects

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


def lose_trigger(patient: Patient) -> None:
    """Take what the trigger holds, so that only a scan finds the message."""
    end = os.open(patient.queue / "trigger", os.O_RDWR | os.O_NONBLOCK)
    assert os.read(end, 1000)
    os.close(end)


def take(patient: Patient, fault: Fault | None, way: str) -> tuple[str, str, list[str]]:
    """Have pickup take one message under strace; returns marker, queue id and trace."""
    patient.begin_case()
    marker = new_marker()

    def give() -> tuple[dict[str, str], str]:
        patient.submit(message(marker), "games")
        if way == "found":
            lose_trigger(patient)
        original, queue_id = original_id(patient)
        return paths_of(patient, original, queue_id), queue_id

    queue_id, lines = under_strace(patient, "pickup", "main", fault, give, patient.wait_settled)
    return marker, queue_id, lines


@pytest.mark.parametrize("way", ["told", "found"])
def test_a_fault_in_pickup_neither_loses_mail_nor_repeats_it(tmp_path, way):
    sick = patients(tmp_path, 6 if WHOLE else 3)
    # where a message is told of, no scan is to come along while the calls are listed
    (tmp_path / "calm").mkdir()
    calm = patients(tmp_path / "calm", 1, maildrop_scan_delay="1000s") if way == "told" else []

    def case(patient: Patient, fault: Fault) -> str | None:
        marker, queue_id, lines = take(patient, fault, way)
        return patient.verdict(marker, {"games": queue_id}) if was_hit(lines) else None

    try:
        patient = (calm or sick)[0]
        _, queue_id, lines = take(patient, None, way)
        original = next(line.split('"')[1] for line in lines if "/maildrop/" in line)
        faults = with_effects(faults_in(lines, "main", paths_of(patient, original, queue_id)))
        assert {"openat", "write", "rename"} <= {fault.syscall for fault in faults}
        assert ("getdents64" in {fault.syscall for fault in faults}) == (way == "found")
        faults = sample(faults, 5)
        assert_well(run_cases(sick, faults, case), faults)
    finally:
        for patient in sick + calm:
            patient.stop()
