"""The window of deliveries to one destination: Postfix's feedback."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.routing.concurrency import Feedback, Policy, Window


def test_the_window_grows_by_one_with_each_success_up_to_the_limit() -> None:
    window = Window(Policy(concurrency=8, initial=5))
    sizes = []
    for _ in range(5):
        window.succeeded(window.size)
        sizes.append(window.size)
    assert sizes == [6, 7, 8, 8, 8]


def test_the_window_stays_near_what_is_really_under_way() -> None:
    window = Window(Policy(concurrency=100, initial=5))
    for _ in range(50):
        window.succeeded(1)
    assert window.size == 6


def test_with_1_by_concurrency_a_whole_window_of_successes_is_needed_for_one_more() -> None:
    window = Window(Policy(initial=4, positive=Feedback.parse("1 / concurrency")))
    sizes = []
    for _ in range(8):
        window.succeeded(window.size)
        sizes.append(window.size)
    assert sizes[:3] == [4, 4, 4] and sizes[3] == 5 and sizes[-1] < 7


def test_three_failures_in_a_row_make_a_new_destination_dead() -> None:
    window = Window(Policy())
    assert [window.failed() for _ in range(3)] == [False, False, True]


def test_one_whole_set_of_failures_is_enough_be_it_of_one_connection() -> None:
    assert Window(Policy(initial=1)).failed()


def test_a_success_between_failures_begins_the_count_anew() -> None:
    window = Window(Policy())
    for _ in range(20):
        assert not window.failed()
        window.succeeded(window.size)
    assert window.size >= 1


def test_with_a_cohort_limit_of_0_nothing_is_ever_dead_and_one_delivery_stays() -> None:
    window = Window(Policy(cohorts=0))
    assert not any(window.failed() for _ in range(100))
    assert window.size == 1


def test_two_cohorts_take_twice_as_many_failures() -> None:
    once, twice = Window(Policy(cohorts=1)), Window(Policy(cohorts=2))
    count = [0, 0]
    for n, window in enumerate((once, twice)):
        while not window.failed():
            count[n] += 1
    assert count[1] > count[0]


def test_a_revived_destination_begins_with_what_is_under_way_or_with_the_initial_window() -> None:
    window = Window(Policy())
    window.revive(3)
    assert window.size == 3
    window.revive(0)
    assert window.size == 5


def test_a_pause_between_messages_leaves_one_delivery() -> None:
    window = Window(Policy(rate_delay=1))
    window.succeeded(1)
    assert window.size == 1


feedbacks = st.builds(Feedback, st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))


@given(st.lists(st.booleans(), max_size=200), st.integers(0, 30), st.integers(1, 30), feedbacks, feedbacks)
def test_whatever_happens_the_window_is_between_one_and_the_limit(
    happens: list[bool], limit: int, initial: int, positive: Feedback, negative: Feedback
) -> None:
    window = Window(Policy(limit, initial=initial, positive=positive, negative=negative))
    for is_good in happens:
        if is_good:
            window.succeeded(window.size)
        elif window.failed():
            window.revive(0)
        assert 1 <= window.size <= (limit or 10**9)


@pytest.mark.parametrize(
    ("text", "at_four"),
    [("1", 1), ("0.5", 0.5), ("1/4", 0.25), ("1/concurrency", 0.25), ("1 / sqrt_concurrency", 0.5), ("0", 0)],
)
def test_feedback_is_read_in_postfix_s_forms(text: str, at_four: float) -> None:
    assert Feedback.parse(text).at(4) == at_four


@pytest.mark.parametrize("text", ["", "x", "2", "-1", "nan", "1/", "1/0", "1/windows", "/concurrency"])
def test_other_feedback_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Feedback.parse(text)
