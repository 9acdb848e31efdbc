"""How busy a process of the SMTP server is: when another one would help, and when one is enough.

Another one costs less than a client that waits: a second is long. That one is enough has to be seen for longer.
"""

_BUSY, _BUSY_SECONDS = 0.6, 1.0
_CALM, _CALM_SECONDS = 0.05, 10.0


class Load:
    """Times are passed in, in seconds: the clock, and what host/cpu.py says."""

    def __init__(self, now: float, spent: float) -> None:
        self._last = now, spent
        self._not_busy = self._not_calm = now  # when that was last so

    def note(self, now: float, spent: float) -> None:
        """Take note of what was spent since the last time."""
        then, before = self._last
        self._last = now, spent
        share = (spent - before) / max(now - then, 0.001)
        if share < _BUSY:
            self._not_busy = now
        if share > _CALM:
            self._not_calm = now

    def is_busy(self) -> bool:
        """Say whether one processor has been hardly enough for a while."""
        return self._last[0] - self._not_busy >= _BUSY_SECONDS

    def is_calm(self) -> bool:
        """Say whether there has been next to nothing to do for a while."""
        return self._last[0] - self._not_calm >= _CALM_SECONDS
