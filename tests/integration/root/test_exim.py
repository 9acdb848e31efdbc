"""Exim as the other side: TLS, resumed sessions, and a policy of MTA-STS that its certificate has to keep to."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendmail_py.core.result import Outcome
from tests.integration.agent_harness import AgentProcess
from tests.integration.instance import wait_until
from tests.integration.test_sts_mail import start, zone_of
from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost, policy
from tests.servers.ports import free_port

EXIM = Path(os.environ.get("EXIM_DIRECTORY", "/var/tmp/sendmail-py-exim")) / "root/usr/sbin/exim4"  # by make-postfix
HOST = "mx.exim.test"
_CONFIGURATION = """\
primary_hostname = {host}
spool_directory = {place}/spool
log_file_path = {place}/spool/%slog
tls_advertise_hosts = *
tls_certificate = {place}/certificate.pem
tls_privatekey = {place}/certificate.pem
tls_resumption_hosts = *
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
acl_smtp_rcpt = accept
queue_only = true
keep_environment =
log_selector = +tls_cipher +tls_resumption +tls_sni
begin routers
all:
  driver = accept
  transport = nowhere
begin transports
nowhere:
  driver = appendfile
  file = /dev/null
"""
# Exim is made for a user of this name, whom a copy of passwd(5) has that only it sees.
_START = """
cp /etc/passwd /etc/group .
echo 'Debian-exim:x:64999:64999::/nonexistent:/bin/false' >> passwd
echo 'Debian-exim:x:64999:' >> group
mount --bind passwd /etc/passwd
mount --bind group /etc/group
chown 64999:64999 spool certificate.pem
exec "$1" -C "$2" -bdf
"""


class Exim:
    """A context manager: the server, in a directory that its user can pass through."""

    def __init__(self, certificate: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="exim-")
        self.place = Path(self._directory.name)
        self.place.chmod(0o711)
        self.port = free_port()
        (self.place / "spool").mkdir()
        shutil.copy(certificate, self.place / "certificate.pem")
        text = _CONFIGURATION.format(host=HOST, place=self.place, port=self.port)
        (self.place / "exim.conf").write_text(text)

    def __enter__(self) -> "Exim":
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _START, "sh", EXIM]
        with open(self.place / "output", "wb") as output:
            command = [*words, self.place / "exim.conf"]
            self._process = subprocess.Popen(command, cwd=self.place, stdout=output, stderr=output)
        wait_until(self._listens, "Exim listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._directory.cleanup()

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self.place / "output").read_text()
        with socket.socket() as end:
            return end.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        """Return what it has logged of messages."""
        return (self.place / "spool/mainlog").read_text()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if not EXIM.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {EXIM} (`make test-deps`)")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def place(tmp_path: Path, authority: Authority) -> Iterator[tuple[NameServer, PolicyHost]]:
    with NameServer(zone_of("exim.test", HOST)) as names:
        with PolicyHost(authority, {"exim.test": policy("enforce", HOST)}) as policies:
            yield names, policies


def send(agent: AgentProcess, exim: Exim) -> Outcome:
    outcome: Outcome = agent.result(f"exim.test:{exim.port}").outcome
    return outcome


def test_exim_takes_mail_under_a_policy_and_resumes_sessions(
    tmp_path: Path, authority: Authority, place: tuple[NameServer, PolicyHost]
) -> None:
    with Exim(authority.certificate(HOST)) as exim:
        with start(tmp_path, authority, *place, smtp_tls_loglevel=1) as agent:
            assert [send(agent, exim) for _ in range(3)] == [Outcome.DELIVERED] * 3
            assert agent.log().count(f"Verified TLS connection established to {HOST}[127.0.0.1]") == 3
        taken = [line for line in exim.log().splitlines() if " <= alice@example.org " in line]
    assert len(taken) == 3
    assert all(f"SNI={HOST}" in line and "P=esmtps X=TLS1.3" in line for line in taken)
    assert [bool(re.search(r" X=TLS1\.3:[^ ]*\* ", line)) for line in taken] == [False, True, True]  # * is resumed


def test_exim_with_the_certificate_of_another_gets_nothing_under_a_policy(
    tmp_path: Path, authority: Authority, place: tuple[NameServer, PolicyHost]
) -> None:
    with Exim(authority.certificate("other.test")) as exim:
        with start(tmp_path, authority, *place) as agent:
            assert send(agent, exim) is Outcome.DEFERRED
            assert f"it is for other.test, not for {HOST}" in agent.log()
        assert " <= " not in exim.log()
