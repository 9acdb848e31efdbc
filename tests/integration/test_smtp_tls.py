"""The smtp agent and TLS: each level against servers that have it, have it not, or have it wrong."""

import hashlib
import shutil
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sendmail_py.core.result import Outcome
from tests.integration.agent_harness import agents
from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.servers.ports import free_port
from tests.servers.secure_sink import SecureSink
from tests.servers.smtp_sink import SmtpSink

SENT, DEFERRED = Outcome.DELIVERED, Outcome.DEFERRED
REQUIRED = ["encrypt", "verify", "secure"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority):
    """A certificate for the server as its nexthop is written."""
    return authority.certificate("127.0.0.1", "mx.test")


@pytest.fixture
def start(tmp_path, authority):
    """Start an agent for a server: start(sink, parameter=...) returns it and the nexthop."""
    with agents(tmp_path, smtp_tls_CAfile=authority.file, smtp_tls_loglevel=1) as begin:
        yield begin


def all_in_tls(sink):
    """Say whether everything but the way into TLS came inside it."""
    return bool(sink.seen_as) and all(secure for _, secure, _ in sink.seen_as)


@pytest.mark.parametrize("level", ["may", *REQUIRED])
def test_a_message_goes_by_starttls(level, start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level=level)
        result = agent.result(hop, content=b"Subject: x\n\n.dot\nno end")
        assert (result.outcome, result.status) == (SENT, "2.0.0")
        assert sink.messages[0].content == b"Subject: x\r\n\r\n.dot\r\nno end\r\n"
        assert all_in_tls(sink)
        assert sink.commands.count("EHLO client.test") == 2
        trust = "Verified" if level in ("verify", "secure") else "Untrusted"
        line = f"{trust} TLS connection established to 127.0.0.1[127.0.0.1]:{sink.port}: TLSv1.3 with cipher TLS_"
        assert line in agent.log()


@pytest.mark.parametrize("level", ["may", *REQUIRED])
def test_a_message_goes_by_tls_from_the_first_octet(level, start, certificate):
    with SecureSink(certificate, implicit=True) as sink:
        agent, hop = start(sink, smtp_tls_security_level=level, smtp_tls_wrappermode="yes")
        assert agent.result(hop).outcome is SENT
        assert all_in_tls(sink)
        assert sink.commands.count("EHLO client.test") == 1


def test_may_is_the_default_and_asks_for_no_certificate(start, authority):
    with SecureSink(authority.certificate("other.test", self_signed=True, expired=True)) as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is SENT
        assert all_in_tls(sink)


def test_none_does_not_ask_for_tls(start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level="none")
        assert agent.result(hop).outcome is SENT
        assert (sink.tls, "STARTTLS" in sink.commands) == ([], False)


def test_may_goes_in_clear_where_tls_is_not_offered(start):
    with SmtpSink() as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is SENT
        assert sink.connections == 1


def test_may_goes_in_clear_in_the_same_session_where_tls_is_refused(start, certificate):
    with SecureSink(certificate, replies={"STARTTLS": "454 4.7.0 TLS not available"}) as sink:
        agent, hop = start(sink)
        assert agent.result(hop).outcome is SENT
        assert (sink.connections, sink.tls) == (1, [])


def test_a_server_that_closes_instead_of_starting_tls_is_tried_later(start, certificate):
    with SecureSink(certificate, replies={"STARTTLS": "421 4.3.2 closing DROP"}) as sink:
        agent, hop = start(sink)
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.3.2")
        assert result.reason == "host 127.0.0.1[127.0.0.1] refused to talk to me: 421 4.3.2 closing"


def test_may_tries_again_in_clear_where_the_handshake_fails(start, certificate):
    with SecureSink(certificate, replies={"STARTTLS": "MUTE"}) as sink:
        agent, hop = start(sink, smtp_starttls_timeout="3s")
        sink.context = None
        assert agent.result(hop).outcome is SENT
        assert sink.connections == 2
        assert "Cannot start TLS: " in agent.log()
        assert "trying again without TLS" in agent.log()


@pytest.mark.parametrize("level", REQUIRED)
def test_where_tls_is_required_and_not_offered_nothing_goes(level, start):
    with SmtpSink() as sink:
        agent, hop = start(sink, smtp_tls_security_level=level)
        result = agent.result(hop)
        host = "127.0.0.1[127.0.0.1]"
        assert (result.outcome, result.status) == (DEFERRED, "4.7.4")
        assert result.reason == f"TLS is required, but was not offered by host {host}"
        assert not [c for c in sink.commands if c[:4] not in ("EHLO", "QUIT")]


