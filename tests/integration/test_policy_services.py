"""check_policy_service end to end: each action, what the server is told, silent servers, and postgrey."""

import contextlib
import grp
import os
import select
import subprocess

import pytest

from tests.integration.instance import LIMIT, me, wait_until
from tests.integration.smtp_server import STRANGERS, Served
from tests.servers.policy_server import PolicyServer

ACTIONS = {
    "sys@here.test": "PREPEND X-Policy: seen",
    "bin@here.test": "HOLD to be looked at",
    "man@here.test": "DISCARD",
    "lp@here.test": "REDIRECT daemon@here.test",
    "mail@here.test": "BCC daemon@here.test",
    "news@here.test": "REJECT 5.7.2 not you",
    "uucp@here.test": "DEFER_IF_PERMIT Greylisted",
    "proxy@here.test": "WARN odd",
    "backup@here.test": None,
    "list@here.test": "FILTER smtp:[127.0.0.1]",
}
GREYLISTED = "450 4.7.1 <uucp@here.test>: Recipient address rejected: Greylisted"


@contextlib.contextmanager
def policed(path, server, **settings):
    """Serve strangers as a policy server says."""
    words = f"check_policy_service {{ unix:{server} timeout=5 try_limit=1 }}"
    with Served(path / "i", **STRANGERS, smtpd_recipient_restrictions=words, **settings) as served:
        served.start()
        yield served


def send(served, to, text="x"):
    with served.connect() as line:
        line.reply()
        for said in ("EHLO c.test", "MAIL FROM:<alice@a.test> SIZE=100"):
            assert line.ask(said)[:3] == "250"
        answer = line.ask(f"RCPT TO:<{to}>")
        if answer[:3] != "250":
            return answer
        line.ask("DATA")
        line.say("Subject: to " + to, "", text, ".")
        return line.reply()


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy")
    with PolicyServer(lambda asked: ACTIONS.get(asked["recipient"], "DUNNO"), f"{path}/policy") as server:
        with policed(path, f"{path}/policy") as served:
            yield served, server


def test_a_field_is_put_above_all_others(story):
    served, _ = story
    assert send(served, "sys@here.test")[:3] == "250"
    text = served.wait_for_mail("sys", b"Subject: to sys")
    assert text.index(b"\nX-Policy: seen\n") < text.index(b"\nReceived: ")


def test_a_message_is_held(story):
    served, _ = story
    assert send(served, "bin@here.test")[:3] == "250"
    [line] = served.wait_for_log("NOQUEUE: hold: RCPT from localhost")
    assert "<bin@here.test>: Recipient address to be looked at; from=<alice@a.test> to=<bin@here.test>" in line
    assert "bin@here.test" in served.mailq()
    assert not served.mailbox("bin")


def test_a_message_is_discarded_redirected_and_copied(story):
    served, _ = story
    for to in ("man@here.test", "lp@here.test", "mail@here.test"):
        assert send(served, to)[:3] == "250"
    served.wait_for_mail("mail", b"Subject: to mail")
    text = served.wait_for_mail("daemon", b"Subject: to ", 2)
    assert b"to lp" in text
    assert b"to mail" in text
    served.wait_for_log("discarded")
    assert not served.mailbox("man")
    assert not served.mailbox("lp")


@pytest.mark.parametrize(
    ("to", "answer"),
    [
        ("news@here.test", "554 5.7.2 <news@here.test>: Recipient address rejected: not you"),
        ("uucp@here.test", GREYLISTED),
        ("backup@here.test", "451 4.3.5 <backup@here.test>: Recipient address rejected: Server configuration problem"),
        ("list@here.test", "451 4.3.5 Server configuration error"),
    ],
)
def test_a_client_is_told(story, to, answer):
    assert send(story[0], to) == answer


def test_the_server_is_told_about_each_recipient_over_one_connection(story):
    served, server = story
    before, connections = len(server.questions), server.connections
    with served.connect() as line:
        line.reply()
        line.say("EHLO c.test", "MAIL FROM:<> SIZE=70", "RCPT TO:<games@here.test>", "RCPT TO:<proxy@here.test>")
        line.say("RSET", "MAIL FROM:<b@a.test>", "RCPT TO:<games@here.test>", "QUIT")
        assert [answer[:3] for answer in line.replies()] == [*["250"] * 7, "221"]
        port = str(line.end.getsockname()[1])
    first, second, third = server.questions[before:]
    assert server.connections - connections <= 1
    assert first["instance"] == second["instance"] != third["instance"]
    assert {k: first[k] for k in ("protocol_state", "protocol_name", "sender", "recipient", "size", "client_port")} == {
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "sender": "",
        "recipient": "games@here.test",
        "size": "70",
        "client_port": port,
    }
    assert (first["helo_name"], first["server_port"], first["queue_id"]) == ("c.test", str(served.port), "")
    served.wait_for_log("warn: Recipient address <proxy@here.test>: odd")


def test_a_server_that_says_nothing_keeps_only_its_own_client_waiting(story):
    served, _ = story
    with served.connect() as waits, served.connect() as line:
        for one in (waits, line):
            one.reply()
            one.ask("EHLO c.test")
            one.ask("MAIL FROM:<a@a.test>")
        waits.say("RCPT TO:<backup@here.test>")
        for _ in range(20):
            assert line.ask("RCPT TO:<games@here.test>")[:3] == "250"
        assert not select.select([waits.end], [], [], 0)[0], "all waited for one server's answer"
        assert waits.reply()[:3] == "451"


def test_a_service_that_is_none_stops_the_start(tmp_path):
    with Served(tmp_path / "i", smtpd_sender_restrictions="check_policy_service private/policy") as served:
        done = served.start(check=False)
        assert done.returncode != 0
        assert (
            "smtpd_sender_restrictions: check_policy_service private/policy: inet:host:port or unix:/path is expected"
            in served.output()
        )


@pytest.mark.real("postgrey")
def test_postgrey_asks_a_stranger_to_come_again_and_then_says_so_in_the_header(tmp_path):
    group = grp.getgrgid(os.getgid()).gr_name
    words = ["--dbdir", tmp_path, "--delay", "1", "--unix", f"{tmp_path}/socket", "--user", me(), "--group", group]
    postgrey = subprocess.Popen(["/usr/sbin/postgrey", *words], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: (tmp_path / "socket").exists(), "postgrey's socket")
        with policed(tmp_path, f"{tmp_path}/socket") as served:
            assert send(served, "sys@here.test").startswith(
                "450 4.2.0 <sys@here.test>: Recipient address rejected: Greyl"
            )
            wait_until(lambda: send(served, "sys@here.test")[:3] == "250", "the end of the delay")
            served.wait_for_mail("sys", b"\nX-Greylist: delayed ")
    finally:
        postgrey.terminate()
        postgrey.wait(LIMIT)
