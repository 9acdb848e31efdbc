"""The one pipeline through which mail enters the queue: header, qualification, checks, commit.

pickup, the SMTP server and bounces share it. It works on bytes: a message is never serialised
again, and a large body passes through in blocks.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Envelope, Recipient
from ..formats.checks import Checked
from ..formats.header import split_header
from ..formats.submission_header import PreparedHeader, Submission, prepare_header
from ..formats.trace_headers import received_from_client, rfc5322_date
from ..routing.resolve import Routing
from ..routing.rewrite import ENVELOPE_RECIPIENT, ENVELOPE_SENDER
from ..spool.draft import Draft
from ..spool.layout import HOLD, INCOMING
from ..spool.store import Store
from .content import Body, split_content
from .content_checks import ContentChecks, note_lines, settle
from .local_filters import LocalFilters
from .rewriting import add_copies, field_change, rewrite_envelope, rewriter_of, rewritten

LOCAL, REMOTE = "local", "remote"  # the origin of an envelope that came by SMTP: are its header fields completed?


class Refusal(Exception):
    """A client must be told that its message is not taken: "x.y.z reason"; notes are lines for the log."""

    def __init__(self, reason: str, notes: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.notes = notes


@dataclass(slots=True)
class Ready:
    """A message that is ready for the queue; checked is what is to become of it."""

    envelope: Envelope
    header: PreparedHeader
    body: Body
    checked: Checked


class Intake:
    """Puts messages into incoming/ of one queue."""

    def __init__(
        self,
        config: Config,
        store: Store,
        warn: Callable[[str], None] = lambda text: None,
        filters: LocalFilters | None = None,
    ) -> None:
        self.config = config
        self.filters = filters
        self.store = store
        self._routing = Routing(config)
        self._rewriter = rewriter_of(config, self._routing, warn)
        self._checks = ContentChecks(config, warn)

    def submitted(self, envelope: Envelope, source: int | bytes, offset: int, durable: bool = False) -> PreparedHeader:
        """Queue a submitted message whose content stands in an open file, or in memory, from offset on.

        Not durable unless asked for: the maildrop original is, until the message is finished. Raises
        what prepared() and commit() do.
        """
        ready = self.prepared(envelope, source, offset)
        if self.filters is None or envelope.verify or envelope.refused:
            self.commit(ready, durable)
        else:
            with self.filters.looked_at(ready, self):
                self.commit(ready, durable)
        return ready.header

    def prepared(self, envelope: Envelope, source: int | bytes, offset: int, wishes: Checked | None = None) -> Ready:
        """Return a message as it is to be queued; its content stays in the open file, which must stay open.

        The envelope comes with its id, sender and submitter; its addresses are qualified and its
        recipients made unique here. wishes is what is to become of the message for other reasons
        than its content. Raises OSError, and Refusal for what a client can still be told.
        """
        originator = self._qualify(envelope)
        size = envelope.size
        head, _ = split_content(source, offset, size)
        sections = split_header(head)
        assert sections is not None
        header = head[sections.start : sections.end]
        body = Body(head[sections.body :], source, offset + len(head), size - len(head))
        checked, notes = wishes or Checked(), []
        if self._checks and not envelope.verify:
            header, body.edits = self._checks.apply(header, body.raw(), checked)
            notes = note_lines(envelope, checked)
        settle(envelope, checked)
        prepared = prepare_header(header, self._facts(envelope, originator))
        if notes or checked.prepended:
            prepared = replace(prepared, header=b"".join((*checked.prepended, prepared.header)), notes=tuple(notes))
        self._check(envelope, prepared)
        if envelope.client and envelope.refused[:1] not in ("", "2"):
            raise Refusal(envelope.refused, prepared.notes)
        return Ready(envelope, prepared, body, checked)

    def commit(self, ready: Ready, durable: bool = False, draft: Draft | None = None) -> None:
        """Put a message into the queue; durably if asked for, or written into a draft.

        Content above ASCII is declared as what it is (RFC 6152) where nobody has said what it is.
        Raises OSError; then nothing is queued (an error of the last step, the fsync of a durable name,
        may leave a message there that was not accepted).
        """
        envelope, header, body = ready.envelope, ready.header.header, ready.body
        if not envelope.body:
            is_ascii = header.isascii() and all(part.isascii() for part in body.blocks())
            envelope.body = "" if is_ascii else "8BITMIME"
        content: Iterable[bytes] = chain((header, b"\n"), body.blocks())
        if (whole := body.whole) is not None:
            content = (header, b"\n", whole)
            envelope.size = len(header) + 1 + len(whole)
        state = HOLD if ready.checked.held and not envelope.refused else INCOMING
        if draft:
            draft.write(envelope, content)
            draft.commit(state)
        else:
            self.store.commit(self.store.write(envelope, content, durable), envelope.queue_id, durable, state)

    def _qualify(self, envelope: Envelope) -> Address:
        """Qualify and rewrite the addresses; returns the sender as he was before."""
        origin = self.config.myorigin
        sender = envelope.sender
        if sender and not sender.domain:
            envelope.reverse_path = Address(sender.local_part, origin)
        for recipient in envelope.recipients:
            address = recipient.forward_path
            if not (envelope.client or recipient.target):
                address = self._routing.unrouted(address)
            recipient.forward_path = self._routing.qualified(address)
        originator = envelope.sender
        rewrite_envelope(envelope, self._rewriter)
        add_copies(envelope, self._rewriter)
        unique: dict[tuple[str, str], Recipient] = {}
        for recipient in envelope.recipients:
            address = recipient.forward_path
            if recipient.target and not self._routing.is_local(address.domain):
                recipient.target = ""  # \name is for users of this host
            unique.setdefault(self._routing.mailbox_key(address), recipient)
        envelope.recipients = list(unique.values())
        self.mark_utf8(envelope)
        return originator

    def queued_sender(self, address: Address) -> Address:
        """Return the reverse-path with which a message of this sender would be queued; raises OSError."""
        sender = Address(address.local_part, address.domain or self.config.myorigin) if address else address
        return rewritten(sender, ENVELOPE_SENDER, self._rewriter)

    def queued_recipient(self, address: Address) -> Address:
        """Return the forward-path with which a message to this recipient would be queued; raises OSError."""
        return rewritten(self._routing.qualified(address), ENVELOPE_RECIPIENT, self._rewriter)

    @staticmethod
    def mark_utf8(envelope: Envelope) -> None:
        """Note whether the envelope needs SMTPUTF8."""
        addresses = (envelope.sender, *(r.forward_path for r in envelope.recipients))
        envelope.smtputf8 = not all(address.is_ascii for address in addresses)

    def _facts(self, e: Envelope, originator: Address) -> Submission:
        change = field_change(self._rewriter) if self._rewriter.is_active else None
        offset = time.localtime(e.arrived_at // 1_000_000).tm_gmtoff
        config = self.config
        return Submission(
            queue_id=e.queue_id,
            arrived_at=e.arrived_at,
            utc_offset=offset,
            uid=e.submitter.uid,
            sender=change(b"from", originator) if change else originator,
            full_name=e.full_name,
            myorigin=config.myorigin,
            myhostname=config.myhostname,
            header_size_limit=config.header_size_limit,
            received=self._received(e, offset) if e.client else "",
            complete=e.origin != REMOTE,
            change=change,
        )

    def _received(self, e: Envelope, utc_offset: int) -> str:
        """Return the Received field of a message that came by SMTP; a single recipient is named in it."""
        name, _, address = e.client.removesuffix("]").rpartition("[")
        address = f"IPv6:{address}" if ":" in address else address
        only = e.recipients[0].forward_path if len(e.recipients) == 1 else None
        date = rfc5322_date(e.arrived_at // 1_000_000, utc_offset)
        s = e.submitter
        login = s.sasl_username if s.shows_login else ""
        client, host = (name, address), self.config.myhostname
        return received_from_client(s.helo, client, host, s.protocol, e.queue_id, date, only, login)

    def _check(self, envelope: Envelope, prepared: PreparedHeader) -> None:
        limit = self.config.message_size_limit
        if prepared.hops > self.config.hopcount_limit:
            envelope.refused = "5.4.6 too many hops"
        elif limit and envelope.size > limit:
            envelope.refused = f"5.3.4 message is larger than message_size_limit ({limit} octets)"
