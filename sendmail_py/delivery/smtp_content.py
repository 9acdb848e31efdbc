"""Sending a message's content, by DATA or in chunks by BDAT (RFC 3030).

Guarantees: neither the final dot nor BDAT LAST goes out for a content that could not be read whole. A
server's word that it knows BDAT is not taken: the first chunk of a session is one octet, and more follows
when that was understood, so what somebody wrote into a message is never read as commands.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..core.config import Config
from ..core.result import Outcome, Scope, deferred
from ..protocol.commands import Command, Verb
from ..protocol.reply import Reply
from ..protocol.transparency import ContentEncoder
from .smtp_stream import SessionError, SmtpStream
from .smtp_transaction import Transaction, passing, result_of

BLOCK = 1 << 17
_SENDING = "sending message body"
_END_OF_DATA = "sending end of data -- message may be sent more than once"
_NOT_UNDERSTOOD = frozenset((500, 501, 502, 503, 504, 555))  # RFC 5321 4.2.2: of the command, not of the message


class ChunksUnknown(SessionError):
    """The server offers CHUNKING and does not know BDAT; in a new session DATA will do."""


class ContentSender:
    """Sends the contents of one session's transactions."""

    def __init__(self, stream: SmtpStream, config: Config) -> None:
        self._stream = stream
        self._machine = stream.machine
        self._config = config
        self._knows_chunks = False

    def uses_chunks(self, transaction: Transaction) -> bool:
        """Say whether a content goes by BDAT."""
        return self._machine.chunking and transaction.delivery.seen().length > 0

    def announcement(self, transaction: Transaction) -> bytes:
        """Return what comes between the last RCPT and the content: DATA, or where BDAT is unproven its first chunk."""
        if not self.uses_chunks(transaction):
            return self._machine.send(Command(Verb.DATA))
        if self._knows_chunks:
            return b""
        transaction.probe = next(piece for piece in self._pieces(transaction, in_chunks=True) if piece)[:1]
        return self._machine.send_chunk(transaction.probe, is_last=False)

    async def hear_announcement(self, transaction: Transaction) -> Reply | None:
        """Hear the reply to it when there is one; None when the content can go. Raises SessionError."""
        if not self.uses_chunks(transaction):
            reply = await self._reply("sending DATA command", self._config.smtp_data_init_timeout)
            return None if reply.code == 354 else reply
        if not transaction.probe:
            return None
        reply = await self._reply("sending BDAT command", self._config.smtp_data_init_timeout)
        if reply.code in _NOT_UNDERSTOOD and transaction.accepted:
            self._stream.abort()
            text = f"host {self._stream.host} offers CHUNKING, but said: {reply.text} (in reply to BDAT command)"
            raise ChunksUnknown(deferred("4.5.0", text, Scope.HOST, self._stream.relay))
        if reply.code // 100 == 2:
            self._knows_chunks = True
            return None
        return reply

    async def send(self, transaction: Transaction, following: Callable[[], bytes]) -> bool:
        """Send content to its end, with what following() gives, and hear what becomes of it; raises SessionError.

        Returns False when a chunk was refused: then the rest and what follows have not been sent.
        """
        if self.uses_chunks(transaction):
            return await self._send_chunks(transaction, following)
        tail = await self._send_blocks(transaction) if transaction.accepted else b""
        self._no_early_reply(transaction)
        self._stream.write(tail + self._machine.send(Command(Verb.DOT)) + following())
        accepted = transaction.accepted
        if self._machine.lmtp:
            for number, recipient in enumerate(accepted):
                await self._hear_end(transaction, [recipient], accepted[number:])
        else:
            await self._hear_end(transaction, accepted, accepted)
        return True

    # --- by DATA ------------------------------------------------------------------------------

    async def _send_blocks(self, transaction: Transaction) -> bytes:
        """Send the content but for its last part, which is returned; small content is returned whole."""
        tail = b""
        for piece in self._pieces(transaction):
            if tail and len(tail) + len(piece) > BLOCK:
                self._stream.write(tail)
                tail = b""
                self._no_early_reply(transaction)
                await self._drain(transaction)
            tail += piece
        return tail

    async def _drain(self, transaction: Transaction) -> None:
        try:
            await self._stream.drain(_SENDING, self._config.smtp_data_xfer_timeout)
        except SessionError:
            self._no_early_reply(transaction)
            raise

    def _no_early_reply(self, transaction: Transaction) -> None:
        """End the session when the server has answered before the final dot; a refusal counts, a success does not."""
        event = self._stream.next_event(_SENDING)
        if event is None:
            return
        self._stream.abort()
        result = result_of(self._stream, event.reply, "end of DATA", Scope.MESSAGE)
        if result.outcome is Outcome.DELIVERED:
            text = f"protocol error: host {self._stream.host} answered before the end of data: {event.reply.text}"
            result = deferred("4.5.0", text, Scope.HOST, self._stream.relay)
        transaction.end_accepted(result)
        raise SessionError(passing(result))

    # --- in chunks ----------------------------------------------------------------------------

    async def _send_chunks(self, transaction: Transaction, following: Callable[[], bytes]) -> bool:
        """Send the content in chunks; those before the last are answered whenever the server gets to it."""
        tail = b""
        sent = len(transaction.probe)
        for piece in self._pieces(transaction, in_chunks=True):
            piece, sent = piece[sent:], max(0, sent - len(piece))
            if tail and len(tail) + len(piece) > BLOCK:
                refusal = await self._send_chunk(tail)
                if refusal:
                    await self._give_up(transaction, refusal)
                    return False
                tail = b""
            tail += piece
        self._stream.write(self._machine.send_chunk(tail, is_last=True) + following())
        await self._hear_end(transaction, transaction.accepted, transaction.accepted)
        return True

    async def _send_chunk(self, octets: bytes) -> Reply | None:
        """Send a chunk that is not the last; returns the refusal of it or of one before, when there is one by now."""
        timeout = self._config.smtp_data_xfer_timeout
        self._stream.write(self._machine.send_chunk(octets, is_last=False))
        try:
            await self._stream.drain(_SENDING, timeout)
        except SessionError:
            refusal = self._refusal_so_far()
            if refusal is None:
                raise
            return refusal
        if not self._machine.pipelining:
            reply = await self._reply(_SENDING, timeout)
            return None if reply.code // 100 == 2 else reply
        return self._refusal_so_far()

    def _refusal_so_far(self) -> Reply | None:
        while event := self._stream.next_event(_SENDING):
            if event.reply.code // 100 != 2:
                return event.reply
        return None

    async def _give_up(self, transaction: Transaction, refusal: Reply) -> None:
        """End a transaction whose chunk was refused, and hear what is said of the others."""
        result = result_of(self._stream, refusal, "BDAT", Scope.MESSAGE)
        transaction.end_accepted(result)
        if refusal.code == 421:
            self._stream.abort()
            raise SessionError(replace(result, scope=Scope.HOST))
        while not self._machine.is_answered:
            await self._reply(_SENDING, self._config.smtp_data_xfer_timeout)

    # --- both ---------------------------------------------------------------------------------

    async def _hear_end(self, transaction: Transaction, recipients: list[int], rest: list[int]) -> None:
        """Hear what the server says of the whole content; when it says nothing the rest has its result too."""
        try:
            reply = await self._reply_to_end()
        except SessionError as error:
            transaction.end(rest, error.result)
            raise
        result = result_of(self._stream, reply, "end of DATA", Scope.MESSAGE)
        transaction.end(recipients, result)
        if reply.code == 421:
            self._stream.abort()
            result = replace(result, scope=Scope.HOST)
            transaction.end([i for i in rest if i not in recipients], result)
            raise SessionError(result)

    async def _reply_to_end(self) -> Reply:
        """Return the reply to the end of the content, or the refusal of a chunk before it."""
        refusal = None
        while True:
            event = await self._stream.event(_END_OF_DATA, self._config.smtp_data_done_timeout)
            if event.verb is not Verb.BDAT:
                return refusal or event.reply
            if event.reply.code // 100 != 2:
                refusal = refusal or event.reply

    def _pieces(self, transaction: Transaction, in_chunks: bool = False) -> Iterator[bytes]:
        """Yield the content as it goes over the wire, in blocks; raises SessionError for a torn file."""
        delivery = transaction.delivery.seen()
        encoder = ContentEncoder(self._config.smtp_line_length_limit, in_chunks)
        if delivery.header:
            yield encoder.encode(delivery.header)
        sent = 0
        while sent < delivery.size:
            block = self._read(transaction, sent)
            yield encoder.encode(block)
            sent += len(block)
        yield encoder.end()

    def _read(self, transaction: Transaction, start: int) -> bytes:
        """Return the next block of content; a file that cannot be read whole ends the session and the message."""
        delivery = transaction.delivery.seen()
        try:
            block = os.pread(delivery.fd, min(BLOCK, delivery.size - start), delivery.content_offset + start)
            why = "shorter than its size"
        except OSError as error:
            block, why = b"", error.strerror or str(error)
        if not block:
            self._stream.abort()
            torn = deferred("4.3.0", f"queue file: {why}", Scope.MESSAGE)
            transaction.end(transaction.accepted or transaction.recipients, torn)
            raise SessionError(
                deferred("4.3.0", f"connection given up: queue file {delivery.queue_id}: {why}", Scope.HOST)
            )
        return block

    async def _reply(self, doing: str, timeout: float) -> Reply:
        return (await self._stream.event(doing, timeout)).reply
