"""What is asked of qmgr while the disk, or the table of descriptors, does not let it be done: qmgr lives on."""

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.deferred_index import DeferredIndex
from sendmail_py.services.deletions import Submit, at_once
from sendmail_py.services.messages import Message
from sendmail_py.services.public import Answer
from sendmail_py.services.steering_requests import SteeringRequests
from sendmail_py.services.waiting import Later
from sendmail_py.spool.layout import ACTIVE, DEFERRED, HOLD, INCOMING
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage, drop_one

ID, CHILD = "0123456789ABC", "1123456789ABC"


class Steered:
    """The requests on a queue, what they log, and how the disk can fail."""

    def __init__(self, store: Store, submit: Submit = at_once) -> None:
        self.store = store
        self.lines: list[str] = []
        self.active: dict[str, Message] = {}
        self.deferred = DeferredIndex(Schedule(300, 4000, 432000, 432000))
        self.requests = SteeringRequests(store, self.deferred, deque(), self.active, self.lines.append, submit)

    def ask(self, verb: str, *ids: str) -> Answer:
        answer = self.requests.handlers[verb]({"verb": verb, "ids": list(ids)})
        return answer.answer if isinstance(answer, Later) else answer

    def message(self, put: PutMessage) -> Message:
        """Return a message under delivery."""
        put("a@x", state=ACTIVE)
        message = self.active[ID] = Message(ID, read_message(self.store.path(ACTIVE, ID)), -1, 0)
        return message


@pytest.fixture
def steered(store: Store) -> Steered:
    return Steered(store)


def failing(number: int) -> Callable[..., object]:
    def fail(*arguments: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("verb", "call", "number"), [("hold", "rename", errno.ENOSPC), ("delete", "open", errno.EMFILE)]
)
def test_what_the_disk_does_not_let_be_done_after_a_pass_is_done_before_the_next(
    steered: Steered, put: PutMessage, monkeypatch: pytest.MonkeyPatch, verb: str, call: str, number: int
) -> None:
    message = steered.message(put)
    assert list(steered.ask(verb, ID)) == [{"ids": [ID], "errors": []}]
    steered.store.move(ID, ACTIVE, DEFERRED)
    del steered.active[ID]
    with monkeypatch.context() as broken:
        broken.setattr(os, call, failing(number))
        steered.requests.fulfil(message)
    (line,) = steered.lines
    assert line.startswith(f"error: {ID}: {verb}: ") and os.strerror(number) in line
    assert steered.store.find(ID) == DEFERRED
    wish = steered.requests.wish_for(ID)
    assert wish == "hold" if verb == "hold" else steered.store.find(ID) is None


def test_a_child_that_cannot_be_held_now_is_held_before_its_first_attempt(
    steered: Steered, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = steered.message(put)
    steered.ask("hold", ID)
    put("b@x", state=INCOMING, queue_id=CHILD)
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", failing(errno.EIO))
        steered.requests.fulfil_for(message, [CHILD])
    assert steered.requests.wish_for(CHILD) == "hold"


@pytest.mark.parametrize("verb", ["hold", "delete"])
def test_a_maildrop_that_cannot_be_read_is_an_error_in_the_answer_beside_what_was_done(
    steered: Steered, put: PutMessage, store: Store, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    put("a@x", state=DEFERRED)
    _, original = drop_one(store)
    with monkeypatch.context() as broken:
        broken.setattr(os, "scandir", failing(errno.EMFILE))
        (answer,) = steered.ask(verb, ID, original)
    assert answer["ids"] == [ID] and os.strerror(errno.EMFILE) in answer["errors"][0]
    assert store.find(ID) == (HOLD if verb == "hold" else None)
    assert list(steered.ask(verb, original)) == [{"ids": [original], "errors": []}]


def test_a_hold_is_answered_when_it_is_on_disk_with_what_was_there_as_its_original_only(
    put: PutMessage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a@x", state=DEFERRED)
    put("b@x", state=INCOMING, queue_id=CHILD)
    jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
    slow = Steered(store, lambda *job: jobs.append(job))
    later = slow.requests.handlers["hold"]({"verb": "hold", "ids": [ID, CHILD]})
    assert isinstance(later, Later) and later.open and store.has(HOLD, ID)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    ((job, done),) = jobs
    done(job())
    assert synced == [store.path(HOLD, CHILD), f"{store.top}/{HOLD}"]
    assert not later.open and list(later.answer) == [{"ids": [ID, CHILD], "errors": []}]


def test_a_hold_that_cannot_be_made_durable_says_so(
    steered: Steered, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a@x", state=DEFERRED)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    (answer,) = steered.ask("hold", ID)
    assert answer["ids"] == [ID] and "a power cut now could let go what was held" in answer["errors"][0]


def test_a_hold_of_what_is_under_delivery_is_made_durable_when_its_pass_has_ended(
    steered: Steered, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = steered.message(put)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    assert list(steered.ask("hold", ID)) == [{"ids": [ID], "errors": []}] and synced == []
    steered.store.move(ID, ACTIVE, DEFERRED)
    synced.clear()  # a directory that was made
    del steered.active[ID]
    steered.requests.fulfil(message)
    assert synced == [f"{steered.store.top}/{HOLD}"]
