"""Messages of maildrop/ that are with the filters: in threads, so that pickup goes on with everything else.

Guarantees: a name is with them once at a time, and what finds no room stays in maildrop/ and is taken
when there is some; a message that is with them at a crash lies in maildrop/ as before.
"""

import os
from collections.abc import Callable

from ..formats.submission_header import PreparedHeader
from .pool import Pool

_THREADS = 10
_WAITING = 90

Work = Callable[[int], PreparedHeader]
Done = Callable[[PreparedHeader | Exception], None]


class Filtering:
    """names are those of the files that are with the filters; room_again() is called when some may be taken again."""

    def __init__(self, room_again: Callable[[], None]) -> None:
        self.pool = Pool(_THREADS)
        self.names: dict[str, int] = {}  # and the users they belong to
        self._room_again = room_again
        self._has_refused = False

    def has_room(self, uid: int, is_limited: bool) -> bool:
        """Say whether a user's message may be begun: one at a time of who has a limit, for it counts at its end."""
        is_full = len(self.names) >= _THREADS + _WAITING or (is_limited and uid in self.names.values())
        self._has_refused = self._has_refused or is_full
        return not is_full

    def begin(self, name: str, uid: int, descriptor: int, work: Work, done: Done) -> None:
        """Do work with a copy of a descriptor in a thread, and hand what comes of it to done() in the loop."""
        own = os.dup(descriptor)
        self.names[name] = uid

        def job() -> list[PreparedHeader | Exception]:
            try:
                return [work(own)]
            except Exception as error:
                return [error]
            finally:
                os.close(own)

        def ended(result: list[PreparedHeader | Exception]) -> None:
            del self.names[name]
            done(*result)
            if self._has_refused and len(self.names) <= _THREADS:
                self._has_refused = False
                self._room_again()

        self.pool.submit(job, ended)
