"""hold, release, delete, expire and requeue on a real queue: by qmgr, and without it."""

import errno
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sendmail_py.core.address import Address
from sendmail_py.core.config import Config, Setting
from sendmail_py.core.envelope import Mark
from sendmail_py.core.result import Outcome
from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.deferred_index import DeferredIndex
from sendmail_py.services.direct_steering import DirectSteering
from sendmail_py.services.messages import Message
from sendmail_py.services.public import Refused
from sendmail_py.services.requests import Requests
from sendmail_py.services.requeuing import Requeuer
from sendmail_py.services.steering import VERBS, most_at_once
from sendmail_py.spool.layout import ACTIVE, CORRUPT, DEFERRED, HOLD, INCOMING, MAILDROP, TMP
from sendmail_py.spool.message_file import read_history, read_message
from sendmail_py.spool.queue_id import base_id
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage

ID = "0123456789ABC"
HISTORY = b'2026-11-23T12:01:07Z <a@x> deferred 4.4.1 relay=none "timed out"\n'


def config(**settings: str) -> Config:
    values = {"myhostname": "mx.example.org", "myorigin": "example.org"} | settings
    return Config({name: Setting(text, "test") for name, text in values.items()})


class Qmgr:
    """What qmgr has in memory, and its verbs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.deferred = DeferredIndex(Schedule(300, 4000, 432000, 432000))
        self.incoming: deque[str] = deque()
        self.active: dict[str, Message] = {}
        self.lines: list[str] = []
        self.requests = Requests(store, self.deferred, self.incoming, self.active, self.lines.append)

    def steer(self, verb: str, ids: list[str]) -> dict[str, list[str]]:
        (answer,) = self.requests.handlers[verb]({"verb": verb, "ids": ids})  # type: ignore[misc]
        return answer


@pytest.fixture
def qmgr(store: Store) -> Qmgr:
    return Qmgr(store)


@pytest.fixture(params=["qmgr", "directly"])
def steer(request: pytest.FixtureRequest, store: Store) -> Qmgr | DirectSteering:
    """Return who does the verbs: qmgr, or mailctl under its lock."""
    return Qmgr(store) if request.param == "qmgr" else DirectSteering(config(), store)


def state_of(store: Store) -> str | None:
    return store.find(ID)


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("hold", INCOMING, HOLD),
        ("hold", DEFERRED, HOLD),
        ("hold", HOLD, ""),
        ("release", HOLD, INCOMING),
        ("release", DEFERRED, ""),
        ("delete", INCOMING, None),
        ("delete", DEFERRED, None),
        ("delete", HOLD, None),
        ("delete", CORRUPT, None),
        ("expire", INCOMING, INCOMING),
        ("expire", DEFERRED, DEFERRED),
        ("expire", HOLD, HOLD),
        ("expire-now", HOLD, INCOMING),
        ("expire-now", DEFERRED, DEFERRED),
    ],
)
def test_a_verb_takes_a_message_from_state_to_state(
    store: Store, put: PutMessage, steer: Qmgr | DirectSteering, verb: str, before: str, after: str | None
) -> None:
    put("a@x", state=before)
    answer = steer.steer(verb, [ID, "0000000000000"])
    assert answer == {"ids": [ID] if after != "" else [], "errors": []}
    assert state_of(store) == (before if after == "" else after)
    if verb.startswith("expire"):
        assert read_message(store.path(state_of(store) or "", ID)).expire


def test_a_file_that_nobody_can_read_can_be_deleted(
    store: Store, put: PutMessage, steer: Qmgr | DirectSteering
) -> None:
    put("a@x")
    os.rename(store.path(INCOMING, ID), store.path(CORRUPT, ID))
    Path(store.path(CORRUPT, ID)).write_bytes(b"junk")
    assert steer.steer("delete", [ID])["ids"] == [ID]
    assert state_of(store) is None


def original_of(store: Store) -> tuple[str, str, tuple[str, int, int]]:
    """Put a file into maildrop/; returns its path, the id of its copy, and the key that the copy names it by."""
    path = Path(store.top, MAILDROP, "original")
    path.write_bytes(b"sendmail-py-queue 1\n")
    os.chmod(path, 0o640)
    status = path.stat()
    return (
        str(path),
        base_id(status.st_ctime_ns // 1000, status.st_ino),
        ("original", status.st_ino, status.st_ctime_ns),
    )


def test_with_a_message_its_original_goes(store: Store, put: PutMessage, steer: Qmgr | DirectSteering) -> None:
    path, _, key = original_of(store)
    e = put("a@x")
    e.maildrop = key
    store.remove(INCOMING, ID)
    store.commit(store.write(e, [b"\nhi\n"], durable=False), ID, durable=False)
    assert steer.steer("delete", [ID])["ids"] == [ID]
    assert not os.path.exists(path) and state_of(store) is None


def test_what_pickup_has_not_taken_can_be_deleted(store: Store, steer: Qmgr | DirectSteering) -> None:
    path, queue_id, _ = original_of(store)
    assert steer.steer("delete", [queue_id]) == {"ids": [queue_id], "errors": []}
    assert not os.path.exists(path)


def test_what_pickup_has_not_taken_is_parked_when_it_comes(store: Store, qmgr: Qmgr) -> None:
    _, queue_id, _ = original_of(store)
    assert qmgr.steer("hold", [queue_id])["ids"] == [queue_id]
    assert qmgr.requests.steering.wish_for(queue_id) == "hold" and qmgr.requests.steering.wish_for(queue_id) == ""


@pytest.mark.parametrize("verb", ["hold", "expire", "expire-now"])
def test_without_services_the_next_queue_manager_is_told_of_what_is_in_maildrop(
    store: Store, qmgr: Qmgr, verb: str
) -> None:
    path, queue_id, _ = original_of(store)
    direct = DirectSteering(config(), store)
    assert direct.steer("release", [queue_id]) == {"ids": [], "errors": []}
    assert direct.steer(verb, [queue_id, "0000000000000"]) == {"ids": [queue_id], "errors": []}
    assert os.path.exists(path)
    qmgr.requests.steering.remember()
    assert qmgr.requests.steering.wish_for(queue_id) == ("hold" if verb == "hold" else "")
    qmgr.requests.steering.remember()
    assert qmgr.requests.steering.wish_for(queue_id) == ""


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(
    ("verbs", "is_parked", "is_expired"),
    [
        ("hold expire", True, True),
        ("expire hold", True, True),
        ("hold expire-now", False, True),
        ("hold release", False, False),
        ("expire release", False, True),
        ("hold expire release", False, True),
    ],
)
def test_what_is_asked_for_of_mail_in_maildrop_adds_up_as_in_the_queue(
    store: Store, put: PutMessage, qmgr: Qmgr, runs: bool, verbs: str, is_parked: bool, is_expired: bool
) -> None:
    _, queue_id, _ = original_of(store)
    for verb in verbs.split():
        changes = verb != "release" or verbs != "expire release"
        answer = (qmgr if runs else DirectSteering(config(), store)).steer(verb, [queue_id])
        assert answer == {"ids": [queue_id] if changes else [], "errors": []}
    qmgr.requests.steering.remember()
    put(queue_id=queue_id)
    assert qmgr.requests.steering.wish_for(queue_id) == ("hold" if is_parked else "")
    assert read_message(store.path(INCOMING, queue_id)).expire == is_expired


def test_a_list_of_wishes_that_was_torn_harms_nothing(store: Store, qmgr: Qmgr) -> None:
    Path(store.top, "lock", "wishes").write_bytes(b"0123456789ABC hold\n../../x hold\n0123456789ABD format\n\xff\n0123")
    qmgr.requests.steering.remember()
    assert qmgr.requests.steering.wish_for("0123456789ABC") == "hold"
    assert qmgr.requests.steering.wish_for("0123456789ABD") == ""


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("ids", [["../../etc/passwd"], ["ALL"], [1], [ID] * (most_at_once("delete") + 1)])
def test_what_is_no_id_and_what_is_too_many_is_refused(qmgr: Qmgr, verb: str, ids: list[str]) -> None:
    with pytest.raises(Refused):
        qmgr.steer(verb, ids)


# --- what qmgr has in memory ---------------------------------------------------------------------


def test_qmgr_forgets_what_is_parked_and_takes_up_what_is_released(put: PutMessage, qmgr: Qmgr) -> None:
    put("a@x", state=DEFERRED)
    qmgr.deferred.add(ID, 4e9)
    qmgr.steer("hold", [ID])
    assert ID not in qmgr.deferred
    qmgr.steer("release", [ID])
    assert list(qmgr.incoming) == [ID]
    assert qmgr.lines == [f"{ID}: placed on hold", f"{ID}: released from hold"]


@pytest.mark.parametrize(("verb", "is_due"), [("expire", False), ("expire-now", True), ("requeue", True)])
def test_an_attempt_at_once_is_made_only_where_it_is_asked_for(
    put: PutMessage, qmgr: Qmgr, verb: str, is_due: bool
) -> None:
    put("a@x", state=DEFERRED)
    qmgr.deferred.add(ID, 4e9)
    qmgr.steer(verb, [ID])
    assert qmgr.deferred.pop_due(1.0) == ((ID, True) if is_due else None)
    assert qmgr.requests.steering.wish_for(ID) == ("requeue" if verb == "requeue" else "")


def active(store: Store, put: PutMessage, qmgr: Qmgr) -> Message:
    put("a@x", state=ACTIVE)
    message = qmgr.active[ID] = Message(ID, read_message(store.path(ACTIVE, ID)), -1, 0)
    return message


@pytest.mark.parametrize(("verb", "after"), [("hold", HOLD), ("delete", None), ("requeue", DEFERRED)])
def test_what_is_under_delivery_is_steered_when_its_pass_has_ended(
    store: Store, put: PutMessage, qmgr: Qmgr, verb: str, after: str | None
) -> None:
    message = active(store, put, qmgr)
    assert qmgr.steer(verb, [ID])["ids"] == [ID]
    assert state_of(store) == ACTIVE
    store.move(ID, ACTIVE, DEFERRED)
    qmgr.deferred.add(ID, 4e9)
    qmgr.requests.steering.fulfil(message)  # while qmgr still counts it among the active ones
    assert state_of(store) == after
    assert qmgr.requests.steering.wish_for(ID) == ("requeue" if verb == "requeue" else "")


def test_a_wish_can_be_taken_back(store: Store, put: PutMessage, qmgr: Qmgr) -> None:
    message = active(store, put, qmgr)
    qmgr.steer("hold", [ID])
    assert qmgr.steer("release", [ID])["ids"] == [ID] and message.wish == ""
    assert qmgr.steer("release", [ID])["ids"] == []


def test_what_is_under_delivery_expires_with_this_pass(store: Store, put: PutMessage, qmgr: Qmgr) -> None:
    message = active(store, put, qmgr)
    assert qmgr.steer("expire", [ID])["ids"] == [ID]
    assert message.envelope.expire and read_message(store.path(ACTIVE, ID)).expire


def test_every_message_is_named_with_its_state(put: PutMessage, qmgr: Qmgr) -> None:
    for number, state in enumerate((INCOMING, ACTIVE, DEFERRED, HOLD, CORRUPT)):
        put("a@x", state=state, queue_id=f"{ID}{number}")
    answer = qmgr.requests.handlers["ids"]({"verb": "ids"})
    assert sorted(row for piece in answer for row in piece["ids"]) == sorted(  # type: ignore[union-attr]
        [state, f"{ID}{number}"] for number, state in enumerate((INCOMING, ACTIVE, DEFERRED, HOLD, CORRUPT))
    )


# --- requeue -------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [INCOMING, DEFERRED, HOLD])
def test_a_requeued_message_is_rewritten_anew_and_keeps_its_wishes_and_its_story(
    store: Store, put: PutMessage, before: str
) -> None:
    e = put("done@x", "a@x", "b@y", state=before, content=b"From: old@x\nSubject: x\n\nold@x\n", sender="old@x")
    store.mark(before, ID, [(e.recipients[0], Mark.DELIVERED)], HISTORY)
    maps = "inline:{old@x=new@x, b@y=c@z}"
    direct = DirectSteering(config(canonical_maps=maps), store)
    assert direct.steer("requeue", [ID]) == {"ids": [ID], "errors": []}
    ((queue_id, _),) = store.entries(INCOMING)
    path = store.path(INCOMING, queue_id)
    new = read_message(path)
    assert queue_id != ID and state_of(store) is None
    assert new.queue_id[:13] != f"{e.arrived_at:013X}", "the inode in it may be used again"
    assert (new.queue_id, new.sender, new.arrived_at) == (queue_id, Address("new", "x"), e.arrived_at)
    assert [(str(r.forward_path), r.original, r.mark) for r in new.recipients] == [
        ("a@x", "", " "),
        ("c@z", "rfc822;b@y", " "),
    ]
    descriptor = os.open(path, os.O_RDONLY)
    content = os.pread(descriptor, new.size, new.content_offset)
    assert content == b"From: new@x\nSubject: x\n\nold@x\n"
    assert read_history(descriptor, new) == HISTORY
    os.close(descriptor)


def test_what_cannot_be_rewritten_now_stays_as_it_was(store: Store, put: PutMessage) -> None:
    put("a@x", state=DEFERRED)
    direct = DirectSteering(config(canonical_maps="texthash:/nonexistent/table"), store)
    answer = direct.steer("requeue", [ID])
    assert answer["ids"] == [] and "cannot be requeued" in answer["errors"][0]
    assert state_of(store) == INCOMING and list(store.entries(TMP)) == []
    assert read_message(store.path(INCOMING, ID)).pending()


@pytest.mark.parametrize(("calls", "is_marked"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_crash_while_a_message_is_requeued_loses_nothing_and_doubles_nothing(
    store: Store, put: PutMessage, calls: int, is_marked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks are written for the history of the new message, for the first who waits, and for the others."""
    put("a@x", "b@x", state=ACTIVE)
    message = Message(ID, read_message(store.path(ACTIVE, ID)), -1, 0)
    requeuer = Requeuer(config(), store)
    if calls == 3:
        assert requeuer.requeue(message).outcome is Outcome.DELIVERED
    else:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(store, "mark", _crashing_after(calls, store.mark))
            requeuer.requeue(message)
    assert len(list(store.entries(TMP))) == 1
    DirectSteering(config(), store).recover()  # as the next queue manager does
    copies = [read_message(store.path(INCOMING, queue_id)) for queue_id, _ in store.entries(INCOMING)]
    assert sorted(len(copy.pending()) for copy in copies) == ([0, 2] if is_marked else [2])
    assert list(store.entries(TMP)) == []


