"""Kills and errors at every system call of qmgr that touches a message whose sender asked for a report (-v)."""

import os

import pytest

from sendmail_py.spool.queue_id import child_id, hash_directory
from tests.faults.harness import Patient, assert_well, message, new_marker, patients, run_cases, under_strace
from tests.faults.tracing import WHOLE, Fault, faults_in, sample, was_hit, with_effects

pytestmark = pytest.mark.real("strace")

SENDER = "root"


def report_of(queue_id: str) -> str:
    return child_id(queue_id, 1, 0)


def paths_of(patient: Patient, queue_id: str) -> dict[str, str]:
    paths = {}
    for pattern, name in (("message", queue_id), ("report", report_of(queue_id))):
        for state in ("tmp", "incoming", "active", f"deferred/{hash_directory(name)}"):
            paths[f"{patient.queue}/{state}/{name}"] = f"{state.partition('/')[0]}/{pattern}"
    return paths


def deliver(patient: Patient, fault: Fault | None, kind: str) -> tuple[str, str, list[str]]:
    """Have qmgr deal with one message under strace; returns marker, queue id and trace."""
    patient.begin_case()
    marker = new_marker()

    def give() -> tuple[dict[str, str], str]:
        patient.submit(message(marker), "-v", "-f", SENDER, "games")
        (queue_id,) = patient.wait_for(lambda: os.listdir(patient.queue / "incoming"), "pickup has taken it")
        return paths_of(patient, queue_id), queue_id

    queue_id, lines = under_strace(patient, "qmgr", kind, fault, give, patient.wait_settled)
    return marker, queue_id, lines


def judge(patient: Patient, marker: str, queue_id: str) -> str:
    return patient.verdict(marker, {"games": queue_id, SENDER: report_of(queue_id)})


@pytest.mark.parametrize("kind", ["main", "pool"])
def test_a_fault_in_qmgr_loses_no_report_and_repeats_none(tmp_path, kind):
    sick = patients(tmp_path, 6 if WHOLE else 3)

    def case(patient: Patient, fault: Fault) -> str | None:
        marker, queue_id, lines = deliver(patient, fault, kind)
        return judge(patient, marker, queue_id) if was_hit(lines) else None

    try:
        marker, queue_id, lines = deliver(sick[0], None, kind)
        assert judge(sick[0], marker, queue_id) == ""
        sites = faults_in(lines, kind, paths_of(sick[0], queue_id))
        touched = {(site.syscall, site.path) for site in sites}
        if kind == "pool":
            assert {("write", "tmp/report"), ("fsync", "tmp/report"), ("pwrite64", "active/message")} <= touched
        faults = sample(with_effects(sites), 8)
        assert_well(run_cases(sick, faults, case), faults)
    finally:
        for patient in sick:
            patient.stop()
