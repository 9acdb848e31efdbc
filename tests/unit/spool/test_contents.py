"""Which messages mailq and the counts see."""

import os

from sendmail_py.spool.contents import waiting
from sendmail_py.spool.layout import CORRUPT, DEFERRED, MAILDROP
from sendmail_py.spool.maildrop import Drop
from sendmail_py.spool.store import STATES, Store
from tests.unit.conftest import PutMessage, drop_one


def test_every_message_is_counted_once_with_its_queue(store: Store, put: PutMessage) -> None:
    for n, state in enumerate(STATES):
        put(queue_id=f"0123456789AB{n}", state=state)
    put(queue_id="0123456789ABF", state=CORRUPT)
    assert [(state, queue_id) for state, queue_id, _ in waiting(store)] == [
        (state, f"0123456789AB{n}") for n, state in enumerate(STATES)
    ]


def test_an_original_is_counted_until_its_copy_is_there_and_then_once(store: Store, put: PutMessage) -> None:
    path, queue_id = drop_one(store)
    assert list(waiting(store)) == [(MAILDROP, queue_id, path)]
    put(queue_id=queue_id, state=DEFERRED)
    assert [state for state, _, _ in waiting(store)] == [DEFERRED]


def test_what_pickup_would_not_take_is_not_counted(store: Store) -> None:
    path, _ = drop_one(store)
    os.link(path, path + ".second")
    Drop(store.top)  # being written
    os.mkfifo(f"{store.top}/{MAILDROP}/fifo", 0o640)
    os.symlink(path, f"{store.top}/{MAILDROP}/link")
    assert list(waiting(store)) == []
