"""The client's side of an SMTP session (RFC 5321, 2920, 3207, 4954) without its socket.

Rule 1: a command is sent only when MOVES has it. Rule 2: every reply belongs to the oldest
command without one; a reply that nobody asked for ends the session. Rule 3: with PIPELINING
commands may go out before replies come in, but EHLO, HELO, STARTTLS, AUTH, DATA and QUIT end a group; the
final dot does not (RFC 2920 3.1). Rule 4: after a 220 to STARTTLS comes begin_tls(): all that
was learned before is forgotten, and an octet in clear in between ends the session.
LMTP (RFC 2033) is the same with LHLO, and with a reply to the final dot for each accepted recipient.
"""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .commands import Command, LocalProtocolError, Verb
from .reply import RemoteProtocolError, Reply, ReplyReader
from .transcript import PROTOCOL, Transcript
from .transparency import FINAL_DOT


class State(Enum):
    """Where the commands that were sent have brought us."""

    START = "connected"
    HELLO = "said hello"
    READY = "between transactions"
    TLS_ASKED = "waiting for leave to start TLS"
    TLS = "about to start TLS"
    AUTH = "logging in"
    MAIL = "reverse-path given"
    RCPT = "forward-paths given"
    DATA = "content announced"
    CONTENT = "content asked for"
    CHUNKS = "content begun in chunks"
    CLOSED = "closed"

    __hash__ = object.__hash__  # there is one of each: that of Enum works out the name's, each time


MOVES: Final = {
    (State.START, Verb.EHLO): State.HELLO,
    (State.START, Verb.HELO): State.HELLO,
    (State.START, Verb.LHLO): State.HELLO,
    (State.HELLO, Verb.HELO): State.HELLO,
    (State.READY, Verb.STARTTLS): State.TLS_ASKED,
    (State.READY, Verb.AUTH): State.AUTH,
    (State.READY, Verb.MAIL): State.MAIL,
    (State.MAIL, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.DATA): State.DATA,
    (State.RCPT, Verb.BDAT): State.CHUNKS,
    (State.CHUNKS, Verb.BDAT): State.CHUNKS,
    (State.RCPT, Verb.LAST): State.READY,
    (State.CHUNKS, Verb.LAST): State.READY,
    (State.CHUNKS, Verb.RSET): State.READY,
    (State.CHUNKS, Verb.QUIT): State.CLOSED,
    (State.CONTENT, Verb.DOT): State.READY,
    (State.READY, Verb.RSET): State.READY,
    (State.MAIL, Verb.RSET): State.READY,
    (State.RCPT, Verb.RSET): State.READY,
    (State.START, Verb.QUIT): State.CLOSED,
    (State.HELLO, Verb.QUIT): State.CLOSED,
    (State.READY, Verb.QUIT): State.CLOSED,
    (State.MAIL, Verb.QUIT): State.CLOSED,
    (State.RCPT, Verb.QUIT): State.CLOSED,
}
_END_OF_GROUP: Final = frozenset(
    {Verb.CONNECT, Verb.EHLO, Verb.HELO, Verb.LHLO, Verb.STARTTLS, Verb.AUTH, Verb.DATA, Verb.QUIT}
)
_ASKED_FOR: Final = frozenset({Verb.EHLO, Verb.AUTH, Verb.STARTTLS, Verb.QUIT})  # whose refusal is no surprise
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}|\*")


@dataclass(frozen=True, slots=True)
class Event:
    """A reply and what it answers; early when it came before the final dot was sent."""

    verb: Verb
    reply: Reply
    early: bool = False


class NeedData(Enum):
    """The type of NEED_DATA."""

    NEED_DATA = "more octets wanted"


NEED_DATA: Final = NeedData.NEED_DATA


