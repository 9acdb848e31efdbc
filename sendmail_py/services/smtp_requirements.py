"""How much TLS a session with a host of a destination has to have, and who says so.

1. smtp_tls_policy_maps, 2. DANE, where one of these parameters asks for it, 3. MTA-STS, 4. smtp_tls_security_level.
What cannot be found out defers, and is never taken for less.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.config import Config
from ..host.dns import Resolver
from ..host.syslog import Log
from ..protocol.tls_policy import Level, Requirement, parse_level
from ..routing.hosts import Target, parse_nexthop
from .smtp_dane import Dane
from .smtp_policy_maps import PolicyMaps

if TYPE_CHECKING:
    from .smtp_sts import Sts

SECURITY_LEVEL = "smtp_tls_security_level"


class Requirements:
    """What one configuration asks of each destination; resolver() answers what DNS has to say of it."""

    def __init__(self, config: Config, log: Log, resolver: Callable[[], Resolver]) -> None:
        self._log = log
        self._resolver = resolver
        self._maps = PolicyMaps(config.smtp_tls_policy_maps, log)
        self._level = parse_level(config.smtp_tls_security_level)
        self._config = config
        self._dane = Dane(config, log, resolver)
        self._sts: Sts | None = None

    async def of(self, nexthop: str, target: Target) -> Requirement:
        """Return what is asked of a host of a nexthop; raises SessionError for one where no mail may go now."""
        stated = await self._maps.of(nexthop, target) or Requirement(self._level, why=SECURITY_LEVEL)
        requirement = await self._dane.requirement(stated, target) if stated.level.is_dane else stated
        if stated.why != SECURITY_LEVEL or requirement.level in (Level.DANE, Level.DANE_ONLY):
            return requirement
        return await self._by_sts(nexthop, target, requirement)

    async def _by_sts(self, nexthop: str, target: Target, stated: Requirement) -> Requirement:
        """Return what MTA-STS makes of what is stated: it knows domains, not hosts that somebody has named."""
        hop = parse_nexthop(nexthop, target.port)
        if not (hop.uses_mx and self._config.smtp_mta_sts):
            return stated
        if self._sts is None:
            from .smtp_sts import Sts  # only where it is needed

            self._sts = Sts(self._config, self._log, self._resolver)
        return await self._sts.requirement(hop.host, target, stated)
