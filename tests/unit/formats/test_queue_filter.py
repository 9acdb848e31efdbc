"""Which messages the options of `mailctl queue hold` and its like select."""

import re

import pytest

from sendmail_py.formats.listing import ListedMessage
from sendmail_py.formats.queue_filter import QueueFilter

NOW = 1_795_435_041.0
RECIPIENTS = [("bob@Example.net", "Connection timed out"), ("carol@lists.example.com", "")]
MESSAGE = ListedMessage("deferred", "0123456789AB", int((NOW - 7200) * 1e6), 10, "Alice@example.org", RECIPIENTS)


def selects(**what: object) -> bool:
    return QueueFilter(**what).selects(MESSAGE, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"ids": frozenset(["0123456789AB", "0123456789AC"])},
        {"senders": ("alice@example.org",)},
        {"senders": ("<alice@example.org>",)},
        {"senders": ("@EXAMPLE.org",)},
        {"senders": ("x@y", "alice@example.org")},
        {"recipients": ("bob@example.net",)},
        {"recipients": ("@lists.example.com",)},
        {"domains": ("example.net",)},
        {"domains": (".example.com",)},
        {"older": 7200},
        {"newer": 7201},
        {"patterns": (re.compile("timed out"),)},
        {"patterns": (re.compile("^carol@"), re.compile("^Alice"))},
        {"states": ("hold", "deferred")},
        {"senders": ("@example.org",), "domains": ("example.net",), "older": 60},
    ],
)
def test_a_message_is_selected_by_what_is_known_of_it(what: dict[str, object]) -> None:
    assert selects(**what)


@pytest.mark.parametrize(
    "what",
    [
        {"ids": frozenset(["0123456789A"])},
        {"senders": ("lice@example.org",)},
        {"senders": ("<>",)},
        {"recipients": ("alice@example.org",)},
        {"domains": ("net", "xample.net", ".example.net", "example.com")},
        {"older": 7201},
        {"newer": 7200},
        {"patterns": (re.compile("timed out"), re.compile("^dan"))},
        {"states": ("hold",)},
        {"senders": ("@example.org",), "domains": ("example.org",)},
    ],
)
def test_all_that_is_given_must_fit(what: dict[str, object]) -> None:
    assert not selects(**what)


def test_the_null_sender_is_written_with_brackets() -> None:
    bounce = ListedMessage("deferred", "0123456789AB", 0, 10, "", [("a@x", "")])
    assert QueueFilter(senders=("<>",)).selects(bounce, NOW)
    assert QueueFilter(patterns=(re.compile("^<>$"),)).selects(bounce, NOW)


def test_ids_and_queues_need_no_look_into_the_messages() -> None:
    assert not QueueFilter(frozenset(["0123456789AB"]), states=("hold",)).needs_messages
    assert QueueFilter(older=1).needs_messages and QueueFilter(senders=("a",)).needs_messages
