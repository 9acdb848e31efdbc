"""The listening sockets of a server: which addresses main.cf means, and binding them.

Guarantees: an IPv6 socket takes IPv6 alone, so that no client of IPv4 comes in disguise; where
the host has no IPv6, what would be bound by default is quietly left out; any other failure is
told, and binds nothing by halves.
"""

import errno
import ipaddress
import re
import socket
from collections.abc import Collection, Iterable
from typing import NamedTuple

_BACKLOG = 512
_LONGEST_NAME = 253
_NAME = re.compile(r"(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?")
_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_WORDS = {"loopback-only": ("127.0.0.1", "::1"), "all": ("0.0.0.0", "::")}
_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


class Place(NamedTuple):
    """Where to listen. by_default: main.cf names no address, so that it may be missing."""

    address: str
    port: int
    by_default: bool = False

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def places(interfaces: Iterable[str], protocols: str, ports: Iterable[str]) -> tuple[list[Place], list[str]]:
    """Return where to listen, each place once, and a complaint for each name that cannot be looked up.

    A port may name its own interface, host:port. Raises ValueError for a port that is none.
    """
    families = families_of(protocols)
    interfaces = list(interfaces)
    found: dict[Place, None] = {}
    complaints: dict[str, None] = {}
    for port in ports:
        host, number = split_port(port)
        for word in [host] if host else interfaces:
            try:
                addresses = _WORDS.get(word.lower()) or _look_up(word)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                complaints[f"{'a port of' if host else 'inet_interfaces:'} {word}: {why}"] = None
                continue
            for address in addresses:
                if (socket.AF_INET6 if ":" in address else socket.AF_INET) in families:
                    found[Place(address, number, word.lower() in _WORDS)] = None
    return list(found), list(complaints)


def families_of(protocols: str) -> Collection[socket.AddressFamily]:
    """Return the address families that inet_protocols names."""
    words = protocols.replace(",", " ").split()
    return [family for name, family in _FAMILIES.items() if name in words or words == ["all"]]


def split_port(text: str) -> tuple[str, int]:
    """Return host and port of host:port, or "" and a port alone; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if colon and not host:
        raise ValueError(f"{text}: host:port expected")
    return host, port_number(port)


def port_number(text: str) -> int:
    """Return a port by its number, or by its name: smtp, submission; raises ValueError."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        raise ValueError(f"{text}: a port between 1 and 65535 expected") from None


def check_host(word: str) -> None:
    """Raise ValueError for what can be neither an address nor the name of a host."""
    host = word.strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host) or host.rpartition(".")[2].isdigit():
            raise ValueError("an address or the name of a host expected") from None


def _look_up(word: str) -> tuple[str, ...]:
    check_host(word)
    rows = socket.getaddrinfo(word.strip("[]"), None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(row[4][0]) for row in rows))


def listen_at(place: Place) -> socket.socket | None:
    """Bind a place; None where this host has no such address and need not have it. Raises OSError."""
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    try:
        end = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        if place.by_default and error.errno in _NO_SUCH_FAMILY:
            return None
        raise
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        end.bind((place.address, place.port))
        end.listen(_BACKLOG)
    except OSError as error:
        end.close()
        if place.by_default and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return end
