"""master's processes: starting a service, knowing how it does, and starting it again.

A service is executed afresh, never forked bare, with one end of a socket pair and nothing else
of master's. One that keeps dying is started at growing intervals.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.config import Config
from ..host.sockets import pair, send_record
from .service import encode_settings

_MAIN = f"{os.path.dirname(os.path.abspath(__file__))}/__main__.py"
_LIFELINE = 3
_STEADY_SECONDS = 10.0
_LAST_COUNTS = ("reload", "look")


@dataclass(slots=True, eq=False)
class Child:
    """One running service."""

    name: str
    pid: int
    lifeline: socket.socket
    started: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    is_leaving: bool = False
    unsent: list[tuple[dict[str, Any], list[int]]] = field(default_factory=list)

    def tell(self, record: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a record, in its turn: what a service that is stopped or busy cannot take now waits for send_rest()."""
        if not self.unsent and self._send(record, descriptors):
            return
        if record.get("do") in _LAST_COUNTS:  # so that no more waits than there are things to say
            self._forget(lambda waiting: waiting.get("do") == record["do"])
        with contextlib.suppress(OSError):  # out of descriptors: as if the service were gone
            self.unsent.append((record, [os.dup(descriptor) for descriptor in descriptors]))

    def send_rest(self) -> None:
        """Send what has waited, as far as it can be taken now."""
        while self.unsent and self._send(*self.unsent[0]):
            _close(self.unsent.pop(0)[1])

    def _send(self, record: dict[str, Any], descriptors: Sequence[int]) -> bool:
        """Send a record; False when it has to wait. A service that is gone needs none."""
        try:
            send_record(self.lifeline, record, list(descriptors))
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _forget(self, chosen: Callable[[dict[str, Any]], bool]) -> None:
        for waiting in [waiting for waiting in self.unsent if chosen(waiting[0])]:
            self.unsent.remove(waiting)
            _close(waiting[1])

    def close(self) -> None:
        """Let go of a service that has ended."""
        self.lifeline.close()
        self._forget(lambda waiting: True)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def is_one_user(config: Config) -> bool:
    """Say whether all runs as the user who started it: any ordinary user, or root by mail_owner = root."""
    return os.getuid() != 0 or config.mail_owner == "root"


def user_of(name: str, config: Config) -> str:
    """Return the user that a service becomes; "" for the one master runs as."""
    if is_one_user(config):
        return ""
    if name in ("local", "virtual"):
        return ""
    return str(config.net_owner if name in ("smtp", "lmtp") else config.mail_owner)


def start(name: str, config: Config, descriptors: dict[str, int]) -> Child:
    """Start a service and send it what it needs; raises OSError."""
    ours, theirs = pair()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, null, 1),
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), _LIFELINE),
        ]
        words = [sys.executable, "-I", _MAIN, name, str(_LIFELINE)]
        pid = os.posix_spawn(sys.executable, words, _environment(), file_actions=actions, setsid=True)
    finally:
        os.close(null)
        theirs.close()
    child = Child(name, pid, ours)
    record = {"settings": encode_settings(config), "user": user_of(name, config), "one_user": is_one_user(config)}
    child.tell(record | {"descriptors": list(descriptors)}, list(descriptors.values()))
    ours.setblocking(False)
    return child


def _environment() -> dict[str, str]:
    """Return what services see of the environment: the time zone, and a PATH of the system's."""
    kept = {name: os.environ[name] for name in ("TZ",) if name in os.environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **kept}


class Throttle:
    """When a service may be started again: at once after a steady run, else after a growing pause."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self._pause: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def ended(self, name: str, ran: float, expected: bool) -> None:
        """Note the end of a service that ran for so many seconds."""
        now = time.monotonic()
        if expected or ran > _STEADY_SECONDS:
            self._pause.pop(name, None)
            self._not_before[name] = now
            return
        pause = self._pause[name] = min(self.longest, self._pause.get(name, 0.25) * 2)
        self._not_before[name] = now + pause

    def waiting(self) -> dict[str, float]:
        """Return the services that have to wait, and for how many seconds yet."""
        return {name: wait for name in self._not_before if (wait := self.wait(name))}

    def wait(self, name: str) -> float:
        """Return the seconds until the service may be started."""
        return max(0.0, self._not_before.get(name, 0.0) - time.monotonic())
