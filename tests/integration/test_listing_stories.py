"""The queue is listed whole, and alike, through the queue manager and without it, whatever is in it."""

import json

import pytest

from tests.integration.instance import Instance

MANY = 6000
ODD = ['"a b"@far.test', "jörg@far.test", "Bob@FAR.test", "a+b=c@[192.0.2.1]"]


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """Mail to thousands, to odd addresses and to one, that waits; and a file that is torn."""
    with Instance(tmp_path_factory.mktemp("listing") / "i", defer_transports="smtp") as instance:
        instance.start()
        send(instance, "-f", "one@here.test", "a@far.test")
        send(instance, "-f", "many@here.test", *(f"user{number}@d{number % 50}.test" for number in range(MANY)))
        send(instance, "-f", "", *ODD)
        send(instance, "-f", "last@here.test", "z@far.test")
        instance.wait_for(lambda: instance.mailctl("queue", "count", "-j").stdout == b'{"deferred": 4}\n', "deferred")
        torn = instance.path / "queue" / "hold" / "0123456789ABCDEF"
        torn.write_bytes(b"sendmail-py-queue 1\nto: [ ] <half@fa")
        yield instance


def send(instance, *words):
    instance.submit(b"Subject: hello\n\nhello\n", "-i", *words)


def listings(instance):
    """Return what each of the listing commands prints."""
    commands = (("mailq",), ("mailq", "-j"), ("mailctl", "queue", "list"), ("mailctl", "queue", "list", "-j"))
    return [instance.run(*command, check=True).stdout.decode() for command in commands]


def test_a_message_to_thousands_is_listed_with_all_others(queue):
    text, as_json, *again = listings(queue)
    assert again == [text, as_json]
    assert text.count("@d") == MANY and "in 4 Requests." in text
    rows = {row["sender"]: row["recipients"] for row in map(json.loads, as_json.splitlines())}
    assert sorted(rows) == ["MAILER-DAEMON", "last@here.test", "many@here.test", "one@here.test"]
    assert [row["address"] for row in rows["many@here.test"]] == [f"user{n}@d{n % 50}.test" for n in range(MANY)]
    assert [row["address"] for row in rows["MAILER-DAEMON"]] == ODD
    assert {row["delay_reason"] for rows in rows.values() for row in rows} == {"deferred transport"}


def test_the_listing_is_the_same_without_the_services(queue):
    before = listings(queue)
    queue.stop()
    assert listings(queue) == before
    queue.start()


def test_who_steers_by_a_recipient_finds_the_last_of_thousands(queue):
    done = queue.mailctl("queue", "hold", "--recipient", f"user{MANY - 1}@d{(MANY - 1) % 50}.test", check=True)
    assert done.stdout == b"hold: 1 message\n"
