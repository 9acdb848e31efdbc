"""The verbs of the public socket on a real queue: flush by limits, and waiting for a pass."""

import os
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.deferred_index import DeferredIndex
from sendmail_py.services.messages import Message
from sendmail_py.services.public import Refused
from sendmail_py.services.requests import Requests
from sendmail_py.services.waiting import Later
from sendmail_py.spool.layout import ACTIVE, DEFERRED, HOLD, INCOMING, MAILDROP
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage, envelope_for

FAR = 4e9


class Asked:
    """Requests to a queue; flushed() and is_answered() make one."""

    def __init__(self, store: Store) -> None:
        self.deferred = DeferredIndex(Schedule(300, 4000, 432000, 432000))
        self.incoming: deque[str] = deque()
        self.active: dict[str, Message] = {}
        self.requests = Requests(store, self.deferred, self.incoming, self.active)

    def answer(self, verb: str, **request: Any) -> Any:
        return self.requests.handlers[verb]({"verb": verb, **request})

    def flushed(self, *limits: list[object]) -> list[str]:
        """Flush, and return what is due then."""
        pieces = list(self.answer("flush", limits=list(limits)))
        due = []
        while found := self.deferred.pop_due(0.0):
            assert found[1], "a flush forces"
            due.append(found[0])
        assert sum(piece["flushed"] for piece in pieces) == len(due)
        return sorted(due)

    def is_answered(self, queue_id: str, name: str = "") -> bool:
        """Ask to wait; True when the answer is there at once."""
        answer = self.answer("wait", id=queue_id, maildrop=name)
        return not isinstance(answer, Later) and list(answer) == []


@pytest.fixture
def asked(store: Store) -> Asked:
    return Asked(store)


@pytest.fixture
def three(asked: Asked, put: PutMessage) -> Asked:
    """Requests to a queue with three deferred messages, that are not due for long."""
    for queue_id, sender, to in (
        ("0123456789AA", "alice@example.org", ["bob@example.net", "carol@example.com"]),
        ("0123456789AB", "", ["bob@example.net"]),
        ("0123456789AC", "dan@example.net", ["eve@example.org"]),
    ):
        put(*to, state=DEFERRED, queue_id=queue_id, sender=sender)
        asked.deferred.add(queue_id, FAR)
    return asked


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ([], ["0123456789AA", "0123456789AB", "0123456789AC"]),
        ([["I", "9AB", False]], ["0123456789AB"]),
        ([["I", "9AB", True]], ["0123456789AA", "0123456789AC"]),
        ([["=", "0123456789AB", False]], ["0123456789AB"]),
        ([["=", "9AB", False]], []),
        ([["R", "<bob@", False]], ["0123456789AA", "0123456789AB"]),
        ([["S", "<>", False]], ["0123456789AB"]),
        ([["R", "bob", False], ["S", "<>", True]], ["0123456789AA"]),
        ([["R", "bob", False], ["I", "9AC", False]], []),
        ([["@", "example.net", False]], ["0123456789AA", "0123456789AB"]),
        ([["@", "example.org", False], ["@", "example.net", False]], ["0123456789AA", "0123456789AB", "0123456789AC"]),
        ([["<", "", False]], ["0123456789AB"]),
        ([["@", "example.net", False], ["<", "dan@example.net", False]], []),
    ],
)
def test_a_flush_tries_what_its_limits_select(three: Asked, limits: list[list[object]], found: list[str]) -> None:
    assert three.flushed(*limits) == found


@pytest.mark.parametrize("limits", [[["X", "a", False]], "R", [1], [["I", 1, True]], {"I": 1}])
def test_limits_that_are_none_are_refused(three: Asked, limits: object) -> None:
    with pytest.raises((Refused, TypeError)):
        list(three.answer("flush", limits=limits))
    assert three.deferred.pop_due(0.0) is None


def test_a_recipient_who_has_his_mail_selects_nothing(three: Asked, store: Store, put: PutMessage) -> None:
    path = Path(store.path(DEFERRED, "0123456789AA"))
    path.write_bytes(path.read_bytes().replace(b"to: [ ] <carol", b"to: [x] <carol"))
    assert three.flushed(["R", "carol", False]) == []


def test_a_file_that_is_gone_or_damaged_disturbs_no_flush(three: Asked, store: Store) -> None:
    os.unlink(store.path(DEFERRED, "0123456789AA"))
    Path(store.path(DEFERRED, "0123456789AB")).write_bytes(b"what")
    assert three.flushed(["R", "", False]) == ["0123456789AC"]


def test_a_second_flush_of_a_domain_opens_no_file(three: Asked, store: Store) -> None:
    three.flushed(["@", "nowhere.example", False])
    for queue_id in ("0123456789AA", "0123456789AB", "0123456789AC"):
        os.unlink(store.path(DEFERRED, queue_id))
    assert three.flushed(["@", "example.org", False]) == ["0123456789AC"]


# --- waiting -------------------------------------------------------------------------------------

ID = "0123456789ABC"


@pytest.mark.parametrize(
    ("state", "answered"), [(INCOMING, False), (ACTIVE, False), (DEFERRED, True), (HOLD, True), (None, True)]
)
def test_who_waits_is_answered_at_once_when_the_first_pass_has_ended(
    asked: Asked, put: PutMessage, state: str | None, answered: bool
) -> None:
    if state:
        put("a@x", state=state)
    assert asked.is_answered(ID) == answered


def test_a_message_that_pickup_has_not_copied_yet_is_waited_for(asked: Asked, store: Store) -> None:
    assert asked.is_answered(ID, "original")
    Path(store.top, MAILDROP, "original").touch()
    assert not asked.is_answered(ID, "original")


@pytest.mark.parametrize("where", ["incoming", "active"])
def test_the_children_of_a_message_that_has_gone_are_waited_for(asked: Asked, where: str) -> None:
    if where == "incoming":
        asked.incoming.extend([f"{ID}88", "9999999999999"])
    else:
        asked.active.update({f"{ID}88": Message(f"{ID}88", envelope_for("a@x"), -1, 0)})
    answer = asked.answer("wait", id=ID, maildrop="")
    assert isinstance(answer, Later) and answer.open == {f"{ID}88"}


@pytest.mark.parametrize(("queue_id", "name"), [("x", ""), ("../../etc/passwd", ""), (ID, "../x"), (ID, ".x")])
def test_what_is_no_queue_id_or_no_name_is_refused(asked: Asked, queue_id: str, name: str) -> None:
    with pytest.raises(Refused):
        asked.answer("wait", id=queue_id, maildrop=name)


@pytest.mark.parametrize("is_whole", [False, True])
def test_messages_are_counted_by_queue_each_once(asked: Asked, store: Store, put: PutMessage, is_whole: bool) -> None:
    for number, state in enumerate((INCOMING, ACTIVE, DEFERRED, DEFERRED, HOLD)):
        put("a@x", state=state, queue_id=f"{ID}{number}")
    asked.active[f"{ID}1"] = Message(f"{ID}1", envelope_for("a@x"), -1, 0)
    asked.deferred.start_scan(store.entries(DEFERRED))
    while is_whole and asked.deferred.scan_some(1):
        pass
    (answer,) = asked.answer("count")
    assert answer == {"counts": {INCOMING: 1, ACTIVE: 1, DEFERRED: 2, HOLD: 1}}
    assert asked.deferred.is_whole is is_whole
