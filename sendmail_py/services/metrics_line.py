"""master's part of the metrics: where they are read, and the way of all counts to the service that sums them up.

A service finds its end among its descriptors, as it finds the log. Without metrics_listen there is neither.
"""

import contextlib
import errno
import os
import socket
import stat

from ..core.config import Config
from ..core.endpoint import Endpoint, parse_endpoint
from ..core.errors import ConfigError
from ..host.listeners import Place, listen_at
from ..host.sockets import listen

METRICS = "metrics"
_ROOM = 4 << 20  # octets of counts that may wait while the service is busy


def endpoint_of(config: Config) -> Endpoint | None:
    """Return where metrics_listen says; raises ConfigError."""
    text = config.metrics_listen
    if not text:
        return None
    try:
        return parse_endpoint(
            text if ":" in text and text.split(":")[0] in ("inet", "unix", "local") else f"inet:{text}"
        )
    except ValueError as error:
        raise ConfigError(f"{config.origin('metrics_listen')}: metrics_listen: {error}") from error


class MetricsLine:
    """The sockets. They outlive the service; another metrics_listen needs a restart, since all services count there."""

    def __init__(self) -> None:
        self._path = ""
        self._listener: socket.socket | None = None
        self._sums: socket.socket | None = None
        self._counts: socket.socket | None = None

    def bind(self, config: Config) -> list[str]:
        """Listen where main.cf says; returns complaints."""
        endpoint = endpoint_of(config)
        if endpoint is None:
            return []
        try:
            self._listener = _listen(endpoint)
        except OSError as error:
            return [f"cannot listen on {endpoint}: {error.strerror}; no metrics there"]
        self._path = endpoint.host if endpoint.is_unix else ""
        self._sums, self._counts = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._counts.setblocking(False)
        self._counts.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        return []

    @property
    def names(self) -> tuple[str, ...]:
        """The service that has to run, where there are metrics."""
        return (METRICS,) if self._listener is not None else ()

    def of_service(self, name: str) -> dict[str, int]:
        """Return the descriptors that a service gets."""
        if self._listener is None or self._counts is None or self._sums is None:
            return {}
        if name == METRICS:
            return {"listener": self._listener.fileno(), "sums": self._sums.fileno()}
        return {"counts": self._counts.fileno()}

    def close(self) -> None:
        """Leave nothing behind."""
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def _listen(endpoint: Endpoint) -> socket.socket | None:
    if not endpoint.is_unix:
        return listen_at(Place(endpoint.host, endpoint.port))
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(endpoint.host).st_mode):
            raise FileExistsError(errno.EEXIST, "something that is no socket is there")
    return listen(endpoint.host, 0o666, socket.SOCK_STREAM)
