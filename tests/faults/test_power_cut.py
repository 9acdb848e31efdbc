"""A power cut: the file system that holds queue and mailboxes is shut down without its log.

What was not durable is gone after the next mount. Every accepted message must be delivered all
the same; a delivery may be repeated, as documented. What was accepted is asked before the cut: unlike
the power's, this one takes a moment, in which ext4 has let an fsync of a transaction that it then
dropped return 0, and the world goes on to hear of it.
"""

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.harness import Patient, message, new_marker
from tests.faults.tracing import WHOLE
from tests.integration.instance import is_alive, wait_until

_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_MEGABYTES = 320  # mkfs.xfs asks for 300


class Disk:
    """A file system in a file, mounted; cut() takes its power away and brings it back."""

    def __init__(self, tmp_path, kind):
        self.image = tmp_path / "image"
        self.top = tmp_path / "disk"
        self.top.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(_MEGABYTES << 20)
        subprocess.run([f"mkfs.{kind}", "-q", str(self.image)], check=True, timeout=60, env=_PATH)

    def __enter__(self):
        self.mount()
        return self

    def __exit__(self, *_):
        self.unmount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.top], check=True, timeout=60, env=_PATH)

    def unmount(self):
        def unmounted():
            return subprocess.run(["umount", self.top], capture_output=True, timeout=60, env=_PATH).returncode == 0

        wait_until(unmounted, "the file system is unmounted")

    def cut(self):
        """Stop the file system at once: what is not on disk now never will be."""
        descriptor = os.open(self.top, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def repower(self):
        """Mount a copy: the old file system lives on, dead, while another mount namespace has it."""
        self.unmount()
        old, self.image = self.image, self.image.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", old, self.image], check=True, timeout=60, env=_PATH)
        self.mount()


def kill_all(pids):
    """End services as the power does; returns when they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "the services have ended")


_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

# Alone: a mount namespace that another test makes meanwhile would keep a copy of the mount, and its file system alive.
each_file_system = [
    pytest.param(kind, marks=[pytest.mark.real(f"mkfs.{kind}", "mount", root=True), pytest.mark.alone])
    for kind in ("ext4", "xfs")
]


def patient_on(disk, **settings):
    """Return an instance on a disk; what set-up made is durable, as on a system that has been up for a while."""
    patient = Patient(disk.top / "p", **settings)
    (patient.path / "aliases").write_text("both: games, bin\n")
    os.sync()
    return patient


def missing(patient, markers, user="games"):
    return [marker for marker in markers if not patient.copies(user, marker)]


@pytest.mark.parametrize("kind", each_file_system)
def test_what_exit_0_accepted_with_the_services_down_outlasts_a_power_cut(tmp_path, kind):
    with Disk(tmp_path, kind) as disk:
        patient = patient_on(disk)
        markers = [new_marker() for _ in range(20 if WHOLE else 5)]
        for marker in markers:
            patient.submit(message(marker), "games")
        disk.cut()
        assert patient.submit(message("late"), "games", check=False) == 75
        disk.repower()
        with patient:
            patient.start()
            patient.wait_settled()
            assert missing(patient, markers) == []
            assert [patient.copies("games", marker) for marker in markers] == [1] * len(markers)
            assert patient.copies("games", "late") == 0


@pytest.mark.parametrize("kind", each_file_system)
def test_a_power_cut_amid_deliveries_loses_nothing_that_was_accepted(tmp_path, kind):
    with Disk(tmp_path, kind) as disk:
        patient = patient_on(disk)
        patient.start()
        accepted = []
        enough = threading.Event()

        def submit(_):
            marker = new_marker()
            if patient.submit(message(marker), "both", "daemon", check=False) == 0:
                accepted.append(marker)
            if len(accepted) >= (60 if WHOLE else 20):
                enough.set()

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(submit, number) for number in range(100 if WHOLE else 30)]
            assert enough.wait(60)
            pids = [patient.master_pid(), *patient.services().values()]
            promised = list(accepted)
            disk.cut()
            for job in jobs:
                job.result()
        kill_all(pids)
        disk.repower()
        with patient:
            patient.start()
            patient.wait_settled()
            for user in ("games", "bin", "daemon"):
                assert missing(patient, promised, user) == [], patient.log()


@pytest.mark.parametrize("kind", each_file_system)
def test_what_waits_in_the_queue_when_its_original_is_gone_outlasts_a_power_cut(tmp_path, kind):
    with Disk(tmp_path, kind) as disk:
        patient = patient_on(disk, defer_transports="local", minimal_backoff_time="1h", maximal_backoff_time="1h")
        patient.start()
        markers = [new_marker() for _ in range(20 if WHOLE else 5)]
        for marker in markers:
            patient.submit(message(marker), "games")
            wait_until(lambda: not os.listdir(patient.queue / "maildrop"), "the original is removed")
        pids = [patient.master_pid(), *patient.services().values()]
        disk.cut()
        kill_all(pids)
        disk.repower()
        patient.configure(defer_transports="")
        with patient:
            patient.start()
            patient.mailctl("flush")
            patient.wait_settled()
            assert [patient.copies("games", marker) for marker in markers] == [1] * len(markers), patient.log()


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("kind", each_file_system)
def test_what_was_answered_to_be_held_is_held_after_a_power_cut(tmp_path, kind, is_running):
    with Disk(tmp_path, kind) as disk:
        patient = patient_on(disk, defer_transports="local", minimal_backoff_time="1h", maximal_backoff_time="1h")
        patient.start()
        markers = [new_marker() for _ in range(3)]
        for marker in markers:
            patient.submit(message(marker), "games")
        patient.wait_for(lambda: len(patient.queued()) == 3 and not os.listdir(patient.queue / "active"), "all wait")
        wait_until(lambda: all(name.startswith("deferred/") for name in patient.queued()), "all are deferred")
        if not is_running:
            patient.stop()
        os.sync()  # it was there before the hold
        patient.mailctl("queue", "hold", "ALL", check=True)
        pids = [patient.master_pid(), *patient.services().values()] if is_running else []
        disk.cut()
        kill_all(pids)
        disk.repower()
        patient.configure(defer_transports="")
        with patient:
            patient.start()
            assert len(os.listdir(patient.queue / "hold")) == 3 and patient.queued() == []
            patient.mailctl("queue", "release", "ALL")
            patient.wait_settled()
            assert [patient.copies("games", marker) for marker in markers] == [1] * 3
