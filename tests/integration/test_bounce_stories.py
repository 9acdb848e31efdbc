"""Bounces and warnings as they arrive, read by Python's email and by flufl.bounce, which reads them for Mailman."""

import contextlib
import json
import os
import re
import signal
from email import message_from_bytes, policy

import pytest
from flufl.bounce import all_failures, scan_message

from tests.integration.instance import DOMAIN, Instance, me
from tests.servers.smtp_sink import SmtpSink

TEMPLATES = """\
failure_template = <<EOF
Charset: utf-8
From: MAILER-DAEMON (Postamt)
Subject: Unzustellbare Nachricht zurück

Grüße von $myhostname: es ging $maximal_queue_lifetime_days Tage lang nicht.
EOF

success_template = <<EOF

$nosuchparameter
EOF
"""


class World:
    """An instance whose mail for other hosts goes to a little mail server, and the mailboxes with the reports."""

    def __init__(self, path, stack, **settings):
        self.sink = stack.enter_context(SmtpSink())
        relayhost = f"[127.0.0.1]:{self.sink.port}"
        times = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
        self.instance = Instance(path, relayhost=relayhost, **times, **settings)
        (path / "bounce.cf").write_text(TEMPLATES, "utf-8")
        stack.enter_context(self.instance)

    def send(self, subject, *words):
        self.instance.submit(f"Subject: {subject}\nMessage-Id: <{subject}@here>\n\nhello\n".encode(), "-i", *words)

    def reports(self, subject, count=1, user=""):
        """Wait for reports on a message in a mailbox; returns them, read by Python's email."""
        path = self.instance.path / "mail" / (user or me())

        def found():
            text = path.read_bytes() if path.exists() else b""
            parts = [part for part in (b"\n" + text).split(b"\nFrom ")[1:] if f"Subject: {subject}\n".encode() in part]
            return parts if len(parts) >= count else []

        parts = self.instance.wait_for(found, f"{count} reports on {subject!r}")
        return [message_from_bytes(part.partition(b"\n")[2], policy=policy.default) for part in parts]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        path = tmp_path_factory.mktemp("bounces") / "i"
        settings = {"bounce_template_file": "$config_directory/bounce.cf", "delay_warning_time": "1s"}
        settings |= {
            "notify_classes": "2bounce",
            "2bounce_notice_recipient": "games",
            "enable_threaded_bounces": "yes",
        }
        world = World(path, stack, **settings)
        world.instance.start()
        yield world


def test_a_bounce_is_worded_by_the_administrators_template_and_read_by_mailing_lists(world):
    world.sink.replies["RCPT gone@far.test"] = "550 5.1.1 no such user"
    world.send("worded", "gone@far.test")
    (report,) = world.reports("worded")
    assert not any(part.defects for part in report.walk())
    assert report["Subject"] == "Unzustellbare Nachricht zurück"
    assert f"\nFrom: MAILER-DAEMON@{DOMAIN} (Postamt)\n" in world.instance.mailbox(me()).decode()
    assert report["In-Reply-To"] == "<worded@here>"
    text, status, original = report.iter_parts()
    assert text.get_content().startswith(f"Grüße von {DOMAIN}: es ging 5 Tage lang nicht.\n")
    assert original.get_content()["Subject"] == "worded"
    assert status.get_content_type() == "message/delivery-status"
    assert all_failures(report) == (set(), {b"gone@far.test"})


def test_a_template_with_a_fault_is_named_at_start(world):
    log = world.instance.log()
    fault = "success_template: $nosuchparameter: there is no such parameter; it is left out"
    assert f"bounce_template_file: {world.instance.path}/bounce.cf, line 9: {fault}\n" in log


def test_the_sender_is_warned_once_of_a_delay(world):
    world.sink.replies["RCPT slow@far.test"] = "451 4.2.1 come back later"
    world.send("delayed", "slow@far.test")
    (report,) = world.reports("delayed")
    assert report["Subject"] == "Delayed Mail (still being retried)"
    text, status, original = report.iter_parts()
    assert "after\n1 second or more" in text.get_content()
    assert original.get_content_type() == "text/rfc822-headers"
    assert status.get_payload(1)["Action"] == "delayed" and status.get_payload(1)["Will-Retry-Until"]
    assert all_failures(report) == ({b"slow@far.test"}, set())
    tried = len(world.instance.wait_for_log("to=<slow@far.test>.*status=deferred"))
    world.instance.wait_for_log("to=<slow@far.test>.*status=deferred", tried + 1)
    del world.sink.replies["RCPT slow@far.test"]
    world.instance.wait_for_log("to=<slow@far.test>.*status=sent")
    assert len(world.reports("delayed")) == 1


