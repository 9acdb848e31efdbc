"""-odi, -odq, -v, -bv and -N success from end to end, for an ordinary user, with the services up and down."""

import contextlib
import email
import email.policy
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.integration.instance import DOMAIN, Instance, as_user, me, wait_until
from tests.servers.name_server import NameServer
from tests.servers.smtp_sink import EHLO, SmtpSink

ZONE = {
    "knows.test": {"MX": ["10 one.test."]},
    "plain.test": {"MX": ["10 two.test."]},
    "nowhere.test": {"rcode": "NXDOMAIN"},
    "silent.test": {"A": ["127.0.0.3"]},
    "one.test": {"A": ["127.0.0.1"]},
    "two.test": {"A": ["127.0.0.2"]},
}
ALIASES = """\
far: dan@plain.test
list: {user}, dan@plain.test, gone@plain.test
postmaster: {user}
prog: "|/bin/touch {path}/marker"
file: {path}/marker.mbox
"""
REFUSALS = {"RCPT gone@plain.test": "550 5.1.1 no such user", "RCPT busy@plain.test": "450 4.2.1 try later"}
STATUS, SUCCESS = "Mail Delivery Status Report", "Successful Mail Delivery Report"


class World:
    """An instance of an ordinary user, the name server it asks, and two mail servers: one knows DSN, one does not."""

    def __init__(self, stack, path, tree):
        self.user = "nobody" if os.getuid() == 0 else me()
        names = stack.enter_context(NameServer(dict(ZONE)))
        self.knows = stack.enter_context(SmtpSink())
        self.plain = stack.enter_context(
            SmtpSink(
                replies=dict(REFUSALS),
                ehlo=[word for word in EHLO if word != "DSN"],
                host="127.0.0.2",
                port=self.knows.port,
            )
        )
        settings = {"resolver_nameservers": names.address, "smtp_tcp_port": self.knows.port}
        user = self.user if os.getuid() == 0 else ""
        self.instance = stack.enter_context(Instance(path / "i", user=user, tree=tree, **settings))
        (self.instance.path / "aliases").write_text(ALIASES.format(user=self.user, path=self.instance.path))

    def send(self, subject, *words):
        """Submit a message; it must succeed, and what it prints is returned."""
        message = f"Subject: {subject}\n\nhello\n".encode()
        return self.instance.run("sendmail", *words, input=message, check=True).stdout.decode()

    def messages(self):
        """Return the messages in the user's mailbox."""
        parts = re.split(rb"^From .*\n", self.instance.mailbox(self.user), flags=re.MULTILINE)[1:]
        return [email.message_from_bytes(part, policy=email.policy.default) for part in parts]

    def reports(self, about):
        """Return subject and rows {recipient: (action, status)} of each report about a message."""
        found = []
        for message in self.messages():
            if message.get_content_type() == "multipart/report" and f"Subject: {about}\n" in message.as_string():
                fields = message.get_payload(1).get_payload()[1:]
                rows = {row["Final-Recipient"].split("; ")[1]: (row["Action"], row["Status"]) for row in fields}
                found.append((message["Subject"], rows))
        return found

    def wait_for_reports(self, about, count):
        """Wait for so many reports about a message, until nothing is queued."""
        self.instance.wait_for(lambda: len(self.reports(about)) >= count, f"{count} reports about {about}")
        self.instance.wait_empty()
        return sorted(self.reports(about), key=repr)

    def arrived(self, sink, subject):
        """Return the messages with this subject that a mail server has taken."""
        return [m for m in sink.messages if f"Subject: {subject}\r\n".encode() in m.content]

    def has_mail(self, subject):
        """Say whether the message itself, and no report on it, is in the user's mailbox."""
        return subject in [message["Subject"] for message in self.messages()]


@contextlib.contextmanager
def a_world(tree):
    with contextlib.ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modes")))
        path.chmod(0o755)  # other users can reach it, which tmp_path they cannot
        yield World(stack, path, tree)


@pytest.fixture(scope="module")
def up(tree):
    with a_world(tree) as world:
        world.instance.start()
        yield world


@pytest.fixture
def down(tree):
    with a_world(tree) as world:
        yield world


def address(user):
    return f"{user}@{DOMAIN}"


# --- -odi ------------------------------------------------------------------------------------------


