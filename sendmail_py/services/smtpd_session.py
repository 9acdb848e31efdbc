"""One client of the SMTP server: the machine of protocol/smtp_server.py on a connection.

Guarantees: every command gets one answer, in order; while an answer is being found nothing more is
read. A client that does not finish a command in time, does not read what it is told, or makes
error after error is let go.
"""

import asyncio
import time
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from ..protocol import server_replies as replies
from ..protocol.commands import Verb
from ..protocol.proxy_header import Proxied
from ..protocol.reply import Reply, softened
from ..protocol.server_commands import Command, Refused
from ..protocol.smtp_client import NEED_DATA
from ..protocol.smtp_server import Content, SmtpServer, State
from ..routing.restriction_scene import Client
from .smtpd_answers import Pending
from .smtpd_connection import NEVER, Connection
from .smtpd_errors import Errors
from .smtpd_keywords import LOCAL_ERROR, Offer
from .smtpd_log import Tally
from .smtpd_newlines import BareNewlines
from .smtpd_transaction import Transactions

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance

_MAPPED = "::ffff:"  # how a socket of both families, such as systemd's, shows a client of IPv4
_GO_ON = 354
_AT_ONCE: Final = frozenset((220, 221))  # TLS begins, and the session ends, with their answer
_ENDS: Final = frozenset((Verb.DOT, Verb.LAST))


