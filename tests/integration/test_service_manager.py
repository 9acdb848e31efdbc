"""The services under a small service manager: what systemd is told, when; and the unit files."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.instance import ROOT, Instance, wait_until

UNITS = ROOT / "packaging/systemd"


class Manager:
    """A notification socket, and the instance that runs in the foreground beside it."""

    def __init__(self, directory: Path, instance: Instance) -> None:
        self.instance = instance
        self.said: list[dict[str, str]] = []
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind(str(directory / "notify"))
        self._ear.setblocking(False)
        environment = {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "1000000"}
        self.process = subprocess.Popen(
            [ROOT / "bin/mailctl", "-c", instance.path, "start", "--foreground"],
            env=instance.environment | environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def close(self) -> int:
        """Make sure that the services are gone; returns their exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            assert self.process.stderr
            self.process.stderr.close()
            self._ear.close()

    def hears(self, **wanted: str) -> dict[str, str]:
        """Wait until a datagram says all of this; returns it. All that came is in `said`."""
        return wait_until(lambda: self._next(wanted), f"{wanted} in {self.said}")

    def _next(self, wanted: dict[str, str]) -> dict[str, str] | None:
        with contextlib.suppress(BlockingIOError):
            self.said.append(dict(line.split("=", 1) for line in self._ear.recv(4096).decode().splitlines()))
            return self.said[-1] if wanted.items() <= self.said[-1].items() else None
        return None


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path, Instance(tmp_path / "instance"))
    try:
        yield manager
    finally:
        manager.close()


def test_the_manager_hears_of_readiness_reloads_faults_and_the_stop(manager: Manager) -> None:
    instance = manager.instance
    ready = manager.hears(READY="1")
    assert ready["STATUS"] == "running: pickup qmgr"
    assert b"ready" in instance.mailctl("status", check=True).stdout
    assert "NOTIFY_SOCKET" not in Path(f"/proc/{services(instance)['qmgr']}/environ").read_text()

    manager.process.send_signal(signal.SIGHUP)
    assert int(manager.hears(RELOADING="1")["MONOTONIC_USEC"]) > 0
    manager.hears(READY="1")

    instance.configure(message_size_limit="enormous")
    assert instance.mailctl("reload").returncode == 78
    manager.hears(RELOADING="1")
    assert "the last reload was refused" in manager.hears(READY="1")["STATUS"]

    manager.hears(WATCHDOG="1")
    os.kill(services(instance)["qmgr"], signal.SIGKILL)
    wait_until(lambda: "not ready: qmgr" in manager.hears().get("STATUS", ""), "the death of qmgr")

    manager.process.terminate()
    manager.hears(STOPPING="1")
    assert manager.process.wait(60) == 0


def services(instance: Instance) -> dict[str, int]:
    """Return the pids of the services."""
    lines = instance.mailctl("status", check=True).stdout.decode().splitlines()
    return {line.split()[0]: int(line.split()[2]) for line in lines if " pid " in line and line[0] == " "}


def test_a_start_that_fails_is_never_said_to_be_ready(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "instance")
    (instance.path / "queue/hold").rmdir()
    manager = Manager(tmp_path, instance)
    try:
        assert manager.process.wait(60) == 69
        manager.hears(STOPPING="1")
        assert not [record for record in manager.said if "READY" in record]
    finally:
        manager.close()


@pytest.mark.real("systemd-analyze")
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    text = (UNITS / "sendmail-py.service.in").read_text().replace("@bindir@", str(ROOT / "bin"))
    (tmp_path / "sendmail-py.service").write_text(text)
    (tmp_path / "sendmail-py.socket").write_text((UNITS / "sendmail-py.socket").read_text())
    command = [
        "systemd-analyze",
        "verify",
        "--man=no",
        tmp_path / "sendmail-py.service",
        tmp_path / "sendmail-py.socket",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "sendmail-py" in line]
    assert (done.returncode, ours) == (0, [])
