"""Mail to other hosts: real look-ups at a little name server, real sessions with little mail servers."""

import contextlib
import re
import threading

import pytest

from tests.integration.instance import DOMAIN, Instance, me
from tests.servers.name_server import NameServer
from tests.servers.smtp_sink import SmtpSink, path

ZONE = {
    "simple.test": {"MX": ["10 one.test."]},
    "preferred.test": {"MX": ["20 one.test.", "10 two.test."]},
    "fallback.test": {"MX": ["10 dead.test.", "20 two.test."]},
    "implicit.test": {"A": ["127.0.0.2"]},
    "null.test": {"MX": ["0 ."]},
    "ourselves.test": {"MX": [f"10 {DOMAIN}.", "20 one.test."]},
    "failing.test": {"rcode": "SERVFAIL"},
    "relay.test": {"MX": ["10 two.test."], "A": ["127.0.0.1"]},
    "one.test": {"A": ["127.0.0.1"]},
    "two.test": {"A": ["127.0.0.2"]},
    "dead.test": {"A": ["127.0.0.3"]},
    DOMAIN: {"A": ["127.0.0.9"]},
}


class World:
    """An instance, the name server it asks, and two mail servers at 127.0.0.1 and 127.0.0.2."""

    def __init__(self, path, stack, **settings):
        self.names = stack.enter_context(NameServer(dict(ZONE)))
        self.one = stack.enter_context(SmtpSink())
        self.two = stack.enter_context(SmtpSink(host="127.0.0.2", port=self.one.port))
        self.instance = Instance(
            path,
            resolver_nameservers=self.names.address,
            smtp_tcp_port=self.one.port,
            minimal_backoff_time="1s",
            maximal_backoff_time="1s",
            **settings,
        )
        stack.enter_context(self.instance)

    def send(self, subject, *words, body=b"hello\n"):
        self.instance.submit(f"Subject: {subject}\n\n".encode() + body, "-i", *words)

    def wait_for(self, sink, subject, count=1):
        """Wait until a mail server has messages with this subject; returns them."""

        def found():
            wanted = f"Subject: {subject}\r\n".encode()
            messages = [message for message in sink.messages if wanted in message.content]
            return messages if len(messages) >= count else []

        return self.instance.wait_for(found, f"{subject!r} at the mail server")

    def bounce_of(self, recipient):
        """Wait for the bounce for a recipient in our mailbox and return its status field."""
        mailbox = self.instance.wait_for_mail(me(), f"Final-Recipient: rfc822; {recipient}\n".encode()).decode()
        return re.search(r"\nStatus: (\S+)\n", mailbox[mailbox.index(f"Final-Recipient: rfc822; {recipient}\n") :])[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        world = World(tmp_path_factory.mktemp("relay") / "i", stack)
        world.instance.start()
        yield world


@pytest.fixture
def make_world(tmp_path):
    """Make a world of one's own, with settings; the services are not started."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: World(tmp_path / "i", stack, **settings)


# --- where it goes -------------------------------------------------------------------------------


def test_mail_to_a_domain_goes_to_its_mail_exchanger(world):
    world.send("plain", "someone@simple.test")
    (message,) = world.wait_for(world.one, "plain")
    assert [path(message.sender), *map(path, message.recipients)] == [f"<{me()}@{DOMAIN}>", "<someone@simple.test>"]
    (line,) = world.instance.wait_for_log("to=<someone@simple.test>")
    assert f"relay=one.test[127.0.0.1]:{world.one.port}, " in line
    assert re.search(r"delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, status=sent \(250 2\.0\.0 ", line)


def test_the_best_preference_is_tried_first(world):
    world.send("preferred", "someone@preferred.test")
    world.wait_for(world.two, "preferred")


def test_when_a_host_does_not_answer_the_next_one_is_tried(world):
    world.send("fallback", "someone@fallback.test")
    world.wait_for(world.two, "fallback")


def test_a_domain_without_mx_is_reached_by_its_address(world):
    world.send("implicit", "someone@implicit.test")
    world.wait_for(world.two, "implicit")


def test_recipients_at_one_domain_share_one_transaction(world):
    world.send("shared", "a@simple.test", "b@simple.test", "c@simple.test")
    (message,) = world.wait_for(world.one, "shared")
    assert len(message.recipients) == 3


def test_lines_that_begin_with_a_dot_arrive_as_they_are(world):
    world.send("dots", "someone@simple.test", body=b".\n..\n.a\n")
    (message,) = world.wait_for(world.one, "dots")
    assert message.content.endswith(b"\r\n\r\n.\r\n..\r\n.a\r\n")


# --- what fails at once ----------------------------------------------------------------------------


def test_a_null_mx_bounces_with_5_1_10(world):
    world.send("null", "x@null.test")
    assert world.bounce_of("x@null.test") == "5.1.10"


def test_a_domain_that_does_not_exist_bounces_with_5_1_2(world):
    world.send("gone", "x@does-not-exist.test")
    assert world.bounce_of("x@does-not-exist.test") == "5.1.2"


def test_a_domain_whose_best_exchanger_is_this_host_bounces_with_5_4_6(world):
    world.send("ourselves", "x@ourselves.test")
    assert world.bounce_of("x@ourselves.test") == "5.4.6"


def test_a_recipient_refused_with_5xx_bounces_with_what_the_server_said(world):
    world.one.replies["RCPT refused@simple.test"] = "550 5.1.1 we never heard of refused"
    world.send("refused", "refused@simple.test")
    assert world.bounce_of("refused@simple.test") == "5.1.1"
    text = world.instance.mailbox(me()).replace(b"\n    ", b" ")
    assert b"Diagnostic-Code: smtp; 550 5.1.1 we never heard of refused\n" in text


# --- what waits --------------------------------------------------------------------------------------


def test_a_failing_name_server_keeps_the_mail_and_mailq_says_why(world):
    world.send("servfail", "x@failing.test")
    world.instance.wait_for_log("to=<x@failing.test>.*dsn=4.4.3, status=deferred")
    listing = world.instance.wait_for(lambda: (m := world.instance.mailq()) and "x@failing.test" in m and m, "in mailq")
    lines = listing.splitlines()
    reason = lines[next(n for n, line in enumerate(lines) if "x@failing.test" in line) - 1]
    assert re.fullmatch(r" *\(.*failing\.test.*\)", reason), listing
    world.names.zone["failing.test"] = {"MX": ["10 one.test."]}
    world.wait_for(world.one, "servfail")


def test_a_4xx_reply_defers_and_the_next_attempt_succeeds(world):
    world.one.replies["RCPT later@simple.test"] = ["451 4.7.1 come back later", "NORMAL"]
    world.send("later", "later@simple.test")
    world.wait_for(world.one, "later")
    deferred, sent = world.instance.wait_for_log("to=<later@simple.test>", count=2)
    assert "dsn=4.7.1, status=deferred (host one.test[127.0.0.1] said: 451 4.7.1 come back later" in deferred
    assert "status=sent" in sent


def test_each_recipient_has_its_own_end(world):
    world.one.replies["RCPT no@simple.test"] = "550 5.1.1 no"
    world.one.replies["RCPT wait@simple.test"] = ["450 4.2.1 wait", "NORMAL"]
    world.send("three ends", "yes@simple.test", "no@simple.test", "wait@simple.test")
    first, second = world.wait_for(world.one, "three ends", count=2)
    assert [[path(r) for r in m.recipients] for m in (first, second)] == [["<yes@simple.test>"], ["<wait@simple.test>"]]
    assert world.bounce_of("no@simple.test") == "5.1.1"
    world.instance.wait_for_log("to=<wait@simple.test>.*status=sent")


def test_a_connection_lost_after_the_final_dot_is_tried_again_and_the_log_warns_of_a_duplicate(world):
    world.one.replies["DOT"] = ["DROP", "NORMAL"]
    world.send("lost", "lost@simple.test")
    world.wait_for(world.one, "lost", count=2)
    assert (
        "message may be sent more than once" in world.instance.wait_for_log("to=<lost@simple.test>.*status=deferred")[0]
    )
    world.instance.wait_for_log("to=<lost@simple.test>.*status=sent")


# --- with settings of their own ----------------------------------------------------------------------


@pytest.mark.parametrize("relayhost, address", [("relay.test", "127.0.0.2"), ("[relay.test]", "127.0.0.1")])
def test_relayhost_takes_all_mail_and_brackets_turn_mx_look_up_off(make_world, relayhost, address):
    world = make_world(relayhost=relayhost)
    world.instance.start()
    world.send("relayed", "x@simple.test", "y@null.test", me())
    sink = {"127.0.0.1": world.one, "127.0.0.2": world.two}[address]
    (message,) = world.wait_for(sink, "relayed")
    assert sorted(map(path, message.recipients)) == ["<x@simple.test>", "<y@null.test>"]
    world.instance.wait_for_mail(me(), b"Subject: relayed")


def test_mail_that_has_expired_bounces_with_the_last_reason(make_world):
    world = make_world(maximal_queue_lifetime="0s")
    world.one.replies["RCPT"] = "450 4.2.1 mailbox busy for ever"
    world.instance.start()
    world.send("expired", "x@simple.test")
    world.bounce_of("x@simple.test")
    text = " ".join(world.instance.mailbox(me()).decode().split())
    assert re.search(r"<x@simple\.test>: host .* said: 450 4\.2\.1 mailbox busy [^<]*\(message expired\)", text)
    assert world.instance.wait_for_log("status=expired, returned to sender")
    world.instance.wait_empty()


def test_without_permission_an_exchanger_at_a_loopback_address_is_refused(make_world):
    world = make_world(smtp_permit_loopback_mx="no")
    world.instance.start()
    world.send("loopback", "x@simple.test")
    world.instance.wait_for_log("to=<x@simple.test>.*status=(bounced|deferred)")
    assert not world.one.connections


def test_a_stop_lets_the_delivery_in_progress_finish(make_world):
    """The server takes the content and answers only after the stop has begun."""
    world = make_world()
    inside, go_on = threading.Event(), threading.Event()

    def hold(number, message):
        inside.set()
        assert go_on.wait(60)

    world.one.on_message = hold
    world.instance.start()
    world.send("in progress", "x@simple.test")
    assert inside.wait(60)
    stopper = threading.Thread(target=world.instance.stop)
    stopper.start()
    world.instance.wait_for_log(r"master\[\d+\]: stopping")
    go_on.set()
    stopper.join(60)
    assert not stopper.is_alive()
    assert world.instance.wait_for_log("to=<x@simple.test>.*status=sent")
    assert (len(world.one.messages), world.instance.count()) == (1, 0)


def test_a_stop_waits_no_longer_than_stop_timeout_and_the_mail_stays(make_world):
    world = make_world(stop_timeout="1s")
    world.one.replies["DOT"] = ["SILENT", "NORMAL"]
    world.instance.start()
    world.send("no answer", "x@simple.test")
    world.instance.wait_for(lambda: world.one.messages, "the content at the silent server")
    world.instance.stop()
    assert world.instance.count() == 1
    world.instance.start()
    world.instance.wait_for_log("to=<x@simple.test>.*status=sent")
    assert world.instance.wait_for_log("a delivery may be repeated|message may be sent more than once")
