"""mailctl check: each finding is made by breaking what was whole, and comes with what repairs it."""

import contextlib
import copy
import io
import json
import os
import posix
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sendmail_py.commands.mailctl import check, dkim, init
from sendmail_py.commands.mailctl.checks import certificates
from sendmail_py.commands.mailctl.checks.files import room
from sendmail_py.commands.mailctl.checks.finding import ERROR, WARNING, Finding
from sendmail_py.core.config import Config
from sendmail_py.core.envelope import Mark
from sendmail_py.formats.oauth import Account
from sendmail_py.host.configuration import load
from sendmail_py.spool.layout import DEFERRED, INCOMING
from sendmail_py.spool.store import Store
from sendmail_py.spool.token_store import TokenStore
from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.unit.conftest import envelope_for

GOOD_ZONE: dict[str, dict[str, Any]] = {
    "host.example.org": {"A": ["192.0.2.5"], "AAAA": ["2001:db8::5"]},
    "example.org": {"MX": ["10 host.example.org."], "TXT": ['"v=spf1 mx " "~all"']},
    "_dmarc.example.org": {"TXT": ['"v=DMARC1; p=none"']},
    "5.2.0.192.in-addr.arpa": {"PTR": ["host.example.org."]},
    "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": {"PTR": ["host.example.org."]},
    "smtp.example.org": {"A": ["192.0.2.6"]},
}


class Place:
    """An instance in a directory whose DNS is the zone; set() is a line of its main.cf."""

    def __init__(self, path: Path, server: NameServer) -> None:
        self.path = path
        self.zone = server.zone
        init.create(str(path))
        self.set(myhostname="host.example.org", myorigin="example.org", resolver_nameservers=server.address)
        self.set(resolver_timeout="20s")
        self.aliases("root: you@example.org")
        self.sign()

    def sign(self) -> None:
        """Sign the mail of the domain, with a key that is published."""
        words = ["keygen", "--type", "ed25519", "example.org", "s"]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert dkim.main(words, str(self.path)) == 0
        record = re.search(r"IN TXT \( (.*) \)", said.getvalue())
        assert record
        self.zone["s._domainkey.example.org"] = {"TXT": [record[1]]}
        self.set(dkim_domains="inline:{ {example.org = s} }")

    def set(self, **settings: object) -> None:
        self.append("".join(f"{name} = {value}\n" for name, value in settings.items()))

    def append(self, text: str) -> None:
        with open(self.path / "main.cf", "a") as file:
            file.write(text)

    def aliases(self, text: str) -> None:
        (self.path / "aliases").write_text(f"{text}\n")

    def config(self) -> Config:
        return load(str(self.path))[0]

    def found(self, area: str) -> list[Finding]:
        """Return what is found in an area; each finding comes with its repair."""
        found = check.findings(str(self.path)).get(area, [])
        assert all(f.repair and "\n" not in f.text + f.repair for f in found)
        # A command that names no instance would repair the system's; in backquotes it is advice, not to be pasted.
        assert not [f for f in found if re.search(r"(?<![`\w])(mailctl (?!-c |setup)|newaliases(?! -C))", f.repair)]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with NameServer(copy.deepcopy(GOOD_ZONE)) as server:
        yield Place(tmp_path / "instance", server)


def passwords(place: Place, text: str, mode: int = 0o600) -> None:
    (place.path / "passwords").write_text(text)
    (place.path / "passwords").chmod(mode)
    place.set(smtp_sasl_auth_enable="yes", smtp_sasl_password_maps="texthash:$config_directory/passwords")


def foreign_key(place: Place) -> None:
    """Set a certificate with the key of another one."""
    authority = Authority(place.path)
    ours, theirs = (Path(authority.certificate("host.example.org")).read_text() for _ in range(2))
    begins = "-----BEGIN CERTIFICATE"
    mixed = ours.partition(begins)[0] + begins + theirs.partition(begins)[2]
    (place.path / "smtpd.pem").write_text(mixed)
    place.set(smtpd_tls_chain_files="$config_directory/smtpd.pem")


def certificate(place: Place, name: str = "smtpd_tls_chain_files", **how: Any) -> None:
    made = Authority(place.path).certificate("host.example.org", **how)
    (place.path / "smtpd.pem").write_bytes(Path(made).read_bytes())
    place.set(**{name: "$config_directory/smtpd.pem"})


def token(place: Place, **more: Any) -> None:
    (place.path / "data/oauth").mkdir(mode=0o700, exist_ok=True)
    given = {
        "provider": "google",
        "address": "me@example.org",
        "grant": "refresh_token",
        "token_url": "https://x.test/",
    }
    TokenStore(str(place.path / "data/oauth")).save(Account(**given | {"client_id": "x"} | more))


