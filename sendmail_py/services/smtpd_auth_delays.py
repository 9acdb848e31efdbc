"""How long an answer to a login waits: failures of late, of the client or of the account, double the time.

Both good and bad answers wait, so that nobody learns from the waiting. All processes of the server count
together. Guarantees: guessing at an account from many addresses slows the guesses down, and not the
clients that have logged in there; failures are remembered for ten minutes at least, and for twenty at most.
"""

import hashlib
from collections.abc import Callable

from ..core.config import Config
from ..host.shared_counts import SharedCounts
from ..routing.networks import Networks
from ..routing.restriction_scene import Client
from .smtpd_limits import key_of

_WINDOW = 600
_DOUBLINGS = 20
_EVENT = "auth"
_FOR_GOOD = 1  # the time unit of what is kept as long as there is room


class AuthDelays:
    """The failures of all clients. clock gives seconds that only grow, the same in all processes."""

    def __init__(self, config: Config, unlimited: Networks, clock: Callable[[], float], counts: SharedCounts) -> None:
        self._first = config.smtpd_auth_failure_delay
        self._longest = config.smtpd_auth_failure_delay_limit
        self._unlimited = unlimited
        self._clock = clock
        self._counts = counts

    def failed(self, client: Client, user: str) -> float:
        """Note a failure; returns the seconds that its answer waits."""
        window = self._window()
        for words in self._who(client, user):
            self._counts.event(_key(*words, window), _EVENT, window)
        return self.pause(client, user)

    def succeeded(self, client: Client, user: str) -> float:
        """Note a login; returns the seconds that its answer waits."""
        pause = self.pause(client, user)
        self._counts.event(_trusted(client, user), _EVENT, _FOR_GOOD)
        return pause

    def pause(self, client: Client, user: str) -> float:
        """Return how long an answer waits now."""
        number = max(map(self._number, self._who(client, user)), default=0)
        return float(min(self._longest, self._first * 2 ** min(number - 1, _DOUBLINGS))) if number else 0.0

    def _who(self, client: Client, user: str) -> list[tuple[object, ...]]:
        """Return whose failures count. Clients without limits stand for many users, such as a webmail's."""
        who: list[tuple[object, ...]] = []
        if client.address not in self._unlimited:
            who.append(("client", key_of(client.address)))
        if user and not self._counts.count(_trusted(client, user), _EVENT, _FOR_GOOD):
            who.append(("user", user))
        return who

    def _number(self, words: tuple[object, ...]) -> int:
        now = self._window()
        return sum(self._counts.count(_key(*words, window), _EVENT, window) for window in (now, now - 1))

    def _window(self) -> int:
        return int(self._clock() / _WINDOW) + 2  # after _FOR_GOOD


def _trusted(client: Client, user: str) -> bytes:
    return _key("trusted", key_of(client.address), user)


def _key(*words: object) -> bytes:
    return hashlib.blake2b(repr(words).encode("utf-8", "surrogateescape"), digest_size=16).digest()
