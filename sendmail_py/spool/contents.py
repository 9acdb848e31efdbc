"""Which messages are in the queue, by their names alone: for mailq, counts, and status.

A maildrop original whose copy is in the queue counts once. Entries come one at a time.
"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from .layout import MAILDROP
from .store import STATES, Store


def waiting(store: Store) -> Iterator[tuple[str, str, str]]:
    """Yield (queue name, queue id, path) of every message, opening none."""
    seen = set()
    for state in STATES:
        for queue_id in store.names(state):
            if queue_id not in seen:
                seen.add(queue_id)
                yield state, queue_id, store.path(state, queue_id)
    for queue_id, path in store.originals.paths():
        if queue_id not in seen:
            yield MAILDROP, queue_id, path


def counted(store: Store, known: Mapping[str, Collection[str]] = MappingProxyType({})) -> dict[str, int]:
    """Return the number of messages in each queue that has some; known are the ids in queues that need no look."""
    counts: dict[str, int] = {}
    elsewhere = known.values()
    for state in STATES:
        if state in known:
            counts[state] = len(known[state])
        else:  # one may be moving
            counts[state] = sum(not any(name in ids for ids in elsewhere) for name in store.names(state))
    counts[MAILDROP] = sum(store.find(queue_id) is None for queue_id in store.originals.ids())
    return {state: number for state, number in counts.items() if number}
