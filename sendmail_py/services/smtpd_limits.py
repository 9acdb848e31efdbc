"""How much one client may do: connections at one time, and connections, messages, recipients a minute.

A client is an IPv4 address or an IPv6 /64, which one host can fill alone. Counts are kept by the
one process that serves them all; clients of smtpd_client_event_limit_exceptions are not counted.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable

from ..core.config import Config
from ..host.syslog import Log
from ..protocol import server_replies as replies
from ..protocol.reply import Reply
from ..routing.networks import Networks
from ..routing.restriction_scene import Client

_MINUTE = 60.0
_TOO_MANY_IN_ALL = replies.reply(421, "4.3.2", "Error: too many connections; try again later")


def key_of(address: str) -> str:
    """Return what counts as one client."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))


class Rates:
    """The counts of one server. clock gives seconds that only grow."""

    def __init__(self, config: Config, unlimited: Networks, log: Log, clock: Callable[[], float]) -> None:
        self._config = config
        self._unlimited = unlimited
        self._log = log
        self._clock = clock
        self._minute = 0.0
        self._events: Counter[tuple[str, str]] = Counter()
        self._open: Counter[str] = Counter()
        self.connections = 0

    def opened(self, client: Client) -> Reply | None:
        """Count a connection; returns the answer where it is one too many."""
        key = key_of(client.address)
        self.connections += 1
        self._open[key] += 1
        host = self._config.myhostname
        if self.connections > self._config.smtpd_connection_limit:
            self._log.warning(f"smtpd_connection_limit exceeded: {self.connections} connections")
            return _TOO_MANY_IN_ALL
        if client.address in self._unlimited:
            return None
        limit = self._config.smtpd_client_connection_count_limit
        if limit and self._open[key] > limit:
            self._log.warning(
                f"Connection concurrency limit exceeded: {self._open[key]} from {client} for service smtp"
            )
            return replies.reply(421, "4.7.0", f"{host} Error: too many connections from {client.address}")
        return self._event(client, "Connection", self._config.smtpd_client_connection_rate_limit, 421, "connections")

    def closed(self, client: Client) -> None:
        """Note the end of a connection."""
        key = key_of(client.address)
        self.connections -= 1
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def message(self, client: Client) -> Reply | None:
        """Count a MAIL; returns the answer where it is one too many."""
        return self._event(client, "Message delivery", self._config.smtpd_client_message_rate_limit, 450, "mail")

    def recipient(self, client: Client) -> Reply | None:
        """Count a RCPT; returns the answer where it is one too many."""
        return self._event(client, "Recipient address", self._config.smtpd_client_recipient_rate_limit, 450, "rcpt")

    def _event(self, client: Client, what: str, limit: int, code: int, name: str) -> Reply | None:
        if not limit or client.address in self._unlimited:
            return None
        now = self._clock()
        if now - self._minute >= _MINUTE:
            self._minute = now
            self._events.clear()
        key = name, key_of(client.address)
        self._events[key] += 1
        if self._events[key] <= limit:
            return None
        self._log.warning(f"{what} rate limit exceeded: {self._events[key]} from {client} for service smtp")
        words = {"connections": "too many connections", "mail": "too much mail", "rcpt": "too many recipients"}[name]
        return replies.reply(code, "4.7.0" if code == 421 else "4.7.1", f"Error: {words} from {client.address}")
