"""sendmail -bs: an SMTP session on standard input and output, for local programs.

Guarantees: 250 to the final dot means that the message is on disk and fsynced, as exit 0 does in
the other modes; any other answer, or the end of the input before the final dot, leaves nothing.
Files are written with the caller's own rights, and whose mail it is follows from their owner.
Recipients are checked for their form only: one that does not exist bounces, as after sendmail(1).
"""

import errno
import os
from collections.abc import Callable

from ..core.address import Address
from ..core.envelope import Envelope, Recipient
from ..core.errors import MailError, NotAllowed, SpoolError
from ..core.exitcodes import EX_OK
from ..formats import queue_file
from ..protocol import server_replies as replies
from ..protocol.commands import Verb
from ..protocol.reply import Reply
from ..protocol.server_commands import Chunk, Command, Mail, Rcpt, Refused
from ..protocol.smtp_client import NEED_DATA
from ..protocol.smtp_server import Content, SmtpServer, State, extensions
from ..spool.maildrop import Drop, check_space
from ..spool.queue_id import base_id

_BLOCK = 65536
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_TOO_MANY_RECIPIENTS = replies.reply(452, "4.5.3", "Error: too many recipients")


class Session:
    """One client: the machine, and the transaction under way."""

    def __init__(self, hostname: str, top: str, size_limit: int, minfree: int, new_drop: Callable[[], Drop]) -> None:
        self.machine = SmtpServer(hostname, extensions(size_limit), lf_sessions=True)
        self._top = top
        self._limit = size_limit
        self._minfree = minfree
        self._new_drop = new_drop
        self._envelope: Envelope | None = None
        self._drop: Drop | None = None
        self._is_open = False  # a file is begun, or was
        self._size = 0
        self._trouble: Reply | None = None

    def run(self, new_envelope: Callable[[Address], Envelope], notify: tuple[str, ...]) -> int:
        """Serve until QUIT or the end of the input; returns the exit code.

        new_envelope makes an envelope from a sender, with what the command line says; notify is
        the command line's word for recipients that come without one.
        """
        self._new_envelope, self._notify = new_envelope, notify
        try:
            self._write(self.machine.greeting())
            while self.machine.state is not State.CLOSED and (data := os.read(0, _BLOCK)):
                self.machine.receive_data(data)
                self._handle_events()
        except BrokenPipeError:
            pass  # nobody waits for an answer any more
        except OSError as error:
            raise SpoolError(f"standard input or output: {error.strerror}") from error
        finally:
            self._forget()
        return EX_OK

    def _handle_events(self) -> None:
        while (event := self.machine.next_event()) is not NEED_DATA:
            if isinstance(event, Content):
                self._take(event.data)
            else:
                self._write(self.machine.send(self._answer(event)))

    def _answer(self, event: Command) -> Reply:
        """Do what a command asks, and return the answer."""
        if isinstance(event, Mail):
            if event.answer.code < 400:
                self._begin(event)
        elif isinstance(event, Rcpt):
            assert self._envelope
            notify = event.notify or self._notify
            self._envelope.recipients.append(Recipient(event.address, event.original, notify))
        elif isinstance(event, Chunk):
            return self._chunk(event)
        elif not isinstance(event, Refused):
            if event.verb in (Verb.EHLO, Verb.HELO, Verb.RSET):
                self._forget()
            elif event.verb is Verb.DATA:
                return self._data() or event.answer
            elif event.verb is Verb.DOT:
                return self._finish()
        return event.answer

    # --- one message ------------------------------------------------------------------------

    def _begin(self, mail: Mail) -> None:
        e = self._envelope = self._new_envelope(mail.sender)
        e.body, e.ret, e.envid = mail.body or e.body, mail.ret or e.ret, mail.envid or e.envid
        e.smtputf8 = mail.smtputf8

    def _data(self) -> Reply | None:
        self._open()
        self._is_open = not self._trouble
        return self._trouble

    def _open(self) -> None:
        """Begin the file, or note the answer when that cannot be done."""
        self._size = 0
        self._is_open = True
        self._trouble = self._begun()

    def _begun(self) -> Reply | None:
        assert self._envelope
        text = queue_file.render(self._envelope)
        if len(text) > queue_file.HEAD_LIMIT:
            return _TOO_MANY_RECIPIENTS
        try:
            check_space(self._top, self._limit, self._minfree)
        except SpoolError as error:
            return _spool_trouble(error, no_room=error.__cause__ is None)
        try:
            self._drop = self._new_drop()
            self._drop.write(text)
        except MailError as error:
            self._drop = None
            return _trouble(error)
        return None

    def _take(self, content: bytes) -> None:
        """Write a block; after trouble the rest passes by unwritten."""
        if not self._is_open:
            self._open()  # the first of several chunks
        self._size += len(content)
        if not self._drop:
            return
        if self._limit and self._size > self._limit:
            self._drop.abandon()
            self._fail(replies.TOO_LARGE)
            return
        try:
            self._drop.write(content)
        except MailError as error:
            self._fail(_trouble(error))

    def _fail(self, answer: Reply) -> None:
        self._drop = None
        self._trouble = answer

    def _chunk(self, event: Chunk) -> Reply:
        """Answer BDAT."""
        is_last = event.verb is Verb.LAST
        if event.answer.code < 400 and not self._is_open:
            self._open()
        answer = event.answer if event.answer.code >= 400 else self._trouble
        if not answer:
            return self._finish() if is_last else event.answer
        if is_last:
            self._forget()
        else:
            self._abandon()
        return answer

    def _finish(self) -> Reply:
        drop, envelope = self._drop, self._envelope
        self._drop = self._envelope = None
        self._is_open = False
        if self._trouble:
            return self._trouble
        assert drop and envelope
        try:
            drop.rewrite(queue_file.size_offset(envelope), queue_file.size_digits(self._size))
            drop.finish()
        except MailError as error:
            return _trouble(error)
        answer = _taken(drop)
        drop.announce()
        return answer

    def _forget(self) -> None:
        """Leave nothing of a transaction that was begun."""
        self._abandon()
        self._envelope = None

    def _abandon(self) -> None:
        if self._drop:
            self._drop.abandon()
        self._drop = None
        self._is_open = False

    def _write(self, octets: bytes) -> None:
        while octets:
            octets = octets[os.write(1, octets) :]


def _taken(drop: Drop) -> Reply:
    """Return the answer for a file that is safe, with the id that pickup has given it, or will."""
    if drop.queue_id:
        return replies.reply(250, "2.0.0", f"Ok: queued as {drop.queue_id}")
    try:
        status = os.stat(drop.path)
    except OSError:
        return replies.reply(250, "2.0.0", "Ok: queued")
    return replies.reply(250, "2.0.0", f"Ok: queued as {base_id(status.st_ctime_ns // 1000, status.st_ino)}")


def _trouble(error: MailError) -> Reply:
    """Return the answer when a message is not taken."""
    if isinstance(error, SpoolError):
        return _spool_trouble(error)
    if isinstance(error, NotAllowed):
        return replies.reply(550, "5.7.1", f"Error: {error}")
    return replies.reply(554, "5.6.0", f"Error: {error}")


def _spool_trouble(error: SpoolError, no_room: bool = False) -> Reply:
    """Return the answer to what is not the client's fault: all of it is worth another attempt."""
    cause = error.__cause__
    if no_room or (isinstance(cause, OSError) and cause.errno in _NO_ROOM):
        return replies.reply(452, "4.3.1", f"Error: {error}")
    return replies.reply(451, "4.3.0", f"Error: {error}")