def test_a_bounce_that_nobody_takes_is_the_postmasters(world):
    world.sink.replies["RCPT nobody@far.test"] = "550 5.1.1 no"
    world.send("double", "-f", "<>", "nobody@far.test")
    (report,) = world.reports("double", user="games")
    assert report["Subject"] == "Postmaster Copy: Undelivered Mail"
    assert report["To"] == f"games@{DOMAIN}"
    assert report["Return-Path"] == f"<double-bounce@{DOMAIN}>"
    assert list(report.iter_parts())[2].get_content_type() == "text/rfc822-headers"
    assert scan_message(report) == {b"nobody@far.test"}


def test_mail_to_the_sender_of_notices_ends_there(world):
    world.send("nowhere", f"double-bounce@{DOMAIN}")
    (line,) = world.instance.wait_for_log(f"to=<double-bounce@{DOMAIN}>")
    assert "status=sent (undeliverable postmaster notification discarded)" in line


def test_the_postmaster_hears_of_a_message_that_cannot_be_read(tmp_path):
    with contextlib.ExitStack() as stack:
        settings = {"error_notice_recipient": "games", "2bounce_notice_recipient": "games"}
        world = World(tmp_path / "i", stack, **settings)
        (world.instance.path / "queue" / "incoming" / "0123456789ABC").write_bytes(b"no queue file\n")
        world.instance.start()
        (notice,) = world.reports("A message cannot be read", user="games")
        assert "0123456789ABC: moved to corrupt/: not a queue file" in notice.get_content()
        assert (notice["Return-Path"], notice["Auto-Submitted"]) == (f"<double-bounce@{DOMAIN}>", "auto-generated")
        world.instance.mailctl("queue", "delete", "--queue", "corrupt", check=True)
        assert list((world.instance.path / "queue" / "corrupt").iterdir()) == []


def test_a_storm_of_failures_is_a_few_bounces_and_one_digest_though_the_queue_manager_is_killed(tmp_path):
    with contextlib.ExitStack() as stack:
        settings = {"report_rate_limit": 5, "bounce_notice_recipient": "games", "queue_run_delay": "1s"}
        world = World(tmp_path / "i", stack, service_throttle_time="1s", **settings)
        instance = world.instance
        world.sink.replies["RCPT gone@far.test"] = world.sink.replies["RCPT bad@far.test"] = "550 5.1.1 no"
        instance.start()
        for number in range(24):
            world.send(f"storm-{number}", "gone@far.test")
            if number == 12:
                os.kill(instance.wait_for(lambda: instance.pid_of("qmgr"), "qmgr is ready"), signal.SIGKILL)
        for number in range(8):  # to a sender whose server refuses the bounces too
            world.send(f"echo-{number}", "-f", "bad@far.test", "gone@far.test")
        instance.wait_empty()

        # Each counts once: the kill may fall between a bounce's delivery and its mark.
        bounces = set(re.findall(rb"^Subject: (storm-\d+)$", instance.mailbox(me()), re.MULTILINE))
        withheld = set(
            re.findall(r"warning: (\w+): report to <\S+> withheld: it has had report_rate_limit = 5", instance.log())
        )
        known = dict(re.findall(r": (\w+): message-id=<((?:storm|echo)-\d+)@here>", instance.log()))
        assert 5 <= len(bounces) <= 10  # an hour of each of the two queue managers
        dropped = set(re.findall(r"(\w+): undeliverable bounce dropped", instance.log()))
        assert 5 <= len(dropped) <= 10 and "undeliverable postmaster" not in instance.log()

        path = instance.path / "data" / "withheld-reports"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps([row[0] - 3601, *row[1:]]) + "\n" for row in rows))
        (digest,) = world.reports(f"{len(rows)} delivery reports were withheld", user="games")
        told = set(re.findall(r"^  (\w+): <gone@far\.test> bounced 5\.1\.1 ", digest.get_content(), re.MULTILINE))
        assert told == withheld and len(told) >= 32 - 20
        assert {known[i] for i in told if known[i].startswith("storm")} | {b.decode() for b in bounces} == {
            f"storm-{number}" for number in range(24)
        }
        assert {known[i] for i in told if known[i].startswith("echo")} and not path.exists()
        instance.wait_empty()
        assert instance.mailbox("games").count(b"Return-Path:") == 1
        assert world.sink.messages == []
