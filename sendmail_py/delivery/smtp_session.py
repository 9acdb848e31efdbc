"""Delivering messages over one SMTP session: every recipient gets what the server said of it.

Guarantees: a recipient is delivered only by a 2xx reply to the final dot of a content that was
read whole; a connection that breaks after the dot leaves the message deferred; a torn file
never gets its dot. With PIPELINING an envelope goes out as one segment, together with the end
of the message before it. A delivery that is only to be verified ends with the replies to RCPT.
Over LMTP (RFC 2033) each accepted recipient has a reply of its own to the final dot.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..core.config import Config
from ..core.delivery import Delivery
from ..core.result import DeliveryResult, Handover, Outcome, Scope, deferred, failed, from_reply
from ..protocol.commands import Command, Verb, is_sendable, mail, rcpt
from ..protocol.reply import Reply
from ..protocol.transparency import ContentEncoder
from .smtp_stream import SessionError, SmtpStream

BLOCK = 1 << 17
_END_OF_DATA = "sending end of data -- message may be sent more than once"


@dataclass(slots=True)
class Transaction:
    """One delivery on its way: the recipients still to do, and those the server accepted."""

    delivery: Delivery
    recipients: list[int]
    accepted: list[int] = field(default_factory=list)
    mail_refused: bool = False


class SmtpSession:
    """A session with one server; count is the number of transactions that were made."""

    def __init__(self, stream: SmtpStream, config: Config) -> None:
        self.stream = stream
        self.count = 0
        self._config = config
        self._machine = stream.machine
        self._line_length_limit: int = config.smtp_line_length_limit

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
            if not begun and self._machine.pipelining:
                self.stream.write(self._envelope(transaction))
            try:
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
        """Return MAIL, all RCPT and DATA as one group; a verification ends before DATA."""
        last = [] if transaction.delivery.verify else [Command(Verb.DATA)]
        return b"".join([self._machine.send(c) for c in (*self._commands(transaction), *last)])

    async def _transact(
        self, transaction: Transaction, following: Transaction | None, goes_on: Callable[[], bool]
    ) -> bool:
        """Make one transaction; returns whether the envelope of the following one is out already."""
        self.count += 1
        if self._machine.pipelining:
            await self._hear_envelope(transaction)
        else:
            await self._say_envelope(transaction)
        data = None
        if not transaction.delivery.verify and (self._machine.pipelining or transaction.accepted):
            if not self._machine.pipelining:
                self._send(Command(Verb.DATA))
            data = await self._reply("sending DATA command", self._config.smtp_data_init_timeout)
        if data and data.code == 354:
            if not transaction.accepted:
                following = None
            return await self._content(transaction, following if goes_on() else None)
        if data and transaction.accepted:
            self._refused(transaction, transaction.accepted, data, "DATA", Scope.MESSAGE)
        self._send(Command(Verb.RSET))
        reset = await self._reply("sending RSET", self._config.smtp_mail_timeout)
        if reset.code // 100 != 2:
            self.stream.abort()
            raise SessionError(self._wait_for(self._result(reset, "RSET", Scope.HOST)))
        return False

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
                transaction.delivery.results[recipient] = self._result(reply, "RCPT TO", Scope.RECIPIENT)
        else:
            self._refused(transaction, [recipient], reply, "RCPT TO", Scope.RECIPIENT)

    def _refused(self, transaction: Transaction, recipients: list[int], reply: Reply, verb: str, scope: Scope) -> None:
        """Set the result of a refusal; 421 is the host's own trouble and ends the session."""
        result = self._result(reply, verb, scope)
        if reply.code == 421:
            self.stream.abort()
            raise SessionError(replace(result, scope=Scope.HOST))
        if result.outcome is Outcome.DELIVERED:
            result = deferred("4.5.0", f"protocol error: {result.reason}", scope, self.stream.relay)
        if reply.code == 530 and reply.status in ("", "5.7.0") and self._config.smtp_sasl_auth_enable:
            result = self._wait_for(
                result
            )  # a login or TLS is wanted (RFC 4954): a matter of main.cf, not of the message
        for i in recipients:
            transaction.delivery.results[i] = result

    async def _content(self, transaction: Transaction, following: Transaction | None) -> bool:
        """Send content and final dot, with the following envelope when it fits; hear the dot's reply.

        When no recipient was accepted the content is empty and its reply means nothing.
        """
        tail = await self._send_blocks(transaction) if transaction.accepted else b""
        self._no_early_reply(transaction)
        octets = tail + self._machine.send(Command(Verb.DOT))
        if following and self._machine.pipelining:
            octets += self._envelope(following)
        self.stream.write(octets)
        accepted = transaction.accepted
        if self._machine.lmtp:
            for number, recipient in enumerate(accepted):
                await self._hear_dot(transaction, [recipient], accepted[number:])
        else:
            await self._hear_dot(transaction, accepted, accepted)
        return following is not None and self._machine.pipelining

    async def _hear_dot(self, transaction: Transaction, recipients: list[int], rest: list[int]) -> None:
        """Hear the reply to the final dot for these recipients; when there is none, the rest has its result too."""
        try:
            reply = await self._reply(_END_OF_DATA, self._config.smtp_data_done_timeout)
        except SessionError as error:
            self._end(transaction, rest, error.result)
            raise
        result = self._result(reply, "end of DATA", Scope.MESSAGE)
        self._end(transaction, recipients, result)
        if reply.code == 421:
            self.stream.abort()
            result = replace(result, scope=Scope.HOST)
            self._end(transaction, [i for i in rest if i not in recipients], result)
            raise SessionError(result)

    async def _send_blocks(self, transaction: Transaction) -> bytes:
        """Send the content but for its last part, which is returned; small content is returned whole."""
        delivery = transaction.delivery.seen()
        encoder = ContentEncoder(self._line_length_limit)
        sent, tail = 0, encoder.encode(delivery.header) if delivery.header else b""
        while sent < delivery.size:
            block = self._read(transaction, sent)
            if tail:
                self.stream.write(tail)
                await self._room_for_more(transaction)
            tail = encoder.encode(block)
            sent += len(block)
        return tail + encoder.end()

    def _read(self, transaction: Transaction, start: int) -> bytes:
        """Return the next block of content; a file that cannot be read whole ends the session without a dot."""
        delivery = transaction.delivery.seen()
        try:
            block = os.pread(delivery.fd, min(BLOCK, delivery.size - start), delivery.content_offset + start)
            why = "shorter than its size"
        except OSError as error:
            block, why = b"", error.strerror or str(error)
        if not block:
            self.stream.abort()
            self._end_accepted(transaction, deferred("4.3.0", f"queue file: {why}", Scope.MESSAGE))
            raise SessionError(
                deferred("4.3.0", f"connection given up: queue file {delivery.queue_id}: {why}", Scope.HOST)
            )
        return block

    async def _room_for_more(self, transaction: Transaction) -> None:
        self._no_early_reply(transaction)
        try:
            await self.stream.drain("sending message body", self._config.smtp_data_xfer_timeout)
        except SessionError:
            self._no_early_reply(transaction)
            raise

    def _no_early_reply(self, transaction: Transaction) -> None:
        """End the session when the server has answered before the final dot; a refusal counts, a success does not."""
        event = self.stream.next_event("sending message body")
        if event is None:
            return
        self.stream.abort()
        result = self._result(event.reply, "end of DATA", Scope.MESSAGE)
        if result.outcome is Outcome.DELIVERED:
            text = f"protocol error: host {self.stream.host} answered before the end of data: {event.reply.text}"
            result = deferred("4.5.0", text, Scope.HOST, self.stream.relay)
        self._end_accepted(transaction, result)
        raise SessionError(self._wait_for(result))

    def _end_accepted(self, transaction: Transaction, result: DeliveryResult) -> None:
        self._end(transaction, transaction.accepted, result)

    @staticmethod
    def _end(transaction: Transaction, recipients: list[int], result: DeliveryResult) -> None:
        for i in recipients:
            transaction.delivery.results[i] = result

    def _send(self, command: Command) -> None:
        self.stream.write(self._machine.send(command))

    async def _reply(self, doing: str, timeout: float) -> Reply:
        return (await self.stream.event(doing, timeout)).reply

    def _result(self, reply: Reply, verb: str, scope: Scope) -> DeliveryResult:
        result = from_reply(reply.code, reply.status, reply.text, self.stream.relay, scope)
        if result.outcome is Outcome.DELIVERED:
            handover = Handover.FINAL if self._machine.lmtp else Handover.RELAYED
            return replace(result, handover=Handover.ENTRUSTED if "DSN" in self._machine.extensions else handover)
        return replace(result, reason=f"{result.reason} (in reply to {verb} command)")

    def _refuses(self, reply: Reply) -> SessionError:
        """The host will not talk to us at all: another may, and tomorrow this one may."""
        self.stream.abort()
        result = from_reply(reply.code, reply.status, reply.text, self.stream.relay, Scope.HOST)
        reason = f"host {self.stream.host} refused to talk to me: {reply.text}"
        return SessionError(replace(self._wait_for(result), reason=reason))

    def _wait_for(self, result: DeliveryResult) -> DeliveryResult:
        """Return a trouble of the host as one that may pass."""
        return replace(result, outcome=Outcome.DEFERRED, status="4" + result.status[1:], scope=Scope.HOST)
