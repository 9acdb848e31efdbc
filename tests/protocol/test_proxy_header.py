"""The PROXY protocol: headers as proxies send them, whole and octet by octet, and everything that is none."""

import struct

import pytest

from sendmail_py.protocol.proxy_header import LIMIT, Proxied, read

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v2(family: int, body: bytes, what: int = 0x21, length: int = -1) -> bytes:
    return V2 + struct.pack("!BBH", what, family, len(body) if length < 0 else length) + body


FOUR = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + struct.pack("!HH", 4711, 25)
SIX = bytes.fromhex("20010db8" + "0" * 23 + "1" + "20010db8" + "0" * 23 + "2") + struct.pack("!HH", 4711, 25)
MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]) + bytes(15) + b"\1" + struct.pack("!HH", 1, 2)
ENDS4 = Proxied(("192.0.2.1", 4711), ("198.51.100.7", 25))
ENDS6 = Proxied(("2001:db8::1", 4711), ("2001:db8::2", 25))

GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 25\r\n", ENDS4),
    (b"PROXY TCP6 2001:DB8:0:0::1 2001:db8::2 4711 25\r\n", ENDS6),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 25\r\n", Proxied(("192.0.2.1", 4711), ("::1", 25))),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (v2(0x11, FOUR), ENDS4),
    (v2(0x11, FOUR + b"\x04\0\x03abc"), ENDS4),
    (v2(0x21, SIX), ENDS6),
    (v2(0x21, MAPPED), Proxied(("192.0.2.1", 1), ("::1", 2))),
    (v2(0x00, b"", 0x20), None),
    (v2(0x11, FOUR, 0x20), None),
    (v2(0x00, b"x" * 30), None),
]


@pytest.mark.parametrize(("header", "ends"), GOOD)
def test_a_header_is_read_and_nothing_behind_it(header: bytes, ends: Proxied | None) -> None:
    assert read(header) == (len(header), ends)
    assert read(header + b"\x16\x03\x01EHLO x\r\n") == (len(header), ends)
    for end in range(len(header)):
        assert read(header[:end]) is None


BAD = [
    b"EHLO c.test\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 4711\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 25 \r\n",
    b"PROXY  TCP4 192.0.2.1 198.51.100.7 4711 25\r\n",
    b"PROXY tcp4 192.0.2.1 198.51.100.7 4711 25\r\n",
    b"proxy TCP4 192.0.2.1 198.51.100.7 4711 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 25\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 4711 25\nEHLO x\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 04711 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 25\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 25\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.7 4711 25\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.7 4711 25\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 4711 25\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.7 4711 25\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 4711 25\r\n",
    b"PROXY TCP4 0.0.0.0 198.51.100.7 4711 25\r\n",
    b"PROXY TCP4 224.0.0.1 198.51.100.7 4711 25\r\n",
    b"PROXY TCP4 \xd9\xa1.0.0.1 198.51.100.7 4711 25\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.7 4711 25\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY \r\n",
    b"PROXY " + b"x" * 101,
    b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    V2 + b"\x11\x11\0\x0c" + FOUR,
    V2 + b"\x22\x11\0\x0c" + FOUR,
    v2(0x11, FOUR[:11]),
    v2(0x21, SIX[:35]),
    v2(0x12, FOUR),
    v2(0x31, bytes(216)),
    v2(0x11, FOUR, length=LIMIT),
    v2(0x11, FOUR, length=0xFFFF),
    v2(0x11, bytes(12)),
    V2[:11] + b"X",
]


@pytest.mark.parametrize("data", BAD)
def test_anything_else_is_an_error_and_is_not_waited_for(data: bytes) -> None:
    with pytest.raises(ValueError):
        read(data)


def test_no_octets_at_all_are_read_as_something() -> None:
    for first in range(256):
        data = bytes([first])
        if data in (b"P", b"\r"):
            assert read(data) is None
        else:
            with pytest.raises(ValueError):
                read(data)
