"""destination_limits: what its lines say, and whom they are for."""

import pytest

from sendmail_py.routing.destination_limits import host_of, parse


def test_a_line_is_some_domains_and_then_what_holds_for_them_together() -> None:
    first, second, third = parse(
        "gmail.com Google.com. concurrency=10 rate=30/min outlook.com rate=7200/hour [192.0.2.1] concurrency=1".split()
    )
    assert (first.names, first.concurrency, first.pause) == ({"gmail.com", "google.com"}, 10, 2)
    assert (second.names, second.concurrency, second.pause) == ({"outlook.com"}, 0, 0.5)
    assert (third.names, third.concurrency) == ({"192.0.2.1"}, 1)


@pytest.mark.parametrize(
    ("rate", "pause"), [("2/s", 0.5), ("1/second", 1), ("60/m", 1), ("1/minute", 60), ("1/h", 3600), ("24/day", 3600)]
)
def test_a_rate_is_a_number_in_a_time(rate: str, pause: float) -> None:
    assert parse(["a.example", f"rate={rate}"])[0].pause == pause


@pytest.mark.parametrize(
    "text",
    [
        "concurrency=10",
        "gmail.com",
        "gmail.com concurrency=10 yahoo.com",
        "gmail.com concurrency=0",
        "gmail.com concurrency=ten",
        "gmail.com rate=30",
        "gmail.com rate=30/week",
        "gmail.com rate=0/min",
        "gmail.com speed=1",
        "hash:/etc/limits rate=1/min",
        "user@gmail.com rate=1/min",
    ],
)
def test_what_says_nothing_is_refused_with_the_word_that_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected") as info:
        parse(text.split())
    assert str(info.value).split(":")[0] in text


def test_a_limit_is_for_its_domains_and_what_lies_in_them() -> None:
    [limit] = parse(["google.com", "concurrency=1"])
    for_it = ["google.com", "aspmx.l.google.com", "notgoogle.com", "google.com.example", "com", ""]
    assert [limit.is_for(host) for host in for_it] == [True, True, False, False, False, False]


def test_the_name_in_a_nexthop_is_found() -> None:
    for nexthop in ("MX.example", "mx.example:25", "[mx.example]:587", "[mx.example]", "mx.example, other.example"):
        assert host_of(nexthop) == "mx.example"


def test_pauses_never_let_more_through_than_the_rate_in_any_window() -> None:
    [limit] = parse(["a.example", "rate=30/min"])
    now, sent = 0.0, []
    for turn in range(2000):
        now += 0.7 if turn % 50 else 100
        if limit.free_at <= now:
            limit.begin(now, 1)
            sent.append(now)
    assert all(later - earlier >= 60 for earlier, later in zip(sent, sent[30:], strict=False))
    assert len(sent) > 500
