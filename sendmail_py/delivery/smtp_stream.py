"""One TCP connection to a server as an SMTP session sees it: replies in, octets out.

An asyncio Protocol around the sans-IO machine. One timer serves all waits. What ends a
connection shows as SessionError, which carries the result for whoever has none yet.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from ..core.result import DeliveryResult, Scope, deferred
from ..host import tls
from ..protocol.reply import RemoteProtocolError
from ..protocol.smtp_client import Event, NeedData, SmtpClient
from ..protocol.tls_policy import TlsPolicy


class SessionError(Exception):
    """The session cannot go on; result is for the recipients that have none."""

    def __init__(self, result: DeliveryResult) -> None:
        super().__init__(result.reason)
        self.result = result


class ConnectError(SessionError):
    """There was no connection at all."""


class SmtpStream(asyncio.Protocol):
    """The driver of one connection; relay is the log's `name[address]:port`, or `name[/path]`."""

    def __init__(self, relay: str, lmtp: bool = False) -> None:
        self.machine = SmtpClient(lmtp)
        self.relay = relay
        self.host = relay[: relay.rfind("]") + 1]
        self.lost = False
        self.tls = ""
        self.ended: Callable[[SmtpStream], None] | None = None  # hears of the end, more than once at times
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False

    @property
    def is_idle(self) -> bool:
        """True when the connection stands and owes nothing: fit for another transaction."""
        return not self.lost and self.machine.is_idle

    def write(self, octets: bytes) -> None:
        """Send octets; trouble shows at the next wait."""
        if self._transport and not self.lost:
            self._transport.write(octets)

    async def event(self, doing: str, timeout: float) -> Event:
        """Return the next reply; raises SessionError after timeout seconds, whatever trickles in."""
        event = self.next_event(doing)
        if event is None:
            self._deadline = self._loop.time() + timeout
            while event is None:
                await self._wait(doing)
                event = self.next_event(doing)
        return event

    def next_event(self, doing: str) -> Event | None:
        """Return a reply that is already here; raises SessionError for what is no reply."""
        try:
            event = self.machine.next_event()
        except RemoteProtocolError as error:
            self.abort()
            raise self._broken("4.5.0", f"protocol error of {self.host} while {doing}: {error}") from error
        return None if isinstance(event, NeedData) else event

    async def drain(self, doing: str, timeout: float) -> None:
        """Wait until the connection takes more octets; raises SessionError after timeout seconds."""
        self._deadline = self._loop.time() + timeout
        while self._paused:
            await self._wait(doing)
        if self.lost:
            raise self._connection_lost(doing)

    async def start_tls(
        self, context: tls.Context, policy: TlsPolicy, timeout: float, resumed: tls.Session | None = None
    ) -> None:
        """Go on under TLS, which self.tls then describes; resumed is what may be resumed.

        Raises TlsError when it does not come about as the policy wants it, SessionError for all else.
        """
        doing = "starting TLS"
        if self._transport is None or self.lost:
            raise self._connection_lost(doing)
        self._transport.pause_reading()  # so that nothing in clear can come once the machine has looked
        try:
            self.machine.begin_tls()
            self._transport = await tls.secure(self._transport, self, context, policy.servername, timeout, resumed)
            tls.check_name(self._transport, policy)
            self.tls = tls.description(self._transport)
        except RemoteProtocolError as error:
            self.abort()
            raise self._broken("4.5.0", f"protocol error of {self.host} while {doing}: {error}") from error
        except tls.TlsError:
            self.abort()
            raise

    def tls_session(self) -> tls.Session | None:
        """Return what a later connection may resume, when there is such a thing by now."""
        return tls.session_of(self._transport) if self._transport and self.tls else None

    def certificate(self) -> bytes:
        """Return the certificate of the server as DER, empty without TLS; nobody need have vouched for it."""
        return tls.certificate_of(self._transport) if self._transport and self.tls else b""

    def abort(self) -> None:
        """Close at once."""
        self.lost = True
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.abort()
        if self.ended:
            self.ended(self)

    def _broken(self, status: str, reason: str) -> SessionError:
        return SessionError(deferred(status, reason, Scope.HOST, self.relay))

    def _connection_lost(self, doing: str) -> SessionError:
        return self._broken("4.4.2", f"lost connection with {self.host} while {doing}")

    async def _wait(self, doing: str) -> None:
        if self.lost:
            raise self._connection_lost(doing)
        self._waiter = self._loop.create_future()
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()
        try:
            await self._waiter
        except TimeoutError as error:
            self.abort()
            raise self._broken("4.4.2", f"conversation with {self.host} timed out while {doing}") from error
        finally:
            self._waiter = None

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._timer_fired)

    def _timer_fired(self) -> None:
        """End a wait that is over its deadline; deadlines move on without touching the timer."""
        self._timer = None
        if self._waiter and not self._waiter.done():
            if self._loop.time() >= self._deadline:
                self._waiter.set_exception(TimeoutError())
            else:
                self._set_timer()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        end = transport.get_extra_info("socket")
        if end.family != socket.AF_UNIX:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Feed the machine."""
        self.machine.receive_data(data)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End every wait."""
        self.lost = True
        self._paused = False
        if self._timer:
            self._timer.cancel()
        self._wake()
        if self.ended:
            self.ended(self)

    def pause_writing(self) -> None:
        """Hear that the other side reads slower than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """Hear that it has caught up."""
        self._paused = False
        self._wake()
