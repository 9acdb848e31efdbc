"""Addresses that need reading: lists and names on the command line, and the header's for -t.

Light: sendmail(1) imports it for what is no plain address.
"""

from ..core.address import Address
from ..core.errors import MessageError
from ..formats.address_list import NOT_IN_DOMAINS, parse_address_list, recipient, refuse_controls, unescape
from ..formats.header import recipients_from_header, split_header

_HEADER_LIMIT = 16 << 20


def recipients(text: str) -> "list[Address]":
    """Return the recipients that one argument names; raises MessageError."""
    try:
        return [address for address in _recipients(text) if address]
    except ValueError as error:
        raise MessageError(f"recipient {text!r}: {error}") from error


def _recipients(text: str) -> "list[Address]":
    """Read a list, or UUCP's (user) from rmail: that is no comment where nothing else is."""
    found = parse_address_list(text, lenient=True)
    inner = text.strip()
    if not found and inner[:1] == "(":
        text = inner[1:-1]
        found = parse_address_list(text, lenient=True)
    return [recipient(mailbox, text) for mailbox in found]


def sender(text: str) -> Address:
    """Return the sender that -f names: the first, of several, as Postfix does; raises MessageError."""
    try:
        return _sender(text)
    except ValueError as error:
        raise MessageError(f"sender {text!r}: {error}") from error


def _sender(text: str) -> Address:
    if not text.isprintable():
        refuse_controls(text)
        if any("\ud800" <= c <= "\udfff" for c in text):  # no SMTP command could hold it: neither the mail nor a report
            raise ValueError(f"not UTF-8: {text[:80]!a}")
        text = text.replace("\t", " ")
    try:
        found = parse_address_list(text)
    except ValueError:
        address = _as_it_stands(text)
        if address is None:
            raise
        return address
    if not found:
        raise ValueError("one address expected")
    return found[0].address


def _as_it_stands(text: str) -> "Address | None":
    """Take a sender that cannot be read as it is, as Postfix does; None where the domain could end a command.

    Web programs pass on what a form gave them: mail with an odd sender is better than none. The local part will be
    quoted; where the domain is missing after the @, the name is bare.
    """
    local_part, at, domain = text.rpartition("@")
    if not at:
        local_part, domain = text, ""
    if not local_part or not NOT_IN_DOMAINS.isdisjoint(domain):
        return None
    return Address(unescape(local_part), domain)


def header_goes_on(data: bytes) -> bool:
    """Say whether the end of the header is not in this beginning of a message; raises MessageError."""
    if split_header(data, whole=False) is not None:
        return False
    if len(data) > _HEADER_LIMIT:
        raise MessageError("the header is too long to find recipients in")
    return True


def from_header(head: bytes) -> "list[Address]":
    """Return the recipients in the header of a message, for -t; raises MessageError."""
    sections = split_header(head)
    assert sections is not None
    try:
        return recipients_from_header(head[sections.start : sections.end])
    except ValueError as error:
        raise MessageError(f"recipients in the header: {error}") from error
