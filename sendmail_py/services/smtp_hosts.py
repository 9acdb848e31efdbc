"""From a nexthop to the addresses to try: DNS asks, routing/hosts.py decides."""

import asyncio
import random
from dataclasses import replace

from ..core.config import Config
from ..core.errors import ConfigError
from ..core.lookup import AddressAnswer, Found
from ..core.result import DeliveryResult, Outcome, Scope, deferred, failed
from ..host.dns import Resolver
from ..host.name_servers import servers_of
from ..host.network import is_own_address
from ..host.syslog import Log
from ..protocol.tls_policy import parse_level
from ..routing import hosts
from ..routing.hosts import Nexthop, Policy, Target
from ..routing.networks import Networks
from ..routing.resolve import named_nexthops


class HostFinder:
    """Finds the targets of nexthops, as the configuration wants them."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._chance = random.Random()
        self._families = _families(config.inet_protocols)
        self._resolver: Resolver | None = None
        self._own_names = {name.lower().removesuffix(".") for name in [config.myhostname, *config.mydestination]}
        self._named = named_nexthops(config)

    async def find(self, nexthop: str, is_named: bool = False) -> list[Target] | DeliveryResult:
        """Return where to connect, best first, or the result of everybody.

        A nexthop that the configuration or a table names (is_named) and that clearly cannot be is a mistake there:
        its mail waits.
        """
        is_named = is_named or nexthop in self._named
        try:
            hop = hosts.parse_nexthop(nexthop, self._config.smtp_tcp_port)
        except ValueError as error:
            found: list[Target] | DeliveryResult = failed("5.1.2", str(error), Scope.HOST)
        else:
            found = await self._find(hop, self._policy(nexthop, is_named))
        if isinstance(found, DeliveryResult) and found.outcome is Outcome.FAILED and is_named:
            self._log.warning(f"configuration problem with the nexthop {nexthop}: {found.reason}")
            return deferred("4.3.5", found.reason, Scope.HOST)
        return found

    async def find_lmtp(self, nexthop: str) -> list[Target] | DeliveryResult:
        """Return where to connect for LMTP: the administrator named it, so it waits whatever is wrong with it."""
        try:
            path, hop = hosts.parse_lmtp(nexthop)
        except ValueError as error:
            found: list[Target] | DeliveryResult = deferred("4.3.5", str(error), Scope.HOST)
        else:
            if path:
                return [Target(self._config.myhostname, path, 0)]
            found = await self._find(hop, replace(self._policy(nexthop, True), trusted=True))
        if isinstance(found, DeliveryResult) and found.outcome is Outcome.FAILED:
            return deferred("4.3.5", found.reason, Scope.HOST)
        return found

    def _policy(self, nexthop: str, is_named: bool) -> Policy:
        config = self._config
        return Policy(
            own_names=self._own_names,
            is_own_address=is_own_address,
            port=config.smtp_tcp_port,
            permit_loopback=config.smtp_permit_loopback_mx,
            trusted=nexthop[:1] == "[" and is_named,
            preference=config.smtp_address_preference,
            address_limit=config.smtp_mx_address_limit,
            balances=config.smtp_balance_inet_protocols,
        )

    async def _find(self, hop: Nexthop, policy: Policy) -> list[Target] | DeliveryResult:
        mail_hosts: list[tuple[int, str]] | DeliveryResult = [(0, hop.host)]
        mx = None
        if hop.uses_mx:
            mx = await self.resolver().mx(hop.host)
            mail_hosts = hosts.mail_hosts(hop, mx, policy, self._chance)
        if isinstance(mail_hosts, DeliveryResult):
            return mail_hosts
        names = [host for _, host in mail_hosts]
        answers = await asyncio.gather(*(self._addresses(name) for name in names))
        return hosts.targets(hop, mail_hosts, dict(zip(names, answers, strict=True)), policy, self._chance, mx)

    async def _addresses(self, host: str) -> AddressAnswer:
        if not hosts.is_address(host):
            return await self.resolver().addresses(host)
        if ("AAAA" if ":" in host else "A") not in self._families:
            return AddressAnswer(Found.TEMPORARY, (), "its address family is turned off by inet_protocols")
        return AddressAnswer(Found.YES, (host,))

    def resolver(self) -> Resolver:
        """Return the resolver that these look-ups share their answers with."""
        if self._resolver is None:
            servers = servers_of(self._config)
            trusted = Networks(self._config.resolver_trusted_nameservers if _may_use_dane(self._config) else ())
            self._resolver = Resolver(servers, self._config.resolver_timeout, self._families, trusted)
        return self._resolver


def _may_use_dane(config: Config) -> bool:
    is_asked_for = parse_level(config.smtp_tls_security_level).is_dane or config.smtp_tls_policy_maps
    return config.smtp_dns_support_level == "dnssec" and bool(is_asked_for)


def _families(inet_protocols: str) -> tuple[str, ...]:
    """Return the record types that inet_protocols allows; raises ConfigError when there is none."""
    wanted = inet_protocols.replace(",", " ").split()
    families = [kind for kind, name in (("AAAA", "ipv6"), ("A", "ipv4")) if name in wanted or "all" in wanted]
    if not families:
        raise ConfigError(f"inet_protocols = {inet_protocols}: no protocol is left")
    return tuple(families)