@pytest.mark.parametrize("reply", ["454 4.7.0 TLS not available", "500 5.5.1 what?", "421 4.3.0 closing", "250 sure"])
def test_where_tls_is_required_and_refused_nothing_goes(reply, start, certificate):
    with SecureSink(certificate, replies={"STARTTLS": reply}) as sink:
        agent, hop = start(sink, smtp_tls_security_level="encrypt")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.4")
        assert result.reason.endswith(f"refused to start TLS: {reply}")
        assert sink.seen_as == []


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("names", "how", "level", "why"),
    [
        (["127.0.0.1"], {"self_signed": True}, "secure", "self-signed certificate"),
        (["127.0.0.1"], {"expired": True}, "secure", "certificate has expired"),
        (["127.0.0.1"], {"expired": True}, "verify", "certificate has expired"),
        (["other.test", "192.0.2.1"], {}, "secure", "it is for other.test, 192.0.2.1, not for 127.0.0.1"),
        (["other.test"], {}, "verify", "it is for other.test, not for 127.0.0.1"),
    ],
)
def test_a_wrong_certificate_defers_with_its_reason(names, how, level, why, implicit, start, authority):
    with SecureSink(authority.certificate(*names, **how), implicit=implicit) as sink:
        agent, hop = start(sink, smtp_tls_security_level=level, smtp_tls_wrappermode="yes" if implicit else "no")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
        assert why in result.reason
        assert sink.seen_as == []


def test_a_certificate_of_an_unknown_authority_defers(start, tmp_path):
    stranger = Authority(tmp_path, "Somebody Else")
    with SecureSink(stranger.certificate("127.0.0.1")) as sink:
        agent, hop = start(sink, smtp_tls_security_level="secure")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
        assert "unable to get local issuer certificate" in result.reason
        assert sink.seen_as == []


def test_the_systems_authorities_do_not_vouch_for_a_stranger(start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level="secure", smtp_tls_CAfile="")
        assert agent.result(hop).status == "4.7.5"
        assert sink.seen_as == []


def test_a_server_that_names_another_host_is_wanted_may_be_named_by_the_administrator(start, authority):
    with SecureSink(authority.certificate("*.provider.test")) as sink:
        agent, hop = start(sink, smtp_tls_security_level="secure", smtp_tls_secure_cert_match="mx.provider.test")
        assert agent.result(hop).outcome is SENT


@pytest.mark.parametrize("level", ["may", "encrypt"])
@pytest.mark.parametrize("injected", [r"250 injected\r\n", r"250-half", r"\x16\x03\x01"])
def test_clear_text_after_the_reply_to_starttls_ends_the_session(injected, level, start, certificate):
    with SecureSink(certificate, replies={"STARTTLS": f"220 go PLUS {injected}"}) as sink:
        agent, hop = start(sink, smtp_tls_security_level=level, smtp_mx_session_limit=1)
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.5.0")
        assert "protocol error" in result.reason
        assert (sink.messages, sink.seen_as) == ([], [])


@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_a_server_in_clear_where_tls_was_to_begin_at_once_defers(level, start):
    with SmtpSink() as sink:
        agent, hop = start(sink, smtp_tls_security_level=level, smtp_tls_wrappermode="yes")
        result = agent.result(hop)
        assert result.outcome is DEFERRED
        assert sink.commands == []


def test_a_handshake_that_never_ends_is_given_up(start, certificate):
    with SecureSink(certificate, replies={"STARTTLS": "MUTE", "EHLO": "250-mx\n250 STARTTLS"}) as sink:
        agent, hop = start(sink, smtp_tls_security_level="encrypt", smtp_starttls_timeout="3s")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
        assert sink.seen_as == []


@pytest.mark.parametrize("reply", ["DROP", "220 go DROP"])
@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_a_connection_that_is_lost_on_the_way_into_tls(reply, level, start, certificate):
    with SecureSink(certificate, replies={"STARTTLS": [reply]}) as sink:
        agent, hop = start(sink, smtp_tls_security_level=level, smtp_mx_session_limit=1)
        result = agent.result(hop)
        if (reply, level) == ("220 go DROP", "may"):
            assert result.outcome is SENT
            assert "trying again without TLS" in agent.log()
        else:
            assert (result.outcome, result.status[0]) == (DEFERRED, "4")
            assert sink.seen_as == []


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT", "QUIT"])
def test_a_connection_that_is_lost_within_tls_is_lost_as_any_other(verb, start, certificate):
    with SecureSink(certificate, replies={verb: "DROP"}) as sink:
        agent, hop = start(sink, smtp_tls_security_level="encrypt", smtp_mx_session_limit=1)
        result = agent.result(hop)
        if verb == "QUIT":
            assert result.outcome is SENT
        else:
            assert (result.outcome, result.status) == (DEFERRED, "4.4.2")
            assert "lost connection with" in result.reason


