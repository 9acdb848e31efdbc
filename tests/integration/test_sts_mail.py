"""Mail to domains with a policy of MTA-STS: each mode against each defect of a mail exchanger, and stories.

All cells are one agent, each with a domain and a server of its own. T: sent under TLS, C: sent in clear, d: deferred,
and nothing of the message said in clear.
"""

import ssl
from itertools import product

import pytest

from sendmail_py.core.result import Outcome
from sendmail_py.formats.sts import from_json
from tests.integration.agent_harness import AgentProcess
from tests.integration.test_tls_levels import seen
from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost, policy
from tests.servers.secure_sink import SecureSink
from tests.servers.silent_host import SilentHost

GRID = """
                      enforce  testing  none
fine                  T        T        T
expired               d        T        T
wrong name            d        T        T
name of the domain    d        T        T
self-signed           d        T        T
unknown authority     d        T        T
not offered           d        C        C
refused               d        C        C
injection             d        d        d
broken handshake      d        C        C
old version           d        C        C
weak cipher           d        C        C
not in the policy     d        T        T
under a star          T        T        T
two labels below      d        T        T
wildcard certificate  T        T        T
"""
MODES, *ROWS = (line for line in GRID.splitlines() if line)
MODES = MODES.split()
TABLE = {(row[:22].strip(), mode): cell for row in ROWS for mode, cell in zip(MODES, row[22:].split(), strict=True)}
DEFECTS = list(dict.fromkeys(defect for defect, _ in TABLE))
SERVERS = {
    "not offered": {"starttls": False},
    "refused": {"replies": {"STARTTLS": "454 4.7.0 TLS not available"}},
    "injection": {"replies": {"STARTTLS": "220 go PLUS 250 injected\\r\\n"}},
    "broken handshake": {"replies": {"STARTTLS": ["220 go DROP"]}},
}
STATUS = {"not offered": "4.7.4", "refused": "4.7.4", "injection": "4.5.0"}
SENT, DEFERRED = Outcome.DELIVERED, Outcome.DEFERRED
GOES = "(testing: mail goes there all the same)"


def record(version="1"):
    return {"TXT": [f'"v=STSv1; id={version}"']}


def zone_of(domain, *hosts, version="1", ttl=60):
    """Return what DNS has of a domain with some mail exchangers, the best first."""
    zone = {domain: {"MX": [f"{10 + n} {host}." for n, host in enumerate(hosts)]}}
    zone |= {f"_mta-sts.{domain}": record(version) | {"ttl": ttl}, f"mta-sts.{domain}": {"A": ["127.0.0.1"]}}
    return zone | {host: {"A": ["127.0.0.1"]} for host in hosts}


def start(tmp_path, authority, names, host, **settings):
    """Return an agent that heeds policies."""
    given = {
        "resolver_nameservers": names.address,
        "data_directory": tmp_path / "data",
        "smtp_tls_CAfile": authority.file,
        "smtp_mta_sts_port": host.port,
        "smtp_permit_loopback_mx": "yes",
        "smtp_connection_cache_time_limit": "0",
    }
    (tmp_path / "data").mkdir(exist_ok=True)
    return AgentProcess(tmp_path, myhostname="client.test", **given | settings)


def place_of(defect, mode):
    """Return a domain, its mail exchanger, and the pattern that its policy has for that."""
    domain = f"{mode}{DEFECTS.index(defect)}.test"
    host = f"{'a.' if defect == 'two labels below' else ''}mx.{domain}"
    pattern = f"*.{domain}" if defect in ("under a star", "two labels below") else host
    return domain, host, f"other.{domain}" if defect == "not in the policy" else pattern


