"""The queue listing, compared with what Postfix prints."""

import json
import time
from collections.abc import Iterator

from sendmail_py.formats.listing import ListedMessage, json_lines, mailq_text

ARRIVED = 1795435041_123456
REFUSED = "connect to mx.example.net[192.0.2.7]:25: Connection refused"


def listing(*messages: ListedMessage) -> str:
    return "".join(mailq_text(iter(messages), time.gmtime))


def test_an_empty_queue_is_one_line() -> None:
    assert listing() == "Mail queue is empty\n"


def test_the_listing_is_postfixs() -> None:
    messages = [
        ListedMessage("active", "6A24F0C1B3", ARRIVED, 1532, "alice@example.org", [("bob@example.net", "")]),
        ListedMessage(
            "deferred", "7B24F0C1B3", ARRIVED - 86400_000_000 * 20, 2000, "",
            [("a@example.net", REFUSED), ("b@example.net", REFUSED), ("c@example.net", "mailbox busy"), ("d@x", "")],
        ),
        ListedMessage("hold", "8C24F0C1B3", ARRIVED, 123456789, "root@example.org", [("x@y", "z" * 80)], expired=True),
    ]  # fmt: skip
    assert listing(*messages) == (
        "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
        "6A24F0C1B3*    1532 Mon Nov 23 11:57:21  alice@example.org\n"
        "                                         bob@example.net\n"
        "\n"
        "7B24F0C1B3     2000 Tue Nov  3 11:57:21  MAILER-DAEMON\n"
        "                 (connect to mx.example.net[192.0.2.7]:25: Connection refused)\n"
        "                                         a@example.net\n"
        "                                         b@example.net\n"
        "                                                                (mailbox busy)\n"
        "                                         c@example.net\n"
        "                                                          (reason unavailable)\n"
        "                                         d@x\n"
        "\n"
        "8C24F0C1B3!# 123456789 Mon Nov 23 11:57:21  root@example.org\n"
        f"({'z' * 80})\n"
        "                                         x@y\n"
        "\n"
        "\t\tTotal requests: 3\n"
        "-- 120566 Kbytes in 3 Requests.\n"
    )


def test_one_message_is_one_request() -> None:
    text = listing(ListedMessage("incoming", "6A24F0C1B3D2", ARRIVED, 1023, "a@x"))
    assert text.endswith("\n\n\t\tTotal requests: 1\n-- 0 Kbytes in 1 Request.\n")


def test_what_a_server_said_cannot_forge_a_line() -> None:
    text = listing(ListedMessage("deferred", "6A24F0C1B3", ARRIVED, 1, "a\nb@x", [("c\rd@x", "no\n\x1b[2Jway\udc80")]))
    assert "(no  [2Jway?)\n" in text
    assert len(text.splitlines()) == 7


def test_the_listing_streams() -> None:
    def endless() -> Iterator[ListedMessage]:
        while True:
            yield ListedMessage("deferred", "6A24F0C1B3", ARRIVED, 1, "a@x")

    assert next(mailq_text(endless())).startswith("-Queue ID-")
    assert json.loads(next(json_lines(endless())))["queue_id"] == "6A24F0C1B3"


def test_json_lines_have_postqueues_keys() -> None:
    message = ListedMessage("deferred", "6A24F0C1B3", ARRIVED, 5, "", [("bob@x", 'say "no"\n'), ("é@x", "")])
    (line,) = json_lines([message])
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "queue_name": "deferred",
        "queue_id": "6A24F0C1B3",
        "arrival_time": 1795435041,
        "message_size": 5,
        "forced_expire": False,
        "sender": "MAILER-DAEMON",
        "recipients": [{"address": "bob@x", "delay_reason": 'say "no" '}, {"address": "é@x"}],
    }
