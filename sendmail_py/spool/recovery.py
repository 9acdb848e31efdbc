"""What a crash has left in tmp/: children whose parent answers for them, or does not, and what was torn.

Only who has the role lock of qmgr may use this. Guarantees: no child is lost whose parent has its mark, and none is
released whose parent will make it again.
"""

import os
from collections.abc import Iterator

from ..core.envelope import Mark
from ..core.errors import QueueFileError
from .layout import CORRUPT, INCOMING, TMP
from .message_file import read_message
from .store import Store


def recover_children(store: Store) -> Iterator[tuple[str, str]]:
    """Settle the children a crash left in tmp/; yields (id, what was done).

    A child whose parent's mark is set is released; one whose parent still has the
    recipient pending is discarded, because the parent will make it again. One whose id is its
    own was requeued: it answers for all that wait in its parent.
    """
    for queue_id, _ in list(store.entries(TMP)):
        try:
            parent = read_message(f"{store.top}/{TMP}/{queue_id}").parent
        except (QueueFileError, FileNotFoundError):
            continue  # a copy that pickup or smtpd is writing, or a torn one
        if parent is None:
            continue
        if _is_marked(store, *parent):
            if not queue_id.startswith(parent[0]):
                _mark_rest(store, parent[0])
            store.move(queue_id, TMP, INCOMING)
            store.sync_incoming()
            yield queue_id, "released"
        else:
            store.remove(TMP, queue_id)
            yield queue_id, "discarded"


def remove_leftovers(store: Store, before: float) -> Iterator[str]:
    """Remove what has been in tmp/ since before a time (seconds since the epoch); yields the names.

    Call it after recover_children(): what is left then, and old, is what a crash tore.
    pickup and smtpd go on writing meanwhile: what has left by the time it is looked at was theirs.
    """
    with os.scandir(f"{store.top}/{TMP}") as entries:
        for entry in entries:
            try:
                if entry.stat(follow_symlinks=False).st_mtime >= before:
                    continue
                os.unlink(entry.path)
            except FileNotFoundError:
                continue
            yield entry.name


def _mark_rest(store: Store, queue_id: str) -> None:
    """Mark all that wait in a message, durable."""
    state = store.find(queue_id)
    if state is None or state == CORRUPT:
        return
    try:
        e = read_message(store.path(state, queue_id))
    except QueueFileError:
        return  # nothing is delivered from it
    store.mark(state, queue_id, [(recipient, Mark.DELIVERED) for recipient in e.pending()], durable=True)


def _is_marked(store: Store, parent: str, offset: int) -> bool:
    state = store.find(parent)
    if state is None or not _is_whole(store.path(state, parent)):
        # A parent leaves only after its children were released: never lose one. But a copy that
        # a power cut took, or tore, is made again from its original, and then makes its children again.
        return parent not in set(store.originals.ids())
    with open(store.path(state, parent), "rb") as file:
        file.seek(offset)
        return file.read(1) != Mark.PENDING.encode()


def _is_whole(path: str) -> bool:
    try:
        read_message(path)
    except (QueueFileError, FileNotFoundError):
        return False
    return True
