"""Deletions in threads: what they are asked for, what becomes of it, and what waits until they are over."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.deferred_index import DeferredIndex
from sendmail_py.services.messages import Message
from sendmail_py.services.requests import Requests
from sendmail_py.services.waiting import Later
from sendmail_py.spool.layout import ACTIVE, DEFERRED, HOLD, INCOMING
from sendmail_py.spool.message_file import read_message
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage

ID = "0123456789ABC"
IDS = [f"{ID}{number}" for number in range(60)]


class Slow:
    """Requests to a queue whose threads do nothing before finish() has them."""

    def __init__(self, store: Store) -> None:
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.active: dict[str, Message] = {}
        self.lines: list[str] = []
        self.deferred = DeferredIndex(Schedule(300, 4000, 432000, 432000))
        self.requests = Requests(
            store, self.deferred, deque(), self.active, self.lines.append, submit=lambda *job: self.jobs.append(job)
        )

    def delete(self, *ids: str) -> Later:
        later = self.requests.handlers["delete"]({"verb": "delete", "ids": list(ids)})
        assert isinstance(later, Later)
        return later

    def finish(self) -> None:
        while self.jobs:
            job, done = self.jobs.pop(0)
            done(job())


@pytest.fixture
def slow(store: Store) -> Slow:
    return Slow(store)


def test_a_deletion_is_answered_when_the_last_piece_of_it_is_done(store: Store, put: PutMessage, slow: Slow) -> None:
    for number, queue_id in enumerate(IDS):
        put("a@x", state=(DEFERRED, HOLD, INCOMING)[number % 3], queue_id=queue_id)
        slow.deferred.add(queue_id, 4e9)
    later = slow.delete(*IDS, ID, IDS[0])
    told: list[bool] = []
    later.ready = lambda: told.append(True)
    assert len(slow.jobs) > 1 and all(map(store.find, IDS))
    slow.finish()
    assert told == [True] and not any(map(store.find, IDS)) and not len(slow.deferred)
    assert list(later.answer) == [{"ids": IDS, "errors": []}]
    assert slow.lines == [f"{queue_id}: removed by the administrator" for queue_id in IDS]


def test_what_is_under_delivery_is_left_to_the_end_of_its_pass(store: Store, put: PutMessage, slow: Slow) -> None:
    put("a@x", state=ACTIVE)
    put("a@x", state=HOLD, queue_id=IDS[0])
    slow.active[ID] = Message(ID, read_message(store.path(ACTIVE, ID)), -1, 0)
    later = slow.delete(ID, IDS[0])
    slow.finish()
    assert list(later.answer) == [{"ids": [ID, IDS[0]], "errors": []}]
    assert slow.active[ID].wish == "delete" and store.has(ACTIVE, ID)


def test_who_would_take_a_message_up_meanwhile_does_so_when_that_is_over(put: PutMessage, slow: Slow) -> None:
    put("a@x", state=INCOMING)
    deletions, taken = slow.requests.steering.deletions, []
    assert not deletions.postpones(ID, lambda: taken.append("before"))
    slow.delete(ID)
    assert deletions.postpones(ID, lambda: taken.append("after"))
    assert taken == []
    slow.finish()
    assert taken == ["after"] and not deletions.postpones(ID, lambda: None)


def test_what_cannot_be_removed_is_told_of_and_stays_known(
    store: Store, put: PutMessage, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a@x", state=DEFERRED)
    slow.deferred.add(ID, 4e9)

    def fail(state: str, queue_id: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store, "remove", fail)
    later = slow.delete(ID)
    slow.finish()
    (answer,) = later.answer
    assert answer["ids"] == [] and "Input/output error" in answer["errors"][0]
    assert ID in slow.deferred
