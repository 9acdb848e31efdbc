"""Rewriting of addresses: canonical maps, masquerading, generic maps, and who gets copies besides.

Pure: tables come in as functions. The rules are Postfix's (canonical(5), generic(5), ADDRESS_REWRITING_README).
Guarantees: an address is replaced whole or not at all; a table that cannot be asked is an OSError, and a value that is
no address a ValueError that names it: mail with half of its addresses rewritten is not sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..core.address import Address
from ..core.config import Config
from ..formats.address_list import parse_address_list
from ..formats.tables import LookUp, nothing
from .resolve import Routing

ENVELOPE_SENDER, ENVELOPE_RECIPIENT = "envelope_sender", "envelope_recipient"
HEADER_SENDER, HEADER_RECIPIENT = "header_sender", "header_recipient"
CLASSES = (ENVELOPE_SENDER, ENVELOPE_RECIPIENT, HEADER_SENDER, HEADER_RECIPIENT)
CANONICAL, GENERIC = "canonical", "generic"
_RECIPIENT_FIELDS = frozenset(b"to cc bcc resent-to resent-cc resent-bcc apparently-to".split())
_LOOKUPS = 10


@dataclass(frozen=True, slots=True)
class RewriteMaps:
    """The tables of rewriting."""

    canonical: LookUp = nothing
    sender_canonical: LookUp = nothing
    recipient_canonical: LookUp = nothing
    generic: LookUp = nothing
    sender_bcc: LookUp = nothing
    recipient_bcc: LookUp = nothing


def class_of_field(name: bytes) -> str:
    """Return the class of the addresses in a header field (its name in lower case)."""
    return HEADER_RECIPIENT if name in _RECIPIENT_FIELDS else HEADER_SENDER


def address_keys(address: Address, routing: Routing) -> Iterator[tuple[str, bool, str]]:
    """Yield the keys of an address in their order, whether each is a part of it, and the extension it was cut by."""
    domain = address.domain.lower()
    user, delimiter, extension = routing.split(address.local_part)
    cut = delimiter + extension
    forms = [(address.local_part, "")] + ([(user, cut)] if cut else [])
    for local_part, less in forms:
        yield str(Address(local_part, domain)), bool(less), less
    if routing.is_local(domain) or domain == routing.qualified(Address("x")).domain.lower():
        for local_part, less in forms:
            yield str(Address(local_part)), True, less
    yield f"@{domain}", True, ""


class Rewriter:
    """The rewriting of one configuration; `is_active` says that there is any."""

    def __init__(self, config: Config, routing: Routing, maps: RewriteMaps) -> None:
        self._routing = routing
        self._maps = maps
        self._classes = {
            maps.sender_canonical: frozenset(config.sender_canonical_classes),
            maps.recipient_canonical: frozenset(config.recipient_canonical_classes),
            maps.canonical: frozenset(config.canonical_classes),
        }
        self._propagates = frozenset(config.propagate_unmatched_extensions)
        self._masks: list[str] = [name.lower() for name in config.masquerade_domains]
        self._mask_classes = frozenset(config.masquerade_classes)
        self._exceptions = frozenset(name.lower() for name in config.masquerade_exceptions)
        self._always_bcc: str = config.always_bcc
        canonical = (maps.canonical, maps.sender_canonical, maps.recipient_canonical)
        self.is_active = bool(self._masks) or any(table is not nothing for table in canonical)

    def rewritten(self, address: Address, kind: str) -> Address:
        """Return a qualified address as it is to be in a class of places; raises OSError, ValueError."""
        if not address.local_part:
            return address
        sends = kind in (ENVELOPE_SENDER, HEADER_SENDER)
        first = self._maps.sender_canonical if sends else self._maps.recipient_canonical
        for table in (first, self._maps.canonical):
            if table is not nothing and kind in self._classes[table]:
                address = self._mapped(address, table, CANONICAL)
        return self._masked(address) if kind in self._mask_classes else address

    def generic(self, address: Address) -> Address:
        """Return what other hosts are to see instead of an address; raises OSError, ValueError."""
        return self._mapped(address, self._maps.generic, GENERIC) if address.local_part else address

    def copies(self, sender: Address, recipients: list[Address]) -> list[Address]:
        """Return who gets a copy of a message beside its recipients; raises OSError, ValueError."""
        found = [self._always_bcc] if self._always_bcc else []
        for table, address in [(self._maps.sender_bcc, sender), *((self._maps.recipient_bcc, r) for r in recipients)]:
            if table is not nothing and address:
                value = self._look_up(address, table)[0]
                found += [value] if value else []
        return [self._routing.qualified(one_address(text)) for text in dict.fromkeys(found)]

    def _look_up(self, address: Address, table: LookUp) -> tuple[str | None, str]:
        for key, partial, extension in address_keys(address, self._routing):
            value = table(key, partial)
            if value is not None:
                return value, extension
        return None, ""

    def _mapped(self, address: Address, table: LookUp, place: str) -> Address:
        """Look an address up, and what comes of it again, until it stays as it is."""
        for _ in range(_LOOKUPS):
            value, extension = self._look_up(address, table)
            if value is None:
                return address
            found = self._address_from(address, value)
            if extension and place in self._propagates and not self._routing.split(found.local_part)[2]:
                found = Address(found.local_part + extension, found.domain)
            if found == address or place == GENERIC:
                return found
            address = found
        raise ValueError(f"the rewriting of <{address}> does not come to an end")

    def _address_from(self, address: Address, value: str) -> Address:
        """Return the address that a value stands for; @domain changes the domain alone."""
        if value.startswith("@"):
            return Address(address.local_part, value[1:])
        return self._routing.qualified(one_address(value))

    def _masked(self, address: Address) -> Address:
        """Return an address without the subdomains that are not to be seen; the first rule that fits counts."""
        domain = address.domain.lower()
        if address.local_part.lower() in self._exceptions:
            return address
        for mask in self._masks:
            name = mask.lstrip("!")
            if domain == name or domain.endswith("." + name):
                return address if mask[0] == "!" or domain == name else Address(address.local_part, name)
        return address


def one_address(text: str) -> Address:
    """Read the address that a table or a parameter names; raises ValueError."""
    found = parse_address_list(text)
    if len(found) != 1 or not found[0].address.local_part:
        raise ValueError(f"{text}: one address is expected")
    return found[0].address
