"""What DANE makes of the levels dane and dane-only for one host of a destination (RFC 7672 2.2).

Guarantees: what cannot be told now defers, and is never taken for "no records"; a record counts only where
DNSSEC vouches for it, and for the way to it.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from ..core.config import Config
from ..core.lookup import Found
from ..core.result import Scope, deferred
from ..delivery.smtp_stream import SessionError
from ..host.dns import Resolver
from ..host.syslog import Log
from ..protocol.tls_policy import Level, Requirement
from ..protocol.tlsa import TRUST_ANCHOR, usable
from ..routing.hosts import Target

_TROUBLE_SECONDS = 30.0  # RFC 2308 7 would allow five minutes
_TROUBLE_LIMIT = 1000
_Records = tuple[tuple[int, int, int, bytes], ...]


class Dane:
    """Looks TLSA records up, by the resolver that knows the hosts already."""

    def __init__(self, config: Config, log: Log, resolver: Callable[[], Resolver]) -> None:
        self._for_insecure_mx: str = config.smtp_tls_dane_insecure_mx_policy
        self._log = log
        self._resolver = resolver
        self._has_warned = False
        self._troubles: dict[str, tuple[float, str]] = {}

    async def requirement(self, stated: Requirement, target: Target) -> Requirement:
        """Return what is asked of a host where dane or dane-only is stated; raises SessionError when nothing may go."""
        self._warn_without_dnssec()
        has_insecure_mx = target.provenance.has_secure_mx is False
        if has_insecure_mx and (stated.level is Level.DANE_ONLY or self._for_insecure_mx == "may"):
            return _without(stated, target, Level.MAY, "DNSSEC does not secure its MX records")
        base, records = await self._records(target)
        if not base:
            return _without(stated, target, Level.MAY, "DNSSEC secures no TLSA records of it")
        tlsa = usable(records)
        if not tlsa:
            return _without(stated, target, Level.ENCRYPT, "its TLSA records are unusable")
        if has_insecure_mx and self._for_insecure_mx == "encrypt":
            return _without(stated, target, Level.ENCRYPT, "DNSSEC does not secure its MX records")
        return replace(
            stated,
            level=Level.HALFDANE if has_insecure_mx else stated.level,
            match=_names(base, target) if any(record.usage == TRUST_ANCHOR for record in tlsa) else (),
            servername=base,
            tlsa=tlsa,
            asked=stated.level,
            why=f"DANE for {base}",
        )

    async def _records(self, target: Target) -> tuple[str, _Records]:
        """Return the TLSA base domain of a host and its records, "" where there are none; raises SessionError."""
        for base in await self._bases(target):
            name = f"_{target.port}._tcp.{base}"
            until, reason = self._troubles.get(name, (0.0, ""))
            if time.monotonic() < until:
                raise _not_now(target, reason)
            answer = await self._resolver().tlsa(name)
            if answer.found is Found.TEMPORARY:
                self._keep_trouble(name, answer.reason)
                raise _not_now(target, answer.reason)
            if answer.found is Found.YES and answer.is_secure:
                return base, answer.records
        return "", ()

    def _keep_trouble(self, name: str, reason: str) -> None:
        """Ask no more for a moment: a name server that is silent would be waited for at each step of each batch."""
        self._troubles.pop(name, None)
        self._troubles[name] = time.monotonic() + _TROUBLE_SECONDS, reason
        while len(self._troubles) > _TROUBLE_LIMIT:
            del self._troubles[next(iter(self._troubles))]

    async def _bases(self, target: Target) -> list[str]:
        """Return the names of a host whose records may count: that behind its aliases, then its own (RFC 7672 2.2.2).

        Where DNSSEC secures neither nobody is asked: name servers of unsigned zones may not know such records.
        """
        provenance = target.provenance
        if provenance.is_secure:
            return [provenance.canonical, target.host] if provenance.canonical else [target.host]
        if not provenance.canonical or not self._resolver().has_dnssec:
            return []
        is_secure = await self._resolver().is_secure_alias(target.host)
        if is_secure is None:
            raise _not_now(target, "whether DNSSEC secures its alias cannot be told")
        return [target.host] if is_secure else []

    def _warn_without_dnssec(self) -> None:
        if not self._has_warned and not self._resolver().has_dnssec:
            self._has_warned = True
            self._log.warning(
                "DANE is asked for, but there is no name server whose word on DNSSEC counts "
                "(smtp_dns_support_level, resolver_trusted_nameservers)"
            )


def _names(base: str, target: Target) -> tuple[str, ...]:
    """Return whom a certificate may be for under a trust anchor (RFC 7672 3.2.2)."""
    return tuple(dict.fromkeys((base, *target.provenance.domains)))


def _without(stated: Requirement, target: Target, level: Level, why: str) -> Requirement:
    """Return what dane comes to without a certificate to hold a host to; raises SessionError for dane-only."""
    if stated.level is Level.DANE_ONLY:
        raise SessionError(
            deferred("4.7.5", f"DANE is required, but not possible with host {target.host}: {why}", Scope.HOST)
        )
    asked = stated.level if level is Level.ENCRYPT else None
    return replace(stated, level=level, asked=asked, why=f"{stated.why}; {target.host}: {why}")


def _not_now(target: Target, reason: str) -> SessionError:
    return SessionError(deferred("4.7.5", f"TLSA lookup error for {target.host}:{target.port}: {reason}", Scope.HOST))
