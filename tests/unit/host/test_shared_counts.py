"""Counts that several processes keep together: sums, time units, and what a process leaves that is killed."""

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.host import shared_counts
from sendmail_py.host.shared_counts import SharedCounts, create, forget_process

ALICE, BOB = b"alice".ljust(16, b"\0"), b"bob".ljust(16, b"\0")


@pytest.fixture
def memory():
    descriptor = create()
    yield descriptor
    os.close(descriptor)


def process(memory, slot):
    """Return the counts as a new process sees them, for which master has made room."""
    forget_process(memory, slot)
    return SharedCounts(memory, slot)


def test_connections_are_summed_over_all_processes(memory):
    one, two = process(memory, 0), process(memory, 5)
    assert [one.connect(ALICE, 1), two.connect(ALICE, 1), one.connect(ALICE, 1), two.connect(BOB, 1)] == [1, 2, 3, 1]
    assert one.connections() == two.connections() == 4
    assert two.connect(ALICE, -1) == 2
    assert one.connections() == 3


def test_events_are_summed_within_a_time_unit(memory):
    one, two = process(memory, 0), process(memory, 1)
    assert [one.event(ALICE, "mail", 7), two.event(ALICE, "mail", 7), two.event(ALICE, "rcpt", 7)] == [1, 2, 1]
    assert one.event(ALICE, "mail", 8) == 1
    assert two.event(BOB, "mail", 8) == 1


def test_a_killed_process_leaves_no_connections_but_what_it_counted(memory):
    one = process(memory, 0)
    pid = os.fork()
    if not pid:
        two = process(memory, 1)
        two.connect(ALICE, 1)
        two.event(ALICE, "mail", 3)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert one.connect(ALICE, 1) == 2
    forget_process(memory, 1)
    assert one.connections() == 1
    assert one.event(ALICE, "mail", 3) == 2
    three = SharedCounts(memory, 1)
    assert three.connect(ALICE, 1) == 2
    assert three.event(ALICE, "mail", 3) == 3


def test_clients_that_have_gone_make_room_and_those_that_are_there_stay(memory):
    one = process(memory, 0)
    here = [number.to_bytes(16, "big") for number in range(1000)]
    for client in here:
        one.connect(client, 1)
    for number in range(1000, 60_000):
        one.event(number.to_bytes(16, "big"), "connection", number // 1000)
    assert one.connections() == 1000
    assert all(one.connect(client, 1) == 2 for client in here)


def test_a_client_is_no_other_whose_octets_stand_across_two_values(memory, monkeypatch):
    monkeypatch.setattr(shared_counts, "_BUCKETS", 1)
    one = process(memory, 0)
    one.connect(ALICE, 1)
    other = ALICE[4:] + (1).to_bytes(4, "little")  # the epoch follows
    assert [one.connect(other, 1), one.connect(ALICE, 1)] == [1, 2]


def test_where_there_is_no_room_at_all_nothing_breaks(memory, monkeypatch):
    monkeypatch.setattr(shared_counts, "_BUCKETS", 1)
    one = process(memory, 0)
    counts = [one.connect(number.to_bytes(16, "big"), 1) for number in range(10)]
    assert counts == [1] * 8 + [0] * 2
    assert one.event((9).to_bytes(16, "big"), "mail", 1) == 0
    assert one.connections() == 10


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([ALICE, BOB]), st.sampled_from([1, -1])), max_size=60))
def test_counts_are_those_of_one_process(steps):
    memory = create()
    processes = [process(memory, slot) for slot in range(3)]
    held = {}
    for slot, client, number in steps:
        if number < 0 and not held.get((slot, client)):
            continue
        held[slot, client] = held.get((slot, client), 0) + number
        expected = sum(count for (_, owner), count in held.items() if owner == client)
        assert processes[slot].connect(client, number) == expected
    assert processes[0].connections() == sum(held.values())
    os.close(memory)
