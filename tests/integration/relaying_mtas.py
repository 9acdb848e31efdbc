"""Other mail servers as clients of ours: they take mail at a port of their own, and ours is their only way out.

    with Exim(served.port) as exim:
        exim.send(b"Subject: x\r\n\r\nhello\r\n", "games@here.test")

They are unpacked by make-postfix, not installed: each runs in mounts of its own, where it finds the users that it
is made for. Their reports to a sender come to our server as well. Leaving the block ends them.
"""

import os
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import needs
from tests.integration.instance import LIMIT, PATH, wait_until
from tests.servers.ports import free_port
from tests.servers.postfix import MAKE_QUEUE, MASTER, POSTFIX, SENDING, SERVICES

SENDER = "news@here.test"
_USERS = {"Debian-exim": 64999, "opensmtpd": 64998, "opensmtpq": 64997, "postfix": 64996, "postdrop": 64995}
_START = """
mount --bind passwd /etc/passwd
mount --bind group /etc/group
"""


class Mta:
    """A context manager; `port` is where ours listens, `login` who logs in there (with TLS, or not at all)."""

    name = ""
    program = Path()
    mounts = ""  # what else is to be done, by a shell, before it starts in its directory

    def __init__(self, port: int, login: tuple[str, str] | None = None) -> None:
        needs(self.program)
        self._directory = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        self.place = Path(self._directory.name)
        self.place.chmod(0o711)
        self.port = free_port()
        for file, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/bin/false\n"), ("group", "{0}:x:{1}:\n")):
            more = "".join(line.format(*user) for user in _USERS.items())
            (self.place / file).write_text(Path("/etc", file).read_text() + more)
        self.configure(port, login)

    def configure(self, port: int, login: tuple[str, str] | None) -> None:
        """Write what it reads at its start."""
        raise NotImplementedError

    def command(self) -> list[object]:
        """Return the words that start it, in the foreground."""
        raise NotImplementedError

    def retry(self) -> None:
        """Have it try at once what waits."""
        raise NotImplementedError

    def __enter__(self) -> "Mta":
        shell = ["sh", "-ec", _START + self.mounts + 'exec "$@"', "sh"]
        command = ["unshare", "--mount", "--propagation", "private", *shell, *map(str, self.command())]
        with open(self.place / "output", "wb") as output:
            self._process = subprocess.Popen(command, cwd=self.place, stdout=output, stderr=output)
        try:
            wait_until(self._listens, f"{self.name} listens")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(LIMIT)
        self._directory.cleanup()

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log()
        with socket.socket() as end:
            return end.connect_ex(("127.0.0.1", self.port)) == 0

    def run(self, *words: object) -> str:
        """Run a command where it runs, and return what that prints."""
        command = ["nsenter", "-m", "-t", str(self._process.pid), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env={"PATH": PATH}, cwd="/")
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.log()}"
        return done.stdout

    def log(self) -> str:
        """Return what it has said so far."""
        paths = (self.place / "output", self.place / "log")
        return "".join(path.read_text("utf-8", "replace") for path in paths if path.exists())

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Wait until it has said something so often."""
        try:
            wait_until(lambda: self.log().count(text) >= count, f"{self.name} says {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def send(
        self, content: bytes, *to: str, sender: str = SENDER, mail: Sequence[str] = (), rcpt: Sequence[str] = ()
    ) -> None:
        """Hand a message in, as octets, with parameters of MAIL and of each RCPT."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=LIMIT) as session:
            session.ehlo("writer.test")
            said = [session.mail(sender, mail), *(session.rcpt(each, rcpt) for each in to)]
            assert all(code == 250 for code, _ in said), said
            session.putcmd("data")
            assert session.getreply()[0] == 354
            lines = content.split(b"\r\n")
            session.send(b"\r\n".join(b"." * line.startswith(b".") + line for line in lines) + b".\r\n")
            code, text = session.getreply()
            assert code == 250, text


