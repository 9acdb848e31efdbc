"""The connection under a session of the SMTP server: octets that come and go, time, and TLS.

Guarantees: nothing is read while an answer is being found, or while the client does not read what it
is told; the last line that is written reaches a client that still sends; what came in clear counts
for nothing under TLS.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from ..host.tls import Context, TlsError, accept, description, version_and_cipher
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..routing.restriction_scene import Client

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance

NEVER = float("inf")
_LINGER = 5.0
# What comes, in the moment in which it is taken. A buffer for each read is one that the kernel maps and unmaps.
_ROOM = memoryview(bytearray(1 << 16))


class Connection(asyncio.BufferedProtocol):
    """Octets of one client. deadline is when the client must have gone on; a Session knows what they mean."""

    def __init__(self, server: "Entrance") -> None:
        self._server = server
        self._config = server.now()
        self._transcript = server.transcript()
        self.client = Client("unknown", "")
        self.deadline = NEVER
        self.is_over = False
        self._busy = True  # an answer is being found; until the greeting too
        self._choked = False  # the client does not read
        self._reading = True
        self._ended = False  # the client says no more
        self._early = b""  # came before the handshake could be waited for, and is its beginning
        self._is_secure = False
        self._is_changing = False  # to TLS: the transport is not ours then
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    # --- what a session does ------------------------------------------------------------------

    def _came(self, data: bytes) -> None:
        """Take octets of the client."""
        raise NotImplementedError

    def _pump(self) -> None:
        """Deal with what has come, until an answer takes time."""
        raise NotImplementedError

    def _begin_again(self) -> None:
        """Forget what was said in clear: TLS begins."""
        raise NotImplementedError

    def _secured(self, version_and_cipher: tuple[str, str, int]) -> None:
        """Note what TLS there is."""
        raise NotImplementedError

    # --- what comes ---------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return room for octets, which are taken out of it before anybody else's come."""
        return _ROOM

    def buffer_updated(self, nbytes: int) -> None:
        """Take octets of the client."""
        if self.is_over:
            return
        if self._server.starts_with_tls and not self._is_secure:
            self._early += _ROOM[:nbytes]
            return
        self._came(bytes(_ROOM[:nbytes]))
        if not self._config.smtpd_per_request_deadline and self.deadline != NEVER:
            self.deadline = time.monotonic() + self._server.timeout()
        if self._busy or self._choked:
            self._read(False)
        else:
            self._pump()

    def _read(self, on: bool) -> None:
        if on != self._reading and not self._is_changing and not self._transport.is_closing():
            self._reading = on
            (self._transport.resume_reading if on else self._transport.pause_reading)()

    def eof_received(self) -> bool:
        """The client says no more; what it has said is still answered."""
        self._ended = True
        return (self._busy or self._choked) and not self.is_over

    def hurry(self, now: float) -> None:
        """Give the client no more time than a client has now."""
        if self.deadline != NEVER:
            self.deadline = min(self.deadline, now + self._server.timeout())

    # --- what goes ----------------------------------------------------------------------------

    def _write(self, octets: bytes) -> None:
        if self._transcript:
            self._transcript.said(octets)
        if not self._transport.is_closing():
            self._transport.write(octets)

    def pause_writing(self) -> None:
        """The client does not read what it is told: do no more for it."""
        self._choked = True

    def resume_writing(self) -> None:
        """It does again."""
        self._choked = False
        self._pump()

    def _say_last(self, answer: Reply) -> None:
        """Write the last line. What the client still says is read and dropped, or a reset would take the line away."""
        self.is_over = True
        self._busy = True
        self._write(replies.render(answer))
        if not self._transport.is_closing():
            # TLS says with its own last record that there is no more.
            (self._transport.write_eof if self._transport.can_write_eof() else self._transport.close)()
        self._read(True)
        self.deadline = time.monotonic() + _LINGER

    def _refuse_entrance(self, refusal: Reply) -> None:
        """Let a client go that comes when it may not; before TLS there are no words that it could read."""
        if self._server.starts_with_tls:
            if self._transcript:
                self._transcript.note(None, refusal)
            self.is_over = True
            self._transport.abort()
        else:
            self._refuse(refusal)

    def _refuse(self, refusal: Reply) -> None:
        """Let a client go that is not wanted."""
        if self._transcript:
            self._transcript.note(None, refusal)
        self._say_last(refusal)

    # --- what takes time ----------------------------------------------------------------------

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        self._busy = True
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._note_end)

    def _safely(self, work: Callable[[], None]) -> None:
        """Do what comes back without an answer for the client only by a defect, which must not end other sessions."""
        try:
            work()
        except Exception as error:
            self._note_failure(error)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Let the client go whose answer could not be found for a defect of ours: it would wait for good."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note_failure(error)

    def _note_failure(self, error: BaseException) -> None:
        raise NotImplementedError

    def _let_others_go_first(self) -> None:
        """Read on in the next turn of the loop."""
        self._busy = True
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """The answer is given: read on."""
        self._task = None
        if not self.is_over:
            self._busy = False
            self._pump()

    async def _write_later(self, octets: bytes) -> None:
        await asyncio.sleep(self._config.smtpd_error_sleep_time)
        self._write(octets)
        self.deadline = time.monotonic() + self._server.timeout()  # for content, after a 354 that has waited
        self._go_on()

    # --- TLS ----------------------------------------------------------------------------------

    async def _change_to_tls(self, context: Context | None) -> bool:
        """Do the handshake; False where the client is gone, or let go."""
        # What the client says under TLS may come before accept() returns, and nothing in clear comes any more.
        self._is_secure = True
        self._begin_again()
        self._is_changing = True
        timeout = float(self._config.smtpd_starttls_timeout)
        self.deadline = time.monotonic() + timeout
        try:
            if context is None:
                raise TlsError("there is no certificate")
            self._transport = await accept(self._transport, self, context, timeout, self._early)
        except (TlsError, TimeoutError) as error:
            self._have_no_tls(str(error))
            return False
        if self._config.smtpd_tls_loglevel:
            words = description(self._transport)
            self._server.log.info(f"Anonymous TLS connection established from {self.client}: {words}")
        self._secured(version_and_cipher(self._transport))
        self._is_changing = False
        self._reading = True
        self.deadline = NEVER
        return True

    def _have_no_tls(self, why: str) -> None:
        """Let a client go amid the handshake: asyncio tells nobody of the end of such a connection."""
        self._server.log.info(f"SSL_accept error from {self.client}: {why}")
        self.is_over = True
        self._transport.abort()
        self.connection_lost(None)
