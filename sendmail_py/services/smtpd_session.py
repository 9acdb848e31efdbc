"""One client of the SMTP server: the machine of protocol/smtp_server.py on a socket.

Guarantees: every command gets one answer, in order; while an answer is being found nothing more is
read. A client that does not finish a command in time, does not read what it is told, or makes
error after error is let go.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..host.tls import TlsError, accept, description
from ..protocol import server_replies as replies
from ..protocol.commands import Verb
from ..protocol.reply import Reply, softened
from ..protocol.server_commands import Command, Plain, Refused
from ..protocol.smtp_client import NEED_DATA
from ..protocol.smtp_server import Content, SmtpServer, State
from ..routing.restriction_scene import Client
from .smtpd_log import Tally
from .smtpd_transaction import BARE_NEWLINE, TOO_MANY_RECIPIENTS, Transactions

if TYPE_CHECKING:
    from .smtpd import Server

_NEVER = float("inf")
_LINGER = 5.0
_JUNK = (Verb.NOOP, Verb.VRFY, Verb.RSET, Verb.HELO, Verb.EHLO, Verb.HELP)


class Session(asyncio.Protocol):
    """A connection from its first octet to its last. deadline is when the client must have gone on."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._config = server.config
        self.client = Client("unknown", "")
        self.deadline = _NEVER
        self.is_over = False
        self._tally = Tally()
        self._last = "CONNECT"
        self._junk = 0
        self._busy = True  # an answer is being found; until the greeting too
        self._choked = False  # the client does not read
        self._reading = True
        self._ended = False  # the client says no more
        self._gone = False
        self._is_changing = False  # to TLS: the transport is not ours then
        self._task: asyncio.Task[None] | None = None

    # --- the connection -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: who is it, and may it be?"""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = str((transport.get_extra_info("peername") or ("",))[0]).partition("%")[0]
        server, rules, config = self._server, self._server.rules, self._config
        self.client = Client("unknown", address, in_mynetworks=address in rules.mynetworks)
        self._transactions = Transactions(server, self.client)
        plain = config.smtpd_forbid_bare_newline != "reject" and address in rules.plain_text
        offered = server.extensions | ({"STARTTLS": ""} if server.context else {})
        self._machine = SmtpServer(config.myhostname, offered, plain, config.smtpd_hard_error_limit)
        if not address:
            self.is_over = True
            transport.abort()  # it has gone already
            return
        self.deadline = time.monotonic() + server.timeout()
        refusal = server.enter(self, self.client)
        if refusal:
            server.log.info(f"connect from {self.client}")
            self._say_last(refusal)
        else:
            self._wait_for(self._greet())

    async def _greet(self) -> None:
        address = self.client.address
        name = await self._server.world.client_name(address)
        self.client = Client(name, address, in_mynetworks=self.client.in_mynetworks)
        self._server.log.info(f"connect from {self.client}")
        refusal = await self._transactions.connect(self.client)
        if refusal:
            self._say_last(refusal)
            return
        self._write(replies.render(Reply(220, (self._config.smtpd_banner,))))
        self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone, or was let go."""
        if self._task:
            self._task.cancel()
        self._transactions.forget()
        if not self.client.address or self._gone:
            return
        self._gone = True
        self._server.left(self, self.client)
        if not self.is_over:
            self._server.log.info(f"lost connection after {self._last} from {self.client}")
        self._server.log.info(f"disconnect from {self.client}{self._tally}")
        self.is_over = True

    def eof_received(self) -> bool:
        """The client says no more; what it has said is still answered."""
        self._ended = True
        return (self._busy or self._choked) and not self.is_over

    def pause_writing(self) -> None:
        """The client does not read what it is told: do no more for it."""
        self._choked = True

    def resume_writing(self) -> None:
        """It does again."""
        self._choked = False
        self._pump()

    def late(self) -> None:
        """The time is up."""
        if self.is_over:
            self._transport.abort()
            return
        self._server.log.info(f"timeout after {self._last} from {self.client}")
        self.say_goodbye(replies.reply(421, "4.4.2", f"{self._config.myhostname} Error: timeout exceeded"))

    def is_at_rest(self) -> bool:
        """Say whether the client has begun nothing that it could want to end."""
        return not (self.is_over or self._busy or self._transactions.has_begun)

    def say_goodbye(self, answer: Reply) -> None:
        """Let the client go, at a time when no answer is due."""
        if self._task:
            self._task.cancel()
        self._transactions.forget()
        self._say_last(answer)

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

    # --- what comes ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take octets of the client."""
        if self.is_over:
            return
        self._machine.receive_data(data)
        if self._busy or self._choked:
            self._read(False)
        else:
            self._pump()

    def _read(self, on: bool) -> None:
        if on != self._reading and not self._is_changing and not self._transport.is_closing():
            self._reading = on
            (self._transport.resume_reading if on else self._transport.pause_reading)()

    def _pump(self) -> None:
        """Deal with what has come, until an answer takes time."""
        events = 0
        while not (self._busy or self._choked or self.is_over):
            event = self._machine.next_event()
            if event is NEED_DATA:
                break
            events += 1
            if isinstance(event, Content):
                self._take(event.data)
            else:
                self._serve(event)
        if self.is_over:
            return
        if self._busy:
            self.deadline = _NEVER
        elif self._machine.state is not State.CONTENT and (events or self.deadline == _NEVER):
            self.deadline = time.monotonic() + self._server.timeout()
        if self._busy or self._choked:
            return
        if self._ended:
            self._transport.close()
        else:
            self._read(True)

    def _take(self, data: bytes) -> None:
        """Take content. What has come earns time for more, never more time than a command has."""
        content = self._transactions.content
        assert content
        content.write(data)
        rate = self._config.smtpd_min_data_rate
        latest = time.monotonic() + self._server.timeout()
        self.deadline = min(latest, self.deadline + len(data) / rate) if rate else latest

    def _serve(self, event: Command) -> None:
        if isinstance(event, Refused):
            self._send(event, event.answer)
            return
        self._last = "END-OF-MESSAGE" if event.verb is Verb.DOT else event.verb.value
        if self._machine.bare_newlines and self._config.smtpd_forbid_bare_newline == "reject":
            self._send(event, BARE_NEWLINE)
            return
        if event.verb is Verb.STARTTLS:
            self._wait_for(self._start_tls(event))
            return
        answer = self._transactions.answer(event)
        if isinstance(answer, Reply):
            self._send(event, answer)
        else:
            self._wait_for(self._send_later(event, answer))

    async def _start_tls(self, event: Command) -> None:
        """Change to TLS; what was said before it is forgotten, and what was sent too early ends the session."""
        self._read(False)
        context = self._server.context
        if self._machine.has_unread() or context is None:
            self._send(event, replies.UNREAD)
            return
        self._send(event, replies.START_TLS)
        config = self._config
        # What the client says under TLS may come before accept() returns, and nothing in clear comes any more.
        self._machine = SmtpServer(config.myhostname, self._server.extensions, False, config.smtpd_hard_error_limit)
        self._transactions.secured()
        self._is_changing = True
        try:
            timeout = float(self._config.smtpd_starttls_timeout)
            self._transport = await accept(self._transport, self, context, timeout)
        except (TlsError, TimeoutError) as error:
            self._server.log.info(f"SSL_accept error from {self.client}: {error}")
            self.is_over = True
            self._transport.abort()
            self.connection_lost(None)
            return
        if self._config.smtpd_tls_loglevel:
            words = description(self._transport)
            self._server.log.info(f"Anonymous TLS connection established from {self.client}: {words}")
        self._is_changing = False
        self._reading = True
        self._go_on()

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        self._busy = True
        self._task = asyncio.get_running_loop().create_task(work)

    async def _send_later(self, event: Command, answer: Coroutine[Any, Any, Reply]) -> None:
        if self._send(event, await answer):
            self._go_on()

    def _go_on(self) -> None:
        """The answer is given: read on."""
        self._task = None
        if not self.is_over:
            self._busy = False
            self._pump()

    # --- what goes ----------------------------------------------------------------------------

    def _send(self, event: Command, answer: Reply) -> bool:
        """Give an answer; False where it waits, after too many errors."""
        if answer is not replies.TOO_MANY_ERRORS:  # which is the answer to no command
            self._tally.count(event, answer)
        is_error = self._is_error(event, answer)
        octets = self._machine.send(softened(answer) if self._config.soft_bounce else answer, is_error)
        if isinstance(event, Plain) and event.verb is Verb.DATA:
            self.deadline = time.monotonic() + self._server.timeout()
        if answer.code == 421:
            self._end_by(answer)
        elif answer.code >= 400 and self._machine.errors > self._config.smtpd_soft_error_limit:
            self._wait_for(self._write_later(octets))
            return False
        else:
            self._write(octets)
        if self._machine.state is State.CLOSED and not self.is_over:
            self.is_over = True
            self._transport.close()
        return True

    def _is_error(self, event: Command, answer: Reply) -> bool | None:
        """Say whether an answer counts as an error; None: its code says so."""
        if answer is TOO_MANY_RECIPIENTS and self._transactions.is_within_overshoot:
            return False
        verb = None if isinstance(event, Refused) else event.verb
        if verb in _JUNK:
            self._junk += 1
            return True if self._junk > self._config.smtpd_junk_command_limit else None
        if verb is Verb.DOT and answer.code < 400:
            self._junk = 0
        return None

    def _end_by(self, answer: Reply) -> None:
        if answer is replies.TOO_MANY_ERRORS:
            self._server.log.info(f"too many errors after {self._last} from {self.client}")
        elif answer is replies.NOT_SMTP:
            self._server.log.warning(f"non-SMTP command from {self.client}")
        self._transactions.forget()
        self._say_last(answer)

    async def _write_later(self, octets: bytes) -> None:
        await asyncio.sleep(self._config.smtpd_error_sleep_time)
        self._write(octets)
        self._go_on()

    def _write(self, octets: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(octets)
