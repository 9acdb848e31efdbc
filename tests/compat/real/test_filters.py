"""Filters that get a message on its delivery and call sendmail for another.

Users name them in .forward, the administrator in mailbox_command, in the words of their manuals.
"""

from collections.abc import Iterator

import pytest
from callers_machine import HOST, CallersMachine, wait_until

ALICE, BOB, CAROL = (f"{name}@{HOST}" for name in ("alice", "bob", "carol"))

SIEVE = """require ["vacation", "copy", "reject", "body"];
if body :text :contains "sieve redirects this" {
    redirect :copy "bob@host.example.org";
} elsif body :text :contains "sieve rejects this" {
    reject "sieve does not want this";
} else {
    vacation :addresses "alice@host.example.org" "the answer of sieve";
}
"""


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


def deliver(machine: CallersMachine, text: str) -> None:
    """Send a message from carol to alice."""
    machine.shell(f"printf 'To: alice\\nSubject: hi\\n\\n%s\\n.\\nend\\n' '{text}' | sendmail -i alice", "carol")


def file_with(machine: CallersMachine, name: str, text: str) -> str:
    """Wait until a file holds this text; returns all of it."""
    path = machine.path(name)
    return str(wait_until(lambda: path.exists() and text in (found := path.read_text()) and found, f"{text!r}"))


@pytest.mark.caller("procmail")
def test_procmail_in_forward_files_and_forwards(machine: CallersMachine, home: str) -> None:
    machine.write(f"{home}/.procmailrc", ":0 c\n! bob\n\n:0\n* ^Subject: hi\n$HOME/filed\n")
    machine.write(f"{home}/.forward", "\"|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #alice\"\n")
    deliver(machine, "procmail from .forward")
    mail = machine.mail("bob", "procmail from .forward")
    assert (mail["Return-Path"], mail["To"]) == (f"<{ALICE}>", ALICE)
    filed = file_with(machine, f"{home}/filed", "\nend\n")
    assert filed.startswith(f"From {CAROL} ")
    assert f"\nDelivered-To: {ALICE}\n" in filed
    assert "\n\nprocmail from .forward\n.\nend\n" in filed


@pytest.mark.caller("maildrop")
def test_maildrop_in_forward_forwards(machine: CallersMachine, home: str) -> None:
    machine.write(f"{home}/.mailfilter", 'cc "! bob"\nto "Mailbox"\n')
    machine.write(f"{home}/.forward", '"|/usr/bin/maildrop"\n')
    deliver(machine, "maildrop from .forward")
    mail = machine.mail("bob", "maildrop from .forward")
    assert mail["From"] == CAROL
    file_with(machine, f"{home}/Mailbox", "\n\nmaildrop from .forward\n.\nend\n")


@pytest.mark.caller("vacation")
def test_vacation_in_forward_answers_and_the_mail_is_kept(machine: CallersMachine, home: str) -> None:
    machine.write(f"{home}/.vacation.msg", "Subject: away\n\nthe answer from .forward\n")
    machine.shell("vacation -I")
    machine.write(f"{home}/.forward", '\\alice, "|/usr/bin/vacation alice"\n')
    deliver(machine, "vacation from .forward")
    assert machine.mail("alice", "vacation from .forward")["From"] == CAROL
    assert machine.mail("carol", "the answer from .forward")["To"] == CAROL


@pytest.fixture
def mailbox_command(machine: CallersMachine) -> Iterator[CallersMachine]:
    """The machine that delivers with procmail, as Debian's Postfix is set up where procmail is installed."""
    machine.configure(mailbox_command='/usr/bin/procmail -a "$EXTENSION"')
    machine.run("mailctl", "reload")
    yield machine
    machine.run("mailctl", "config", "-X", "mailbox_command")
    machine.run("mailctl", "reload")


@pytest.mark.caller("procmail")
def test_procmail_as_mailbox_command_delivers_to_the_system_mailbox(mailbox_command: CallersMachine, home: str) -> None:
    machine = mailbox_command
    machine.write(f"{home}/.procmailrc", ":0 c\n! bob\n")
    machine.shell("printf 'Subject: hi\\n\\nprocmail for all\\n' | sendmail -i alice+lists", "carol")
    assert machine.mail("bob", "procmail for all")["Return-Path"] == f"<{ALICE}>"
    assert "\n\nprocmail for all\n" in machine.wait_for_mail("alice", "procmail for all")


@pytest.mark.caller("dovecot-lda")
def test_sieve_redirects_answers_and_rejects(machine: CallersMachine, home: str) -> None:
    settings = "ssl = no\nmail_location = maildir:~/Maildir\nlog_path = /tmp/dovecot.log\n"
    plugin = "protocol lda {\n mail_plugins = sieve\n}\nplugin {\n sieve = ~/.dovecot.sieve\n}\n"
    machine.write("/etc/dovecot/local.conf", settings + plugin, "", 0o644)
    machine.write(f"{home}/.dovecot.sieve", SIEVE)
    machine.write(f"{home}/.forward", '| "/usr/lib/dovecot/dovecot-lda"\n')
    for text in ("sieve redirects this", "sieve answers this", "sieve rejects this"):
        deliver(machine, text)
    redirected = machine.mail("bob", "sieve redirects this")
    assert (redirected["Return-Path"], redirected["X-Sieve-Redirected-From"]) == (f"<{CAROL}>", ALICE)
    assert redirected.body == "sieve redirects this\n.\nend\n"
    answer = machine.mail("carol", "the answer of sieve")
    assert (answer["Return-Path"], answer["From"], answer["To"]) == ("<>", f"<{ALICE}>", f"<{CAROL}>")
    assert "\r" not in redirected.text + answer.text
    rejected = machine.mail("carol", "sieve does not want this")
    assert (rejected["Return-Path"], rejected.header.get_content_type()) == ("<>", "multipart/report")
    kept = [path.read_text() for path in machine.path(f"{home}/Maildir/new").iterdir()]
    assert [text for text in kept if "sieve answers this" in text]
