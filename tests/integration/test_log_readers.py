"""Programs that read Postfix's log find in ours what has happened, as counted by those who did it.

The readers are Debian's packages as they are; all that is set for them is `syslog_name = postfix`.
"""

import contextlib
import os
import re
import smtplib
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import needs
from tests.integration.instance import me, wait_until
from tests.integration.smtp_server import STRANGERS, Submission
from tests.servers.name_server import NameServer
from tests.servers.ports import free_port
from tests.servers.smtp_sink import SmtpSink

READERS = Path(os.environ.get("LOG_READERS_DIRECTORY", "/var/tmp/sendmail-py-readers")) / "root"
LISTED = "127.0.0.7"  # the address that a list of spammers has
ZONE = {
    "there.test": {"A": ["127.0.0.1"]},
    "dead.test": {"A": ["127.0.0.3"]},
    "7.0.0.127.dnsbl.test": {"A": ["127.0.0.2"]},
}
REPLIES = {"RCPT unknown@there.test": "550 5.1.1 no such mailbox", "RCPT full@there.test": "452 4.2.2 full"}
SETTINGS = STRANGERS | {
    "syslog_name": "postfix",
    "minimal_backoff_time": "1h",
    "smtpd_recipient_restrictions": "reject_rbl_client dnsbl.test, permit",
    "smtpd_hard_error_limit": "3",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_tls_loglevel": "1",
}


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A mail system after a day with a bit of everything, and what the exporter has told of it."""
    needs(READERS)
    path = tmp_path_factory.mktemp("day")
    (path / "checks").write_text("/^Subject: buy/ REJECT no advertisements\n")
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(NameServer(dict(ZONE)))
        sink = stack.enter_context(SmtpSink(REPLIES))
        more = {"resolver_nameservers": names.address, "smtp_tcp_port": sink.port}
        more["header_checks"] = f"regexp:{path}/checks"
        day = Submission(path / "i", {"alice": "secret word"}, **SETTINGS | more)
        stack.enter_context(day)
        day.start()
        with exporter(day.path / "maillog") as scrape:
            submissions(day)
            sessions(day)
            day.wait_for(lambda: day.count() == 1, "one message waits, and no other")
            seen = "postfix_qmgr_messages_removed_total"
            day.exported = wait_until(lambda: (found := scrape()).get((seen,)) == 9 and found, "all has been read")
        logs = path / "logs"
        logs.mkdir()
        (logs / "mail.log").write_text(day.log())
        yield day


def submissions(day):
    """Two for our mailbox, two that go away, one to a server that refuses it, one unknown here, two that wait."""
    for recipient in (me(), me(), "a@there.test", "b@there.test", "unknown@there.test", "nobody-here"):
        day.submit(b"Subject: x\n\nhello\n", "-i", recipient)
    day.submit(b"Subject: x\n\nhello\n", "-i", "x@dead.test", "full@there.test")


def sessions(day):
    """Three refusals, and one too many; a listed client; two wrong logins; a user's two messages; one who hangs up."""
    with day.client() as client:
        client.ehlo("c.test")
        client.mail("a@a.test")
        answers = [
            client.rcpt(to)[0] for to in ("x@else.test", "nobody-here@here.test", "y@else.test", "root@here.test")
        ]
        assert answers == [554, 550, 554, 421]
    with day.connect_from(LISTED) as line:
        line.say("EHLO c.test", "MAIL FROM:<a@a.test>", "RCPT TO:<games@here.test>", "QUIT")
        assert "blocked using dnsbl.test" in line.replies()[3]
    for connect, login in ((day.client, "auth_plain"), (day.starttls, "auth_login")):
        with connect() as client:
            if login == "auth_plain":
                client.starttls()
                client.ehlo()
            client.user, client.password = "alice", "wrong"
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.auth(login.partition("_")[2].upper(), getattr(client, login))
    with day.starttls() as client:
        client.login("alice", "secret word")
        client.sendmail("alice@here.test", ["a@there.test"], "Subject: x\n\nx\n")
        with pytest.raises(smtplib.SMTPDataError, match="no advertisements"):
            client.sendmail("alice@here.test", ["a@there.test"], "Subject: buy\n\nx\n")
    with day.connect() as line:
        line.words()
        line.say("EHLO c.test")
        line.words()


