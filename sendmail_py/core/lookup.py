"""What a DNS question came to, as plain values.

The four ends are kept apart because mail depends on it: only a clear "no" may ever fail a
message; TEMPORARY (SERVFAIL, time-out, anything not understood) always waits. is_secure says that a name
server whose word counts has validated the answer with all its aliases by DNSSEC; canonical is the name behind these,
"" where there are none.
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
    is_secure: bool = False
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """The IP addresses of a host, as text; those in `secure` are vouched for by DNSSEC."""

    found: Found
    addresses: tuple[str, ...] = ()
    reason: str = ""
    secure: tuple[str, ...] = ()
    canonical: str = ""


@dataclass(frozen=True, slots=True)
class TlsaAnswer:
    """The TLSA records of a name as (usage, selector, matching type, data)."""

    found: Found
    records: tuple[tuple[int, int, int, bytes], ...] = ()
    reason: str = ""
    is_secure: bool = False


@dataclass(frozen=True, slots=True)
class Provenance:
    """How an address of a mail host was found, as far as DNSSEC vouches for it.

    is_secure: it vouches for the address. canonical is the host's name behind its aliases, if it is one; domains
    are those of the MX look-up, likewise. has_secure_mx is None where no MX record was in play.
    """

    is_secure: bool = False
    canonical: str = ""
    has_secure_mx: bool | None = None
    domains: tuple[str, ...] = ()
