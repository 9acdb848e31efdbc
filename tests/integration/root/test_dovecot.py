"""Dovecot with us: it takes mail over LMTP, and reads by IMAP and POP3 what we deliver, while we deliver it."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest
from machine import HOST, Machine, wait_until

pytestmark = pytest.mark.real("dovecot")

CONFIG = """\
base_dir = /run/dovecot
log_path = /var/log/dovecot.log
protocols = lmtp imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_username_format = %Ln
mail_location = {location}
mail_privileged_group = mail
mbox_write_locks = dotlock fcntl
first_valid_uid = 1000
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = passwd
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0600
    user = sendmail-py-net
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = 24
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""
READ_BY_IMAP = """
import imaplib, sys
box = imaplib.IMAP4("127.0.0.1")
box.login(sys.argv[1], "secret")
box.select(sys.argv[2])
for number in box.search(None, "ALL")[1][0].split():
    print(box.fetch(number, "(BODY.PEEK[])")[1][0][1].decode())
box.logout()
"""
TAKE_BY_POP3 = """
import poplib, sys, time
taken = 0
while taken < int(sys.argv[2]):
    try:
        box = poplib.POP3("127.0.0.1", timeout=60)
        box.user(sys.argv[1])
        box.pass_("secret")
    except poplib.error_proto as error:
        if b"locked" in error.args[0].lower() or b"in-use" in error.args[0].lower():
            time.sleep(0.05)
            continue
        raise
    for number in range(1, len(box.list()[1]) + 1):
        lines = box.retr(number)[1]
        print(next(line for line in lines if line.startswith(b"Subject: ")).decode())
        box.dele(number)
        taken += 1
    box.quit()
"""

# Each message is fetched when the mailbox says that it has come, and some are deleted on the way: the reader writes
# the mailbox that is being delivered to.
FOLLOW_BY_IMAP = """
import email, imaplib, sys, time
box = imaplib.IMAP4("127.0.0.1", timeout=60)
box.login(sys.argv[1], "secret")
box.select("INBOX")
seen = {}
end = time.monotonic() + 60
while len(seen) < int(sys.argv[2]) and time.monotonic() < end:
    box.noop()
    for uid in box.uid("search", "UID", f"{max(seen, default=0) + 1}:*")[1][0].split():
        if int(uid) in seen:
            continue
        content = box.uid("fetch", uid, "(RFC822)")[1][0][1]
        message = email.message_from_bytes(content)
        seen[int(uid)] = f"{message['Subject']} {message.get_payload().strip()}"
        if len(seen) % 3 == 0:
            box.uid("store", uid, "+FLAGS", r"(\\Deleted)")
            box.expunge()
    time.sleep(0.02)
box.logout()
print("\\n".join(seen.values()))
"""
LDA = """\
protocol lda {
  log_path = /dev/stderr
  mail_location = maildir:~/by-lda
  postmaster_address = postmaster@host.example.org
}
"""


@pytest.fixture(params=["mbox", "maildir"])
def host(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine with our services and Dovecot's; its mailboxes are of one of two kinds."""
    is_mbox = request.param == "mbox"
    with Machine() as machine:
        machine.install()
        machine.set_up(maildrop_scan_delay="2s", recipient_delimiter="+", home_mailbox="" if is_mbox else "Maildir/")
        machine.script("useradd --create-home --user-group alice; useradd --create-home --user-group bob")
        location = "mbox:~/mail:INBOX=/var/mail/%u" if is_mbox else "maildir:~/Maildir"
        with running(machine, CONFIG.format(location=location)):
            yield machine


@contextlib.contextmanager
def running(machine: Machine, config: str) -> Iterator[None]:
    """Run Dovecot and then our services for the length of the block."""
    machine.path("/var/lib/dovecot.conf").write_text(config)
    command = machine.command(["dovecot", "-F", "-c", "/var/lib/dovecot.conf"])
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2) as dovecot:
        try:
            wait_until(lambda: machine.path("/run/dovecot/lmtp").is_socket(), "Dovecot listens")
            machine.start()
            yield
        finally:
            machine.stop()
            dovecot.terminate()


