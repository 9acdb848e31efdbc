"""The log: Postfix's line shape, to syslog, a file or stdout, and never silently nowhere.

Without /dev/log the lines go to stderr. Several lines can be written at once (one system
call for a file). Control characters are written as \\xNN, so no line of a remote host or a
header can forge another line.
"""

import os
import socket
import time

_FACILITIES = {
    "kern": 0,
    "user": 1,
    "mail": 2,
    "daemon": 3,
    "auth": 4,
    "syslog": 5,
    "news": 7,
    "uucp": 8,
    "cron": 9,
} | {f"local{n}": 16 + n for n in range(8)}
_INFO = 6
_SOCKET_PATH = "/dev/log"


def escape(text: str) -> str:
    """Make text safe for one log line: controls, DEL, C1 and invalid octets become \\xNN."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\u00a0" else _escape_one(c) for c in text)


def _escape_one(c: str) -> str:
    if "\ud800" <= c <= "\udfff" and not "\udc80" <= c <= "\udcff":
        return f"\\u{ord(c):04x}"  # no octet stands behind it: JSON can name half a character
    return "".join(f"\\x{octet:02x}" for octet in c.encode("utf-8", "surrogateescape"))


def has_syslog() -> bool:
    """Say whether a syslog daemon listens here."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        try:
            end.connect(_SOCKET_PATH)
        except OSError:
            return False
    return True


class Log:
    """The log of one process; `service` is the name after the slash.

    file_descriptor is an open log file (the services inherit it from master); without one the
    lines go to syslog, and without a syslog to stderr.
    """

    def __init__(self, name: str, service: str, facility: str = "mail", file_descriptor: int = -1) -> None:
        self._tag = f"{name}/{service}[{os.getpid()}]"
        self._host = os.uname().nodename.partition(".")[0]
        self._priority = _FACILITIES.get(facility, 2) * 8 + _INFO
        self._fd = file_descriptor
        self._socket: socket.socket | None = None

    def move_to(self, file_descriptor: int) -> None:
        """Write to another open file from now on, as after the old one was rotated away."""
        old, self._fd = self._fd, file_descriptor
        if old > 2:
            os.close(old)

    def info(self, text: str) -> None:
        """Write one line."""
        self.lines([text])

    def warning(self, text: str) -> None:
        """Write one line marked as a warning."""
        self.lines(["warning: " + text])

    def error(self, text: str) -> None:
        """Write one line marked as an error."""
        self.lines(["error: " + text])

    def lines(self, texts: list[str]) -> None:
        """Write several lines in one go, in order."""
        if self._fd >= 0:
            self._to_descriptor(self._fd, texts)
        elif not self._to_syslog(texts):
            self._to_descriptor(2, texts)

    def _to_descriptor(self, descriptor: int, texts: list[str]) -> None:
        head = f"{time.strftime('%b %e %H:%M:%S')} {self._host} {self._tag}: "
        data = "".join(f"{head}{escape(text)}\n" for text in texts).encode("utf-8", "replace")
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            if descriptor != 2:
                self._to_descriptor(2, texts)

    def _to_syslog(self, texts: list[str]) -> bool:
        head = f"<{self._priority}>{time.strftime('%b %e %H:%M:%S')} {self._tag}: "
        for i, text in enumerate(texts):
            data = (head + escape(text)).encode("utf-8", "replace")
            if not self._send(data):
                if i:
                    self._to_descriptor(2, texts[i:])
                return i > 0
        return True

    def _send(self, data: bytes) -> bool:
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                    self._socket.connect(_SOCKET_PATH)
                self._socket.send(data)
                return True
            except OSError:
                if self._socket is not None:
                    self._socket.close()
                self._socket = None
        return False
