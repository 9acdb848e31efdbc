"""A listener whose clients come through a proxy that says who they are (smtpd_upstream_proxy_protocol).

Guarantees: nothing of the connection is read but the PROXY header, octet for octet, so that TLS may
begin right behind it; only smtpd_upstream_proxy_clients are listened to; and who sends anything
else, or nothing in time, is dropped without a word.
"""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..core.config import Config
from ..protocol.proxy_header import LIMIT, Proxied, read
from ..routing.networks import Networks
from .smtpd_listener import Listener

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance


def is_proxied(config: Config, port: int) -> bool:
    """Say whether the clients of a port come through a proxy."""
    ports = config.smtpd_upstream_proxy_ports
    return bool(config.smtpd_upstream_proxy_protocol) and (not ports or str(port) in ports)


class ProxiedListener(Listener):
    """One listening socket; arrivals are also the connections whose header has not come yet."""

    def __init__(self, end: socket.socket, entrance: "Entrance") -> None:
        self._proxies = Networks(entrance.config.smtpd_upstream_proxy_clients)
        super().__init__(end, entrance)

    def _admission(self, end: socket.socket, peer: str) -> Coroutine[Any, Any, None] | None:
        if fault := self._fault(peer):
            self._drop(end, peer, fault)
            return None
        return self._admit_proxied(end, peer)

    def _fault(self, proxy: str) -> str:
        if proxy not in self._proxies:
            return "it is none of smtpd_upstream_proxy_clients"
        if len(self.arrivals) >= self._entrance.config.smtpd_connection_limit:
            return "too many connections wait for their PROXY header"
        return ""

    def _drop(self, end: socket.socket, proxy: str, why: object) -> None:
        self._entrance.log.warning(f"dropped a connection from [{proxy}]: {why}")
        end.close()

    async def _admit_proxied(self, end: socket.socket, proxy: str) -> None:
        """Read the header, and begin the session."""
        try:
            async with asyncio.timeout(self._entrance.config.smtpd_upstream_proxy_timeout):
                ends = await self._header(end)
        except (OSError, ValueError) as error:
            self._drop(end, proxy, "no PROXY header in time" if isinstance(error, TimeoutError) else error)
        else:
            await self._admit(end, ends)

    async def _header(self, end: socket.socket) -> "Proxied | None":
        """Read the header and nothing behind it: looked at first, it is taken as far as it is ours."""
        data = b""
        while True:
            await self._readable(end)
            with contextlib.suppress(BlockingIOError, InterruptedError):
                seen = end.recv(LIMIT - len(data), socket.MSG_PEEK)
                if not seen:
                    raise ValueError("it ended before the PROXY header did")
                found = read(data + seen)
                taken = len(seen) if found is None else found[0] - len(data)
                data += end.recv(taken)
                if found is not None:
                    return found[1]

    async def _readable(self, end: socket.socket) -> None:
        came = asyncio.Event()
        self._loop.add_reader(end.fileno(), came.set)
        try:
            await came.wait()
        finally:
            self._loop.remove_reader(end.fileno())