class Session(Connection):
    """A connection from its first octet to its last."""

    def __init__(self, server: "Entrance", proxied: Proxied | Literal[False] | None = False) -> None:
        """proxied is what a proxy says of its client, None where it speaks for itself; False: there is no proxy."""
        super().__init__(server)
        self._proxied = proxied
        self._tally = Tally()
        self._last_verb: Verb | None = None  # None: it has only connected
        self._errors = Errors(self._config)
        self._gone = False

    # --- the connection -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: who is it, and may it be?"""
        super().connection_made(transport)
        peer, here = self._proxied or (transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        address = str((peer or ("",))[0]).partition("%")[0].removeprefix(_MAPPED)
        server, rules, config = self._server, self._server.rules, self._config
        # A proxy that speaks for itself asks whether we are there; mail it has none.
        is_friend = address in rules.mynetworks and self._proxied is not None
        self.client = Client("unknown", address, in_mynetworks=is_friend)
        policy = "no" if address in rules.plain_text else config.smtpd_forbid_bare_newline
        self._newlines = BareNewlines(policy, self._tally, config.smtpd_forbid_bare_newline_reject_code)
        self._transactions = Transactions(server, self.client, self._newlines)
        self._transactions.facts.take_ends(peer, here)
        self._offer = Offer(server, address)
        self._machine = self._new_machine(policy == "no")
        if not address:
            self.is_over = True
            self._transport.abort()  # it has gone already
            return
        self.deadline = time.monotonic() + server.timeout()
        refusal = server.enter(self, self.client)
        if server.starts_with_tls:
            # What comes first is the handshake, and not ours to read. Not at once: asyncio begins to read after this.
            asyncio.get_running_loop().call_soon(self._read, False)
        if refusal:
            server.log.info(f"connect from {self.client}")
            self._refuse_entrance(refusal)
        else:
            self._safely(self._meet)

    def _new_machine(self, plain: bool = False) -> SmtpServer:
        config = self._config
        offered = self._offer.now(self._is_secure)
        return SmtpServer(config.myhostname, offered, plain, config.smtpd_hard_error_limit)

    def _meet(self) -> None:
        """Greet the client: at once where nobody has to be asked, for a task costs more than all this."""
        names = self._server.world.known_names(self.client.address)
        if names is None or self._offer.is_to_be_asked or self._server.starts_with_tls:
            self._wait_for(self._meet_later())
            return
        self._name(names)
        outcome = self._transactions.connect(self.client)
        if isinstance(outcome, Coroutine):
            self._wait_for(self._welcome_later(outcome))
        else:
            self._welcome(outcome)

    async def _meet_later(self) -> None:
        self._name(await self._server.world.client_names(self.client.address))
        refusal = await self._offer.ask(self.client) if self._offer.is_to_be_asked else None
        self._machine.offer(self._offer.now(self._is_secure))
        if self._server.starts_with_tls and not await self._change_to_tls(self._server.context):
            return
        outcome = refusal or self._transactions.connect(self.client)
        self._welcome(await outcome if isinstance(outcome, Coroutine) else outcome)

    async def _welcome_later(self, outcome: Coroutine[Any, Any, Reply | None]) -> None:
        self._welcome(await outcome)

    def _name(self, names: tuple[str, str]) -> None:
        name, self._transactions.facts.reverse_name = names
        self.client = Client(name, self.client.address, in_mynetworks=self.client.in_mynetworks)
        self._server.log.info(f"connect from {self.client}")

    def _welcome(self, refusal: Reply | None) -> None:
        if refusal:
            self._refuse(refusal)
            return
        self._write(replies.render(Reply(220, (self._config.smtpd_banner,))))
        self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone, or was let go."""
        if self._task:
            self._task.cancel()
        self._transactions.leave()
        if not self.client.address or self._gone:
            return
        self._gone = True
        self._server.left(self, self.client)
        if not self.is_over:
            self._server.log.info(f"lost connection after {self._last} from {self.client}")
        if self._transcript:
            self._transcript.end(self.client, "" if self.is_over else "lost connection", self._server.log)
        self._server.log.info(f"disconnect from {self.client}{self._tally}")
        self.is_over = True

    def late(self) -> None:
        """The time is up."""
        if self.is_over:
            self._transport.abort()
            return
        if self._is_changing:  # there is nobody to be told anything, in clear or under TLS
            self._have_no_tls("the handshake timed out")
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

    @property
    def _last(self) -> str:
        """What the client said last, as Postfix names it."""
        verb = self._last_verb
        return "CONNECT" if verb is None else "END-OF-MESSAGE" if verb in _ENDS else verb.value

    # --- what comes ---------------------------------------------------------------------------

    def _came(self, data: bytes) -> None:
        self._machine.receive_data(data)

    def _begin_again(self) -> None:
        self._machine = self._new_machine()
        self._transactions.secured()

    def _secured(self, version_and_cipher: tuple[str, str, int]) -> None:
        self._transactions.facts.tls = version_and_cipher

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
            self.deadline = NEVER
        elif not self._machine.is_amid_content() and (events or self.deadline == NEVER):
            self.deadline = time.monotonic() + self._server.timeout()
        if self._busy or self._choked:
            return
        if self._ended:
            self._transport.close()
        else:
            self._read(True)

    def _take(self, data: bytes) -> None:
        """Take content. What has come earns time for more, never more time than a command has."""
        self._transactions.receive(data)
        rate = self._config.smtpd_min_data_rate if self._config.smtpd_per_request_deadline else 0
        latest = time.monotonic() + self._server.timeout()
        self.deadline = min(latest, self.deadline + len(data) / rate) if rate else latest

    def _serve(self, event: Command) -> None:
        if self._machine.bare_newlines and (refusal := self._newlines.seen()):
            self._server.log.info(f"reject: bare <LF> received after {self._last} from {self.client}")
            self._end_by(refusal)
            return
        if self._transcript:
            self._transcript.heard(event, self._machine.line.decode("ascii", "replace"))
        if isinstance(event, Refused):
            self._send(event, event.answer)
            return
        self._last_verb = event.verb
        if event.verb is Verb.STARTTLS:
            self._wait_for(self._start_tls(event))
            return
        if event.verb is Verb.EHLO and (line := self._offer.note(self._is_secure)):
            self._server.log.info(line)
        answer = self._transactions.answer(event)
        if isinstance(answer, Reply):
            if self._send(event, answer) and event.verb in _ENDS and self._machine.has_unread():
                self._let_others_go_first()  # the disk was waited for, perhaps
        elif isinstance(answer, Pending):
            self._busy = True
            answer.then(partial(self._answered, event))
        else:
            self._wait_for(self._send_later(event, answer))

    def _answered(self, event: Command, answer: Reply) -> None:
        """Go on with an answer that took time, but no task."""
        if not self._gone:
            self._safely(lambda: self._go_on() if self._send(event, answer) else None)

    async def _start_tls(self, event: Command) -> None:
        """Change to TLS; what was said before it is forgotten, and what was sent too early ends the session."""
        self._read(False)
        context = self._server.context
        if self._machine.has_unread():
            self._send(event, replies.UNREAD)
            return
        if context is None:
            if self._send(event, replies.NO_TLS):
                self._go_on()
            return
        self._send(event, replies.START_TLS)
        if await self._change_to_tls(context):
            self._go_on()

    def _note_failure(self, error: BaseException) -> None:
        self._server.log.error(f"after {self._last} from {self.client}: {type(error).__name__}: {error}")
        if self._is_changing:
            self._have_no_tls("internal error")
        elif not self.is_over:
            self.say_goodbye(LOCAL_ERROR)

    async def _send_later(self, event: Command, answer: Coroutine[Any, Any, Reply]) -> None:
        if self._send(event, await answer):
            self._go_on()

    # --- what goes ----------------------------------------------------------------------------

    def _send(self, event: Command, answer: Reply) -> bool:
        """Give an answer; False where it waits, after too many errors."""
        if answer is not replies.TOO_MANY_ERRORS:  # which is the answer to no command
            self._tally.count(event, answer)
        if self._transcript:
            self._transcript.note(event, answer)
        is_error = self._errors.is_error(event, answer, self._transactions.is_within_overshoot)
        errors = self._machine.errors
        octets = self._machine.send(softened(answer) if self._config.soft_bounce else answer, is_error)
        if answer.code == _GO_ON:  # how long the content may take is counted anew
            self.deadline = time.monotonic() + self._server.timeout()
        if answer.code in replies.CLOSING:
            self._end_by(answer)
        elif self._is_slow(min(errors, self._machine.errors)) and answer.code not in _AT_ONCE:
            self._wait_for(self._write_later(octets))
            return False
        else:
            self._write(octets)
        if self._machine.state is State.CLOSED and not self.is_over:
            self.is_over = True
            self._transport.close()
        return True

    def _is_slow(self, errors: int) -> bool:
        """Say whether all answers wait, after so many errors without a message taken."""
        return errors >= int(self._config.smtpd_soft_error_limit)

    def _end_by(self, answer: Reply) -> None:
        if answer is replies.TOO_MANY_ERRORS:
            self._server.log.info(f"too many errors after {self._last} from {self.client}")
        elif answer is replies.NOT_SMTP:
            self._server.log.warning(f"non-SMTP command from {self.client}")
        self._transactions.forget()
        self._say_last(answer)
