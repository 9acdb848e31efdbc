"""The service manager's protocol, against a little manager: a datagram socket."""

import os
import socket
import time
from pathlib import Path

import pytest

from sendmail_py.host.service_manager import ServiceManager, from_environment


@pytest.fixture
def ear(tmp_path: Path):
    """The manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        yield end


def heard(ear: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(ear.recv(4096).decode())
        except BlockingIOError:
            return said


def test_ready_and_stopping_are_said_with_a_line_for_people(ear: socket.socket) -> None:
    manager = ServiceManager(ear.getsockname())
    manager.ready("running: pickup qmgr")
    manager.stopping("stopping")
    assert heard(ear) == ["READY=1\nSTATUS=running: pickup qmgr", "STOPPING=1\nSTATUS=stopping"]


def test_a_reload_bears_the_time_of_its_beginning(ear: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    ServiceManager(ear.getsockname()).reloading()
    lines = dict(line.split("=", 1) for line in heard(ear)[0].splitlines())
    assert lines["RELOADING"] == "1"
    assert before <= int(lines["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_a_status_is_said_when_it_has_changed(ear: socket.socket) -> None:
    manager = ServiceManager(ear.getsockname())
    for text in ("a", "a", "b\nREADY=1", "a"):
        manager.status(text)
    assert heard(ear) == ["STATUS=a", "STATUS=b READY=1", "STATUS=a"]


def test_the_watchdog_hears_of_us_twice_in_its_time(ear: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("sendmail_py.host.service_manager.time.monotonic", lambda: now)
    manager = ServiceManager(ear.getsockname(), watchdog=0.2)
    assert manager.alive() == pytest.approx(0.1)
    manager.alive()
    assert heard(ear) == ["WATCHDOG=1"]
    now += 0.11
    manager.alive()
    assert heard(ear) == ["WATCHDOG=1"]


def test_without_a_watchdog_nothing_is_due(ear: socket.socket) -> None:
    assert ServiceManager(ear.getsockname()).alive() == float("inf")
    assert heard(ear) == []


def test_an_abstract_address_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0sendmail-py-test-{os.getpid()}")
        ServiceManager(f"@sendmail-py-test-{os.getpid()}").ready("up")
        assert end.recv(100) == b"READY=1\nSTATUS=up"


def test_a_manager_that_is_gone_or_does_not_read_holds_nobody_up(tmp_path: Path, ear: socket.socket) -> None:
    ServiceManager(str(tmp_path / "nowhere")).ready("up")
    manager = ServiceManager(ear.getsockname())
    for number in range(2000):
        manager.status(str(number))
    assert heard(ear)


@pytest.mark.parametrize(
    ("environment", "watched"),
    [
        ({"WATCHDOG_USEC": "2000000"}, True),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_the_environment_says_who_supervises_and_says_it_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch, ear: socket.socket, environment: dict[str, str], watched: bool
) -> None:
    for name, value in {"NOTIFY_SOCKET": ear.getsockname(), **environment}.items():
        monkeypatch.setenv(name, value)
    manager = from_environment()
    assert (manager.alive() <= 1.0) == watched
    manager.ready("up")
    assert heard(ear)[-1] == "READY=1\nSTATUS=up"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()


@pytest.mark.parametrize("address", ["", "notify", "vsock:2:1"])
def test_nobody_supervises_where_no_such_socket_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    assert from_environment().alive() == float("inf")
