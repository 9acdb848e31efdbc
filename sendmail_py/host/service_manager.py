"""What the service manager (systemd) is told of master: sd_notify(3) and sd_watchdog_enabled(3).

Guarantees: a process that nobody supervises says nothing; what is said never fails and never
waits; no process that is started from here speaks in master's name, for the variables are taken
out of the environment.
"""

import os
import socket
import time

_MICROSECONDS = 1_000_000


class ServiceManager:
    """The way to the manager, when there is one: Type=notify or notify-reload, with or without WatchdogSec."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address[:1] == "@" else address
        self._pause = watchdog / 2
        self._due = 0.0
        self._status = ""

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is complete."""
        self._status = status
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload begins; ready() ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=reading main.cf again")

    def stopping(self, status: str) -> None:
        """Say that the stop has begun."""
        self._status = status
        self._tell("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Say how it goes, in one line, when that has changed."""
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")

    def alive(self) -> float:
        """Say that master's loop turns, when that is due; returns the seconds in which to say it again."""
        if not self._pause:
            return float("inf")
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._pause
            self._tell("WATCHDOG=1")
        return self._due - now

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        data = "\n".join(line.replace("\n", " ") for line in lines).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
                end.sendto(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address)
        except OSError:
            return  # without the manager mail goes on; it sees by itself that it heard nothing


def from_environment() -> ServiceManager:
    """Return the manager that has started this process, and take it out of the environment."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    interval, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    if address[:1] not in ("/", "@"):
        return ServiceManager()
    meant = interval.isascii() and interval.isdigit() and pid in ("", str(os.getpid()))
    return ServiceManager(address, int(interval) / _MICROSECONDS if meant else 0.0)
