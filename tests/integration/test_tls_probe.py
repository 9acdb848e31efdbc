"""mailctl tls-probe: what would become of mail to a domain is said with its reasons, and nothing is sent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sendmail_py.commands.mailctl.init import create
from sendmail_py.commands.mailctl.tls_probe import main
from sendmail_py.core.errors import MailError
from tests.integration.test_sts_mail import zone_of
from tests.servers.certificates import Authority, association, read
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost, policy
from tests.servers.ports import free_port
from tests.servers.secure_sink import SecureSink

ROOT = Path(__file__).resolve().parents[2]


class Place:
    """A domain, its mail exchanger and its policy, and an instance that looks at them."""

    def __init__(self, tmp_path, capsys):
        self.tmp_path = tmp_path
        self.capsys = capsys
        self.authority = Authority(tmp_path)
        self.sink = SecureSink(self.authority.certificate("mx.a.test"))
        self.names = NameServer(zone_of("a.test", "mx.a.test"))
        self.policies = PolicyHost(self.authority, {"a.test": policy("enforce", "mx.a.test")})
        self.directory = str(tmp_path / "instance")

    def __enter__(self):
        for thing in (self.sink, self.names, self.policies):
            thing.__enter__()
        create(self.directory)
        self.configure(
            myhostname="here.test",
            resolver_nameservers=self.names.address,
            smtp_tcp_port=self.sink.port,
            smtp_mta_sts_port=self.policies.port,
            smtp_mta_sts_timeout="10s",
            smtp_tls_CAfile=self.authority.file,
        )
        return self

    def __exit__(self, *_):
        for thing in (self.policies, self.names, self.sink):
            thing.__exit__()
        verbs = {line.split()[0] for line in self.sink.commands}
        assert verbs <= {"EHLO", "STARTTLS", "QUIT"}, "more was said than is needed to look"

    def certificate(self, *names, **how):
        self.sink.context.load_cert_chain(self.authority.certificate(*names, **how))

    def probe(self, *words):
        code = main(list(words), self.directory)
        return code, self.capsys.readouterr().out

    def configure(self, **settings):
        with open(f"{self.directory}/main.cf", "a", encoding="ascii") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())


@pytest.fixture
def place(tmp_path, capsys):
    with Place(tmp_path, capsys) as place:
        yield place


def test_a_domain_with_a_policy_is_told_in_full(place):
    code, text = place.probe("a.test")
    assert code == 0
    for line in (
        "Mail to a.test\n  MX           10 mx.a.test\n  DNSSEC       not looked at: ",
        "  MTA-STS      mode enforce, max_age 86400, mx mx.a.test (id 1, fetched 20",
        f"mx.a.test[127.0.0.1]:{place.sink.port}\n",
        "  asked        verify, the certificate for mx.a.test (by MTA-STS)\n",
        "  TLS          TLSv1.3 with cipher TLS_",
        "  certificate  for mx.a.test; by CN=Test Authority; until 20",
        "  verdict      authenticated\n",
        "\nIt would be delivered to mx.a.test encrypted and authenticated, as MTA-STS wants it.\n",
    ):
        assert line in text
    assert place.sink.connections == 1


def test_json_has_the_same(place):
    code, text = place.probe("a.test", "--json")
    (row,) = json.loads(text)
    (host,) = row["hosts"]
    assert (code, row["end"], row["host"], row["why"]) == (0, "authenticated", "mx.a.test", "MTA-STS")
    assert (row["mta_sts"]["mode"], row["mta_sts"]["mx"]) == ("enforce", ["mx.a.test"])
    assert row["mta_sts"]["ends_at"] - row["mta_sts"]["fetched_at"] == 86400
    assert host["certificate"]["names"] == ["mx.a.test"]
    assert len(host["certificate"]["sha256"]) == 64
    assert (host["level"], host["names"], host["tls"][:7]) == ("verify", ["mx.a.test"], "TLSv1.3")


def wrong_certificate(place):
    place.certificate("other.test")


def expired(place):
    place.certificate("mx.a.test", expired=True)


def no_tls(place):
    place.sink.starttls = False


def broken(place):
    place.sink.replies["STARTTLS"] = "220 go DROP"


def unreachable(place):
    place.configure(smtp_tcp_port=free_port())


def no_record(place):
    del place.names.zone["_mta-sts.a.test"]


def not_named(place):
    place.policies.pages["a.test"] = policy("enforce", "other.a.test")


def testing(place):
    place.policies.pages["a.test"] = policy("testing", "mx.a.test")


def testing_not_named(place):
    place.policies.pages["a.test"] = policy("testing", "other.a.test")


def no_policy_host(place):
    place.policies.pages["a.test"] = {"status": 404}


def null_mx(place):
    place.names.zone["a.test"] = {"MX": ["0 ."]}


def dns_trouble(place):
    place.names.zone["a.test"] = {"rcode": "SERVFAIL"}


def turned_off(place):
    place.configure(smtp_mta_sts="no")


def encrypt(place):
    place.configure(smtp_tls_security_level="encrypt", smtp_mta_sts="no")


CASES = [
    (
        [wrong_certificate],
        75,
        ["It would wait: Server certificate not verified: it is for other.test, not for mx.a.test"],
    ),
    ([wrong_certificate], 75, ["certificate  for other.test; by CN=Test Authority; until", "verdict      waits"]),
    (
        [expired],
        75,
        ["It would wait: Server certificate not trusted: certificate has expired", "Authority; expired 20"],
    ),
    ([no_tls], 75, ["It would wait: TLS is required, but was not offered by host mx.a.test[127.0.0.1]"]),
    ([not_named], 75, ["It would wait: MTA-STS: the policy of a.test does not name host mx.a.test: other.a.test"]),
    ([not_named], 75, ["certificate  for mx.a.test", "TLS          TLSv1.3"]),
    ([testing, wrong_certificate], 0, ["testing      MTA-STS would refuse it: Server certificate not verified"]),
    ([testing, wrong_certificate], 0, ["It would be delivered to mx.a.test encrypted, to a host that nobody has"]),
    ([testing, no_tls], 2, ["It would be delivered to mx.a.test in clear, for mx.a.test does not offer TLS."]),
    ([testing], 0, ["encrypted and authenticated, as MTA-STS wants it."]),
    ([no_record], 0, ["MTA-STS      no policy\n", "asked        may (by smtp_tls_security_level)"]),
    ([no_record, no_tls], 2, ["in clear, for mx.a.test does not offer TLS."]),
    ([no_record, broken], 2, ["in clear, for Cannot start TLS: "]),
    ([no_policy_host], 0, ["MTA-STS      no policy: mta-sts.a.test answered 404"]),
    ([unreachable], 75, ["It would wait: connect to mx.a.test[127.0.0.1]"]),
    ([null_mx], 1, ["It would be returned to its sender: Domain a.test does not accept mail (nullMX)"]),
    ([dns_trouble], 75, ["It would wait: Host or domain name not found."]),
    ([turned_off, wrong_certificate], 0, ["encrypted, to a host that nobody has vouched for."]),
    ([encrypt, no_tls], 75, ["TLS is required, but was not offered"]),
]


@pytest.mark.parametrize("changes, code, words", CASES)
def test_each_end_is_told_with_its_reason(place, changes, code, words):
    for change in changes:
        change(place)
    status, text = place.probe("a.test")
    assert [word for word in words if word not in text] == []
    assert status == code


def test_what_testing_lets_pass_is_told(place):
    testing_not_named(place)
    code, text = place.probe("a.test")
    assert (code, "It would be delivered to mx.a.test encrypted, to a host" in text) == (0, True)
    assert "testing      MTA-STS would refuse it: the policy does not name host mx.a.test" in text


def test_the_second_mail_exchanger_is_named_where_the_first_will_not_do(place):
    place.names.zone |= zone_of("a.test", "bad.a.test", "mx.a.test")
    code, text = place.probe("a.test")
    assert code == 0
    assert "MX           10 bad.a.test, 11 mx.a.test" in text
    assert "verdict      waits: MTA-STS: the policy of a.test does not name host bad.a.test: mx.a.test" in text
    assert "It would be delivered to mx.a.test encrypted and authenticated" in text


def test_mail_that_goes_through_another_host_is_told_so(place):
    place.configure(relayhost=f"[127.0.0.1]:{place.sink.port}")
    code, text = place.probe("a.test")
    assert f"Mail to a.test: it goes through [127.0.0.1]:{place.sink.port}" in text
    assert (code, "MTA-STS" in text) == (0, False)


def test_a_nexthop_can_be_named_itself(place):
    code, text = place.probe(f"[mx.a.test]:{place.sink.port}")
    assert (code, "MTA-STS" in text) == (0, False)
    assert "It would be delivered to mx.a.test encrypted" in text


def test_what_a_host_says_of_itself_does_no_harm_to_a_terminal(place):
    place.certificate("mx.\x1b[31m.test")
    assert "mx.\\x1b[31m.test" in place.probe("a.test")[1]


def test_a_domain_of_this_host_has_no_tls(place):
    with pytest.raises(MailError, match=r"mail to here\.test goes to local, where no TLS is in play"):
        place.probe("here.test")


def test_it_is_a_verb_of_mailctl(place):
    command = [sys.executable, ROOT / "bin/mailctl", "-c", place.directory, "tls-probe", "a.test"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("as MTA-STS wants it.\n")
    assert os.listdir(f"{place.directory}/data/sts") == ["a.test.json"]


def with_records(place, *texts):
    """Publish TLSA records of the mail exchanger, all of it secure."""
    zone = place.names.zone
    for name in ("a.test", "mx.a.test"):
        zone[name]["secure"] = True
    zone[f"_{place.sink.port}._tcp.mx.a.test"] = {"TLSA": list(texts), "secure": True}


def test_tlsa_records_are_told_and_what_comes_of_them(place):
    place.configure(smtp_tls_security_level="dane")
    right = f"3 1 1 {association(1, 1, read(place.authority.certificate('mx.a.test'))).hex()}"
    with_records(place, right)
    code, text = place.probe("a.test")
    assert code == 75
    assert f"  TLSA         {right}\n" in text
    assert "waits: Server certificate not verified: it matches none of the TLSA records" in text
    place.certificate("mx.a.test")
    path = place.authority.certificate("mx.a.test")
    place.sink.context.load_cert_chain(path)
    with_records(place, f"3 1 1 {association(1, 1, read(path)).hex()}")
    code, text = place.probe("a.test")
    assert code == 0
    assert "  asked        dane (by DANE for mx.a.test)\n" in text
    assert "  DNSSEC       signed: MX, the address of mx.a.test\n" in text
    assert "encrypted and authenticated, as DANE for mx.a.test wants it." in text


def test_tlsa_records_that_do_not_count_are_told_too(place):
    place.configure(smtp_tls_security_level="dane", smtp_mta_sts="no")
    with_records(place, f"1 1 1 {'ab' * 32}")
    code, text = place.probe("a.test", "--json")
    (host,) = json.loads(text)[0]["hosts"]
    assert host["tlsa"] == [{"record": f"1 1 1 {'ab' * 32}", "counts": False, "secure": True}]
    assert (code, host["level"], host["end"]) == (0, "encrypt", "encrypted")
    assert host["why"] == "smtp_tls_security_level; mx.a.test: its TLSA records are unusable"