def test_odi_returns_when_the_mail_is_in_the_mailbox_and_at_the_other_host(up):
    assert up.send("first of all", "-odi", up.user, "dan@knows.test") == ""
    assert up.has_mail("first of all") and len(up.arrived(up.knows, "first of all")) == 1


def test_odi_waits_for_the_members_of_an_alias_and_for_the_bounce(up):
    up.send("to the list", "-odi", "list", "nobody-of-this-name")
    assert up.has_mail("to the list") and len(up.arrived(up.plain, "to the list")) == 1
    rows = {name: row for _, report in up.reports("to the list") for name, row in report.items()}
    assert rows == {"gone@plain.test": ("failed", "5.1.1"), address("nobody-of-this-name"): ("failed", "5.1.1")}


def test_odi_returns_after_the_first_attempt_when_that_is_deferred(up):
    up.send("deferred", "-odi", "busy@plain.test")
    assert "450 4.2.1 try later" in up.instance.mailq()
    up.plain.replies.pop("RCPT busy@plain.test")
    up.instance.run("sendmail", "-qRbusy@", check=True)
    up.instance.wait_empty()
    assert len(up.arrived(up.plain, "deferred")) == 1


def test_odi_returns_with_0_when_the_queue_manager_dies_meanwhile(up):
    command = [f"{up.instance.tree}/bin/sendmail", "-odi", "dan@silent.test"]
    command = as_user(up.user, command) if os.getuid() == 0 else command
    with (
        SmtpSink(replies={"MAIL": "SILENT"}, host="127.0.0.3", port=up.knows.port) as silent,
        subprocess.Popen(command, stdin=subprocess.PIPE, env=up.instance.environment, cwd="/") as running,
    ):
        try:
            running.stdin.write(b"Subject: orphan\n\nx\n")
            running.stdin.close()
            wait_until(lambda: any("MAIL FROM" in line for line in silent.commands), "the session is under way")
            assert running.poll() is None
            os.kill(up.instance.pid_of("qmgr"), signal.SIGKILL)
            assert running.wait(60) == 0
        finally:
            running.kill()
    with SmtpSink(host="127.0.0.3", port=up.knows.port) as again:
        up.instance.wait_for(lambda: up.instance.pid_of("qmgr"), "a new queue manager")

        def arrived():
            up.instance.run("sendmail", "-q", check=True)
            return up.arrived(again, "orphan")

        up.instance.wait_for(arrived, "the message at the other host")
        up.instance.wait_empty()


def test_odi_without_services_queues_and_returns_with_0(down):
    assert down.send("later", "-odi", down.user) == ""
    assert down.instance.count() == 1
    down.instance.start()
    down.instance.wait_for(lambda: down.has_mail("later"), "the mail")


# --- -odq ------------------------------------------------------------------------------------------


def test_odq_waits_for_a_flush(up):
    assert up.send("not yet", "-odq", up.user) == ""
    up.instance.wait_for(lambda: "(queued only" in up.instance.mailq(), "queued only")
    assert not up.has_mail("not yet")
    up.instance.run("sendmail", "-q", check=True)
    up.instance.wait_for(lambda: up.has_mail("not yet"), "the mail")


def test_odq_without_services_waits_for_a_flush_too(down):
    assert down.send("not yet", "-odq", down.user) == ""
    down.instance.start()
    down.instance.wait_for(lambda: "(queued only" in down.instance.mailq(), "queued only")
    down.instance.run("sendmail", "-qS" + down.user, check=True)
    down.instance.wait_for(lambda: down.has_mail("not yet"), "the mail")


# --- -v --------------------------------------------------------------------------------------------


