"""Exim as the other side: TLS, resumed sessions, and a policy of MTA-STS that its certificate has to keep to."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendmail_py.core.result import Outcome
from tests.integration import relaying_mtas
from tests.integration.agent_harness import AgentProcess
from tests.integration.test_sts_mail import start, zone_of
from tests.servers.certificates import Authority
from tests.servers.name_server import NameServer
from tests.servers.policy_host import PolicyHost, policy

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


class Exim(relaying_mtas.Exim):
    """A context manager: the server, with a certificate."""

    mounts = relaying_mtas.Exim.mounts + "chown 64999:64999 certificate.pem\n"

    def __init__(self, certificate: str) -> None:
        self._certificate = certificate
        super().__init__(0)

    def configure(self, port: int, login: tuple[str, str] | None) -> None:
        shutil.copy(self._certificate, self.place / "certificate.pem")
        (self.place / "exim.conf").write_text(_CONFIGURATION.format(host=HOST, place=self.place, port=self.port))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
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
