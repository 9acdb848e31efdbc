"""The smtp agent finding its hosts by a real name server and going from one to the next."""

import os
import socket
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "servers"))

from agent_harness import AgentProcess
from name_server import NameServer
from silent_host import SilentHost
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
    "backup2.test": {"MX": ["10 mx1.test.", "20 mx2.test."]},
    "twins.test": {"MX": ["10 dead.test.", "10 mx1.test."]},
    "alias-mx.test": {"MX": ["10 alias.test."]},
    "far-alias-mx.test": {"MX": ["10 alias1.test."]},
    "alias1.test": {"CNAME": ["alias2.test."], "leave_cname": True},
    "alias2.test": {"CNAME": ["alias.test."], "leave_cname": True},
    "alias.test": {"CNAME": ["mx1.test."]},
    "alias-domain.test": {"CNAME": ["one.test."], "leave_cname": True},
    "circle.test": {"MX": ["10 round.test."]},
    "round.test": {"CNAME": ["round.test."], "leave_cname": True},
    "address-mx.test": {"MX": ["10 127.0.0.1."]},
    "address-and-mx.test": {"MX": ["10 127.0.0.1.", "20 mx1.test."]},
    "hundred.test": {"MX": [f"{n} mx{n}.hundred.test." for n in range(1, 100)] + ["0 mx1.test."], "truncate": True},
    "half-broken.test": {"MX": ["10 broken.test.", "20 mx1.test."]},
    "wholly-broken.test": {"MX": ["10 broken.test."]},
    "gone-mx.test": {"MX": ["10 gone.test."]},
    "half-null.test": {"MX": ["0 .", "10 mx1.test."]},
    "v6-only.test": {"MX": ["10 v6.test."]},
    "v6.test": {"AAAA": ["::1"]},
    "once.test": {"MX": ["10 mx1.test."], "ttl": 0},
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


@pytest.mark.parametrize(
    "nexthop",
    [
        "one.test",
        "two.test",
        "implicit.test",
        "[mx1.test]",
        "[127.0.0.1]",
        "MX1.test.",
        "alias-mx.test",
        "far-alias-mx.test",
        "alias-domain.test",
        "address-and-mx.test",
        "hundred.test",
        "half-broken.test",
        "half-null.test",
    ],
)
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
        ("circle.test", DEFERRED, "4.4.3"),
        ("address-mx.test", FAILED, "5.4.4"),
        ("wholly-broken.test", DEFERRED, "4.4.3"),
        ("gone-mx.test", FAILED, "5.4.4"),
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


@pytest.mark.parametrize(("verb", "tries_the_next"), [("CONNECT", True), ("MAIL", False)])
def test_no_more_sessions_fail_than_allowed_once_they_take_mail(start, verb, tries_the_next):
    with SmtpSink(replies={verb: "421 4.3.2 no"}) as one, SmtpSink(host="127.0.0.2", port=one.port) as two:
        agent = start(one.port, smtp_mx_session_limit=1)
        assert agent.result("backup.test").outcome is (SENT if tries_the_next else DEFERRED)
        assert two.connections == tries_the_next


def test_many_messages_cost_few_questions(start, dns):
    with SmtpSink() as sink:
        agent = start(sink.port)
        before = len(dns.questions)
        numbers = [agent.give("one.test", agent.delivery()) for _ in range(20)]
        assert {agent.results(n)[0, 0].outcome for n in numbers} == {SENT}
        assert len(dns.questions) - before == 4  # MX, AAAA and A, and the record of MTA-STS


def test_an_answer_of_ttl_zero_is_asked_for_with_each_message(start, dns):
    with SmtpSink() as sink:
        agent = start(sink.port, smtp_connection_cache_time_limit=0)
        before = dns.questions.count(("once.test", "MX", "udp"))
        assert [agent.result("once.test").outcome for _ in range(3)] == [SENT] * 3
        assert dns.questions.count(("once.test", "MX", "udp")) - before == 3


def test_an_ipv6_host_needs_no_ipv4(start):
    if not _has_ipv6():
        pytest.skip("no IPv6 on loopback here")
    with SmtpSink(host="::1") as sink:
        result = start(sink.port).result("v6-only.test")
        assert (result.outcome, result.relay) == (SENT, f"v6.test[::1]:{sink.port}")


