"""What mailq and the counts see."""

import os
import pwd

import pytest

from sendmail_py.core.envelope import Mark
from sendmail_py.formats.queue_file import history_line, render
from sendmail_py.spool.contents import listed, waiting
from sendmail_py.spool.layout import ACTIVE, CORRUPT, DEFERRED, HOLD, INCOMING, MAILDROP
from sendmail_py.spool.maildrop import Drop
from sendmail_py.spool.queue_id import base_id
from sendmail_py.spool.store import STATES, Store
from tests.unit.conftest import PutMessage, envelope_for


def drop_one(store: Store) -> tuple[str, str]:
    """Submit a message; returns its path and the id that its copy will have."""
    envelope = envelope_for("bob@here", queue_id="")
    envelope.reverse_path, envelope.size = None, 4
    drop = Drop(store.top)
    drop.write(render(envelope) + b"\nhi\n")
    drop.finish()
    status = os.stat(drop.path)
    return drop.path, base_id(status.st_ctime_ns // 1000, status.st_ino)


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


def test_a_listing_has_sender_size_pending_recipients_and_the_last_reason(store: Store, put: PutMessage) -> None:
    e = put("a@x", "b@x", "c@x", state=DEFERRED)
    lines = [history_line(n, e.recipients[1].forward_path, "deferred", "4.4.1", "none", f"reason {n}") for n in (1, 2)]
    store.mark(DEFERRED, e.queue_id, [(e.recipients[0], Mark.DELIVERED)], history=b"".join(lines))
    (message,) = listed(store)
    assert message is not None
    assert (message.queue_id, message.size, message.sender) == (e.queue_id, 4, "alice@example.org")
    assert message.recipients == [("b@x", "reason 2"), ("c@x", "")]


@pytest.mark.parametrize(("recipients", "octets"), [(1, 30_000), (2000, 10), (2000, 30_000)])
def test_a_listing_is_complete_where_one_read_does_not_do(
    store: Store, put: PutMessage, recipients: int, octets: int
) -> None:
    e = put(*(f"user{n}@x" for n in range(recipients)), state=DEFERRED, content=b"\n" + b"x" * octets)
    last = e.recipients[-1].forward_path
    line = history_line(1, last, "deferred", "4.4.1", "none", "timed out")
    store.mark(DEFERRED, e.queue_id, [], history=line)
    (message,) = listed(store)
    assert message is not None and (message.size, len(message.recipients)) == (octets + 1, recipients)
    assert message.recipients[-1] == (str(last), "timed out")


def test_a_submitted_message_without_a_sender_is_listed_by_the_login_of_its_owner(store: Store) -> None:
    _, queue_id = drop_one(store)
    (message,) = listed(store)
    assert message is not None
    assert (message.queue_id, message.sender, message.size) == (queue_id, pwd.getpwuid(os.getuid()).pw_name, 4)


def test_a_torn_or_vanished_message_is_left_out_and_the_others_are_listed(store: Store, put: PutMessage) -> None:
    put(queue_id="0123456789AB0", state=INCOMING)
    put(queue_id="0123456789AB1", state=ACTIVE)
    put(queue_id="0123456789AB2", state=HOLD)
    os.truncate(store.path(INCOMING, "0123456789AB0"), 30)
    os.chmod(store.path(ACTIVE, "0123456789AB1"), 0)  # nobody but root may open it
    found = [message and message.queue_id for message in listed(store)]
    assert found == [None, "0123456789AB1" if os.getuid() == 0 else None, "0123456789AB2"]
    rest = listed(store)
    assert next(rest) is None
    os.unlink(store.path(ACTIVE, "0123456789AB1"))
    assert [message and message.queue_id for message in rest] == ["0123456789AB2"]
