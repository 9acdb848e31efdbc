"""The bounds of the submit socket: time, size, space and uids, without waiting for them."""

import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.core.errors import SpoolError
from sendmail_py.formats.submit_records import data_records, end_record
from sendmail_py.host.sockets import connect, listen, receive_record
from sendmail_py.services import submit
from sendmail_py.services.pickup import Pickup
from sendmail_py.services.submit import SubmitServer
from sendmail_py.spool.layout import INCOMING, TMP
from sendmail_py.spool.store import Store
from tests.unit.services.test_pickup import Played


class Served:
    """A server whose loop runs when it is asked to."""

    def __init__(self, store: Store, path: str) -> None:
        values = {"queue_directory": store.top, "run_directory": path, "data_directory": path, "myorigin": "here.test"}
        config = Config({name: Setting(text, "test") for name, text in values.items()})
        self.pickup = Pickup(Played(config))
        self.selector = selectors.DefaultSelector()
        self.server = SubmitServer(self.pickup, self.selector)
        self.path = f"{path}/submit"
        self.listener = listen(self.path, 0o600)
        self.selector.register(self.listener, selectors.EVENT_READ, lambda: self.server.accept(self.listener))

    def client(self) -> socket.socket:
        end = connect(self.path, timeout=60)
        self.turn()
        return end

    def turn(self, until: Callable[[], object] = lambda: True) -> None:
        """Handle what has come, until something is so."""
        end = time.monotonic() + 20
        while True:
            for key, _ in self.selector.select(0.05):
                key.data()
            if until():
                return
            assert time.monotonic() < end

    def left(self) -> list[str]:
        return sorted(path.name for path in Path(self.pickup.top, TMP).iterdir())


@pytest.fixture
def served(store: Store, tmp_path: Path) -> Iterator[Served]:
    made = Served(store, str(tmp_path))
    yield made
    for submission in list(made.server.open):
        submission.close()
    made.listener.close()
    made.selector.close()


def said(end: socket.socket) -> dict[str, Any]:
    received = receive_record(end)
    assert received is not None
    return cast(dict[str, Any], received[0])


@pytest.mark.parametrize("bound", ["_IDLE_SECONDS", "_LONGEST_SECONDS"])
def test_who_takes_too_long_is_told_so_and_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    with served.client() as end:
        assert said(end)["code"] == 0
        served.server.sweep()
        assert len(served.server.open) == 1
        monkeypatch.setattr(submit, bound, -1.0)
        served.server.sweep()
        answer = said(end)
        assert (answer["code"], answer["text"]) == (75, "the message did not come in time")
        assert receive_record(end) is None
    assert not served.server.open and not served.server.of_user


def test_a_message_being_written_to_the_disk_is_not_late(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with served.client() as end:
        (submission,) = served.server.open
        monkeypatch.setattr(submit, "_IDLE_SECONDS", -1.0)
        submission.is_storing = True
        served.server.sweep()
        assert served.server.open == {submission}
        submission.is_storing = False
        assert said(end)["code"] == 0


def test_connections_beyond_the_number_for_all_are_sent_away(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "_IN_ALL", 1)
    with served.client() as first, served.client() as second:
        assert said(first)["code"] == 0
        answer = said(second)
        assert answer["code"] == 75 and answer["busy"]
    served.turn(lambda: not served.server.open)
    with served.client() as third:
        assert said(third)["code"] == 0


def test_a_caller_without_a_uid_here_is_refused(served: Served) -> None:
    served.pickup.overflow_uid = os.getuid()
    with served.client() as end:
        answer = said(end)
    assert answer["code"] == 69 and "overflow uid" in answer["text"]


def test_a_disk_that_fills_up_on_the_way_ends_it_with_75(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with served.client() as end:
        assert said(end)["code"] == 0

        def full(*_: object) -> None:
            raise SpoolError("not enough free space")

        monkeypatch.setattr(submit, "check_space", full)
        monkeypatch.setattr(submit, "_SPACE_CHECKED_EVERY", 100)
        for record in data_records(b"x" * 200):
            end.sendall(record)
        served.turn(lambda: not served.server.open)
        answer = said(end)
    assert (answer["code"], answer["text"]) == (75, "not enough free space")
    with served.client() as end:  # and it is not even begun
        assert said(end)["code"] == 75
    assert served.left() == []


def test_what_was_taken_is_in_the_queue_under_the_inode_its_id_names(served: Served, store: Store) -> None:
    text = b'sendmail-py-queue 1\nsubmitter: uid=0 login=x pid=1 cwd="/" command=""\nto: [ ] <bob>\n'
    text += b"flags: [ ] delay-warned\nsize: 0000000000\n\nSubject: x\n\nhi\n"
    with served.client() as end:
        assert said(end)["code"] == 0
        for record in (*data_records(text), end_record(len(text))):
            end.sendall(record)
        served.turn(lambda: not served.server.open)
        answer = said(end)
    ((queue_id, status),) = store.entries(INCOMING)
    assert answer["code"] == 0 and answer["id"] == queue_id
    assert queue_id.endswith(f"{status.st_ino:X}")
    assert served.pickup.qmgr.ids == [queue_id] and served.left() == []
