"""Kills and errors at every system call of qmgr that touches the queue, in all that it does to a message.

One message shows it all: a mailbox that takes it, one that is refused at first (so it is
deferred and tried again), an alias that becomes two children, and an unknown user (so there
is a bounce).
"""

import os
import re

import pytest

from sendmail_py.spool.queue_id import child_id, hash_directory
from tests.faults.harness import Patient, assert_well, message, new_marker, patients, run_cases, under_strace
from tests.faults.tracing import WHOLE, Fault, faults_in, sample, was_hit, with_effects
from tests.integration.instance import wait_until

pytestmark = pytest.mark.real("strace")

RECIPIENTS = ("games", "daemon", "list", "no-such-user-here")
SENDER = "root"


def children_of(queue_id: str) -> dict[str, str]:
    """Return pattern and id of the two children and the bounce."""
    return {
        "child-0": child_id(queue_id, 2, 0),
        "child-1": child_id(queue_id, 2, 1),
        "bounce": child_id(queue_id, 3, 0),
    }


def paths_of(patient: Patient, queue_id: str, original: str) -> dict[str, str]:
    top = patient.queue
    paths = {original: "original", f"{top}/incoming": "incoming", f"{top}/deferred": "deferred"}
    for pattern, name in {"message": queue_id, **children_of(queue_id)}.items():
        for state in ("tmp", "incoming", "active", f"deferred/{hash_directory(name)}"):
            paths[f"{top}/{state}/{name}"] = f"{state.partition('/')[0]}/{pattern}"
    paths[f"{top}/deferred/{hash_directory(queue_id)}"] = "deferred/hash"
    return paths


def deliver(patient: Patient, fault: Fault | None, kind: str) -> tuple[str, str, str, list[str]]:
    """Have qmgr deal with one message under strace; returns marker, queue id, original and trace."""
    patient.begin_case()
    patient.ready("pickup", "qmgr")
    obstacle = patient.path / "mail" / "daemon"
    kept = patient.path / "kept"
    if obstacle.exists() and not obstacle.is_symlink():
        os.rename(obstacle, kept)
    if not obstacle.is_symlink():
        obstacle.symlink_to("nowhere")
    marker = new_marker()

    def give() -> tuple[dict[str, str], tuple[str, str]]:
        patient.submit(message(marker), "-f", SENDER, *RECIPIENTS)
        (queue_id,) = patient.wait_for(lambda: os.listdir(patient.queue / "incoming"), "pickup has taken it")
        (name,) = os.listdir(patient.queue / "maildrop")
        original = f"{patient.queue}/maildrop/{name}"
        return paths_of(patient, queue_id, original), (queue_id, original)

    def settle() -> None:
        wait_until(lambda: re.search(r"to=<daemon@.*status=deferred", patient.case_log()), "daemon is deferred")
        obstacle.unlink()
        if kept.exists():
            os.rename(kept, obstacle)
        patient.wait_settled()

    (queue_id, original), lines = under_strace(patient, "qmgr", kind, fault, give, settle)
    return marker, queue_id, original, lines


def judge(patient: Patient, marker: str, queue_id: str) -> str:
    ids = children_of(queue_id)
    wanted = {"games": queue_id, "daemon": queue_id, "bin": ids["child-0"], "mail": ids["child-1"]}
    return patient.verdict(marker, wanted | {SENDER: ids["bounce"]})


@pytest.mark.parametrize("kind", ["main", "pool"])
def test_a_fault_in_qmgr_neither_loses_mail_nor_repeats_it_in_silence(tmp_path, kind):
    sick = patients(tmp_path, 6 if WHOLE else 3, expansion_recipient_limit=1)
    for patient in sick:
        (patient.path / "aliases").write_text("list: bin, mail\n")
        patient.reload()

    def case(patient: Patient, fault: Fault) -> str | None:
        marker, queue_id, _, lines = deliver(patient, fault, kind)
        return judge(patient, marker, queue_id) if was_hit(lines) else None

    try:
        marker, queue_id, original, lines = deliver(sick[0], None, kind)
        assert judge(sick[0], marker, queue_id) == ""
        found = faults_in(lines, kind, paths_of(sick[0], queue_id, original))
        sites = [f for f in found if f.ordinal == 1 or f.path != "incoming"]  # the directory is scanned by the clock
        assert {"openat", "rename", *(("unlink", "fsync", "pwrite64") if kind == "pool" else ("pread64",))} <= {
            site.syscall for site in sites
        }
        faults = sample(with_effects(sites), 6)
        assert_well(run_cases(sick, faults, case), faults)
    finally:
        for patient in sick:
            patient.stop()
