"""Aliases in qmgr: what a local recipient becomes, and its children when it becomes many.

One result is delivered as it is. Several are written as child messages, durable, before the
recipient's mark is set, and released after it: a crash anywhere repeats none of them.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Envelope, Mark, Recipient
from ..core.result import DeliveryResult, Handover, deferred, delivered, from_errno
from ..core.route import Route
from ..formats.aliases import Target
from ..formats.xtext import original_recipient
from ..host.alias_files import AliasFiles
from ..routing.expand import ALWAYS_THERE, Final, expand, is_unchanged
from ..routing.resolve import Routing
from ..spool.layout import ACTIVE, TMP
from ..spool.queue_id import child_id
from ..spool.store import Store
from .active_queue import Message
from .finishing import not_durable
from .intake import blocks
from .reports import without_success


@dataclass(slots=True)
class Expanded:
    """One recipient's expansion; its children, if any, wait in the message to be released."""

    message: Message
    index: int
    result: DeliveryResult
    lines: list[str] = field(default_factory=list)


Finals = Iterator[Final | DeliveryResult]


class Expander:
    """Applies the aliases of one configuration."""

    def __init__(self, config: Config, store: Store, routing: Routing, aliases: AliasFiles) -> None:
        self.config = config
        self.store = store
        self.routing = routing
        self.aliases = aliases

    def decide(self, envelope: Envelope, route: Route) -> Route | DeliveryResult | Finals:
        """Return where a local recipient goes: one route, a result, or finals that need children."""
        name = route.nexthop
        if name in envelope.visited:
            return route
        try:
            if self._look_up(name) is None and name not in ALWAYS_THERE:
                return route
        except OSError as error:
            return from_errno(error, "cannot read the aliases")
        except ValueError as error:
            return deferred("4.3.5", str(error))
        finals = expand(route.address.local_part, self._look_up, _lines, self.routing.is_local)
        first = list(islice(finals, 2))
        for item in first:
            if isinstance(item, DeliveryResult):
                return item
        only = [item for item in first if isinstance(item, Final)]
        if len(only) == 1:
            return self._single(route, only)
        return chain(first, finals) if only else delivered("alias without recipients")

    def _single(self, route: Route, only: list[Final]) -> Route | DeliveryResult:
        address = only[0].address
        if address is None:
            return delivered("discarded by alias")
        if is_unchanged(route.nexthop, only):
            return route
        return self.routing.route(self._qualified(address))

    def _qualified(self, address: Address) -> Address:
        return address if address.domain else Address(address.local_part, self.config.myorigin)

    def _look_up(self, name: str) -> Iterable[Target] | None:
        return self.aliases.look_up(name)

    def _has_alias(self, name: str) -> bool:
        try:
            return self._look_up(name) is not None
        except ValueError:
            return True

    # --- children ---------------------------------------------------------------------------

    def expand(self, message: Message, index: int, finals: Finals) -> Expanded:
        """Write the children of one recipient and set its mark; runs in a thread."""
        children: list[str] = []
        try:
            stopped = self._write_children(message, index, finals, children)
            if stopped is None:
                return self._release(message, index, children)
        except OSError as error:
            stopped = from_errno(error, "cannot write the expansion")
        self._discard(children)
        return Expanded(message, index, stopped)

    def _discard(self, children: list[str]) -> None:
        for queue_id in children:
            with contextlib.suppress(OSError):  # the next expansion writes it again, under the same name
                self.store.remove(TMP, queue_id)

    def _write_children(
        self, message: Message, index: int, finals: Finals, children: list[str]
    ) -> DeliveryResult | None:
        limit = max(1, self.config.expansion_recipient_limit)
        descriptor = self.store.open(ACTIVE, message.queue_id)
        try:
            while part := list(islice(finals, limit)):
                if isinstance(part[-1], DeliveryResult):
                    return part[-1]
                addresses = [item.address for item in part if isinstance(item, Final) and item.address is not None]
                if not addresses:
                    continue
                child = self._child(message.envelope, index, len(children), addresses)
                self.store.write(
                    child, blocks(descriptor, message.envelope.content_offset, message.envelope.size), durable=True
                )
                children.append(child.queue_id)
        finally:
            os.close(descriptor)
        return None

    def _child(self, parent: Envelope, index: int, number: int, addresses: list[Address]) -> Envelope:
        recipient = parent.recipients[index]
        original = recipient.original or original_recipient(recipient.forward_path)
        notify = without_success(recipient.notify)
        recipients = [Recipient(self._qualified(address), original, notify) for address in addresses]
        child = Envelope(
            child_id(parent.queue_id, index, number), parent.arrived_at, parent.sender, recipients, parent.submitter
        )
        child.body, child.envid, child.ret = parent.body, parent.envid, parent.ret
        child.smtputf8 = parent.smtputf8 or not all(address.is_ascii for address in addresses)
        child.parent = parent.queue_id, recipient.offset
        child.visited = tuple(dict.fromkeys((*parent.visited, *self._users_with_alias(addresses))))
        child.size = parent.size
        child.verify, child.report = parent.verify, parent.report and not parent.reported
        return child

    def _users_with_alias(self, addresses: list[Address]) -> list[str]:
        """Return the real users among the results that have an alias too: it must not apply again."""
        names = {a.local_part.lower() for a in addresses if self.routing.is_local(a.domain)}
        return sorted(name for name in names if self._has_alias(name) or name in ALWAYS_THERE)

    def _release(self, message: Message, index: int, children: list[str]) -> Expanded:
        recipient = message.envelope.recipients[index]
        try:
            error = self.store.mark(ACTIVE, message.queue_id, [(recipient, Mark.DELIVERED)], durable=True)
        except OSError as late:
            if recipient.mark == Mark.PENDING:
                raise
            error = late  # the mark is set: the children answer for the recipient now
        message.unreleased += children  # the end of the pass releases them
        names = ", ".join(children[:3]) + (" ..." if children[3:] else "")
        if names:
            result = delivered(f"expanded into {names}", relay="local", handover=Handover.EXPANDED)
        else:
            result = delivered("discarded by alias", relay="local")
        return Expanded(message, index, result, [not_durable(message, error)] if error is not None else [])


def _lines(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        yield from file
