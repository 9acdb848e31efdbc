"""Filters that get a delivered message and call sendmail for another."""

import pytest
from callers_machine import HOST, CallersMachine

ALICE, BOB, CAROL = (f"{name}@{HOST}" for name in ("alice", "bob", "carol"))


def message(text: str) -> bytes:
    """Return a message from carol as a mailer pipes it: with a From_ line."""
    head = f"From {CAROL} Mon Nov 23 12:00:00 2026\nFrom: {CAROL}\nTo: alice@{HOST}\nSubject: hi\n"
    return f"{head}Message-Id: <{text.replace(' ', '.')}@example.org>\n\n{text}\n.\nend\n".encode()


@pytest.mark.caller("procmail")
def test_procmail_forwards_and_answers(machine: CallersMachine, home: str) -> None:
    answer = '| (formail -rt -A "X-Loop: alice"; echo "the answer of procmail") | $SENDMAIL -oi -t'
    machine.write(f"{home}/.procmailrc", f":0 c\n! bob\n\n:0 h\n{answer}\n")
    machine.run("procmail", user="alice", cwd=home, HOME=home, input=message("through procmail"))
    mail = machine.mail("bob", "\nthrough procmail\n")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == (f"<{ALICE}>", CAROL, ALICE)
    assert mail["Message-Id"] == "<through.procmail@example.org>"
    assert mail.body == "through procmail\n.\nend\n\n"  # procmail ends each message with an empty line
    answer = machine.mail("carol", "the answer of procmail")
    assert (answer["To"], answer["Subject"], answer["X-Loop"]) == (CAROL, "Re: hi", "alice")
    assert answer["From"] == f"Alice Example <{ALICE}>"


@pytest.mark.caller("maildrop")
def test_maildrop_forwards_with_the_null_sender(machine: CallersMachine, home: str) -> None:
    machine.write(f"{home}/.mailfilter", 'cc "! bob carol"\nto "Mailbox"\n')
    machine.run("maildrop", ".mailfilter", user="alice", cwd=home, HOME=home, input=message("through maildrop"))
    assert "\nthrough maildrop\n" in machine.path(f"{home}/Mailbox").read_text()
    for user in ("bob", "carol"):
        mail = machine.mail(user, "\nthrough maildrop\n")
        assert (mail["Return-Path"], mail["From"], mail["To"]) == ("<>", CAROL, ALICE)
        assert mail["Message-Id"] == "<through.maildrop@example.org>"
        assert mail.body == "through maildrop\n.\nend\n"


@pytest.mark.caller("maildrop")
def test_mailbot_answers(machine: CallersMachine, home: str) -> None:
    machine.write(f"{home}/answer", "the answer of mailbot\n")
    words = ["mailbot", "-t", "answer", "-A", f"From: {ALICE}", "/usr/sbin/sendmail", "-t", "-f", ""]
    machine.run(*words, user="alice", cwd=home, HOME=home, input=message("through mailbot").partition(b"\n")[2])
    mail = machine.mail("carol", "the answer of mailbot")
    assert (mail["Return-Path"], mail["From"], mail["To"]) == ("<>", ALICE, CAROL)
    assert mail["In-Reply-To"] == "<through.mailbot@example.org>"


@pytest.mark.caller("vacation")
def test_vacation_answers_once(machine: CallersMachine, home: str) -> None:
    machine.write(f"{home}/.vacation.msg", "Subject: away\n\nthe answer of vacation\n")
    machine.shell("vacation -I")
    for _ in range(2):
        machine.run("vacation", "alice", user="alice", cwd=home, HOME=home, input=message("through vacation"))
    mail = machine.mail("carol", "the answer of vacation")
    assert (mail["Return-Path"], mail["To"], mail["Subject"]) == (f"<{ALICE}>", CAROL, "away")
