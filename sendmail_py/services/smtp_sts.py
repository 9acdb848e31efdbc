"""What MTA-STS asks of the TLS with a mail exchanger (RFC 8461 4 and 5).

Guarantees: under enforce no mail goes to a host that the policy does not name, nor without a verified certificate for
that host; under testing it goes as without a policy, and the log has what would have been refused.
"""

from collections.abc import Callable
from dataclasses import replace

from ..core.config import Config
from ..core.result import Scope, deferred
from ..delivery.smtp_stream import SessionError
from ..formats.sts import ENFORCE, NONE
from ..host.dns import Resolver
from ..host.syslog import Log
from ..protocol.tls_policy import Level, Requirement, parse_versions
from ..routing.hosts import Target
from .sts_policies import StsAnswer, StsPolicies

MTA_STS = "MTA-STS"
_VERSIONS = ("TLSv1.2", "TLSv1.3")


class Sts:
    """What the policies of domains ask, for one configuration."""

    def __init__(self, config: Config, log: Log, resolver: Callable[[], Resolver]) -> None:
        self._log = log
        self._config = config
        self._resolver = resolver
        self._policies: StsPolicies | None = None
        allowed = parse_versions(config.smtp_tls_mandatory_protocols)
        self._versions = tuple(version for version in _VERSIONS if version in allowed) or _VERSIONS

    async def answer(self, domain: str) -> StsAnswer:
        """Return which policy counts for a domain."""
        if self._policies is None:
            self._policies = StsPolicies(self._config, self._log, self._resolver())
        return await self._policies.find(domain)

    async def requirement(self, domain: str, target: Target, stated: Requirement) -> Requirement:
        """Return what is asked of a host of a domain, never less than what is stated; raises SessionError.

        Where TLS is turned off it stays off.
        """
        if not stated.level:
            return stated
        policy = (await self.answer(domain)).policy
        if policy is None or policy.mode == NONE:
            return stated
        if not policy.allows(target.host):
            text = f"MTA-STS: the policy of {domain} does not name host {target.host}: {' '.join(policy.mx)[:200]}"
            if policy.mode == ENFORCE:
                raise SessionError(deferred("4.7.5", text, Scope.HOST))
            self._log.warning(f"{text} (testing: mail goes there all the same)")
            return stated
        if stated.level >= Level.FINGERPRINT:
            return stated
        asked = Requirement(Level.VERIFY, ("hostname",), self._versions, servername=target.host, why=MTA_STS)
        return asked if policy.mode == ENFORCE else replace(stated, trial=asked)
