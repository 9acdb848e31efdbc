"""DNS of this host and its domain, as others judge it: A, AAAA, PTR, MX, SPF, DKIM, DMARC; the relayhost; DNSSEC."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Iterator

from ....core.address import Address
from ....core.config import Config
from ....core.lookup import AddressAnswer, Found
from ....core.route import SMTP
from ....host.dns import Resolver
from ....host.name_servers import servers_of
from ....protocol.tls_policy import Level, parse_level
from ....routing.hosts import is_address, parse_nexthop
from ....routing.networks import Networks
from ....routing.transport import split_nexthops
from ....services.routes import routing_of
from ..dkim import in_use, state
from .finding import Finding, error, warning

_SECONDS = 10.0
_SIGNED = "org"  # a domain that is signed, and will be
_DNS_REPAIR = "cat /etc/resolv.conf; edit it, or set resolver_nameservers"


def check(config: Config) -> Iterator[Finding]:
    """Yield what is missing; a host whose mail all goes through a relayhost needs that one alone."""
    return iter(asyncio.run(_all(config)))


async def _all(config: Config) -> list[Finding]:
    servers = servers_of(config)
    resolver = Resolver(servers, min(config.resolver_timeout, _SECONDS))
    look = _relayhost if config.relayhost else _own_names
    found = [finding async for finding in look(config, resolver)]
    found += [finding async for finding in _signatures(config, resolver)]
    trusted = Networks(config.resolver_trusted_nameservers if config.smtp_dns_support_level == "dnssec" else ())
    validating = Resolver(servers, min(config.resolver_timeout, _SECONDS), trusted=trusted)
    return found + [finding async for finding in _dnssec(config, validating)]


async def _dnssec(config: Config, resolver: Resolver) -> AsyncIterator[Finding]:
    """Yield what keeps DANE from its records, where it is the level for all destinations."""
    level = parse_level(config.smtp_tls_security_level)
    if not level.is_dane:
        return
    repair = "apt install unbound; nameserver 127.0.0.1 in /etc/resolv.conf, or see resolver_trusted_nameservers"
    comes_to = "all mail waits" if level is Level.DANE_ONLY else "it is the same as may"
    if not resolver.has_dnssec:
        text = f"smtp_tls_security_level = {level.word}, and no name server is trusted with DNSSEC: {comes_to}"
        yield warning(text, repair)
        return
    answer = await resolver.mx(_SIGNED)
    if answer.found is not Found.TEMPORARY and not answer.is_secure:
        text = f"smtp_tls_security_level = {level.word}, and the name server does not validate DNSSEC: {comes_to}"
        yield warning(text, repair)


async def _relayhost(config: Config, resolver: Resolver) -> AsyncIterator[Finding]:
    for text in split_nexthops(config.relayhost):
        try:
            hop = parse_nexthop(text, config.smtp_tcp_port)
        except ValueError:
            continue
        if is_address(hop.host):
            continue
        mail = await resolver.mx(hop.host) if hop.uses_mx else None
        if mail is not None and mail.found is Found.YES:
            continue
        answer = await resolver.addresses(hop.host)
        if answer.found is Found.TEMPORARY:
            why = _why(answer.reason)
            yield error(f"DNS does not answer: {why}; mail for the relayhost {text} waits", _DNS_REPAIR)
        elif answer.found is not Found.YES:
            yield error(f"relayhost {text} cannot be found: {_why(answer.reason)}", f"getent ahosts {hop.host}")


async def _own_names(config: Config, resolver: Resolver) -> AsyncIterator[Finding]:
    """Yield what other hosts look for in DNS and do not find."""
    host = config.myhostname
    if "." not in host:
        return  # that is told already, and no DNS knows it
    answer = await resolver.addresses(host)
    if answer.found is Found.TEMPORARY:
        yield error(f"DNS does not answer: {_why(answer.reason)}; mail to other hosts waits", _DNS_REPAIR)
        return
    async for finding in _own_addresses(host, answer, resolver):
        yield finding
    for look in (_own_loops, _own_domain):
        async for finding in look(config, resolver):
            yield finding


async def _own_addresses(host: str, answer: AddressAnswer, resolver: Resolver) -> AsyncIterator[Finding]:
    if answer.found is not Found.YES:
        yield error(
            f"{host} (myhostname) has no address in DNS: many hosts refuse its mail", f"publish: {host}. IN A ADDRESS"
        )
    for address in answer.addresses:
        names = await resolver.names(ipaddress.ip_address(address).reverse_pointer)
        if host.lower() not in names.addresses:
            has = ", ".join(names.addresses) or "none"
            yield warning(
                f"{address} has the name {has} in DNS (PTR), not {host}", f"ask its provider for: PTR {host}."
            )


async def _own_loops(config: Config, resolver: Resolver) -> AsyncIterator[Finding]:
    for name in dict.fromkeys((config.myhostname.lower(), config.myorigin.lower())):
        if await _loops(config, resolver, name):
            text = f"mail for {name} loops: DNS sends it to this host, and no parameter says that it belongs here"
            mydestination = ", ".join([*config.mydestination, name])
            yield error(text, f"mailctl -c {config.config_directory} config -e 'mydestination={mydestination}'")


async def _own_domain(config: Config, resolver: Resolver) -> AsyncIterator[Finding]:
    """Yield what the domain of our senders lacks: a place for replies, SPF and DMARC."""
    host, domain = config.myhostname, config.myorigin
    mail = await resolver.mx(domain)
    if mail.found is not Found.YES and (await resolver.addresses(domain)).found is not Found.YES:
        yield warning(
            f"{domain} (myorigin) takes no mail: neither MX nor address", f"publish: {domain}. IN MX 10 {host}."
        )
    if not await _says(resolver, domain, "v=spf1"):
        record = f'{domain}. IN TXT "v=spf1 {"mx " if mail.found is Found.YES else ""}a:{host} ~all"'
        yield warning(f"{domain} has no SPF record: its mail looks forged", f"publish: {record}")
    if not await _says(resolver, f"_dmarc.{domain}", "v=dmarc1"):
        record = f'_dmarc.{domain}. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@{domain}"'
        yield warning(f"{domain} has no DMARC record", f"publish: {record}")


async def _loops(config: Config, resolver: Resolver, domain: str) -> bool:
    """Say whether mail for a domain is sent to its mail exchangers, and the best of them is this host."""
    route = routing_of(config, lambda _: None).route(Address("postmaster", domain))
    if route.transport != SMTP or route.nexthop != domain:
        return False
    mail = await resolver.mx(domain)
    best = min(mail.hosts, default=(0, domain))[1] if mail.found is not Found.TEMPORARY else ""
    return str(best).lower().rstrip(".") == str(config.myhostname).lower()


async def _says(resolver: Resolver, name: str, start: str) -> bool:
    """Say whether a TXT record begins so; where DNS does not answer just now, nothing is missed."""
    answer = await resolver.texts(name)
    return answer.found is Found.TEMPORARY or any(text.lower().startswith(start) for text in answer.addresses)


async def _signatures(config: Config, resolver: Resolver) -> AsyncIterator[Finding]:
    """Yield keys that are in use and not published; and mail that goes everywhere, and unsigned."""
    domain = config.myorigin.lower()
    used = in_use(config, domain) if config.dkim_domains else []
    if not used and not config.relayhost and "." in domain:
        text = f"mail of {domain} is not signed (dkim_domains): many hosts take it for spam"
        yield warning(text, f"mailctl -c {config.config_directory} dkim keygen {domain}")
    for signing in used:
        if said := await state(resolver, signing):
            show = f"mailctl -c {config.config_directory} dkim show {domain}"
            yield error(f"DKIM key {signing.selector} of {domain}: {said}", f"{show}; publish what it prints")


def _why(reason: str) -> str:
    return reason or "no such name"