def wait_empty(host: Machine) -> None:
    try:
        wait_until(lambda: host.run("mailctl", "queue", "count").stdout.strip() == b"0", "an empty queue")
    except AssertionError as error:
        log = host.path("/var/log/dovecot.log")
        raise AssertionError(f"{error}\n{host.log()}\n{log.read_text() if log.exists() else ''}") from None


@pytest.mark.parametrize(
    ("transport", "relay"),
    [
        ("lmtp:unix:/run/dovecot/lmtp", "relay=host.example.org[/run/dovecot/lmtp]"),
        ("lmtp:inet:127.0.0.1:24", "relay=127.0.0.1[127.0.0.1]:24"),
    ],
)
def test_mail_handed_over_by_lmtp_is_in_the_users_mailbox_and_in_that_of_the_extension(
    host: Machine, transport: str, relay: str
) -> None:
    host.configure(mailbox_transport=transport)
    host.run("mailctl", "reload")
    host.submit("bob", "alice", "alice+lists", text="through the store")
    host.submit("bob", "nobody-there", text="to nobody")
    wait_empty(host)
    for mailbox in ("INBOX", "lists"):
        text = host.python(READ_BY_IMAP, "alice", mailbox)
        assert text.count("Subject: through the store") == 1
        assert f"Return-Path: <bob@{HOST}>" in text and "Delivered-To: alice" in text
    assert "status=sent (250 2.0.0 <alice@" in host.log() and relay in host.log()
    report = host.python(READ_BY_IMAP, "bob", "INBOX")
    assert "Status: 5.1.1" in report and "User doesn't exist" in report


def test_what_we_deliver_is_read_by_imap_as_it_was_sent(host: Machine) -> None:
    host.run(
        "/usr/local/bin/sendmail", "-i", "alice", user="bob", input=b"Subject: as sent\n\nFrom here\n.\n\nFrom\nend\n"
    )
    wait_empty(host)
    text = host.python(READ_BY_IMAP, "alice", "INBOX").replace("\r\n", "\n")
    assert text.rstrip().endswith("\n\nFrom here\n.\n\nFrom\nend") or "\n\n>From here\n.\n\nFrom\nend" in text


def deliver_beside(host: Machine, program: str, count: int) -> list[str]:
    """Deliver messages to alice while a program reads her mailbox; returns the lines it printed, sorted."""
    command = host.command(["python3", "-I", "-c", program, "alice", count])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            for number in range(count):
                host.submit("bob", "alice", text=f"number {number}")
            wait_empty(host)
            printed, _ = reader.communicate(timeout=90)
        finally:
            reader.kill()
    return sorted(printed.splitlines())


def test_mail_taken_by_pop3_while_more_is_delivered_is_taken_once_each(host: Machine) -> None:
    assert deliver_beside(host, TAKE_BY_POP3, 60) == sorted(f"Subject: number {number}" for number in range(60))


def test_mail_read_and_deleted_by_imap_while_more_is_delivered_is_whole_and_there_once(host: Machine) -> None:
    count = 60
    assert deliver_beside(host, FOLLOW_BY_IMAP, count) == sorted(f"number {n} number {n}" for n in range(count))
    left = host.python(READ_BY_IMAP, "alice", "INBOX")
    assert left.count("Subject: number ") == count - count // 3


def test_dovecot_lda_takes_the_mail_as_mailbox_command_and_its_status_decides(host: Machine) -> None:
    config = host.path("/var/lib/dovecot.conf")
    config.write_text(config.read_text() + LDA)
    config.chmod(0o644)  # the program runs as the user
    program = '/usr/lib/dovecot/dovecot-lda -c /var/lib/dovecot.conf -f "$SENDER" -a "$RECIPIENT"'
    host.configure(mailbox_command=program)
    host.run("mailctl", "reload")
    host.submit("bob", "alice", text="by the delivery agent")
    wait_empty(host)
    (found,) = host.path("/home/alice/by-lda/new").iterdir()
    text = found.read_text()
    assert f"Return-Path: <bob@{HOST}>" in text and "Subject: by the delivery agent" in text
    assert str(found.stat().st_uid) == host.script("id -u alice").strip()
    assert "delivered to command: /usr/lib/dovecot/dovecot-lda" in host.log()
    host.script("chmod 500 /home/alice/by-lda/new /home/alice/by-lda/tmp")  # it cannot store, and exits with 75
    host.submit("bob", "alice", text="later")
    host.wait_for_log("status=deferred")


