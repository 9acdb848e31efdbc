"""destination_limits: how much a provider gets at one time and in a time, whatever domains it has.

A line names domains and what holds for them together:

    gmail.com google.com concurrency=10 rate=30/min
    outlook.com concurrency=5

A destination falls under each line that has its nexthop, or one of its mail exchangers, or a parent domain of
either; every limit that it falls under holds. Rates are kept by even pauses, so no window of time ever has more.
"""

from collections.abc import Iterable

_UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "m": 60, "minute": 60, "h": 3600, "hour": 3600} | {
    "d": 86400,
    "day": 86400,
}
_FORM = "domains, then concurrency=N or rate=N/min (s, min, hour, day) expected"


class Limit:
    """One line: its domains, the most deliveries at one time (0: any), the seconds between two messages.

    running and free_at are where it stands.
    """

    __slots__ = ("concurrency", "free_at", "names", "pause", "running")

    def __init__(self, names: tuple[str, ...], concurrency: int = 0, pause: float = 0.0) -> None:
        self.names = frozenset(names)
        self.concurrency = concurrency
        self.pause = pause
        self.running = 0
        self.free_at = 0.0

    def key(self) -> tuple[frozenset[str], int, float]:
        """Return what the line says."""
        return self.names, self.concurrency, self.pause

    def is_for(self, host: str) -> bool:
        """Say whether a host, or a domain that it lies in, is named."""
        while host:
            if host in self.names:
                return True
            host = host.partition(".")[2]
        return False

    def has_room(self) -> bool:
        """Say whether one more delivery may be under way."""
        return not self.concurrency or self.running < self.concurrency

    def begin(self, now: float, messages: int) -> None:
        """Count a delivery of so many messages."""
        self.running += 1
        self.free_at = max(now, self.free_at) + self.pause * messages


def parse(words: Iterable[str]) -> list[Limit]:
    """Read destination_limits; raises ValueError."""
    limits: list[Limit] = []
    names: list[str] = []
    limit: Limit | None = None
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            if limit is not None:
                names, limit = [], None
            names.append(_domain(word))
            continue
        if not names:
            raise ValueError(f"{word}: {_FORM}")
        if limit is None:
            limit = Limit(tuple(names))
            limits.append(limit)
        _set(limit, name, value)
    if names and limit is None:
        raise ValueError(f"{names[-1]}: {_FORM}")
    return limits


def _domain(word: str) -> str:
    name = word.lower().strip("[]").strip(".")
    if not name or any(c in "/:@," for c in name):
        raise ValueError(f"{word}: {_FORM}")
    return name


def _set(limit: Limit, name: str, value: str) -> None:
    if name == "concurrency" and _is_count(value):
        limit.concurrency = int(value)
        return
    count, _, unit = value.partition("/")
    if name == "rate" and _is_count(count) and unit in _UNITS:
        limit.pause = _UNITS[unit] / int(count)
        return
    raise ValueError(f"{name}={value}: {_FORM}")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def host_of(nexthop: str) -> str:
    """Return the name in a nexthop: less brackets and port, in lower case."""
    name = nexthop.partition(" ")[0].partition(",")[0].lower()
    if name[:1] == "[":
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")
