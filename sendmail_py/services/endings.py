"""Passes that are over wait here for the end of the turn, and then end together, in the pool's threads.

This is most of the work per message, so qmgr's loop never does it, and what a batch shares (the
first fsync does most of it for the others) is done once.
"""

from collections.abc import Callable
from itertools import islice

from .finishing import Ended, Finisher
from .messages import Message
from .pool import Pool

_TOGETHER = 16
_REMOVED_TOGETHER = 25


class Endings:
    """The messages whose pass is over; ended() is told, in the loop's thread, what became of each."""

    finisher: Finisher  # of the configuration in force

    def __init__(self, pool: Pool, ended: Callable[[Ended], None]) -> None:
        self._pool = pool
        self._ended = ended
        self._finished: list[Message] = []
        self._others: list[Message] = []

    def add(self, message: Message) -> None:
        """Take a message whose recipients all have a result."""
        (self._finished if self.finisher.is_simple(message) else self._others).append(message)

    def add_again(self, message: Message) -> None:
        """Take a message whose end could not be written."""
        self._others.append(message)

    def begin(self) -> None:
        """Have the threads remove what is finished and end the other passes."""
        finisher = self.finisher
        finished, self._finished = iter(self._finished), []
        while part := list(islice(finished, _REMOVED_TOGETHER)):
            self._remove(finisher, part)
        others, self._others = iter(self._others), []
        while part := list(islice(others, _TOGETHER)):
            self._end(finisher, part)

    def _remove(self, finisher: Finisher, messages: list[Message]) -> None:
        self._pool.submit(lambda: [finisher.remove(message) for message in messages], self._all_ended)

    def _end(self, finisher: Finisher, messages: list[Message]) -> None:
        self._pool.submit(lambda: finisher.end_passes(messages), self._all_ended)

    def _all_ended(self, all_ended: list[Ended]) -> None:
        for ended in all_ended:
            self._ended(ended)
