"""mailctl queue: list, count, flush, hold and release what is queued.

hold and release are asked of qmgr; without services they are done under its lock.
"""

from ...core.config import Config
from ...core.errors import UsageError
from ...core.exitcodes import EX_OK
from ...formats.selection import by_ids
from ...host.configuration import load
from ...spool.layout import DEFERRED, HOLD, INCOMING
from ...spool.queue_id import is_queue_id
from ...spool.store import Store
from ..ask import NotRunning, ask_one
from ..other_modes import flush, mailq
from ..queue_view import counts

_MOVES = {"hold": (DEFERRED, HOLD), "release": (HOLD, INCOMING)}
_USAGE = "queue list | count | flush [ID...] | hold ID... | release ID... (ALL names every message)"


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl queue VERB` (or `mailctl flush`)."""
    config, _ = load(directory)
    verb, *ids = arguments or ["?"]
    if verb in _MOVES and ids:
        return move(config, verb, ids)
    if verb == "flush":
        _check_ids(ids)
        return flush(config, by_ids(ids if ids != ["ALL"] else []))
    if ids or verb not in ("list", "count"):
        raise UsageError(_USAGE)
    return mailq(config) if verb == "list" else count(config)


def count(config: Config) -> int:
    """Print the number of queued messages."""
    print(sum(counts(config).values()))
    return EX_OK


def move(config: Config, verb: str, ids: list[str]) -> int:
    """Hold or release messages and print the ids that were."""
    _check_ids(ids)
    try:
        done = ask_one(config, "public", {"verb": verb, "ids": ids}).get("ids", [])
    except NotRunning:
        done = _move_directly(config, verb, ids)
    print(f"{verb}: {len(done)} message{'' if len(done) == 1 else 's'}")
    return EX_OK


def _check_ids(ids: list[str]) -> None:
    if ids != ["ALL"] and not all(is_queue_id(name) for name in ids):
        raise UsageError("queue ids expected, or ALL")


def _move_directly(config: Config, verb: str, ids: list[str]) -> list[str]:
    from ...spool.lock import take_role

    store = Store(config.queue_directory)
    try:
        if not take_role(store.top, "qmgr"):
            raise NotRunning("a queue manager holds the queue but does not answer")
        source, target = _MOVES[verb]
        names = [name for name, _ in store.entries(source)] if ids == ["ALL"] else ids
        return [name for name in names if store.moved(name, source, target)]
    except PermissionError as error:
        raise NotRunning(f"the services are not running, and the queue is not yours: {error}") from error
