"""A queue file: its marks, its history, its head, and torn ones."""

import os
from pathlib import Path

import pytest

from sendmail_py.core.envelope import Mark
from sendmail_py.core.errors import QueueFileError
from sendmail_py.formats.queue_file import history_line
from sendmail_py.spool.layout import ACTIVE, INCOMING
from sendmail_py.spool.message_file import read_head, read_history, read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage

ID = "0123456789ABC"


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
