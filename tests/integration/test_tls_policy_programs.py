"""TLS as another program wants it: postfix-mta-sts-resolver and its like behind smtp_tls_policy_maps = socketmap:..."""

import pytest

from tests.integration.test_sts_mail import DEFERRED, SENT, start, zone_of
from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost
from tests.servers.secure_sink import SecureSink
from tests.servers.socketmap_server import SocketmapServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


PATTERNS = " policy_type=sts policy_domain=a.test mx_host_pattern={} {{ policy_string = version: STSv1 }}"


@pytest.mark.parametrize(
    "answer, name, outcome, words",
    [
        ("OK secure match=mx.a.test servername=hostname", "mx.a.test", SENT, ""),
        ("OK secure match=.a.test servername=hostname", "mx.a.test", SENT, ""),
        ("OK secure match=mx.a.test servername=hostname", "other.test", DEFERRED, "it is for other.test"),
        ("OK secure match=a.test" + PATTERNS.format("mx.a.test"), "mx.a.test", SENT, ""),
        (
            "OK secure match=.a.test" + PATTERNS.format("*.a.test"),
            "x.a.test",
            DEFERRED,
            "it is for x.a.test, not for mx",
        ),
        (
            "OK secure match=.b.test" + PATTERNS.format("*.b.test"),
            "mx.a.test",
            DEFERRED,
            "does not name host mx.a.test",
        ),
        ("OK secure policy_failure=sts-policy-invalid", "mx.a.test", DEFERRED, "failed: sts-policy-invalid"),
        ("OK secure shoe=13", "mx.a.test", DEFERRED, "shoe=13"),
        ("NOTFOUND ", "other.test", SENT, ""),
        ("TEMP I do not know", "mx.a.test", DEFERRED, "I do not know"),
        ("DROP", "mx.a.test", DEFERRED, "the server has closed the connection"),
    ],
)
def test_what_a_program_says_of_a_destination_is_kept_to(answer, name, outcome, words, tmp_path, authority):
    zone = {"a.test": {"MX": ["10 mx.a.test."]}, "mx.a.test": {"A": ["127.0.0.1"]}}
    with SecureSink(authority.certificate(name)) as sink, NameServer(zone) as names, PolicyHost(authority, {}) as host:
        hop = f"a.test:{sink.port}"
        with SocketmapServer({f"postfix {hop}": answer}) as program:
            maps = f"socketmap:inet:127.0.0.1:{program.port}:postfix"
            with start(tmp_path, authority, names, host, smtp_tls_policy_maps=maps) as agent:
                result = agent.result(hop)
                assert result.outcome is outcome
                assert words in result.reason + agent.log()
                if outcome is SENT and name == "mx.a.test":
                    assert sink.names == ["mx.a.test"]
                assert program.questions.count(f"postfix {hop}") <= 2


def test_a_program_that_is_slow_holds_up_no_mail_that_needs_it_not(tmp_path, authority):
    zone = {f"{d}.test": {"MX": [f"10 mx.{d}.test."]} for d in "ab"} | zone_of("b.test", "mx.b.test")
    zone |= {"mx.a.test": {"A": ["127.0.0.1"]}}
    with SecureSink(authority.certificate("mx.a.test")) as sink, NameServer(zone) as names:
        slow, fast = f"a.test:{sink.port}", f"b.test:{sink.port}"
        with SocketmapServer({f"postfix {slow}": "SILENT"}) as program, PolicyHost(authority, {}) as host:
            maps = f"inline:{{ {{{fast} = may}} }}, socketmap:inet:127.0.0.1:{program.port}:postfix"
            with start(tmp_path, authority, names, host, smtp_tls_policy_maps=maps) as agent:
                waiting = agent.give(slow, agent.delivery())
                assert {agent.result(fast).outcome for _ in range(20)} == {SENT}
                assert not agent.is_readable(0.0), "the other mail has waited for it"
                assert agent.results(waiting)[0, 0].status == "4.7.5"
