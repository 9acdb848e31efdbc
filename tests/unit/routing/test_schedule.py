"""When a deferred message is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.routing.schedule import Schedule

SCHEDULE = Schedule(minimal_backoff=300, maximal_backoff=4000, lifetime=432000, bounce_lifetime=86400)
NOW = 1_795_435_041.0
times = st.integers(0, 2 * 10**9)


def test_the_pause_is_the_age_of_the_message_between_two_bounds() -> None:
    pauses = [SCHEDULE.next_attempt(NOW, NOW - age) - NOW for age in (0, 299, 300, 1000, 3999, 4000, 10**6)]
    assert pauses == [300, 300, 300, 1000, 3999, 4000, 4000]


def test_a_message_from_the_future_waits_the_shortest_pause() -> None:
    assert SCHEDULE.next_attempt(NOW, NOW + 10**6) == NOW + 300


@given(times, times)
def test_a_message_just_deferred_is_not_due_and_is_due_when_its_time_has_come(now: int, arrived: int) -> None:
    due = SCHEDULE.next_attempt(now, arrived)
    assert not SCHEDULE.is_due(now, due)
    assert SCHEDULE.is_due(due, due)


@given(times, times)
def test_no_clock_makes_a_message_wait_longer_than_the_longest_pause(now: int, due: int) -> None:
    assert SCHEDULE.is_due(now, due) or due - now <= 4000


def test_a_message_expires_when_it_is_older_than_its_lifetime_and_a_bounce_at_its_own() -> None:
    assert not SCHEDULE.is_expired(NOW, NOW - 432000, is_bounce=False)
    assert SCHEDULE.is_expired(NOW, NOW - 432001, is_bounce=False)
    assert not SCHEDULE.is_expired(NOW, NOW - 86400, is_bounce=True)
    assert SCHEDULE.is_expired(NOW, NOW - 86401, is_bounce=True)
