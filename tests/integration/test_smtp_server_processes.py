"""Several processes of the SMTP server: what they count together, one that is killed, and stress."""

import contextlib
import os
import re
import signal
import threading
import time

import pytest

from tests.integration.instance import LIMIT, wait_until
from tests.integration.smtp_server import STRANGERS, Served

TWO = {"smtpd_process_limit": 2, "smtpd_error_sleep_time": "0s", "smtpd_client_event_limit_exceptions": ""}


def keep_busy(served, until):
    """Have a client say so much that one process has its hands full, until a condition holds."""
    end = time.monotonic() + 2 * LIMIT
    while not until():
        assert time.monotonic() < end, served.log()
        with served.connect_from("127.0.0.9") as line, contextlib.suppress(ConnectionError):
            line.reply()
            line.end.sendall(b"NOOP\r\n" * 20_000 + b"QUIT\r\n")
            line.end.settimeout(LIMIT)
            while line.end.recv(1 << 16):
                pass


def serving_twice(path, **settings):
    """Return a server that has been busy enough for two processes."""
    served = Served(path, **TWO | STRANGERS | {"smtpd_junk_command_limit": 10**9} | settings)
    served.start()
    with served.connect() as line:
        line.reply()
    keep_busy(served, lambda: len(served.pids_of("smtpd")) == 2)
    return served


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    settings = {
        "smtpd_client_connection_count_limit": 6,
        "smtpd_client_message_rate_limit": 5,
        "anvil_rate_time_unit": "1d",
    }
    with serving_twice(tmp_path_factory.mktemp("two") / "i", **settings) as served:
        yield served


def holders(served):
    """Return how many connections each process has."""
    return {pid: connections_of(pid) for pid in served.pids_of("smtpd")}


def connections_of(pid):
    inodes = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}", encoding="ascii") as file:
            inodes.update(row.split()[9] for row in file.readlines()[1:] if row.split()[3] == "01")
    links, numbers = set(), []
    with contextlib.suppress(FileNotFoundError):  # it has ended
        numbers = os.listdir(f"/proc/{pid}/fd")
    for number in numbers:
        with contextlib.suppress(FileNotFoundError):
            links.add(os.readlink(f"/proc/{pid}/fd/{number}").removeprefix("socket:[").removesuffix("]"))
    return len(links & inodes)


def spread(served, stack, number):
    """Open connections until so many are held, by both processes."""
    lines = []
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        line = stack.enter_context(served.connect())
        if line.reply()[:3] != "220":  # who has said QUIT may be counted for a moment
            time.sleep(0.02)
            continue
        lines.append(line)
        if len(lines) >= number:
            if min(holders(served).values()):
                return lines
            lines.pop().say("QUIT")
    raise AssertionError(f"one process takes all: {holders(served)}")


def test_connections_of_one_client_are_counted_in_all_processes(two):
    with contextlib.ExitStack() as stack:
        spread(two, stack, 6)
        two.wait_for(lambda: refused(two), "a seventh is one too many, whoever takes it")
        for _ in range(10):
            assert refused(two)
    two.wait_for(lambda: not refused(two), "there is room again")


def refused(served):
    with served.connect() as line:
        return line.reply().startswith("421 4.7.0 here.test Error: too many connections")


def test_messages_of_one_client_are_counted_in_all_processes(two):
    taken = []
    for _ in range(20):
        with two.connect_from("127.0.0.4") as line:
            line.reply()
            line.say("EHLO c.test", "MAIL FROM:<a@a.test>", "QUIT")
            taken.append(line.replies()[1][:3])
    assert taken == ["250"] * 5 + ["450"] * 15


def test_a_killed_process_loses_its_clients_and_nothing_that_was_accepted(tmp_path):
    with serving_twice(tmp_path / "i") as served:
        storm(served)


def storm(served):
    """Kill a process amid its clients three times; what was answered with 250 is there once, and nothing else is."""
    taken, told, stop = [], set(), threading.Event()

    def send(number):
        while not stop.is_set():
            marker = f"kill{number}x{len(taken)}x{time.monotonic_ns()}"
            with contextlib.suppress(OSError), served.connect_from(f"127.0.1.{number}") as line:
                line.end.settimeout(LIMIT)
                line.reply()
                line.say("EHLO c.test", f"MAIL FROM:<a{number}@a.test>", "RCPT TO:<games@here.test>", "DATA")
                if [line.reply()[:3] for _ in range(4)] == ["250", "250", "250", "354"]:
                    told.add(marker)
                    line.say(f"Subject: {marker}", "", ".")
                    if line.reply()[:3] == "250":
                        taken.append(marker)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    try:
        served.wait_for(lambda: len(taken) >= 20, "mail is taken")
        for _ in range(3):
            before = len(taken)
            held = served.wait_for(lambda: holders(served), "a process runs")
            os.kill(max(held, key=held.get), signal.SIGKILL)
            served.wait_for(lambda before=before: len(taken) >= before + 15, "mail is taken again")
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * LIMIT)
    served.wait_for(lambda: served.mailq() == "Mail queue is empty\n", "all is delivered")
    found = re.findall(rb"^Subject: (kill\S+)$", served.mailbox("games"), re.M)
    copies = {marker.decode() for marker in found}
    assert len(found) == len(copies)
    assert set(taken) <= copies <= told


def welcome(served, stack):
    line = served.connect()
    if line.reply().startswith("220"):
        return stack.enter_context(line)
    line.close()
    return None


def test_under_stress_slow_clients_and_errors_have_less_time(tmp_path):
    settings = TWO | {"smtpd_connection_limit": 10, "smtpd_timeout": "${stress?{1}:{300}}s"}
    with Served(tmp_path / "i", **settings) as served, contextlib.ExitStack() as stack:
        served.start()
        lines = [stack.enter_context(served.connect()) for _ in range(10)]
        answers = [line.reply() for line in lines[:9]]
        assert all(answer.startswith("220") for answer in answers)
        served.wait_for_log(r"warning: stress: 10 of 10 connections are in use")
        assert lines[0].reply().startswith("421 4.4.2")
        wait_until(lambda: served.log().count(": timeout after") >= 9, "slow clients are let go")
        line = served.wait_for(lambda: welcome(served, stack), "there is room again")
        line.say("NONSENSE", "NONSENSE")
        assert line.replies() == ["500 5.5.2 Error: command not recognized", "421 4.7.0 Error: too many errors"]


def test_without_deadlines_each_octet_has_its_time(tmp_path):
    settings = {"smtpd_timeout": "3s", "smtpd_per_request_deadline": "no"}
    with Served(tmp_path / "i", **settings) as served:
        served.start()
        with served.connect() as line:
            line.reply()
            for octet in b"NOOP\r\n":
                time.sleep(0.7)
                line.end.sendall(bytes((octet,)))
            assert line.reply() == "250 2.0.0 Ok"
