"""The due times in memory: scans, clocks that jump, and flushes."""

import os
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.routing.schedule import Schedule
from sendmail_py.services.deferred_index import DeferredIndex

NOW = 1_000_000.0


def index(**due: float) -> DeferredIndex:
    made = DeferredIndex(Schedule(300, 4000, 432000, 432000))
    for queue_id, time in due.items():
        made.add(queue_id, time)
    return made


def popped(made: DeferredIndex, now: float) -> list[tuple[str, bool]]:
    return list(iter(lambda: made.pop_due(now), None))


def test_messages_come_out_when_due_and_soonest_first() -> None:
    made = index(C=30, A=10, B=20, D=40)
    assert popped(made, 5) == []
    assert popped(made, 30) == [("A", False), ("B", False), ("C", False)]
    assert len(made) == 1 and "D" in made and "A" not in made
    assert made.next_due() == 40


def test_a_new_time_takes_the_place_of_the_old_one() -> None:
    made = index(A=10)
    made.add("A", 50)
    assert popped(made, 49) == [] and made.next_due() == 50
    made.add("A", 5)
    assert popped(made, 100) == [("A", False)] and made.next_due() is None


def test_a_message_discarded_never_comes() -> None:
    made = index(A=10, B=20)
    made.flush()
    made.discard("A")
    made.discard("unknown")
    assert popped(made, 100) == [("B", True)]


def test_a_flush_makes_everything_due_and_says_so_once() -> None:
    made = index(A=NOW + 10, B=NOW + 20)
    assert made.flush() == 2
    assert made.flush() == 2
    assert sorted(popped(made, NOW)) == [("A", True), ("B", True)]
    made.add("A", NOW + 5)
    assert popped(made, NOW + 5) == [("A", False)]


def test_a_clock_set_back_makes_due_what_it_put_too_far_ahead_and_nothing_else() -> None:
    made = index(CAFE=NOW + 4000, FA=NOW + 4001)
    made.mend_clock(NOW)
    assert popped(made, NOW) == [("FA", False)]
    assert made.next_due() == NOW + 4000


def test_a_clock_set_forward_makes_everything_due() -> None:
    assert len(popped(index(A=NOW + 1, B=NOW + 3000), NOW + 10**6)) == 2


def test_a_scan_fills_the_index_in_pieces_with_the_times_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"")
    os.utime(path, (NOW, NOW))
    taken = []

    def entries() -> Iterator[tuple[str, os.stat_result]]:
        for n in range(7):
            taken.append(n)
            yield f"A{n}", path.stat()

    made = index(A0=NOW + 9)
    assert not made.scan_some(3)
    made.start_scan(entries())
    assert made.scan_some(3) and len(taken) == 3
    assert made.scan_some(3) and not made.scan_some(3) and not made.scan_some(3)
    assert len(made) == 7
    assert popped(made, NOW) == [(f"A{n}", False) for n in range(1, 7)]
    assert made.next_due() == NOW + 9


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 9) | st.none())), st.integers(0, 9))
def test_after_any_changes_the_index_holds_the_last_ones(changes: list[tuple[str, int | None]], now: int) -> None:
    made, wanted = index(), {}
    for queue_id, due in changes:
        wanted[queue_id] = due
        made.discard(queue_id) if due is None else made.add(queue_id, due)
    kept = {queue_id: due for queue_id, due in wanted.items() if due is not None}
    assert len(made) == len(kept) and made.next_due() == min(kept.values(), default=None)
    assert sorted(popped(made, now)) == sorted((q, False) for q, due in kept.items() if due <= now)
    assert len(made) == sum(due > now for due in kept.values())


def test_domains_and_hours_are_counted_as_messages_come_and_go() -> None:
    made = index()
    first, second = f"{10**13:013X}1A", f"{10**13 + 3600 * 10**6:013X}1B"
    made.add(first, NOW, ("a@x", "one.test", "two.test"))
    made.add(second, NOW, ("a@x", "one.test"))
    made.add(first, NOW + 9)  # another time for the same message
    assert made.domains == {"one.test": 2, "two.test": 1}
    assert sorted(made.hours.items()) == [(2777, 1), (2778, 1)]
    made.learn(first, ("a@x", "three.test"))
    assert made.domains == {"one.test": 1, "three.test": 1}
    made.discard(first)
    assert made.pop_due(NOW) == (second, False)
    assert not made.domains and not made.hours