def test_v_delivers_mails_a_report_of_each_recipient_and_bounces_too(up):
    to = [up.user, "far", "dan@knows.test", "eve@plain.test", "nobody-of-this-name"]
    said = up.send("reported", "-v", *to)
    assert said == f"Mail Delivery Status Report will be mailed to <{up.user}>.\n"
    (bounce, failures), (status, rows) = sorted(up.wait_for_reports("reported", 2), key=lambda r: len(r[1]))
    assert (bounce, failures) == (
        "Undelivered Mail Returned to Sender",
        {address("nobody-of-this-name"): ("failed", "5.1.1")},
    )
    assert (status, rows) == (
        STATUS,
        {
            address(up.user): ("delivered", "2.0.0"),
            "dan@plain.test": ("relayed", "2.0.0"),
            "dan@knows.test": ("relayed", "2.0.0"),
            "eve@plain.test": ("relayed", "2.0.0"),
            address("nobody-of-this-name"): ("failed", "5.1.1"),
        },
    )
    assert up.has_mail("reported") and len(up.arrived(up.plain, "reported")) == 1
    (report,) = [m for m in up.messages() if m["Subject"] == STATUS and "Subject: reported\n" in m.as_string()]
    assert report["Return-Path"] == "<>" and report["Auto-Submitted"] == "auto-replied"
    assert report.get_content_type() == "multipart/report"
    assert report.get_payload(2).get_content_type() == "text/rfc822-headers"
    assert f"Original-Recipient: rfc822; {address('far')}\n" in report.get_payload(1).as_string()


def test_v_reports_on_the_members_of_an_alias(up):
    up.send("members", "-v", "list")
    reports = up.wait_for_reports("members", 2)
    assert (STATUS, {address(up.user): ("delivered", "2.0.0"), "dan@plain.test": ("relayed", "2.0.0"),
                     "gone@plain.test": ("failed", "5.1.1")}) in reports  # fmt: skip
    assert len(reports) == 2


def test_v_says_that_mail_waits_and_does_not_say_it_again(up):
    up.plain.replies["RCPT busy@plain.test"] = ["450 4.2.1 try later", "NORMAL"]
    up.send("waits", "-v", "busy@plain.test")
    up.instance.wait_for(lambda: up.reports("waits"), "the report")
    up.instance.run("sendmail", "-q", check=True)
    assert up.wait_for_reports("waits", 1) == [(STATUS, {"busy@plain.test": ("delayed", "4.2.1")})]


def test_v_without_services_is_kept_in_the_queue(down):
    assert f"<{down.user}>" in down.send("reported later", "-v", down.user)
    down.instance.start()
    reports = down.wait_for_reports("reported later", 1)
    assert reports == [(STATUS, {address(down.user): ("delivered", "2.0.0")})]
    assert down.has_mail("reported later")


def test_the_report_goes_to_the_sender_that_f_names(up):
    said = up.send("elsewhere", "-v", "-f", "alice@knows.test", up.user)
    assert said == "Mail Delivery Status Report will be mailed to <alice@knows.test>.\n"
    up.instance.wait_for(
        lambda: any(m.recipients[0].startswith("<alice@knows.test>") and m.sender.startswith("<>")
                    for m in up.arrived(up.knows, STATUS)), "the report at the other host")  # fmt: skip


# --- -bv -------------------------------------------------------------------------------------------


def test_bv_asks_and_delivers_nothing(up):
    to = [up.user, "far", "dan@knows.test", "gone@plain.test", "nobody-of-this-name", "x@nowhere.test"]
    earlier, before = len(up.reports("probe")), [len(sink.messages) for sink in (up.knows, up.plain)]
    done = up.instance.run("/bin/sh", "-c", 'a=$1; shift; "$a" -bv "$@"; cat', "sh",
                           f"{up.instance.tree}/bin/sendmail", *to, input=b"unread\n", check=True)  # fmt: skip
    assert done.stdout.decode() == f"Mail Delivery Status Report will be mailed to <{up.user}>.\nunread\n"
    up.wait_for_reports("probe", earlier + 1)
    ((subject, rows),) = up.reports("probe")[earlier:]
    assert subject == STATUS
    assert rows == {
        address(up.user): ("deliverable", "2.0.0"),
        "dan@plain.test": ("deliverable", "2.1.5"),
        "dan@knows.test": ("deliverable", "2.1.5"),
        "gone@plain.test": ("undeliverable", "5.1.1"),
        address("nobody-of-this-name"): ("undeliverable", "5.1.1"),
        "x@nowhere.test": ("undeliverable", rows["x@nowhere.test"][1]),
    }
    assert not up.has_mail("probe")
    assert [len(sink.messages) for sink in (up.knows, up.plain)] == before
    report = [m for m in up.messages() if "Subject: probe\n" in m.as_string()][-1]
    assert "delivers to mailbox" in report.as_string() and "Nothing was delivered" in report.as_string()
    assert re.search(rf"to=<{address(up.user)}>, .* status=deliverable \(delivers to mailbox\)", up.instance.log())


