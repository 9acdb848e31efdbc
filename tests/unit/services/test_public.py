"""One connection to the public socket: an answer at once, one in pieces, and one that is there later."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sendmail_py.core.config import Config
from sendmail_py.host.sockets import pair, receive_record, send_record
from sendmail_py.services.permissions import Permissions
from sendmail_py.services.public import OPEN_TO_ALL, Asker, Handler
from sendmail_py.services.waiting import Later, Waiting

ANYBODY = 61234


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = pair()
    theirs.settimeout(60)
    yield ours, theirs
    ours.close()
    theirs.close()


def asker(end: socket.socket, **handlers: Handler) -> Asker:
    return Asker(end, ANYBODY, handlers, Permissions(Config({}), OPEN_TO_ALL))


def answer(theirs: socket.socket) -> list[Any]:
    """Return the records of an answer up to its end."""
    records = []
    while True:
        received = receive_record(theirs)
        assert received is not None
        if received[0] == {"end": True}:
            return records
        records.append(received[0])


def test_an_answer_is_sent_piece_by_piece_to_its_end(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    made = asker(ours, wait=lambda request: iter([{"n": 1}, {"n": 2}]))
    send_record(theirs, {"verb": "wait"})
    turns = 1
    while made.serve():
        assert made.is_answering
        turns += 1
    assert turns == 3 and answer(theirs) == [{"n": 1}, {"n": 2}]


def unreadable(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Answer half of what was asked for."""
    yield {"n": 1}
    raise PermissionError(13, "Permission denied", "/queue/active")


def test_a_queue_that_cannot_be_read_is_an_error_and_not_an_empty_queue(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    made = asker(ours, wait=unreadable)
    send_record(theirs, {"verb": "wait"})
    while made.serve():
        pass
    assert answer(theirs) == [{"n": 1}, {"error": "/queue/active: Permission denied"}]


def resting(ends: tuple[socket.socket, socket.socket]) -> tuple[Asker, Waiting, Later]:
    """Return a connection that waits for the message A."""
    waiting = Waiting()

    def wait(_: dict[str, Any]) -> Later:
        later = waiting.add(["A"])
        assert later is not None
        return later

    made = asker(ends[0], wait=wait)
    send_record(ends[1], {"verb": "wait"})
    assert made.serve() and not made.is_answering and made.later is not None
    return made, waiting, made.later


def test_an_answer_that_is_there_later_is_the_end_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    made, waiting, later = resting(ends)
    over = []
    later.ready = lambda: over.append(made.serve())
    waiting.ended("A")
    assert over == [False] and answer(ends[1]) == []


def test_an_answer_that_is_there_later_may_have_something_to_say(ends: tuple[socket.socket, socket.socket]) -> None:
    made, waiting, later = resting(ends)
    later.answer = iter([{"n": 1}])
    waiting.ended("A")
    while made.serve():
        assert made.is_answering
    assert answer(ends[1]) == [{"n": 1}]


@pytest.mark.parametrize("hangs_up", [True, False])
def test_who_does_not_wait_for_it_is_forgotten(ends: tuple[socket.socket, socket.socket], hangs_up: bool) -> None:
    made, waiting, later = resting(ends)
    told: list[bool] = []
    later.ready = lambda: told.append(True)
    if hangs_up:
        ends[1].close()
    else:
        send_record(ends[1], {"verb": "wait"})
    assert not made.serve()
    made.close()
    waiting.ended("A")
    assert told == []


@pytest.mark.parametrize("record", [{}, [], "list", {"verb": 5}, {"verb": ["list"]}, None, {"verb": None}])
def test_a_request_that_is_none_ends_the_connection_or_is_refused(
    ends: tuple[socket.socket, socket.socket], record: object
) -> None:
    made = asker(ends[0], wait=lambda request: iter(()))
    send_record(ends[1], record)
    while made.serve():
        pass
    made.close()
    received = receive_record(ends[1])
    assert received is None or "error" in received[0]


def test_what_is_roots_alone_is_denied_to_others(ends: tuple[socket.socket, socket.socket]) -> None:
    made = asker(ends[0], hold=lambda request: iter([{"done": True}]))
    send_record(ends[1], {"verb": "hold"})
    while made.serve():
        pass
    (record,) = answer(ends[1])
    assert record["denied"]
