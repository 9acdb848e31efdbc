"""master's part of the SMTP server: it holds the listening sockets, and starts smtpd when a client comes.

The sockets outlive every smtpd: a client that comes while none runs waits in the kernel, and is
what starts the next one. A port that cannot be had stops nothing else; a reload tries it again.
"""

import os
import selectors
import socket
from collections.abc import Callable

from ..core.config import Config
from ..core.errors import ConfigError
from ..host.listeners import Place, listen_at, places, port_number
from ..host.syslog import Log
from .smtpd_rules import TLS_FILE, tls_files

SMTPD = "smtpd"


class Listening:
    """The sockets, by place. client_waits is called when a client has come and the sockets are watched."""

    def __init__(self, selector: selectors.BaseSelector, client_waits: Callable[[], None]) -> None:
        self._selector = selector
        self._client_waits = client_waits
        self._open: dict[Place, socket.socket] = {}
        self._watched = False

    def bind(self, config: Config) -> list[str]:
        """Listen where main.cf says, and nowhere else any more; returns complaints."""
        was_watched = self._watched
        self.ignore()
        wanted, complaints = places(config.inet_interfaces, config.inet_protocols, config.smtpd_port)
        for place in self._open.keys() - set(wanted):
            self._open.pop(place).close()
        for place in wanted:
            if place in self._open:
                continue
            try:
                end = listen_at(place)
            except OSError as error:
                complaints.append(f"cannot listen on {place}: {error.strerror}; no SMTP server there")
                continue
            if end:
                self._open[place] = end
        if was_watched:
            self.watch()
        return complaints

    def watch(self) -> None:
        """Wait for the next client."""
        if not self._watched:
            self._watched = True
            for end in self._open.values():
                self._selector.register(end, selectors.EVENT_READ, self._client_waits)

    def ignore(self) -> None:
        """Leave the clients to smtpd."""
        if self._watched:
            self._watched = False
            for end in self._open.values():
                self._selector.unregister(end)

    def start(self, start: Callable[[str, dict[str, int]], bool], config: Config, log: Log) -> bool:
        """Start smtpd with the sockets, and with the files of TLS, which may be root's alone; say whether it runs."""
        files = _open_files(config, log)
        try:
            return start(SMTPD, {f"listen {place}": end.fileno() for place, end in self._open.items()} | files)
        finally:
            for descriptor in files.values():
                os.close(descriptor)

    def close(self) -> None:
        """Stop listening."""
        self.ignore()
        for end in self._open.values():
            end.close()
        self._open.clear()


def _open_files(config: Config, log: Log) -> dict[str, int]:
    """Open the files of TLS; what cannot be read is logged, and then there is none."""
    opened: dict[str, int] = {}
    for path in tls_files(config):
        try:
            opened[TLS_FILE + path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.error(f"{path}: {error.strerror}; the SMTP server offers no TLS")
            for descriptor in opened.values():
                os.close(descriptor)
            return {}
    return opened


def check_ports(config: Config) -> None:
    """Raise ConfigError for a port that is none."""
    for port in config.smtpd_port:
        try:
            port_number(port)
        except ValueError as error:
            raise ConfigError(f"{config.origin('smtpd_port')}: smtpd_port: {error}") from error
