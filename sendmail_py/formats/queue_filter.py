"""Which messages `mailctl queue hold` and its like are for: ids, and what is known of a message.

All that is given must hold; of several values of one kind one has to. A message is meant as a whole,
also when only one of its recipients fits.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .listing import ListedMessage


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """What selects. older and newer are spans in seconds, 0 for none; states are the queues to look into."""

    ids: frozenset[str] = frozenset()
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    older: int = 0
    newer: int = 0
    patterns: tuple[re.Pattern[str], ...] = ()
    states: tuple[str, ...] = ()

    @property
    def needs_messages(self) -> bool:
        """True when the id and the state of a message do not say whether it is selected."""
        return bool(self.senders or self.recipients or self.domains or self.older or self.newer or self.patterns)

    def selects_name(self, state: str, queue_id: str) -> bool:
        """Say whether id and state fit."""
        return (not self.ids or queue_id in self.ids) and (not self.states or state in self.states)

    def selects(self, message: ListedMessage, now: float) -> bool:
        """Say whether a message is selected; now in seconds since the epoch."""
        age = now - message.arrived_at / 1e6
        recipients = [address for address, _ in message.recipients]
        return (
            self.selects_name(message.queue_name, message.queue_id)
            and _fits(self.senders, [message.sender])
            and _fits(self.recipients, recipients)
            and _is_in(self.domains, recipients)
            and (not self.older or age >= self.older)
            and (not self.newer or age < self.newer)
            and all(any(map(pattern.search, _texts(message))) for pattern in self.patterns)
        )


def _fits(wanted: tuple[str, ...], addresses: Iterable[str]) -> bool:
    """Say whether an address is one of those wanted: an address, @domain, or <> for the null sender."""
    if not wanted:
        return True
    return any(_is_same(text, address.lower()) for text in wanted for address in addresses)


def _is_same(wanted: str, address: str) -> bool:
    wanted = wanted.lower()
    if wanted in ("<>", ""):
        return not address
    return address.endswith(wanted) if wanted[0] == "@" else address == wanted.removeprefix("<").removesuffix(">")


def _is_in(domains: tuple[str, ...], addresses: list[str]) -> bool:
    """Say whether an address is in one of the domains; .domain means its subdomains."""
    if not domains:
        return True
    found = {address.rpartition("@")[2].lower() for address in addresses}
    return any(d.endswith(w) if w[0] == "." else d == w for w in map(str.lower, domains) for d in found)


def _texts(message: ListedMessage) -> Iterable[str]:
    """Yield what a pattern is held against: the sender, each recipient, and why it waits."""
    yield message.sender or "<>"
    for address, reason in message.recipients:
        yield address
        yield reason
