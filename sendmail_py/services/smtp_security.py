"""Which TLS and which login a session is to begin with, from the parameters smtp_tls_* and smtp_sasl_*.

Guarantees: what cannot be found out (certificates or passwords that cannot be read) defers, and is
never taken for "none".
"""

from ..core.address import Address
from ..core.config import Config
from ..core.result import Scope, deferred
from ..delivery.smtp_opening import Opening
from ..delivery.smtp_stream import SessionError
from ..host.syslog import Log
from ..host.tls import Context, TlsError, client_context
from ..protocol.tls_policy import CLEAR, Level, TlsPolicy, parse_level, parse_versions, wanted_names
from ..routing.hosts import Target, parse_nexthop
from .smtp_logins import Logins

_SUBMISSIONS_PORT = 465  # TLS from the first octet, wherever it is (RFC 8314)


class ClientSecurity:
    """The TLS policies and logins of one configuration."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._level = parse_level(config.smtp_tls_security_level)
        self._contexts: dict[tuple[bool, tuple[str, ...]], Context] = {}
        self.logins = Logins(config, log)

    def opening(self, nexthop: str, target: Target, sender: Address) -> Opening:
        """Return how a session with a target is to begin; raises SessionError when that cannot be told now."""
        policy = self._policy(nexthop, target)
        login = self.logins.find(nexthop, target.host, sender)
        if not policy.level:
            return Opening(login=login)
        try:
            context = self._context(policy)
        except TlsError as error:
            self._log.warning(str(error))
            raise SessionError(deferred("4.3.5", str(error), Scope.HOST)) from error
        return Opening(policy, context, target.host, login)

    def _policy(self, nexthop: str, target: Target) -> TlsPolicy:
        level, config = self._level, self._config
        if not level:
            return CLEAR
        implicit = config.smtp_tls_wrappermode or target.port == _SUBMISSIONS_PORT
        if implicit:
            level = max(level, Level.ENCRYPT)
        match = config.smtp_tls_secure_cert_match if level is Level.SECURE else config.smtp_tls_verify_cert_match
        names = wanted_names(match, target.host, parse_nexthop(nexthop, target.port).host)
        required = level >= Level.ENCRYPT
        versions = parse_versions(config.smtp_tls_mandatory_protocols if required else config.smtp_tls_protocols)
        return TlsPolicy(level, implicit, names, versions)

    def _context(self, policy: TlsPolicy) -> Context:
        key = policy.verifies, policy.versions
        if key not in self._contexts:
            self._contexts[key] = client_context(policy, self._config.smtp_tls_CAfile, self._config.smtp_tls_CApath)
        return self._contexts[key]
