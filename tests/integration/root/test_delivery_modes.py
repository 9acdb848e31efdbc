"""Modes of delivery in the installed system: an ordinary user, services of other users, a root that delivers."""

import re

import pytest
from machine import HOST, Machine
from test_submit_socket import hardened, text

REPORT = "Subject: Mail Delivery Status Report\n"


def rows(message: str) -> dict[str, str]:
    """Return the actions of a report by recipient."""
    return dict(re.findall(r"^Final-Recipient: rfc822; (\S+)\n(?:Original.*\n)?Action: (\S+)$", message, re.MULTILINE))


@pytest.fixture
def forwards(running: Machine) -> Machine:
    """alice has a .forward to bob, a program that would leave a file, and a place beyond this host."""
    lines = f'bob\\n"|/usr/bin/touch /home/alice/ran"\\n/home/alice/kept\\nnobody-of-this-name@{HOST}\\n'
    running.script(f"umask 077; printf '{lines}' >/home/alice/.forward", user="alice")
    yield running
    running.script("rm -f /home/alice/.forward /home/alice/ran /home/alice/kept")


def test_odi_returns_when_another_user_has_the_mail(running: Machine) -> None:
    running.submit("alice", "-odi", "bob", text="at once to bob")
    assert "at once to bob" in running.mailbox("bob")


def test_odi_waits_also_for_what_went_over_the_submit_socket(running: Machine) -> None:
    done = hardened(running, "alice", "/usr/local/sbin/sendmail", "-odi", "bob", message=text("odi in a unit"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert "odi in a unit" in running.mailbox("bob")


def test_odi_waits_for_what_a_forward_file_makes_of_the_mail(forwards: Machine) -> None:
    forwards.submit("carol", "-odi", "alice", text="through the forward")
    assert "through the forward" in forwards.mailbox("bob")
    assert forwards.path("/home/alice/ran").exists()
    assert "through the forward" in forwards.path("/home/alice/kept").read_text()
    assert 'unknown user: "nobody-of-this-name"' in forwards.mailbox("carol")


def test_bv_names_a_forward_file_but_tells_nobody_what_is_in_it(forwards: Machine) -> None:
    said = forwards.run("/usr/local/sbin/sendmail", "-bv", "alice", user="mallory").stdout
    assert said == b"Mail Delivery Status Report will be mailed to <mallory>.\n"
    message = forwards.wait_for_mail("mallory", REPORT)
    assert rows(message) == {f"alice@{HOST}": "deliverable"}
    assert "forward via file: /home/alice/.forward" in " ".join(message.split())
    assert "nobody-of-this-name" not in message and f"bob@{HOST}" not in message
    assert "probe" not in forwards.mailbox("bob")
    assert not forwards.path("/home/alice/ran").exists() and not forwards.path("/home/alice/kept").exists()


def test_v_says_that_mail_was_passed_on_where_a_forward_file_is_and_not_where_to(forwards: Machine) -> None:
    forwards.submit("mallory", "-odi", "-v", "alice", text="where to")
    (message,) = [
        part for part in forwards.mailbox("mallory").split("\nFrom ") if REPORT in part and "where to" in part
    ]
    assert rows(message) == {f"alice@{HOST}": "relayed"}
    assert "touch" not in message and f"bob@{HOST}" not in message
    assert "where to" in forwards.mailbox("bob")


def test_v_mails_the_report_to_the_user_who_submits(running: Machine) -> None:
    running.submit("alice", "-v", "bob", "carol", text="alice asks")
    message = running.wait_for_mail("alice", "Subject: alice asks\n")
    assert REPORT in message and f"X-Sendmail-Py-Sender: rfc822; alice@{HOST}\n" in message
    assert rows(message) == {f"bob@{HOST}": "delivered", f"carol@{HOST}": "delivered"}


@pytest.mark.parametrize("mode", ["-odi", "-odq", "-v", "-bv"])
def test_without_services_every_mode_queues_and_is_0(stopped: Machine, mode: str) -> None:
    before = stopped.maildrop()
    done = stopped.run("/usr/local/sbin/sendmail", mode, "bob", user="alice", input=text(f"later {mode}"))
    assert done.stderr == b"" and len(stopped.maildrop()) == len(before) + 1
    stopped.start()
    if mode == "-odq":
        stopped.wait_for_log("(queued only, as its sender asked)")
        stopped.run("/usr/local/sbin/sendmail", "-qSalice@", user="alice")
    stopped.wait_for_mail("alice" if mode == "-bv" else "bob", "Subject: probe" if mode == "-bv" else f"later {mode}")
