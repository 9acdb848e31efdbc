"""The smtp agent finding its hosts by a real name server and going from one to the next."""

import os
import socket
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "servers"))

from agent_harness import AgentProcess
from name_server import NameServer
from smtp_sink import SmtpSink

from sendmail_py.core.result import Outcome

SENT, DEFERRED, FAILED = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED
ZONE = {
    "one.test": {"MX": ["10 mx1.test."]},
    "two.test": {"MX": ["10 dead.test.", "20 mx1.test."]},
    "backup.test": {"MX": ["10 mx1.test.", "20 mx2.test."]},
    "implicit.test": {"A": ["127.0.0.1"]},
    "mx1.test": {"A": ["127.0.0.1"]},
    "mx2.test": {"A": ["127.0.0.2"]},
    "dead.test": {"A": ["127.0.0.3"]},
    "null.test": {"MX": ["0 ."]},
    "broken.test": {"rcode": "SERVFAIL"},
    "silent.test": {"silent": True},
    "own.test": {"MX": ["10 client.test.", "20 mx1.test."]},
    "six.test": {"MX": ["10 both.test."]},
    "both.test": {"A": ["127.0.0.1"], "AAAA": ["2001:db8::dead", "::1"]},
    "many.test": {"A": [f"127.0.1.{n}" for n in range(1, 20)]},
}


@pytest.fixture(scope="module")
def dns():
    with NameServer(ZONE) as server:
        yield server


@pytest.fixture
def start(tmp_path, dns):
    """Start an agent whose port is that of a sink and whose DNS is the test's."""
    running = []

    def begin(port, **settings):
        settings.setdefault("smtp_permit_loopback_mx", "yes")
        agent = AgentProcess(
            tmp_path, myhostname="client.test", smtp_tcp_port=port, resolver_nameservers=dns.address, **settings
        )
        running.append(agent.__enter__())
        return agent

    yield begin
    for agent in running:
        agent.__exit__()


@pytest.mark.parametrize("nexthop", ["one.test", "two.test", "implicit.test", "[mx1.test]", "[127.0.0.1]", "MX1.test."])
def test_mail_goes_to_the_hosts_that_dns_names(start, nexthop):
    with SmtpSink() as sink:
        agent = start(sink.port)
        result = agent.result(nexthop)
        assert result.outcome is SENT
        assert result.relay.endswith(f"[127.0.0.1]:{sink.port}")


def test_a_failed_connection_is_logged_before_the_next_host_is_tried(start):
    with SmtpSink() as sink:
        agent = start(sink.port)
        assert agent.result("two.test").outcome is SENT
        assert f"connect to dead.test[127.0.0.3]:{sink.port}: Connection refused" in agent.log()


@pytest.mark.parametrize(
    ("nexthop", "outcome", "status"),
    [
        ("nowhere.test", FAILED, "5.1.2"),
        ("null.test", FAILED, "5.1.10"),
        ("broken.test", DEFERRED, "4.4.3"),
        ("silent.test", DEFERRED, "4.4.3"),
        ("own.test", FAILED, "5.4.6"),
        ("client.test", FAILED, "5.1.2"),
        ("[nowhere.test]", FAILED, "5.1.2"),
        ("no/hop at:all", FAILED, "5.1.2"),
    ],
)
def test_a_destination_without_hosts_has_its_verdict(start, nexthop, outcome, status):
    agent = start(25, resolver_timeout="1s")
    result = agent.result(nexthop)
    assert (result.outcome, result.status, result.relay) == (outcome, status, "none")


def test_a_relayhost_that_cannot_be_is_a_mistake_of_ours_and_mail_waits(start):
    agent = start(25, relayhost="nowhere.test")
    result = agent.result("nowhere.test")
    assert (result.outcome, result.status) == (DEFERRED, "4.3.5")
    assert "warning: configuration problem with the nexthop" in agent.log()


