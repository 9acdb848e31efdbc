"""How much a user may submit in an hour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.routing.submission_rate import HOUR, SubmissionRate, parse_limit

NOW = 1_795_435_041.0
ALICE, BOB, ROOT = 1000, 1001, 0


def send(rate: SubmissionRate, uid: int, recipients: int = 1, now: float = NOW) -> bool:
    """Do what pickup does with one message; returns whether it went."""
    if rate.closed_until(uid, now) or not rate.has_room(uid, recipients, now):
        return False
    rate.count(uid, recipients, now)
    return True


@pytest.mark.parametrize(
    ("text", "limit"),
    [("", (0, 0)), ("100", (100, 0)), ("100/500", (100, 500)), (" 100 / 500 ", (100, 500)), ("0/500", (0, 500))],
)
def test_a_limit_is_messages_and_perhaps_recipients(text: str, limit: tuple[int, int]) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["/", "/5", "5/", "-1", "1/2/3", "a", "1h", "1.5", "²"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 100/500"):
        parse_limit(text)


def test_without_a_limit_nobody_is_counted() -> None:
    rate = SubmissionRate(0, 0)
    assert all(send(rate, ALICE, 1000) for _ in range(1000))
    assert list(rate.rows()) == [] and rate.closed(NOW) == {}


def test_the_message_after_the_limit_waits_and_other_users_do_not() -> None:
    rate = SubmissionRate(3, 0)
    assert [send(rate, ALICE) for _ in range(5)] == [True] * 3 + [False] * 2
    assert send(rate, BOB)
    assert rate.closed(NOW) == {ALICE: NOW + HOUR}


def test_root_is_never_counted() -> None:
    rate = SubmissionRate(1, 1)
    assert all(send(rate, ROOT, 100) for _ in range(100))
    assert not rate.is_too_many(ROOT, 100)


def test_a_user_is_closed_as_soon_as_the_limit_is_reached() -> None:
    rate = SubmissionRate(2, 0)
    assert not rate.count(ALICE, 1, NOW)
    assert rate.count(ALICE, 1, NOW)
    assert rate.closed_until(ALICE, NOW) == NOW + HOUR


def test_recipients_are_counted_and_a_message_goes_whole_or_waits() -> None:
    rate = SubmissionRate(0, 10)
    assert send(rate, ALICE, 7)
    assert not send(rate, ALICE, 4)
    assert not send(rate, ALICE, 1)  # closed: also what would still have fitted waits
    assert send(rate, ALICE, 4, NOW + HOUR)


def test_a_message_with_more_recipients_than_an_hour_allows_never_goes() -> None:
    rate = SubmissionRate(0, 10)
    assert rate.is_too_many(ALICE, 11) and not rate.is_too_many(ALICE, 10)


def test_the_hour_begins_with_the_first_message_and_then_the_count_begins_anew() -> None:
    rate = SubmissionRate(2, 0)
    assert send(rate, ALICE, now=NOW) and send(rate, ALICE, now=NOW + HOUR - 1)
    assert not send(rate, ALICE, now=NOW + HOUR - 0.5)
    assert send(rate, ALICE, now=NOW + HOUR) and send(rate, ALICE, now=NOW + HOUR)
    assert rate.closed_until(ALICE, NOW + HOUR) == NOW + 2 * HOUR


def test_a_clock_that_is_set_back_frees_who_was_closed() -> None:
    rate = SubmissionRate(1, 0)
    assert send(rate, ALICE)
    assert send(rate, ALICE, now=NOW - 10)


def test_counts_survive_being_written_and_read_back() -> None:
    rate = SubmissionRate(3, 100)
    for uid, recipients in ((ALICE, 5), (ALICE, 6), (BOB, 100)):
        send(rate, uid, recipients)
    again = SubmissionRate(3, 100)
    again.restore(rate.rows(), NOW + 60)
    assert list(again.rows()) == list(rate.rows())
    assert again.closed(NOW + 60) == {BOB: NOW + HOUR}
    assert send(again, ALICE, now=NOW + 60) and not send(again, ALICE, now=NOW + 60)


def test_what_is_over_or_in_the_future_is_not_read_back_and_a_higher_limit_opens() -> None:
    rows = [(ALICE, int(NOW), 3, 3)]
    for limit, now, closed in ((3, NOW, True), (4, NOW, False), (3, NOW + HOUR, False), (3, NOW - 1, False)):
        rate = SubmissionRate(limit, 0)
        rate.restore(rows, now)
        assert bool(rate.closed_until(ALICE, now)) == closed


@given(
    st.tuples(st.integers(0, 5), st.integers(0, 20)),
    st.lists(st.tuples(st.sampled_from([ALICE, BOB]), st.integers(1, 8), st.floats(0, HOUR / 2)), max_size=40),
)
def test_no_hour_ever_holds_more_than_the_limit(limit: tuple[int, int], sent: list[tuple[int, int, float]]) -> None:
    rate = SubmissionRate(*limit)
    now = NOW
    hours: dict[int, list[tuple[float, int]]] = {}
    for uid, recipients, pause in sent:
        now += pause
        if rate.is_too_many(uid, recipients) or not send(rate, uid, recipients, now):
            continue
        began = hours.setdefault(uid, [])
        if began and now >= began[0][0] + HOUR:
            began.clear()
        began.append((now, recipients))
        assert not limit[0] or len(began) <= limit[0]
        assert not limit[1] or sum(count for _, count in began) <= limit[1]
