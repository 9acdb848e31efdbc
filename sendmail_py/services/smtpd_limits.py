"""How much one client may do: connections at one time, and connections, messages, recipients in a time unit.

A client is an IPv4 address or an IPv6 /64, which one host can fill alone. What all processes of the
server have counted is what counts; clients of smtpd_client_event_limit_exceptions are not counted.
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from ..core.config import Config
from ..core.envelope import Envelope
from ..formats import queue_file
from ..host.shared_counts import SharedCounts
from ..host.syslog import Log
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..routing.networks import Networks
from ..routing.restriction_scene import Client

_STRESSED, _STRESS_LASTS = 0.9, 1000.0
_FEW = 1000  # recipients, whose lines in a queue file are far from its limit
TOO_MANY_RECIPIENTS = replies.reply(452, "4.5.3", "Error: too many recipients")
_TOO_MANY_IN_ALL = replies.reply(421, "4.3.2", "Error: too many connections; try again later")


def too_long(envelope: Envelope) -> Reply | None:
    """Return the answer where the recipients of a message are more than a queue file holds."""
    if len(envelope.recipients) < _FEW:
        return None  # whatever stands in them
    return TOO_MANY_RECIPIENTS if len(queue_file.render(envelope)) > queue_file.HEAD_LIMIT else None


@lru_cache(1024)
def key_of(address: str) -> bytes:
    """Return what counts as one client, in 16 octets."""
    octets = ipaddress.ip_address(address).packed
    return octets.rjust(16, b"\xff") if len(octets) == 4 else octets[:8].ljust(16, b"\0")


class Rates:
    """The limits, as one process applies them. clock gives seconds that only grow, the same in all processes."""

    def __init__(
        self, config: Config, unlimited: Networks, log: Log, clock: Callable[[], float], counts: SharedCounts
    ) -> None:
        self._config = config
        self._unlimited = unlimited
        self._log = log
        self._clock = clock
        self._counts = counts
        self._unit = max(1, config.anvil_rate_time_unit)
        self._stressed_until = 0.0

    def opened(self, client: Client) -> Reply | None:
        """Count a connection; returns the answer where it is one too many."""
        own = self._counts.connect(key_of(client.address), 1)
        connections = self._counts.connections()
        self._note_stress(connections)
        if connections > self._config.smtpd_connection_limit:
            self._log.warning(f"smtpd_connection_limit exceeded: {connections} connections")
            return _TOO_MANY_IN_ALL
        if client.address in self._unlimited:
            return None
        limit = self._config.smtpd_client_connection_count_limit
        if limit and own > limit:
            self._log.warning(f"Connection concurrency limit exceeded: {own} from {client} for service smtp")
            host = self._config.myhostname
            return replies.reply(421, "4.7.0", f"{host} Error: too many connections from {client.address}")
        return self._event(client, "Connection", self._config.smtpd_client_connection_rate_limit, 421, "connection")

    def closed(self, client: Client) -> None:
        """Note the end of a connection."""
        self._counts.connect(key_of(client.address), -1)

    def _note_stress(self, connections: int) -> None:
        if connections <= int(self._config.smtpd_connection_limit) * _STRESSED:
            return
        if not self.is_stressed():
            self._log.warning(f"stress: {connections} of {self._config.smtpd_connection_limit} connections are in use")
        self._stressed_until = self._clock() + _STRESS_LASTS

    def is_stressed(self) -> bool:
        """Say whether nearly all connections are in use, or were a while ago: slow clients must go."""
        return bool(self._stressed_until) and self._clock() < self._stressed_until

    def login(self, client: Client) -> Reply | None:
        """Count an AUTH; returns the answer where it is one too many."""
        return self._event(client, "AUTH command", self._config.smtpd_client_auth_rate_limit, 450, "auth")

    def message(self, client: Client) -> Reply | None:
        """Count a MAIL; returns the answer where it is one too many."""
        return self._event(client, "Message delivery", self._config.smtpd_client_message_rate_limit, 450, "mail")

    def recipient(self, client: Client) -> Reply | None:
        """Count a RCPT; returns the answer where it is one too many."""
        return self._event(client, "Recipient address", self._config.smtpd_client_recipient_rate_limit, 450, "rcpt")

    def _event(self, client: Client, what: str, limit: int, code: int, name: str) -> Reply | None:
        if not limit or client.address in self._unlimited:
            return None
        count = self._counts.event(key_of(client.address), name, int(self._clock() / self._unit) + 1)
        if count <= limit:
            return None
        self._log.warning(f"{what} rate limit exceeded: {count} from {client} for service smtp")
        words = {
            "connection": "too many connections",
            "auth": "too many AUTH commands",
            "mail": "too much mail",
            "rcpt": "too many recipients",
        }[name]
        return replies.reply(code, "4.7.0" if code == 421 else "4.7.1", f"Error: {words} from {client.address}")