class SmtpClient:
    """The machine: receive_data() and next_event() for what comes, send() for what goes."""

    def __init__(self, lmtp: bool = False) -> None:
        self.lmtp = lmtp
        self.state = State.START
        self._accepted = 0
        self.extensions: dict[str, str] = {}
        self._reader = ReplyReader()
        self._asked: deque[Verb] = deque([Verb.CONNECT])
        self._events: deque[Event] = deque()
        self._error: RemoteProtocolError | None = None
        self.transcript: Transcript | None = None

    @property
    def is_idle(self) -> bool:
        """True between transactions, when every reply is in and nothing else has come."""
        return self.state is State.READY and not (self._asked or self._events or self._error) and self._reader.is_empty

    @property
    def pipelining(self) -> bool:
        """True when commands may be sent ahead of replies."""
        return "PIPELINING" in self.extensions

    @property
    def chunking(self) -> bool:
        """True when content may be sent by BDAT. Not in LMTP, where nobody has said how often that is answered."""
        return "CHUNKING" in self.extensions and not self.lmtp

    @property
    def size_limit(self) -> int:
        """The largest message the server takes, in octets; 0 when it does not say (RFC 1870)."""
        announced = self.extensions.get("SIZE", "")
        return int(announced) if _NUMBER.fullmatch(announced) else 0

    @property
    def mechanisms(self) -> list[str]:
        """The SASL mechanisms that the server offers, also in the form of old ones, AUTH=LOGIN."""
        old = [f"{word[5:]} {more}" for word, more in self.extensions.items() if word.startswith("AUTH=")]
        return " ".join([self.extensions.get("AUTH", ""), *old]).split()

    @property
    def is_answered(self) -> bool:
        """True when every reply is in and heard."""
        return not self._asked and not self._events

    def ignore(self, keywords: Iterable[str]) -> None:
        """Take extensions for not offered."""
        for keyword in keywords:
            self.extensions.pop(keyword.upper(), None)

    def receive_data(self, data: bytes) -> None:
        """Take octets from the server; trouble shows in next_event()."""
        if self._error:
            return
        try:
            for reply in self._reader.feed(data):
                self._events.append(self._match(reply))
            if self.state is State.TLS and not self._reader.is_empty:
                raise RemoteProtocolError("octets in clear after the reply to STARTTLS")
        except RemoteProtocolError as error:
            self._error = error
            if self.state is State.TLS:
                self._events.clear()  # nobody is to start TLS on a stream that somebody may have written into

    def next_event(self) -> Event | NeedData:
        """Return the next reply with its command; raises RemoteProtocolError."""
        if self._events:
            event = self._events.popleft()
            if self.transcript:
                _note_reply(self.transcript, event)
            return event
        if self._error:
            if self.transcript:
                self.transcript.note(PROTOCOL)
            raise self._error
        return NEED_DATA

    def send(self, command: Command) -> bytes:
        """Return the octets of a command; raises LocalProtocolError for one out of order."""
        if command.verb in (Verb.BDAT, Verb.LAST):
            raise LocalProtocolError("BDAT without its octets")
        octets = FINAL_DOT if command.verb is Verb.DOT else command.line()
        self._move(command.verb)
        if self.transcript:
            self.transcript.said(octets.decode("utf-8", "replace").strip("\r\n"))
        return octets

    def send_chunk(self, octets: bytes, is_last: bool) -> bytes:
        """Return BDAT with its octets; raises LocalProtocolError where no content is due or BDAT was not offered."""
        if not self.chunking:
            raise LocalProtocolError("BDAT to a server that does not offer it")
        self._move(Verb.LAST if is_last else Verb.BDAT)
        command = b"BDAT %d%s" % (len(octets), b" LAST" if is_last else b"")
        if self.transcript:
            self.transcript.said(command.decode())
        return b"%s\r\n%s" % (command, octets)

    def _move(self, verb: Verb) -> None:
        state = MOVES.get((self.state, verb))
        if state is None:
            raise LocalProtocolError(f"{verb.value} when {self.state.value}")
        if self._asked and (self._asked[-1] in _END_OF_GROUP or not self.pipelining):
            raise LocalProtocolError(f"{verb.value} before the reply to {self._asked[-1].value}")
        self.state = state
        if verb is Verb.DOT and self.lmtp:
            self._asked.extend([verb] * self._accepted)
        else:
            self._asked.append(verb)

    def respond(self, text: str) -> bytes:
        """Return the octets of an answer to a 334 reply to AUTH; raises LocalProtocolError."""
        if self.state is not State.AUTH or self._asked or not _BASE64.fullmatch(text):
            raise LocalProtocolError("an answer that nobody asked for, or none that can be sent")
        self._asked.append(Verb.AUTH)
        if self.transcript:
            self.transcript.said("*")
        return text.encode() + b"\r\n"

    def begin_tls(self) -> None:
        """Forget what was learned in clear; the next octets must be those of TLS.

        Right after the connection was made, or after a 220 to STARTTLS; raises RemoteProtocolError when
        the server has said more in clear than that.
        """
        if self._error:
            raise self._error
        if self.state is State.START:
            if self._events or not self._asked or not self._reader.is_empty:
                raise RemoteProtocolError("it speaks in clear where TLS was to begin at once")
        elif self.state is not State.TLS or self._events:
            raise LocalProtocolError(f"TLS when {self.state.value}")
        self.state = State.START
        self.extensions = {}

    def _match(self, reply: Reply) -> Event:
        if not self._asked:
            if self.state is State.CONTENT:
                self.state = State.CLOSED
                return Event(Verb.DOT, reply, early=True)
            raise RemoteProtocolError(f"a reply without a command: {reply.text}")
        verb = self._asked.popleft()
        if verb is Verb.MAIL:
            self._accepted = 0
        elif verb is Verb.RCPT:
            self._accepted += reply.code // 100 == 2
        elif verb is Verb.DATA:
            self.state = State.CONTENT if reply.code == 354 else State.RCPT
        elif verb is Verb.STARTTLS:
            self.state = State.TLS if reply.code == 220 else State.READY
        elif verb is Verb.AUTH and reply.code != 334:
            self.state = State.READY
        elif verb in (Verb.EHLO, Verb.HELO, Verb.LHLO) and reply.code // 100 == 2:
            self.state = State.READY
            self.extensions = _extensions(reply) if verb is not Verb.HELO else {}
        return Event(verb, reply)


def _note_reply(transcript: Transcript, event: Event) -> None:
    """Keep a reply, but not the text of one in a login: servers are known to repeat what they were told."""
    *others, last = event.reply.lines or ("",)
    for mark, line in (*(("-", line) for line in others), (" ", last)):
        transcript.heard(f"{event.reply.code}{mark}{'*' if event.verb is Verb.AUTH else line}")
    if _is_protocol_error(event):
        transcript.note(PROTOCOL)


def _is_protocol_error(event: Event) -> bool:
    """Say whether one side does not keep the protocol (RFC 5321 4.2.1), as far as a reply tells."""
    if event.verb in _ASKED_FOR:
        return False
    code, good = event.reply.code, 3 if event.verb is Verb.DATA else 2
    return code // 100 in {2, 3} - {good} or 500 <= code < 510 or code == 555


def _extensions(reply: Reply) -> dict[str, str]:
    """Read the EHLO keywords (RFC 5321 4.1.1.1), the first line being the server's name."""
    extensions = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.partition(" ")
        extensions[keyword.upper()] = parameters.strip()
    return extensions
