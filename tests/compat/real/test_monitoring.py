"""check_mailq of the monitoring plugins reads our mailq, in each format that it knows how to ask for."""

from collections.abc import Iterator

import pytest
from callers_machine import CallersMachine, wait_until

PLUGIN = "/usr/lib/nagios/plugins/check_mailq"
pytestmark = pytest.mark.caller("check_mailq")


def check(machine: CallersMachine, *words: str) -> tuple[int, str]:
    """Run the plugin as its daemon's user does; returns its status and what it counted."""
    done = machine.run(PLUGIN, "-w", "2", "-c", "3", *words, user="carol", check=False)
    assert not done.stderr
    return done.returncode, done.stdout.decode().partition("|")[2].partition(";")[0]


@pytest.fixture
def empty(machine: CallersMachine) -> CallersMachine:
    """The machine when all mail of other tests is delivered."""
    wait_until(lambda: machine.shell("mailq") == "Mail queue is empty\n", "an empty queue")
    return machine


@pytest.fixture
def waiting(empty: CallersMachine) -> Iterator[CallersMachine]:
    """The same, where mail to elsewhere cannot leave; in the end it is empty again."""
    machine = empty
    yield machine
    machine.stop()
    machine.script("cd /var/spool/sendmail-py; find maildrop incoming active deferred -type f -delete")
    machine.start()


@pytest.mark.parametrize("mailer", [["-M", "postfix"], ["-M", "sendmail"], []], ids=["postfix", "sendmail", "found"])
def test_check_mailq_finds_an_empty_queue(empty: CallersMachine, mailer: list[str]) -> None:
    assert check(empty, *mailer)[0] == 0


def test_check_mailq_counts_what_waits(waiting: CallersMachine) -> None:
    for count, status in ((1, 0), (2, 1), (3, 2)):
        waiting.shell(f"echo number {count} | sendmail x@elsewhere.example")
        for mailer in (["-M", "postfix"], ["-M", "sendmail"], []):
            assert check(waiting, *mailer) == (status, f"unsent={count}")