QUOTA = """
mail_plugins = quota
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=30K
}
"""
VIRTUAL_CONFIG = CONFIG.replace(
    "driver = passwd\n", "driver = static\n  args = uid=5000 gid=5000 home=/var/lib/vmail/%n\n"
)


@pytest.fixture
def virtual() -> Iterator[Machine]:
    """A machine whose Dovecot has the mailboxes of a virtual domain, which are no users'."""
    with Machine() as machine:
        machine.install()
        machine.set_up(
            maildrop_scan_delay="2s",
            recipient_delimiter="+",
            maildir_extension_folders="yes",
            virtual_mailbox_domains="boxes.example",
            virtual_mailbox_base="/var/lib/vmail",
            virtual_mailbox_maps="inline:{info@boxes.example=info/Maildir/}",
            virtual_uid_maps="static:5000",
            virtual_gid_maps="static:5000",
        )
        machine.script(
            "useradd --create-home --user-group bob; mkdir -p /var/lib/vmail; chown 5000:5000 /var/lib/vmail"
        )
        with running(machine, VIRTUAL_CONFIG.format(location="maildir:~/Maildir")):
            yield machine


def test_imap_reads_the_virtual_mailboxes_that_we_write_and_over_lmtp_they_are_the_same(virtual: Machine) -> None:
    virtual.submit("bob", "info@boxes.example", text="into the maildir")
    wait_empty(virtual)
    assert virtual.python(READ_BY_IMAP, "info", "INBOX").count("Subject: into the maildir") == 1
    owners = virtual.script("find /var/lib/vmail/info -printf '%U:%G\\n' | sort -u")
    assert owners.split() == ["5000:5000"]
    virtual.configure(virtual_transport="lmtp:unix:/run/dovecot/lmtp")
    virtual.run("mailctl", "reload")
    virtual.submit("bob", "info+Lists@boxes.example", text="over lmtp")
    wait_empty(virtual)
    assert virtual.python(READ_BY_IMAP, "info", "Lists").count("Subject: over lmtp") == 1
    virtual.configure(virtual_transport="virtual")
    virtual.run("mailctl", "reload")
    virtual.submit("bob", "info+Lists@boxes.example", text="into the folder")
    virtual.submit("bob", "not-here@boxes.example", text="to nobody")
    wait_empty(virtual)
    assert virtual.python(READ_BY_IMAP, "info", "Lists").count("Subject: ") == 2
    virtual.wait_for_mail("bob", 'unknown user: "not-here@boxes.example"')


def test_dovecot_and_we_keep_one_quota(virtual: Machine) -> None:
    config = virtual.path("/var/lib/dovecot.conf")
    config.write_text(config.read_text() + QUOTA)
    virtual.run("doveadm", "-c", "/var/lib/dovecot.conf", "reload")
    virtual.configure(virtual_transport="lmtp:unix:/run/dovecot/lmtp")
    virtual.run("mailctl", "reload")
    virtual.submit("bob", "info@boxes.example", text="l" * 4000)
    wait_empty(virtual)
    size = virtual.path("/var/lib/vmail/info/Maildir/maildirsize")
    assert size.read_text().startswith(f"{30 * 1024}S\n")
    virtual.configure(virtual_transport="virtual")
    virtual.run("mailctl", "reload")
    for _ in range(2):
        virtual.submit("bob", "info@boxes.example", text="v" * 4000)
        wait_empty(virtual)
    used = sum(path.stat().st_size for part in ("new", "cur") for path in (size.parent / part).iterdir())
    status = virtual.run("doveadm", "-c", "/var/lib/dovecot.conf", "-f", "tab", "quota", "get", "-u", "info").stdout
    kilobytes, messages = (int(row.split(b"\t")[2]) for row in status.splitlines()[1:])
    assert (kilobytes, messages) == (-(-used // 1024), 3)
    virtual.submit("bob", "info@boxes.example", text="v" * 4000)
    virtual.wait_for_mail("bob", "Status: 5.2.2")
    wait_empty(virtual)
    assert virtual.python(READ_BY_IMAP, "info", "INBOX").count("Subject: ") == 3
