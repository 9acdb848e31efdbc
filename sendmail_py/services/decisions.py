"""What becomes of one recipient, as routing, aliases and the state of destinations have it.

Error, retry and discard are results at once, and so is a transport or a destination whose mail waits.
"""

from ..core.address import Address
from ..core.config import Config
from ..core.envelope import Recipient
from ..core.result import deferred, delivered, failed
from ..core.route import DISCARD, ERROR, RETRY, Route
from ..formats.batch import Report
from ..host.alias_files import AliasFiles
from ..host.syslog import Log
from ..routing.transport import transports_named
from ..spool.layout import INCOMING
from ..spool.store import Store
from .active_queue import ActiveQueue
from .expansion import Decision, Expander
from .messages import Message
from .notices import QUEUE_ONLY
from .routes import routing_of

_DISCARDED_NOTICE = delivered("undeliverable postmaster notification discarded")
_DEFERRED_TRANSPORT = deferred("4.3.2", "deferred transport")


class Decisions:
    """Decides for one configuration."""

    def __init__(self, config: Config, store: Store, log: Log, active: ActiveQueue, nobody: Address) -> None:
        self._routing = routing_of(config, log.warning)
        self._log = log
        self._nobody = nobody  # the sender of what the postmaster gets
        self.expander = Expander(config, store, self._routing, AliasFiles(config.alias_maps, log.warning))
        self._deferred_transports = transports_named(config.defer_transports)
        self._active = active

    def first(self, message: Message, recipient: Recipient, state: str) -> Decision:
        """Decide on a recipient of a message that came from state. A defect defers him alone, and stops no mail."""
        try:
            return self._first(message, recipient, state)
        except Exception as error:
            return self._fault(message, error)

    def _fault(self, message: Message, error: Exception) -> Decision:
        self._log.error(f"{message.queue_id}: internal error: {type(error).__name__}: {error}")
        return deferred("4.3.0", f"internal error: {type(error).__name__}")

    def _first(self, message: Message, recipient: Recipient, state: str) -> Decision:
        e = message.envelope
        if e.refused:
            status, _, text = e.refused.partition(" ")
            return delivered(text, status) if status[0] == "2" else failed(status, text)
        if e.queue_only and state == INCOMING and not message.forced:
            return QUEUE_ONLY
        if self._is_double_bounce(recipient):
            return _DISCARDED_NOTICE
        return self._allowed(message, self.expander.decide(e, recipient))

    def _is_double_bounce(self, recipient: Recipient) -> bool:
        """Say whether a recipient is only the sender of what the postmaster gets."""
        address, nobody = recipient.forward_path, self._nobody
        if address.local_part.lower() != nobody.local_part.lower():
            return False
        return address == nobody or (not recipient.target and self._routing.is_local(address.domain))

    def handed_back(self, message: Message, route: Route, report: Report) -> Decision:
        """Decide on what the local agent has handed back; a defect defers it, as above."""
        try:
            return self._allowed(message, self.expander.handed_back(message.envelope, route, report))
        except Exception as error:
            return self._fault(message, error)

    def _allowed(self, message: Message, decision: Decision) -> Decision:
        if not isinstance(decision, Route):
            return decision
        if decision.transport in (ERROR, RETRY):
            status, _, text = decision.nexthop.partition(" ")
            return failed(status, text) if decision.transport == ERROR else deferred(status, text)
        if decision.transport == DISCARD:
            return delivered(decision.nexthop, relay="none")
        if decision.transport in self._deferred_transports and not message.forced:
            return _DEFERRED_TRANSPORT
        suspended = self._active.suspended(decision)
        if suspended:
            message.attempted = True  # the destination was tried just now
            return suspended
        return decision