def server(defect, domain, host, ours, stranger):
    """Return a server with a defect."""
    names = {"wrong name": "other.test", "name of the domain": domain, "wildcard certificate": f"*.{domain}"}
    of = {"expired": defect == "expired", "self_signed": defect == "self-signed"}
    authority = stranger if defect == "unknown authority" else ours
    sink = SecureSink(authority.certificate(names.get(defect, host), **of), **SERVERS.get(defect, {}))
    if defect == "old version":
        sink.context.set_ciphers("ALL:@SECLEVEL=0")
        sink.context.minimum_version = sink.context.maximum_version = ssl.TLSVersion.TLSv1_1
    if defect == "weak cipher":
        sink.context.maximum_version = ssl.TLSVersion.TLSv1_2
        sink.context.set_ciphers("ECDHE+AESGCM")
    return sink


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Send to all the servers at once; returns {cell: (result, server, log lines)}."""
    tmp_path = tmp_path_factory.mktemp("modes")
    ours, stranger = Authority(tmp_path), Authority(tmp_path, "Somebody Else")
    sinks, pages, zone = {}, {}, {}
    for cell in TABLE:
        domain, host, pattern = place_of(*cell)
        sinks[cell] = server(cell[0], domain, host, ours, stranger)
        pages[domain] = policy(cell[1], pattern)
        zone |= zone_of(domain, host)
    for sink in sinks.values():
        sink.__enter__()
    settings = {"smtp_tls_exclude_ciphers": "AESGCM", "smtp_log_tls_feature_status": "yes"}
    with NameServer(zone) as names, PolicyHost(ours, pages) as policies:
        with start(tmp_path, ours, names, policies, **settings) as agent:
            given = {
                cell: agent.give(f"{place_of(*cell)[0]}:{sink.port}", agent.delivery()) for cell, sink in sinks.items()
            }
            results = {cell: agent.results(number)[0, 0] for cell, number in given.items()}
            log = agent.log().splitlines()
    for sink in sinks.values():
        sink.__exit__()
    return {cell: (results[cell], sink, [x for x in log if place_of(*cell)[0] in x]) for cell, sink in sinks.items()}


@pytest.mark.parametrize("cell", list(product(DEFECTS, MODES)), ids="-".join)
def test_the_cell_is_as_written(outcomes, cell):
    result, sink, log = outcomes[cell]
    letter = seen(sink)
    if letter == "d":
        assert (result.outcome, result.status) == (DEFERRED, STATUS.get(cell[0], "4.7.5"))
    else:
        assert result.outcome is SENT
    assert letter == TABLE[cell]
    refused = TABLE[cell[0], "enforce"] == "d" and cell[0] != "injection"
    assert any(GOES in line for line in log) == (cell[1] == "testing" and refused)
    if cell == ("not in the policy", "enforce"):
        assert sink.connections == 0
    if cell[1] == "enforce" and letter == "T":
        assert sink.names == [place_of(*cell)[1]]  # asked for by SNI


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def test_a_host_that_the_policy_does_not_take_is_passed_over_for_the_next(tmp_path, authority):
    hosts = ["mx1.a.test", "mx2.a.test", "mx3.a.test"]
    zone = zone_of("a.test", *hosts)
    zone["mx2.a.test"]["A"], zone["mx3.a.test"]["A"] = ["127.0.0.2"], ["127.0.0.3"]
    pages = {"a.test": policy("enforce", "mx2.a.test", "mx3.a.test")}
    with (
        SecureSink(authority.certificate("mx1.a.test")) as unnamed,
        SecureSink(authority.certificate("other.test"), host="127.0.0.2", port=unnamed.port) as wrong,
        SecureSink(authority.certificate("mx3.a.test"), host="127.0.0.3", port=unnamed.port) as right,
        NameServer(zone) as names,
        PolicyHost(authority, pages) as policies,
        start(tmp_path, authority, names, policies) as agent,
    ):
        assert agent.result(f"a.test:{unnamed.port}").outcome is SENT
        assert [len(sink.messages) for sink in (unnamed, wrong, right)] == [0, 0, 1]
        assert (unnamed.connections, wrong.connections) == (0, 1)
        assert "MTA-STS: the policy of a.test does not name host mx1.a.test: mx2.a.test mx3.a.test" in agent.log()
        assert "it is for other.test, not for mx2.a.test" in agent.log()


def test_a_policy_outlasts_the_agent_and_the_policy_host_and_the_record(tmp_path, authority):
    zone = zone_of("a.test", "mx.a.test", ttl=0)
    with SecureSink(authority.certificate("other.test")) as sink, NameServer(zone) as names:
        hop = f"a.test:{sink.port}"
        with PolicyHost(authority, {"a.test": policy("enforce", "mx.a.test")}) as policies:
            with start(tmp_path, authority, names, policies) as agent:
                assert agent.result(hop).outcome is DEFERRED
        (file,) = (tmp_path / "data/sts").iterdir()
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        for change in ({}, {"_mta-sts.a.test": record("2")}, {"_mta-sts.a.test": {}}):
            names.zone |= change
            with start(tmp_path, authority, names, policies) as agent:
                assert (agent.result(hop).outcome, sink.messages) == (DEFERRED, [])
        kept = from_json(file.read_text())
        assert (kept.id, kept.failed_id) == ("1", "2")


def test_a_new_policy_lets_mail_go_that_waited_for_the_old_one(tmp_path, authority):
    zone = zone_of("a.test", "mx.a.test", ttl=0)
    pages = {"a.test": policy("enforce", "other.a.test")}
    with (
        SecureSink(authority.certificate("mx.a.test")) as sink,
        NameServer(zone) as names,
        PolicyHost(authority, pages) as policies,
    ):
        for version, mode, outcome in (("1", "enforce", DEFERRED), ("1", "none", DEFERRED), ("2", "none", SENT)):
            names.zone["_mta-sts.a.test"] = record(version) | {"ttl": 0}
            policies.pages["a.test"] = policy(mode, "other.a.test")
            with start(tmp_path, authority, names, policies) as agent:
                assert agent.result(f"a.test:{sink.port}").outcome is outcome
        assert policies.times("a.test") == 2


def test_many_messages_and_two_agents_fetch_once(tmp_path, authority):
    zone = zone_of("a.test", "mx.a.test")
    pages = {"a.test": {"delay": 0.5, "body": policy("enforce", "mx.a.test")}}
    (tmp_path / "second").mkdir()
    with (
        SecureSink(authority.certificate("mx.a.test")) as sink,
        NameServer(zone) as names,
        PolicyHost(authority, pages) as policies,
        start(tmp_path, authority, names, policies) as agent,
        start(tmp_path / "second", authority, names, policies, data_directory=tmp_path / "data") as second,
    ):
        given = [(a, a.give(f"a.test:{sink.port}", a.delivery())) for a in (agent, second) for _ in range(5)]
        assert {a.results(number)[0, 0].outcome for a, number in given} == {SENT}
        assert policies.times("a.test") == 1


HOLES = {
    "host.test": {"mta-sts.host.test": {"A": ["127.0.0.7"]}},
    "address.test": {"mta-sts.address.test": {"silent": True}},
    "record.test": {"_mta-sts.record.test": {"silent": True}},
}
SAID = {
    "host.test": "no policy of host.test: mta-sts.host.test did not answer within 8 s",
    "address.test": "no policy of address.test: mta-sts.address.test: the name servers did not answer in time",
    "record.test": "the TXT record of _mta-sts.record.test cannot be had: the name servers did not answer in time",
}


def test_black_holes_hold_up_no_other_mail_and_that_of_their_own_for_so_long(tmp_path, authority):
    zone = zone_of("other.test", "mx.other.test")
    for domain, hole in HOLES.items():
        zone |= zone_of(domain, f"mx.{domain}") | hole
    pages = {"other.test": policy("enforce", "mx.other.test")}
    with (
        SecureSink(authority.certificate("mx.other.test")) as sink,
        NameServer(zone) as names,
        PolicyHost(authority, pages) as policies,
        SilentHost("127.0.0.7", policies.port),
        start(tmp_path, authority, names, policies, smtp_mta_sts_timeout="8s", resolver_timeout="8s") as agent,
    ):
        waiting = [agent.give(f"{domain}:{sink.port}", agent.delivery()) for domain in HOLES for _ in range(10)]
        others = [agent.give(f"other.test:{sink.port}", agent.delivery()) for _ in range(10)]
        assert {agent.results(number)[0, 0].outcome for number in others} == {SENT}
        assert len(sink.messages) == 10, "other mail has waited for them"
        assert {agent.results(number)[0, 0].outcome for number in waiting} == {SENT}
        assert len(sink.messages) == 40
        asked = [agent.log().count(said) for said in SAID.values()]
        assert asked[:2] == [1, 1] and asked[2] >= 1
        assert {agent.result(f"{domain}:{sink.port}").outcome for domain in HOLES} == {SENT}
        assert [agent.log().count(said) for said in SAID.values()] == asked, "one was asked again"


@pytest.mark.parametrize("settings", [{"smtp_mta_sts": "no"}, {"smtp_tls_security_level": "none"}, {}])
def test_who_has_turned_it_off_or_says_more_of_a_destination_needs_no_policy(settings, tmp_path, authority):
    with (
        SecureSink(authority.certificate("other.test")) as sink,
        NameServer(zone_of("a.test", "mx.a.test")) as names,
        PolicyHost(authority, {"a.test": policy("enforce", "mx.a.test")}) as policies,
    ):
        hop = f"a.test:{sink.port}"
        settings = settings or {"smtp_tls_policy_maps": f"inline:{{ {{{hop} = may}} }}"}
        with start(tmp_path, authority, names, policies, **settings) as agent:
            assert agent.result(hop).outcome is SENT
        assert policies.asked == []


def test_a_host_in_brackets_has_no_policy(tmp_path, authority):
    with (
        SecureSink(authority.certificate("other.test")) as sink,
        NameServer(zone_of("mx.a.test", "mx.a.test")) as names,
        PolicyHost(authority, {"mx.a.test": policy("enforce", "nobody.test")}) as policies,
        start(tmp_path, authority, names, policies) as agent,
    ):
        assert agent.result(f"[mx.a.test]:{sink.port}").outcome is SENT
        assert not [name for name, kind, _ in names.questions if kind == "TXT"]


def test_a_certificate_of_another_authority_than_main_cf_has_makes_no_policy_host(tmp_path, authority):
    stranger = Authority(tmp_path, "Somebody Else")
    with (
        SecureSink(authority.certificate("other.test")) as sink,
        NameServer(zone_of("a.test", "mx.a.test")) as names,
        PolicyHost(stranger, {"a.test": policy("enforce", "mx.a.test")}) as policies,
        start(tmp_path, authority, names, policies) as agent,
    ):
        assert agent.result(f"a.test:{sink.port}").outcome is SENT
        assert "MTA-STS: no policy of a.test: mta-sts.a.test: unable to get local issuer certificate" in agent.log()


def test_where_the_disk_takes_no_policy_it_counts_for_the_process(tmp_path, authority):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sts").write_text("no directory")
    with (
        SecureSink(authority.certificate("other.test")) as sink,
        NameServer(zone_of("a.test", "mx.a.test")) as names,
        PolicyHost(authority, {"a.test": policy("enforce", "mx.a.test")}) as policies,
        start(tmp_path, authority, names, policies) as agent,
    ):
        assert {agent.result(f"a.test:{sink.port}").outcome for _ in range(3)} == {DEFERRED}
        assert policies.times("a.test") == 1
        assert agent.log().count("no policy outlasts this process") == 1
