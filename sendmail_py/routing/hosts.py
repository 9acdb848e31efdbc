"""Which hosts take the mail of a destination, in the order to try them (RFC 5321 5.1).

Pure: look-ups, chance and "is this address ours" are passed in. A decision is either a list of
targets or the DeliveryResult of everybody in the batch; only a clear "no" fails, the rest
defers. Loop detection (5.4.6) works as in Postfix: by name and by address, for the usual port.
"""

import ipaddress
import random
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import groupby, zip_longest

from ..core.lookup import AddressAnswer, Found, MxAnswer, Provenance
from ..core.result import DeliveryResult, Scope, deferred, failed

MX_HOSTS_LIMIT = 20
LMTP_PORT = 24
_PATH_LIMIT = 107  # what sun_path holds
_NEXTHOP_LIMIT = 270  # the longest domain name, brackets and a port

_NEXTHOP = re.compile(r"(?:\[(?P<literal>[^\]]+)\]|(?P<domain>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}|[a-z]+))?")
_SERVICES = {"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465", "lmtp": str(LMTP_PORT)}


@dataclass(frozen=True, slots=True)
class Nexthop:
    """A nexthop taken apart: brackets turn the MX look-up off."""

    host: str
    port: int
    uses_mx: bool


@dataclass(frozen=True, slots=True)
class Target:
    """One address, or path of a Unix socket, to connect to, with the host's name for the log, and its preference."""

    host: str
    address: str
    port: int
    preference: int = 0
    provenance: Provenance = field(default=Provenance(), compare=False)

    def __str__(self) -> str:
        return f"{self.host}[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the choice depends on beside DNS.

    own_names are lower case; is_own_address tells of one address; trusted means that the
    administrator named this nexthop, so loopback and this host are allowed there.
    """

    own_names: Collection[str]
    is_own_address: Callable[[str], bool]
    port: int = 25
    permit_loopback: bool = False
    trusted: bool = False
    preference: str = "any"
    address_limit: int = 5
    balances: bool = True


def parse_nexthop(text: str, port: int) -> Nexthop:
    """Read "domain", "[host]" or "[address]", each with an optional ":port"; raises ValueError.

    A port may be the name of a service that mail goes to, such as submission.
    """
    found = _NEXTHOP.fullmatch(text)
    number = _SERVICES.get(found["port"] or "", found["port"]) or str(port) if found else ""
    if not found or not number.isdigit() or not 0 < int(number) < 65536 or len(text) > _NEXTHOP_LIMIT:
        raise ValueError(f"bad nexthop: {text[:_NEXTHOP_LIMIT]}")
    host = found["literal"] or found["domain"]
    if found["literal"] and host[:5].lower() == "ipv6:":
        host = host[5:]
    return Nexthop(host.rstrip("."), int(number), not found["literal"])


def parse_lmtp(text: str) -> tuple[str, Nexthop]:
    """Read "unix:/path", or "inet:host:port" with inet: and the port left out at will; raises ValueError.

    Returns a path, or "" and the nexthop, for which no MX is looked up.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        if rest[:1] != "/" or "\0" in rest or len(rest.encode("utf-8", "surrogateescape")) > _PATH_LIMIT:
            raise ValueError(f"bad nexthop: {text[:_NEXTHOP_LIMIT]} (unix:/path is wanted, of at most 107 octets)")
        return rest, Nexthop("", 0, False)
    hop = parse_nexthop(rest if kind == "inet" else text, LMTP_PORT)
    return "", Nexthop(hop.host, hop.port, False)


def mail_hosts(
    hop: Nexthop, answer: MxAnswer, policy: Policy, chance: random.Random
) -> list[tuple[int, str]] | DeliveryResult:
    """Return the hosts of a domain with their preferences, best first; equal ones are shuffled.

    No MX record means the domain itself. This host's name in the list drops it and all that
    are no better; at most MX_HOSTS_LIMIT hosts remain, so nobody can make us ask for thousands.
    """
    if answer.found is Found.TEMPORARY:
        return _not_now(hop.host, "MX", answer.reason)
    if answer.found is Found.NO_DOMAIN:
        return failed("5.1.2", _name_error(hop.host, "MX", answer.reason), Scope.HOST)
    if answer.found is Found.YES and all(not host for _, host in answer.hosts):
        return failed("5.1.10", f"Domain {hop.host} does not accept mail (nullMX)", Scope.HOST)
    hosts = [(preference, host) for preference, host in answer.hosts if host] or [(0, hop.host)]
    if _detects_loops(hop, policy):
        own = min((preference for preference, host in hosts if host.lower() in policy.own_names), default=None)
        hosts = [pair for pair in hosts if own is None or pair[0] < own]
        if not hosts:
            return _loop(hop.host)
    chance.shuffle(hosts)
    return sorted(hosts, key=lambda pair: pair[0])[:MX_HOSTS_LIMIT]


