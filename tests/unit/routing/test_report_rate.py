"""report_rate_limit: an hour of each address."""

from sendmail_py.routing.report_rate import ReportRate


def test_an_address_gets_so_many_in_its_hour_and_then_again() -> None:
    rate = ReportRate(2)
    assert [rate.has_room("a@x", 1000.0 + i) for i in range(4)] == [True, True, False, False]
    assert rate.has_room("b@x", 1004.0)
    assert not rate.has_room("A@x", 1000.0 + 3599)
    assert rate.has_room("a@x", 1000.0 + 3600)


def test_zero_is_no_limit() -> None:
    assert all(ReportRate(0).has_room("a@x", 1.0) for _ in range(1000))


def test_a_clock_that_is_set_back_begins_a_new_hour() -> None:
    rate = ReportRate(1)
    assert rate.has_room("a@x", 5000.0) and rate.has_room("a@x", 100.0)


def test_that_the_hour_is_used_up_can_be_asked_without_counting() -> None:
    rate = ReportRate(2)
    assert not rate.is_used_up("a@x", 0.0)
    assert rate.has_room("a@x", 0.0) and not rate.is_used_up("a@x", 0.0)
    assert rate.has_room("a@x", 0.0) and rate.is_used_up("A@x", 1.0)
    assert not rate.is_used_up("a@x", 3600.0) and not ReportRate(0).is_used_up("a@x", 0.0)


def test_a_new_limit_holds_for_the_hour_that_has_begun() -> None:
    rate = ReportRate(1)
    assert rate.has_room("a@x", 0.0) and not rate.has_room("a@x", 1.0)
    rate.limit = 3
    assert [rate.has_room("a@x", 2.0) for _ in range(3)] == [True, True, False]


def test_the_many_others_of_a_storm_are_no_way_around_the_limit() -> None:
    rate = ReportRate(1)
    for number in range(30_000):
        assert rate.has_room(f"{number}@x", 0.0)
        if number % 1000 == 999:
            assert rate.has_room("a@x", 0.0) == (number == 999)
    assert rate.has_room("late@x", 0.0) and not rate.has_room("late@x", 0.0)
