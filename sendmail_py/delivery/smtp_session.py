"""Delivering messages over one SMTP session: every recipient gets what the server said of it.

Guarantees: a recipient is delivered only by a 2xx reply to the end of a content that was
read whole; a connection that breaks after that end leaves the message deferred; a torn file
never gets one. With PIPELINING an envelope goes out as one segment, together with the end
of the message before it. A delivery that is only to be verified ends with the replies to RCPT.
Over LMTP (RFC 2033) each accepted recipient has a reply of its own to the final dot.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.result import Outcome, Scope, deferred, failed, from_reply
from ..protocol.commands import Command, Verb, is_sendable, mail, rcpt
from ..protocol.reply import Reply
from .smtp_content import ContentSender
from .smtp_stream import SessionError, SmtpStream
from .smtp_transaction import Transaction, passing, result_of


class SmtpSession:
    """A session with one server; count is the number of transactions that were made, since when it began.

    place is whatever tells its maker for what else it can be used; ignored are extensions to do without.
    """

    def __init__(self, stream: SmtpStream, config: Config, ignored: Sequence[str] = ()) -> None:
        self.stream = stream
        self.count = 0
        self.since = time.monotonic()
        self.place: Hashable = None
        self.tls_level = "none"
        self._ignored = [*config.smtp_discard_ehlo_keywords, *ignored]
        self._config = config
        self._machine = stream.machine
        self._content = ContentSender(stream, config)

    async def hello(self) -> None:
        """Wait for the greeting and introduce ourselves; raises SessionError."""
        greeting = await self._reply("receiving the initial server greeting", self._config.smtp_helo_timeout)
        if greeting.code // 100 != 2:
            raise self._refuses(greeting)
        await self.introduce()

    async def introduce(self) -> None:
        """Say EHLO, else HELO, or LHLO; raises SessionError."""
        timeout = self._config.smtp_helo_timeout
        name = self._config.smtp_helo_name
        verb = Verb.LHLO if self._machine.lmtp else Verb.EHLO
        self._send(Command(verb, name))
        reply = await self._reply(f"performing the {verb.value} handshake", timeout)
        if reply.code // 100 != 2 and reply.code != 421 and not self._machine.lmtp:
            self._send(Command(Verb.HELO, name))
            reply = await self._reply("performing the HELO handshake", timeout)
        if reply.code // 100 != 2:
            raise self._refuses(reply)
        self._machine.ignore(self._ignored)

    async def deliver(
        self, deliveries: Sequence[Delivery], ended: Callable[[Delivery], None], goes_on: Callable[[], bool]
    ) -> None:
        """Work through deliveries in order; ended() hears of each whose attempt is over.

        Stops early when goes_on() says so. Raises SessionError when the session is unusable;
        recipients without a result are then for the next host.
        """
        todo = []
        for delivery in deliveries:
            transaction = self._prepare(delivery)
            if transaction.recipients:
                todo.append(transaction)
            else:
                ended(delivery)
        begun = False
        for number, transaction in enumerate(todo):
            if not begun and not goes_on():
                return
            following = todo[number + 1] if number + 1 < len(todo) else None
            try:
                if not begun and self._machine.pipelining:
                    self.stream.write(self._envelope(transaction))
                begun = await self._transact(transaction, following, goes_on)
            finally:
                ended(transaction.delivery)

    async def ask(self, command: Command, timeout: float) -> Reply:
        """Send a command that stands for itself and return its reply; raises SessionError."""
        self._send(command)
        return await self._reply(f"sending {command.verb.value}", timeout)

    async def answer(self, text: str, timeout: float) -> Reply:
        """Answer a question of AUTH and return the reply; raises SessionError."""
        self.stream.write(self._machine.respond(text))
        return await self._reply("sending AUTH", timeout)

    async def quit(self) -> None:
        """Say QUIT, wait a little for its reply, and close."""
        try:
            if self.stream.is_idle:
                self._send(Command(Verb.QUIT))
                await self._reply("sending QUIT", self._config.smtp_quit_timeout)
        except SessionError:
            pass
        finally:
            self.stream.abort()

    def _prepare(self, delivery: Delivery) -> Transaction:
        """Fail what this server cannot take, and return the rest."""
        limit = self._machine.size_limit
        seen = delivery.seen()
        if not is_sendable(seen.sender):
            delivery.end_all(failed("5.1.7", "bad sender address syntax", Scope.MESSAGE, self.stream.relay))
        elif limit and seen.length > limit:
            text = f"message size {seen.length} exceeds size limit {limit} of server {self.stream.host}"
            delivery.end_all(failed("5.3.4", text, Scope.MESSAGE, self.stream.relay))
        needs_utf8 = not seen.sender.is_ascii
        todo = []
        for i, recipient in enumerate(seen.recipients):
            if delivery.results[i] is not None:
                continue
            if not is_sendable(recipient.forward_path):
                delivery.results[i] = failed("5.1.3", "bad recipient address syntax", relay=self.stream.relay)
            elif (needs_utf8 or not recipient.forward_path.is_ascii) and "SMTPUTF8" not in self._machine.extensions:
                text = f"SMTPUTF8 is required, but was not offered by host {self.stream.host}"
                delivery.results[i] = failed("5.6.7", text, relay=self.stream.relay)
            else:
                todo.append(i)
        return Transaction(delivery, todo)

    def _commands(self, transaction: Transaction) -> list[Command]:
        delivery = transaction.delivery.seen()
        extensions = self._machine.extensions
        recipients = [delivery.recipients[i] for i in transaction.recipients]
        paths = [delivery.sender, *(recipient.forward_path for recipient in recipients)]
        smtputf8 = delivery.smtputf8 or not all(path.is_ascii for path in paths)
        return [mail(delivery, extensions, smtputf8), *(rcpt(recipient, extensions) for recipient in recipients)]

    def _envelope(self, transaction: Transaction) -> bytes:
        """Return MAIL, all RCPT and DATA, or the first of BDAT, as one group; a verification ends before that."""
        octets = b"".join([self._machine.send(command) for command in self._commands(transaction)])
        return octets if transaction.delivery.verify else octets + self._content.announcement(transaction)

    async def _transact(
        self, transaction: Transaction, following: Transaction | None, goes_on: Callable[[], bool]
    ) -> bool:
        """Make one transaction; returns whether the envelope of the following one is out already."""
        self.count += 1
        if self._machine.pipelining:
            await self._hear_envelope(transaction)
        else:
            await self._say_envelope(transaction)
        if await self._content_may_go(transaction):
            goes_along = transaction.accepted and self._machine.pipelining and goes_on()
            next_one = following if goes_along else None
            if await self._content.send(transaction, lambda: self._envelope(next_one) if next_one else b""):
                return next_one is not None
        self._send(Command(Verb.RSET))
        reset = await self._reply("sending RSET", self._config.smtp_mail_timeout)
        if reset.code // 100 != 2:
            self.stream.abort()
            raise SessionError(passing(result_of(self.stream, reset, "RSET", Scope.HOST)))
        return False

    async def _content_may_go(self, transaction: Transaction) -> bool:
        """Say whether the server waits for content, be it an empty one when DATA was taken for nobody."""
        if transaction.delivery.verify or not (self._machine.pipelining or transaction.accepted):
            return False
        if not self._machine.pipelining:
            self.stream.write(self._content.announcement(transaction))
        refusal = await self._content.hear_announcement(transaction)
        in_chunks = self._content.uses_chunks(transaction)
        if refusal and transaction.accepted:
            self._refused(transaction, transaction.accepted, refusal, "BDAT" if in_chunks else "DATA", Scope.MESSAGE)
        return refusal is None and (bool(transaction.accepted) or not in_chunks)

    async def _hear_envelope(self, transaction: Transaction) -> None:
        self._hear_mail(transaction, await self._reply("sending MAIL FROM", self._config.smtp_mail_timeout))
        for i in transaction.recipients:
            self._hear_rcpt(transaction, i, await self._reply("sending RCPT TO", self._config.smtp_rcpt_timeout))

    async def _say_envelope(self, transaction: Transaction) -> None:
        first, *others = self._commands(transaction)
        self._send(first)
        self._hear_mail(transaction, await self._reply("sending MAIL FROM", self._config.smtp_mail_timeout))
        if transaction.mail_refused:
            return
        for i, command in zip(transaction.recipients, others, strict=True):
            self._send(command)
            self._hear_rcpt(transaction, i, await self._reply("sending RCPT TO", self._config.smtp_rcpt_timeout))

    def _hear_mail(self, transaction: Transaction, reply: Reply) -> None:
        if reply.code // 100 != 2:
            transaction.mail_refused = True
            self._refused(transaction, transaction.recipients, reply, "MAIL FROM", Scope.MESSAGE)

    def _hear_rcpt(self, transaction: Transaction, recipient: int, reply: Reply) -> None:
        if transaction.mail_refused:
            return
        if reply.code // 100 == 2:
            transaction.accepted.append(recipient)
            if transaction.delivery.verify:
                transaction.delivery.results[recipient] = result_of(self.stream, reply, "RCPT TO", Scope.RECIPIENT)
        else:
            self._refused(transaction, [recipient], reply, "RCPT TO", Scope.RECIPIENT)

    def _refused(self, transaction: Transaction, recipients: list[int], reply: Reply, verb: str, scope: Scope) -> None:
        """Set the result of a refusal; 421 is the host's own trouble and ends the session."""
        result = result_of(self.stream, reply, verb, scope)
        if reply.code == 421:
            self.stream.abort()
            raise SessionError(replace(result, scope=Scope.HOST))
        if result.outcome is Outcome.DELIVERED:
            result = deferred("4.5.0", f"protocol error: {result.reason}", scope, self.stream.relay)
        if reply.code == 530 and reply.status in ("", "5.7.0") and self._is_ours_to_mend():
            result = passing(result)  # a login or TLS is wanted (RFC 4954): a matter of main.cf, not of the message
        transaction.end(recipients, result)

    def _is_ours_to_mend(self) -> bool:
        """Say whether main.cf names a smarthost, or logins: then a server that wants one is no stranger."""
        return bool(self._config.relayhost or self._config.smtp_sasl_auth_enable)

    def _send(self, command: Command) -> None:
        self.stream.write(self._machine.send(command))

    async def _reply(self, doing: str, timeout: float) -> Reply:
        return (await self.stream.event(doing, timeout)).reply

    def _refuses(self, reply: Reply) -> SessionError:
        """The host will not talk to us at all: another may, and tomorrow this one may."""
        self.stream.abort()
        result = from_reply(reply.code, reply.status, reply.text, self.stream.relay, Scope.HOST)
        reason = f"host {self.stream.host} refused to talk to me: {reply.text}"
        return SessionError(replace(passing(result), reason=reason))
