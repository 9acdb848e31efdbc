"""The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who a proxy says that its client is.

Guarantees: read() takes exactly the octets of the header, never more than LIMIT, and what it returns
are addresses in their canonical form. What is not the protocol to the letter is a ValueError.
"""

import ipaddress
import re
import struct
from typing import NamedTuple

LIMIT = 16 + 2048  # of version 2; its TLVs, of which nothing is used, seldom need a few hundred
_V1_LIMIT = 107
_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V1_LINE = re.compile(r"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")
_ADDRESSES = {0x11: (4, struct.Struct("!4s4sHH")), 0x21: (6, struct.Struct("!16s16sHH"))}


class Proxied(NamedTuple):
    """The two ends of the client's connection to the proxy: (address, port) each."""

    client: tuple[str, int]
    server: tuple[str, int]


def read(data: bytes) -> tuple[int, Proxied | None] | None:
    """Return the length of the header at the beginning of data and what it says; None while it is not all there.

    It says None where the proxy speaks for itself (LOCAL, UNKNOWN). Raises ValueError.
    """
    if data.startswith(_V2[: len(data)]):
        return _read_v2(data) if len(data) >= 16 else None
    if data.startswith(_V1[: len(data)]):
        return _read_v1(data)
    raise ValueError("no PROXY header")


def _read_v1(data: bytes) -> tuple[int, Proxied | None] | None:
    end = data.find(b"\r\n", 0, _V1_LIMIT)
    if end < 0:
        if len(data) >= _V1_LIMIT or b"\n" in data:
            raise ValueError("the PROXY line has no end")
        return None
    line = data[:end].decode("ascii", "replace")
    if line == "PROXY UNKNOWN" or line.startswith("PROXY UNKNOWN "):
        return end + 2, None
    found = _V1_LINE.fullmatch(line)
    if not found:
        raise ValueError(f"a bad PROXY line: {line!r}")
    family, client, server, client_port, server_port = found.groups()
    version = 4 if family == "TCP4" else 6
    ends = Proxied((_address(client, version), int(client_port)), (_address(server, version), int(server_port)))
    if max(ends.client[1], ends.server[1]) > 65535:
        raise ValueError(f"a bad port: {line!r}")
    return end + 2, ends


def _read_v2(data: bytes) -> tuple[int, Proxied | None] | None:
    what, family, length = struct.unpack_from("!BBH", data, 12)
    if what not in (0x20, 0x21):
        raise ValueError(f"PROXY version 2: unknown version or command {what:#x}")
    if length > LIMIT - 16:
        raise ValueError(f"PROXY version 2: a header of {length} octets")
    if len(data) < 16 + length:
        return None
    if what == 0x20 or family == 0:  # LOCAL; or a client of no address
        return 16 + length, None
    if family not in _ADDRESSES:
        raise ValueError(f"PROXY version 2: an address of family {family:#x}")
    version, form = _ADDRESSES[family]
    if length < form.size:
        raise ValueError("PROXY version 2: the addresses are cut")
    client, server, client_port, server_port = form.unpack_from(data, 16)
    ends = (_packed(client, version), client_port), (_packed(server, version), server_port)
    return 16 + length, Proxied(*ends)


def _packed(octets: bytes, version: int) -> str:
    return _address(str(ipaddress.ip_address(octets)), version)


def _address(text: str, version: int) -> str:
    """Return an address in its canonical form, one of IPv4 in IPv6 as what it is."""
    address = ipaddress.ip_address(text)
    if address.version != version:
        raise ValueError(f"{text} is no address of IPv{version}")
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{text} is no client's address")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