@pytest.mark.parametrize(
    "nexthop", ["one.test", "implicit.test", "[127.0.0.1]", "[mx1.test]", "[IPv6:::1]", "[0.0.0.0]"]
)
def test_nobody_is_led_to_loopback(start, nexthop):
    with SmtpSink() as sink:
        agent = start(sink.port, smtp_permit_loopback_mx="no")
        result = agent.result(nexthop)
        assert (result.outcome, result.status) == (DEFERRED, "4.4.4")
        assert sink.connections == 0


@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "450 4.3.0 busy", "554 5.3.2 no"])
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO"])
def test_the_next_host_is_tried_when_one_refuses_to_talk(start, verb, reply):
    replies = {verb: reply, "HELO": reply}
    with SmtpSink(replies=replies, host="127.0.0.1") as rude, SmtpSink(host="127.0.0.2", port=rude.port) as kind:
        agent = start(rude.port)
        results = agent.send("backup.test", agent.delivery(), agent.delivery())
        assert {r.outcome for r in results.values()} == {SENT}
        assert (len(rude.messages), len(kind.messages)) == (0, 2)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_the_next_host_takes_what_a_broken_session_left(start, verb):
    replies = {verb: ["NORMAL", "NORMAL", "421 4.3.2 closing DROP"]}
    with SmtpSink(replies=replies, host="127.0.0.1") as rude, SmtpSink(host="127.0.0.2", port=rude.port) as kind:
        agent = start(rude.port)
        results = agent.send("backup.test", *(agent.delivery() for _ in range(5)))
        assert {r.outcome for r in results.values()} == {SENT}
        assert (len(rude.messages), len(kind.messages)) == (2, 3)


def test_a_message_that_may_have_arrived_is_not_sent_to_the_next_host(start):
    with (
        SmtpSink(replies={"DOT": "DROP"}, host="127.0.0.1") as rude,
        SmtpSink(host="127.0.0.2", port=rude.port) as kind,
    ):
        agent = start(rude.port)
        result = agent.result("backup.test")
        assert result.outcome is DEFERRED
        assert result.reason.endswith("-- message may be sent more than once")
        assert not kind.messages


def test_a_refused_recipient_is_not_offered_to_the_next_host(start):
    with SmtpSink(replies={"RCPT": "550 5.1.1 no"}) as rude, SmtpSink(host="127.0.0.2", port=rude.port) as kind:
        agent = start(rude.port)
        assert agent.result("backup.test").outcome is FAILED
        assert kind.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_family_alone_is_enough(start, host):
    if host == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 on loopback here")
    with SmtpSink(host=host) as sink:
        agent = start(sink.port, smtp_connect_timeout="1s")
        assert agent.result("six.test").outcome is SENT


@pytest.mark.parametrize("protocol", ["ipv4", "ipv6"])
def test_only_the_protocols_in_use_are_tried(start, protocol):
    with SmtpSink(host="127.0.0.1") as sink:
        agent = start(sink.port, inet_protocols=protocol, smtp_connect_timeout="1s")
        assert agent.result("six.test").outcome is (SENT if protocol == "ipv4" else DEFERRED)


def test_no_more_addresses_are_tried_than_allowed(start):
    with SmtpSink() as sink:
        agent = start(sink.port, smtp_mx_address_limit=3)
        assert agent.result("many.test").outcome is DEFERRED
        assert agent.log().count(": connect to many.test[") == 3


def test_no_more_sessions_fail_than_allowed(start):
    with SmtpSink(replies={"CONNECT": "421 4.3.2 no"}) as one, SmtpSink(host="127.0.0.2", port=one.port) as two:
        agent = start(one.port, smtp_mx_session_limit=1)
        assert agent.result("backup.test").outcome is DEFERRED
        assert two.connections == 0


def test_many_messages_cost_few_questions(start, dns):
    with SmtpSink() as sink:
        agent = start(sink.port)
        before = len(dns.questions)
        numbers = [agent.give("one.test", agent.delivery()) for _ in range(20)]
        assert {agent.results(n)[0, 0].outcome for n in numbers} == {SENT}
        assert len(dns.questions) - before == 3


def _has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
