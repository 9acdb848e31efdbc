"""The children of an expansion: messages to what one recipient has become.

They are written, durable, before the recipient's mark is set, and released after it: a crash
anywhere repeats none of them. A child holds recipients that share an envelope sender and the
rights of their targets; what a .forward sends away is marked with Delivered-To, so that a
message which comes back is recognised.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Envelope, Mark, Recipient
from ..core.result import DeliveryResult, Handover, deferred, delivered, failed, from_errno
from ..formats.xtext import original_recipient
from ..routing.expand import Final
from ..routing.resolve import Routing
from ..spool.layout import ACTIVE, TMP
from ..spool.queue_id import child_id, is_queue_id
from ..spool.store import Store
from .content import blocks
from .finishing import not_durable
from .messages import Message
from .notices import without_success

Finals = Iterator[Final | DeliveryResult]

_TOGETHER = 64  # so many lists with owners of their own are collected side by side


@dataclass(slots=True)
class Expanded:
    """One recipient's expansion; its children, if any, wait in the message to be released."""

    message: Message
    indexes: list[int]
    result: DeliveryResult
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the children of an expansion are made from: visited names are added to the parent's.

    delivered_to is the address that a .forward was used for. known counts the recipients of the
    message by Routing.mailbox_key(): who is one gets no second copy. Not for a .forward: of two
    users who forward to each other, each would leave it to the other.
    """

    finals: Finals
    visited: tuple[str, ...] = ()
    delivered_to: Address | None = None
    known: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the recipients of one child share."""

    sender: Address | None
    uid: int
    leaves: bool


