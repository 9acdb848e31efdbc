"""What a DNS question came to, as plain values.

The four ends are kept apart because mail depends on it: only a clear "no" may ever fail a
message; TEMPORARY (SERVFAIL, time-out, anything not understood) always waits.
"""

from dataclasses import dataclass
from enum import Enum


class Found(Enum):
    """How a look-up ended."""

    YES = "found"
    NO_DOMAIN = "no such domain"
    NO_DATA = "no data"
    TEMPORARY = "temporary failure"


@dataclass(frozen=True, slots=True)
class MxAnswer:
    """The MX records of a domain as (preference, host) pairs; "" as host is the null MX (RFC 7505)."""

    found: Found
    hosts: tuple[tuple[int, str], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """The IP addresses of a host, as text."""

    found: Found
    addresses: tuple[str, ...] = ()
    reason: str = ""
