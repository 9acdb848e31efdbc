"""Requeuing: a message becomes a new one, with the address rewriting that is in force now (postsuper -r).

Routing and aliases need no requeuing, for they are looked up at each attempt. The new message is a
child of the old one, and answers for all who still waited there: the first of them is marked, durable,
before the others, and with that mark recovery gives the others theirs. So a crash anywhere loses
nothing and doubles nothing. It has the recipients that still waited, the time of arrival, and the history.
"""

import os
import time
from collections.abc import Iterator

from ..core.config import Config
from ..core.envelope import Envelope, Mark, Recipient
from ..core.result import DeliveryResult, Handover, deferred, delivered, from_errno
from ..formats.header import split_header
from ..formats.submission_header import change_header
from ..formats.tables import TableError
from ..host.read_file import Warn
from ..routing.resolve import Routing
from ..spool.layout import ACTIVE, TMP
from ..spool.message_file import read_history
from ..spool.store import Store
from .content import blocks, split_content
from .messages import Message
from .rewriting import field_change, rewrite_envelope, rewriter_of


class Requeuer:
    """Requeues messages of active/ by one configuration; its methods may run in qmgr's threads."""

    def __init__(self, config: Config, store: Store, warn: Warn = lambda text: None) -> None:
        self._config = config
        self._store = store
        self._rewriter = rewriter_of(config, Routing(config), warn)

    def requeue(self, message: Message) -> DeliveryResult:
        """Put a new message into tmp/, which the end of the pass releases; returns what its recipients get."""
        try:
            child = self._written(message.queue_id, message.envelope)
        except OSError as error:
            return from_errno(error, "cannot be requeued")
        except TableError as error:
            return deferred("4.3.0", f"cannot be requeued: {error}")
        first, *others = message.envelope.pending()
        try:
            for marked in ([first], others):
                marks = [(recipient, Mark.DELIVERED) for recipient in marked]
                self._store.mark(ACTIVE, message.queue_id, marks, durable=True)
        except OSError as error:
            if first.mark == Mark.PENDING:
                self._store.remove(TMP, child.queue_id)
                return from_errno(error, "cannot be requeued")
            # The others get their marks at the end of the pass, which is tried until that is done.
        message.unreleased.append(child.queue_id)
        message.envelope.report = message.envelope.verify = False  # the new one's affair
        return delivered(f"requeued as {child.queue_id}", handover=Handover.ENTRUSTED)

    def _written(self, queue_id: str, e: Envelope) -> Envelope:
        child = self._child(e)
        rewrite_envelope(child, self._rewriter)
        child.smtputf8 = not all(a.is_ascii for a in (child.sender, *(r.forward_path for r in child.recipients)))
        descriptor = self._store.open(ACTIVE, queue_id)
        try:
            path = self._store.write(child, self._content(e, descriptor), durable=False, born=time.time_ns() // 1000)
            self._store.name_child(path, child.queue_id)
            try:
                error = self._store.mark(TMP, child.queue_id, (), read_history(descriptor, e), durable=True)
                if error is not None:
                    raise error
            except OSError:
                self._store.remove(TMP, child.queue_id)  # by its name there the next start would release it some day
                raise
        finally:
            os.close(descriptor)
        return child

    @staticmethod
    def _child(e: Envelope) -> Envelope:
        waiting = e.pending()
        recipients = [Recipient(r.forward_path, r.original, r.notify, target=r.target) for r in waiting]
        child = Envelope("", e.arrived_at, e.sender, recipients, e.submitter)
        for name in ("body", "envid", "ret", "client", "origin", "refused", "full_name"):
            setattr(child, name, getattr(e, name))
        for name in ("report", "reported", "verify", "queue_only", "visited", "controlling_uid", "unknown"):
            setattr(child, name, getattr(e, name))
        child.parent = e.queue_id, waiting[0].offset
        child.size = e.size
        return child

    def _content(self, e: Envelope, descriptor: int) -> Iterator[bytes]:
        """Yield the content, with the addresses in its header rewritten."""
        if not self._rewriter.is_active:
            yield from blocks(descriptor, e.content_offset, e.size)
            return
        head, rest = split_content(descriptor, e.content_offset, e.size)
        sections = split_header(head)
        assert sections is not None
        header = head[: sections.end]
        yield change_header(header, self._config.myorigin, field_change(self._rewriter))
        yield head[sections.end :]
        yield from rest or ()
