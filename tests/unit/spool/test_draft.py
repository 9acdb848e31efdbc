"""A message that is being made durable: nobody who looks through the queue takes it before that has succeeded."""

import os
import time
from pathlib import Path

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.envelope import Envelope, Recipient, Submitter
from sendmail_py.spool import atomic, directories
from sendmail_py.spool.draft import Draft
from sendmail_py.spool.layout import INCOMING
from sendmail_py.spool.store import SETTLING, Store


@pytest.fixture(params=["named late", "renamed"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A queue; in the second one, as on a file system where each file has a name from the beginning."""
    directories.create(str(tmp_path), os.getuid(), os.getgid())
    if request.param == "renamed":
        monkeypatch.setattr(atomic, "names_late", lambda directory: False)
    return Store(str(tmp_path))


def written(store: Store) -> Draft:
    draft = Draft(store, time.time_ns() // 1000)
    envelope = Envelope(
        draft.queue_id, time.time_ns() // 1000, Address("a", "x"), [Recipient(Address("b", "y"))], Submitter(0)
    )
    draft.write(envelope, (b"Subject: x\n\nhello\n",))
    return draft


def test_a_message_is_seen_when_its_fsync_has_succeeded_and_not_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append(store.settled(INCOMING))
        fsync(descriptor)

    draft = written(store)
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", watched)
        draft.commit()
    assert seen == [([], True)]
    assert store.settled(INCOMING) == ([draft.queue_id], False)
    assert os.stat(store.path(INCOMING, draft.queue_id)).st_mode & 0o777 == 0o600


def test_a_message_whose_fsync_fails_is_taken_back_unseen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(5, "no")

    draft = written(store)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no"):
        patch.setattr(atomic.os, "fsync", failing)
        draft.commit()
    assert store.settled(INCOMING) == ([], True)
    draft.discard()
    assert store.settled(INCOMING) == ([], False)


def test_what_somebody_who_is_gone_has_left_counts_after_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync", lambda descriptor: None)
        patch.setattr(os, "fchmod", lambda descriptor, mode: None)
        draft = written(store)
        draft.commit()
    assert store.settled(INCOMING) == ([], True)
    now = time.time()
    for later in (SETTLING + 1, -60):  # the clock may have been set back
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        os.chmod(store.path(INCOMING, draft.queue_id), 0o400)
        assert store.settled(INCOMING) == ([draft.queue_id], False)
    assert os.stat(store.path(INCOMING, draft.queue_id)).st_mode & 0o777 == 0o600


def test_a_draft_that_is_not_committed_leaves_nothing(store: Store) -> None:
    written(store).discard()
    assert os.listdir(f"{store.top}/tmp") == []
    assert store.settled(INCOMING) == ([], False)


def test_a_draft_never_takes_the_name_of_a_message_that_is_there(tmp_path: Path) -> None:
    directories.create(str(tmp_path), os.getuid(), os.getgid())
    store = Store(str(tmp_path))
    draft = written(store)
    other = Path(store.path(INCOMING, draft.queue_id))
    other.write_text("another message")
    with pytest.raises(FileExistsError):
        draft.commit()
    draft.discard()
    assert other.read_text() == "another message"


def test_a_nameless_file_holds_what_is_written_and_leaves_nothing(store: Store) -> None:
    descriptor = store.nameless()
    try:
        atomic.write_all(descriptor, (b"content",))
        assert os.pread(descriptor, 100, 0) == b"content"
        assert os.listdir(f"{store.top}/tmp") == []
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("step", ["commit", "discard"])
def test_a_file_whose_close_fails_is_closed_once_for_its_number_is_soon_another_files(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    close, others = os.close, []

    def failing(descriptor: int) -> None:
        close(descriptor)
        others.append(os.open(store.top, os.O_RDONLY))  # what another thread opens at this moment
        raise OSError(5, "no")

    draft = written(store)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", failing)
        getattr(draft, step)()
        draft.close()
    (other,) = others
    assert os.path.samestat(os.fstat(other), os.stat(store.top))
    close(other)
    assert store.settled(INCOMING)[0] == ([draft.queue_id] if step == "commit" else [])
