"""The one pipeline through which mail enters the queue: header, qualification, checks, commit.

pickup, the SMTP server and bounces share it. It works on bytes: a message is never serialised
again, and a large body passes through in blocks.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Envelope, Recipient
from ..formats.header import split_header
from ..formats.submission_header import PreparedHeader, Submission, prepare_header
from ..formats.trace_headers import received_from_client, rfc5322_date
from ..routing.resolve import Routing
from ..spool.layout import HOLD, INCOMING
from ..spool.store import Store
from .content_checks import ContentChecks, note_lines, settle
from .rewriting import add_copies, field_change, rewrite_envelope, rewriter_of

_BLOCK = 262144
_HEADER_LIMIT = 16 << 20

LOCAL, REMOTE = "local", "remote"  # the origin of an envelope that came by SMTP: are its header fields completed?


class Refusal(Exception):
    """A client must be told that its message is not taken: "x.y.z reason"; notes are lines for the log."""

    def __init__(self, reason: str, notes: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.notes = notes


class Intake:
    """Puts messages into incoming/ of one queue."""

    def __init__(self, config: Config, store: Store, warn: Callable[[str], None] = lambda text: None) -> None:
        self.config = config
        self.store = store
        self._routing = Routing(config)
        self._rewriter = rewriter_of(config, self._routing, warn)
        self._checks = ContentChecks(config, warn)

    def submitted(self, envelope: Envelope, descriptor: int, offset: int, durable: bool = False) -> PreparedHeader:
        """Queue a submitted message whose content stands in an open file from offset on.

        The envelope comes with its id, sender and submitter; its addresses are qualified and its
        recipients made unique here, and content above ASCII is declared as what it is (RFC 6152) where
        nobody has said what it is. Not durable unless asked for: the maildrop original is, until
        the message is finished. Raises Refusal for what a client can still be told, and OSError; then
        nothing is queued (an error of the last step, the fsync of a durable name, may leave a message
        there that was not accepted).
        """
        originator = self._qualify(envelope)
        head, rest = split_content(descriptor, offset, envelope.size)
        sections = split_header(head)
        assert sections is not None
        header, body = head[sections.start : sections.end], head[sections.body :]
        checked = None
        if self._checks and not envelope.verify:
            header, body, checked = self._checks.apply(header, body, rest is None)
            notes = note_lines(envelope, checked)
            settle(envelope, checked)
        prepared = prepare_header(header, self._facts(envelope, originator))
        if checked is not None:
            prepared = replace(prepared, notes=tuple(notes))
        self._check(envelope, prepared)
        if envelope.client and envelope.refused[:1] not in ("", "2"):
            raise Refusal(envelope.refused, prepared.notes)
        chunks = [prepared.header, b"\n", unix_line_ends_whole(body) if rest is None else body]
        if not envelope.body:
            beyond = blocks(descriptor, offset + len(head), envelope.size - len(head))
            envelope.body = "" if all(part.isascii() for part in chain(chunks, beyond)) else "8BITMIME"
        if rest is None:
            envelope.size = sum(map(len, chunks))
            content: Iterable[bytes] = (b"".join(chunks),)
        else:
            content = _joined(chunks, rest)
        state = HOLD if checked is not None and checked.held and not envelope.refused else INCOMING
        self.store.commit(self.store.write(envelope, content, durable), envelope.queue_id, durable, state)
        return prepared

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
        envelope.smtputf8 = not all(a.is_ascii for a in (envelope.sender, *(r.forward_path for r in unique.values())))
        return originator

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
        return received_from_client(s.helo, (name, address), self.config.myhostname, s.protocol, e.queue_id, date, only)

    def _check(self, envelope: Envelope, prepared: PreparedHeader) -> None:
        limit = self.config.message_size_limit
        if prepared.hops > self.config.hopcount_limit:
            envelope.refused = "5.4.6 too many hops"
        elif limit and envelope.size > limit:
            envelope.refused = f"5.3.4 message is larger than message_size_limit ({limit} octets)"


def split_content(descriptor: int, offset: int, size: int) -> tuple[bytes, Iterator[bytes] | None]:
    """Return the beginning with the whole header in it, and blocks of what follows (None: nothing)."""
    head = os.pread(descriptor, min(size, _BLOCK), offset)
    while len(head) < size and len(head) < _HEADER_LIMIT and split_header(head, whole=False) is None:
        more = os.pread(descriptor, min(size - len(head), len(head)), offset + len(head))
        if not more:
            break
        head += more
    if len(head) >= size:
        return head, None
    return head, blocks(descriptor, offset + len(head), size - len(head))


def blocks(descriptor: int, offset: int, size: int) -> Iterator[bytes]:
    """Yield size octets of an open file from offset on, in blocks."""
    while size > 0:
        block = os.pread(descriptor, min(_BLOCK, size), offset)
        if not block:
            raise OSError(5, "the message ends too early")
        yield block
        offset += len(block)
        size -= len(block)


def _joined(first: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield b"".join(first[:-1])
    yield from unix_line_ends(first[-1], rest)


def unix_line_ends_whole(data: bytes) -> bytes:
    """Return the text with CRLF as LF; any other CR stays."""
    return data.replace(b"\r\n", b"\n")


def unix_line_ends(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    """The same for a text in blocks."""
    data = first
    for block in rest:
        held = b"\r" if data.endswith(b"\r") else b""
        yield unix_line_ends_whole(data[: len(data) - len(held)])
        data = held + block
    yield unix_line_ends_whole(data)
