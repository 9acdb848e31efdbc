"""Policy services that restrictions name: asked over connections that are kept, never longer than their time-out.

Guarantees: an answer is that of the question just asked, or the service's default_action; a client
that hangs up meanwhile leaves no connection behind on which its answer could reach another.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import cast

from .. import __version__
from ..core.config import Config
from ..core.endpoint import Endpoint, Service
from ..host.syslog import Log
from ..protocol.policy import ANSWER_LIMIT, PolicyError, answer, question
from .service_settings import policy_service


class Connection(asyncio.Protocol):
    """One connection; a server that speaks unasked loses it."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = b""
        self.began = self.used = time.monotonic()
        self.questions = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    async def ask(self, octets: bytes) -> bytes:
        """Return the answer to a question; raises OSError."""
        self.questions += 1
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(octets)
        try:
            return await self._answer
        finally:
            self._answer = None
            self.used = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._buffer += data
        lines, end, rest = self._buffer.partition(b"\n\n")
        waits = self._answer is not None and not self._answer.done()
        if not waits or rest or len(lines) > ANSWER_LIMIT:
            self.transport.abort()
        elif end and self._answer:
            self._buffer = b""
            self._answer.set_result(lines)

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits learns it."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server has closed the connection"))


class PolicyClient:
    """One service."""

    def __init__(self, service: Service, log: Log) -> None:
        self._endpoint: Endpoint = service.endpoint
        self._settings = service.settings
        self._log = log
        self._idle: list[Connection] = []

    async def ask(self, attributes: Mapping[str, object]) -> str:
        """Return what the service says, its default_action where it says nothing."""
        s = self._settings
        more = {"policy_context": s["policy_context"], "compatibility_level": "", "mail_version": __version__}
        octets = question({**attributes, **more})
        for number in range(s["try_limit"]):
            if number:
                await asyncio.sleep(s["retry_delay"])
            try:
                async with asyncio.timeout(s["timeout"]):
                    return await self._exchange(octets)
            except (OSError, PolicyError) as error:
                fault = "no answer in time" if isinstance(error, TimeoutError) else str(error)
                self._log.warning(f"problem talking to policy service {self._endpoint}: {fault}")
        return str(s["default_action"])

    async def _exchange(self, octets: bytes) -> str:
        if kept := self._kept():
            try:
                return await self._ask(kept, octets)
            except TimeoutError:
                raise
            except OSError:  # the server has closed it since
                pass
        return await self._ask(await self._connect(), octets)

    async def _ask(self, connection: Connection, octets: bytes) -> str:
        try:
            said = answer(await connection.ask(octets))
        except BaseException:
            connection.transport.abort()
            raise
        self._idle.append(connection)
        return said

    def _kept(self) -> Connection | None:
        """Return the connection that was used last, and close those that are too old."""
        s, now = self._settings, time.monotonic()
        good = []
        for c in self._idle:
            is_old = now - c.used > s["max_idle"] or now - c.began > s["max_ttl"]
            if is_old or 0 < s["request_limit"] <= c.questions:
                c.transport.close()
            elif not c.transport.is_closing():
                good.append(c)
        self._idle = good
        return good.pop() if good else None

    async def _connect(self) -> Connection:
        loop, place = asyncio.get_running_loop(), self._endpoint
        if place.is_unix:
            return (await loop.create_unix_connection(Connection, place.host))[1]
        return (await loop.create_connection(Connection, place.host, place.port))[1]

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for connection in self._idle:
            connection.transport.close()
        self._idle = []


class Policies:
    """The services of one configuration, by what main.cf says of them."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._clients: dict[str, PolicyClient] = {}

    async def ask(self, text: str, attributes: Mapping[str, object]) -> str:
        """Ask a service; what is none, which only a table can name, is the default action."""
        if text not in self._clients:
            try:
                self._clients[text] = PolicyClient(policy_service(text, self._config), self._log)
            except ValueError as error:
                self._log.warning(f"check_policy_service {error}")
                return str(self._config.smtpd_policy_service_default_action)
        return await self._clients[text].ask(attributes)

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()