class Exim(Mta):
    """Exim; it sends content by BDAT where that is offered."""

    name = "exim"
    program = Path(os.environ.get("EXIM_DIRECTORY", "/var/tmp/sendmail-py-exim")) / "root/usr/sbin/exim4"
    mounts = "mkdir spool; chown 64999:64999 spool\n"
    _text = """\
primary_hostname = exim.test
spool_directory = {place}/spool
log_file_path = {place}/spool/%slog
exim_path = {program}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
acl_smtp_rcpt = accept
dsn_advertise_hosts = *
deliver_drop_privilege = true
keep_environment =
log_selector = +all
begin routers
smarthost:
  driver = manualroute
  route_list = * 127.0.0.1::{smarthost}
  self = send
  transport = smarthost
begin transports
smarthost:
  driver = smtp
  allow_localhost
  message_linelength_limit = 1000000
{more}
begin retry
* * F,1d,1s
"""
    _login = """\
  hosts_require_auth = *
  hosts_require_tls = *
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{}^{}
"""

    def configure(self, port: int, login: tuple[str, str] | None) -> None:
        more = self._login.format(*login) if login else ""
        text = self._text.format(program=self.program, place=self.place, port=self.port, smarthost=port, more=more)
        (self.place / "exim.conf").write_text(text)

    def command(self) -> list[object]:
        return [self.program, "-C", self.place / "exim.conf", "-bdf"]

    def retry(self) -> None:
        self.run(self.program, "-C", self.place / "exim.conf", "-qff")

    def log(self) -> str:
        path = self.place / "spool/mainlog"
        return super().log() + (path.read_text("utf-8", "replace") if path.exists() else "")


class OpenSmtpd(Mta):
    """OpenSMTPD, of which the paths are compiled in."""

    name = "opensmtpd"
    _root = Path(os.environ.get("OPENSMTPD_DIRECTORY", "/var/tmp/sendmail-py-opensmtpd")) / "root"
    program = _root / "usr/sbin/smtpd"
    mounts = f"""
mount -t overlay -o lowerdir={_root}/usr:/usr none /usr
for directory in /var/lib /var/spool /run; do mount -t tmpfs -o mode=755 none $directory; done
mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd
chmod 711 /var/spool/smtpd
"""

    def configure(self, port: int, login: tuple[str, str] | None) -> None:
        (self.place / "secrets").write_text("ours {}:{}\n".format(*login) if login else "")
        by_login = f'"smtp+tls://ours@127.0.0.1:{port}" auth <secrets> tls no-verify'
        in_clear = f'"smtp://127.0.0.1:{port}"'
        (self.place / "smtpd.conf").write_text(
            "mta limit session-keepalive 1\n"
            f"table secrets file:{self.place}/secrets\n"
            f"listen on 127.0.0.1 port {self.port} hostname opensmtpd.test\n"
            f"action out relay host {by_login if login else in_clear}\n"
            "match from any for any action out\n"
        )

    def command(self) -> list[object]:
        return ["/usr/sbin/smtpd", "-d", "-v", "-f", self.place / "smtpd.conf"]

    def retry(self) -> None:
        group = f"--regid={_USERS['opensmtpq']}"  # which the program is made for
        self.run("setpriv", group, "--clear-groups", "/usr/sbin/smtpctl", "schedule", "all")


class Postfix(Mta):
    """Postfix, with the services that relay."""

    name = "postfix"
    program = MASTER
    mounts = f"""
mount -t overlay -o lowerdir={POSTFIX}/usr:/usr none /usr
mkdir queue data
chown postfix: data
cd queue
{MAKE_QUEUE}
cd ..
"""
    _main = """compatibility_level = 3.6
myhostname = postfix.test
queue_directory = {place}/queue
data_directory = {place}/data
maillog_file = {place}/log
maillog_file_prefixes = {place}
mydestination =
alias_maps =
alias_database =
inet_protocols = ipv4
relayhost = [127.0.0.1]:{smarthost}
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtp_dns_support_level = disabled
smtp_connection_cache_destinations = 127.0.0.1
smtp_destination_concurrency_limit = 1
smtp_line_length_limit = 0
"""
    _login = """smtp_tls_security_level = encrypt
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{{ {{[127.0.0.1]:{smarthost}={login}}} }}
smtp_sasl_security_options = noanonymous
"""
    _relaying = """pickup unix n - n 60 1 pickup
scache unix - - n - 1 scache
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
"""

    def configure(self, port: int, login: tuple[str, str] | None) -> None:
        place = self.place / "etc"
        place.mkdir()
        text = self._main + (self._login if login else "")
        (place / "main.cf").write_text(text.format(place=self.place, smarthost=port, login=":".join(login or ())))
        listener = f"127.0.0.1:{self.port} inet n - n - - smtpd\n"
        (place / "master.cf").write_text(listener + SERVICES + self._relaying + SENDING)

    def command(self) -> list[object]:
        return ["/usr/lib/postfix/sbin/master", "-c", self.place / "etc", "-d"]

    def retry(self) -> None:
        self.run("/usr/sbin/postqueue", "-c", self.place / "etc", "-f")
