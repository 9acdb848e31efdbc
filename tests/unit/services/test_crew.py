"""What master tells a service that does not read for a while: it hears all of it later, in order."""

import os
import selectors
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sendmail_py.core.config import Config
from sendmail_py.host.sockets import pair, receive_record
from sendmail_py.host.syslog import Log
from sendmail_py.services import crew as crew_module
from sendmail_py.services.children import Child
from sendmail_py.services.crew import Crew


class Stopped:
    """A crew with one service, whose end of the line the test holds and does not read."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        ours, self.theirs = pair()
        for end in (ours, self.theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
        ours.setblocking(False)
        self.child = Child("qmgr", 1, ours)
        patch.setattr(crew_module, "start", lambda *arguments: self.child)
        self.selector = selectors.DefaultSelector()
        self.crew = Crew(self.selector, Config({}), Log("x", "master", "mail", 2), self.heard, lambda child, code: None)
        self.crew.start("qmgr", {})
        self.theirs.settimeout(5)

    def heard(self, child: Child, record: dict[str, Any]) -> None:
        raise AssertionError

    def turn(self) -> bool:
        """Do one turn of master's loop; says if there was something to do."""
        self.crew.watch()
        events = self.selector.select(0)
        for key, _ in events:
            key.data()
        return bool(events)

    def wake(self) -> list[tuple[dict[str, Any], list[int]]]:
        """Read all that was told, master's loop going on beside it."""
        got = []
        self.theirs.setblocking(False)
        while True:
            try:
                received = receive_record(self.theirs)
            except BlockingIOError:
                if not self.turn():
                    return got
                continue
            assert received is not None
            got.append(received)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopped]:
    made = Stopped(monkeypatch)
    yield made
    made.child.close()
    made.theirs.close()
    made.selector.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def fill(child: Child) -> int:
    """Tell a service about new agents until it is told no more; returns their number."""
    count = 0
    while not child.unsent:
        child.tell({"do": "agent", "transport": f"{count} {'x' * 500}"}, [0])
        count += 1
    return count


def test_a_service_that_wakes_up_hears_all_that_it_was_told_and_the_last_configuration(stopped: Stopped) -> None:
    count = fill(stopped.child)
    reader, writer = os.pipe()
    stopped.child.tell({"do": "reload", "settings": "old"}, [writer])
    stopped.child.tell({"do": "agent", "transport": "last"}, [writer])
    stopped.child.tell({"do": "reload", "settings": "new"}, [writer])
    stopped.child.tell({"do": "look"})
    stopped.child.tell({"do": "look"})
    stopped.child.tell({"do": "stop"})
    os.close(writer)
    got = stopped.wake()
    assert [record["do"] for record, _ in got] == ["agent"] * (count + 1) + ["reload", "look", "stop"]
    assert [record["settings"] for record, _ in got if record["do"] == "reload"] == ["new"]
    assert not stopped.turn(), "nothing is left, and nobody waits for room"
    descriptors = [descriptor for _, some in got for descriptor in some]
    assert len(descriptors) == count + 2
    for descriptor in descriptors:
        os.close(descriptor)
    assert os.read(reader, 1) == b"", "nobody else has the other end any more"
    os.close(reader)


def test_however_often_a_stopped_service_is_told_to_reload_that_waits_once(stopped: Stopped) -> None:
    fill(stopped.child)
    before = open_files(), len(stopped.child.unsent)
    for _ in range(50):
        stopped.child.tell({"do": "reload"}, [0])
    assert (open_files(), len(stopped.child.unsent)) == (before[0] + 1, before[1] + 1)


def test_a_full_line_keeps_master_from_nothing_and_is_let_go_with_the_service(stopped: Stopped) -> None:
    fill(stopped.child)
    assert not stopped.turn(), "a line that takes nothing wakes nobody"
    before = open_files()
    stopped.child.close()
    assert open_files() == before - 2  # the line, and the descriptor that waited
    stopped.child.tell({"do": "stop"})
    assert not stopped.child.unsent
