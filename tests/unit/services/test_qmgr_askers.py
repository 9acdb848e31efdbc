"""The queue manager's loop: many who wait on the public socket, who leaves when it is over, and what time it is."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.host.sockets import connect, listen, receive_record, send_record
from sendmail_py.host.syslog import Log
from sendmail_py.services import qmgr
from sendmail_py.services.qmgr import QueueManager
from sendmail_py.services.service import Service
from sendmail_py.spool.layout import ACTIVE, DEFERRED, INCOMING
from sendmail_py.spool.store import Store
from tests.unit.conftest import PutMessage

ID = "0123456789ABC"
Ask = Callable[[dict[str, object]], socket.socket]


@pytest.fixture
def manager(store: Store) -> QueueManager:
    values = {"queue_directory": store.top, "myorigin": "example.org", "myhostname": "mx.example.org"}
    config = Config({name: Setting(text, "test") for name, text in values.items()})
    service = SimpleNamespace(log=Log("sendmail-py", "qmgr"), config=config, tell=lambda record: None)
    return QueueManager(cast(Service, service))


@pytest.fixture
def ask(manager: QueueManager, tmp_path: Path) -> Iterator[Ask]:
    """Return a function that sends a request, lets the loop see it, and gives the asker's end."""
    listener = listen(f"{tmp_path}/public", 0o600)
    ends = []

    def asked(request: dict[str, object]) -> socket.socket:
        end = connect(f"{tmp_path}/public", 10)
        ends.append(end)
        manager.accept(listener)
        send_record(end, request)
        manager.turn(True)
        return end

    yield asked
    for end in (*ends, listener):
        end.close()


def test_who_hangs_up_in_the_turn_in_which_it_is_answered_disturbs_nobody(
    manager: QueueManager, ask: Ask, put: PutMessage
) -> None:
    put("a@x", state=ACTIVE)
    ask({"verb": "wait", "id": ID}).close()
    seen = manager.selector.select(0)
    manager.requests.waiting.ended(ID)
    for key, _ in seen:
        key.data()
    assert len(seen) == 1 and not manager.selector.get_map()


def test_who_waits_keeps_nobody_of_the_same_user_from_asking(
    manager: QueueManager, ask: Ask, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmgr, "may_steer", lambda uid: False)
    put("a@x", state=ACTIVE)
    waiting = [ask({"verb": "wait", "id": ID}) for _ in range(qmgr._RESTING_OF_A_USER + 3)]
    counting = ask({"verb": "count"})
    while len(manager.selector.get_map()) > qmgr._RESTING_OF_A_USER:
        manager.turn(True)
    received = receive_record(counting)
    assert received is not None and received[0] == {"counts": {ACTIVE: 1}}
    assert [receive_record(end) for end in waiting[-3:]] == [None] * 3
    manager.requests.waiting.ended(ID)
    assert [receive_record(end) for end in waiting[:-3]] == [({"end": True}, [])] * qmgr._RESTING_OF_A_USER
    assert set(manager.resting.values()) == set(manager.asking.values()) == {0}


def test_what_ends_while_the_loop_sleeps_ends_at_the_time_of_its_news(manager: QueueManager) -> None:
    here, there = socket.socketpair()
    times: list[float] = []
    with here, there:
        manager.selector.register(here, selectors.EVENT_READ, lambda: times.append(manager.passes.active._now))
        before = time.monotonic()
        there.send(b"an agent's news")
        manager.turn(True)
    assert times and times[0] >= before


def test_a_directory_that_cannot_be_read_ends_no_deliveries_and_is_read_again(
    manager: QueueManager, put: PutMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a@x", state=DEFERRED)
    put("b@x", state=INCOMING, queue_id="0123456789ABD")
    errors: list[str] = []
    monkeypatch.setattr(manager.log, "error", errors.append)
    manager.passes.retry_pause = 0.0

    def full(path: str) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", full)
        patch.setattr("os.listdir", full)
        manager.find_incoming()
        manager.find_deferred()
        manager.turn(True)
    assert len(errors) == 2 and all("Too many open files" in error for error in errors)
    assert not manager.incoming and not manager.deferred.is_whole
    monkeypatch.setattr(manager.activation, "some", lambda now: False)
    manager.find_incoming()
    for _ in range(3):
        manager.turn(True)
    assert list(manager.incoming) == ["0123456789ABD"] and ID in manager.deferred and manager.deferred.is_whole