@pytest.mark.parametrize("calls", [0, 1])
def test_a_new_message_that_cannot_be_finished_is_not_left_for_the_next_start_to_find(
    store: Store, put: PutMessage, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it would be released once somebody else's delivery of the old one had set the mark."""
    put("a@x", "b@x", state=ACTIVE)
    message = Message(ID, read_message(store.path(ACTIVE, ID)), -1, 0)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(store, "mark", _failing_after(calls, store.mark, full))
    assert Requeuer(config(), store).requeue(message).outcome is Outcome.DEFERRED
    assert os.listdir(f"{store.top}/{TMP}") == []


def test_marks_that_cannot_all_be_set_at_once_are_set_before_the_new_message_goes(
    store: Store, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a@x", "b@x", state=DEFERRED)
    direct, mark = DirectSteering(config(), store), store.mark
    calls = iter((mark, mark, _failing_after(0, mark, OSError(errno.EIO, "Input/output error"))))
    monkeypatch.setattr(store, "mark", lambda *words, **more: next(calls, mark)(*words, **more))
    assert direct.steer("requeue", [ID]) == {"ids": [ID], "errors": []}
    ((queue_id, _),) = store.entries(INCOMING)
    assert state_of(store) is None and len(read_message(store.path(INCOMING, queue_id)).pending()) == 2


@pytest.mark.parametrize(("verb", "after"), [("hold", HOLD), ("delete", None)])
def test_what_is_asked_for_while_a_message_is_made_anew_is_done_to_the_new_one(
    store: Store, put: PutMessage, qmgr: Qmgr, verb: str, after: str | None
) -> None:
    message = active(store, put, qmgr)
    assert Requeuer(config(), store).requeue(message).outcome is Outcome.DELIVERED
    (new,) = message.unreleased
    assert qmgr.steer(verb, [ID])["ids"] == [ID]
    store.move(new, TMP, INCOMING)
    qmgr.incoming.append(new)
    qmgr.requests.steering.fulfil_for(message, [new])
    assert store.find(new) == after
    assert qmgr.lines[-1].startswith(f"{new}: ")


def test_the_children_of_an_expansion_are_messages_of_their_own(store: Store, put: PutMessage, qmgr: Qmgr) -> None:
    message = active(store, put, qmgr)
    put("carol@here", queue_id=ID + "88")
    qmgr.steer("delete", [ID])
    qmgr.requests.steering.fulfil_for(message, [ID + "88"])
    assert store.find(ID + "88") == INCOMING


def test_what_is_deleted_while_pickup_copies_it_is_gone_when_it_comes(
    store: Store, put: PutMessage, steer: Qmgr | DirectSteering
) -> None:
    _, queue_id, _ = original_of(store)
    assert steer.steer("delete", [queue_id])["ids"] == [queue_id]
    put("a@x", queue_id=queue_id)  # by pickup, which had it open
    qmgr = steer if isinstance(steer, Qmgr) else Qmgr(store)
    qmgr.requests.steering.remember()
    qmgr.requests.steering.wish_for(queue_id)
    assert store.find(queue_id) is None


def _failing_after(calls: int, mark: Callable[..., OSError | None], error: OSError) -> Callable[..., OSError | None]:
    left = iter(range(calls))

    def one(*words: Any, **more: Any) -> OSError | None:
        if next(left, None) is None:
            raise error
        return mark(*words, **more)

    return one


def _crashing_after(calls: int, mark: Callable[..., OSError | None]) -> Callable[..., OSError | None]:
    left = iter(range(calls))

    def one(*words: Any, **more: Any) -> OSError | None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return mark(*words, **more)

    return one
