"""DNS messages to a server and back, as octets: what comes is an answer to what went, and no more is known of it."""

import asyncio
import struct
from typing import Any

from .name_servers import Server


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the datagram that answers wire: same id, same question."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        same_question = data[12 : len(self._wire)].lower() == self._wire[12:].lower()
        is_error = len(data) == 12  # a server may leave the question out of an error
        if not self.answer.done() and data[:2] == self._wire[:2] and (same_question or is_error):
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def over_udp(wire: bytes, server: Server, wait: float) -> bytes:
    """Send a question and return what answers it; raises OSError, TimeoutError after `wait` seconds."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Datagrams(wire), remote_addr=server)
    try:
        transport.sendto(wire)
        return await asyncio.wait_for(protocol.answer, wait)
    finally:
        transport.close()


async def over_tcp(wire: bytes, server: Server) -> bytes:
    """Send a question over TCP and return its answer (RFC 7766); raises OSError, EOFError."""
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()