@contextlib.contextmanager
def exporter(log):
    """Run the exporter, which reads only what is written while it runs; yields a function that scrapes it."""
    port = free_port()
    words = [f"--postfix.logfile_path={log}", f"--web.listen-address=127.0.0.1:{port}"]
    program = READERS / "usr/bin/prometheus-postfix-exporter"

    def scrape():
        try:
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
        except OSError:
            return {}
        families = [family for family in text_string_to_metric_families(text) if family.name.startswith("postfix_")]
        return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}

    with subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(scrape, "the exporter listens")
            yield scrape
        finally:
            process.kill()


# --- what they find ------------------------------------------------------------------------------


@pytest.mark.real("pflogsumm")
def test_pflogsumm(day):
    done = day.run("/usr/bin/env", "pflogsumm", day.path / "maillog", check=True)
    wanted = "received|delivered|deferred|bounced|rejected|held"
    found = {name: int(n) for n, name in re.findall(rf"^ +(\d+) +({wanted})\b", done.stdout.decode(), re.MULTILINE)}
    assert found == {"received": 8, "delivered": 7, "deferred": 1, "bounced": 2, "rejected": 5, "held": 0}, done.stdout


@pytest.mark.real("perl")
def test_logwatch_knows_every_line(day):
    words = ["--service", "postfix", "--range", "all", "--detail", "high", "--output", "stdout"]
    done = day.run(READERS / "usr/sbin/logwatch", "--logdir", day.path.parent / "logs", *words, check=True)
    text = done.stdout.decode()
    summary = {name: int(n) for n, name in re.findall(r"^ +(\d+)   (\S.*?)  ", text.partition("Detail (")[0], re.M)}
    wanted = {
        "SASL authentication failed": 2,
        "Accepted": 8,
        "Rejected": 5,
        "5xx Reject relay denied": 2,
        "5xx Reject unknown user": 1,
        "5xx Reject RBL": 1,
        "5xx Reject header": 1,
        "Connections": 6,
        "Connections lost (inbound)": 1,
        "Disconnections": 6,
        "Removed from queue": 9,
        "Delivered": 4,
        "Sent via SMTP": 3,
        "Deferrals": 2,
        "Bounced (local)": 1,
        "Bounced (remote)": 1,
        "Notifications sent": 2,
        "SMTP protocol violations": 1,
        "SASL authenticated messages": 1,
    }
    assert {name: summary.get(name) for name in wanted} == wanted, text
    unknown = text.partition("**Unmatched Entries**")[2].partition("---")[0].strip().splitlines()
    assert [line for line in unknown if "made a certificate for here.test" not in line] == []


@pytest.mark.parametrize(
    ("mode", "count"),
    [("normal", 5), ("more", 5), ("auth", 2), ("rbl", 1), ("errors", 1), ("ddos", 3), ("extra", 7), ("aggressive", 10)],
)
def test_fail2ban_in_each_of_its_modes(day, mode, count):
    words = ["-c", READERS / "etc/fail2ban", "-o", "ip", day.path / "maillog", f"postfix[mode={mode}]"]
    environment = day.environment | {"PYTHONPATH": str(READERS / "usr/lib/python3/dist-packages")}
    done = day.run("/usr/bin/python3", READERS / "usr/bin/fail2ban-regex", *words, check=True, env=environment)
    found = [line for line in done.stdout.decode().splitlines() if re.fullmatch(r"[\d.:a-f]+", line)]
    assert len(found) == count, done.stdout.decode()
    assert (LISTED in found) == (mode not in ("auth", "errors", "ddos"))
    assert set(found) <= {"127.0.0.1", LISTED}


def test_postfix_exporter(day):
    wanted = {
        ("postfix_cleanup_messages_processed_total",): 10,
        ("postfix_cleanup_messages_rejected_total",): 1,
        ("postfix_qmgr_messages_inserted_receipients_sum",): 11,
        ("postfix_qmgr_messages_inserted_receipients_count",): 10,
        ("postfix_qmgr_messages_removed_total",): 9,
        ("postfix_smtp_status_deferred_total",): 2,
        ("postfix_smtpd_connections_lost_total", "EHLO"): 1,
        ("postfix_smtpd_messages_rejected_total", "550"): 1,
        ("postfix_smtpd_messages_rejected_total", "554"): 3,
        ("postfix_smtpd_sasl_authentication_failures_total",): 1,  # the other one was at submission, which it ignores
    }
    assert {name: day.exported.get(name) for name in wanted} == wanted, day.log()
