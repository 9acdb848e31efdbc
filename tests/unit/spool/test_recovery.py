"""What a crash has left in tmp/: children are released or discarded, and what was torn is removed."""

import os
from pathlib import Path

import pytest

from sendmail_py.core.envelope import Envelope, Mark
from sendmail_py.formats.queue_file import render
from sendmail_py.spool.layout import ACTIVE, INCOMING, MAILDROP, TMP
from sendmail_py.spool.queue_id import base_id
from sendmail_py.spool.recovery import recover_children, remove_leftovers
from sendmail_py.spool.store import STATES, Store
from tests.unit.conftest import PutMessage, envelope_for

ID = "0123456789ABC"


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
