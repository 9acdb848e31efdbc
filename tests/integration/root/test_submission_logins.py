"""Logins at the submission ports of an installed system: Dovecot (its users, PAM's and LDAP's), and a password file."""

import base64
import contextlib
import hashlib
import re
import subprocess
from collections.abc import Iterator

import pytest
from directory_server import BASE, PORT, SLAPD, DirectoryServer
from machine import HERE, Machine, wait_until

from tests.conftest import needs
from tests.integration.smtp_server import cheap_hash

CONFIG = """\
base_dir = /run/dovecot
log_path = /var/log/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = yes
auth_mechanisms = plain login scram-sha-256 cram-md5
auth_failure_delay = 0
auth_username_format = %Ln
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u /var/lib/dovecot-users
}
passdb {
  driver = pam
}
userdb {
  driver = static
  args = uid=alice gid=alice home=/home/alice
}
service auth {
  unix_listener auth-client {
    mode = 0660
    user = sendmail-py
  }
}
mail_plugins = quota
mail_location = maildir:/home/alice/Maildir
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=100K
  quota_status_success = DUNNO
  quota_status_nouser = DUNNO
  quota_status_overquota = "452 4.2.2 Mailbox is full"
}
service quota-status {
  executable = quota-status -p postfix
  client_limit = 1
  inet_listener {
    address = 127.0.0.1
    port = 12340
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
"""
SEND = """
import smtplib, ssl, sys
sys.path.insert(0, sys.argv[1])
from sendmail_py.protocol.scram import Scram
mechanism, user, password, sender, subject = sys.argv[2:7]
def scram(challenge=None):
    if challenge is None:
        return proof.first()
    if challenge.startswith(b"v="):
        return proof.check(challenge.decode()) or ""
    return proof.final(challenge.decode())
client = smtplib.SMTP("127.0.0.1", 587, timeout=60)
client.starttls(context=ssl._create_unverified_context())
client.ehlo()
print(client.esmtp_features.get("auth", "").strip())
client.user, client.password = user, password
proof = Scram("sha256", user, password, "fyko+d2lbbFgONRv9qkxdawL")
methods = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login, "CRAM-MD5": client.auth_cram_md5}
try:
    client.auth(mechanism, methods.get(mechanism, scram))
    client.sendmail(sender, ["alice"], f"Subject: {subject}\\n\\nx\\n")
except smtplib.SMTPResponseException as error:
    print(error.smtp_code)
"""


ASK_BY_SIZE = """
import smtplib
for size in (5000, 500000):
    with smtplib.SMTP("127.0.0.1", 25, timeout=60) as client:
        client.ehlo()
        client.mail("a@a.example", [f"SIZE={size}"])
        code, text = client.rcpt("alice@host.example.org")
        print(size, code, text.decode().replace("<alice@host.example.org>: Recipient address rejected: ", ""))
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with submission ports, and the users alice and bob."""
    with Machine() as machine:
        machine.install()
        machine.script("for user in alice bob; do useradd --create-home --user-group $user; done")
        machine.script("echo 'bob:his own word' | chpasswd -c SHA512")
        settings = {"submission_port": "587", "submissions_port": "465", "smtpd_auth_failure_delay": "0s"}
        machine.set_up(maildrop_scan_delay="2s", max_idle="2s", **settings)
        machine.start()
        yield machine
        machine.stop()


@contextlib.contextmanager
def dovecot(machine: Machine) -> Iterator[None]:
    """Have Dovecot run as its configuration says."""
    command = machine.command(["dovecot", "-F", "-c", "/var/lib/dovecot.conf"])
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2) as process:
        try:
            wait_until(lambda: machine.path("/run/dovecot/auth-client").is_socket(), "Dovecot listens")
            yield
        finally:
            machine.script("kill $(cat /run/dovecot/master.pid)")  # process is nsenter, which passes no signal on
            process.wait(30)


def send(machine: Machine, mechanism: str, user: str, password: str, subject: str) -> list[str]:
    return machine.python(SEND, HERE, mechanism, user, password, "alice@host.example.org", subject).split("\n")[:-1]