BREAKS: dict[str, tuple[str, Callable[[Place], object], str, str, str]] = {
    "main.cf is gone": (
        "configuration",
        lambda p: (p.path / "main.cf").unlink(),
        ERROR,
        "main.cf: No such file",
        "ls -l",
    ),
    "unknown parameter": (
        "configuration",
        lambda p: p.set(relayhots="x"),
        WARNING,
        "unknown parameter relayhots",
        "config -X relayhots",
    ),
    "Postfix's parameter": (
        "configuration",
        lambda p: p.set(cyrus_sasl_config_path="/x"),
        WARNING,
        "a Postfix parameter",
        "config -X cyrus",
    ),
    "bad value": (
        "configuration",
        lambda p: p.set(queue_run_delay="soon"),
        ERROR,
        "queue_run_delay = soon",
        "explain queue_run_delay",
    ),
    "a line that is none": ("configuration", lambda p: p.append("nonsense\n"), ERROR, "nonsense", "main.cf"),
    "short name": (
        "configuration",
        lambda p: p.set(myhostname="host"),
        WARNING,
        "not fully qualified",
        "config -e myhostname=",
    ),
    "main.cf for all to write": (
        "files",
        lambda p: (p.path / "main.cf").chmod(0o666),
        ERROR,
        "has mode 666",
        "chmod go-w",
    ),
    "queue directory is gone": (
        "files",
        lambda p: (p.path / "queue/hold").rmdir(),
        ERROR,
        "queue/hold: No such file",
        "init",
    ),
    "queue directory is open": (
        "files",
        lambda p: (p.path / "queue/active").chmod(0o755),
        ERROR,
        "has mode 755, not 700",
        "init",
    ),
    "maildrop without its bits": (
        "files",
        lambda p: (p.path / "queue/maildrop").chmod(0o777),
        ERROR,
        "has mode 777, not 3733",
        "init",
    ),
    "open passwords": (
        "files",
        lambda p: passwords(p, "x.test me:secret", 0o644),
        ERROR,
        "others can get at the passwords",
        "chmod 600",
    ),
    "unused passwords": (
        "files",
        lambda p: (passwords(p, "x.test me:secret"), p.set(smtp_sasl_auth_enable="no")),
        WARNING,
        "nobody logs in anywhere",
        "config -e smtp_sasl_auth_enable=yes",
    ),
    "no passwords": (
        "files",
        lambda p: (passwords(p, ""), (p.path / "passwords").unlink()),
        ERROR,
        "No such file",
        "chown",
    ),
    "open tokens": (
        "files",
        lambda p: (token(p), (p.path / "data/oauth").chmod(0o755)),
        ERROR,
        "holds tokens; it has mode 755",
        "init",
    ),
    "no alias for root": (
        "aliases",
        lambda p: p.aliases("other: you@example.org"),
        WARNING,
        "mail to root stays on this host",
        "root: you@",
    ),
    "root's alias is nobody": (
        "aliases",
        lambda p: p.aliases("root: nosuchuser"),
        ERROR,
        "goes to nosuchuser, who is no user",
        "root: you@",
    ),
    "fault in aliases": (
        "aliases",
        lambda p: p.aliases("root: you@example.org\nbroken"),
        ERROR,
        "aliases, line 2",
        "newaliases",
    ),
    "aliases cannot be read": (
        "aliases",
        lambda p: ((p.path / "aliases").unlink(), (p.path / "aliases").mkdir()),
        ERROR,
        "all local mail waits",
        "ls -l",
    ),
    "no authorities": (
        "certificates",
        lambda p: p.set(smtp_tls_CApath="$config_directory"),
        WARNING,
        "no certificate authority is known here: neither MTA-STS nor",
        "ls -l",
    ),
    "no authorities, and servers are verified": (
        "certificates",
        lambda p: p.set(smtp_tls_CApath="$config_directory", smtp_tls_security_level="secure"),
        ERROR,
        "no certificate authority is known here",
        "ls -l",
    ),
    "authorities cannot be read": (
        "certificates",
        lambda p: p.set(smtp_tls_CAfile="/nonexistent.pem"),
        ERROR,
        "authorities in /nonexistent.pem cannot be read: no such file",
        "ls -l /nonexistent.pem",
    ),
    "certificate has ended": (
        "certificates",
        lambda p: certificate(p, expired=True),
        ERROR,
        "the certificate has ended on",
        "openssl x509",
    ),
    "certificate is gone": (
        "certificates",
        lambda p: p.set(smtpd_tls_chain_files="/nonexistent.pem"),
        ERROR,
        "No such file",
        "ls -l",
    ),
    "key of another certificate": (
        "certificates",
        lambda p: foreign_key(p),
        ERROR,
        "a certificate or its key cannot be used",
        "openssl pkey -pubout",
    ),
    "certificate of the client has ended": (
        "certificates",
        lambda p: certificate(p, "smtp_tls_chain_files", expired=True),
        ERROR,
        "the certificate has ended on",
        "certbot renew",
    ),
    "certificate of the client is gone": (
        "certificates",
        lambda p: p.set(smtp_tls_cert_file="/nonexistent.pem"),
        ERROR,
        "the SMTP client shows no certificate",
        "ls -l /nonexistent.pem",
    ),
    "login revoked": (
        "certificates",
        lambda p: token(p, revoked="invalid_grant"),
        ERROR,
        "has to log in again: invalid_grant",
        " oauth login google me@example.org",
    ),
    "nobody has logged in": (
        "certificates",
        lambda p: passwords(p, "x.test me@example.org:oauth:google"),
        ERROR,
        "nobody has logged in",
        " oauth login google me@example.org",
    ),
    "services are down": ("services", lambda p: None, ERROR, "the services are not running", "start"),
    "no address": (
        "DNS",
        lambda p: p.zone.pop("host.example.org"),
        ERROR,
        "has no address in DNS",
        "host.example.org. IN A",
    ),
    "no PTR": (
        "DNS",
        lambda p: p.zone.pop("5.2.0.192.in-addr.arpa"),
        WARNING,
        "192.0.2.5 has the name none",
        "PTR host.example",
    ),
    "no PTR of IPv6": (
        "DNS",
        lambda p: p.zone.pop(next(name for name in p.zone if name.endswith("ip6.arpa"))),
        WARNING,
        "2001:db8::5 has the name none",
        "PTR host.example",
    ),
    "another PTR": (
        "DNS",
        lambda p: p.zone["5.2.0.192.in-addr.arpa"].update(PTR=["pool.isp.test."]),
        WARNING,
        "the name pool.isp.test",
        "PTR host.example",
    ),
    "no MX": ("DNS", lambda p: p.zone["example.org"].pop("MX"), WARNING, "takes no mail", "IN MX 10 host.example.org."),
    "mail loops": (
        "DNS",
        lambda p: p.set(mydestination="localhost"),
        ERROR,
        "mail for example.org loops: DNS sends it to this host",
        "config -e 'mydestination=localhost, example.org'",
    ),
    "no SPF": (
        "DNS",
        lambda p: p.zone["example.org"].pop("TXT"),
        WARNING,
        "no SPF record",
        'TXT "v=spf1 mx a:host.example.org ~all"',
    ),
    "no DNSSEC": (
        "DNS",
        lambda p: p.set(smtp_tls_security_level="dane"),
        WARNING,
        "smtp_tls_security_level = dane, and the name server does not validate DNSSEC: it is the same as may",
        "unbound",
    ),
    "no trusted name server": (
        "DNS",
        lambda p: p.set(smtp_tls_security_level="dane-only", resolver_trusted_nameservers="192.0.2.1"),
        WARNING,
        "no name server is trusted with DNSSEC: all mail waits",
        "resolver_trusted_nameservers",
    ),
    "no DMARC": (
        "DNS",
        lambda p: p.zone.pop("_dmarc.example.org"),
        WARNING,
        "no DMARC record",
        "_dmarc.example.org. IN TXT",
    ),
    "mail is not signed": (
        "DNS",
        lambda p: p.set(dkim_domains=""),
        WARNING,
        "mail of example.org is not signed",
        "dkim keygen example.org",
    ),
    "no directory for mailboxes": (
        "files",
        lambda p: (p.path / "mail").rmdir(),
        ERROR,
        "/mail is not there: mail to users of this host waits",
        "install -d -m 700",
    ),
    "a file where the mailboxes are to be": (
        "files",
        lambda p: ((p.path / "mail").rmdir(), (p.path / "mail").write_text("")),
        ERROR,
        "/mail is no directory",
        "mail.old; install -d",
    ),
    "a directory where the log file is to be": (
        "files",
        lambda p: ((p.path / "maillog").mkdir(), p.set(maillog_file="$config_directory/maillog")),
        ERROR,
        "/maillog is a directory",
        "rmdir ",
    ),
    "a table is not there": (
        "files",
        lambda p: p.set(transport_maps="inline:{a=smtp:b}, hash:$config_directory/transport"),
        ERROR,
        "/instance/transport: No such file or directory; mail for which it is asked waits",
        "ls -l ",
    ),
    "a table of a restriction is not there": (
        "files",
        lambda p: p.set(smtpd_client_restrictions="permit_mynetworks, check_client_access cidr:/nowhere/clients"),
        ERROR,
        "smtpd_client_restrictions: cidr:/nowhere/clients: No such file or directory",
        "ls -l /nowhere/clients",
    ),
    "no directory for the log file": (
        "files",
        lambda p: p.set(maillog_file="$config_directory/log/maillog"),
        ERROR,
        "/log/maillog: there is no directory ",
        "install -d ",
    ),
    "key is not published": (
        "DNS",
        lambda p: p.zone.pop("s._domainkey.example.org"),
        ERROR,
        "DKIM key s of example.org: not published",
        "dkim show example.org",
    ),
    "DNS does not answer": (
        "DNS",
        lambda p: p.zone["host.example.org"].update(rcode="SERVFAIL"),
        ERROR,
        "DNS does not answer",
        "resolv.conf",
    ),
    "relayhost is not there": (
        "DNS",
        lambda p: p.set(relayhost="[nowhere.example.org]"),
        ERROR,
        "relayhost [nowhere.example.org] cannot be found",
        "getent ahosts nowhere.example.org",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_was_broken_is_found_and_its_repair_is_told(name: str, place: Place) -> None:
    area, break_it, level, text, repair = BREAKS[name]
    if name != "services are down":
        assert place.found(area) == []
    break_it(place)
    found = [f for f in place.found(area) if text in f.text]
    assert found, place.found(area)
    assert found[0].level == level and repair in found[0].repair


def test_with_a_relayhost_that_is_there_the_names_of_this_host_do_not_matter(place: Place) -> None:
    place.zone.pop("host.example.org")
    place.set(relayhost="[smtp.example.org]:587")
    assert place.found("DNS") == []


@pytest.mark.parametrize(("days_before", "level"), [(100, ""), (15, ""), (13, WARNING), (-1, ERROR)])
def test_a_certificate_is_told_two_weeks_before_its_end(
    days_before: int, level: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate(place)
    end = min(certificates.ends(Path(place.config().smtpd_tls_chain_files[0]).read_bytes()))
    now = end - days_before * 86400
    monkeypatch.setattr(
        certificates, "time", SimpleNamespace(time=lambda: now, strftime=time.strftime, gmtime=time.gmtime)
    )
    assert [f.level for f in place.found("certificates")] == ([level] if level else [])


@pytest.mark.parametrize(
    ("relayhost", "status", "reason", "repair"),
    [
        ("[smtp.example.org]", "4.7.8", "SASL authentication failed; server x said: 535", "smtp_sasl_password_maps"),
        ("", "4.4.3", "Name service error for name=far.test type=MX: no answer", "/etc/resolv.conf"),
        ("[smtp.example.org]", "4.4.1", "connect to smtp.example.org: Connection refused", "a wrong relayhost"),
        ("", "4.4.1", "connect to mx.far.test: Connection timed out", ""),
        ("", "4.2.0", "450 4.2.0 greylisted", ""),
        ("[smtp.example.org]", "4.3.2", "deferred transport", ""),
    ],
)
def test_mail_that_waits_is_told_where_this_host_has_to_mend_it(
    relayhost: str, status: str, reason: str, repair: str, place: Place
) -> None:
    assert place.found("queue") == []
    place.set(relayhost=relayhost)
    store = Store(str(place.path / "queue"))
    for number in (1, 2):
        envelope = envelope_for("bob@far.test", "done@far.test", queue_id=f"0123456789AB{number}")
        envelope.recipients[1].mark = Mark.DELIVERED
        history = f'2026-11-28T12:00:00Z <bob@far.test> deferred {status} relay=none "{reason}"\n'
        history += '2026-11-28T12:00:00Z <done@far.test> deferred 4.3.5 relay=none "of yesterday"\n'
        store.commit(store.write(envelope, [b"\nhi\n"], durable=False), envelope.queue_id, durable=False)
        target = Path(store.path(DEFERRED, envelope.queue_id))
        target.parent.mkdir(exist_ok=True)
        os.rename(store.path(INCOMING, envelope.queue_id), target)
        with open(target, "a") as file:
            file.write(history)
    found = place.found("queue")
    assert [(f.level, f.text) for f in found] == ([(WARNING, f"2 messages wait: {reason}")] if repair else [])
    assert all(repair in f.repair for f in found)


def disk(free: float = 0.5, inodes: float = 0.5) -> Any:
    return SimpleNamespace(
        f_frsize=4096, f_blocks=1 << 20, f_bavail=int(free * (1 << 20)), f_files=10000, f_favail=int(inodes * 10000)
    )


@pytest.mark.parametrize(
    ("how", "level", "says"),
    [
        ({}, "", ""),
        ({"free": 0.001}, ERROR, "mail is refused below"),
        ({"free": 0.01}, WARNING, "soon mail is refused"),
        ({"inodes": 0}, ERROR, "0 of 10000 inodes"),
        ({"inodes": 0.005}, WARNING, "50 of 10000 inodes"),
    ],
)
def test_a_disk_that_fills_is_told_before_and_when_mail_is_refused(
    how: dict[str, float], level: str, says: str, place: Place
) -> None:
    found = list(room(disk(**how), place.config()))
    assert [(f.level, says in f.text, "df -" in f.repair) for f in found] == ([(level, True, True)] if level else [])


def test_a_port_that_another_program_has_is_told_with_its_name(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        place.set(smtpd_port=port)
        found = [f for f in place.found("services") if "is taken" in f.text]
        assert f"(pid {os.getpid()}) listens there" in found[0].text and f"sport = :{port}" in found[0].repair


def test_the_status_tells_a_monitor_how_bad_it_is_also_as_json(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("services", "host"):
        monkeypatch.setitem(check._AREAS, name, lambda config: iter(()))
    assert check.main([], str(place.path)) == 0
    assert set(capsys.readouterr().out.split()) == {*check._AREAS, "ok"}
    place.zone.pop("_dmarc.example.org")
    assert check.main(["--json"], str(place.path)) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["area"], row["level"]) == ("DNS", "warning")
    (place.path / "queue/hold").rmdir()
    assert check.main([], str(place.path)) == 2
    assert "\n               repair: mailctl -c " in capsys.readouterr().out


def test_a_check_that_fails_is_a_finding_and_stops_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(config: Config) -> Iterator[Finding]:
        raise OSError(5, "Input/output error")

    monkeypatch.setitem(check._AREAS, "files", fails)
    (found,) = place.found("files")
    assert "files cannot be checked: OSError" in found.text
    assert place.found("DNS") == []


def test_dane_lacks_nothing_with_a_name_server_that_validates(place: Place) -> None:
    place.set(smtp_tls_security_level="dane")
    place.zone["org"] = {"secure": True}
    assert not place.found("DNS")
    place.zone["org"] = {"rcode": "SERVFAIL"}
    assert not place.found("DNS")


@pytest.mark.parametrize("elsewhere", ["mailbox_command = /bin/cat", "mailbox_transport = lmtp:x", "mydestination ="])
def test_no_directory_for_mailboxes_is_missed_where_mail_goes_elsewhere(place: Place, elsewhere: str) -> None:
    (place.path / "mail").rmdir()
    assert [f.level for f in place.found("files")] == [ERROR]
    place.append(f"{elsewhere}\n")
    assert place.found("configuration") == place.found("files") == []


def test_the_repair_of_the_directory_of_mailboxes_repairs_it(place: Place) -> None:
    (place.path / "mail").rmdir()
    (found,) = place.found("files")
    assert os.system(found.repair) == 0
    assert place.found("files") == [] and (place.path / "mail").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a file away")
def test_a_main_cf_of_somebody_elses_is_told(place: Place) -> None:
    os.chown(place.path / "main.cf", 65534, -1)
    (found,) = place.found("files")
    assert found.level == ERROR and "belongs to uid 65534, who can change what the services do" in found.text
    assert os.system(found.repair) == 0
    assert place.found("files") == []


def test_what_is_wrong_with_a_variable_is_not_mended_in_main_cf(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(posix.environ, b"SENDMAILPY_relayhots", b"[mx.example.org]")
    (found,) = place.found("configuration")
    assert found.text == "environment SENDMAILPY_relayhots: unknown parameter relayhots (did you mean relayhost?)"
    mailctl = f"mailctl -c {place.path}"
    assert found.repair == f"{mailctl} stop; env -u SENDMAILPY_relayhots {mailctl} start"
    monkeypatch.delitem(posix.environ, b"SENDMAILPY_relayhots")
    monkeypatch.setitem(posix.environ, b"SENDMAILPY_relayhost_FILE", b"/run/secrets/relayhost")
    (found,) = place.found("configuration")
    assert "SENDMAILPY_relayhost_FILE: /run/secrets/relayhost: No such file" in found.text
    assert found.repair == "ls -l /run/secrets/relayhost"
