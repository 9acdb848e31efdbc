"""Whatever a server says at the beginning of a session: what must not be said in clear is not said."""

import asyncio
import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.result import Outcome
from sendmail_py.delivery.smtp_opening import Opening, open_session
from sendmail_py.delivery.smtp_session import SmtpSession
from sendmail_py.delivery.smtp_stream import SessionError, SmtpStream
from sendmail_py.host.tls import TlsError
from sendmail_py.protocol.sasl import Login
from sendmail_py.protocol.tls_policy import Level, TlsPolicy

LOGIN = Login("me", "the password")
SECRETS = [b"the password", base64.b64encode(b"the password"), base64.b64encode(b"\0me\0the password")]
CONFIG = Config({name: Setting("1", "test") for name in ("smtp_helo_timeout", "smtp_starttls_timeout")})
CODES = st.sampled_from(["220", "250", "235", "334", "354", "421", "454", "500", "530", "535", "554"])
TEXTS = st.sampled_from(["", "ok", "STARTTLS", "AUTH PLAIN LOGIN", "AUTH=LOGIN", "PIPELINING", "VXNlcm5hbWU6"])
LINES = st.tuples(CODES, st.sampled_from([" ", "-"]), TEXTS).map(lambda parts: "".join(parts).encode() + b"\r\n")
EHLO = st.sampled_from([b"250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n", b"250-mx\r\n250 AUTH LOGIN\r\n"])
ANSWERS = st.lists(st.lists(LINES | EHLO, max_size=3).map(b"".join) | st.binary(max_size=20), max_size=8)


class Wire:
    """A transport whose other side says one thing after another, whatever it hears, and closes."""

    def __init__(self, stream, answers):
        self.stream = stream
        self.answers = list(answers)
        self.written = []
        self.turns = 0

    def turn(self):
        """Say the next thing when the client has had its turns of the loop to react to the one before."""
        self.turns += 1
        if self.turns % 8:
            pass
        elif self.answers:
            self.stream.data_received(self.answers.pop(0))
        else:
            self.stream.connection_lost(None)
            return
        asyncio.get_running_loop().call_soon(self.turn)

    def write(self, octets):
        self.written.append(octets)

    def pause_reading(self):
        pass

    def abort(self):
        pass


def no_tls():
    raise TlsError("not with this wire")


def play(answers, opening):
    """Open a session with such a server; returns what was said to it, and how that ended."""

    async def session():
        stream = SmtpStream("mx.test[192.0.2.1]:25")
        stream._transport = wire = Wire(stream, answers)
        wire.turn()
        try:
            await open_session(SmtpSession(stream, CONFIG), opening, CONFIG)
        except SessionError as error:
            return b"".join(wire.written), error.result
        return b"".join(wire.written), None

    return asyncio.run(session())


@settings(max_examples=300, deadline=None)
@given(st.one_of(ANSWERS, st.tuples(st.just(b"220 mx\r\n"), EHLO).flatmap(lambda a: ANSWERS.map(lambda b: [*a, *b]))))
def test_where_tls_is_required_only_names_are_said_in_clear(answers):
    opening = Opening(TlsPolicy(Level.ENCRYPT), no_tls, "mx.test", LOGIN)
    said, result = play(answers, opening)
    assert {line.partition(b" ")[0] for line in said.splitlines()} <= {b"EHLO", b"HELO", b"STARTTLS"}
    assert result is not None and result.outcome is Outcome.DEFERRED


@settings(max_examples=300, deadline=None)
@given(st.one_of(ANSWERS, st.tuples(st.just(b"220 mx\r\n"), EHLO).flatmap(lambda a: ANSWERS.map(lambda b: [*a, *b]))))
def test_a_password_is_not_said_in_clear_and_mail_does_not_go_without_it(answers):
    said, result = play(answers, Opening(login=LOGIN))
    assert not [secret for secret in SECRETS if secret in said]
    assert result is not None and result.outcome is Outcome.DEFERRED
