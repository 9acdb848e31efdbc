"""DANE over more than one message: whose word counts, what is asked of DNS and how often, and who waits for whom."""

from contextlib import contextmanager

import pytest

from sendmail_py.core.result import Outcome
from tests.integration.agent_harness import AgentProcess
from tests.servers.certificates import Authority, association, read
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost, policy
from tests.servers.secure_sink import SecureSink

SENT, DEFERRED = Outcome.DELIVERED, Outcome.DEFERRED


class World:
    """A mail exchanger with records, the name server that knows them, and agents that look there."""

    def __init__(self, tmp_path, kind=(3, 1, 1), matches=True):
        self.tmp_path = tmp_path
        self.authority = Authority(tmp_path)
        self.path = self.authority.certificate("mx.a.test", shows_authority=True)
        self.sink = SecureSink(self.path)
        other = self.authority.certificate("other.test")
        who = self.authority.file if kind[0] == 2 else self.path if matches else other
        text = " ".join(map(str, kind)) + " " + association(*kind[1:], read(who)).hex()
        self.service = f"_{self.sink.port}._tcp.mx.a.test"
        self.dns = NameServer(
            {
                "a.test": {"MX": ["10 mx.a.test."], "secure": True},
                "mx.a.test": {"A": ["127.0.0.1"], "secure": True},
                self.service: {"TLSA": [text], "secure": True},
            }
        )
        self.nexthop = f"a.test:{self.sink.port}"

    def __enter__(self):
        self.sink.__enter__()
        self.dns.__enter__()
        return self

    def __exit__(self, *_):
        self.dns.__exit__()
        self.sink.__exit__()

    def agent(self, **settings):
        values = {"smtp_tls_security_level": "dane", "smtp_tls_loglevel": 1, "smtp_mta_sts": "no"} | settings
        values = {"resolver_nameservers": self.dns.address} | values
        return AgentProcess(self.tmp_path, myhostname="client.test", smtp_permit_loopback_mx="yes", **values)

    def asked(self, kind):
        return [name for name, asked, _ in self.dns.questions if asked == kind]


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as world:
        yield world


@pytest.fixture
def mismatch(tmp_path):
    with World(tmp_path, matches=False) as world:
        yield world


def test_the_server_is_verified_and_asked_for_by_its_own_name(world):
    with world.agent() as agent:
        assert agent.result(world.nexthop).outcome is SENT
        assert f"Verified TLS connection established to mx.a.test[127.0.0.1]:{world.sink.port}: TLSv1.3" in agent.log()
    assert world.sink.names == ["mx.a.test"]


def test_what_does_not_match_says_so(mismatch):
    with mismatch.agent() as agent:
        result = agent.result(mismatch.nexthop)
    assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
    assert result.reason.startswith("Server certificate not verified: it matches none of the TLSA records (host mx.a.")


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, True),
        ({"resolver_trusted_nameservers": "192.0.2.0/24, 127.0.0.1"}, True),
        ({"resolver_trusted_nameservers": "192.0.2.53"}, False),
        ({"resolver_trusted_nameservers": "!127.0.0.1, 127.0.0.0/8"}, False),
        ({"smtp_dns_support_level": "enabled"}, False),
    ],
)
def test_a_name_server_that_is_not_trusted_tells_nothing_of_dnssec(mismatch, settings, counts):
    with mismatch.agent(**settings) as agent:
        results = [agent.result(mismatch.nexthop) for _ in range(2)]
        said = agent.log().count("there is no name server whose word on DNSSEC counts")
    assert [result.outcome for result in results] == ([DEFERRED] * 2 if counts else [SENT] * 2)
    assert said == (0 if counts else 1)
    assert bool(mismatch.asked("TLSA")) == counts


def test_without_a_trusted_name_server_dane_only_waits(world):
    with world.agent(smtp_tls_security_level="dane-only", resolver_trusted_nameservers="") as agent:
        result = agent.result(world.nexthop)
    assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
    assert world.sink.connections == 0


def test_what_the_trusted_name_server_finds_forged_no_other_is_asked(world):
    world.dns.zone[world.service] = {"rcode": "SERVFAIL"}
    unsigned = {name: {**entry, "secure": False} for name, entry in world.dns.zone.items() if "rcode" not in entry}
    with NameServer(unsigned, host="127.0.0.2") as other:
        servers = f"{world.dns.address}, {other.address}"
        with world.agent(resolver_nameservers=servers, resolver_trusted_nameservers="127.0.0.1") as agent:
            result = agent.result(world.nexthop)
    assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
    assert result.reason.startswith(f"TLSA lookup error for mx.a.test:{world.sink.port}: ")
    assert other.questions == []


