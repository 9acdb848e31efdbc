"""master's processes all together: started when they may, heard, and reaped when they have ended.

What a record or an end means is master's to say: heard() and ended() are told.
"""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ..core.config import Config
from ..host.sockets import receive_record
from ..host.syslog import Log
from .children import Child, Throttle, start


class Crew:
    """The services that run."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        config: Config,
        log: Log,
        heard: Callable[[Child, dict[str, Any]], None],
        ended: Callable[[Child, int], None],
    ) -> None:
        self._selector = selector
        self._heard = heard
        self._ended = ended
        self._children: dict[int, Child] = {}
        self._throttle = Throttle(config.service_throttle_time)
        self.configure(config, log)

    def configure(self, config: Config, log: Log) -> None:
        """Take what a configuration says of services that are started from now on."""
        self._config = config
        self._log = log
        self._throttle.longest = config.service_throttle_time

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def __len__(self) -> int:
        return len(self._children)

    def start(self, name: str, descriptors: dict[str, int]) -> Child | None:
        """Start a service; None where that cannot be, which is logged and put off."""
        try:
            child = start(name, self._config, descriptors)
        except OSError as error:
            self._log.error(f"cannot start {name}: {error}")
            self._throttle.ended(name, 0.0, False)
            return None
        self._children[child.pid] = child
        self._selector.register(child.lifeline, selectors.EVENT_READ, lambda: self._hear(child))
        return child

    def start_when_allowed(self, name: str, action: Callable[[str], None]) -> float:
        """Do what starts a service, unless it has to wait; returns for how many seconds yet."""
        wait = self._throttle.wait(name)
        if not wait:
            action(name)
        return wait

    def running(self, name: str) -> Child | None:
        """Return the service of a name, unless it is leaving."""
        return next((child for child in self if child.name == name and not child.is_leaving), None)

    def are_ready(self, names: Collection[str]) -> bool:
        """Say whether all of these do their work."""
        return all((child := self.running(name)) is not None and child.is_ready for name in names)

    def summary(self, needed: Collection[str]) -> str:
        """Return in a few words who does his work, and who of those that are needed does not."""
        names = sorted({child.name for child in self if child.is_ready})
        missing = [name for name in needed if name not in names]
        waits = f"; not ready: {', '.join(missing)}" if missing else ""
        return f"running: {' '.join(names) or 'nothing yet'}{waits}"

    def tell(self, names: Collection[str], what: str) -> None:
        """Have the services of these names do something."""
        for child in self:
            if child.name in names:
                child.tell({"do": what})

    def watch(self) -> None:
        """Have it noticed when a service that did not take all that it was told takes more."""
        for child in self:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.unsent else 0)
            with contextlib.suppress(KeyError, ValueError):  # it has ended, and reap() sees to it
                key = self._selector.get_key(child.lifeline)
                if key.events != events:
                    self._selector.modify(child.lifeline, events, key.data)

    def _hear(self, child: Child) -> None:
        child.send_rest()
        try:
            received = receive_record(child.lifeline)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            received = None
        if received is None:
            self._selector.unregister(child.lifeline)  # it has ended or is about to; reap() sees to it
            return
        self._heard(child, received[0])

    def note_end(self, child: Child, expected: bool) -> None:
        """Have the next service of this name wait, if its end was not expected."""
        self._throttle.ended(child.name, time.monotonic() - child.started, expected)

    def reap(self) -> None:
        """Take note of services that have ended."""
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(child.lifeline)
                child.close()
                self._ended(child, os.waitstatus_to_exitcode(status))

    def kill(self) -> None:
        """End what has not ended in time."""
        for child in self:
            self._log.warning(f"service {child.name} (pid {child.pid}) did not stop in time")
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return what `mailctl status` shows of the services, and of those that have to wait."""
        now = time.monotonic()
        waiting = {name: seconds for name, seconds in self._throttle.waiting().items() if not self.running(name)}
        return {
            "services": [
                {"name": c.name, "pid": c.pid, "uptime": round(now - c.started, 1), "ready": c.is_ready} for c in self
            ],
            "throttled": [{"name": name, "seconds": round(seconds, 1)} for name, seconds in waiting.items()],
        }
