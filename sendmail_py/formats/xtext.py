"""xtext, the encoding of ORCPT and ENVID (RFC 3461 4)."""

from ..core.address import Address

_DIGITS = frozenset("0123456789ABCDEF")


def encode(text: str) -> str:
    """Write text so that it holds only printable ASCII without + and = but as +HH."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else _octets(c) for c in text)


def as_xtext(text: str) -> str:
    """Return text that is xtext, or was written without its encoding, as xtext."""
    return text if _is_xtext(text) else encode(text)


def _is_xtext(text: str) -> bool:
    _, *escaped = text.split("+")
    return "=" not in text and " " not in text and all(_DIGITS.issuperset(e[:2]) and len(e) > 1 for e in escaped)


def _octets(c: str) -> str:
    return "".join(f"+{octet:02X}" for octet in c.encode("utf-8", "surrogateescape"))


def decode(text: str, errors: str = "replace") -> str:
    """Read xtext for people; what is no escape stays as it is. errors: what becomes of octets that are no UTF-8."""
    first, *rest = text.split("+")
    out = bytearray(first.encode("utf-8", errors))
    for piece in rest:
        try:
            out += bytes.fromhex(piece[:2]) + piece[2:].encode("utf-8", errors)
        except ValueError:
            out += b"+" + piece.encode("utf-8", errors)
    return out.decode("utf-8", errors)


def address_in(original: str) -> str:
    """Return the address in an ORCPT value as it was written. It may hold anything: a stranger chose it."""
    return decode(original.partition(";")[2], "surrogateescape")


def original_recipient(address: Address) -> str:
    """Return the ORCPT value of an address as it was first given."""
    return "rfc822;" + encode(str(address))
