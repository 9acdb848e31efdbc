"""Lists of networks as mynetworks has them: 127.0.0.0/8, 192.0.2.7, [2001:db8::]/32, ! before one excludes.

Guarantees: an address outside the list is never in it, whatever its spelling: IPv4 in IPv6 counts
as IPv4, and a network with bits beyond its mask is an error, not another network.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_WORDS = {"static:all": ("0.0.0.0/0", "[::]/0")}  # as master.cf of Postfix has it for local_header_rewrite_clients
_PATTERN = re.compile(r"(?P<not>!*)(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<bare>[0-9a-fA-F:.]+))(?P<mask>/[0-9]{1,3})?")


class Networks:
    """One list, in order; the first pattern that matches decides. Raises ValueError for what is no network."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [_parse(part) for pattern in patterns for part in _WORDS.get(pattern, (pattern,))]
        self._has = lru_cache(1024)(self._decide)  # a client comes again

    def __contains__(self, address: object) -> bool:
        return self._has(str(address))

    def _decide(self, address: str) -> bool:
        ip = _address(address)
        return ip is not None and next((says for says, network in self._patterns if ip in network), False)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _parse(text: str) -> tuple[bool, Network]:
    found = _PATTERN.fullmatch(text)
    if not found:
        raise ValueError(f"{text}: a network such as 192.0.2.0/24 or [2001:db8::]/32 expected")
    try:
        network = ipaddress.ip_network((found["v6"] or found["bare"]) + (found["mask"] or ""))
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    return len(found["not"]) % 2 == 0, network
