"""One queue manager for one queue, whatever dies; and a start that leaves undue mail alone."""

import os
import re
import signal
import subprocess

import pytest

from sendmail_py.spool.lock import take_role
from tests.faults.harness import Patient, message, new_marker
from tests.integration.instance import ROOT, is_alive, wait_until


def second_on(first: Patient, path) -> Patient:
    """Return an instance of its own that shares queue and mailboxes with another."""
    second = Patient(path)
    second.configure(queue_directory=first.queue, mail_spool_directory=first.path / "mail")
    second.queue = first.queue
    return second


def test_a_second_queue_manager_waits_and_says_so_and_a_killed_one_frees_the_queue(tmp_path):
    with Patient(tmp_path / "first") as first, second_on(first, tmp_path / "second") as second:
        first.start()
        command = [f"{ROOT}/bin/mailctl", "-c", str(second.path), "start"]
        with open(tmp_path / "output", "wb") as output:
            starting = subprocess.Popen(command, env=second.environment, stdout=output, stderr=output)
        try:
            second.wait_for_log("qmgr.*another queue manager holds this queue")
            marker = new_marker()
            first.submit(message(marker), "games")
            first.wait_settled()
            assert "queue active" in first.log() and "queue active" not in second.log()
            pids = [first.master_pid(), *first.services().values()]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not any(is_alive(pid) for pid in pids), "the first instance has ended")
            later = new_marker()
            second.submit(message(later), "games")
            second.wait_for_log("queue active")
            second.wait_settled()
            assert [first.copies("games", m) for m in (marker, later)] == [1, 1]
            assert starting.wait(60) == 0
        finally:
            starting.kill()
            starting.wait()


def test_a_queue_manager_that_waits_for_another_one_stops_at_once_and_ends_with_its_master(tmp_path):
    with Patient(tmp_path / "first") as first, second_on(first, tmp_path / "second") as second:
        first.start()
        for ends in ("stop", "kill"):
            second.begin_case()
            command = [f"{ROOT}/bin/mailctl", "-c", str(second.path), "start"]
            starting = subprocess.Popen(command, env=second.environment, stderr=subprocess.DEVNULL)
            try:
                second.wait_for(lambda: "another queue manager" in second.case_log(), "the second one waits")
                waiting = int(re.search(r"qmgr\[(\d+)\]: warning: another", second.case_log())[1])
                second.reload()
                if ends == "stop":
                    second.stop()
                else:
                    os.kill(second.master_pid(), signal.SIGKILL)
                wait_until(lambda pid=waiting: not is_alive(pid), "the queue manager that waits has ended", 10)
            finally:
                starting.kill()
                starting.wait()
        assert second.case_log().count("another queue manager") == 1


def test_the_role_can_be_taken_once_and_by_its_file_only(tmp_path):
    (tmp_path / "lock").mkdir()
    assert take_role(str(tmp_path), "qmgr")
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from sendmail_py.spool.lock import take_role; "
    program += f"sys.exit(take_role({str(tmp_path)!r}, 'qmgr'))"
    python = ROOT / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-c", program], timeout=60).returncode == 0  # False: not taken


@pytest.mark.real("strace")
def test_a_start_opens_no_undue_deferred_message(tmp_path):
    count = 500
    with Patient(
        tmp_path / "p",
        expansion_recipient_limit=1,
        defer_transports="smtp",
        minimal_backoff_time="1000s",
        maximal_backoff_time="4000s",
        queue_run_delay="300s",
    ) as patient:
        (patient.path / "list").write_text("".join(f"user{n}@far.test\n" for n in range(count)))
        (patient.path / "aliases").write_text(f"list: :include:{patient.path}/list\n")
        patient.start()
        patient.submit(message("undue"), "list")
        deferred = patient.queue / "deferred"
        patient.wait_for(lambda: len([q for q in patient.queued() if q.startswith("deferred/")]) == count, "deferred")
        patient.stop()
        trace = tmp_path / "trace"
        trace.touch()
        command = ["strace", "-f", "-q", "-y", "-e", "trace=open,openat,openat2,getdents64", "-o", str(trace)]
        command += [f"{ROOT}/bin/mailctl", "-c", str(patient.path), "start"]
        with open(tmp_path / "output", "wb") as output:
            started = subprocess.Popen(command, env=patient.environment, stdout=output, stderr=output)
        try:
            hashed = {f"<{deferred}/{name}>" for name in os.listdir(deferred)}

            def is_scanned() -> bool:
                return hashed <= set(re.findall(r"getdents64\(\d+(<[^>]*>)", trace.read_text()))

            wait_until(is_scanned, "the scan has read every directory")
            assert patient.count() == count
        finally:
            patient.stop()
            started.wait(60)
        opened = re.findall(rf'"{deferred}/../[0-9A-F]+"', trace.read_text())
        assert opened == []
