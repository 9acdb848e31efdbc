"""The header fields of a final delivery: Return-Path, X-Original-To and Delivered-To.

Pure. Each is one line: an address cannot hold a line break, and other text is made safe.
"""

from collections.abc import Iterable

from ..core.address import Address
from ..core.envelope import Recipient
from .xtext import address_in

_NAME = b"\ndelivered-to:"


def encode(text: str) -> bytes:
    """Return the octets of text; those that were no UTF-8 come back as they were."""
    return text.encode("utf-8", "surrogateescape")


def delivery_fields(sender: Address, recipients: Iterable[Recipient]) -> bytes:
    """Return the fields that go before the content (RFC 5321 4.4 for Return-Path)."""
    lines = [f"Return-Path: <{sender}>\n"]
    for recipient in recipients:
        address = str(recipient.forward_path)
        original = address_in(recipient.original)
        if original and original != address:
            lines.append(f"X-Original-To: {_one_line(original)}\n")
        lines.append(f"Delivered-To: {address}\n")
    return encode("".join(dict.fromkeys(lines)))


def delivered_to(header: bytes) -> set[str]:
    """Return the addresses of the Delivered-To fields in a header section, in lower case."""
    lowered = b"\n" + header.lower()
    found = set()
    position = lowered.find(_NAME)
    while position >= 0:
        start = position + len(_NAME)
        end = lowered.find(b"\n", start)
        value = lowered[start : end if end >= 0 else None]
        found.add(value.decode("utf-8", "surrogateescape").strip(" \t\r<>"))
        position = lowered.find(_NAME, start)
    return found


def is_among(address: Address, seen: set[str]) -> bool:
    """Say whether delivered_to() found this address."""
    return bool(seen) and encode(str(address)).lower().decode("utf-8", "surrogateescape") in seen


def _one_line(text: str) -> str:
    return "".join("?" if c < " " or c == "\x7f" else c for c in text)