@pytest.mark.parametrize(
    ("policy", "outcome", "trust"), [("dane", DEFERRED, ""), ("encrypt", SENT, "Untrusted"), ("may", SENT, "Untrusted")]
)
def test_an_unsigned_mx_record_is_worth_what_main_cf_says(mismatch, policy, outcome, trust):
    mismatch.dns.zone["a.test"]["secure"] = False
    with mismatch.agent(smtp_tls_dane_insecure_mx_policy=policy, smtp_connection_cache_time_limit=0) as agent:
        assert agent.result(mismatch.nexthop).outcome is outcome
        assert f"{trust} TLS connection established" in agent.log() or not trust
        mismatch.sink.starttls = False
        result = agent.result(mismatch.nexthop)
    assert result.outcome is (SENT if policy == "may" else DEFERRED)


def test_the_next_mail_exchanger_is_tried_where_one_does_not_do(tmp_path, mismatch):
    with SecureSink(mismatch.path, host="127.0.0.2", port=mismatch.sink.port) as second:
        zone = mismatch.dns.zone
        zone["a.test"]["MX"] = ["10 mx.a.test.", "20 mx2.a.test."]
        zone["mx2.a.test"] = {"A": ["127.0.0.2"], "secure": True}
        right = association(1, 1, read(mismatch.path)).hex()
        zone[f"_{mismatch.sink.port}._tcp.mx2.a.test"] = {"TLSA": [f"3 1 1 {right}"], "secure": True}
        with mismatch.agent() as agent:
            assert agent.result(mismatch.nexthop).outcome is SENT
            zone[mismatch.service] = {"rcode": "SERVFAIL"}
        with mismatch.agent() as agent:
            assert agent.result(mismatch.nexthop).outcome is SENT
    assert len(second.messages) == 2
    assert not mismatch.sink.messages


def test_one_asks_for_many_messages_and_the_answer_is_kept_for_its_ttl(world):
    with world.agent() as agent:
        given = [agent.give(world.nexthop, agent.delivery()) for _ in range(20)]
        assert {agent.results(number)[0, 0].outcome for number in given} == {SENT}
        assert agent.result(world.nexthop).outcome is SENT
        assert world.asked("TLSA") == [world.service]
    world.dns.zone[world.service]["ttl"] = 0
    world.dns.questions.clear()
    with world.agent(smtp_connection_cache_time_limit=0) as agent:
        assert {agent.result(world.nexthop).outcome for _ in range(2)} == {SENT}
    assert len(world.asked("TLSA")) >= 2


def test_a_new_record_counts_as_soon_as_the_old_one_has_ended(world):
    entry = world.dns.zone[world.service]
    entry["ttl"] = 0
    with world.agent(smtp_connection_cache_time_limit=0) as agent:
        assert agent.result(world.nexthop).outcome is SENT
        entry["TLSA"] = [f"3 1 1 {'ab' * 32}"]
        assert agent.result(world.nexthop).status == "4.7.5"


def test_a_silent_name_server_holds_up_its_own_domain_alone(world):
    zone = world.dns.zone
    zone["slow.test"] = {"MX": ["10 mx.slow.test."], "secure": True}
    zone["mx.slow.test"] = {"A": ["127.0.0.1"], "secure": True}
    slow = f"_{world.sink.port}._tcp.mx.slow.test"
    zone[slow] = {"silent": True}
    with world.agent() as agent:
        waiting = agent.give(f"slow.test:{world.sink.port}", agent.delivery())
        others = [agent.give(world.nexthop, agent.delivery()) for _ in range(20)]
        assert {agent.results(number)[0, 0].outcome for number in others} == {SENT}
        assert waiting not in agent._done
        zone[slow] = {**zone[world.service]}
        assert agent.results(waiting)[0, 0].outcome is SENT


def test_a_name_server_in_trouble_is_asked_once_for_a_while(world):
    world.dns.zone[world.service] = {"rcode": "SERVFAIL"}
    with world.agent() as agent:
        assert {agent.result(world.nexthop).status for _ in range(3)} == {"4.7.5"}
    assert world.asked("TLSA") == [world.service]


def test_sessions_are_resumed_also_where_an_authority_is_the_anchor(tmp_path):
    with World(tmp_path, (2, 0, 1)) as world, world.agent(smtp_connection_cache_time_limit=0) as agent:
        assert {agent.result(world.nexthop).outcome for _ in range(3)} == {SENT}
        assert world.sink.resumed == [False, True, True]


