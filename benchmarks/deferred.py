"""A great queue of deferred mail in both systems: start and new mail beside it, what it costs to see and to steer.

The queue is filled by SMTP with mail for fifty domains, whose transport defer_transports keeps back for hours: each
message has gone through accepting, queueing and a first attempt. New mail is local, and is delivered. All is
measured with no queue, with a small one and with a great one: what a message costs should be the same in both.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator

from lab import LabError, wait_until
from systems import System

SMALL = 1000
GREAT = int(os.environ.get("DEFERRED") or 5000)
USER = "u0@test.example"
_DOMAINS = 50
_SIZE = 2048
_NEW = 30
_ALONE = 100
_PATIENCE = 1200


class Deferred:
    """The scenario; submit(system, count, parallel, pattern) submits as a user, send(...) sends by SMTP."""

    def __init__(self, submit: Callable[..., dict], send: Callable[..., float]) -> None:
        self._submit = submit
        self._send = send

    def measure(self, system: System) -> dict[str, float]:
        """Measure no queue, a small one and a great one."""
        figures = {}
        for count in (0, SMALL, GREAT):
            figures |= {f"{count} deferred: {name}": value for name, value in self._of_size(system, count)}
        return figures

    def _of_size(self, system: System, count: int) -> Iterator[tuple[str, float]]:
        system.prepare(held=False, listens=True, waits=True)
        if count:
            yield "fill, CPU us each", self._fill(system, count)
        system.stop()
        self._submit(system, 1, 1, USER)
        started = time.monotonic()
        system.start()
        wait_until(lambda: system.delivered() == 1, f"{system.name}: the first delivery", 120, 0.005)
        yield "start to delivery ms", (time.monotonic() - started) * 1e3
        _wait_for_rest(system)  # the rest of the queue is looked through
        yield from self._new_mail(system)
        yield "memory MB", system.root.pss() / 1000
        if count:
            yield from self._looks(system, count)
            yield from self._steers(system, count)

    def _fill(self, system: System, count: int) -> float:
        """Have so much mail deferred; returns what the services spent on each message, in us."""
        before = system.root.cpu()
        for number in range(_DOMAINS):
            share = count // _DOMAINS + (number < count % _DOMAINS)
            self._send(share, 20, _SIZE, to=f"bob@d{number}.example")
        wait_until(lambda: system.at_rest(count), f"{system.name}: {count} are deferred", _PATIENCE, 1 + count / 1e5)
        return (system.root.cpu() - before) / count * 1e6

    def _new_mail(self, system: System) -> Iterator[tuple[str, float]]:
        before = system.delivered()
        latencies = sorted(self._submit(system, _ALONE, 1, USER)["latencies"])
        wait_until(lambda: system.delivered() == before + _ALONE, f"{system.name}: new mail is delivered", 60)
        yield "submit p50 ms", latencies[_ALONE // 2] * 1e3
        waits = []
        for number in range(_NEW):
            begun = self._submit(system, 1, 1, USER)["begun"][0]
            wanted = before + _ALONE + number + 1
            wait_until(lambda wanted=wanted: system.delivered() == wanted, f"{system.name}: new mail", 60, 0.005)
            waits.append(system.mailbox(USER.partition("@")[0]).stat().st_mtime - begun)
        yield "submit to mailbox p50 ms", sorted(waits)[_NEW // 2] * 1e3
        spent = system.root.cpu()
        self._submit(system, 5 * _ALONE, 2, USER)
        wanted = before + _ALONE + _NEW + 5 * _ALONE
        wait_until(lambda: system.delivered() == wanted, f"{system.name}: new mail", 60, 0.2)
        yield "new mail, CPU us each", (system.root.cpu() - spent) / (5 * _ALONE) * 1e6

    def _looks(self, system: System, count: int) -> Iterator[tuple[str, float]]:
        first, whole = _listing(system, count)
        yield "mailq, first row ms", first * 1e3
        yield "mailq us each", whole / count * 1e6
        for name, ask in system.looks().items():
            ask()  # what is worked out once is worked out
            times = []
            for _ in range(5):
                started = time.monotonic()
                ask()
                times.append(time.monotonic() - started)
            yield f"{name} ms", sorted(times)[2] * 1e3

    def _steers(self, system: System, count: int) -> Iterator[tuple[str, float]]:
        """Hold all, delete a half, release the other; have that made anew, and while that goes on delete all."""
        yield "hold msgs/s", count / _seconds(lambda: system.steer("hold"))
        half = [file.name for file in system.files("hold")][: count // 2]
        yield "delete msgs/s", len(half) / _seconds(lambda: system.steer("delete", half))
        yield "release msgs/s", (count - len(half)) / _seconds(lambda: system.steer("release"))
        system.steer("requeue")
        yield "delete beside requeues msgs/s", (count - len(half)) / _seconds(lambda: system.steer("delete"))

        def is_empty() -> bool:
            if not system.is_empty():
                system.steer("delete")  # what had been under way as something new
            return system.is_empty()

        wait_until(is_empty, f"{system.name}: all are deleted", 120, 0.5)


def _wait_for_rest(system: System) -> None:
    """Wait until the services have nothing more to do."""
    before = -1.0
    while (now := system.root.cpu()) - before > 0.02:
        before = now
        time.sleep(1)


def _seconds(action: Callable[[], None]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _listing(system: System, count: int) -> tuple[float, float]:
    """Return the seconds until the first row of mailq and until its end; raises LabError unless all are listed."""
    started = time.monotonic()
    with subprocess.Popen(system.root.command(system.mailq), stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.readline()
        first = time.monotonic() - started
        rows = process.stdout.read().count(b"bob@")
    if rows != count:
        raise LabError(f"{system.name}: mailq lists {rows} of {count}")
    return first, time.monotonic() - started
