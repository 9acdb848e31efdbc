"""Addresses that need reading: lists and names on the command line, and the header's for -t.

Light: sendmail(1) imports it for what is no plain address.
"""

from ..core.address import Address
from ..core.errors import MessageError
from ..formats.address_list import parse_recipients, parse_sender
from ..formats.header import recipients_from_header, split_header

_HEADER_LIMIT = 16 << 20


def recipients(text: str) -> "list[Address]":
    """Return the recipients that one argument names; raises MessageError."""
    try:
        return [address for address in parse_recipients(text) if address]
    except ValueError as error:
        raise MessageError(f"recipient {text!r}: {error}") from error


def sender(text: str) -> Address:
    """Return the sender that -f names; raises MessageError."""
    try:
        return parse_sender(text)
    except ValueError as error:
        raise MessageError(f"sender {text!r}: {error}") from error


def header_goes_on(data: bytes) -> bool:
    """Say whether the end of the header is not in this beginning of a message; raises MessageError."""
    if len(data) > _HEADER_LIMIT:
        raise MessageError("the header is too long to find recipients in")
    return split_header(data, whole=False) is None


def from_header(head: bytes) -> "list[Address]":
    """Return the recipients in the header of a message, for -t; raises MessageError."""
    sections = split_header(head)
    assert sections is not None
    try:
        return recipients_from_header(head[sections.start : sections.end])
    except ValueError as error:
        raise MessageError(f"recipients in the header: {error}") from error
