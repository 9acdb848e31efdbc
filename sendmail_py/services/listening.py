"""master's part of the SMTP server: it holds the listening sockets, and starts smtpd when a client comes.

The sockets outlive every smtpd: a client that comes while none runs waits in the kernel, and is
what starts the next one. A port that cannot be had stops nothing else; a reload tries it again.
Sockets that systemd passes stay open for good, and main.cf opens none of the same kind then.
"""

import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from ..core.config import Config
from ..core.errors import ConfigError
from ..host.activation import Passed, passed_sockets
from ..host.file_watch import FileWatch
from ..host.listeners import Place, check_host, listen_at, places, split_port
from ..host.shared_counts import SLOTS, create, forget_process
from ..host.syslog import Log
from .children import Child
from .smtpd_certificates import tls_files, wants_tls
from .smtpd_kinds import PORTS, SMTP
from .tls_files import TLS_FILE, open_files

SMTPD = "smtpd"
COUNTS = "counts "  # before the slot, in the names of smtpd's descriptors; behind it:
EXTRA = "extra"
_OLD = 16  # processes that may go on serving clients of earlier configurations


class Entry(NamedTuple):
    """A place, and the kind of listener that is there."""

    kind: str
    place: Place

    def __str__(self) -> str:
        return f"{self.kind} {self.place}"


class Listening:
    """The sockets, by entry. client_waits is called when a client has come and the sockets are watched."""

    def __init__(self, selector: selectors.BaseSelector, client_waits: Callable[[], None]) -> None:
        self._selector = selector
        self._client_waits = client_waits
        self._open: dict[Entry, socket.socket] = {}
        self._passed: dict[Entry, socket.socket] | None = None
        self._watched = False
        self._certificates = FileWatch()
        self._look_at = 0.0
        self._counts = create()
        self._slots: dict[Child, int] = {}

    def bind(self, config: Config) -> list[str]:
        """Listen where main.cf says, and nowhere else any more; returns complaints."""
        was_watched = self._watched
        self.ignore()
        complaints: list[str] = []
        if self._passed is None:
            passed, complaints = passed_sockets()
            self._passed = {Entry(kind_of(one, config), one.place): one.socket for one in passed}
        wanted, faults = entries(config, {entry.kind for entry in self._passed})
        complaints += faults
        for entry in self._open.keys() - set(wanted):
            self._open.pop(entry).close()
        for entry in wanted:
            if entry not in self._open:
                complaints += self._bind(entry)
        if was_watched:
            self.watch()
        return complaints

    def _bind(self, entry: Entry) -> list[str]:
        try:
            end = listen_at(entry.place)
        except OSError as error:
            return [f"cannot listen on {entry.place}: {error.strerror}; no SMTP server there"]
        if end:
            self._open[entry] = end
        return []

    def _all(self) -> dict[Entry, socket.socket]:
        return {**self._open, **(self._passed or {})}

    def watch(self) -> None:
        """Wait for the next client."""
        if not self._watched:
            self._watched = True
            for end in self._all().values():
                self._selector.register(end, selectors.EVENT_READ, self._client_waits)

    def ignore(self) -> None:
        """Leave the clients to smtpd."""
        if self._watched:
            self._watched = False
            for end in self._all().values():
                self._selector.unregister(end)

    def start(self, start: Callable[[str, dict[str, int]], Child | None], config: Config, log: Log) -> bool:
        """Start smtpd with the sockets, and with the files of TLS, which may be root's alone; say whether it runs."""
        self._end_the_oldest()
        slot = next((slot for slot in range(SLOTS) if slot not in self._slots.values()), None)
        if slot is None:
            log.warning(f"no more than {SLOTS} processes of the SMTP server, with those that end after a reload")
            return False
        forget_process(self._counts, slot)
        ends = self._all()
        paths = tls_files(config) if wants_tls(config, (entry.kind for entry in ends)) else []
        files = open_files(paths, log, "the SMTP server offers no TLS")
        if not self.processes():  # one more process may find newer files than the others have
            self._certificates.note([name.removeprefix(TLS_FILE) for name in files])
        try:
            counts = {f"{COUNTS}{slot} {EXTRA if self.processes() else 'first'}": self._counts}
            child = start(SMTPD, {f"listen {entry}": end.fileno() for entry, end in ends.items()} | files | counts)
        finally:
            for descriptor in files.values():
                os.close(descriptor)
        if child:
            self._slots[child] = slot
        return child is not None

    def _end_the_oldest(self) -> None:
        """End the oldest of those that a reload has replaced as at a stop: a client may keep each of them for hours."""
        for child in [child for child in self._slots if child.is_leaving][:-_OLD]:
            child.tell({"do": "stop"})

    def ended(self, child: Child) -> None:
        """Take note of the end of a service: its connections count no more."""
        slot = self._slots.pop(child, None)
        if slot is not None:
            forget_process(self._counts, slot)

    def processes(self) -> int:
        """Return how many processes take clients."""
        return sum(not child.is_leaving for child in self._slots)

    def has_renewed_certificates(self, config: Config) -> bool:
        """Say whether the files of TLS are others now than those that smtpd has; looks from time to time."""
        now = time.monotonic()
        if not config.smtpd_tls_check_interval or now < self._look_at:
            return False
        self._look_at = now + config.smtpd_tls_check_interval
        return self._certificates.has_news()

    def close(self) -> None:
        """Stop listening."""
        self.ignore()
        for end in self._all().values():
            end.close()
        self._open.clear()
        self._passed = {}


def kind_of(one: Passed, config: Config) -> str:
    """Return what a socket of systemd's is for: its name says so, else its port."""
    if one.name in PORTS:
        return one.name
    for kind, parameter in PORTS.items():
        if one.place.port in (split_port(port)[1] for port in getattr(config, parameter)):
            return kind
    return SMTP


def entries(config: Config, without: set[str]) -> tuple[list[Entry], list[str]]:
    """Return where main.cf says to listen, for all kinds but some, and complaints."""
    found: list[Entry] = []
    complaints: dict[str, None] = {}
    for kind, parameter in PORTS.items():
        if kind in without:
            continue
        here, faults = places(config.inet_interfaces, config.inet_protocols, getattr(config, parameter))
        found += [Entry(kind, place) for place in here]
        complaints |= dict.fromkeys(faults)
    return found, list(complaints)


def check_ports(config: Config) -> None:
    """Raise ConfigError for a host or a port that is none, and for a port of two kinds."""
    kinds: dict[str, str] = {}
    for host in config.inet_interfaces:
        _refuse(_check_host, host, "inet_interfaces", config)
    for name in PORTS.values():
        for port in getattr(config, name):
            _refuse(_check_port, port, name, config)
            if kinds.setdefault(port, name) != name:
                raise ConfigError(f"{config.origin(name)}: {name}: {port} is {kinds[port]} already")


def _check_port(text: str) -> None:
    host, _ = split_port(text)
    if host:
        _check_host(host)


def _check_host(word: str) -> None:
    try:
        check_host(word)
    except ValueError as error:
        raise ValueError(f"{word}: {error}") from error


def _refuse(check: Callable[[str], None], text: str, name: str, config: Config) -> None:
    try:
        check(text)
    except ValueError as error:
        raise ConfigError(f"{config.origin(name)}: {name}: {error}") from error
