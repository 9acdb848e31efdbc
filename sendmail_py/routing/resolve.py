"""Where an address goes: this host, the relayhost, the domain's own mail exchangers, or where tables say.

Also how a local part is taken apart at recipient_delimiter: the names that must always work
(postmaster), and where "-" is a delimiter those of lists (owner-list, list-request), stay whole.
"""

import re
from collections.abc import Iterator

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import MAILBOX
from ..core.route import DISCARD, ERROR, LOCAL, RETRY, SMTP, VIRTUAL, Route
from .transport import Maps, Place, Transports, split_nexthops, whole_transport
from .virtual import Virtual

ALWAYS_THERE = ("postmaster", "mailer-daemon")
_LOOPBACK = ("[127.0.0.1]", "[ipv6:::1]")  # this host, whatever its names are
_WHOLE = frozenset((*ALWAYS_THERE, "double-bounce"))


_NO_MAPS = Maps()
_HOST = re.compile(r"[A-Za-z0-9]+(?:[.-]+[A-Za-z0-9]+)*")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")
_TEXTS = {ERROR: ("5.0.0", "Address is undeliverable"), RETRY: ("4.0.0", "Address is undeliverable")}


class Routing:
    """The routing decisions of one configuration; raises ValueError for one that makes no sense."""

    def __init__(self, config: Config, maps: Maps = _NO_MAPS) -> None:
        self._local_domains = frozenset(
            (*(domain.lower().removesuffix(".") for domain in config.mydestination), *_LOOPBACK)
        )
        self._transports = Transports(config, maps)
        self._delimiters = config.recipient_delimiter
        self._origin = config.myorigin
        self.virtual = Virtual(config, maps.virtual, self.split, self.is_local)

    def is_local(self, domain: str) -> bool:
        """Say whether mail for this domain is delivered on this host; "" is this host."""
        return not domain or domain.lower().removesuffix(".") in self._local_domains

    def split(self, local_part: str) -> tuple[str, str, str]:
        """Return the user, the delimiter and the extension of a local part; the last two "" where it has none."""
        at = min((p for p in map(local_part.find, self._delimiters) if p >= 0), default=-1)
        if at <= 0 or local_part.lower() in _WHOLE:
            return local_part, "", ""
        lower = local_part.lower()
        if "-" in self._delimiters and (lower.startswith("owner-") or lower.endswith("-request")):
            return local_part, "", ""
        return local_part[:at], local_part[at], local_part[at + 1 :]

    def names(self, local_part: str) -> Iterator[str]:
        """Yield the names to look up for a local part, in lower case: with its extension, then without."""
        name = local_part.lower()
        yield name
        user = self.split(name)[0]
        if user != name:
            yield user

    def mailbox_key(self, address: Address) -> tuple[str, str]:
        """Return what the spellings of one mailbox share: bob, Bob@host and bob@localhost are one user of this host."""
        if self.is_local(address.domain):
            return address.local_part.lower(), ""
        return address.key()

    def qualified(self, address: Address) -> Address:
        """Return an address with the domain that bare names get."""
        return address if address.domain else Address(address.local_part, self._origin)

    def unrouted(self, address: Address) -> Address:
        """Return where host!user and user%host lead that are addressed to this host, as both predecessors read them.

        For mail of this host's users alone: from others it would be a way around what they may send to.
        """
        while self.is_local(address.domain):
            host, bang, user = address.local_part.partition("!")
            if not bang:
                user, _, host = address.local_part.rpartition("%")
            if not user or not _HOST.fullmatch(host):
                break
            address = Address(user, host)
        return address

    def is_relayed(self, domain: str) -> bool:
        """Say whether anybody may send to a domain through this host; raises OSError."""
        return self.is_local(domain) or bool(self.virtual.kind(domain)) or self._transports.is_relay(domain)

    def route(self, address: Address, sender: Address | None = None) -> Route:
        """Return the route of an address, before aliases; what a table cannot tell now waits."""
        if not address.local_part:
            return Route(ERROR, "5.1.3 empty local part", address)
        domain = address.domain.lower().removesuffix(".")
        is_local = self.is_local(address.domain)
        if not is_local and not domain:
            return Route(ERROR, "5.1.2 empty domain", address)
        try:
            virtual = "" if is_local else self.virtual.kind(domain)
            place = self._transports.place(address, domain or self._origin.lower(), is_local, virtual, sender)
            if place[0] == VIRTUAL:
                return self.virtual.mailbox(address)
        except OSError as error:
            return Route(RETRY, f"4.3.0 mail transport unavailable: {error}", address)
        except ValueError as error:
            return Route(RETRY, f"4.3.5 mail transport unavailable: {error}", address)
        return self._placed(place, address)

    def _placed(self, place: Place, address: Address) -> Route:
        transport, nexthop = place
        if transport == LOCAL:
            return self._local(address)
        if transport == DISCARD:
            return Route(DISCARD, nexthop or address.domain, address)
        if transport in _TEXTS:
            status, text = _TEXTS[transport]
            if _STATUS.match(nexthop):
                return Route(transport, status[0] + nexthop[1:], address)
            return Route(transport, f"{status} {nexthop or text}", address)
        return Route(transport, nexthop, address)

    def _local(self, address: Address) -> Route:
        user, _, extension = self.split(address.local_part)
        return Route(LOCAL, user.lower(), address, extension=extension)

    def mailbox(self, address: Address) -> Route:
        """Return the route to the mailbox of the user that an address names, past aliases and .forward."""
        user, _, extension = self.split(address.local_part)
        return Route(LOCAL, user.lower(), address, target=MAILBOX, extension=extension)

    def target(self, address: Address, target: str, uid: int) -> Route:
        """Return the route of what an expansion made of an address: MAILBOX, a program or a file."""
        if target == MAILBOX:
            return self.mailbox(address)
        return Route(LOCAL, target, address, uid, target, self.split(address.local_part)[2])


def transport_of(text: str) -> Place | None:
    """Read the value of mailbox_transport or fallback_transport; None for none. Raises ValueError."""
    if not text:
        return None
    transport, nexthop = whole_transport(text)
    if transport in (LOCAL, VIRTUAL) or (transport == SMTP and not nexthop):
        raise ValueError(f"{text}: smtp:nexthop and lmtp:nexthop are what is meant here")
    return transport, nexthop


def named_nexthops(config: Config) -> frozenset[str]:
    """Return the nexthops that the administrator names, where loopback and this host are allowed."""
    found = {*split_nexthops(config.relayhost), *config.smtp_fallback_relay}
    for text in (config.mailbox_transport, config.fallback_transport):
        found.add((transport_of(text) or ("", ""))[1])
    for text in (config.local_transport, config.virtual_transport, config.relay_transport, config.default_transport):
        found.update(split_nexthops(whole_transport(text)[1]))
    return frozenset(found - {""})