def test_domains_of_one_mail_exchanger_share_its_connection(world):
    world.dns.zone["b.test"] = {**world.dns.zone["a.test"]}
    with world.agent(smtp_connection_cache_time_limit="60s") as agent:
        assert agent.result(world.nexthop).outcome is SENT
        assert agent.result(f"b.test:{world.sink.port}").outcome is SENT
    assert world.sink.connections == 1


@contextmanager
def sts(world, *names):
    """A policy under enforce with these names; gives the settings of an agent that can fetch it."""
    world.dns.zone["_mta-sts.a.test"] = {"TXT": ['"v=STSv1; id=1"']}
    world.dns.zone["mta-sts.a.test"] = {"A": ["127.0.0.1"]}
    with PolicyHost(world.authority, {"a.test": policy("enforce", *names)}) as host:
        settings = {"smtp_mta_sts": "yes", "smtp_mta_sts_port": host.port, "smtp_tls_CAfile": world.authority.file}
        yield {**settings, "data_directory": world.tmp_path / "data"}


@pytest.mark.parametrize(("name", "outcome"), [("mx.a.test", SENT), ("other.test", DEFERRED)])
def test_where_the_mx_record_is_unsigned_the_policy_of_mta_sts_has_to_name_the_host_too(world, name, outcome):
    world.dns.zone["a.test"]["secure"] = False
    with sts(world, name) as settings, world.agent(**settings) as agent:
        assert agent.result(world.nexthop).outcome is outcome
        assert ("Trusted TLS connection established" in agent.log()) == (outcome is SENT)


def test_where_all_is_signed_mta_sts_is_not_asked(world):
    with sts(world, "other.test") as settings, world.agent(**settings) as agent:
        assert agent.result(world.nexthop).outcome is SENT
    assert not world.asked("TXT")


def test_dane_wins_over_mta_sts(mismatch):
    """The policy names the host, whose certificate is good; its record is not for it."""
    with sts(mismatch, "mx.a.test") as settings:
        with mismatch.agent(**settings) as agent:
            assert agent.result(mismatch.nexthop).status == "4.7.5"
            mismatch.dns.zone[mismatch.service] = {}
        with mismatch.agent(**settings) as agent:
            assert agent.result(mismatch.nexthop).outcome is SENT
            assert "Verified TLS connection established" in agent.log()


@pytest.mark.parametrize(("matches", "outcome"), [(True, SENT), (False, DEFERRED)])
def test_it_holds_with_tls_from_the_first_octet(tmp_path, matches, outcome):
    with World(tmp_path, matches=matches) as world:
        world.sink.implicit = True
        with world.agent(smtp_tls_wrappermode="yes") as agent:
            assert agent.result(world.nexthop).outcome is outcome


def test_the_policy_maps_ask_for_it_by_destination(tmp_path, mismatch):
    for name in ("b", "c"):
        mismatch.dns.zone[f"{name}.test"] = {**mismatch.dns.zone["a.test"]}
    hops = [f"{name}.test:{mismatch.sink.port}" for name in ("b", "c")]
    (tmp_path / "policies").write_text(f"{mismatch.nexthop} dane\n{hops[0]} dane-only protocols=TLSv1.3\n")
    maps = {"smtp_tls_policy_maps": f"texthash:{tmp_path}/policies", "smtp_connection_cache_time_limit": 0}
    with mismatch.agent(smtp_tls_security_level="may", **maps) as agent:
        assert [agent.result(hop).outcome for hop in (mismatch.nexthop, *hops)] == [DEFERRED, DEFERRED, SENT]
    (tmp_path / "policies").write_text(f"{mismatch.nexthop} may\n")
    with mismatch.agent(**maps) as agent:
        assert [agent.result(hop).outcome for hop in (mismatch.nexthop, *hops)] == [SENT, DEFERRED, DEFERRED]


@pytest.mark.parametrize(("level", "outcome"), [("dane", SENT), ("encrypt", DEFERRED)])
def test_a_server_that_matches_is_verified_as_far_as_passwords_go(tmp_path, world, level, outcome):
    world.sink.logins, world.sink.mechanisms = {"user": "secret"}, "PLAIN"
    passwords = tmp_path / "passwords"
    passwords.write_text("mx.a.test user:secret\n")
    passwords.chmod(0o600)
    settings = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": f"texthash:{passwords}"}
    settings |= {"smtp_sasl_tls_security_options": "noplaintext", "smtp_sasl_tls_verified_security_options": ""}
    with world.agent(smtp_tls_security_level=level, **settings) as agent:
        assert agent.result(world.nexthop).outcome is outcome
    assert bool(world.sink.attempts) == (outcome is SENT)
