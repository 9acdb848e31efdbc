"""Which name servers are asked: those of a parameter, or those of resolv.conf(5) as it is now."""

import os
import re
from collections.abc import Sequence
from typing import overload

from ..core.config import Config
from ..core.errors import ConfigError

_SERVER = re.compile(
    r"\[(?P<v6>[^\]]+)\](?::(?P<port6>\d+))?|(?P<host>[^:]+)(?::(?P<port>\d+))?|(?P<bare6>[^:]*:[^:]*:.*)"
)

Server = tuple[str, int]


def parse_server(text: str) -> Server:
    """Read "host:port", "[IPv6]:port" or an address alone; raises ValueError."""
    found = _SERVER.fullmatch(text)
    if not found:
        raise ValueError(f"not a name server: {text}")
    host = found["v6"] or found["host"] or found["bare6"]
    return host, int(found["port6"] or found["port"] or 53)


def servers_of(config: Config) -> Sequence[Server]:
    """Return the name servers that a configuration names, else the system's; raises ConfigError."""
    try:
        return [parse_server(text) for text in config.resolver_nameservers] or system_servers()
    except ValueError as error:
        raise ConfigError(f"{config.origin('resolver_nameservers')}: resolver_nameservers: {error}") from error


def system_servers(path: str = "/etc/resolv.conf") -> Sequence[Server]:
    """Return the name servers of resolv.conf(5), as it is whenever they are asked; this host when it names none."""
    return _SystemServers(path)


class _SystemServers(Sequence[Server]):
    """Read again when the file has changed: networks come and go while the services run."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._servers: list[Server] = []

    def _now(self) -> list[Server]:
        try:
            status = os.stat(self._path)
            stamp: tuple[int, ...] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            stamp = ()
        if stamp != self._stamp:
            self._stamp, self._servers = stamp, _read_servers(self._path)
        return self._servers

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, index: int) -> Server: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Server]: ...
    def __getitem__(self, index: int | slice) -> Server | Sequence[Server]:
        return self._now()[index]


def _read_servers(path: str) -> list[Server]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        words = []
    return [(line[1], 53) for line in words if len(line) > 1 and line[0] == "nameserver"] or [("127.0.0.1", 53)]