@pytest.mark.real("dovecot")
def test_dovecot_tells_who_its_own_and_pams_users_are_and_whose_mailbox_is_full(machine: Machine) -> None:
    machine.path("/var/lib/dovecot.conf").write_text(CONFIG)
    machine.path("/var/lib/dovecot-users").write_text("alice:secret word\n")
    machine.configure(smtpd_sasl_type="dovecot")
    machine.run("mailctl", "reload")
    with dovecot(machine):
        for mechanism, user, password in [
            ("PLAIN", "alice", "secret word"),
            ("LOGIN", "alice", "secret word"),
            ("CRAM-MD5", "alice", "secret word"),
            ("SCRAM-SHA-256", "alice", "secret word"),
            ("PLAIN", "bob", "his own word"),
        ]:
            subject = f"{mechanism} of {user}"
            offered = send(machine, mechanism, user, password, subject)
            assert [set(line.split()) for line in offered] == [{"PLAIN", "LOGIN", "SCRAM-SHA-256", "CRAM-MD5"}]
            assert "with ESMTPSA id" in machine.wait_for_mail("alice", subject)
            machine.wait_for_log(f"sasl_method={mechanism}, sasl_username={user}")
        machine.configure(smtpd_recipient_restrictions="check_policy_service inet:127.0.0.1:12340")
        machine.run("mailctl", "reload")
        said = machine.python(ASK_BY_SIZE).splitlines()
        assert said == ["5000 250 2.1.5 Ok", "500000 452 4.2.2 Mailbox is full"]
        machine.configure(smtpd_recipient_restrictions="")
        # The last, and only one: Dovecot lets an address wait ever longer after each.
        assert send(machine, "PLAIN", "bob", "secret word", "wrong")[1:] == ["535"]


def test_the_password_file_is_for_root_and_the_services_alone(machine: Machine) -> None:
    machine.configure(smtpd_sasl_type="file")
    machine.run("mailctl", "reload")
    machine.run("mailctl", "passwd", "add", "alice", input=b"secret word\n")
    users = "/etc/sendmail-py/users"
    assert machine.script(f"stat -c '%U %G %a' {users}") == "root sendmail-py 640\n"
    assert machine.run("cat", users, user="alice", check=False).returncode != 0
    assert send(machine, "PLAIN", "alice", "secret word", "by the file") == ["PLAIN LOGIN"]
    machine.wait_for_mail("alice", "Subject: by the file")
    machine.path(users).write_text(f"alice:{cheap_hash('another')}\n")
    assert send(machine, "LOGIN", "alice", "another", "changed") == ["PLAIN LOGIN"]
    machine.wait_for_mail("alice", "Subject: changed")
    machine.script(f"chown bob {users}")
    assert send(machine, "PLAIN", "alice", "another", "of bob's")[1:] == ["454"]
    machine.wait_for_log(f"{users}: it belongs to uid ")


SSHA = "{SSHA}" + base64.b64encode(hashlib.sha1(b"geheim" + b"salt").digest() + b"salt").decode()
LDAP = f"""\
uris = ldap://127.0.0.1:{PORT}
dn = cn=reader,{BASE}
dnpass = read only
base = ou=people,{BASE}
pass_filter = (uid=%n)
default_pass_scheme = PLAIN
"""


@pytest.fixture
def directory(machine: Machine) -> DirectoryServer:
    """A directory with alice and bob, where Dovecot looks for its users; it does not run yet."""
    needs(SLAPD)
    ldap = "passdb {\n  driver = ldap\n  args = /var/lib/dovecot-ldap.conf\n}\n"
    nobody_waits = "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n"
    config = re.sub(r"passdb \{.*?\n\}\n", "", CONFIG, flags=re.DOTALL) + ldap + nobody_waits
    machine.path("/var/lib/dovecot.conf").write_text(config.replace("login scram-sha-256 cram-md5", "login"))
    machine.configure(smtpd_sasl_type="dovecot")
    machine.run("mailctl", "reload")
    return DirectoryServer(machine, {"alice": "secret word", "bob": SSHA}, reader="read only")


@pytest.mark.real("dovecot")
@pytest.mark.parametrize("more", ["auth_bind = yes\n", "pass_attrs = uid=user, userPassword=password\n"])
def test_dovecot_asks_ldap_and_while_ldap_is_away_no_password_is_wrong(
    machine: Machine, directory: DirectoryServer, more: str
) -> None:
    machine.path("/var/lib/dovecot-ldap.conf").write_text(LDAP + more)
    with dovecot(machine):
        with directory:
            for mechanism, user, password in (("PLAIN", "alice", "secret word"), ("LOGIN", "bob", "geheim")):
                subject = f"{user} by {more.partition(' ')[0]}"
                assert send(machine, mechanism, user, password, subject) == ["PLAIN LOGIN"]
                assert "with ESMTPSA id" in machine.wait_for_mail("alice", subject)
            for user, password in (("alice", "secret wor"), ("carol", "secret word"), ("*", "secret word")):
                assert send(machine, "PLAIN", user, password, "refused")[1:] == ["535"]
        for password in ("secret word", "another"):
            assert send(machine, "PLAIN", "alice", password, "not now")[1:] == ["454"]
        with directory:
            again = ("PLAIN", "alice", "secret word", "again")
            wait_until(lambda: not send(machine, *again)[1:], "LDAP is there again")
