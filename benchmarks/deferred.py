"""A great queue of deferred mail in both systems: start and new mail beside it, what it costs to see and to steer.

The queue is filled by SMTP with mail for fifty domains, whose transport defer_transports keeps back for hours: each
message has gone through accepting, queueing and a first attempt. New mail is local, and is delivered. All is
measured with no queue, with a small one and with a great one: what a message costs should be the same in both.

Both systems are filled before either is listed, and the listings alternate, so that what else the machine does is the
same for both.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

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
_LISTINGS = 3


class Deferred:
    """The scenario, for all systems at once.

    submit(system, count, parallel, pattern) submits as a user, send(...) sends by SMTP.
    """

    def __init__(self, submit: Callable[..., dict], send: Callable[..., float], systems: list[System]) -> None:
        self._submit = submit
        self._send = send
        self._systems = systems
        self._found: dict[str, dict[str, float]] = {}

    def measure(self, system: System) -> dict[str, float]:
        """Return the figures of a system; the first that is asked for has all of them measured."""
        if system.name not in self._found:
            self._measure_all()
        return self._found.pop(system.name)

    def _measure_all(self) -> None:
        self._found = {system.name: {} for system in self._systems}
        try:
            for count in (0, SMALL, GREAT):
                self._of_size(count)
        except BaseException:
            self._found.clear()
            raise
        finally:
            for system in self._systems:
                system.stop()
            self._systems = self._systems[::-1]  # their order turns from round to round

    def _of_size(self, count: int) -> None:
        """Measure no queue, a small one or a great one."""

        def note(system: System, figures: Iterable[tuple[str, float]]) -> None:
            self._found[system.name] |= {f"{count} deferred: {name}": value for name, value in figures}

        for system in self._systems:
            note(system, self._filled(system, count))
            system.stop()
        if not count:
            return
        listings: dict[str, list[tuple[float, float]]] = {}
        for _ in range(_LISTINGS):
            for system in self._systems:
                _begin(system)
                listings.setdefault(system.name, []).append(_listing(system, count))
                system.stop()
        for system in self._systems:
            first, whole = map(statistics.median, zip(*listings[system.name], strict=True))
            note(system, [("mailq, first row ms", first * 1e3), ("mailq us each", whole / count * 1e6)])
            _begin(system)
            note(system, _looks(system))
            note(system, self._steers(system, count))
            system.stop()

    def _filled(self, system: System, count: int) -> Iterator[tuple[str, float]]:
        """Fill a queue, and measure a start and new mail with it."""
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

    def _fill(self, system: System, count: int) -> float:
        """Have so much mail deferred; returns what the services spent on each message, in us."""
        before = system.root.cpu()
        sent = 0
        for number in range(_DOMAINS):
            share = count // _DOMAINS + (number < count % _DOMAINS)
            self._send(share, 20, _SIZE, to=f"bob@d{number}.example")
            sent += share
            if number % 5 == 4:
                _say(system, f"{sent} of {count} accepted")

        def is_deferred() -> bool:
            _say(system, f"{sum(1 for _ in system.files(system.rest()))} of {count} deferred")
            return system.at_rest(count)

        wait_until(is_deferred, f"{system.name}: {count} are deferred", _PATIENCE, 1 + count / 1e5)
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


def _say(system: System, what: str) -> None:
    """Say how far it is, for a great queue takes minutes."""
    print(f"deferred, {system.name}: {what}", file=sys.stderr, flush=True)


def _begin(system: System) -> None:
    """Start a system with the queue that it has."""
    system.start()
    _wait_for_rest(system)


def _looks(system: System) -> Iterator[tuple[str, float]]:
    """Measure what else an administrator looks at."""
    for name, ask in system.looks().items():
        ask()  # what is worked out once is worked out
        times = []
        for _ in range(5):
            started = time.monotonic()
            ask()
            times.append(time.monotonic() - started)
        yield f"{name} ms", statistics.median(times) * 1e3


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
