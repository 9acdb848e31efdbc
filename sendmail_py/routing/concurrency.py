"""How many deliveries one destination gets at one time: Postfix's window with feedback.

The window begins small, grows with each delivery that its host takes, up to the limit, and shrinks with each
that fails because of the host. When as many have failed without a success between them as make
failed_cohort_limit whole windows, the destination is dead: it is left alone for a while, and then begins anew.
"""

import sys
from dataclasses import dataclass, field

_POWERS = {"concurrency": 1.0, "sqrt_concurrency": 0.5}


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one delivery changes: amount, divided by the window to some power."""

    amount: float = 1.0
    power: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Feedback":
        """Read a number from 0 to 1, also with /number, /concurrency or /sqrt_concurrency; raises ValueError."""
        number, slash, below = (part.strip() for part in text.partition("/"))
        try:
            amount = float(number)
            if slash and below not in _POWERS:
                amount /= float(below)
        except (ValueError, ZeroDivisionError):
            amount = -1.0
        if not 0 <= amount <= 1:
            raise ValueError(f"{text}: a number from 0 to 1 expected; /concurrency or /sqrt_concurrency may follow")
        return cls(amount, _POWERS.get(below, 0.0))

    def at(self, window: float) -> float:
        """Return the share of one delivery in a change by one."""
        return self.amount / float(window**self.power)


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of the destinations of one transport; 0 is no limit (recipients: of ours)."""

    concurrency: int = 20
    recipients: int = 50
    initial: int = 5
    rate_delay: float = 0.0
    positive: Feedback = field(default_factory=Feedback)
    negative: Feedback = field(default_factory=Feedback)
    cohorts: int = 1

    @property
    def limit(self) -> int:
        """The most deliveries at one time; with a pause between them there is one."""
        return 1 if self.rate_delay else self.concurrency or sys.maxsize


class Window:
    """The deliveries that one destination may have at this time."""

    __slots__ = ("_failed_cohorts", "_failure", "_success", "policy", "size")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.size = max(1, min(policy.initial, policy.limit))
        self._success = self._failure = self._failed_cohorts = 0.0

    def succeeded(self, running: int) -> None:
        """Note that the host took a delivery, while so many were under way."""
        self._failed_cohorts = 0.0
        p = self.policy
        if not self.size < min(p.limit, running + p.initial):
            return
        share = p.positive.at(self.size)
        self._success += share
        while share and self._success + share / 2 >= 1:
            self.size += 1
            self._success -= 1
            self._failure = 0.0
        self.size = min(self.size, p.limit)

    def failed(self) -> bool:
        """Note that the host failed; True when that makes the destination dead."""
        p = self.policy
        self._failed_cohorts += 1 / self.size
        if 0 < p.cohorts <= self._failed_cohorts:
            return True
        share = p.negative.at(self.size)
        self._failure -= share
        while share and self._failure - share / 2 < 0:
            self.size -= 1
            self._success = 0.0
            self._failure += 1
        self.size = max(1, self.size)
        return False

    def revive(self, running: int) -> None:
        """Begin anew; what is still under way says how much the host took."""
        self.size = max(1, min(running or self.policy.initial, self.policy.limit))
        self._success = self._failure = self._failed_cohorts = 0.0
