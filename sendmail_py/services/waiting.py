"""Answers of qmgr that come later, and who waits for the first pass of a message to end: sendmail -odi.

A message that becomes children (an expansion, a bounce) is waited for with them. Nothing is on
disk: when qmgr ends, the connections end, and who waited goes on.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_MOST = 200  # each has a connection open


def _nobody() -> None:
    return None


class Later:
    """An answer that cannot be given yet; open are the messages that it waits for.

    ready() is called when there are no more, over() when the asker has his answer, or does not wait for it.
    """

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.answer: Iterator[dict[str, Any]] = iter(())
        self.ready: Callable[[], None] = _nobody
        self.over: Callable[[], None] = _nobody


class Waiting:
    """All who wait, by message."""

    def __init__(self) -> None:
        self._by_id: dict[str, list[Later]] = {}
        self._count = 0

    def add(self, ids: Iterable[str]) -> Later | None:
        """Begin to wait for messages; None when too many wait already."""
        if self._count >= _MOST:
            return None
        self._count += 1
        later = Later()
        later.over = lambda: self._forget(later)
        self._enter(later, ids)
        return later

    def ended(self, queue_id: str, children: Iterable[str] = (), is_over: bool = True) -> None:
        """Note that a pass has ended (or, not is_over, will be tried again), with the children it released."""
        found = self._by_id.get(queue_id)
        if not found:
            return
        new = list(children)
        for later in list(found):
            self._enter(later, new)
            if is_over:
                self._leave(later, queue_id)
                if not later.open:
                    later.ready()

    def _enter(self, later: Later, ids: Iterable[str]) -> None:
        for queue_id in ids:
            if queue_id not in later.open:
                later.open.add(queue_id)
                self._by_id.setdefault(queue_id, []).append(later)

    def _leave(self, later: Later, queue_id: str) -> None:
        later.open.discard(queue_id)
        found = self._by_id[queue_id]
        found.remove(later)
        if not found:
            del self._by_id[queue_id]

    def _forget(self, later: Later) -> None:
        self._count -= 1
        later.over = _nobody
        for queue_id in list(later.open):
            self._leave(later, queue_id)
