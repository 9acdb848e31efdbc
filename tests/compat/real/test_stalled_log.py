"""A log daemon that takes nothing holds up no mail: syslog's socket, and journald's, each with nobody who reads."""

import contextlib
import subprocess
import time
from collections.abc import Iterator

import pytest
from callers_machine import CallersMachine, wait_until

from tests.integration.root.machine import LOG

MESSAGES = 60
# Binds the socket of a log daemon; reads nothing before a line comes on standard input, then everything.
DAEMON = """
import os, socket, sys
where, link = sys.argv[1:]
os.makedirs(os.path.dirname(where), exist_ok=True)
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.bind(where)
os.chmod(where, 0o666)
if link:
    os.symlink(link, "/dev/log")
print("there", flush=True)
sys.stdin.readline()
end.settimeout(2)
while True:
    try:
        print(end.recv(1 << 18).decode().replace(chr(10), " "), flush=True)
    except TimeoutError:
        break
"""
JOURNAL = "/run/systemd/journal"


@contextlib.contextmanager
def daemon(machine: CallersMachine, where: str, link: str) -> Iterator["subprocess.Popen[str]"]:
    command = machine.command(["python3", "-I", "-c", DAEMON, where, link])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "there\n"
        try:
            yield process
        finally:
            process.kill()
            machine.script(f"rm -rf /dev/log {JOURNAL}")


@pytest.fixture
def unlogged(machine: CallersMachine) -> Iterator[CallersMachine]:
    """The machine without a log file of its own, stopped; in the end it is as before."""
    machine.stop()
    machine.run("mailctl", "config", "-X", "maillog_file")
    yield machine
    machine.stop()
    machine.configure(maillog_file=LOG)
    machine.start()


@pytest.mark.parametrize(
    ("where", "link", "delivery"),
    [
        ("/dev/log", "", "status=sent (delivered to mailbox)"),
        (f"{JOURNAL}/socket", f"{JOURNAL}/dev-log", "MAIL_STATUS=sent"),
    ],
    ids=["syslog", "journald"],
)
def test_mail_is_delivered_while_the_log_daemon_sleeps_and_its_lines_come_when_it_wakes(
    unlogged: CallersMachine, where: str, link: str, delivery: str
) -> None:
    machine, mark = unlogged, f"asleep-{'journald' if link else 'syslog'}"
    with daemon(machine, where, link) as sleeper:
        machine.start()
        began = time.monotonic()
        machine.shell(
            f"for i in $(seq {MESSAGES}); do printf 'Subject: {mark}\\n\\nx\\n' | /usr/sbin/sendmail -i bob; done",
        )
        wait_until(lambda: machine.mailbox("bob").count(f"Subject: {mark}") == MESSAGES, "all mail is delivered")
        took = time.monotonic() - began
        assert sleeper.poll() is None and sleeper.stdin and sleeper.stdout
        sleeper.stdin.write("wake up\n")
        sleeper.stdin.flush()
        time.sleep(1.1)  # a daemon that has just taken nothing is left alone for a second
        machine.shell(
            f"printf 'Subject: {mark}-last\\n\\nx\\n' | /usr/sbin/sendmail -i bob"
        )  # with it the rest is sent
        lines = list(sleeper.stdout)
    sent = [line for line in lines if delivery in line]
    assert len(sent) >= MESSAGES, (took, len(lines), len(sent))
    assert not any("has not taken" in line for line in lines)
