"""xtext, the encoding of ORCPT and ENVID (RFC 3461 4)."""

from ..core.address import Address


def encode(text: str) -> str:
    """Write text so that it holds only printable ASCII without + and = but as +HH."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else _octets(c) for c in text)


def _octets(c: str) -> str:
    return "".join(f"+{octet:02X}" for octet in c.encode("utf-8", "surrogateescape"))


def original_recipient(address: Address) -> str:
    """Return the ORCPT value of an address as it was first given."""
    return "rfc822;" + encode(str(address))
