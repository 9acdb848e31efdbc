"""What TLS a session is to have in all particulars, by the parameters smtp_tls_*, and what is kept of it for the next.

Guarantees: a policy or certificate that cannot be found out defers, and is never taken for "none".
"""

import time
from collections.abc import Callable

from ..core.config import Config
from ..core.result import Scope, deferred
from ..delivery.smtp_stream import SessionError, SmtpStream
from ..host.dns import Resolver
from ..host.syslog import Log
from ..host.tls import Context, Session, TlsError, client_context
from ..protocol.tls_policy import (
    CLEAR,
    Level,
    Requirement,
    TlsPolicy,
    cipher_list,
    parse_digests,
    parse_versions,
    wanted_names,
)
from ..routing.hosts import Target, parse_nexthop
from .smtp_requirements import Requirements

_SUBMISSIONS_PORT = 465  # TLS from the first octet, wherever it is (RFC 8314)
_SESSIONS_LIMIT = 1000


class ClientTls:
    """The TLS policies of one configuration; chains are what this host shows of itself, None when it cannot."""

    def __init__(self, config: Config, log: Log, chains: list[bytes] | None, resolver: Callable[[], Resolver]) -> None:
        self._config = config
        self._log = log
        self._chains = chains
        self.requirements = Requirements(config, log, resolver)
        self._contexts: dict[tuple[bool, tuple[str, ...], str], Context] = {}
        self._sessions: dict[tuple[str, int, TlsPolicy], tuple[float, Session]] = {}

    def policy(self, nexthop: str, target: Target, entry: Requirement) -> TlsPolicy:
        """Return what a session with a target is to have by what is asked of it; raises SessionError."""
        config = self._config
        level = entry.level
        if not level:
            return CLEAR
        if self._chains is None:
            raise SessionError(deferred("4.3.5", "the certificate of this host cannot be read", Scope.HOST))
        implicit = config.smtp_tls_wrappermode or target.port == _SUBMISSIONS_PORT
        if implicit:
            level = max(level, Level.ENCRYPT)
        domain = parse_nexthop(nexthop, target.port).host
        is_required = level >= Level.ENCRYPT
        versions = config.smtp_tls_mandatory_protocols if is_required else config.smtp_tls_protocols
        grade = config.smtp_tls_mandatory_ciphers if is_required else config.smtp_tls_ciphers
        exclude = entry.exclude
        if exclude is None:
            more = config.smtp_tls_mandatory_exclude_ciphers if is_required else []
            exclude = (*config.smtp_tls_exclude_ciphers, *more)
        servername = config.smtp_tls_servername if entry.servername is None else entry.servername
        return TlsPolicy(
            level,
            implicit,
            self._wanted(level, entry.match, target.host, domain),
            entry.versions or parse_versions(versions),
            cipher_list(entry.grade or grade, exclude),
            {"hostname": target.host, "nexthop": domain}.get(servername, servername),
            config.smtp_tls_fingerprint_digest if level is Level.FINGERPRINT else "",
            entry.tlsa,
            entry.asked,
        )

    def _wanted(self, level: Level, match: tuple[str, ...] | None, host: str, domain: str) -> tuple[str, ...]:
        """Return the names that a certificate may bear, or its digests."""
        config = self._config
        if level is Level.FINGERPRINT:
            return parse_digests(config.smtp_tls_fingerprint_cert_match) if match is None else match
        if match is None:
            is_secure = level is Level.SECURE
            match = config.smtp_tls_secure_cert_match if is_secure else config.smtp_tls_verify_cert_match
        return wanted_names(match, host, domain)

    def context(self, policy: TlsPolicy) -> Context:
        """Return the context of a policy; raises TlsError."""
        key = policy.verifies, policy.versions, policy.ciphers
        if key not in self._contexts:
            config = self._config
            self._contexts[key] = client_context(
                policy, config.smtp_tls_CAfile, config.smtp_tls_CApath, self._chains or ()
            )
        return self._contexts[key]

    def check(self, policy: TlsPolicy) -> None:
        """Raise SessionError when a policy that is required cannot be had.

        The context of another is made when a server offers TLS, for it costs a megabyte.
        """
        try:
            if policy.is_required:
                self.context(policy)
        except TlsError as error:
            self._log.warning(str(error))
            raise SessionError(deferred("4.3.5", str(error), Scope.HOST)) from error

    # --- sessions that may be resumed ----------------------------------------------------------

    def resumed(self, target: Target, policy: TlsPolicy) -> Session | None:
        """Return a session that a new connection to the same place under the same policy may resume."""
        until, session = self._sessions.get((target.address, target.port, policy), (0.0, None))
        return session if time.monotonic() < until else None

    def keep(self, target: Target, policy: TlsPolicy, stream: SmtpStream) -> None:
        """Keep what a later connection may resume."""
        seconds = self._config.smtp_tls_session_cache_timeout
        session = stream.tls_session() if seconds else None
        if session is None:
            return
        key = target.address, target.port, policy
        self._sessions.pop(key, None)
        self._sessions[key] = time.monotonic() + seconds, session
        while len(self._sessions) > _SESSIONS_LIMIT:
            del self._sessions[next(iter(self._sessions))]
