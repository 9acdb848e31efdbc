"""A listing on its way from the queue manager to mailq: nothing is lost, and every record fits."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendmail_py.core.errors import MailError
from sendmail_py.formats.listing import ListedMessage, shown
from sendmail_py.formats.listing_records import from_records, to_records
from sendmail_py.host.sockets import RECORD_LIMIT

texts = st.text(max_size=20) | st.builds(lambda one, many: shown(one * many), st.characters(), st.integers(1, 9000))
recipients = st.lists(st.tuples(texts, texts), max_size=30)
messages = st.builds(
    ListedMessage, st.just("deferred"), st.text("0123456789ABCDEF", max_size=200), st.integers(0), st.integers(0),
    texts, recipients, st.booleans(),
)  # fmt: skip


def over_the_line(found: list[ListedMessage | None]) -> tuple[list[ListedMessage], list[int]]:
    """Return what arrives of a listing, and how many octets each record had."""
    octets = [json.dumps(record).encode() for record in to_records(found)]
    return list(from_records(map(json.loads, octets))), list(map(len, octets))


@given(st.lists(st.none() | messages, max_size=8))
def test_a_listing_arrives_whole_in_records_that_fit(found: list[ListedMessage | None]) -> None:
    arrived, sizes = over_the_line(found)
    assert arrived == [message for message in found if message is not None]
    assert max(sizes, default=0) < RECORD_LIMIT


def message(number: int, count: int, character: str = "x") -> ListedMessage:
    some = [(shown(character * 5000), shown(character * 6000))] * count
    return ListedMessage("hold", f"{number:020}", 1, 2, shown(character * 7000), some, True)


@pytest.mark.parametrize("character", ["x", "\\", "\0", "\udcff", "\U0001f4e7"])
def test_the_longest_of_all_listings_fits(character: str) -> None:
    found = [message(number, count, character) for number, count in enumerate((0, 1, 2, 3, 500, 0, 1))]
    arrived, sizes = over_the_line([*found])
    assert arrived == found and max(sizes) < RECORD_LIMIT


def test_a_great_message_between_small_ones_keeps_its_recipients_in_their_order() -> None:
    many = [(f"user{n}@far.example", f"reason {n}") for n in range(50_000)]
    found = [message(1, 1), ListedMessage("deferred", "2", 1, 2, "a@x", many), message(3, 1)]
    arrived, sizes = over_the_line([*found])
    assert arrived == found and len(sizes) > 50


def test_fifty_are_looked_at_for_a_record_at_most_so_that_nothing_else_waits_for_long() -> None:
    looked_at = 0

    def endless():
        nonlocal looked_at
        while True:
            looked_at += 1
            yield None

    assert next(to_records(endless())) == {"rows": []}
    assert looked_at == 50


def test_records_of_another_version_are_a_plain_error() -> None:
    with pytest.raises(MailError, match="another version"):
        list(from_records([{"messages": []}]))
