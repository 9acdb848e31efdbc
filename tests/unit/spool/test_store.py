"""The queue as files: the arrows, writing, marking, finding, and torn files."""

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from sendmail_py.core.envelope import Envelope, Mark, Recipient
from sendmail_py.core.errors import QueueFileError
from sendmail_py.formats.queue_file import history_line, render
from sendmail_py.spool.layout import ACTIVE, CORRUPT, DEFERRED, HOLD, INCOMING, MAILDROP, TMP
from sendmail_py.spool.queue_id import base_id
from sendmail_py.spool.recovery import recover_children, remove_leftovers
from sendmail_py.spool.store import ARROWS, STATES, Store, read_head, read_history, read_message
from tests.unit.conftest import PutMessage, envelope_for

ID = "0123456789ABC"
PLACES = (MAILDROP, TMP, INCOMING, ACTIVE, DEFERRED, HOLD, CORRUPT)
# The drawing in docs/queue-format.md.
DRAWN = {
    TMP: {INCOMING},
    INCOMING: {ACTIVE, HOLD, CORRUPT},
    ACTIVE: {DEFERRED, HOLD, INCOMING},
    DEFERRED: {ACTIVE, HOLD, CORRUPT},
    HOLD: {INCOMING, CORRUPT},
}


@pytest.mark.parametrize(("source", "target"), list(product(PLACES, PLACES)))
def test_a_message_moves_along_the_arrows_that_are_drawn_and_no_others(
    store: Store, put: PutMessage, source: str, target: str
) -> None:
    put(state=source)
    if target in DRAWN.get(source, ()):
        store.move(ID, source, target)
        assert not os.path.exists(store.path(source, ID)) and os.path.exists(store.path(target, ID))
    else:
        with pytest.raises(ValueError, match="no arrow"):
            store.move(ID, source, target)
        assert os.path.exists(store.path(source, ID))


def test_the_table_of_arrows_is_what_is_drawn() -> None:
    assert {(source, target) for source, targets in DRAWN.items() for target in targets} == ARROWS


def test_a_move_of_what_is_not_there_is_told_apart_from_other_errors(store: Store) -> None:
    assert not store.moved(ID, INCOMING, ACTIVE)
    os.rmdir(f"{store.top}/{DEFERRED}")
    with pytest.raises(ValueError):
        store.moved(ID, INCOMING, MAILDROP)


def test_a_message_without_an_id_gets_one_from_its_time_and_inode(store: Store) -> None:
    envelope = envelope_for("bob@here", queue_id="")
    path = store.write(envelope, [b"\nhi\n"], durable=False)
    inode = f"{os.stat(path).st_ino:X}"
    assert envelope.queue_id == f"{envelope.arrived_at:013X}{len(inode):X}{inode}"
    assert read_message(path).queue_id == envelope.queue_id


@pytest.mark.parametrize("placeholder", [0, 7, 999])
@pytest.mark.parametrize("durable", [False, True])
def test_what_is_written_says_its_true_size_and_is_in_incoming_after_the_commit(
    store: Store, placeholder: int, durable: bool
) -> None:
    envelope = envelope_for("bob@here")
    envelope.size = placeholder
    path = store.write(envelope, iter([b"A: b\n", b"", b"\nhi\n"]), durable)
    assert path == store.path(TMP, ID) and store.find(ID) is None
    store.commit(path, ID, durable)
    assert store.find(ID) == INCOMING and os.listdir(f"{store.top}/{TMP}") == []
    again = read_message(store.path(INCOMING, ID))
    assert again.size == envelope.size == 9
    assert Path(store.path(INCOMING, ID)).read_bytes()[again.content_offset :] == b"A: b\n\nhi\n"


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    def content() -> Iterator[bytes]:
        yield b"the beginning"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        store.write(envelope_for("bob@here"), content(), durable=True)
    assert os.listdir(f"{store.top}/{TMP}") == []


def test_a_mark_changes_one_octet_and_history_stands_after_the_content(store: Store, put: PutMessage) -> None:
    e = put("a@x", "b@x", "c@x", state=ACTIVE)
    before = Path(store.path(ACTIVE, ID)).read_bytes()
    line = history_line(0, e.recipients[2].forward_path, "deferred", "4.4.1", "none", "timed out")
    marks = [(e.recipients[0], Mark.DELIVERED), (e.recipients[1], Mark.FAILED)]
    store.mark(ACTIVE, ID, marks, history=line, durable=True)
    after = Path(store.path(ACTIVE, ID)).read_bytes()
    assert [i for i, c in enumerate(before) if after[i] != c] == [r.offset for r in e.recipients[:2]]
    assert after[len(before) :] == line
    assert [r.mark for r in e.recipients] == ["x", "-", " "]
    assert [r.mark for r in read_message(store.path(ACTIVE, ID)).recipients] == ["x", "-", " "]
    assert e.pending() == [e.recipients[2]]


