"""daemonless = yes in the installed system, with users who are neither root nor the queue's owner."""

import time

import pytest
from machine import HOST, SPOOL, Machine, wait_until

SENDMAIL = "/usr/local/sbin/sendmail"
PROCESSES = "ps -eo args= | grep '[s]endmail_py' || true"


@pytest.fixture
def daemonless(installed: Machine) -> Machine:
    """The machine without services, and with daemonless = yes."""
    installed.stop()
    installed.configure(daemonless="yes")
    yield installed
    wait_until(lambda: not installed.script(PROCESSES), "the services have left")
    installed.configure(daemonless="no")


def has_services(machine: Machine) -> bool:
    return bool(machine.script(PROCESSES))


def test_mail_of_other_users_waits_for_the_next_run_which_roots_submission_is(daemonless: Machine) -> None:
    for mode in ("-odb", "-odi", "-v"):
        done = daemonless.run(SENDMAIL, mode, "bob", user="alice", input=f"Subject: of alice {mode}\n\nx\n".encode())
        assert done.stderr == b""
    time.sleep(1)
    assert not has_services(daemonless) and len(daemonless.maildrop()) == 3
    assert "of alice" not in daemonless.mailbox("bob")
    daemonless.submit("", "carol", text="of root")
    for mode in ("-odb", "-odi", "-v"):
        daemonless.wait_for_mail("bob", f"Subject: of alice {mode}\n")
    daemonless.wait_for_mail("carol", "of root")
    wait_until(lambda: not has_services(daemonless), "the services have left")
    assert daemonless.maildrop() == [] and daemonless.mailbox("bob").count("Subject: of alice -odi\n") == 1


def test_others_cannot_start_a_run_and_sendmail_q_says_so(daemonless: Machine) -> None:
    daemonless.submit("mallory", "bob", text="of mallory")
    for user in ("mallory", "nobody"):
        done = daemonless.run(SENDMAIL, "-q", user=user, check=False)
        assert done.returncode == 69 and b"not running" in done.stderr
    assert not has_services(daemonless) and len(daemonless.maildrop()) == 1
    daemonless.run(SENDMAIL, "-q")
    assert "of mallory" in daemonless.mailbox("bob")


def test_sendmail_q_of_a_timer_delivers_everybodys_mail_and_leaves_nothing_behind(daemonless: Machine) -> None:
    for user in ("alice", "mallory"):
        daemonless.submit(user, "bob", text=f"for the timer, of {user}")
    daemonless.submit("alice", "-odq", "bob", text="for the timer, queued only")
    daemonless.run("setsid", "--wait", SENDMAIL, "-q")  # as a timer calls it: no terminal, no input
    box = daemonless.mailbox("bob")
    assert box.count("Subject: for the timer") == 3
    assert not has_services(daemonless) and daemonless.maildrop() == []


def test_the_owner_of_the_systems_queue_cannot_deliver_as_others_and_starts_nothing(daemonless: Machine) -> None:
    daemonless.submit("alice", "bob", text="beside the owner")
    daemonless.submit("sendmail-py", f"bob@{HOST}", text="of the owner")
    assert daemonless.run(SENDMAIL, "-q", user="sendmail-py", check=False).returncode == 69
    assert not has_services(daemonless)
    daemonless.run(SENDMAIL, "-q")
    box = daemonless.mailbox("bob")
    assert [box.count(f"Subject: {text} the owner\n") for text in ("beside", "of")] == [1, 1]
    assert "bounced" not in daemonless.log().rpartition("of the owner")[2]
    assert not daemonless.script(f"find {SPOOL} ! -user sendmail-py ! -path {SPOOL} ! -path '*/maildrop/*'").strip()
