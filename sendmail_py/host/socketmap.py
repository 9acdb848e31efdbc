"""socketmap_table(5): a table behind a socket, asked with netstrings.

A question has a limit of time. After a failure nobody is kept waiting for a few seconds: the look-up
fails at once, so that a server that is gone does not slow all mail down.
"""

import socket
import threading
import time

from ..formats.tables import netstring, socketmap_reply

SECONDS = 5.0
_PAUSE = 5.0
_LIMIT = 100_000


class Socketmap:
    """One map: inet:host:port:name or unix:path:name; raises ValueError for what is neither."""

    def __init__(self, text: str) -> None:
        kind, _, rest = text.partition(":")
        place, _, self._map = rest.rpartition(":")
        host, _, port = place.rpartition(":")
        is_inet = kind == "inet" and host != "" and port.isdigit()
        if not self._map or not (is_inet or (kind == "unix" and place.startswith("/"))):
            raise ValueError(f"socketmap:{text}: inet:host:port:name or unix:/path:name is expected")
        self._address: tuple[str, int] | str = (host.strip("[]"), int(port)) if is_inet else place
        self._end: socket.socket | None = None
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def look_up(self, key: str) -> str | None:
        """Return what the server says of a key; raises OSError, ValueError."""
        with self._lock:
            if time.monotonic() < self._closed_until:
                raise OSError("it has just failed, and is not asked for a few seconds")
            try:
                return self._ask(netstring(f"{self._map} {key}"))
            except OSError:
                self._closed_until = time.monotonic() + _PAUSE
                raise

    def _ask(self, question: bytes) -> str | None:
        deadline = time.monotonic() + SECONDS
        kept = self._end is not None
        try:
            return self._exchange(question, deadline)
        except TimeoutError:
            raise
        except OSError:
            if not kept:  # a connection that was kept may have been closed since
                raise
        return self._exchange(question, deadline)

    def _exchange(self, question: bytes, deadline: float) -> str | None:
        try:
            if self._end is None:
                self._end = self._connect(deadline)
            self._end.settimeout(max(0.01, deadline - time.monotonic()))
            self._end.sendall(question)
            return socketmap_reply(self._receive(self._end, deadline))
        except OSError:
            if self._end is not None:
                self._end.close()
            self._end = None
            raise

    def _connect(self, deadline: float) -> socket.socket:
        left = max(0.01, deadline - time.monotonic())
        if isinstance(self._address, tuple):
            return socket.create_connection(self._address, left)
        end = socket.socket(socket.AF_UNIX)
        try:
            end.settimeout(left)
            end.connect(self._address)
        except OSError:
            end.close()
            raise
        return end

    def _receive(self, end: socket.socket, deadline: float) -> bytes:
        data, wanted = b"", -1
        while wanted < 0 or len(data) < wanted:
            end.settimeout(max(0.01, deadline - time.monotonic()))
            block = end.recv(65536)
            if not block:
                raise OSError("the server has closed the connection")
            data += block
            if wanted < 0 and b":" in data:
                length, _, data = data.partition(b":")
                wanted = int(length) + 1 if length.isdigit() else _LIMIT + 1
            if wanted > _LIMIT or len(data) > _LIMIT:
                raise OSError("the server's answer is no netstring, or too large")
        if data[wanted - 1 :] != b",":
            raise OSError("the server's answer is no netstring")
        return data[: wanted - 1]
