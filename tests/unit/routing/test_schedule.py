"""When a deferred message is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.routing.schedule import Schedule

SCHEDULE = Schedule(minimal_backoff=300, maximal_backoff=4000, lifetime=432000, bounce_lifetime=86400)
NOW = 1_795_435_041.0
times = st.integers(0, 2 * 10**9)


def test_the_pause_is_the_age_of_the_message_between_two_bounds() -> None:
    pauses = [SCHEDULE.next_attempt(NOW, NOW - age, 0) - NOW for age in (0, 299, 300, 1000, 3000, 4000, 10**6)]
    assert pauses[:5] == [300, 300, 300, 1000, 3000]
    assert all(3300 < pause < 4000 for pause in pauses[5:])


def test_messages_that_failed_at_one_time_come_back_at_different_times() -> None:
    for age in (0, 1000, 10**6):
        pauses = {SCHEDULE.next_attempt(NOW, NOW - age, chance / 10) for chance in range(11)}
        assert len(pauses) == 11 and max(pauses) - min(pauses) > 0.15 * (min(pauses) - NOW)


@given(st.floats(0, 1))
def test_three_attempts_follow_within_the_first_hour(chance: float) -> None:
    at, attempts = 0.0, 0
    while (at := SCHEDULE.next_attempt(at, 0, chance)) <= 3600:
        attempts += 1
    assert attempts >= 3  # RFC 5321 4.5.4.1 wants two


def test_bounds_that_are_one_are_kept_to() -> None:
    assert Schedule(60, 60, 1, 1).next_attempt(NOW, NOW - 10**6, 0.7) == NOW + 60


def test_a_message_from_the_future_waits_the_shortest_pause() -> None:
    assert SCHEDULE.next_attempt(NOW, NOW + 10**6, 0) == NOW + 300


@given(times, times, st.floats(0, 1))
def test_a_message_just_deferred_is_not_due_and_is_due_when_its_time_has_come(
    now: int, arrived: int, chance: float
) -> None:
    due = SCHEDULE.next_attempt(now, arrived, chance)
    assert now + 300 <= due <= now + 4000
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
