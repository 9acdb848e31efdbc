"""What a client of the SMTP server asks for: the answers to its commands, and its message.

Guarantees: whatever restrictions, limits or the disk refuse leaves nothing behind. An answer is a
Reply, or takes time (smtpd_answers).
"""

import itertools
import os
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..core.envelope import Envelope, Recipient, Submitter
from ..formats.checks import Checked
from ..protocol import server_replies as replies
from ..protocol.commands import Verb
from ..protocol.reply import Reply
from ..protocol.server_commands import Auth, Chunk, Hello, Mail, Plain, Rcpt
from ..routing.restriction_scene import Client, Facts, Subject
from .intake import LOCAL, REMOTE
from .smtpd_answers import Answer, Pending, found
from .smtpd_auth import Authentication
from .smtpd_content import Incoming
from .smtpd_judge import Judge
from .smtpd_limits import TOO_MANY_RECIPIENTS, too_long
from .smtpd_message import Arriving
from .smtpd_milters import SessionFilters
from .smtpd_newlines import BareNewlines

if TYPE_CHECKING:
    from .smtpd_entrance import Entrance

_numbers = itertools.count(1)


class Transactions:
    """The transactions of one client, one after another."""

    def __init__(self, server: "Entrance", client: Client, newlines: BareNewlines) -> None:
        self._server = server
        self._config = server.config
        self._newlines = newlines
        self._subject = Subject(client)
        self._name = f"{os.getpid():x}.{time.time_ns() // 1000:x}.{next(_numbers):x}"
        self._messages = 0
        self.facts.instance = self._new_instance()
        self._judge = Judge(server, self._subject)
        self._envelope: Envelope | None = None
        self._is_secure = False
        self._login = Authentication(server)
        self._extra_recipients = 0
        self._content: Incoming | None = None
        self._is_checked = False  # smtpd_data_restrictions have nothing against the content
        self._origin = ""

    @property
    def facts(self) -> Facts:
        """What is known of the session beside its addresses."""
        return self._subject.facts

    def _new_instance(self) -> str:
        """Return a name that no other message has, for policy services."""
        self._messages += 1
        return f"{self._name}.{self._messages:x}"

    @property
    def has_begun(self) -> bool:
        """True between MAIL and the end of the message."""
        return self._envelope is not None

    @property
    def is_within_overshoot(self) -> bool:
        """True while recipients beyond the limit are no errors: a client may send them all before it reads on."""
        return bool(self._extra_recipients <= self._config.smtpd_recipient_overshoot_limit)

    def connect(self, client: Client) -> Reply | Coroutine[Any, Any, Reply | None] | None:
        """Check the client, whose name is known now; a coroutine where that takes time."""
        self._subject.client = client
        return self._judge.connect()

    def answer(self, event: Plain | Hello | Mail | Rcpt | Chunk | Auth) -> Answer:
        """Do what a command asks, and return the answer."""
        self._subject.recipient = None
        if isinstance(event, Hello):
            return self._hello(event)
        if self._needs_tls() and event.verb not in (Verb.NOOP, Verb.RSET, Verb.QUIT):
            return replies.NEEDS_TLS
        if isinstance(event, Auth):
            return self._auth(event)
        if isinstance(event, Mail):
            return self._mail(event)
        if isinstance(event, Rcpt):
            return self._rcpt(event)
        if isinstance(event, Chunk):
            return self._chunk(event)
        if event.verb is Verb.DATA:
            check = self._judge.checks.data(self._subject)
            return self._judge.judged(check, "DATA", lambda: self._data(event), SessionFilters.data, True)
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
        self.facts.protocol = "SMTP"
        self._login.forget()
        self._name_user()

    async def _auth(self, event: Auth) -> Reply:
        answer = await self._login.answer(event, self._subject.client, self._is_secure)
        self._name_user()
        return answer

    def _name_user(self) -> None:
        self.facts.sasl_method, self.facts.sasl_username = self._login.method, self._login.user

    def _needs_tls(self) -> bool:
        return not self._is_secure and self._config.smtpd_tls_security_level == "encrypt"

    def forget(self) -> None:
        """Leave nothing of a transaction that was begun."""
        self._drop_content()
        self._drop_envelope()
        if self._judge.filters:
            self._judge.filters.abort()
        self._subject.sender = self._subject.recipient = None
        self._subject.wishes = Checked()

    def leave(self) -> None:
        """Leave nothing of the client."""
        self.forget()
        self._login.forget()
        if self._judge.filters:
            self._judge.filters.close()

    # --- commands -----------------------------------------------------------------------------

    def _hello(self, event: Hello) -> Answer:
        self.forget()
        self._subject.helo = event.name
        self.facts.protocol = "ESMTP" if event.verb is Verb.EHLO else "SMTP"
        check = self._judge.checks.helo(self._subject)
        return self._judge.judged(check, event.verb.value, lambda: event.answer, SessionFilters.helo, False)

    def _mail(self, event: Mail) -> Answer:
        if self._config.smtpd_helo_required and not self._subject.helo:
            return replies.HELLO_FIRST
        if self._config.smtpd_sasl_auth_required and not self._login.user:
            return replies.AUTH_REQUIRED
        self._subject.sender, self._subject.wishes = event.sender, Checked()
        facts = self.facts
        facts.size, facts.recipients, facts.instance = event.size, 0, self._new_instance()
        refusal = self._server.rates.message(self._subject.client) or self._server.taker.no_room()
        refusal = refusal or (event.answer if event.answer.code >= 400 else None)
        if refusal:
            return self._judge.verdict(refusal, "MAIL") or refusal
        check = self._judge.checks.mail(self._subject)
        return self._judge.judged(check, "MAIL", lambda: self._begin(event), lambda filters: filters.mail(event), False)

    def _begin(self, mail: Mail) -> Reply:
        client = self._subject.client
        submitter = Submitter(self._server.uid)
        submitter.helo = self._subject.helo
        # The keywords of RFC 3848 and 6531: ESMTP, ESMTPSA, UTF8SMTPS and so on.
        submitter.protocol = "UTF8SMTP" if mail.smtputf8 else self.facts.protocol
        if submitter.protocol != "SMTP":
            submitter.protocol += ("S" if self._is_secure else "") + ("A" if self._login.user else "")
        submitter.sasl_username = self._login.user
        submitter.shows_login = self._config.smtpd_sasl_authenticated_header
        e = self._envelope = Envelope("", time.time_ns() // 1000, mail.sender, [], submitter)
        self._server.taker.begun += 1
        e.body, e.ret, e.envid, e.smtputf8 = mail.body, mail.ret, mail.envid, mail.smtputf8
        e.client = str(client)
        if not self._origin:
            completes = self._config.always_add_missing_headers or client.address in self._server.rules.completed
            self._origin = LOCAL if completes else REMOTE
        e.origin = self._origin
        self._extra_recipients = 0
        return mail.answer

    def _drop_envelope(self) -> None:
        if self._envelope:
            self._envelope = None
            self._server.taker.begun -= 1

    def _rcpt(self, event: Rcpt) -> Answer:
        assert self._envelope
        self._subject.recipient = event.address
        if len(self._envelope.recipients) >= self._config.smtpd_recipient_limit:
            self._extra_recipients += 1
            return TOO_MANY_RECIPIENTS
        refusal = self._server.rates.recipient(self._subject.client)
        if refusal:
            return self._judge.verdict(refusal, "RCPT") or refusal
        check = self._judge.checks.rcpt(self._subject)
        return self._judge.judged(check, "RCPT", lambda: self._add(event), lambda filters: filters.rcpt(event), True)

    def _add(self, event: Rcpt) -> Reply:
        assert self._envelope
        self._envelope.recipients.append(Recipient(event.address, event.original, event.notify))
        self.facts.recipients += 1
        return event.answer

    def _data(self, event: Plain) -> Reply:
        assert self._envelope
        return too_long(self._envelope) or event.answer

    # --- content ------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take content."""
        self._opened().write(data)

    def _opened(self) -> Incoming:
        if self._content is None:
            self._is_checked = False
            self._content = self._server.taker.new_content()
        return self._content

    def _drop_content(self) -> None:
        if self._content:
            self._content.close()
        self._content = None

    def _chunk(self, event: Chunk) -> Answer:
        """Answer BDAT. What is checked at DATA is checked after the first chunk, which lies there till then."""
        if event.answer.code < 400:
            return self._kept(event)
        self._drop_content()
        if event.verb is Verb.LAST:
            self.forget()
        return event.answer

    async def _kept(self, event: Chunk) -> Reply:
        content, envelope = self._opened(), self._envelope
        assert envelope
        refusal = None
        if not self._is_checked:
            self._is_checked = True
            check = self._judge.checks.data(self._subject)
            refusal = await self._judge.outcome(check, "BDAT") or too_long(envelope)
            if self._judge.filters and not refusal:
                refusal = await self._judge.filters.data()
        if not refusal and event.verb is Verb.LAST:
            return await found(self._end_of_data())
        if not refusal and content.trouble:
            refusal = self._judge.verdict(content.trouble, "BDAT")
        if refusal:
            self._drop_content()
            if event.verb is Verb.LAST:
                self.forget()
        return refusal or event.answer

    # --- the end of a message -----------------------------------------------------------------

    def _end_of_data(self) -> Answer:
        content, envelope = self._opened(), self._envelope
        assert envelope
        self._content = None
        self._drop_envelope()
        refusal = (self._newlines.seen() if content.has_bare_newline else None) or content.trouble
        if refusal:
            content.close()
            return self._judge.verdict(refusal, "END-OF-MESSAGE") or refusal
        self.facts.size = content.size
        outcome = self._judge.run(self._judge.checks.end_of_data(self._subject), "END-OF-MESSAGE")
        if outcome is not None and not isinstance(outcome, Reply):
            return self._taken_later(outcome, envelope, content)
        return self._judged(outcome, envelope, content)

    async def _taken_later(
        self, outcome: Coroutine[None, None, Reply | None], envelope: Envelope, content: Incoming
    ) -> Reply:
        return await found(self._judged(await outcome, envelope, content))

    def _judged(self, refusal: Reply | None, envelope: Envelope, content: Incoming) -> Answer:
        """Put the message into the queue, unless there is something against it.

        Who is gone before the answer does not hear of it, and the message is there all the same.
        """
        if refusal := self._judge.verdict(refusal, "END-OF-MESSAGE"):
            content.close()
            return refusal
        arriving = Arriving(envelope, content, self._subject.wishes, self._server.log, self._login.note())
        pending = Pending()
        filters = self._judge.filters
        self._server.taker.take(arriving, filters, lambda answer: pending.give(self._noted(answer, arriving.is_logged)))
        return pending.answer or pending

    def _noted(self, answer: Reply, is_logged: bool) -> Reply:
        """Note that a message has its answer."""
        filters = self._judge.filters
        if answer.code >= 400 and not is_logged and not (filters and answer is filters.refusal):
            self._judge.verdict(answer, "END-OF-MESSAGE")
        self._subject.sender, self._subject.wishes = None, Checked()
        return answer
