"""Which TLS and which login a session is to begin with, from the parameters smtp_tls_* and smtp_sasl_*.

Guarantees: what cannot be found out (certificates or passwords that cannot be read) defers, and is
never taken for "none".
"""

from functools import partial
from typing import TYPE_CHECKING

from ..core.address import Address
from ..core.config import Config
from ..core.result import Scope, deferred
from ..delivery.smtp_opening import Opening
from ..delivery.smtp_stream import SessionError
from ..formats.tables import TableError
from ..host.syslog import Log
from ..host.tls import Context, TlsError, client_context
from ..protocol.tls_policy import (
    CLEAR,
    Level,
    PolicyEntry,
    TlsPolicy,
    parse_entry,
    parse_level,
    parse_versions,
    policy_keys,
    wanted_names,
)
from ..routing.hosts import Target, parse_nexthop
from .smtp_logins import Logins

if TYPE_CHECKING:
    from ..host.tables import Tables

_SUBMISSIONS_PORT = 465  # TLS from the first octet, wherever it is (RFC 8314)


class ClientSecurity:
    """The TLS policies and logins of one configuration."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._policies = _tables(config.smtp_tls_policy_maps, log) if config.smtp_tls_policy_maps else None
        self._level = parse_level(config.smtp_tls_security_level)
        self._contexts: dict[tuple[bool, tuple[str, ...]], Context] = {}
        self.logins = Logins(config, log)

    def opening(self, nexthop: str, target: Target, sender: Address) -> Opening:
        """Return how a session with a target is to begin; raises SessionError when that cannot be told now."""
        policy = self._policy(nexthop, target)
        login = self.logins.find(nexthop, target.host, sender)
        turn = partial(self.logins.turn, target.host)
        if not policy.level:
            return Opening(login=login, turn=turn)
        try:
            if policy.is_required:  # otherwise it is made when a server offers TLS, which costs a megabyte
                self._context(policy)
        except TlsError as error:
            self._log.warning(str(error))
            raise SessionError(deferred("4.3.5", str(error), Scope.HOST)) from error
        return Opening(policy, partial(self._context, policy), target.host, login, turn)

    def _policy(self, nexthop: str, target: Target) -> TlsPolicy:
        config = self._config
        entry = self._entry(nexthop)
        level = entry.level
        if not level:
            return CLEAR
        implicit = config.smtp_tls_wrappermode or target.port == _SUBMISSIONS_PORT
        if implicit:
            level = max(level, Level.ENCRYPT)
        match = entry.match
        if match is None:
            secure = level is Level.SECURE
            match = config.smtp_tls_secure_cert_match if secure else config.smtp_tls_verify_cert_match
        names = wanted_names(match, target.host, parse_nexthop(nexthop, target.port).host)
        versions = entry.versions
        if versions is None:
            required = level >= Level.ENCRYPT
            versions = parse_versions(config.smtp_tls_mandatory_protocols if required else config.smtp_tls_protocols)
        return TlsPolicy(level, implicit, names, versions)

    def _entry(self, nexthop: str) -> PolicyEntry:
        """Return what smtp_tls_policy_maps has for a nexthop; raises SessionError when it cannot be told."""
        try:
            found = self._policies and next(filter(None, map(self._policies.look_up, policy_keys(nexthop))), None)
            return parse_entry(found) if found else PolicyEntry(self._level)
        except (TableError, ValueError) as error:
            text = f"smtp_tls_policy_maps: {error}"
            self._log.warning(text)
            raise SessionError(deferred("4.7.5", text, Scope.HOST)) from error

    def _context(self, policy: TlsPolicy) -> Context:
        key = policy.verifies, policy.versions
        if key not in self._contexts:
            self._contexts[key] = client_context(policy, self._config.smtp_tls_CAfile, self._config.smtp_tls_CApath)
        return self._contexts[key]


def _tables(names: list[str], log: Log) -> "Tables":
    from ..host.tables import Tables  # only where it is needed: all kinds of tables cost a megabyte

    return Tables(names, log.warning)
