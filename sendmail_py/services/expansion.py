"""What becomes of a local recipient in qmgr: aliases first, then what an agent hands back.

An alias or .forward that comes to one thing is delivered as it is, where nothing else of the
message changes with it; anything else becomes child messages.
"""

import os
from collections import Counter
from dataclasses import replace
from itertools import chain, islice

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import MAILBOX, Envelope, Mark, Recipient
from ..core.result import DeliveryResult, deferred, delivered, failed, from_errno
from ..core.route import LOCAL, Route
from ..formats import macros
from ..formats.batch import HandBack, Report
from ..host.alias_files import AliasFiles
from ..host.alias_sources import read_include
from ..routing.expand import FORWARD, FORWARDED, LUSER, Expansion, Final, Rules, included
from ..routing.resolve import ALWAYS_THERE, Routing, transport_of
from ..spool.store import Store
from .child_messages import Children, Expanded, Finals, Plan
from .local_checks import luser_targets
from .messages import Message

Decision = Route | DeliveryResult | Plan

RELAYED = "?"  # among the visited names: luser_relay has been used
_FORWARD_LIMIT = 64 << 20
_SPECIAL = frozenset(' ,;:<>()[]"\\@|/')


class Expander:
    """Applies the aliases of one configuration."""

    def __init__(self, config: Config, store: Store, routing: Routing, aliases: AliasFiles) -> None:
        self.config = config
        self.routing = routing
        self.aliases = aliases
        self._rules = Rules(config, routing)
        self._children = Children(config, store, routing, self._aliases_of)
        self._counted: tuple[Envelope | None, Counter[tuple[str, str]]] = (None, Counter())

    def decide(self, envelope: Envelope, recipient: Recipient) -> Decision:
        """Return where a recipient goes: one route, a result, or a plan for children."""
        address = recipient.forward_path
        if recipient.target:
            if envelope.controlling_uid == 0 and recipient.target != MAILBOX:
                return deferred("4.3.5", "programs and files are not used with the rights of root")
            return self.routing.target(address, recipient.target, envelope.controlling_uid)
        decision = self._by_virtual_alias(envelope, recipient)
        if decision is not None:
            return decision
        route = self.routing.route(address, envelope.sender)
        if route.transport != LOCAL or route.target:
            return route
        try:
            if not self._is_alias(envelope, address):
                return route
        except OSError as error:
            return from_errno(error, "cannot read the aliases")
        except ValueError as error:
            return deferred("4.3.5", str(error))
        finals = self._expansion(envelope).of_name(address.local_part)
        return self._of_recipient(envelope, recipient, route, finals)

    def _by_virtual_alias(self, envelope: Envelope, recipient: Recipient) -> Decision | None:
        """Return what becomes of a recipient with a virtual alias, None where there is none that applies."""
        virtual = self.routing.virtual
        address = self.routing.qualified(recipient.forward_path)
        if not virtual.has_aliases or virtual.key(address) in envelope.visited:
            return None
        try:
            if virtual.alias(address) is None:
                return None
        except OSError as error:
            return deferred("4.3.0", f"cannot look up virtual alias {address}: {error}")
        except ValueError as error:
            return deferred("4.3.5", str(error))
        route = self.routing.route(address, envelope.sender)
        return self._of_recipient(envelope, recipient, route, self._expansion(envelope).of_virtual(address))

    def _of_recipient(self, envelope: Envelope, recipient: Recipient, route: Route, finals: Finals) -> Decision:
        known = self._known(envelope)
        decision = self._settled(envelope, route, Plan(finals, known=known))
        if not isinstance(decision, Route) or decision.transport == LOCAL:
            return decision
        if self._children.has_own_copy(Final(decision.address), (recipient,), known):
            return delivered("nobody else to deliver to", relay="local")
        return decision

    def _known(self, envelope: Envelope) -> Counter[tuple[str, str]]:
        """Count the ordinary recipients of a message that have not failed; kept while it is the same message."""
        if self._counted[0] is not envelope:
            ordinary = (r.forward_path for r in envelope.recipients if r.mark != Mark.FAILED and not r.target)
            self._counted = envelope, Counter(map(self.routing.mailbox_key, ordinary))
        return self._counted[1]

    def expand(self, message: Message, indexes: list[int], plan: Plan) -> Expanded:
        """Write the children that a plan comes to; runs in a thread."""
        return self._children.expand(message, indexes, plan)

    def _expansion(self, envelope: Envelope) -> Expansion:
        return Expansion(self._rules, self.aliases.look_up, read_include, envelope.visited)

    def _is_alias(self, envelope: Envelope, address: Address) -> bool:
        for name in self.routing.names(address.local_part):
            if name in envelope.visited:
                return False
            if self.aliases.look_up(name) is not None or name in ALWAYS_THERE:
                return True
        return False

    def _aliases_of(self, user: Address) -> list[str]:
        """Return the names under which an address has an alias; one that cannot be looked up may have."""
        found = self._virtual_name(user)
        for name in self.routing.names(user.local_part) if self.routing.is_local(user.domain) else ():
            try:
                if self.aliases.look_up(name) is not None or name in ALWAYS_THERE:
                    found.append(name)
            except (OSError, ValueError):
                found.append(name)
        return found

    def _virtual_name(self, address: Address) -> list[str]:
        address = self.routing.qualified(address)
        virtual = self.routing.virtual
        try:
            return [] if virtual.alias(address) is None else [virtual.key(address)]
        except (OSError, ValueError):
            return [virtual.key(address)]

    def _settled(self, envelope: Envelope, route: Route, plan: Plan) -> Decision:
        """Take the one thing that an expansion comes to as it is, where that will do; else return the plan.

        What a .forward sends on is a child, for it is marked; so only an end of the way will do there.
        """
        first = list(islice(plan.finals, 2))
        for item in first:
            if isinstance(item, DeliveryResult):
                return item
        if not first:
            return delivered("alias without recipients")
        if len(first) == 1 and isinstance(first[0], Final) and (first[0].sender is None or not envelope.sender):
            decision = self._single(envelope, route, first[0])
            if plan.delivered_to is None or isinstance(decision, DeliveryResult) or decision.target:
                return decision
        return replace(plan, finals=chain(first, plan.finals))

    def _single(self, envelope: Envelope, route: Route, only: Final) -> Route | DeliveryResult:
        if only.address is None:
            if not only.target:
                return delivered("discarded by alias")
            return self.routing.target(route.address, only.target, only.uid)
        if (
            route.transport == LOCAL
            and not only.address.domain
            and only.address.local_part.lower() == route.address.local_part.lower()
        ):
            return replace(route, target=only.target)  # the user whom the address names: it stays as it is
        address = self.routing.qualified(only.address)
        return self.routing.mailbox(address) if only.target else self.routing.route(address, envelope.sender)

    # --- what an agent hands back -----------------------------------------------------------------

    def handed_back(self, envelope: Envelope, route: Route, report: Report) -> Decision:
        """Return what becomes of a delivery that the local agent did not end; takes charge of the descriptor."""
        if report.back is HandBack.FORWARD:
            return self._forward(envelope, route, report)
        mailbox = transport_of(self.config.mailbox_transport)
        if mailbox:  # it may know users that this host does not
            return Route(*mailbox, route.address)
        return self._unknown(envelope, route)

    def _forward(self, envelope: Envelope, route: Route, report: Report) -> Decision:
        user = route.nexthop
        file = os.fdopen(report.descriptor, encoding="utf-8", errors="surrogateescape")
        if os.fstat(report.descriptor).st_size > _FORWARD_LIMIT:
            file.close()
            return deferred("4.3.5", f".forward of {user}: it is too large")
        file.seek(0)
        finals = self._expansion(envelope).of_targets(included(file), FORWARD, user, report.uid)
        first = next(finals, None)
        if first is None:
            return replace(route, target=MAILBOX)
        plan = Plan(chain([first], finals), (FORWARDED + user,), route.address)
        return self._settled(envelope, route, plan)

    def _unknown(self, envelope: Envelope, route: Route) -> Decision:
        """Mail for a user whom nobody knows: fallback_transport, then luser_relay, which is asked once."""
        fallback = transport_of(self.config.fallback_transport)
        if fallback:
            return Route(*fallback, route.address)
        unknown = failed("5.1.1", f'unknown user: "{route.nexthop}"')
        if RELAYED in envelope.visited or not _stays_one_word(route.address.local_part):
            return unknown
        try:
            targets = luser_targets(macros.expand(self.config.luser_relay, self._values(route)))
        except ValueError as error:
            return deferred("4.3.5", f"luser_relay: {error}")
        if not targets:
            return unknown
        return Plan(self._expansion(envelope).of_targets(targets, LUSER, "luser_relay"), visited=(RELAYED,))

    def _values(self, route: Route) -> dict[str, str]:
        """Return the macros of luser_relay."""
        address = route.address
        user, delimiter, extension = self.routing.split(address.local_part)
        values = {"user": user, "local": address.local_part, "extension": extension, "domain": address.domain}
        return values | {"recipient": str(address), "recipient_delimiter": delimiter}


def _stays_one_word(name: str) -> bool:
    """Say whether a name means no more in luser_relay than itself; `x@far.example, y` is a local part, too."""
    return name.isprintable() and _SPECIAL.isdisjoint(name)
