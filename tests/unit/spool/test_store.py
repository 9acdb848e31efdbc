"""The queue as files: the arrows, writing, moving, finding."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from sendmail_py.core.envelope import Mark, Recipient
from sendmail_py.spool.layout import ACTIVE, CORRUPT, DEFERRED, HOLD, INCOMING, MAILDROP, TMP
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import ARROWS, STATES, Store
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


def test_a_link_is_not_opened(store: Store, put: PutMessage) -> None:
    put()
    os.symlink(store.path(INCOMING, ID), store.path(HOLD, ID))
    with pytest.raises(OSError):
        store.open(HOLD, ID)
    with pytest.raises(OSError):
        store.mark(HOLD, ID, [(Recipient(envelope_for().sender, offset=0), Mark.DELIVERED)])


def test_a_fifo_holds_up_nobody(store: Store) -> None:
    path = store.path(INCOMING, ID)
    os.mkfifo(path)
    os.close(store.open(INCOMING, ID))
    with pytest.raises(OSError, match="seek"):
        read_message(path)


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


def test_two_processes_of_one_pid_never_write_into_one_file() -> None:
    """Containers that share a queue number their processes alike."""
    program = (
        "import os; os.getpid = lambda: 7\nfrom sendmail_py.spool.store import Store; print(Store('/q').new_path())"
    )
    command = [sys.executable, "-c", program]
    names = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(names) == 2 and all(name.startswith("/q/tmp/new.7.") for name in names)
