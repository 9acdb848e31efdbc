"""The queue by domain and age, as qshape prints it."""

from collections import Counter

from sendmail_py.formats.listing import ListedMessage
from sendmail_py.formats.queue_summary import summary, summary_rows, summary_text

NOW = 1_795_435_041.0


def message(minutes: float, sender: str, *to: str) -> ListedMessage:
    arrived = int((NOW - minutes * 60) * 1e6)
    return ListedMessage("deferred", "0123456789AB", arrived, 10, sender, [(address, "") for address in to])


MESSAGES = [
    message(0, "a@one.test", "x@Far.test", "y@far.test", "z@near.test"),
    message(5, "a@one.test", "x@far.test"),
    message(5.1, "", "x@near.test"),
    message(1280, "b@two.test", "x@far.test"),
    message(1281, "b@two.test", "x@end.test"),
]


def test_recipients_are_counted_by_domain_and_age() -> None:
    table = summary(MESSAGES, NOW)
    assert table == {
        "far.test": Counter({0: 3, 8: 1}),
        "near.test": Counter({0: 1, 1: 1}),
        "end.test": Counter({9: 1}),
    }
    assert summary_text(table) == (
        "          T 5 10 20 40 80 160 320 640 1280 1280+\n"
        "    TOTAL 7 4  1  0  0  0   0   0   0    1     1\n"
        " far.test 4 3  0  0  0  0   0   0   0    1     0\n"
        "near.test 2 1  1  0  0  0   0   0   0    0     0\n"
        " end.test 1 0  0  0  0  0   0   0   0    0     1\n"
    )


def test_messages_are_counted_by_the_domain_of_their_sender() -> None:
    rows = summary_rows(summary(MESSAGES, NOW, by_sender=True))
    assert [(row["domain"], row["total"]) for row in rows] == [("one.test", 2), ("two.test", 2), ("MAILER-DAEMON", 1)]
    assert rows[1]["by_age"] == dict.fromkeys(["5m", "10m", "20m", "40m", "80m", "160m", "320m", "640m"], 0) | {
        "1280m": 1,
        "older than 1280m": 1,
    }


def test_an_empty_queue_is_a_row_of_zeros() -> None:
    assert summary_text({}).splitlines()[1] == "TOTAL 0 0  0  0  0  0   0   0   0    0     0"


def test_a_name_that_leaves_no_room_for_the_columns_has_lines_of_its_own() -> None:
    table = summary([message(0, "", "a@short.test", "b@" + "l" * 90 + ".test")], NOW)
    lines = summary_text(table, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line[:12] for line in lines[2:4]] == ["l" * 12, "  " + "l" * 10]
    assert lines[4].split() == ["1", "1", *"0" * 9]