def targets(
    hop: Nexthop,
    hosts: list[tuple[int, str]],
    answers: dict[str, AddressAnswer],
    policy: Policy,
    chance: random.Random,
    mx: MxAnswer | None = None,
) -> list[Target] | DeliveryResult:
    """Return the addresses to try, best first; answers has the look-up of every host, mx that of the domain."""
    usable, refused = [], ""
    for preference, host in hosts:
        found = () if hop.uses_mx and is_address(host) else answers[host].addresses
        for address in found:
            if not policy.permit_loopback and not policy.trusted and is_forbidden(address):
                refused = f"{host} has address {address}"
            else:
                usable.append(Target(host, address, hop.port, preference, _provenance(hop, answers[host], address, mx)))
    if usable and _detects_loops(hop, policy):
        own = min(
            (t.preference for t in usable if not is_forbidden(t.address) and policy.is_own_address(t.address)),
            default=None,
        )
        usable = [target for target in usable if own is None or target.preference < own]
        if not usable:
            return _loop(hop.host)
    if usable:
        return _in_order(usable, policy, chance)
    return _nothing_usable(hop, hosts, answers, refused)


def _provenance(hop: Nexthop, found: AddressAnswer, address: str, mx: MxAnswer | None) -> Provenance:
    is_secure = address in found.secure
    if mx is None or mx.found is not Found.YES:
        return Provenance(is_secure, found.canonical)
    domains = (hop.host, mx.canonical) if mx.canonical else (hop.host,)
    return Provenance(is_secure, found.canonical, mx.is_secure, domains)


def is_forbidden(address: str) -> bool:
    """Say whether an address is loopback, unspecified or multicast: no mail host of others."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    this_network = ip.version == 4 and ip.packed[0] == 0
    return ip.is_loopback or ip.is_unspecified or ip.is_multicast or this_network


def is_address(host: str) -> bool:
    """Say whether a host is written as an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _detects_loops(hop: Nexthop, policy: Policy) -> bool:
    return hop.port == policy.port and not policy.trusted


def _in_order(usable: list[Target], policy: Policy, chance: random.Random) -> list[Target]:
    ordered: list[Target] = []
    first = policy.preference if policy.preference != "any" else chance.choice(("ipv4", "ipv6"))
    for _, group in groupby(usable, key=lambda target: target.preference):
        members = list(group)
        v6 = [target for target in members if ":" in target.address]
        v4 = [target for target in members if ":" not in target.address]
        pairs = zip_longest(v6, v4) if first == "ipv6" else zip_longest(v4, v6)
        ordered += [target for pair in pairs for target in pair if target]
    return _limited(ordered, policy)


def _limited(ordered: list[Target], policy: Policy) -> list[Target]:
    """Return as many addresses as may be tried; where they are balanced neither family crowds the other out."""
    limit = policy.address_limit
    if not 0 < limit < len(ordered):
        return ordered
    if not policy.balances or limit == 1:
        return ordered[:limit]
    count = sum(":" in target.address for target in ordered)
    v6 = min(count, max(limit // 2, limit - (len(ordered) - count)))
    left = {True: v6, False: limit - v6}
    kept = []
    for target in ordered:
        family = ":" in target.address
        if left[family]:
            left[family] -= 1
            kept.append(target)
    return kept


def _nothing_usable(
    hop: Nexthop, hosts: list[tuple[int, str]], answers: dict[str, AddressAnswer], refused: str
) -> DeliveryResult:
    for _, host in hosts:
        if answers[host].found is Found.TEMPORARY:
            return _not_now(host, "A", answers[host].reason)
    if refused:
        return deferred("4.4.4", f"bad address for {hop.host}: {refused}", Scope.HOST)
    host = hosts[0][1]
    same = host.lower() == hop.host.lower()
    if same and answers[host].found is Found.NO_DOMAIN:
        return failed("5.1.2", _name_error(host, "A", answers[host].reason), Scope.HOST)
    return failed("5.4.4", _name_error(host, "A", answers[host].reason or "Host not found"), Scope.HOST)


def _loop(domain: str) -> DeliveryResult:
    return failed("5.4.6", f"mail for {domain} loops back to myself", Scope.HOST)


def _not_now(name: str, kind: str, reason: str) -> DeliveryResult:
    return deferred("4.4.3", _name_error(name, kind, reason or "Host not found, try again"), Scope.HOST)


def _name_error(name: str, kind: str, reason: str) -> str:
    return f"Host or domain name not found. Name service error for name={name} type={kind}: {reason}"
