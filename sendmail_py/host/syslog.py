"""The log: Postfix's line shape, or JSON, to syslog, journald, a file or stdout, and never silently nowhere.

Without a log daemon the lines go to stderr. Several lines can be written at once (one system call
for a file). Control characters are written as \\xNN, so no line of a remote host or a header can
forge another line. Where journald listens at /dev/log, each line goes to it with its values as fields.
"""

import json
import os
import socket
import time
from collections import deque
from typing import Any

from ..core.config import Config
from ..formats.log_event import LEVELS, daemon_of, event, level_of
from .log_counts import LogCounts
from .log_socket import LogSocket

FACILITIES = {
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
_SOCKET_PATH = "/dev/log"
_JOURNAL_PATH = "/run/systemd/journal/socket"
_OF_JOURNALD = "/run/systemd/journal/"
ROOTS_LOG = "/var/log/sendmail-py.log"  # where stderr goes when root starts the services in the background
JSON = "json"


def escape(text: str) -> str:
    """Make text safe for one log line: controls, DEL, C1 and invalid octets become \\xNN."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\u00a0" else _escape_one(c) for c in text)


def _escape_one(c: str) -> str:
    if "\ud800" <= c <= "\udfff" and not "\udc80" <= c <= "\udcff":
        return f"\\u{ord(c):04x}"  # no octet stands behind it: JSON can name half a character
    return "".join(f"\\x{octet:02x}" for octet in c.encode("utf-8", "surrogateescape"))


def follow(old: int, new: int) -> None:
    """Let stderr, for what has no other way, go where the log goes from now on, if it went where the log was."""
    if old > 2 and new > 2 and os.path.sameopenfile(old, 2):
        os.dup2(new, 2)


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

    A line that Postfix's cleanup or bounce would write bears that name, as if it came from there.
    file_descriptor is an open log file (the services inherit it from master); without one the
    lines go to syslog or journald, and without these to stderr. log_format is postfix or json.
    """

    def __init__(
        self, name: str, service: str, facility: str = "mail", file_descriptor: int = -1, log_format: str = ""
    ) -> None:
        self._name, self._service, self._pid = name, service, os.getpid()
        self._plain_name = name  # without what renamed() puts after it
        self._host = os.uname().nodename.partition(".")[0]
        self._facility = FACILITIES.get(facility, 2)
        self._is_json = [log_format == JSON]  # as well
        self._file = [file_descriptor]  # shared with renamed() logs
        self._has_journal = False
        self._last_time = (-1, "")
        self._daemon: LogSocket | None = None
        self.counts: LogCounts | None = None

    @classmethod
    def of(cls, config: Config, service: str, file_descriptor: int) -> "Log":
        """Return the log that a configuration asks for."""
        return cls(config.syslog_name, service, config.syslog_facility, file_descriptor, config.log_format)

    def count_to(self, descriptor: int) -> deque[float]:
        """Count what the lines say, for the metrics, and send the counts there; returns where times of fsync go."""
        self.counts = LogCounts(descriptor, self._service)
        return self.counts.sync_times

    def renamed(self, name: str, service: str) -> "Log":
        """Return a log whose lines bear another name, and go where these go, also after move_to()."""
        other = Log(name, service)
        other._facility, other._file, other._is_json = self._facility, self._file, self._is_json
        other._plain_name = self._plain_name
        other.counts = self.counts
        return other

    def write_as(self, log_format: str) -> None:
        """Write lines of another shape from now on, also under other names."""
        self._is_json[0] = log_format == JSON

    def move_to(self, file_descriptor: int) -> None:
        """Write to another open file from now on, as after the old one was rotated away.

        It gets the number of the old one, for a thread may be writing there: that number must never be of a message.
        """
        follow(self._file[0], file_descriptor)
        if self._file[0] > 2:
            os.dup2(file_descriptor, self._file[0], inheritable=False)
            os.close(file_descriptor)
        else:
            self._file[0] = file_descriptor

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
        texts = [escape(text) for text in texts]
        if self.counts is not None:
            self.counts.take([event(text) for text in texts])
        if self._file[0] >= 0:
            self._to_descriptor(self._file[0], texts)
            return
        if self._daemon is None:
            self._has_journal = os.path.realpath(_SOCKET_PATH).startswith(_OF_JOURNALD)
            self._daemon = LogSocket(_JOURNAL_PATH if self._has_journal else _SOCKET_PATH, self._datagram)
        if rest := self._daemon.send(texts):
            self._to_descriptor(2, rest)

    def _to_descriptor(self, descriptor: int, texts: list[str]) -> None:
        head = f"{self._now()} {self._host} "
        lines = (self._json(text) if self._is_json[0] else f"{head}{self._writer(text)}{text}" for text in texts)
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            if descriptor != 2:
                self._to_descriptor(2, texts)

    def _now(self) -> str:
        """Return the time as a log has it; it is worked out once a second."""
        seconds = int(time.time())
        last, text = self._last_time
        if last != seconds:
            text = time.strftime("%b %e %H:%M:%S", time.localtime(seconds))
            self._last_time = seconds, text
        return text

    def _writer(self, text: str) -> str:
        """Return who writes a line, as it stands before the text."""
        daemon = daemon_of(text)
        name = f"{self._plain_name}/{daemon}" if daemon else f"{self._name}/{self._service}"
        return f"{name}[{self._pid}]: "

    def _datagram(self, text: str) -> bytes:
        return self._entry(text) if self._has_journal else self._packet(text)

    def _packet(self, text: str) -> bytes:
        """Return a line as syslog takes it (RFC 3164, as every C library sends it)."""
        priority = self._facility * 8 + LEVELS[level_of(text)]
        head = f"<{priority}>{self._now()} {self._writer(text)}"
        return (head + (self._json(text) if self._is_json[0] else text)).encode("utf-8", "replace")

    def _entry(self, text: str) -> bytes:
        """Return a line as an entry of the journal (systemd's native protocol): its values are fields MAIL_NAME."""
        fields: dict[str, Any] = {
            "MESSAGE": self._json(text) if self._is_json[0] else text,
            "PRIORITY": LEVELS[level_of(text)],
            "SYSLOG_FACILITY": self._facility,
            "SYSLOG_IDENTIFIER": self._writer(text).partition("[")[0],
            "SYSLOG_PID": self._pid,
        }
        for name, value in event(text).items():
            if name not in ("message", "level"):
                shown = "/".join(map(str, value.values())) if isinstance(value, dict) else value
                fields["MAIL_" + name.upper()] = shown
        return "".join(f"{name}={value}\n" for name, value in fields.items()).encode("utf-8", "replace")

    def _json(self, text: str) -> str:
        now = time.time()
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
        name, service = (self._plain_name, daemon) if (daemon := daemon_of(text)) else (self._name, self._service)
        head = {"time": when, "host": self._host, "name": name, "service": service, "pid": self._pid}
        return json.dumps(head | event(text), ensure_ascii=False)