class Children:
    """Writes children for one configuration; its methods run in qmgr's threads."""

    def __init__(
        self, config: Config, store: Store, routing: Routing, has_alias: Callable[[Address], list[str]]
    ) -> None:
        self._limit = max(1, config.expansion_recipient_limit)
        self._store = store
        self._routing = routing
        self._aliases_of = has_alias

    def expand(self, message: Message, indexes: list[int], plan: Plan) -> Expanded:
        """Write the children of a recipient and set his mark, and that of others who are the same mailbox."""
        written: list[str] = []
        senders: set[Address | None] = set()
        try:
            stopped = self._written(message, indexes, plan, written, senders)
            if stopped is None:
                return self._release(message, indexes, written, _handover(plan, senders))
        except OSError as error:
            stopped = from_errno(error, "cannot write the expansion")
        self._discard(written)
        return Expanded(message, indexes, stopped)

    def _discard(self, written: list[str]) -> None:
        for queue_id in written:
            with contextlib.suppress(OSError):  # the next expansion writes it again, under the same name
                self._store.remove(TMP, queue_id)

    def _written(
        self, message: Message, indexes: list[int], plan: Plan, written: list[str], senders: set[Address | None]
    ) -> DeliveryResult | None:
        """The same as _write(); a defect defers the expansion, and does not end the queue manager."""
        try:
            return self._write(message, indexes, plan, written, senders)
        except OSError:
            raise
        except Exception as error:
            return deferred("4.3.0", f"internal error: {type(error).__name__}: {error}")

    def _write(
        self, message: Message, indexes: list[int], plan: Plan, written: list[str], senders: set[Address | None]
    ) -> DeliveryResult | None:
        """Write all children; returns the result that stops the expansion, if one does."""
        descriptor = self._store.open(ACTIVE, message.queue_id)
        try:
            for kind, part in self._parts(message.envelope, indexes, plan):
                if isinstance(part, DeliveryResult):
                    return part
                child = self._child(message.envelope, indexes[0], len(written), kind, part, plan)
                if not is_queue_id(child.queue_id):
                    return failed("5.4.6", "forwarded too often")
                content = blocks(descriptor, message.envelope.content_offset, message.envelope.size)
                self._store.write(child, self._with_trace(content, kind, plan), durable=True)
                written.append(child.queue_id)
                senders.add(kind.sender)
        finally:
            os.close(descriptor)
        return None

    def has_own_copy(self, final: Final, own: Iterable[Recipient], known: Mapping[tuple[str, str], int]) -> bool:
        """Say whether a result is another recipient of the message, of whom no alias makes something else."""
        if final.address is None or final.target:
            return False
        address = self._routing.qualified(final.address)
        key = self._routing.mailbox_key(address)
        if known.get(key, 0) <= sum(self._routing.mailbox_key(r.forward_path) == key for r in own):
            return False
        return not self._aliases_of(address)

    def _parts(
        self, parent: Envelope, indexes: list[int], plan: Plan
    ) -> Iterator[tuple[_Kind, list[Final] | DeliveryResult]]:
        """Yield the results that go into one child together, at most the limit."""
        own = [parent.recipients[index] for index in indexes]
        waiting: dict[_Kind, list[Final]] = {}
        for final in plan.finals:
            if isinstance(final, DeliveryResult):
                yield _Kind(None, -1, False), final
                return
            if (final.address is None and not final.target) or self.has_own_copy(final, own, plan.known):
                continue  # discarded, or on its way already
            kind = self._kind(parent, final, plan)
            part = waiting.setdefault(kind, [])
            part.append(final)
            if len(part) >= self._limit:
                yield kind, waiting.pop(kind)
            elif len(waiting) > _TOGETHER:
                first = next(iter(waiting))
                yield first, waiting.pop(first)
        yield from waiting.items()

    def _kind(self, parent: Envelope, final: Final, plan: Plan) -> _Kind:
        # The null sender stays: nobody gets reports of reports. And who verifies is to hear of all that comes of it.
        sender = final.sender if parent.sender and not parent.verify else None
        leaves = plan.delivered_to is not None and final.address is not None
        leaves = leaves and not self._routing.is_local(self._recipient_of(final).domain)
        return _Kind(sender, final.uid, leaves)

    def _recipient_of(self, final: Final) -> Address:
        assert final.address is not None
        return self._routing.qualified(final.address)

    def _child(self, parent: Envelope, index: int, number: int, kind: _Kind, part: list[Final], plan: Plan) -> Envelope:
        recipient = parent.recipients[index]
        original = recipient.original or original_recipient(recipient.forward_path)
        notify = () if kind.sender else without_success(recipient.notify)
        recipients = [Recipient(self._address(f, recipient), original, notify, target=f.target) for f in part]
        sender = self._routing.qualified(kind.sender) if kind.sender else parent.sender
        queue_id = child_id(parent.queue_id, index, number)
        child = Envelope(queue_id, parent.arrived_at, sender, recipients, parent.submitter)
        child.body = parent.body
        child.verify = parent.verify
        # What a list or a .forward leads to is not the sender's to see, unless it fails.
        child.report = parent.report and not parent.reported and kind.sender is None and plan.delivered_to is None
        if kind.sender is None:
            child.envid, child.ret = parent.envid, parent.ret
        child.smtputf8 = parent.smtputf8 or not all(a.is_ascii for a in (sender, *(r.forward_path for r in recipients)))
        child.parent = parent.queue_id, recipient.offset
        child.visited = tuple(dict.fromkeys((*parent.visited, *plan.visited, *self._users_with_alias(part))))
        child.controlling_uid = kind.uid
        child.size = parent.size
        return child

    def _address(self, final: Final, recipient: Recipient) -> Address:
        return recipient.forward_path if final.address is None else self._routing.qualified(final.address)

    def _users_with_alias(self, part: list[Final]) -> list[str]:
        """Return what is an address in itself among the results, and has an alias too: it must not apply again."""
        users = [f.address for f in part if f.address is not None and not f.target]
        return sorted({name for user in users for name in self._aliases_of(user)})

    @staticmethod
    def _with_trace(content: Iterable[bytes], kind: _Kind, plan: Plan) -> Iterator[bytes]:
        if kind.leaves:
            yield f"Delivered-To: {plan.delivered_to}\n".encode("utf-8", "surrogateescape")
        yield from content

    def _release(self, message: Message, indexes: list[int], written: list[str], handover: Handover) -> Expanded:
        """Set the marks; that of the recipient whom the children name comes last, since they answer for it."""
        recipients = [message.envelope.recipients[index] for index in reversed(indexes)]
        try:
            marks = [(recipient, Mark.DELIVERED) for recipient in recipients]
            error = self._store.mark(ACTIVE, message.queue_id, marks, durable=True)
        except OSError as late:
            if recipients[-1].mark == Mark.PENDING:
                raise
            error = late  # the mark is set: the children answer for the recipient now
        message.unreleased += written  # the end of the pass releases them
        names = ", ".join(islice(written, 3)) + (" ..." if written[3:] else "")
        if names:
            result = delivered(f"expanded into {names}", relay="local", handover=handover)
        else:
            result = delivered("nobody else to deliver to", relay="local")
        return Expanded(message, indexes, result, [not_durable(message, error)] if error is not None else [])


def _handover(plan: Plan, senders: set[Address | None]) -> Handover:
    """Return what an expansion means to who asked to hear of success (RFC 3461 5.2.7).

    With a list that has an owner delivery ends, and where a .forward leads is its user's secret.
    """
    if plan.delivered_to is not None:
        return Handover.RELAYED
    return Handover.EXPANDED if senders == {None} else Handover.FINAL
