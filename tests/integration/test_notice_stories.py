"""What the postmaster hears of SMTP sessions (notify_classes): what was refused, and what both sides said."""

import contextlib
import re
from email import message_from_bytes, policy

import pytest

from tests.integration.instance import DOMAIN
from tests.integration.smtp_server import STRANGERS, Served
from tests.servers.smtp_sink import SmtpSink

CLASSES = "policy protocol resource data bounce"


def notices(served, user, count, subject):
    """Wait for notices in a mailbox; returns their texts."""

    def found():
        parts = (b"\n" + served.mailbox(user)).split(b"\nFrom ")[1:]
        texts = [message_from_bytes(part.partition(b"\n")[2], policy=policy.default) for part in parts]
        texts = [text for text in texts if re.search(subject, text["Subject"])]
        return texts if len(texts) >= count else []

    return served.wait_for(found, f"{count} notices {subject!r} for {user}")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(SmtpSink({"RCPT bad@far.test": "503 5.5.1 bad sequence of commands"}))
        settings = {
            "notify_classes": CLASSES,
            "error_notice_recipient": "games",
            "bounce_notice_recipient": "daemon",
            "session_notice_rate_limit": "3",
            "smtpd_error_sleep_time": "0s",
            "relayhost": f"[127.0.0.1]:{sink.port}",
            "smtpd_process_limit": "2",
        }
        served = stack.enter_context(Served(tmp_path_factory.mktemp("notices") / "i", **settings | STRANGERS))
        served.start()
        yield served


def test_a_stranger_who_wants_to_relay_is_one_notice_with_what_was_said(world):
    with world.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<a@c.test>", "RCPT TO:<b@elsewhere.test>", "AUTH PLAIN c2VjcmV0", "QUIT")
        line.replies()
    (notice,) = notices(world, "games", 1, "SMTP server: errors from localhost")
    assert notice["Subject"] == "sendmail-py SMTP server: errors from localhost[127.0.0.1]"
    assert (notice["Return-Path"], notice["Auto-Submitted"]) == (f"<double-bounce@{DOMAIN}>", "auto-generated")
    said = [line.strip() for line in notice.get_content().splitlines() if re.match(" (In|Out): ", line)]
    assert said[0].startswith(f"Out: 220 {DOMAIN}")
    assert [line for line in said if line.startswith("In: ")] == [
        "In:  EHLO c.test",
        "In:  MAIL FROM:<a@c.test>",
        "In:  RCPT TO:<b@elsewhere.test>",
        "In:  AUTH PLAIN *",
        "In:  QUIT",
    ]
    assert any(re.match("Out: 5.. 5.7.1 .*Relay access denied", line) for line in said)
    assert "c2VjcmV0" not in notice.as_string()


def test_an_unknown_recipient_is_the_notice_of_those_who_hear_of_bounces(world):
    with world.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<a@c.test>", f"RCPT TO:<nobodyhere@{DOMAIN}>")
        assert [line.reply()[:3] for _ in range(3)][2] == "550"
    (notice,) = notices(world, "daemon", 1, "SMTP server")
    assert "Out: 550 5.1.1 " in notice.get_content()
    assert "Session aborted, reason: lost connection" in notice.get_content()


def test_a_server_that_does_not_keep_the_protocol_is_told_of_with_the_session(world):
    world.submit(b"Subject: to a bad server\n\nhello\n", "bad@far.test")
    (notice,) = notices(world, "games", 1, "SMTP client: errors from")
    said = notice.get_content()
    assert re.search(r"^ Out: RCPT TO:<bad@far\.test>", said, re.MULTILINE)
    assert " In:  503 5.5.1 bad sequence of commands" in said
    assert "to a bad server" not in said  # what was to be delivered is nobody's business


def test_a_stranger_cannot_make_a_storm_and_the_last_notice_of_the_hour_says_so(world):
    for _ in range(12):
        with world.connect() as line:
            line.reply()
            line.say("EHLO c.test", "MAIL FROM:<a@c.test>", "RCPT TO:<b@elsewhere.test>", "QUIT")
            line.replies()
    texts = notices(world, "games", 3, "SMTP server: errors")
    last = "no more notices of this class (policy): session_notice_rate_limit = 3."
    assert sum(last in text.get_content() for text in texts) == 1  # they come in no particular order
    world.wait_empty()
    assert len(notices(world, "games", 3, "SMTP server: errors")) == 3
    (line,) = world.wait_for_log("the postmaster hears of no more sessions in this hour: policy")
    assert world.log().count("NOQUEUE: reject: RCPT") >= 12  # the log has them all


def test_a_session_without_trouble_is_nobodys_notice(world):
    before = world.mailbox("games").count(b"errors from")
    with world.client() as client:
        client.sendmail("a@c.test", [f"games@{DOMAIN}"], "Subject: nothing wrong\n\nx\n")
    world.wait_for_mail("games", b"Subject: nothing wrong")
    world.wait_empty()
    assert world.mailbox("games").count(b"errors from") == before


def test_a_table_that_cannot_be_asked_and_a_full_disk_are_classes_of_their_own(tmp_path):
    settings = {"notify_classes": "data, resource", "error_notice_recipient": "games"}
    table = f"texthash:{tmp_path}/missing"
    with Served(tmp_path / "i", smtpd_sender_restrictions=f"check_sender_access {table}", **settings) as served:
        served.start()
        served.connect_and_ask("a@c.test")
        (notice,) = notices(served, "games", 1, "SMTP server")
        assert "Out: 451 4.3.0 " in notice.get_content() and "missing" not in notice.get_content()
        served.configure(smtpd_sender_restrictions="", queue_minfree=1 << 60)
        assert served.reload().returncode == 0
        # a server of the old configuration may still take a client
        served.wait_for(lambda: served.connect_and_ask("a@c.test") and resource_notices(served), "a notice of no room")
        assert "Out: 452 4.3.1 " in resource_notices(served)[0].get_content()


def resource_notices(served):
    return [notice for notice in notices(served, "games", 1, "SMTP server") if " 452 " in notice.get_content()]
