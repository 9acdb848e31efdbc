"""Which transport and nexthop an address has: its class, the relayhosts, and transport_maps.

Pure: tables come in as functions. The order is Postfix's (transport(5), trivial-rewrite(8)): the class of
the domain gives the transport; a nexthop that stands with it wins over sender_dependent_relayhost_maps, these over
relayhost, and that over the domain itself; transport_maps override all. Guarantees: what cannot be looked up, or
says what nobody here can do, waits: there is no other way around it, direct delivery least of all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..core.address import Address
from ..core.config import Config
from ..core.route import DISCARD, ERROR, LMTP, LOCAL, RETRY, SMTP, VIRTUAL
from ..formats.tables import LookUp, nothing
from .hosts import parse_lmtp, parse_nexthop
from .virtual import ALIASES, NO_MAPS, VirtualMaps

_NAMES = {"relay": SMTP} | {name: name for name in (LOCAL, VIRTUAL, SMTP, LMTP, ERROR, RETRY, DISCARD)}
_REPORTING = (ERROR, RETRY, DISCARD)
_NULL_SENDER = "<>"
_ANY = "*"

_UNKNOWN = ERROR, "5.1.1 User unknown in virtual alias table"

Place = tuple[str, str]  # transport and nexthop


@dataclass(frozen=True, slots=True)
class Maps:
    """The tables that routing asks; relay_domains are those tables in the list of that name."""

    transport: LookUp = nothing
    sender_relayhost: LookUp = nothing
    relay_domains: LookUp = nothing
    virtual: VirtualMaps = NO_MAPS


def parse_transport(text: str) -> Place:
    """Read transport:nexthop, either of which may be empty; raises ValueError for a transport that there is not."""
    name, _, nexthop = text.strip().partition(":")
    if name and name not in _NAMES:
        raise ValueError(f"{text}: there is no transport {name}; there are {', '.join(_NAMES)}")
    return _NAMES.get(name, ""), nexthop.strip()


def transports_named(names: Iterable[str]) -> frozenset[str]:
    """Return the transports of these names, by which routes have them; raises ValueError for what names none."""
    return frozenset(parse_transport(name)[0] for name in names)


def whole_transport(text: str) -> Place:
    """Read the value of a parameter, where the transport must be given; raises ValueError."""
    transport, nexthop = parse_transport(text)
    if not transport:
        raise ValueError(f"{text}: transport:nexthop is expected, as in smtp:[host]")
    check_nexthop(transport, nexthop)
    return transport, nexthop


def check_nexthop(transport: str, nexthop: str) -> None:
    """Raise ValueError for what cannot be a nexthop of a transport."""
    if transport == LMTP:
        parse_lmtp(nexthop)
    elif transport == SMTP:
        for one in split_nexthops(nexthop):
            parse_nexthop(one, 25)


def split_nexthops(text: str) -> list[str]:
    """Split a nexthop that names several, to be tried in order."""
    return text.replace(",", " ").split()


class Transports:
    """The decisions of one configuration; raises ValueError for a parameter that names no transport."""

    def __init__(self, config: Config, maps: Maps) -> None:
        self._local = whole_transport(config.local_transport)
        self._relay = whole_transport(config.relay_transport)
        self._default = whole_transport(config.default_transport)
        self._virtual = whole_transport(config.virtual_transport)
        self._relayhost: str = config.relayhost
        check_nexthop(SMTP, self._relayhost)
        self._maps = maps
        self._delimiters: str = config.recipient_delimiter
        self._parents = frozenset(config.parent_domain_matches_subdomains)
        self._relay_domains = frozenset(name.lower() for name in config.relay_domains if ":" not in name)

    def is_relay(self, domain: str) -> bool:
        """Say whether relay_domains has a domain; raises OSError."""
        if not self._relay_domains and self._maps.relay_domains is nothing:
            return False
        name = domain.lower().removesuffix(".")
        if name in self._relay_domains or self._maps.relay_domains(name, False) is not None:
            return True
        parents = _parents(name) if "relay_domains" in self._parents else ()
        return any(p in self._relay_domains or self._maps.relay_domains(p, True) is not None for p in parents)

    def place(self, address: Address, domain: str, is_local: bool, virtual: str, sender: Address | None) -> Place:
        """Return where an address goes; domain is its own, in lower case, and virtual what kind of virtual domain.

        Raises OSError, ValueError.
        """
        if is_local:
            transport, nexthop = self._local
        elif virtual:
            transport, nexthop = _UNKNOWN if virtual == ALIASES else self._virtual
        elif self.is_relay(domain):
            transport, nexthop = self._relay
        else:
            transport, nexthop = self._default
        if not nexthop and transport == SMTP:
            nexthop = domain if is_local or virtual else self._relay_of(sender) or domain
        if self._maps.transport is not nothing:
            found = self._mapped(address, domain)
            if found is not None:
                transport, nexthop = self._overridden((transport, nexthop), parse_transport(found), domain)
        return transport, nexthop

    def _relay_of(self, sender: Address | None) -> str:
        """Return the relayhost of a sender, "" for none."""
        if self._maps.sender_relayhost is not nothing and sender is not None:
            for key, partial in sender_keys(sender, self._delimiters):
                found = self._maps.sender_relayhost(key, partial)
                if found is not None:
                    return "" if found.upper() == "DUNNO" else found
        return self._relayhost

    @staticmethod
    def _overridden(old: Place, new: Place, domain: str) -> Place:
        transport, nexthop = new
        if not transport:
            return old[0], nexthop or old[1]
        if transport == LMTP:
            check_nexthop(transport, nexthop)
        return transport, nexthop or ("" if transport in _REPORTING else domain)

    def _mapped(self, address: Address, domain: str) -> str | None:
        for key, partial in self._keys(address, domain):
            found = self._maps.transport(key, partial)
            if found is not None:
                return found
        return None

    def _keys(self, address: Address, domain: str) -> Iterator[tuple[str, bool]]:
        yield f"{address.local_part}@{domain}", False
        user = base_of(address.local_part, self._delimiters)
        if user != address.local_part:
            yield f"{user}@{domain}", True
        yield domain, True
        dot = "" if "transport_maps" in self._parents else "."
        for parent in _parents(domain):
            yield dot + parent, True
        yield _ANY, True


def sender_keys(sender: Address, delimiters: str) -> Iterator[tuple[str, bool]]:
    """Yield what a sender may stand under in a table, and whether that is only a part of the address."""
    if not sender:
        yield _NULL_SENDER, False
        return
    yield str(sender), False
    user = base_of(sender.local_part, delimiters)
    if user != sender.local_part:
        yield str(Address(user, sender.domain)), True
    yield f"@{sender.domain}", True


def base_of(local_part: str, delimiters: str) -> str:
    """Return a local part without its extension."""
    at = min((p for p in map(local_part.find, delimiters) if p > 0), default=len(local_part))
    return local_part[:at]


def _parents(domain: str) -> Iterator[str]:
    rest = domain.partition(".")[2]
    while rest:
        yield rest
        rest = rest.partition(".")[2]
