"""What would become of mail to a destination as far as TLS goes: what is asked, what its hosts offer, what comes of it.

It asks the objects that the smtp agent uses, and goes with each host as far as the end of the handshake: no mail is
sent, and no login is tried. Guarantees: each host has an end within SECONDS.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..core.config import Config
from ..core.result import DeliveryResult, Outcome
from ..delivery.smtp_opening import Opening, TlsFailure, open_session
from ..delivery.smtp_session import SmtpSession
from ..delivery.smtp_stream import ConnectError, SessionError, SmtpStream
from ..formats.sts import TESTING
from ..host.certs import described
from ..host.syslog import Log
from ..protocol.tls_policy import CLEAR, Level, Requirement, TlsPolicy
from ..protocol.tlsa import Tlsa
from ..routing.hosts import Target, parse_nexthop
from .smtp_connector import Connector
from .smtp_hosts import HostFinder
from .smtp_sts import Sts
from .smtp_tls import ClientTls
from .sts_policies import StsAnswer

SECONDS = 60.0
AUTHENTICATED, ENCRYPTED, CLEAR_TEXT, WAITS, REFUSED = "authenticated", "encrypted", "clear", "waits", "refused"


@dataclass(slots=True)
class HostReport:
    """One host: level and why are what is asked of it, tls and certificate what it offers, end what comes of it.

    tlsa are its records as (text, does it count, does DNSSEC secure it).
    """

    target: Target
    level: str = ""
    why: str = ""
    names: tuple[str, ...] = ()
    tlsa: tuple[tuple[str, bool, bool], ...] = ()
    tls: str = ""
    certificate: dict[str, Any] = field(default_factory=dict)
    end: str = WAITS
    reason: str = ""
    testing: str = ""  # what MTA-STS would refuse, if it were not a test


@dataclass(slots=True)
class Report:
    """A destination with its hosts, the best first; end is what comes of its mail.

    has_dnssec: somebody is trusted to judge signatures of DNS; has_secure_mx: he finds those of the MX records good.
    """

    nexthop: str
    has_dnssec: bool = False
    has_secure_mx: bool = False
    mail_exchangers: list[tuple[int, str]] = field(default_factory=list)
    sts: StsAnswer | None = None
    hosts: list[HostReport] = field(default_factory=list)
    end: str = WAITS
    reason: str = ""
    chosen: HostReport | None = None


class TlsProbe:
    """Looks at destinations as one configuration would."""

    def __init__(self, config: Config, log: Log, chains: list[bytes] | None) -> None:
        self._config = config
        self._finder = HostFinder(config, log)
        self._connector = Connector(config, log)
        self._tls = ClientTls(config, log, chains, self._finder.resolver)
        self._sts = Sts(config, log, self._finder.resolver)

    async def of(self, nexthop: str) -> Report:
        """Return what comes of mail that goes to a nexthop."""
        report = Report(nexthop, self._finder.resolver().has_dnssec)
        found = await self._finder.find(nexthop)
        if isinstance(found, DeliveryResult):
            report.end = REFUSED if found.outcome is Outcome.FAILED else WAITS
            report.reason = found.reason
            return report
        hop = parse_nexthop(nexthop, self._config.smtp_tcp_port)
        if hop.uses_mx:
            answer = await self._finder.resolver().mx(hop.host)
            report.has_secure_mx = answer.is_secure
            report.mail_exchangers = sorted(answer.hosts) or [(0, hop.host)]
            report.sts = await self._sts.answer(hop.host) if self._config.smtp_mta_sts else None
        report.hosts = list(await asyncio.gather(*(self._host(nexthop, target) for target in found)))
        if report.sts and report.sts.policy and report.sts.policy.mode == TESTING:
            for host in report.hosts:
                if not report.sts.policy.allows(host.target.host):
                    host.testing = f"the policy does not name host {host.target.host}"
        report.chosen = next((host for host in report.hosts if host.end != WAITS), None)
        last = report.chosen or report.hosts[-1]
        report.end, report.reason = last.end, last.reason
        return report

    async def _host(self, nexthop: str, target: Target) -> HostReport:
        report = HostReport(target)
        try:
            async with asyncio.timeout(SECONDS):
                await self._try(nexthop, report)
        except TimeoutError:
            report.end, report.reason = WAITS, f"{target.host} has not come to an end within {SECONDS:.0f} s"
        return report

    async def _try(self, nexthop: str, report: HostReport) -> None:
        """Open a session as a delivery would, and look at the certificate once more where that fails for it."""
        target = report.target
        try:
            report.tlsa = await self._records(target)
            requirement = await self._tls.requirements.of(nexthop, target)
            if requirement.tlsa:
                report.tlsa = tuple((str(record), True, True) for record in requirement.tlsa)
            if requirement.trial and not await self._tried(nexthop, report, requirement.trial):
                report.testing = report.reason
            if not report.tls or report.testing:
                await self._tried(nexthop, report, requirement)
        except ConnectError as error:
            report.reason = error.result.reason
            return
        except SessionError as error:
            report.reason = error.result.reason
        if not report.tls:
            await self._look(report)

    async def _records(self, target: Target) -> tuple[tuple[str, bool, bool], ...]:
        """Return the TLSA records of a host that nobody has asked for, or that do not count."""
        answer = await self._finder.resolver().tlsa(f"_{target.port}._tcp.{target.provenance.canonical or target.host}")
        return tuple((str(Tlsa(*record)), False, answer.is_secure) for record in answer.records)

    async def _tried(self, nexthop: str, report: HostReport, requirement: Requirement) -> bool:
        """Say whether a session comes about with what is asked, and report it; in clear where that will do."""
        target = report.target
        policy = self._tls.policy(nexthop, target, requirement)
        report.level, report.why = policy.level.word, requirement.why
        report.names = policy.names if policy.level >= Level.FINGERPRINT else ()
        self._tls.check(policy)
        try:
            await self._open(report, policy)
        except TlsFailure as error:
            report.reason, report.end = error.result.reason, WAITS
            if policy.is_required:
                return False
            report.end = CLEAR_TEXT
            await self._open(report, CLEAR)
            return True
        report.end = AUTHENTICATED if policy.level >= Level.FINGERPRINT else ENCRYPTED if report.tls else CLEAR_TEXT
        report.reason = "" if report.tls or not policy.level else f"{target.host} does not offer TLS"
        return True

    async def _open(self, report: HostReport, policy: TlsPolicy) -> None:
        stream = await self._connector.again(report.target, lmtp=False)
        session = SmtpSession(stream, self._config)
        opening = Opening(policy, partial(self._tls.context, policy), report.target.host, port=report.target.port)
        try:
            await open_session(session, opening, self._config)
            _take(report, stream)
            await session.quit()
        finally:
            stream.abort()

    async def _look(self, report: HostReport) -> None:
        """See what TLS a host offers to whoever does not care who it is."""
        anyone = self._tls.policy(report.target.host, report.target, Requirement(Level.ENCRYPT))
        end, reason = report.end, report.reason
        try:
            await self._open(report, anyone)
        except SessionError:
            pass  # it is known already that it does not work
        report.end, report.reason = end, reason


def _take(report: HostReport, stream: SmtpStream) -> None:
    """Note the TLS of a session."""
    if not stream.tls:
        return
    report.tls = stream.tls
    try:
        report.certificate = described(stream.certificate())
    except (ImportError, ValueError) as error:
        report.certificate = {"trouble": str(error)}
