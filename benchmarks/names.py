"""A name server with nothing to think about: names.py LISTEN SYSTEM, for the benchmarks.

MX of NAME.example is mx.NAME.example, whose address is LISTEN itself; mx.test.example is SYSTEM.
Answers are kept, so that the name server's own time does not count against who asks more often.
"""

import socket
import struct
import sys

MX, A = 15, 1


def main() -> None:
    listen, system = sys.argv[1:]
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind((listen, 53))
    addresses = socket.inet_aton(listen), socket.inet_aton(system)
    kept: dict[bytes, bytes] = {}
    while True:
        question, client = end.recvfrom(2048)
        key = question[12:].lower()
        if key not in kept:
            kept[key] = answer(question, *addresses)
        end.sendto(question[:2] + kept[key], client)


def answer(question: bytes, peer: bytes, system: bytes) -> bytes:
    """Return the answer without its id."""
    end = question.index(b"\0", 12) + 1
    name, (kind,) = question[12:end].lower(), struct.unpack(">H", question[end : end + 2])
    records = []
    if name.endswith(b"\x07example\0"):
        if kind == MX and not name.startswith(b"\x02mx"):
            exchange = b"\x02mx" + name
            records = [struct.pack(">HHIHH", MX, 1, 3600, len(exchange) + 2, 10) + exchange]
        elif kind == A:
            address = system if name == b"\x02mx\x04test\x07example\0" else peer
            records = [struct.pack(">HHIH", A, 1, 3600, 4) + address]
    code = 0 if name.endswith(b"\x07example\0") else 3
    head = struct.pack(">HHHHH", 0x8580 | code, 1, len(records), 0, 0)
    return head + question[12 : end + 4] + b"".join(b"\xc0\x0c" + record for record in records)


if __name__ == "__main__":
    main()
