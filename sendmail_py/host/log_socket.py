"""The socket of a log daemon: syslog's, or journald's own.

Guarantees: a daemon that takes nothing holds a service up for 50 ms a second at most. What it does
not take is kept, up to a limit, and sent before the next lines; beyond the limit the oldest lines
go, and a line says how many. Threads may send at the same time.
"""

import errno
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

_KEPT = 2000
_PATIENCE = 0.05
_PAUSE = 1.0
_LONGEST = 8192  # octets of a datagram that is sent again when the whole was too large
_LOST = "warning: the log daemon has not taken {} lines, they are lost"


class LogSocket:
    """Sends lines to one path; datagram() makes a datagram of a line, at the time when it is written."""

    def __init__(self, path: str, datagram: Callable[[str], bytes]) -> None:
        self._path = path
        self._datagram = datagram
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._kept: deque[tuple[str, bytes]] = deque()
        self._lost = 0
        self._patient_from = 0.0

    def send(self, lines: list[str]) -> list[str]:
        """Send lines, in order; returns those for which there is nobody."""
        with self._lock:
            return self._sent(lines)

    def _sent(self, lines: list[str]) -> list[str]:
        self._kept.extend((line, self._datagram(line)) for line in lines)
        while self._kept and self._has_taken(self._kept[0][1]):
            self._kept.popleft()
            self._tell_of_loss()
        if self._socket is None:
            rest = [line for line, _ in self._kept]
            self._kept.clear()
            return rest
        while len(self._kept) > _KEPT:
            self._kept.popleft()
            self._lost += 1
        return []

    def _tell_of_loss(self) -> None:
        if self._lost:
            line = _LOST.format(self._lost)
            self._kept.appendleft((line, self._datagram(line)))
            self._lost = 0

    def _has_taken(self, data: bytes) -> bool:
        for _ in range(2):  # a daemon may have been started again
            try:
                end = self._socket or self._connect()
                return self._has_sent(end, data)
            except OSError:
                if self._socket is not None:
                    self._socket.close()
                self._socket = None
        return False

    def _connect(self) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            end.connect(self._path)
        except OSError:
            end.close()
            raise
        self._socket = end
        return end

    def _has_sent(self, end: socket.socket, data: bytes) -> bool:
        try:
            end.send(data)
        except BlockingIOError:
            return self._has_sent_later(end, data)
        except OSError as error:
            if error.errno != errno.EMSGSIZE or len(data) <= _LONGEST:
                raise
            end.send(data[:_LONGEST])
        return True

    def _has_sent_later(self, end: socket.socket, data: bytes) -> bool:
        if time.monotonic() < self._patient_from:
            return False
        poll = select.poll()
        poll.register(end, select.POLLOUT)
        if poll.poll(_PATIENCE * 1000):
            try:
                end.send(data)
                return True
            except BlockingIOError:
                pass
        self._patient_from = time.monotonic() + _PAUSE
        return False