def test_history_is_added_to_history(store: Store, put: PutMessage) -> None:
    put(state=ACTIVE)
    store.mark(ACTIVE, ID, [], history=b"one\n")
    store.mark(ACTIVE, ID, [], history=b"two\n")
    descriptor = store.open(ACTIVE, ID)
    try:
        assert read_history(descriptor, read_head(descriptor)) == b"one\ntwo\n"
    finally:
        os.close(descriptor)


def test_a_recipient_answered_for_is_not_marked_again(store: Store, put: PutMessage) -> None:
    e = put("a@x", state=ACTIVE)
    store.mark(ACTIVE, ID, [(e.recipients[0], Mark.DELIVERED)])
    store.mark(ACTIVE, ID, [(e.recipients[0], Mark.FAILED)])
    assert read_message(store.path(ACTIVE, ID)).recipients[0].mark == Mark.DELIVERED


@pytest.mark.parametrize("heads", ["small", "large"])
def test_a_file_cut_anywhere_is_known_as_torn(store: Store, put: PutMessage, heads: str) -> None:
    put(*(f"user{n}@example.org" for n in range(2 if heads == "small" else 900)))
    path = store.path(INCOMING, ID)
    whole = os.path.getsize(path)
    assert len(read_message(path).recipients) == (2 if heads == "small" else 900)
    for length in [whole - 1, whole - 4, whole - 20, whole // 2, 25, 1, 0]:
        os.truncate(path, length)
        with pytest.raises(QueueFileError):
            read_message(path)


def test_a_head_over_a_limit_is_not_read(store: Store, put: PutMessage) -> None:
    put(*(f"user{n}@example.org" for n in range(5000)))
    descriptor = store.open(INCOMING, ID)
    try:
        with pytest.raises(QueueFileError, match="too long"):
            read_head(descriptor, limit=20_000)
        assert len(read_head(descriptor, limit=1 << 20).recipients) == 5000
    finally:
        os.close(descriptor)


def test_a_link_is_not_opened(store: Store, put: PutMessage) -> None:
    put()
    os.symlink(store.path(INCOMING, ID), store.path(HOLD, ID))
    with pytest.raises(OSError):
        store.open(HOLD, ID)
    with pytest.raises(OSError):
        store.mark(HOLD, ID, [(Recipient(envelope_for().sender, offset=0), Mark.DELIVERED)])


def test_entries_are_the_queue_ids_and_nothing_else(store: Store, put: PutMessage) -> None:
    put(queue_id="0123456789A00", state=DEFERRED)
    put(queue_id="0123456789A01", state=DEFERRED)
    Path(store.path(DEFERRED, "0123456789A01") + ".bak").write_bytes(b"")
    Path(f"{store.top}/{DEFERRED}/README").write_bytes(b"")
    assert sorted(q for q, _ in store.entries(DEFERRED)) == ["0123456789A00", "0123456789A01"]
    assert list(store.entries(HOLD)) == []


def test_a_due_time_is_the_mtime_of_the_file(store: Store, put: PutMessage) -> None:
    put(state=DEFERRED)
    store.set_due(DEFERRED, ID, 1_795_435_041.5)
    assert [status.st_mtime for _, status in store.entries(DEFERRED)] == [1_795_435_041.5]


@pytest.mark.parametrize("state", [*STATES, CORRUPT])
def test_a_message_is_found_in_every_state(store: Store, put: PutMessage, state: str) -> None:
    put(state=state)
    assert store.find(ID) == state
    os.unlink(store.path(state, ID))
    assert store.find(ID) is None


@pytest.mark.parametrize(("source", "target"), sorted(arrow for arrow in ARROWS if set(arrow) <= set(STATES)))
def test_a_message_that_moves_while_it_is_sought_is_found(
    store: Store, put: PutMessage, source: str, target: str
) -> None:
    """Whatever step of the search the move falls on."""

    class Moving(Store):
        until_the_move = 0

        def path(self, state: str, queue_id: str) -> str:
            self.until_the_move -= 1
            if self.until_the_move < 0:
                store.moved(ID, source, target)
            return super().path(state, queue_id)

    for step in range(len(STATES)):
        put(state=source)
        moving = Moving(store.top)
        moving.until_the_move = step
        assert moving.find(ID) in (source, target)
        store.moved(ID, source, target)
        store.remove(target, ID)


def test_an_original_is_removed_only_while_it_is_the_same_file(store: Store) -> None:
    path = Path(f"{store.top}/{MAILDROP}/name")
    path.write_bytes(b"one")
    status = path.stat()
    key = ("name", status.st_ino, status.st_ctime_ns)
    store.remove_original(("name", status.st_ino + 1, status.st_ctime_ns))
    store.remove_original(("name", status.st_ino, status.st_ctime_ns - 1))
    assert path.exists()
    store.remove_original(key)
    assert not path.exists()
    store.remove_original(key)
    path.write_bytes(b"another, of this name")
    store.remove_original(("name", path.stat().st_ino, status.st_ctime_ns))
    assert path.exists()


def child_of(store: Store, parent: Envelope, queue_id: str) -> None:
    child = envelope_for("carol@here", queue_id=queue_id)
    child.parent = parent.queue_id, parent.recipients[0].offset
    store.write(child, [b"\nhi\n"], durable=True)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("mark", [Mark.DELIVERED, Mark.FAILED])
def test_a_child_whose_parent_is_marked_is_released(store: Store, put: PutMessage, state: str, mark: str) -> None:
    parent = put("list@here", "b@here", state=state)
    store.mark(state, ID, [(parent.recipients[0], mark)])
    child_of(store, parent, ID + "88")
    assert list(recover_children(store)) == [(ID + "88", "released")]
    assert store.find(ID + "88") == INCOMING


@pytest.mark.parametrize("state", STATES)
def test_a_child_whose_parent_is_still_pending_is_discarded(store: Store, put: PutMessage, state: str) -> None:
    parent = put("list@here", state=state)
    child_of(store, parent, ID + "88")
    assert list(recover_children(store)) == [(ID + "88", "discarded")]
    assert store.find(ID + "88") is None and os.listdir(f"{store.top}/{TMP}") == []


def test_a_child_whose_parent_is_gone_is_released(store: Store, put: PutMessage) -> None:
    parent = put("list@here", state=ACTIVE)
    child_of(store, parent, ID + "88")
    store.remove(ACTIVE, ID)
    assert list(recover_children(store)) == [(ID + "88", "released")]
    assert store.find(ID + "88") == INCOMING


@pytest.mark.parametrize("torn", [b"", b"\0" * 500], ids=["empty", "zeros"])
@pytest.mark.parametrize(("has_original", "what"), [(True, "discarded"), (False, "released")])
def test_a_copy_that_a_power_cut_tore_answers_for_no_child(
    store: Store, put: PutMessage, torn: bytes, has_original: bool, what: str
) -> None:
    """Its original is taken again, and makes the child again; without one nobody else would make it."""
    original = Path(store.top, MAILDROP, "original")
    original.write_bytes(b"the message")
    original.chmod(0o640)
    status = original.stat()
    queue_id = base_id(status.st_ctime_ns // 1000, status.st_ino)
    parent = put("list@here", queue_id=queue_id, state=ACTIVE)
    child_of(store, parent, queue_id + "88")
    Path(store.path(ACTIVE, queue_id)).write_bytes(torn)
    if not has_original:
        original.unlink()
    assert list(recover_children(store)) == [(queue_id + "88", what)]


def test_what_is_no_child_stays_in_tmp(store: Store, put: PutMessage) -> None:
    store.write(envelope_for("bob@here"), [b"\n"], durable=False)
    parent = put("list@here", queue_id="0123456789ABD", state=ACTIVE)
    child_of(store, parent, "0123456789ABD88")
    torn = store.path(TMP, "0123456789ABD88")
    os.truncate(torn, os.path.getsize(torn) - 1)
    Path(f"{store.top}/{TMP}/new.4711").write_bytes(render(envelope_for()))
    assert list(recover_children(store)) == []
    assert sorted(os.listdir(f"{store.top}/{TMP}")) == [ID, "0123456789ABD88", "new.4711"]


def test_old_leftovers_in_tmp_are_removed_and_young_ones_are_not(store: Store) -> None:
    for name, seconds in (("new.1", 1000), (ID, 1000), ("new.2", 3000)):
        path = Path(store.top, TMP, name)
        path.write_bytes(b"torn")
        os.utime(path, (seconds, seconds))
    assert sorted(remove_leftovers(store, before=2000)) == [ID, "new.1"]
    assert os.listdir(f"{store.top}/{TMP}") == ["new.2"]


def test_what_leaves_tmp_while_leftovers_are_looked_for_is_left_to_whoever_writes_it(store: Store) -> None:
    names = {"new.1", "new.2", "new.3"}
    for name in names:
        path = Path(store.top, TMP, name)
        path.write_bytes(b"being written")
        os.utime(path, (1000, 1000))
    found = remove_leftovers(store, before=2000)
    for name in names - {next(found)}:
        os.rename(f"{store.top}/{TMP}/{name}", f"{store.top}/{INCOMING}/{name}")  # as pickup and smtpd do
    assert list(found) == []