def test_a_server_that_falls_silent_within_tls_is_given_up(start, certificate):
    with SecureSink(certificate, replies={"MAIL": "SILENT"}) as sink:
        agent, hop = start(sink, smtp_tls_security_level="encrypt", smtp_mail_timeout="1s")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.4.2")
        assert "timed out while sending MAIL FROM" in result.reason


def test_certificates_of_authorities_that_cannot_be_read_defer(start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level="secure", smtp_tls_CAfile="/nowhere/at/all.pem")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.3.5")
        assert "/nowhere/at/all.pem" in result.reason
        assert sink.connections == 0


def test_versions_that_have_nothing_in_common_defer(start, certificate):
    with SecureSink(certificate) as sink:
        sink.context.minimum_version = sink.context.maximum_version
        agent, hop = start(sink, smtp_tls_security_level="encrypt", smtp_tls_mandatory_protocols="TLSv1.2")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
        assert "version" in result.reason


def test_the_version_is_the_one_that_is_asked_for(start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level="encrypt", smtp_tls_mandatory_protocols="!TLSv1.3")
        assert agent.result(hop).outcome is SENT
        assert sink.tls == ["TLSv1.2"]


def test_a_large_message_and_many_messages_share_the_connection(start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level="encrypt")
        large = b"Subject: x\n\n" + b"0123456789abcdef" * 60 + b"\n"
        large += b"y" * 900 + b"\n" + (b"z" * 70 + b"\n") * 60_000
        results = agent.send(hop, agent.delivery(content=large), *(agent.delivery() for _ in range(9)))
        assert {r.outcome for r in results.values()} == {SENT}
        assert sink.connections == 1
        assert sink.messages[0].content == large.replace(b"\n", b"\r\n")


def test_nobody_listening_is_the_same_with_tls(start, certificate):
    with SecureSink(certificate) as sink:
        agent, _ = start(sink, smtp_tls_security_level="encrypt", smtp_tls_wrappermode="yes")
        result = agent.result(f"[127.0.0.1]:{free_port()}")
        assert result.outcome is DEFERRED


def test_a_destination_has_the_policy_that_the_map_gives_it(start, tmp_path, authority):
    policies = tmp_path / "policies"
    with SecureSink(authority.certificate("mx.provider.test")) as sink, SmtpSink() as clear:
        policies.write_text(f"[127.0.0.1]:{sink.port} secure match=mx.provider.test\n[127.0.0.1]:{clear.port} none\n")
        agent, hop = start(
            sink,
            smtp_tls_security_level="encrypt",
            smtp_tls_policy_maps=f"hash:{policies}",
            smtp_connection_cache_time_limit=0,
            smtp_permit_loopback_mx="yes",
        )
        assert agent.result(hop).outcome is SENT
        assert "Verified TLS connection established" in agent.log()
        assert agent.result(f"[127.0.0.1]:{clear.port}").outcome is SENT
        policies.write_text(f"[127.0.0.1]:{sink.port} secure\n")
        assert agent.result(f"[127.0.0.1]:{clear.port}").status == "4.7.4"
        assert agent.result(hop).status == "4.7.5"


@pytest.mark.parametrize("text", ["dane match=mx.test", "secure ciphers=best", None])
def test_a_policy_that_cannot_be_told_defers(text, start, certificate, tmp_path):
    policies = tmp_path / "policies"
    with SecureSink(certificate) as sink:
        if text:
            policies.write_text(f"[127.0.0.1]:{sink.port} {text}\n")
        agent, hop = start(sink, smtp_tls_policy_maps=f"hash:{policies}")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
        assert result.reason.startswith("smtp_tls_policy_maps: ")
        assert sink.connections == 0


@pytest.mark.parametrize(
    ("settings", "asked"),
    [({}, "mx.test"), ({"smtp_tls_servername": "Other.test"}, "Other.test"), ({"smtp_tls_servername": ""}, None)],
)
def test_the_name_that_is_asked_for_is_the_hosts_or_another(settings, asked, start, certificate):
    with NameServer({"mx.test": {"A": ["127.0.0.1"]}}) as dns, SecureSink(certificate) as sink:
        more = {"resolver_nameservers": dns.address, "smtp_permit_loopback_mx": "yes"}
        agent, _ = start(sink, smtp_tls_security_level="encrypt", **more, **settings)
        assert agent.result(f"[mx.test]:{sink.port}").outcome is SENT
        assert sink.names == [asked]


