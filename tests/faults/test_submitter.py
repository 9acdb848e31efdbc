"""Kills and errors at every system call of sendmail(1) that touches the queue.

Exit 0 is a promise kept; an exit of 75 left nothing; a killed submitter left nothing, or the
whole message: never a part of one.
"""

import re
import subprocess
from collections import Counter

import pytest

from tests.faults.harness import Patient, message, new_marker
from tests.faults.tracing import ERRORS, Fault, sample, was_hit, with_effects
from tests.integration.instance import ROOT

pytestmark = pytest.mark.real("strace")

_CALL = re.compile(r"^(\w+)\((.*)$")


def submit(patient: Patient, *options: str) -> tuple[int, str, list[str]]:
    """Submit under strace; returns exit status (negative: killed), marker and trace."""
    marker = new_marker()
    trace = patient.path / "trace"
    command = ["strace", "-q", "-y", "-o", str(trace), *options, f"{ROOT}/bin/sendmail", "games"]
    done = subprocess.run(
        command, input=message(marker), env=patient.environment, cwd="/", timeout=60, capture_output=True
    )
    return done.returncode, marker, trace.read_text("utf-8", "replace").splitlines()


def faults_of(patient: Patient) -> list[Fault]:
    """Return a fault for every call that touches the queue; the ordinal counts all calls of that name."""
    submit(patient)  # the first one may also write byte code
    status, _, lines = submit(patient)
    assert status == 0
    counts: Counter[str] = Counter()
    found = []
    for line in lines:
        call = _CALL.match(line)
        if call:
            counts[call[1]] += 1
            if str(patient.queue) in call[2]:
                found.append(Fault("main", call[1], "queue", counts[call[1]]))
    return found


@pytest.mark.parametrize("running", [False, True], ids=["services-down", "services-up"])
def test_exit_0_is_kept_and_any_other_exit_leaves_nothing(tmp_path, running):
    with Patient(tmp_path / "p") as patient:
        if running:
            patient.start()
        sites = faults_of(patient)
        assert {"openat", "write", "fchmod", "fsync", "close"} <= {site.syscall for site in sites}
        told = {}
        for fault in sample(with_effects(sites), 16):
            inject = f"inject={fault.syscall}:{fault.effect}:when={fault.ordinal}"
            status, marker, lines = submit(patient, "-e", inject)
            assert was_hit(lines), f"{fault} did not come about"
            told[marker] = fault, status
        if not running:
            complete = [n for n in patient.queued() if n.startswith("maildrop/")]
            assert len(complete) <= 1 + len(told)
            patient.start()
        patient.wait_settled()
        for marker, (fault, status) in told.items():
            wanted = {0: (1,), 75: (0,)}.get(status, (0, 1))
            if fault.effect in [f"error={error}" for error in ERRORS]:
                assert status in (0, 75), f"{fault}: exit {status}"
            assert patient.copies("games", marker) in wanted, f"{fault}: exit {status}\n{patient.log()}"
        exits = Counter(status for _, status in told.values())
        assert exits[0] and exits[75] and exits[-9]
        assert patient.verdict(next(m for m, (_, status) in told.items() if status == 0), {"games": ""}) == ""