def test_a_silent_host_costs_no_time_out_beside_a_living_one(start):
    with SmtpSink() as sink, SilentHost("127.0.0.3", sink.port):
        agent = start(sink.port, smtp_connect_timeout="600s", smtp_connection_cache_time_limit=0)
        assert {agent.result("twins.test").outcome for _ in range(5)} == {SENT}
        assert sink.connections == 5


def test_silent_ipv6_costs_no_time_out(start):
    if not _has_ipv6():
        pytest.skip("no IPv6 on loopback here")
    with SmtpSink() as sink, SilentHost("::1", sink.port):
        agent = start(sink.port, smtp_connect_timeout="600s", smtp_address_preference="ipv6")
        assert agent.result("six.test").outcome is SENT


def test_a_backup_waits_for_the_time_out_of_the_better_host_once(start):
    with SmtpSink() as sink, SilentHost("127.0.0.3", sink.port):
        agent = start(sink.port, smtp_connect_timeout="1s", smtp_connection_cache_time_limit=0)
        assert [agent.result("two.test").outcome for _ in range(4)] == [SENT] * 4
        assert agent.log().count(f"connect to dead.test[127.0.0.3]:{sink.port}: Connection timed out") == 1


def test_a_silent_host_alone_is_waited_for(start):
    with SmtpSink() as sink, SilentHost("127.0.0.3", sink.port):
        agent = start(sink.port, smtp_connect_timeout="1s")
        for _ in range(2):
            result = agent.result("[dead.test]")
            assert (result.outcome, result.status) == (DEFERRED, "4.4.1")
            assert result.reason == f"connect to dead.test[127.0.0.3]:{sink.port}: Connection timed out"


def test_connections_come_from_the_address_that_is_wanted(start):
    with SmtpSink() as sink:
        agent = start(sink.port, smtp_bind_address="127.0.0.9", smtp_bind_address6="2001:db8::1")
        assert agent.result("one.test").outcome is SENT
        assert sink.clients == ["127.0.0.9"]


def test_an_address_that_is_not_ours_is_a_warning_or_lets_mail_wait(start):
    with SmtpSink() as sink:
        agent = start(sink.port, smtp_bind_address="192.0.2.1")
        assert agent.result("one.test").outcome is SENT
        text = f"connect to mx1.test[127.0.0.1]:{sink.port} from 192.0.2.1: Cannot assign requested address"
        assert f"warning: smtp_bind_address: {text}" in agent.log()
        agent = start(sink.port, smtp_bind_address="192.0.2.1", smtp_bind_address_enforce="yes")
        result = agent.result("one.test")
        assert (result.outcome, result.status, result.reason) == (DEFERRED, "4.4.1", text)


@pytest.mark.parametrize(
    ("settings", "connections"),
    [
        ({}, 1),
        ({"smtp_connection_cache_on_demand": "no"}, 3),
        ({"smtp_connection_cache_on_demand": "no", "smtp_connection_cache_destinations": "static:all"}, 1),
        ({"smtp_connection_cache_on_demand": "no", "smtp_connection_cache_destinations": "Backup.test"}, 2),
        ({"smtp_connection_cache_time_limit": "0"}, 3),
        ({"smtp_connection_reuse_count_limit": "2"}, 2),
        ({"smtp_connection_reuse_time_limit": "1"}, 1),
    ],
)
def test_domains_with_the_same_host_share_its_connection(start, settings, connections):
    with SmtpSink() as sink:
        agent = start(sink.port, **{"smtp_connection_cache_time_limit": "30s"} | settings)
        for nexthop in ("backup.test", "backup2.test", "one.test"):
            assert agent.result(nexthop).outcome is SENT
        assert (sink.connections, len(sink.messages)) == (connections, 3)


def test_a_session_with_a_worse_host_is_not_used_where_the_better_one_is_back(start):
    with SmtpSink(host="127.0.0.2") as worse:
        agent = start(worse.port, smtp_connection_cache_time_limit="30s")
        assert agent.result("backup.test").relay.startswith("mx2.test")
        with SmtpSink(port=worse.port) as better:
            assert agent.result("backup2.test").relay.startswith("mx1.test")
            assert better.connections == 1


def _has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
