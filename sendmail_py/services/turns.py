"""Whose turn it is among the destinations of one transport.

Those with nothing under way come before those that have some, and each group in its order. So whatever a few
slow destinations take, every other gets its first delivery next; none starves, for one that has nothing under
way stands among the first.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

NO_TURN, FRESH, BUSY, PARKED = range(4)


class Taker(Protocol):
    """Who takes turns; turn says where it stands."""

    turn: int

    def may_run(self) -> bool:
        """Say whether it can use a turn now."""


T = TypeVar("T", bound=Taker)


class Turns(Generic[T]):
    """Who could be served, in order."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[T]] = {FRESH: deque(), BUSY: deque()}

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def append(self, taker: T, turn: int) -> None:
        """Put one at the end of its group: FRESH or BUSY."""
        taker.turn = turn
        self._queues[turn].append(taker)

    def next(self, fresh_only: bool) -> T | None:
        """Take out the next one that can use its turn; fresh_only: those of BUSY must wait."""
        for turn, queue in self._queues.items():
            while queue and not (fresh_only and turn == BUSY):
                taker = queue.popleft()
                if taker.turn != turn:
                    continue  # it has gone over to the other group, or is gone
                taker.turn = NO_TURN
                if taker.may_run():
                    return taker
        return None
