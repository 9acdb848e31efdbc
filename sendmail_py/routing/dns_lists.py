"""Lists of addresses and domains in DNS (RFC 5782): reject_rbl_client, reject_rhsbl_* and permit_dnswl_client.

A list is domain or domain=filter, where the filter says which answers count: 127.0.0.2, or octets
with alternatives such as 127.0.0.[2..5;10]. An answer outside 127.0.0.0/8 is none of a list, and a
list that does not answer lists nobody. What a list says in TXT records is the reason that its client is told.
"""

import ipaddress
import re
from collections.abc import Iterable

from ..core.address import Address
from ..protocol.server_replies import reply
from .restriction_scene import HOST, PERMITTED, TEXTS, Ask, Asking, Scene, is_authorized

_ALTERNATIVE = re.compile(r"([0-9]{1,3})(?:\.\.([0-9]{1,3}))?")
_REASON_LENGTH = 300  # a line of a reply has room for 512 octets
_OCTET = re.compile(r"[0-9]{1,3}|\[[0-9.;]+\]")


def split_list(text: str) -> tuple[str, tuple[frozenset[int], ...]]:
    """Return the domain of a list and the octets that count; raises ValueError."""
    domain, equals, pattern = text.partition("=")
    if not domain or not re.fullmatch(r"[A-Za-z0-9_.-]+", domain):
        raise ValueError(f"{text}: the domain of a DNS list expected")
    octets = _OCTET.findall(pattern) if equals else []
    if equals and (len(octets) != 4 or ".".join(octets) != pattern):
        raise ValueError(f"{text}: a filter such as 127.0.0.2 or 127.0.0.[2..5;10] expected")
    return domain, tuple(map(_values, octets))


def _values(octet: str) -> frozenset[int]:
    found: set[int] = set()
    for part in octet.strip("[]").split(";"):
        match = _ALTERNATIVE.fullmatch(part)
        if not match:
            raise ValueError(f"{octet}: numbers such as 2, 2..5 or 2;5 expected")
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


def _counts(addresses: Iterable[str], wanted: tuple[frozenset[int], ...]) -> bool:
    for address in addresses:
        octets = [int(octet) for octet in address.split(".")] if ":" not in address else []
        if octets[:1] == [127] and all(octet in allowed for octet, allowed in zip(octets, wanted, strict=False)):
            return True
    return False


def address_label(address: str) -> str:
    """Return an IP address as it stands before the domain of a list."""
    return ipaddress.ip_address(address).reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


def _is_listed(name: str, text: str) -> Asking:
    domain, wanted = split_list(text)
    answer = yield Ask(HOST, f"{name}.{domain}")
    return PERMITTED if _counts(answer, wanted) else None


def reject_rbl_client(scene: Scene, text: str) -> Asking:
    """Reject a client whose address is listed."""
    address = scene.subject.client.address
    return (yield from _blocked(address_label(address), f"Client host [{address}]", text))


def permit_dnswl_client(scene: Scene, text: str) -> Asking:
    """Permit a client whose address is listed, though never to relay: a list does not open this server."""
    to = scene.subject.recipient
    if to is None or not is_authorized(scene.domains, to):
        return None
    return (yield from _is_listed(address_label(scene.subject.client.address), text))


def _reject_domain(domain: str, what: str, text: str) -> Asking:
    domain = domain.removesuffix(".")
    if not domain or domain.startswith("[") or not domain.isascii() or "." not in domain:
        return None
    return (yield from _blocked(domain, what, text))


def reject_rhsbl_client(scene: Scene, text: str) -> Asking:
    """Reject a client whose name is listed."""
    name = scene.subject.client.name
    return (yield from _reject_domain("" if name == "unknown" else name, f"Client host [{name}]", text))


def reject_rhsbl_helo(scene: Scene, text: str) -> Asking:
    """Reject a client whose HELO name is listed."""
    return (yield from _reject_domain(scene.subject.helo, f"Helo command [{scene.subject.helo}]", text))


def reject_rhsbl_sender(scene: Scene, text: str) -> Asking:
    """Reject a sender whose domain is listed."""
    return (yield from _reject_address(scene.subject.sender, "Sender address", text))


def reject_rhsbl_recipient(scene: Scene, text: str) -> Asking:
    """Reject a recipient whose domain is listed."""
    return (yield from _reject_address(scene.subject.recipient, "Recipient address", text))


def _reject_address(address: Address | None, label: str, text: str) -> Asking:
    if not address:
        return None
    return (yield from _reject_domain(address.domain, f"{label} [{address}]", text))


def _blocked(name: str, what: str, text: str) -> Asking:
    """Reject what is listed under a name, with the list's own reason where it tells one."""
    if not (yield from _is_listed(name, text)):
        return None
    domain = text.partition("=")[0]
    reason = " / ".join((yield Ask(TEXTS, f"{name}.{domain}")))[:_REASON_LENGTH]
    return reply(554, "5.7.1", f"Service unavailable; {what} blocked using {domain}{reason and f'; {reason}'}")


DNS_WORDS = {
    "reject_rbl_client": reject_rbl_client,
    "permit_dnswl_client": permit_dnswl_client,
    "reject_rhsbl_client": reject_rhsbl_client,
    "reject_rhsbl_helo": reject_rhsbl_helo,
    "reject_rhsbl_sender": reject_rhsbl_sender,
    "reject_rhsbl_recipient": reject_rhsbl_recipient,
}