def test_bv_of_an_alias_verifies_its_members(up):
    before = len(up.reports("probe"))
    up.instance.run("sendmail", "-bv", "list", check=True)
    up.wait_for_reports("probe", before + 1)
    rows = {}
    for subject, report in up.reports("probe")[before:]:
        assert subject == STATUS
        rows |= report
    assert rows["gone@plain.test"] == ("undeliverable", "5.1.1")
    assert rows["dan@plain.test"] == ("deliverable", "2.1.5")
    assert not up.has_mail("probe")


def test_bv_runs_no_program_and_writes_no_file(up):
    before = len(up.reports("probe"))
    marker = up.instance.path / "marker"
    up.instance.run("sendmail", "-bv", "prog", "file", check=True)
    up.wait_for_reports("probe", before + 1)
    rows = {name: row for _, report in up.reports("probe")[before:] for name, row in report.items()}
    assert {row[0] for row in rows.values()} == {"deliverable"}
    assert [path.name for path in up.instance.path.iterdir() if path.name.startswith("marker")] == []
    assert f"delivers to command: /bin/touch {marker}" in up.instance.log()


def test_bv_without_services_waits_for_them(down):
    down.instance.run("sendmail", "-bv", down.user, "nobody-of-this-name", check=True)
    assert down.instance.count() == 1
    down.instance.start()
    ((subject, rows),) = down.wait_for_reports("probe", 1)
    assert subject == STATUS
    assert rows == {
        address(down.user): ("deliverable", "2.0.0"),
        address("nobody-of-this-name"): ("undeliverable", "5.1.1"),
    }


@pytest.mark.parametrize("words", [["-t"], ["-N", "success"], ["-R", "hdrs"]])
def test_bv_with_what_has_no_sense_there_is_64(down, words):
    done = down.instance.run("sendmail", "-bv", *words, down.user)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (64, b"", 1)
    assert down.instance.count() == 0


def test_bv_without_recipients_is_64(down):
    assert down.instance.run("sendmail", "-bv").returncode == 64


# --- -N success ------------------------------------------------------------------------------------


def test_success_is_reported_here_or_entrusted_to_the_next_host(up):
    up.send("success", "-N", "success,failure", up.user, "eve@plain.test", "dan@knows.test", "list")
    reports = up.wait_for_reports("success", 2)
    assert (
        SUCCESS,
        {
            address(up.user): ("delivered", "2.0.0"),
            "eve@plain.test": ("relayed", "2.0.0"),
            address("list"): ("expanded", "2.0.0"),
        },
    ) in reports
    assert ("Undelivered Mail Returned to Sender", {"gone@plain.test": ("failed", "5.1.1")}) in reports
    (at_knows,) = up.arrived(up.knows, "success")
    assert at_knows.recipients[0].startswith("<dan@knows.test> NOTIFY=SUCCESS,FAILURE")


def test_success_asked_for_by_smtp_comes_with_the_names_that_the_client_gave(up):
    lines = [
        "EHLO x",
        f"MAIL FROM:<{address(up.user)}> RET=FULL ENVID=QQ+2B314",
        f"RCPT TO:<{address(up.user)}> NOTIFY=SUCCESS ORCPT=rfc822;bob+2Btag@elsewhere.test",
        *("DATA", "Subject: by smtp", "", "the body", ".", "QUIT", ""),
    ]
    done = up.instance.run("sendmail", "-bs", input="\r\n".join(lines).encode(), check=True)
    assert b"\n250 2.0.0 Ok: queued" in done.stdout
    assert up.wait_for_reports("by smtp", 1) == [(SUCCESS, {address(up.user): ("delivered", "2.0.0")})]
    (report,) = [m for m in up.messages() if m["Subject"] == SUCCESS and "Subject: by smtp\n" in m.as_string()]
    status = report.get_payload(1).as_string()
    assert "\nOriginal-Envelope-Id: QQ+314\n" in status
    assert "\nOriginal-Recipient: rfc822; bob+tag@elsewhere.test\n" in status
    assert "the body" not in report.as_string()


def test_never_is_never(up):
    up.send("silence", "-N", "never", up.user, "nobody-of-this-name")
    up.instance.wait_for(lambda: up.has_mail("silence"), "the mail")
    up.instance.wait_empty()
    assert up.reports("silence") == []