def test_a_session_of_tls_is_resumed_in_the_next_connection(start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level="verify", smtp_connection_cache_time_limit=0)
        assert [agent.result(hop).outcome for _ in range(3)] == [SENT] * 3
        assert sink.resumed == [False, True, True]


def test_sessions_are_not_resumed_where_they_are_not_kept(start, certificate):
    settings = {"smtp_connection_cache_time_limit": 0, "smtp_tls_session_cache_timeout": 0}
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, **settings)
        assert [agent.result(hop).outcome for _ in range(2)] == [SENT] * 2
        assert sink.resumed == [False, False]


def test_a_resumed_session_does_not_stand_for_another_name(start, certificate, tmp_path):
    policies = tmp_path / "policies"
    with SecureSink(certificate) as sink:
        policies.write_text(f"[127.0.0.1]:{sink.port} secure match=mx.test\n")
        agent, hop = start(sink, smtp_tls_policy_maps=f"hash:{policies}", smtp_connection_cache_time_limit=0)
        assert agent.result(hop).outcome is SENT
        policies.write_text(f"[127.0.0.1]:{sink.port} secure match=elsewhere.test\n")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.7.5")
        assert "not for elsewhere.test" in result.reason


def test_destinations_with_other_policies_share_no_connection(start, certificate, tmp_path):
    zone = {name: {"MX": ["10 mx.test."]} for name in ("a.test", "b.test", "c.test")} | {
        "mx.test": {"A": ["127.0.0.1"]}
    }
    (tmp_path / "policies").write_text("a.test may\nb.test encrypt\nc.test encrypt\n")
    with NameServer(zone) as dns, SecureSink(certificate) as sink:
        agent, _ = start(
            sink,
            smtp_tcp_port=sink.port,
            smtp_permit_loopback_mx="yes",
            resolver_nameservers=dns.address,
            smtp_tls_policy_maps=f"hash:{tmp_path}/policies",
            smtp_connection_cache_time_limit="30s",
        )
        assert [agent.result(domain).outcome for domain in ("a.test", "b.test", "c.test")] == [SENT] * 3
        assert sink.connections == 2


@pytest.mark.parametrize("parameter", ["smtp_tls_chain_files", "smtp_tls_cert_file"])
def test_a_server_that_asks_is_shown_the_certificate_of_this_host(parameter, start, authority, certificate, tmp_path):
    ours = shutil.copy(authority.certificate("client.test"), tmp_path / "ours.pem")
    with SecureSink(certificate) as sink:
        sink.context.load_verify_locations(authority.file)
        sink.context.verify_mode = ssl.CERT_REQUIRED
        agent, hop = start(sink, smtp_tls_security_level="encrypt", smtp_connection_cache_time_limit=0)
        assert agent.result(hop).outcome is DEFERRED
        agent, hop = start(sink, smtp_tls_security_level="encrypt", **{parameter: ours})
        assert agent.result(hop).outcome is SENT
        assert sink.shown[-1]["subjectAltName"] == (("DNS", "client.test"),)


@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_a_certificate_of_ours_that_cannot_be_read_defers(level, start, certificate):
    with SecureSink(certificate) as sink:
        agent, hop = start(sink, smtp_tls_security_level=level, smtp_tls_chain_files="/nowhere/at/all.pem")
        result = agent.result(hop)
        assert (result.outcome, result.status) == (DEFERRED, "4.3.5")
        assert sink.connections == 0


def test_the_public_key_may_be_known_instead_of_the_certificate(start, tmp_path, authority):
    path = authority.certificate("127.0.0.1")
    with open(path, "rb") as file:
        pem = file.read()
    key = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERT") :]).public_key()
    octets = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with SecureSink(path) as sink:
        settings = {"smtp_tls_security_level": "fingerprint", "smtp_tls_fingerprint_digest": "sha512"}
        agent, hop = start(sink, smtp_tls_fingerprint_cert_match=hashlib.sha512(octets).hexdigest(), **settings)
        assert agent.result(hop).outcome is SENT
        agent, hop = start(sink, **settings)
        assert "Server certificate not verified: its fingerprint is " in agent.result(hop).reason
