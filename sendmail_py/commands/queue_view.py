"""The queue as a command sees it: through qmgr, or on the disk when the services are down.

On the disk only root and the queue's owner can look; everybody else is told so, exit 69.
"""

import os
from collections.abc import Iterator

from ..core.config import Config
from ..formats.listing import ListedMessage
from ..formats.listing_records import from_records
from ..spool.contents import counted, waiting
from ..spool.layout import CORRUPT, INCOMING
from ..spool.listed import listed
from ..spool.store import Store
from .ask import TIMEOUT, NotRunning, ask, ask_one


def messages(config: Config) -> Iterator[ListedMessage]:
    """Yield what is queued; raises NotRunning for a user who cannot see it now."""
    try:
        yield from from_records(ask(config, "public", {"verb": "list"}))
    except NotRunning:
        yield from (message for message in listed(_store(config)) if message is not None)


def names(config: Config) -> Iterator[tuple[str, str]]:
    """Yield state and id of every message, also of those in corrupt/; raises NotRunning as messages() does."""
    try:
        for record in ask(config, "public", {"verb": "ids"}):
            yield from ((state, queue_id) for state, queue_id in record["ids"])
    except NotRunning:
        store = _store(config)
        yield from ((state, queue_id) for state, queue_id, _ in waiting(store))
        yield from ((CORRUPT, queue_id) for queue_id, _ in store.entries(CORRUPT))


def counts(config: Config, patience: float = TIMEOUT) -> dict[str, int]:
    """Return the number of messages by queue; who does not say it within some seconds is taken as not running."""
    try:
        found: dict[str, int] = ask_one(config, "public", {"verb": "count"}, patience)["counts"]
        return found
    except NotRunning:
        return counted(_store(config))


def _store(config: Config) -> Store:
    """Return the queue for reading it directly; raises NotRunning for who may not."""
    top = config.queue_directory
    try:
        owner = os.stat(f"{top}/{INCOMING}").st_uid
    except OSError as error:
        raise NotRunning(f"queue {top}: {error.strerror}") from error
    if os.getuid() not in (0, owner):
        raise NotRunning("the services are not running, and only root can look into the queue without them")
    return Store(top)
