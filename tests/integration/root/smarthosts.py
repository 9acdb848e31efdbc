"""Two real smarthosts on a test machine: Postfix (127.0.0.2) and Dovecot's submission server (127.0.0.3).

Both take mail from who has logged in under TLS alone, as relay with the password in PASSWORD; what they
take ends in Postfix's mailboxes. Postfix is unpacked by make-postfix and laid over the machine's /usr/lib.
"""

import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from machine import HERE, Machine, wait_until

from tests.servers.certificates import Authority
from tests.servers.postfix import LOCAL, MAKE_QUEUE, POSTFIX, SERVICES

PASSWORD = "a long:secret with blanks"
POSTFIX_HOST, DOVECOT_HOST = "smtp.smarthost.test", "submission.smarthost.test"
LOG = "/var/log/postfix.log"
BOX = "/var/lib/smarthost"
TOKEN_PORT = 8099
DOMAIN = "smarthost.test"
AUTHORITY = "/var/lib/authority.pem"
_ZONE = {
    POSTFIX_HOST: {"A": ["127.0.0.2"]},
    DOVECOT_HOST: {"A": ["127.0.0.3"]},
    DOMAIN: {"MX": [f"10 {POSTFIX_HOST}."]},
    f"mta-sts.{DOMAIN}": {"A": ["127.0.0.4"]},
    f"_mta-sts.{DOMAIN}": {"TXT": ['"v=STSv1; id=1"']},
}
_MAIN_CF = f"""\
compatibility_level = 3.6
maillog_file = {LOG}
myhostname = {POSTFIX_HOST}
mydestination = smarthost.test
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
mail_spool_directory = {BOX}
smtpd_tls_chain_files = /var/lib/postfix.pem
smtpd_tls_received_header = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = /run/dovecot/postfix
smtpd_sasl_authenticated_header = yes
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_client_restrictions = permit_sasl_authenticated, reject
smtpd_delay_reject = yes
notify_classes =
"""
_LISTENERS = """\
127.0.0.2:25 inet n - n - - smtpd -o smtpd_client_restrictions= -o smtpd_sasl_auth_enable=no
  -o smtpd_tls_security_level=may
127.0.0.2:587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
127.0.0.2:588 inet n - n - - smtpd -o smtpd_tls_security_level=may -o smtpd_sasl_mechanism_filter=login
127.0.0.2:465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.2:589 inet n - n - - smtpd -o smtpd_tls_security_level=none
127.0.0.2:590 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=no
  -o smtpd_tls_req_ccert=yes -o smtpd_tls_CAfile=/var/lib/authority.pem -o smtpd_client_restrictions=permit
"""
# One message to bob in each of so many domains, c0.test, c1.test ..., by way of Postfix.
_TO_EACH = """
import smtplib, sys
with smtplib.SMTP("127.0.0.2", 25) as session:
    for number in range(int(sys.argv[2])):
        to = [f"bob@{sys.argv[1]}{number}.test"]
        session.sendmail("alice@smarthost.test", to, f"Subject: {number}\\n\\nhello\\n")
"""
_DOVECOT = f"""\
base_dir = /run/dovecot
log_path = /var/log/dovecot.log
protocols = submission
ssl = required
ssl_cert = </var/lib/dovecot.pem
ssl_key = </var/lib/dovecot.pem
ssl_dh =
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 xoauth2 oauthbearer
hostname = {DOVECOT_HOST}
mail_location = maildir:/var/lib/mail/%u
submission_relay_host = 127.0.0.2
submission_relay_port = 25
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = /var/lib/dovecot-oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u /var/lib/dovecot-users
}}
userdb {{
  driver = static
  args = uid=alice gid=alice home=/home/alice
}}
service auth {{
  unix_listener postfix {{
    mode = 0666
  }}
}}
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service submission-login {{
  inet_listener submission {{
    address = 127.0.0.3
    port = 587
  }}
  inet_listener submissions {{
    address = 127.0.0.3
    port = 465
    ssl = yes
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""
_DOVECOT_OAUTH = f"""\
introspection_mode = post
introspection_url = http://127.0.0.1:{TOKEN_PORT}/introspect
username_attribute = username
active_attribute = active
active_value = true
"""
_PREPARE = f"""
mount -t overlay -o lowerdir={POSTFIX}/usr/lib:/usr/lib none /usr/lib
groupadd --system postdrop
useradd --system --no-create-home --home-dir /nonexistent postfix
mkdir -p /etc/postfix /var/lib/postfix /var/lib/mail {BOX}
cp {POSTFIX}/etc/postfix/* /etc/postfix 2>/dev/null || true
cp {POSTFIX}/usr/share/postfix/* /etc/postfix 2>/dev/null || true
chmod 1777 {BOX}
chown postfix: /var/lib/postfix
chown alice: /var/lib/mail
printf '127.0.0.2 {POSTFIX_HOST}\n127.0.0.3 {DOVECOT_HOST}\n' >> /etc/hosts
cd /var/spool
mkdir postfix && cd postfix
{MAKE_QUEUE}"""


def prepare_postfix(machine: Machine) -> None:
    """Lay Postfix over a machine, with its users and an empty queue; main.cf and master.cf are still to be written."""
    machine.script(_PREPARE)


class Smarthosts:
    """A context manager: the servers on a machine that is installed, and a name server that knows them."""

    def __init__(self, machine: Machine, directory: Path, main_cf: str = "", master_cf: str = "") -> None:
        self.machine = machine
        self._main_cf = _MAIN_CF + main_cf
        self._master_cf = _LISTENERS + SERVICES + LOCAL + master_cf
        self._authority = Authority(directory)
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Smarthosts":
        machine = self.machine
        prepare_postfix(machine)
        for name, host in (("postfix", POSTFIX_HOST), ("dovecot", DOVECOT_HOST)):
            pem = Path(self._authority.certificate(host)).read_bytes()
            machine.path(f"/var/lib/{name}.pem").write_bytes(pem)
        machine.path(AUTHORITY).write_bytes(Path(self._authority.file).read_bytes())
        machine.path("/etc/postfix/main.cf").write_text(self._main_cf)
        machine.path("/etc/postfix/master.cf").write_text(self._master_cf)
        machine.path("/var/lib/dovecot.conf").write_text(_DOVECOT)
        password = base64.b64encode(PASSWORD.encode()).decode()
        machine.path("/var/lib/dovecot-users").write_text(f"relay:{{PLAIN.b64}}{password}\n")
        machine.path("/var/lib/zone").write_text(json.dumps(_ZONE))
        machine.path("/var/lib/dovecot-oauth2.conf").write_text(_DOVECOT_OAUTH)
        tokens = f"{HERE}/tests/servers/oauth_server.py"
        self._start(machine.venv_python(), tokens, "--port", TOKEN_PORT)
        self._start("dovecot", "-F", "-c", "/var/lib/dovecot.conf")
        wait_until(lambda: machine.path("/run/dovecot/postfix").is_socket(), "Dovecot listens")
        self._start("/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d")
        self._start(
            machine.venv_python(), f"{HERE}/tests/servers/name_server.py", "--zone", "/var/lib/zone", "--port", 5300
        )
        for address, port in (("127.0.0.2", 587), ("127.0.0.3", 587), ("127.0.0.2", 465), ("127.0.0.3", 465)):
            self._wait_for(address, port)
        self._wait_for("127.0.0.1", TOKEN_PORT)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(60)

    def _start(self, *words: object) -> "subprocess.Popen[bytes]":
        command = self.machine.command(words)
        self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        return self._running[-1]

    def _wait_for(self, address: str, port: int) -> None:
        text = f"import socket; socket.create_connection(({address!r}, {port}), 5)"
        connect = ["python3", "-I", "-c", text]
        wait_until(lambda: self.machine.run(*connect, check=False).returncode == 0, f"{address}:{port} listens")

    @contextlib.contextmanager
    def policy_host(self, policy: str) -> Iterator[None]:
        """Have a policy of MTA-STS published for the domain, at the port that the world knows."""
        self.machine.path("/var/lib/policy").write_text(policy)
        self.machine.path("/var/lib/policy.pem").write_bytes(self.certificate(f"mta-sts.{DOMAIN}"))
        words = [self.machine.venv_python(), f"{HERE}/tests/servers/policy_host.py", "--address", "127.0.0.4"]
        words += ["--certificate", "/var/lib/policy.pem", "--domain", DOMAIN, "--policy", "/var/lib/policy"]
        process = self._start(*words)
        try:
            self._wait_for("127.0.0.4", 443)
            yield
        finally:
            self._running.remove(process)
            process.terminate()
            process.wait(60)

    def send_to_each(self, letter: str, count: int) -> None:
        """Have Postfix send a message to each of these domains, and wait until each has had its first attempt."""
        self.machine.python(_TO_EACH, letter, count)
        wait_until(lambda: self.logs().count(" status=") >= count, "the end of each in Postfix's log")

    def certificate(self, name: str) -> bytes:
        """Return a certificate and its key of the authority that the servers know."""
        return Path(self._authority.certificate(name)).read_bytes()

    def logs(self) -> str:
        """Return what the servers have logged."""
        paths = [self.machine.path(path) for path in (LOG, "/var/log/dovecot.log")]
        return "\n".join(path.read_text("utf-8", "replace") for path in paths if path.exists())

    def message(self, text: str) -> str:
        """Wait for a message with this text at its end; returns it."""
        box = self.machine.path(f"{BOX}/alice")
        try:
            found = wait_until(lambda: box.exists() and text in (all_of_it := box.read_text()) and all_of_it, text, 30)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.machine.log()}\n{self.logs()}") from None
        return next(part for part in str(found).split("\nFrom ") if text in part)
