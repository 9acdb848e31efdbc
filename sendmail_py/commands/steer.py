"""Steering many queued messages from a command: select, then ask qmgr piece by piece, or do it under its lock.

Asked of qmgr while it runs; else the role lock makes this process the only mover, after it has become
the queue's owner, so that root creates and changes nothing in the queue. Each message is done or
not begun: whoever is killed half-way leaves a queue as good as before.
"""

import os
import pwd
import sys
import time
from collections.abc import Callable, Collection

from ..core.config import Config
from ..formats.queue_filter import QueueFilter
from ..services.steering import most_at_once
from ..spool.layout import CORRUPT, INCOMING
from ..spool.store import Store
from .ask import NotRunning, ask_one
from .queue_view import messages, names

_BAR_FROM = 1000
_BAR_WIDTH = 40


def selected(config: Config, wanted: QueueFilter, states: Collection[str]) -> list[str]:
    """Return the ids of the messages that are meant; states are the queues that count where none is named.

    Who names a message, or the queue, means it also where it is corrupt.
    """
    if wanted.ids and not (wanted.needs_messages or wanted.states):
        return sorted(wanted.ids)
    if wanted.needs_messages:
        now = time.time()
        found = (m for m in messages(config) if wanted.states or m.queue_name in states)
        return [message.queue_id for message in found if wanted.selects(message, now)]
    rows = (row for row in names(config) if wanted.selects_name(*row))
    states = wanted.states or {*states} - {CORRUPT}
    return list(dict.fromkeys(queue_id for state, queue_id in rows if state in states))


def steer(config: Config, verb: str, ids: list[str]) -> tuple[int, list[str]]:
    """Do what a verb says to messages; returns for how many there was something to do, and what went wrong."""
    try:
        return _in_pieces(verb, ids, lambda piece: ask_one(config, "public", {"verb": verb, "ids": piece}))
    except NotRunning:
        return _directly(config, verb, ids)


def _in_pieces(verb: str, ids: list[str], do: Callable[[list[str]], dict[str, list[str]]]) -> tuple[int, list[str]]:
    done = 0
    errors: list[str] = []
    together = most_at_once(verb)
    bar = _Bar(len(ids))
    try:
        for start in range(0, len(ids), together):
            answer = do(ids[start : start + together])
            done += len(answer.get("ids", ()))
            errors += answer.get("errors", ())
            bar.show(min(start + together, len(ids)))
    finally:
        bar.end()
    return done, errors


class _Bar:
    """How far a long work has come: a line that a terminal shows anew, and that nothing else gets."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._is_wanted = total >= _BAR_FROM and sys.stderr.isatty()
        self._is_shown = False

    def show(self, done: int) -> None:
        """Show that so much is done."""
        if self._is_wanted:
            self._is_shown = True
            full = _BAR_WIDTH * done // self._total
            bar = f"[{'#' * full}{'.' * (_BAR_WIDTH - full)}] {done}/{self._total} {100 * done // self._total} %"
            print(f"\r{bar} ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line: what comes next, also what went wrong, has its own."""
        if self._is_shown:
            print(file=sys.stderr, flush=True)


# --- without services ------------------------------------------------------------------------


def _directly(config: Config, verb: str, ids: list[str]) -> tuple[int, list[str]]:
    from ..services.direct_steering import DirectSteering
    from ..spool.format import claim
    from ..spool.lock import take_role

    store = Store(config.queue_directory)
    try:
        _become_owner(store)
        if not take_role(store.top, "qmgr"):
            raise NotRunning("a queue manager holds the queue but does not answer")
        claim(store.top)
        direct = DirectSteering(config, store)
        direct.recover()
        return _in_pieces(verb, ids, lambda piece: direct.steer(verb, piece))
    except PermissionError as error:
        raise NotRunning(f"the services are not running, and the queue is not yours: {error}") from error


def _become_owner(store: Store) -> None:
    """As root become the owner of the queue for the rest of this process."""
    from ..host.privileges import drop_to

    owner = os.stat(f"{store.top}/{INCOMING}").st_uid
    if os.getuid() == 0 and owner != 0:
        drop_to(pwd.getpwuid(owner).pw_name)
