"""A log daemon that takes nothing holds up no mail: syslog's socket, and journald's, each with nobody who reads."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator

import pytest
from callers_machine import CallersMachine, wait_until

from tests.integration.root.machine import LOG

MESSAGES = 60
# Binds the socket of a log daemon; reads nothing before a line comes on standard input, then everything until its end.
DAEMON = """
import os, select, socket, sys
where, link = sys.argv[1:]
os.makedirs(os.path.dirname(where), exist_ok=True)
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.bind(where)
os.chmod(where, 0o666)
if link:
    os.symlink(link, "/dev/log")
print("there", flush=True)
sys.stdin.readline()
while sys.stdin not in select.select([end, sys.stdin], [], [])[0]:
    print(end.recv(1 << 18).decode().replace(chr(10), " "), flush=True)
"""
JOURNAL = "/run/systemd/journal"


@contextlib.contextmanager
def daemon(machine: CallersMachine, where: str, link: str) -> Iterator["subprocess.Popen[str]"]:
    command = machine.command(["python3", "-I", "-c", DAEMON, where, link])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == "there\n"
        try:
            yield process
        finally:
            process.stdin.close()  # which ends it; a kill would only reach who entered the machine for it
            process.wait(60)
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
        machine.shell(
            f"for i in $(seq {MESSAGES}); do printf 'Subject: {mark}\\n\\nx\\n' | /usr/sbin/sendmail -i bob; done",
        )
        wait_until(lambda: machine.mailbox("bob").count(f"Subject: {mark}") == MESSAGES, "all mail is delivered")
        assert sleeper.poll() is None and sleeper.stdin
        sleeper.stdin.write("wake up\n")
        sleeper.stdin.flush()
        lines: list[str] = []
        reader = threading.Thread(target=_collect, args=(sleeper, lines), daemon=True)
        reader.start()

        def all_are_told() -> bool:
            # A daemon that has just taken nothing is left alone for a second; the next line brings the rest along.
            machine.shell(f"printf 'Subject: {mark}-later\\n\\nx\\n' | /usr/sbin/sendmail -i bob; sleep 0.5")
            return sum(delivery in line for line in list(lines)) >= MESSAGES

        wait_until(all_are_told, "each delivery is in the log")
    assert not any("has not taken" in line for line in lines)


def _collect(process: "subprocess.Popen[str]", lines: list[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
