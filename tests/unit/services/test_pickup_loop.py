"""pickup's loop: the first name is taken at once, those that come meanwhile together, and master is always heard."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sendmail_py.core.config import Config, Setting
from sendmail_py.services.pickup import Pickup
from sendmail_py.services.pickup_loop import Loop
from sendmail_py.spool.layout import INCOMING
from sendmail_py.spool.maildrop import poke
from sendmail_py.spool.store import Store
from tests.unit.services.test_pickup import Played, submitted


class Counted(Pickup):
    """A pickup that notes how many messages each turn brought in."""

    def __init__(self, service: Played) -> None:
        super().__init__(service)
        self.turns: list[int] = []

    def triggered(self, data: bytes) -> None:
        super().triggered(data)
        self.turns.append(self.number)


@pytest.fixture
def service(store: Store) -> Iterator[Played]:
    values = {"queue_directory": store.top, "run_directory": f"{store.top}/nowhere", "maildrop_scan_delay": "3600"}
    config = Config({name: Setting(text, "test") for name, text in values.items()})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{store.top}/submit")
        listener.listen()
        played = Played(config)
        played.descriptors = {"submit": listener.detach()}
        yield played


@contextmanager
def serving(service: Played) -> Iterator[Counted]:
    pickup = Counted(service)
    pickup.scan()
    loop = Loop(pickup)
    thread = threading.Thread(target=loop.serve)
    thread.start()
    try:
        yield pickup
    finally:
        service.master.close()
        thread.join(timeout=60)
    assert not thread.is_alive()


def taken(store: Store) -> int:
    return sum(1 for _ in store.entries(INCOMING))


def wait_for(store: Store, count: int) -> None:
    deadline = time.monotonic() + 60
    while taken(store) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_names_that_come_while_it_gathers_are_taken_together(store: Store, service: Played) -> None:
    with serving(service) as pickup:
        for number in range(8):
            first = submitted(store)
            poke(store.top, first)
            wait_for(store, number * 21 + 1)
            names = [submitted(store) for _ in range(20)]
            for name in names:
                poke(store.top, name)
            wait_for(store, number * 21 + 21)
    assert sum(pickup.turns) == 8 * 21  # by now: the last turn is counted after its messages are there
    assert len(pickup.turns) < 8 * 21 / 2


def test_master_is_heard_while_it_gathers(store: Store, service: Played) -> None:
    with serving(service):
        for name in [submitted(store) for _ in range(20)]:
            poke(store.top, name)
        wait_for(store, 20)
    assert taken(store) == 20
