"""What a client of the SMTP server asks for: the answers to its commands, and its message.

Guarantees: whatever restrictions, limits or the disk refuse leaves nothing behind, and each refusal
that is a decision has its line in the log. An answer is a Reply, or a coroutine where it takes time.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..core.envelope import Envelope, Recipient, Submitter
from ..formats import queue_file
from ..protocol import server_replies as replies
from ..protocol.commands import Verb
from ..protocol.reply import Reply, softened
from ..protocol.server_commands import Hello, Mail, Plain, Rcpt
from ..routing.restriction_scene import Client, Subject
from ..routing.restrictions import Check, Checks
from .intake import LOCAL, REMOTE
from .smtpd_log import reject_line
from .smtpd_message import Incoming

if TYPE_CHECKING:
    from .smtpd import Server

TOO_MANY_RECIPIENTS = replies.reply(452, "4.5.3", "Error: too many recipients")
_HELLO_FIRST = replies.reply(503, "5.5.1", "Error: send HELO/EHLO first")
BARE_NEWLINE = replies.reply(550, "5.5.2", "Error: bare <LF> received")

Answer = Reply | Coroutine[Any, Any, Reply]


class Transactions:
    """The transactions of one client, one after another."""

    def __init__(self, server: "Server", client: Client) -> None:
        self._server = server
        self._config = server.config
        self._subject = Subject(client)
        self._checks = Checks(server.rules.restrictions)
        self._envelope: Envelope | None = None
        self._protocol = "SMTP"
        self._is_secure = False
        self._extra_recipients = 0
        self.content: Incoming | None = None

    @property
    def has_begun(self) -> bool:
        """True between MAIL and the end of the message."""
        return self._envelope is not None

    @property
    def is_within_overshoot(self) -> bool:
        """True while recipients beyond the limit are no errors: a client may send them all before it reads on."""
        return bool(self._extra_recipients <= self._config.smtpd_recipient_overshoot_limit)

    async def connect(self, client: Client) -> Reply | None:
        """Check the client, whose name is known now."""
        self._subject.client = client
        return await self._outcome(self._checks.connect(self._subject), "CONNECT")

    def answer(self, event: Plain | Hello | Mail | Rcpt) -> Answer:
        """Do what a command asks, and return the answer."""
        self._subject.recipient = None
        if isinstance(event, Hello):
            return self._hello(event)
        if self._needs_tls() and event.verb not in (Verb.NOOP, Verb.RSET, Verb.QUIT):
            return replies.NEEDS_TLS
        if isinstance(event, Mail):
            return self._mail(event)
        if isinstance(event, Rcpt):
            return self._rcpt(event)
        if event.verb is Verb.DATA:
            return self._checked(self._checks.data(self._subject), "DATA", lambda: self._data(event))
        if event.verb is Verb.DOT:
            return self._end_of_data()
        if event.verb is Verb.RSET:
            self.forget()
        return event.answer

    def secured(self) -> None:
        """Note that TLS has begun: what was said in clear counts no more (RFC 3207 4.2)."""
        self.forget()
        self._is_secure = True
        self._subject.helo = ""
        self._protocol = "SMTP"

    def _needs_tls(self) -> bool:
        return not self._is_secure and self._config.smtpd_tls_security_level == "encrypt"

    def forget(self) -> None:
        """Leave nothing of a transaction that was begun."""
        if self.content:
            self.content.close()
        self.content = self._envelope = None
        self._subject.sender = self._subject.recipient = None

    # --- restrictions -------------------------------------------------------------------------

    def _checked(self, check: Check, verb: str, then: Callable[[], Reply]) -> Answer:
        """Apply restrictions; then() is the answer where they have nothing against it."""
        outcome = self._server.world.run(check, lambda reply: self._warn(verb, reply))
        if isinstance(outcome, Coroutine):
            return self._after(outcome, verb, then)
        return self._verdict(outcome, verb) or then()

    async def _after(self, outcome: Coroutine[Any, Any, Reply | None], verb: str, then: Callable[[], Reply]) -> Reply:
        return self._verdict(await outcome, verb) or then()

    async def _outcome(self, check: Check, verb: str) -> Reply | None:
        outcome = self._server.world.run(check, lambda reply: self._warn(verb, reply))
        return self._verdict(await outcome if isinstance(outcome, Coroutine) else outcome, verb)

    def _verdict(self, refusal: Reply | None, verb: str) -> Reply | None:
        if refusal:
            refusal = softened(refusal) if self._config.soft_bounce else refusal
            self._server.log.info(reject_line("reject", verb, self._subject, self._protocol, refusal))
        return refusal

    def _warn(self, verb: str, refusal: Reply) -> None:
        self._server.log.info(reject_line("reject_warning", verb, self._subject, self._protocol, refusal))

    # --- commands -----------------------------------------------------------------------------

    def _hello(self, event: Hello) -> Answer:
        self.forget()
        self._subject.helo = event.name
        self._protocol = "ESMTP" if event.verb is Verb.EHLO else "SMTP"
        return self._checked(self._checks.helo(self._subject), event.verb.value, lambda: event.answer)

    def _mail(self, event: Mail) -> Answer:
        if self._config.smtpd_helo_required and not self._subject.helo:
            return _HELLO_FIRST
        self._subject.sender = event.sender
        refusal = self._server.rates.message(self._subject.client) or self._server.taker.no_room()
        if refusal:
            return self._verdict(refusal, "MAIL") or refusal
        return self._checked(self._checks.mail(self._subject), "MAIL", lambda: self._begin(event))

    def _begin(self, mail: Mail) -> Reply:
        client = self._subject.client
        submitter = Submitter(os.getuid())
        submitter.helo = self._subject.helo
        # The keywords of RFC 3848 and 6531: ESMTP, ESMTPS, UTF8SMTPS and so on.
        submitter.protocol = "UTF8SMTP" if mail.smtputf8 else self._protocol
        submitter.protocol += "S" if self._is_secure and submitter.protocol != "SMTP" else ""
        e = self._envelope = Envelope("", time.time_ns() // 1000, mail.sender, [], submitter)
        e.body, e.ret, e.envid, e.smtputf8 = mail.body, mail.ret, mail.envid, mail.smtputf8
        e.client = str(client)
        completes = self._config.always_add_missing_headers or client.address in self._server.rules.completed
        e.origin = LOCAL if completes else REMOTE
        self._extra_recipients = 0
        return mail.answer

    def _rcpt(self, event: Rcpt) -> Answer:
        assert self._envelope
        self._subject.recipient = event.address
        if len(self._envelope.recipients) >= self._config.smtpd_recipient_limit:
            self._extra_recipients += 1
            return TOO_MANY_RECIPIENTS
        refusal = self._server.rates.recipient(self._subject.client)
        if refusal:
            return self._verdict(refusal, "RCPT") or refusal
        return self._checked(self._checks.rcpt(self._subject), "RCPT", lambda: self._add(event))

    def _add(self, event: Rcpt) -> Reply:
        assert self._envelope
        self._envelope.recipients.append(Recipient(event.address, event.original, event.notify))
        return event.answer

    def _data(self, event: Plain) -> Reply:
        assert self._envelope
        if len(queue_file.render(self._envelope)) > queue_file.HEAD_LIMIT:
            return TOO_MANY_RECIPIENTS
        self.content = self._server.taker.new_content()
        return event.answer

    # --- the end of a message -----------------------------------------------------------------

    def _end_of_data(self) -> Answer:
        content, envelope = self.content, self._envelope
        assert content and envelope
        self.content = self._envelope = None
        refusal = content.trouble
        if content.has_bare_newline and self._forbids_bare_newlines():
            refusal = BARE_NEWLINE
        if refusal:
            content.close()
            return self._verdict(refusal, "END-OF-MESSAGE") or refusal
        return self._taken(envelope, content)

    async def _taken(self, envelope: Envelope, content: Incoming) -> Reply:
        """Put the message into the queue; who is gone meanwhile does not hear of it, and it is there all the same."""
        refusal = await self._outcome(self._checks.end_of_data(self._subject), "END-OF-MESSAGE")
        if refusal:
            content.close()
            return refusal
        taken: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def tell(answer: Reply) -> None:
            if not taken.done():
                taken.set_result(answer)

        self._server.taker.take(envelope, content, tell)
        answer = await taken
        if answer.code >= 400:
            self._verdict(answer, "END-OF-MESSAGE")
        self._subject.sender = None
        return answer

    def _forbids_bare_newlines(self) -> bool:
        """Say whether a message with bare newlines is refused; "note" logs it."""
        policy = self._config.smtpd_forbid_bare_newline
        if policy == "note":
            self._server.log.info(f"bare <LF> received after DATA from {self._subject.client}")
        return bool(policy == "reject")
