"""When a deferred message is tried again, and when it has waited too long.

All times are seconds since the epoch, all spans seconds.
"""

from dataclasses import dataclass

from ..core.config import Config

_SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class Schedule:
    """The retry policy: each pause is about as long as all before it together, between two bounds."""

    minimal_backoff: float
    maximal_backoff: float
    lifetime: float
    bounce_lifetime: float

    @classmethod
    def of(cls, config: Config) -> "Schedule":
        """Return the policy of a configuration."""
        return cls(
            config.minimal_backoff_time,
            config.maximal_backoff_time,
            config.maximal_queue_lifetime,
            config.bounce_queue_lifetime,
        )

    def next_attempt(self, now: float, arrived: float, chance: float) -> float:
        """Return when a message that has just been deferred is due.

        chance, from 0 to 1, parts messages that failed at one time, so that they do not all come back at one time.
        """
        age = max(0.0, now - arrived)
        pause = min(max(age, self.minimal_backoff), self.maximal_backoff / (1 + _SPREAD)) * (1 + _SPREAD * chance)
        return now + max(self.minimal_backoff, min(pause, self.maximal_backoff))

    def is_due(self, now: float, due: float) -> bool:
        """Say whether a deferred message is due; a time too far ahead means that the clock jumped."""
        return due <= now or due > now + self.maximal_backoff

    def is_expired(self, now: float, arrived: float, is_bounce: bool) -> bool:
        """Say whether a message is too old to keep; ask only after an attempt made now."""
        return now - arrived > (self.bounce_lifetime if is_bounce else self.lifetime)
