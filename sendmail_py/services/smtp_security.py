"""Which TLS and which login a session is to begin with, from the parameters smtp_tls_* and smtp_sasl_*.

Guarantees: what cannot be found out (certificates or passwords that cannot be read) defers, and is
never taken for "none".
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..core.address import Address
from ..core.config import Config
from ..delivery.smtp_opening import Opening
from ..host.dns import Resolver
from ..host.syslog import Log
from ..protocol.sasl import Login
from ..protocol.tls_policy import Requirement
from ..routing.hosts import Target
from .smtp_logins import Logins
from .smtp_tls import ClientTls


class ClientSecurity:
    """The TLS policies and logins of one configuration."""

    def __init__(self, config: Config, log: Log, chains: list[bytes] | None, resolver: Callable[[], Resolver]) -> None:
        self.tls = ClientTls(config, log, chains, resolver)
        self.logins = Logins(config, log)

    async def opening(self, nexthop: str, target: Target, sender: Address) -> Opening:
        """Return how a session with a target is to begin; raises SessionError when that cannot be told now."""
        requirement = await self.tls.requirements.of(nexthop, target)
        login = self.logins.find(nexthop, target.host, sender)
        opening = self._opening(nexthop, target, requirement, login)
        if requirement.trial is None:
            return opening
        return replace(self._opening(nexthop, target, requirement.trial, login), otherwise=opening)

    def _opening(self, nexthop: str, target: Target, requirement: Requirement, login: Login | None) -> Opening:
        policy = self.tls.policy(nexthop, target, requirement)
        turn = partial(self.logins.turn, target.host)
        renew = self.logins.renew
        if not policy.level:
            return Opening(name=target.host, port=target.port, login=login, turn=turn, renew=renew)
        self.tls.check(policy)
        context = partial(self.tls.context, policy)
        resumed = self.tls.resumed(target, policy)
        return Opening(policy, context, target.host, login, turn, target.port, renew, resumed)
