"""Deletions of what is at rest, in qmgr's threads: an unlink waits whenever others make files durable.

While a message is being deleted it is not taken up: what would take it up is done afterwards, and
finds it gone, or, where it could not be removed, as it was.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from .steering import Steering

_TOGETHER = 25

Submit = Callable[[Callable[[], Any], Callable[[Any], None]], None]
Deleted = tuple[list[str], list[str], list[str]]  # the ids of what is gone, of what was not there, and errors


def at_once(job: Callable[[], Any], done: Callable[[Any], None]) -> None:
    """Do a job without a thread."""
    done(job())


class Deletions:
    """What is being deleted."""

    def __init__(self, steering: Steering, submit: Submit = at_once) -> None:
        self._steering = steering
        self._submit = submit
        self._under_way: dict[str, list[Callable[[], None]]] = {}  # by id: what waits until that is over

    def begin(self, ids: list[str], ended: Callable[[list[str], Deleted], None]) -> None:
        """Delete messages, in pieces that several threads share; ended() gets each piece and what became of it."""
        self._under_way |= {queue_id: [] for queue_id in ids if queue_id not in self._under_way}
        rest = iter(ids)
        while piece := list(islice(rest, _TOGETHER)):
            self._begin(piece, ended)

    def _begin(self, piece: list[str], ended: Callable[[list[str], Deleted], None]) -> None:
        def done(deleted: Deleted) -> None:
            waiting = [action for queue_id in piece for action in self._under_way.pop(queue_id, ())]
            ended(piece, deleted)
            for action in waiting:
                action()

        self._submit(lambda: self._delete(piece), done)

    def _delete(self, piece: list[str]) -> Deleted:
        gone: list[str] = []
        others: list[str] = []
        errors: list[str] = []
        for queue_id in piece:
            try:
                (gone if self._steering.delete(queue_id) else others).append(queue_id)
            except OSError as error:
                errors.append(f"{queue_id}: {error}")
        return gone, others, errors

    def postpones(self, queue_id: str, action: Callable[[], None]) -> bool:
        """Say whether a message is being deleted; then action is done when that is over."""
        if queue_id not in self._under_way:
            return False
        self._under_way[queue_id].append(action)
        return True
