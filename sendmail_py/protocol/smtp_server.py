"""The server's side of an SMTP session (RFC 5321, 2920) without its socket.

Rule 1: every command is an event, every event but Content is answered once, in order; its
`answer` is what is due, and a driver that cannot do what was asked sends another one. Rule 2: a
command counts when its answer is positive: MOVES has what it leads to. Rule 3: nothing is read
past a command without an answer, so pipelined commands need no other care. Rule 4: after
error_limit answers of 4xx and 5xx without a message taken the next event is Refused with 421; so
it is for the first line of another protocol. Rule 5: the octets that a BDAT announces are never
read as commands, whatever becomes of it; after a chunk that was refused the others are dropped.

A command line may end in a bare LF. Where lf_sessions is true and *every* line so far did, the
session is one of a program that writes plain text, and LF.LF ends its content too; one CRLF, and
only CRLF.CRLF does, for the rest of the session.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from . import server_replies as replies
from .commands import LocalProtocolError, Verb
from .reply import Reply
from .server_chunks import ChunkReader
from .server_commands import Auth, Chunk, Command, CommandReader, Hello, Mail, Plain, Rcpt, Refused
from .server_content import ContentDecoder
from .smtp_client import NEED_DATA, NeedData

LINE_LIMIT = 2048
RESPONSE_LIMIT = 12288  # RFC 4954 4
ERROR_LIMIT = 20
_OVERLONG: Final = b" " * (RESPONSE_LIMIT + 1)  # stands for a line that was not kept


def extensions(size_limit: int) -> dict[str, str]:
    """Return what our servers offer in answer to EHLO; 0 is no limit."""
    words = ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING")
    return dict.fromkeys(words, "") | {"SIZE": str(size_limit or "")}


class State(Enum):
    """What the commands that were answered well have led to."""

    __hash__ = object.__hash__  # as Verb's

    START = "connected"
    READY = "between transactions"
    MAIL = "reverse-path given"
    RCPT = "forward-paths given"
    CONTENT = "content is coming"
    CHUNKS = "chunks of content have come"
    DISCARD = "a chunk was refused"
    AUTH = "a response to a challenge is due"
    CLOSED = "closed"


_IN_CHUNKS: Final = (State.CHUNKS, State.DISCARD)
_AT_COMMANDS: Final = (State.START, State.READY, State.MAIL, State.RCPT, *_IN_CHUNKS)
MOVES: Final = {
    **{(state, verb): State.READY for state in _AT_COMMANDS for verb in (Verb.EHLO, Verb.HELO, Verb.RSET)},
    **{(state, verb): state for state in _AT_COMMANDS for verb in (Verb.NOOP, Verb.VRFY, Verb.HELP)},
    **{(state, Verb.QUIT): State.CLOSED for state in _AT_COMMANDS},
    (State.START, Verb.STARTTLS): State.START,  # after which a driver begins with another machine
    (State.READY, Verb.STARTTLS): State.START,
    (State.START, Verb.RSET): State.START,
    (State.START, Verb.MAIL): State.MAIL,  # programs that do not greet, as Postfix takes them
    (State.READY, Verb.MAIL): State.MAIL,
    (State.MAIL, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.DATA): State.CONTENT,
    (State.CONTENT, Verb.DOT): State.READY,
    (State.RCPT, Verb.BDAT): State.CHUNKS,
    (State.CHUNKS, Verb.BDAT): State.CHUNKS,
    (State.RCPT, Verb.LAST): State.READY,
    (State.CHUNKS, Verb.LAST): State.READY,
    (State.READY, Verb.AUTH): State.READY,  # or State.AUTH, while the server has questions
}


@dataclass(frozen=True, slots=True)
class Content:
    """A block of content, dots taken back, line ends as they came. It is not answered."""

    data: bytes


Event = Command | Content
_ALWAYS: Final = (Refused, Chunk)  # a refusal is in order, and a chunk's octets come whatever we say


def _response(line: bytes) -> Auth:
    """Return the event of a line that answers a challenge."""
    text = None if len(line) > RESPONSE_LIMIT else line.decode("ascii", "replace")
    return Auth(replies.RESPONSE_TOO_LONG, "", text)


@lru_cache(64)  # a reader remembers nothing, and one server offers few things
def _reader(hostname: str, extensions: tuple[tuple[str, str], ...]) -> CommandReader:
    return CommandReader(hostname, dict(extensions))


class SmtpServer:
    """The machine: receive_data() and next_event() for what comes, send() for what goes."""

    def __init__(
        self, hostname: str, extensions: Mapping[str, str], lf_sessions: bool = False, error_limit: int = ERROR_LIMIT
    ) -> None:
        self.state = State.START
        self.hostname = hostname
        self.offer(extensions)
        self._lf_session = lf_sessions
        self._error_limit = error_limit
        self.errors = 0  # answers of 4xx and 5xx since the last message that was taken
        self.bare_newlines = False  # a command line has ended in LF alone
        self.line = b""  # the last command, or response
        self._buffer = b""
        self._at = 0
        self._skipping = False  # inside a line over the limit
        self._decoder: ContentDecoder | None = None
        self._asked: Command | None = None
        self._ending = False  # the last content is told, the final dot is not
        self._smtputf8 = False

    def offer(self, extensions: Mapping[str, str]) -> None:
        """Offer other extensions from the next command on."""
        self._reader = _reader(self.hostname, tuple(extensions.items()))
        self._chunks = ChunkReader(extensions.get("SIZE", ""))

    def greeting(self) -> bytes:
        """Return what the server says first."""
        return replies.render(replies.greeting(self.hostname))

    def receive_data(self, data: bytes) -> None:
        """Take octets from the client; what follows QUIT is dropped."""
        if self.state is not State.CLOSED:
            self._buffer = data if self._at == len(self._buffer) else self._buffer[self._at :] + data
            self._at = 0

    def has_unread(self) -> bool:
        """Say whether more has come than was asked for by next_event(): after STARTTLS that is an attack."""
        return self._at < len(self._buffer)

    def is_amid_content(self) -> bool:
        """Say whether what comes next is content, of DATA or of a chunk."""
        return self._decoder is not None or self._chunks.current is not None

    def next_event(self) -> Event | NeedData:
        """Return what comes next; raises LocalProtocolError while the last event has no answer."""
        if self._asked:
            raise LocalProtocolError("an event without an answer")
        if self.state is State.CLOSED:
            return NEED_DATA
        if self._ending:
            self._ending = False
            return self._ask(Plain(Verb.DOT, replies.OK))
        if self._decoder:
            return self._next_content(self._decoder)
        if self._chunks.current:
            return self._next_chunk(self._chunks.current)
        if self.errors >= self._error_limit:
            return self._ask(Refused(replies.TOO_MANY_ERRORS))
        is_response = self.state is State.AUTH
        limit = RESPONSE_LIMIT if is_response else LINE_LIMIT
        line = self._next_line(limit)
        if line is None:
            return NEED_DATA
        self.line = line
        if is_response:
            return self._ask(_response(line))
        if len(line) > limit:
            return self._ask(Refused(replies.TOO_LONG))
        command = self._in_order(self._reader.read(line, self._smtputf8))
        return self._begin_chunk(command) if isinstance(command, Chunk) else self._ask(command)

    def send(self, answer: Reply, is_error: bool | None = None) -> bytes:
        """Return the octets of the answer to the last event; the session moves on.

        is_error says whether the answer counts as an error, where its code does not.
        """
        event, self._asked = self._asked, None
        if event is None:
            raise LocalProtocolError("an answer that nothing asked for")
        good = answer.code < 400
        if answer.code in replies.CLOSING:
            self._close()
            return replies.render(answer)
        self.errors += isinstance(event, Refused) or not good if is_error is None else is_error
        if isinstance(event, Auth):
            self.state = State.AUTH if answer.code == 334 else State.READY
        elif isinstance(event, Chunk):
            self._move_on(event, good)
        elif not isinstance(event, Refused) and (good or event.verb is Verb.DOT):
            self._move(event, good)
        return replies.render(answer)

    def _ask(self, command: Command) -> Command:
        self._asked = command
        return command

    def _in_order(self, command: Command) -> Command:
        if isinstance(command, _ALWAYS) or (self.state, command.verb) in MOVES:
            return command
        if command.verb is Verb.DATA and self.state is State.MAIL:
            return Refused(replies.NO_VALID_RECIPIENTS, command.verb)
        if self.state in _IN_CHUNKS and command.verb.value in replies.AFTER_CHUNKS:
            return Refused(replies.AFTER_CHUNKS[command.verb.value], command.verb)
        if command.verb is Verb.AUTH and self.state is State.START:
            return Refused(replies.HELLO_FIRST, command.verb)
        return Refused(replies.OUT_OF_ORDER[command.verb.value], command.verb)

    def _move(self, event: Plain | Hello | Mail | Rcpt, good: bool) -> None:
        self.state = MOVES[self.state, event.verb]
        if isinstance(event, Mail):
            self._smtputf8 = event.smtputf8
        elif event.verb is Verb.DATA:
            self._decoder = ContentDecoder(self._lf_session)
        elif event.verb is Verb.DOT and good:
            self.errors = 0
        if self.state is State.READY:
            self._smtputf8 = False
            self._chunks.forget()
        elif self.state is State.CLOSED:
            self._close()

    # --- chunks -------------------------------------------------------------------------------

    def _begin_chunk(self, chunk: Chunk) -> Event | NeedData:
        """Say what is due after a chunk's octets, before they are read."""
        refusal = None
        if self.state is State.DISCARD:
            refusal = replies.chunk_discarded(chunk.size)
        elif (self.state, chunk.verb) not in MOVES:
            no_recipients = self.state is State.MAIL
            refusal = replies.NO_VALID_RECIPIENTS if no_recipients else replies.OUT_OF_ORDER["BDAT"]
        elif not chunk.size and chunk.verb is Verb.BDAT:
            refusal = replies.NULL_CHUNK
        begun = self._chunks.begin(chunk, refusal)
        return self.next_event() if begun else self._ask(Refused(replies.CHUNK_BEYOND_ALL, chunk.verb))

    def _next_chunk(self, chunk: Chunk) -> Event | NeedData:
        data, used = self._chunks.read(self._buffer, self._at)
        self._at += used
        if data:
            return Content(data)
        return NEED_DATA if self._chunks.current else self._ask(chunk)

    def _move_on(self, chunk: Chunk, good: bool) -> None:
        """A chunk is answered. The last one ends the transaction either way."""
        if chunk.verb is Verb.LAST:
            self.state = State.READY
            self._smtputf8 = False
            self._chunks.forget()
            self.errors = 0 if good else self.errors
        else:
            self.state = State.CHUNKS if good else State.DISCARD

    def _close(self) -> None:
        self.state = State.CLOSED
        self._buffer, self._at, self._decoder = b"", 0, None
        self._chunks.forget()

    def _next_content(self, decoder: ContentDecoder) -> Event | NeedData:
        if self._at == len(self._buffer):
            return NEED_DATA
        content, rest = decoder.decode(self._buffer[self._at :])
        self._buffer, self._at = rest or b"", 0
        if rest is not None:
            self._decoder = None
            self._ending = True
        if content:
            return Content(content)
        return self.next_event() if self._ending else NEED_DATA

    def _next_line(self, limit: int = LINE_LIMIT) -> bytes | None:
        """Return the next line without its end, one over the limit cut; None while it has no end."""
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            if self._skipping or len(self._buffer) - self._at > limit + 1:
                self._skipping = True
                self._buffer, self._at = b"", 0
            return None
        line = self._buffer[self._at : end]
        self._at = end + 1
        if line.endswith(b"\r"):
            line = line[:-1]
            self._lf_session = False
        else:
            self.bare_newlines = True
        if self._skipping:
            self._skipping = False
            return _OVERLONG
        return line
